"""
The gate before h11 for what clients send.

It lets through only requests that every reader takes for the same one, written anew from what was understood; the rest
is refused and not one byte of it goes on. It never waits for a line that is already wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pipsocks.wire.content import Chunked, Sized
from pipsocks.wire.fields import TOKEN, FieldSection, blame
from pipsocks.wire.http import HEAD_LIMIT, Body, End, Fields, GateError, RequestHead
from pipsocks.wire.inbox import Inbox

BLANK_LIMIT: Final = 16
"""Empty lines that are skipped before a request line (RFC 9112, 2.2)."""

_LINE: Final = re.compile(rb"(%b) ([\x21-\x7e\x80-\xff]++) HTTP/([0-9])\.([0-9])\r\n" % TOKEN)
_FIRST: Final = re.compile(TOKEN)
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
"""Eighteen digits fit into 63 bits; with leading zeros somebody might read it as octal."""

_HIGH: Final = re.compile(rb"[\x80-\xff]")


class RequestGate:
    """
    One client connection's requests, one after the other.

    Each request is a `RequestHead`, pieces of `Body`, and an `End`. Behind the End of a CONNECT everything is the
    tunnel's: `next` gives None, and `leftover` has it. `leftover` also begins anew, so after a CONNECT that was not
    granted ``gate.receive(gate.leftover())`` goes on to the next request.
    """

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._failure: tuple[int, str] | None = None
        self._begin()

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; after an error they are thrown away."""
        if self._failure is None:
            self._inbox.add(data)

    def next(self) -> RequestHead | Body | End | None:
        """
        The next event, or None when more bytes are needed.

        @raise GateError: 400, 431 or 505, now and each time after: the connection is of no more use.
        """
        if self._failure is not None:
            raise GateError(*self._failure)
        try:
            return self._state()
        except GateError as error:
            self._failure = error.status, error.text
            self._inbox.drain()
            raise

    @property
    def held(self) -> int:
        """How many bytes came and were in no event yet."""
        return self._inbox.held

    @property
    def partial(self) -> bool:
        """Whether some bytes of a head are there, but not all that were looked at by `next` so far."""
        return self._state in (self._readLine, self._readFields) and self._inbox.held > 0

    def leftover(self) -> bytes:
        """Take what no event held yet; the gate begins anew."""
        self._begin()
        return self._inbox.drain()

    def _begin(self) -> None:
        self._blanks = 0
        self._state: Callable[[], RequestHead | Body | End | None] = self._readLine

    def _readLine(self) -> RequestHead | None:
        inbox = self._inbox
        while (lead := bytes(inbox.data[inbox.at : inbox.at + 2])) == b"\r\n":
            self._blanks += 1
            if self._blanks > BLANK_LIMIT:
                raise GateError(400, "too many empty lines")
            inbox.consume(inbox.at + 2)
        if not lead or lead == b"\r":
            return None
        if not _FIRST.match(lead):
            raise GateError(400, "bare LF in request line" if lead[:1] == b"\n" else "not an HTTP request")
        end = inbox.lineEnd()
        if (end or len(inbox.data)) - inbox.at > HEAD_LIMIT:
            raise GateError(431, "head too large")
        if not end:
            return None
        match = _LINE.match(inbox.data, inbox.at, end)
        if match is None:
            raise GateError(400, blame(bytes(inbox.data[inbox.at : end]), "request line"))
        self._method, self._target, major, minor = match.groups()
        if major != b"1":
            raise GateError(505, "HTTP version not supported")
        self._version = b"1.0" if minor == b"0" else b"1.1"
        if not self._target.isascii():
            self._target = _HIGH.sub(lambda high: b"%%%02X" % high[0][0], self._target)
        inbox.passLine(end)
        self._section = FieldSection(inbox, strict=True)
        self._state = self._readFields
        return self._readFields()

    def _readFields(self) -> RequestHead | None:
        fields = self._section.read()
        if fields is None:
            return None
        head = self._judge(fields)
        if head.hasBody:
            self._body = Chunked(strict=True) if head.chunked else Sized(head.length or 0)
            self._state = self._readBody
        else:
            self._state = self._finish
        self._connect = head.method == b"CONNECT"
        return head

    def _judge(self, fields: Fields) -> RequestHead:
        """RFC 9112, section 6.3, without any of its leniencies, and 3.2 for Host."""
        lengths: list[bytes] = []
        codings: list[bytes] = []
        hosts = 0
        for name, value in fields:
            lower = name.lower()
            if lower == b"host":
                hosts += 1
            elif lower == b"content-length":
                lengths.append(value)
            elif lower == b"transfer-encoding":
                codings.append(value)
            elif lower in (b"content_length", b"transfer_encoding"):
                raise GateError(400, "framing field with an underscore")  # CGI and WSGI origins take it for the other
        if codings:
            if lengths:
                raise GateError(400, "Content-Length with Transfer-Encoding")
            if len(codings) > 1 or codings[0].lower() != b"chunked":
                raise GateError(400, "Transfer-Encoding other than chunked")
            if self._version == b"1.0":
                raise GateError(400, "Transfer-Encoding in HTTP/1.0")
            # In one spelling, for readers that compare cases
            fields = *_without(b"transfer-encoding", fields), (b"Transfer-Encoding", b"chunked")
        if len(lengths) > 1:
            raise GateError(400, "repeated Content-Length")
        if lengths and not _LENGTH.fullmatch(lengths[0]):
            raise GateError(400, "bad Content-Length")
        length = int(lengths[0]) if lengths else None
        if self._method == b"CONNECT":
            if length or codings:
                raise GateError(400, "CONNECT with content")
            fields = (b"Host", self._target), *_without(b"host", fields)
        elif hosts > 1:
            raise GateError(400, "repeated Host")
        elif not hosts and self._version == b"1.1":
            raise GateError(400, "no Host")
        return RequestHead(self._method, self._target, self._version, fields, length, bool(codings))

    def _readBody(self) -> Body | End | None:
        event = self._body.read(self._inbox)
        if isinstance(event, End):
            self._begin()
        return event

    def _finish(self) -> End:
        self._begin()
        if self._connect:
            self._state = self._tunnel
        return End()

    def _tunnel(self) -> None:
        return None


def _without(name: bytes, fields: Fields) -> list[tuple[bytes, bytes]]:
    return [field for field in fields if field[0].lower() != name]
