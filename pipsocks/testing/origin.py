"""An HTTP origin that serves generated content, with Range, and fails as it is told."""

from __future__ import annotations

import hashlib
import re
import time
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import h11
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.testing.content import Content
from pipsocks.testing.early import atFirstBytes, atOnce, isEarly
from pipsocks.testing.sending import Sending
from pipsocks.testing.turn import Turn
from pipsocks.testing.words import failure, withReason

HELD: Final = 65_536
"""Octets of further requests that are kept while one is answered; then reading pauses."""

MODIFIED: Final = "Wed, 01 Jan 2020 00:00:00 GMT"
"""The Last-Modified of everything: strong, since it is long before any Date (RFC 9110, section 8.8.2.2)."""

_SIZE: Final = re.compile(r".*/([0-9]{1,12})")
_RANGE: Final = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


@attrs.define
class Origin:
    """
    The kind of listener that is an HTTP origin (see `pipsocks.testing.server.Server`).

    A path that ends in a number, as ``/parrot/1000000`` does, has so many bytes; each path has bytes of its own.

    @ivar size: the bytes of every other path.
    @ivar seed: of the content.
    @ivar requests: the requests so far.
    @ivar sent: the bytes of bodies so far.
    """

    size: int = 100_000
    seed: int = 0
    requests: int = attrs.field(default=0, init=False)
    sent: int = attrs.field(default=0, init=False)

    @property
    def name(self) -> str:
        """As the table of faults has it."""
        return "origin"

    def content(self, path: str, version: int = 0) -> Content:
        """What is at `path`; only for ``new-etag`` are there versions other than 0: the request's number."""
        found = _SIZE.fullmatch(path)
        return Content(f"{self.seed} {path} {version}", int(found[1]) if found else self.size)

    def etag(self, path: str, version: int = 0) -> str:
        """The strong entity tag of that."""
        content = self.content(path, version)
        return '"' + hashlib.sha256(f"{content.seed} {content.size}".encode()).hexdigest()[:16] + '"'

    def serve(self, turn: Turn) -> IProtocol:
        """One connection."""
        return _Connection(turn, self)


