"""The ways in which content is delimited (RFC 9112, section 6.3): each reads pieces from an inbox until the end."""

from __future__ import annotations

import re
from typing import Final

from pipsocks.wire.fields import TOKEN, FieldSection, blame
from pipsocks.wire.http import CHUNK_LINE_LIMIT, Body, End, Fields, GateError
from pipsocks.wire.inbox import Inbox

_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_CHUNK: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?)*([ \t]*+)\r\n" % (TOKEN, TOKEN, _QUOTED)
)
"""Fifteen digits, so that the size fits into 63 bits in every language."""

_SMALL: Final = re.compile(rb"([0-9A-Fa-f]{1,3})\r\n")

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"content_length", b"transfer_encoding", b"host"))
_NOT_TRAILERS: Final = _FRAMING | frozenset(
    b"""
    authorization cache-control connection content-encoding content-range content-type cookie expect if-match
    if-modified-since if-none-match if-range if-unmodified-since keep-alive max-forwards pragma proxy-authenticate
    proxy-authorization proxy-connection range set-cookie te trailer upgrade www-authenticate
    """.split()
)
"""What may not be sent behind content since it says how to frame, route, authenticate or read it (RFC 9110, 6.5.1)."""


class Sized:
    """Content of a known length."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def read(self, inbox: Inbox) -> Body | End | None:
        """The next piece, the end, or None when more is needed."""
        if not self._left:
            return End()
        data = inbox.take(self._left)
        if not data:
            return None
        self._left -= len(data)
        return Body(data)


class UntilClose:
    """Content that ends with the connection; whoever sees that happen makes the end."""

    __slots__ = ()

    def read(self, inbox: Inbox) -> Body | None:
        """The next piece, or None when more is needed."""
        data = inbox.take(inbox.held)
        return Body(data) if data else None


class Chunked:
    """
    Content in chunks (RFC 9112, section 7.1). Extensions are read strictly and dropped; the chunks are made anew.

    Not `strict` (responses): blanks behind a chunk's size, which some origins pad it with, are dropped as well.
    Trailers that must not be trailers are dropped (RFC 9110, 6.5.1), but in a request those that speak of framing or
    routing are an attempt at something, and an error.
    """

    __slots__ = ("_behind", "_left", "_strict", "_trailers")

    def __init__(self, strict: bool) -> None:
        self._strict = strict
        self._left = 0
        self._behind = b""
        """What is still to come behind a chunk's data."""
        self._trailers: FieldSection | None = None

    def read(self, inbox: Inbox) -> Body | End | None:
        """
        The next piece, the end, or None when more is needed.

        @raise GateError: 400 or 431 when strict, else 502.
        """
        if self._trailers is None and not self._left:
            if self._behind and not self._passBehind(inbox):
                return None
            if data := self._gather(inbox):
                return Body(data, chunked=True)
            if not self._readLine(inbox):
                return None
        if self._trailers is not None:
            trailers = self._trailers.read()
            return None if trailers is None else End(self._judge(trailers), chunked=True)
        data = inbox.take(self._left)
        if not data:
            return None
        self._left -= len(data)
        if not self._left:
            self._behind = b"\r\n"
        return Body(data, chunked=True)

    def _passBehind(self, inbox: Inbox) -> bool:
        came = inbox.take(len(self._behind))
        if not self._behind.startswith(came):
            raise self._error("chunk longer than its size")
        self._behind = self._behind[len(came) :]
        return not self._behind

    def _gather(self, inbox: Inbox) -> bytes:
        """Whole small chunks that are there, as one piece: else a stream of tiny ones costs everybody dearly."""
        data, at, parts = inbox.data, inbox.at, []
        while match := _SMALL.match(data, at):
            end = match.end() + int(match[1], 16)
            if end == match.end() or data[end : end + 2] != b"\r\n":
                break
            parts.append(data[match.end() : end])
            at = end + 2
        if parts:
            inbox.consume(at)
        return b"".join(parts)

    def _readLine(self, inbox: Inbox) -> bool:
        end = inbox.lineEnd()
        if (end or len(inbox.data)) - inbox.at > CHUNK_LINE_LIMIT:
            raise self._error("chunk line too long")
        if not end:
            return False
        match = _CHUNK.match(inbox.data, inbox.at, end)
        if match is None or (match[2] and self._strict):
            raise self._error(blame(bytes(inbox.data[inbox.at : end]), "chunk line"))
        inbox.consume(end)
        self._left = int(match[1], 16)
        if not self._left:
            self._trailers = FieldSection(inbox, self._strict)
        return True

    def _judge(self, trailers: Fields) -> Fields:
        if self._strict and any(name.lower() in _FRAMING for name, _ in trailers):
            raise self._error("framing or routing field in the trailers")
        return tuple([field for field in trailers if field[0].lower() not in _NOT_TRAILERS])

    def _error(self, text: str) -> GateError:
        return GateError(400 if self._strict else 502, text)
