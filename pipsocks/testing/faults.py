"""
What a faulty listener does, in words: ``NAME`` or ``NAME=VALUE``, and several of them joined by `` + ``.

A fault is what happens to one connection. Names that begin with ``asked-`` strike once the client has said where it
wants to go, those with ``then-`` once it was told that it is there, those with ``flight-`` once its first bytes behind
that have come, and those that end in ``-after`` in the middle of the answer.
"""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import attrs


class Stage(Enum):
    """When a fault strikes: what the port does, before the request is known, or because of it."""

    PORT = "port"
    EARLY = "early"
    ASKED = "asked"


@attrs.frozen
class Row:
    """
    One fault of the table.

    @ivar kinds: the kinds of listeners that know it.
    @ivar value: what its value is called, empty where it has none; `pattern` is how it is written.
    """

    about: str
    stage: Stage
    kinds: frozenset[str]
    value: str = ""
    pattern: str = ""


ALL: Final = frozenset({"upstream", "origin", "echo"})
PROXY: Final = frozenset({"upstream"})
ORIGIN: Final = frozenset({"origin"})
SPEAKERS: Final = PROXY | ORIGIN

_NUMBER: Final = r"[0-9]{1,9}(\.[0-9]{1,3})?"
_SECONDS: Final = ("SECONDS", r"[0-9]{1,4}(\.[0-9]{1,3})?")
_BYTES: Final = ("BYTES", r"[0-9]{1,12}")
_OCTETS: Final = ("HEX", r"([0-9a-fA-F]{2})+")
_COUNTED: Final = (
    "; what counts is an origin's content without the head, everything that comes back through an upstream (heads and"
    " TLS in the tunnel too, but not the upstream's own reply), or what is echoed"
)
_RATE: Final = ("BYTES_PER_SECOND", r"[1-9][0-9]{0,9}")

TABLE: Final[Mapping[str, Row]] = {
    "none": Row("nothing is wrong", Stage.EARLY, ALL),
    "refuse": Row(
        "nobody listens: connections are refused (as the only fault of a listener; a port cannot refuse one"
        " connection and take the next, so among others it is the same as reset)",
        Stage.PORT,
        ALL,
    ),
    "flap": Row(
        "up for so many seconds, then down for so many, and so on: connections are refused, and those that stand are"
        " reset (it is the listener's, and takes no turn)",
        Stage.PORT,
        ALL,
        "UP/DOWN",
        f"{_NUMBER}/{_NUMBER}",
    ),
    "silent": Row("take the connection and say nothing", Stage.EARLY, ALL),
    "close": Row("close the connection as soon as it is made", Stage.EARLY, ALL),
    "reset": Row("reset the connection as soon as it is made", Stage.EARLY, ALL),
    "slow-connect": Row("take the connection, and read nothing for so many seconds", Stage.EARLY, ALL, *_SECONDS),
    "nonsense": Row("answer the first bytes with random ones, then close", Stage.EARLY, ALL),
    "say": Row("answer the first bytes with these, in hexadecimal, then close", Stage.EARLY, ALL, *_OCTETS),
    "say-reset": Row("answer the first bytes with these, in hexadecimal, then reset", Stage.EARLY, ALL, *_OCTETS),
    "method-refused": Row("offer no way to log in: SOCKS 05 FF, HTTP 407 that asks for NTLM", Stage.EARLY, PROXY),
    "login-refused": Row("refuse every login: SOCKS 01 01, HTTP 407 that asks for Basic", Stage.EARLY, PROXY),
    "cut": Row("close in the middle of the answer to the request", Stage.ASKED, PROXY),
    "reply": Row(
        "answer the request with this SOCKS reply (HTTP: 403 for 2, otherwise 502)",
        Stage.ASKED,
        PROXY,
        "CODE",
        r"[0-9]{1,3}",
    ),
    "status": Row(
        "answer the request with this HTTP status, and this reason, or the standard one where none follows"
        " (SOCKS: reply 2 for 403, otherwise 1)",
        Stage.ASKED,
        SPEAKERS,
        "STATUS [REASON]",
        r"[1-9][0-9]{2}( [ -~]*)?",
    ),
    "asked-silent": Row("say nothing to the request", Stage.ASKED, SPEAKERS),
    "asked-close": Row("close when the request has come", Stage.ASKED, SPEAKERS),
    "asked-reset": Row("reset when the request has come", Stage.ASKED, SPEAKERS),
    "slow": Row("wait so many seconds before doing what is asked", Stage.ASKED, SPEAKERS, *_SECONDS),
    "then-silent": Row("grant the request, and say nothing more", Stage.ASKED, PROXY),
    "then-close": Row("grant the request, then close", Stage.ASKED, PROXY),
    "then-reset": Row("grant the request, then reset", Stage.ASKED, PROXY),
    "flight-silent": Row("grant the request, swallow the client's first bytes, say nothing", Stage.ASKED, PROXY),
    "flight-close": Row("grant the request, swallow the client's first bytes, close", Stage.ASKED, PROXY),
    "flight-reset": Row("grant the request, swallow the client's first bytes, reset", Stage.ASKED, PROXY),
    "portal": Row("grant every request, and answer all with a captive portal's page", Stage.ASKED, PROXY),
    "silent-after": Row(
        f"stop behind so many bytes of the answer, and say nothing more{_COUNTED}", Stage.ASKED, ALL, *_BYTES
    ),
    "close-after": Row(f"close behind so many bytes of the answer{_COUNTED}", Stage.ASKED, ALL, *_BYTES),
    "reset-after": Row(f"reset behind so many bytes of the answer{_COUNTED}", Stage.ASKED, ALL, *_BYTES),
    "throttle": Row(
        "send no more than so many bytes of the answer in a second; they are counted as for reset-after",
        Stage.ASKED,
        ALL,
        *_RATE,
    ),
    "chunked": Row("delimit the answer by chunks, not by its length", Stage.ASKED, ORIGIN),
    "until-close": Row("delimit the answer by the connection's end, not by its length", Stage.ASKED, ORIGIN),
    "no-range": Row("ignore Range: always send the whole", Stage.ASKED, ORIGIN),
    "wrong-range": Row("answer Range with a Content-Range that begins a byte too late", Stage.ASKED, ORIGIN),
    "new-etag": Row("another version with each request: ETag and content change", Stage.ASKED, ORIGIN),
    "weak-etag": Row("the ETag is weak", Stage.ASKED, ORIGIN),
    "no-etag": Row("there is no ETag, nor another validator", Stage.ASKED, ORIGIN),
    "last-modified": Row("there is a Last-Modified, strong by its age, in place of the ETag", Stage.ASKED, ORIGIN),
}
"""
Every fault, and what it means.

In `kinds`, ``upstream`` is a SOCKS and HTTP proxy, ``origin`` speaks HTTP, ``echo`` gives every byte back.
"""