@implementer(IHalfCloseableProtocol)
class _Connection(Protocol):
    transport: Any

    def __init__(self, turn: Turn, origin: Origin) -> None:
        self._turn = turn
        self._origin = origin
        self._parser = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._served = 0
        self._answering = False
        self._ended = False
        self._deaf = False
        self._sent = 0

    def connectionMade(self) -> None:
        self._turn.begin(self.transport)

    def dataReceived(self, data: bytes) -> None:
        if self._deaf:
            return
        self._parser.receive_data(data)
        if self._answering and len(self._parser.trailing_data[0]) > HELD:
            self.transport.pauseProducing()
        self._read()

    def readConnectionLost(self) -> None:
        """What was asked for is still answered."""
        self._turn.tell("ended")
        self._ended = True
        if not self._answering:
            self._turn.end("close")

    def writeConnectionLost(self) -> None:
        """Nothing ends but by the client, or behind an answer."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self._deaf = True
        self._turn.over(reason, down=self._sent)

    def _read(self) -> None:
        """Take what has come of a request, but not of the next one while one is answered."""
        while not (self._answering or self._deaf):
            try:
                event = self._parser.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint)
                return
            if event is h11.NEED_DATA:
                if self._parser.they_are_waiting_for_100_continue:
                    said = self._parser.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
                    self.transport.write(said or b"")
                return
            if isinstance(event, h11.Request):
                try:
                    path = urlsplit(event.target.decode("latin-1")).path or "/"
                except ValueError:
                    self._refuse(400)
                    return
                self._request = event
                self._asked(event, path)
            elif isinstance(event, h11.EndOfMessage):
                self._answering = True
                if wait := self._turn.faults.get("slow"):
                    self._turn.later(float(wait), self._answer)
                else:
                    self._answer()

    def _refuse(self, status: int) -> None:
        self._deaf = True
        self.transport.write(failure(withReason(f"{status}").encode()))
        self._turn.end("close")

    def _asked(self, request: h11.Request, path: str) -> None:
        """The head is whole: strike, or go on to the request's end."""
        self._served += 1
        if self._served > 1:
            self._turn.next()
        self._origin.requests += 1
        self._number = self._origin.requests
        self._path = path
        fields = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        self._fields = fields
        self._turn.tell(
            "request",
            number=self._number,
            method=request.method.decode(),
            path=self._path,
            range=fields.get("range", ""),
            ifRange=fields.get("if-range", ""),
        )
        self._turn.asked(self._path)
        if isEarly(self._turn):
            # The turn of a further request: what would have met a new connection meets this one.
            self._deaf = True
            if not atOnce(self._turn):
                atFirstBytes(self._turn)
            return
        for how in ("silent", "close", "reset"):
            if f"asked-{how}" in self._turn.faults:
                self._deaf = True
                self._turn.end(how)
                return

    def _answer(self) -> None:
        assert self._request is not None
        faults, request = self._turn.faults, self._request
        version = self._number if "new-etag" in faults else 0
        content, tag = self._origin.content(self._path, version), self._origin.etag(self._path, version)
        fields = [f"Date: {formatdate(time.time(), usegmt=True)}"]
        if "status" in faults:
            status, kind = withReason(faults["status"]), "text/plain"
            content = Content("", 0)
            first, stop = 0, 0
        else:
            status, kind = "200 OK", "application/octet-stream"
            validator = self._validate(fields, tag)
            first, stop = 0, content.size
            wanted = None if "no-range" in faults else self._wanted(content.size, validator)
            if wanted is not None:
                first, stop = wanted
                if first >= content.size:
                    status, first, stop = "416 Range Not Satisfiable", 0, 0
                    fields.append(f"Content-Range: bytes */{content.size}")
                else:
                    status = "206 Partial Content"
                    first += "wrong-range" in faults
                    fields.append(f"Content-Range: bytes {first}-{stop - 1}/{content.size}")
            if "no-range" not in faults:
                fields.append("Accept-Ranges: bytes")
        fields.append(f"Content-Type: {kind}")
        old = request.http_version < b"1.1"
        chunked = "chunked" in faults and not old
        untilClose = "until-close" in faults or ("chunked" in faults and old)
        options = {word.strip().lower() for word in self._fields.get("connection", "").split(",")}
        last = untilClose or self._ended or "close" in options or (old and "keep-alive" not in options)
        if chunked:
            fields.append("Transfer-Encoding: chunked")
        elif not untilClose:
            fields.append(f"Content-Length: {max(0, stop - first)}")
        if last:
            fields.append("Connection: close")
        elif old:
            fields.append("Connection: keep-alive")
        self._turn.tell("answered", number=self._number, status=int(status[:3]), first=first, octets=stop - first)
        self.transport.write("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1"))
        if request.method == b"HEAD":
            self._done(last)
            return
        Sending(self._turn, content, first, stop, chunked, self._count, lambda: self._done(last)).start()

    def _validate(self, fields: list[str], tag: str) -> str:
        """Add the validator to `fields`; what an If-Range has to say to match it, empty where nothing does."""
        faults = self._turn.faults
        if "no-etag" in faults:
            return ""
        if "last-modified" in faults:
            fields.append(f"Last-Modified: {MODIFIED}")
            return MODIFIED
        if "weak-etag" in faults:
            fields.append(f"ETag: W/{tag}")
            return ""
        fields.append(f"ETag: {tag}")
        return tag

    def _wanted(self, size: int, validator: str) -> tuple[int, int] | None:
        """The one range that is asked for, and holds (RFC 9110, sections 13.1.5 and 14.2); None for the whole."""
        assert self._request is not None
        found = _RANGE.fullmatch(self._fields.get("range", ""))
        condition = self._fields.get("if-range")
        if found is None or self._request.method != b"GET" or (condition is not None and condition != validator):
            return None
        first, last = found.groups()
        if not first:
            return (max(0, size - int(last)), size) if last else None
        if last and int(last) < int(first):
            return None
        return int(first), min(int(last) + 1, size) if last else size

    def _count(self, octets: int) -> None:
        self._sent += octets
        self._origin.sent += octets

    def _done(self, last: bool) -> None:
        """The response is whole."""
        self._turn.tell("sent", number=self._number)
        if last or self._ended:
            self._deaf = True
            self._turn.end("close")
            return
        rest, _ = self._parser.trailing_data
        self._parser = h11.Connection(h11.SERVER)
        self._answering = False
        self.transport.resumeProducing()
        if rest:
            self._parser.receive_data(rest)
            # Not from here: each of many requests at once would be a level deeper.
            self._turn.later(0, self._read)
