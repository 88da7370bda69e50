"""The rows of smuggling.toml, as octets."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

KINDS = ("length", "coding", "chunks", "head", "target", "one", "answer")
REFUSED = KINDS[:5]
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nevil"

_TIMES = re.compile(rb"\{([^{}]+)\*([0-9]+)\}")
_NAMED = re.compile(rb"\{([a-z]+)\}")


@attrs.frozen
class Row:
    """
    One row: `sends` is what a client, or an origin, sends; the head of the file says what the rest is.

    `content` is None in a row that is refused.
    """

    kind: str
    name: str
    source: str
    sends: bytes
    status: int
    content: bytes | None
    method: bytes
    hides: frozenset[bytes]
    closes: bool
    cut: bool
    beyond: bool

    def __str__(self) -> str:
        return f"{self.kind}: {self.name} ({self.source})"


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def words(at: bytes) -> dict[bytes, bytes]:
    """What the names in braces stand for, with an origin at the host and port `at`."""
    smuggled = b"GET http://%b/smuggled HTTP/1.1\r\nHost: %b\r\n\r\n" % (at, at)
    end = b"0\r\n\r\n"
    return {
        b"at": at,
        b"line": b"POST http://%b/ HTTP/1.1\r\n" % at,
        b"host": b"Host: %b\r\n" % at,
        b"te": b"Transfer-Encoding: chunked\r\n",
        b"end": end,
        b"cl": b"Content-Length: %d\r\n" % len(end + smuggled),
        b"smuggled": smuggled,
        b"smuggledsize": b"%x" % len(smuggled),
        b"evil": EVIL,
    }


def rows(kind: str, at: bytes = b"a.example") -> list[Row]:
    """The rows of one kind, for an origin at the host and port `at`."""
    named = words(at)
    return [_row(kind, each, named) for each in _table()[kind]]


def _row(kind: str, row: Mapping[str, Any], named: Mapping[bytes, bytes]) -> Row:
    accepted = kind in ("one", "answer")
    content = row.get("content")
    return Row(
        kind=kind,
        name=row["name"],
        source=row["source"],
        sends=octets(row["sends"], named),
        status=row.get("status", 200 if accepted else 400),
        content=None if content is None else octets(content, named),
        method=row.get("method", "GET").encode(),
        hides=frozenset(name.lower().encode() for name in row.get("hides", ())),
        closes=row.get("closes", False),
        cut=row.get("cut", False),
        beyond=row.get("beyond", False),
    )


def octets(text: str, named: Mapping[bytes, bytes]) -> bytes:
    """What a text of the file stands for."""
    data = _TIMES.sub(lambda match: match[1] * int(match[2]), text.encode("latin-1"))
    return _NAMED.sub(lambda match: named[match[1]], data)


def requests(row: Row, at: bytes = b"a.example") -> list[bytes]:
    """All that a client sends for a row that is refused, in every way that it is tried."""
    named = words(at)
    head = named[b"line"] + named[b"host"]
    rest = named[b"end"] + named[b"smuggled"]
    if row.kind == "length":
        return [head + row.sends + b"\r\n" + rest]
    if row.kind == "coding":
        # Hiding Transfer-Encoding from one of two readers does not help beside a Content-Length either.
        return [head + fields + row.sends + b"\r\n" + rest for fields in (b"", b"Content-Length: 5\r\n")]
    if row.kind == "chunks":
        # The second time a good chunk has already passed.
        return [head + named[b"te"] + b"\r\n" + before + row.sends + rest for before in (b"", b"3\r\nabc\r\n")]
    return [row.sends]
