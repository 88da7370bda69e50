"""The page of the documentation, made from the file of results and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from conformance.behaviour import FAIL, NOT_APPLICABLE, PASS, PROTOCOLS, Behaviour
from conformance.run import Column

RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = Path(__file__).parent.parent / "docs" / "conformance.rst"

_INTRODUCTION: Final = """\
.. This page is made from conformance/results.json by python -m conformance --table; change neither by hand.

Conformance
===========

What pipsocks and other proxies do with what clients and origins send. {count} questions are put to each proxy from
outside, through raw sockets on loopback: an address in, a verdict out. Each proxy runs by itself, as it is installed,
with a fresh configuration that allows loopback, caches nothing and is otherwise its own default; where a login or a
time for the handshake is the question, that is set as well. What a proxy fails beside other questions it is asked once
more alone, and that verdict counts. All that is said below was seen on the day and with the version named; other
versions and other configurations may do otherwise.

Of the requests that two readers could take for different ones, the origin must see nothing or exactly one that is
unambiguous: a proxy that mends them passes, even where the RFC demands that it refuse them.

Where the source of a behaviour is *ours*, no RFC demands it of a proxy: pipsocks does of itself, or some client needs
it. An RFC is named where it speaks of the matter; MUST stands where it demands just this. *n.a.* means that the proxy
does not speak that protocol, or that the question cannot be put to it.

To run it, with the peers that are installed on your machine::

    python -m conformance
    python -m conformance --table

The first command takes some minutes for each peer and writes ``conformance/results.json``; ``--only NAME`` asks one
proxy alone and leaves the other columns as they are. The second makes this page from that file. Our own column is also
a test of the suite.
"""


def readResults(path: Path = RESULTS) -> list[Column]:
    """The columns of the file."""
    return [Column.fromJSON(read) for read in json.loads(path.read_text())["proxies"]] if path.exists() else []


def writeResults(columns: list[Column], path: Path = RESULTS) -> None:
    """The file, complete."""
    text = json.dumps({"proxies": [column.asJSON() for column in columns]}, indent=1, sort_keys=True)
    path.write_text(text + "\n")


def page(columns: list[Column], behaviours: Iterable[Behaviour]) -> str:
    """The whole page, in reStructuredText."""
    rows = list(behaviours)
    lines = [_INTRODUCTION.format(count=len(rows))]
    lines += _section("Totals")
    lines += _table(
        ["proxy", "version", "asked on", "pass", "fail", "n.a."],
        [
            [column.name, column.version, column.date, *(str(_count(column, rows)[each]) for each in _OUTCOMES)]
            for column in columns
        ],
        "16 26 12 8 8 8",
    )
    for protocol, name in PROTOCOLS.items():
        ours = [each for each in rows if each.protocol == protocol]
        lines += _section(f"{name}: {len(ours)} behaviours")
        lines += _table(
            ["behaviour", "source", *(column.name for column in columns)],
            [[each.title, each.source, *(_word(column, each) for column in columns)] for each in ours],
            "40 18" + " 7" * len(columns),
        )
    lines += _section("What was seen where a proxy failed")
    for column in columns:
        failed = [each for each in rows if _outcome(column, each) == FAIL]
        if not failed:
            continue
        lines += [f"{column.name} {column.version}", ""]
        lines += [
            f"- {PROTOCOLS[each.protocol]}: {_plain(each.title)}: *{_plain(column.verdicts[each.id].observed)}*"
            for each in failed
        ]
        lines += [""]
    return "\n".join(lines).rstrip("\n") + "\n"


_OUTCOMES: Final = (PASS, FAIL, NOT_APPLICABLE)


def _outcome(column: Column, behaviour: Behaviour) -> str:
    verdict = column.verdicts.get(behaviour.id)
    return "not asked" if verdict is None else verdict.outcome


def _word(column: Column, behaviour: Behaviour) -> str:
    outcome = _outcome(column, behaviour)
    return f"**{outcome}**" if outcome == FAIL else outcome


def _count(column: Column, behaviours: list[Behaviour]) -> Counter[str]:
    return Counter(_outcome(column, each) for each in behaviours)


def _section(title: str) -> list[str]:
    return [title, "-" * len(title), ""]


def _table(head: list[str], rows: list[list[str]], widths: str) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        for number, cell in enumerate(row):
            text = cell if cell.startswith("**") else _plain(cell)
            lines.append(f"   {'*' if number == 0 else ' '} - {text}".rstrip())
    return [*lines, ""]


def _plain(text: str) -> str:
    """Text in which reStructuredText reads nothing special."""
    return "".join(f"\\{letter}" if letter in "\\*`|_<>" else letter for letter in text)
