"""Field sections, of heads and of trailers, line by line (RFC 9112, section 5)."""

from __future__ import annotations

import re
from typing import Final

from pipsocks.wire.http import FIELD_LIMIT, HEAD_LIMIT, Fields, GateError
from pipsocks.wire.inbox import Inbox

# Possessive over single characters only: over groups, re before 3.11.5 (Debian 12) matches them wrongly (gh-106052).
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
_FIELD: Final = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, TEXT))
_LENIENT: Final = re.compile(rb"(%b)[ \t]*+:(%b)\r?\n" % (TOKEN, TEXT))
_FOLD: Final = re.compile(rb"[ \t](%b)\r?\n" % TEXT)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_SPACED: Final = re.compile(rb"%b[ \t]" % TOKEN)


def blame(line: bytes, what: str, *, strict: bool = True) -> str:
    """What is wrong with a line that did not match: for the client's author, so without the line itself."""
    text = line[:-1].removesuffix(b"\r")
    if strict and not line.endswith(b"\r\n"):
        return f"bare LF in {what}"
    if b"\r" in text:
        return f"bare CR in {what}"
    if _CONTROL.search(text):
        return f"control character in {what}"
    return f"malformed {what}"


class FieldSection:
    """
    Reads one field section from an inbox.

    Strictly (requests), each line is ``name:value CRLF``. Otherwise (responses) a bare LF ends a line too, a folded
    line continues its field and whitespace before the colon is removed: what a proxy must or may mend (RFC 9112, 2.2,
    5.1, 5.2). A folded line counts as a field.
    """

    __slots__ = ("_fields", "_inbox", "_lines", "_strict")

    def __init__(self, inbox: Inbox, strict: bool) -> None:
        self._inbox = inbox
        self._strict = strict
        self._fields: list[tuple[bytes, bytes]] = []
        self._lines = 0

    def read(self) -> Fields | None:
        """
        The section once its blank line is there, which is consumed with all before it; None when more is needed.

        @raise GateError: 400 or 431 when strict, else 502.
        """
        inbox, fields = self._inbox, self._fields
        data = inbox.data
        while end := inbox.lineEnd():
            if end - inbox.at > HEAD_LIMIT:
                break
            match = _FIELD.match(data, inbox.cursor, end)
            if match is not None:
                self._count()
                fields.append((match[1], match[2].strip(b" \t")))
            elif data[inbox.cursor : end] == b"\r\n" or (data[inbox.cursor : end] == b"\n" and not self._strict):
                inbox.consume(end)
                return tuple(fields)
            elif self._strict:
                raise GateError(400, self._blame(bytes(data[inbox.cursor : end])))
            else:
                self._mend(bytes(data[inbox.cursor : end]))
            inbox.passLine(end)
        if end or inbox.held > HEAD_LIMIT:
            raise GateError(431, "head too large") if self._strict else GateError(502, "head too large")
        return None

    def _count(self) -> None:
        self._lines += 1
        if self._lines > FIELD_LIMIT:
            raise GateError(431, "too many fields") if self._strict else GateError(502, "too many fields")

    def _mend(self, line: bytes) -> None:
        self._count()
        if match := _LENIENT.fullmatch(line):
            self._fields.append((match[1], match[2].strip(b" \t")))
        elif self._fields and (match := _FOLD.fullmatch(line)):
            name, value = self._fields[-1]
            self._fields[-1] = name, (value + b" " + match[1].strip(b" \t")).strip(b" ")
        else:
            raise GateError(502, blame(line, "field line", strict=False))

    def _blame(self, line: bytes) -> str:
        if line[:1] in (b" ", b"\t"):
            return "folded field line"
        if _SPACED.match(line):
            return "space in a field's name"
        return blame(line, "field line")