class FaultUnknown(ValueError):
    """
    The text names no fault, or its value does not fit.

    @ivar hint: what to write instead.
    """

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.hint = hint


@attrs.frozen
class Fault:
    """One fault; `value` is the text behind the equals sign."""

    name: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


HEALTHY: Final = Fault("none")


def parseFault(text: str) -> Fault:
    """
    Read ``NAME`` or ``NAME=VALUE``.

    @raise FaultUnknown: it is none of `TABLE`, or the value is missing, superfluous or of the wrong form.
    """
    name, given, value = text.partition("=")
    row = TABLE.get(name)
    if row is None:
        raise FaultUnknown(f"no such fault: {name[:60]!r}", _instead(name, TABLE))
    if (not row.pattern and given) or (row.pattern and re.fullmatch(row.pattern, value, re.ASCII) is None):
        hint = f"write {written(name)}"
        raise FaultUnknown(f"{name!r} does not take the value {value[:60]!r}", hint)
    if name == "reply" and int(value) > 255:
        raise FaultUnknown("a reply code is at most 255", "RFC 1928 has the replies 0 to 8")
    if name == "flap" and not all(map(float, value.split("/"))):
        raise FaultUnknown("a listener that flaps is never up, or never down", "write seconds above 0, as in flap=10/5")
    return Fault(name, value)


def parseFaults(text: str) -> tuple[Fault, ...]:
    """
    Read one fault, or several for the same connection, joined by `` + ``.

    @raise FaultUnknown: see `parseFault`, or two of them cannot go together.
    """
    faults = tuple(parseFault(part.strip()) for part in text.split(" + "))
    names = [fault.name for fault in faults]
    if len(set(names)) < len(names):
        raise FaultUnknown("the same fault twice for one connection", "leave one of them away")
    alone = [name for name in names if name == "none" or TABLE[name].stage is Stage.PORT]
    if alone and len(names) > 1:
        raise FaultUnknown(f"{alone[0]!r} does not go together with another fault", "make two entries of them")
    return faults


def written(name: str) -> str:
    """A fault as it is written: ``NAME`` or ``NAME=VALUE``."""
    value = TABLE[name].value
    return f"{name}={value}" if value else name


def describe() -> str:
    """The whole table, for a help text: each fault, which kinds have it where not all do, and its meaning."""
    lines = []
    indent = " " * 8
    for name, row in TABLE.items():
        whose = "" if row.kinds == ALL else f" ({', '.join(sorted(row.kinds))})"
        about = f"{row.about[0].upper()}{row.about[1:]}."
        lines.append(f"  {written(name)}{whose}")
        lines.append(textwrap.fill(about, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))
    return "\n".join(lines)


def _instead(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return f"did you mean {written(near[0])}?" if near else "python -m pipsocks.testing --help lists them all"
