"""
The gate before h11 for what origins and HTTP hops send.

It mends what may be mended without a doubt (bare LF, folded lines, space before the colon, equal Content-Lengths) and
refuses what two readers could frame differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from pipsocks.wire.content import Chunked, Sized, UntilClose
from pipsocks.wire.fields import TEXT, FieldSection, blame
from pipsocks.wire.http import HEAD_LIMIT, Body, Cut, End, Fields, GateError, ResponseHead, listed
from pipsocks.wire.inbox import Inbox

_LINE: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: (%b))?\r?\n" % TEXT)
_START: Final = b"HTTP/1."
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")


class ResponseGate:
    """
    The response to one request of the given method: interim heads, the head, pieces of `Body`, and an `End`.

    After 101, and after the 2xx of a CONNECT, the End comes at once and everything behind it is the tunnel's. Behind
    any other End bytes are nobody's: a connection with `held` bytes then is not fit for another request.
    """

    def __init__(self, method: bytes) -> None:
        self._method = method
        self._inbox = Inbox()
        self._failure: tuple[int, str] | None = None
        self._closed = False
        self._body: Sized | Chunked | UntilClose = Sized(0)
        self._state: Callable[[], ResponseHead | Body | End | None] = self._readLine

    def receive(self, data: bytes) -> None:
        """Take bytes from the origin; after an error they are thrown away."""
        if self._failure is None:
            self._inbox.add(data)

    def eof(self) -> None:
        """Know that nothing more will come; `next` says what that means."""
        self._closed = True

    def next(self) -> ResponseHead | Body | End | None:
        """
        The next event, or None when more bytes are needed or, behind the End, nothing is to come.

        @raise GateError: 502, now and each time after, also when the connection closed before a whole head.
        @raise Cut: the connection closed within the content.
        """
        if self._failure is not None:
            raise GateError(*self._failure)
        try:
            event = self._state()
            return self._atClose() if event is None and self._closed else event
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
        """Whether some bytes of a head are there."""
        return self._state in (self._readLine, self._readFields) and self._inbox.held > 0

    def leftover(self) -> bytes:
        """Take what no event held yet: behind the End, the tunnel's."""
        return self._inbox.drain()

    def _atClose(self) -> End | None:
        if self._state == self._over:
            return None
        if self._state != self._readBody:
            raise GateError(502, "closed before a whole response head")
        if not isinstance(self._body, UntilClose):
            raise Cut("closed within the content")
        self._state = self._over
        return End()

    def _readLine(self) -> ResponseHead | None:
        inbox = self._inbox
        if not _START.startswith(bytes(inbox.data[inbox.at : inbox.at + len(_START)])):
            raise GateError(502, "not an HTTP/1 response")
        end = inbox.lineEnd()
        if (end or len(inbox.data)) - inbox.at > HEAD_LIMIT:
            raise GateError(502, "head too large")
        if not end:
            return None
        match = _LINE.match(inbox.data, inbox.at, end)
        if match is None:
            raise GateError(502, blame(bytes(inbox.data[inbox.at : end]), "status line", strict=False))
        self._version = b"1.0" if match[1] == b"0" else b"1.1"
        self._status = int(match[2])
        self._reason = (match[3] or b"").strip(b" \t")
        inbox.passLine(end)
        self._section = FieldSection(inbox, strict=False)
        self._state = self._readFields
        return self._readFields()

    def _readFields(self) -> ResponseHead | None:
        fields = self._section.read()
        if fields is None:
            return None
        head = self._judge(fields)
        if head.hasBody:
            self._body = Chunked(strict=False) if head.chunked else UntilClose()
            if head.length is not None:
                self._body = Sized(head.length)
            self._state = self._readBody
        elif 101 != head.status < 200:
            self._state = self._readLine
        else:
            self._state = self._finish
        return head

    def _judge(self, fields: Fields) -> ResponseHead:
        """RFC 9112, section 6.3, refusing where it has the recipient choose."""
        status, version, reason = self._status, self._version, self._reason
        lengths: list[bytes] = []
        codings: list[bytes] = []
        options: list[bytes] = []
        rest: list[tuple[bytes, bytes]] = []
        for field in fields:
            lower = field[0].lower()
            if lower == b"content-length":
                lengths += [each.strip(b" \t") for each in field[1].split(b",")]
                continue
            if lower == b"transfer-encoding":
                codings.append(field[1])
                continue
            if lower == b"connection":
                options.append(field[1])
            rest.append(field)
        keepAlive = version == b"1.1" and b"close" not in listed(options)
        if status < 200 or status == 204 or (self._method == b"CONNECT" and status < 300):
            # They have no content and may not say so; an origin that speaks of some may have sent it too.
            keepAlive = keepAlive and not codings and lengths in ([], [b"0"])
            return ResponseHead(status, reason, version, tuple(rest), False, keepAlive)
        length = None
        if codings:
            self._judgeCodings(codings, lengths)
            rest.append((b"Transfer-Encoding", b"chunked"))
        elif lengths:
            length = self._judgeLengths(lengths)
            rest.append((b"Content-Length", b"%d" % length))
        hasBody = self._method != b"HEAD" and status != 304 and length != 0
        untilClose = hasBody and not codings and length is None
        keepAlive = keepAlive and not untilClose
        return ResponseHead(status, reason, version, tuple(rest), hasBody, keepAlive, length, bool(codings), untilClose)

    def _judgeCodings(self, codings: list[bytes], lengths: list[bytes]) -> None:
        if lengths:
            raise GateError(502, "Content-Length with Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise GateError(502, "Transfer-Encoding other than chunked")
        if self._version == b"1.0":
            raise GateError(502, "Transfer-Encoding in HTTP/1.0")

    def _judgeLengths(self, lengths: list[bytes]) -> int:
        if not all(map(_LENGTH.fullmatch, lengths)):
            raise GateError(502, "bad Content-Length")
        length = int(lengths[0])
        if any(int(each) != length for each in lengths):
            raise GateError(502, "differing Content-Lengths")
        return length

    def _readBody(self) -> Body | End | None:
        event = self._body.read(self._inbox)
        if isinstance(event, End):
            self._state = self._over
        return event

    def _finish(self) -> End:
        self._state = self._over
        return End()

    def _over(self) -> None:
        return None
