"""What the tests of the HTTP gates share: messages to feed them with, and ways to look at what comes out."""

from __future__ import annotations

from typing import Any

import attrs
import h11

from pipsocks.wire.gate import Body, End, RequestGate, RequestHead, ResponseGate, ResponseHead

HOST = b"Host: a.example\r\n"


def request(fields: bytes = b"", body: bytes = b"", line: bytes = b"POST http://a.example/ HTTP/1.1") -> bytes:
    """A request with a Host, these field lines and these bytes behind its head."""
    return line + b"\r\n" + HOST + fields + b"\r\n" + body


def chunked(body: bytes, fields: bytes = b"") -> bytes:
    """A request whose chunked body is these bytes."""
    return request(b"Transfer-Encoding: chunked\r\n" + fields, body)


def response(fields: bytes = b"", body: bytes = b"", line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """A response with these field lines and these bytes behind its head."""
    return line + b"\r\n" + fields + b"\r\n" + body


def merged(events: list[Any]) -> list[Any]:
    """The events with neighbouring pieces of content made into one: how it is cut depends on the segments."""
    out: list[Any] = []
    for event in events:
        if out and isinstance(event, Body) and isinstance(out[-1], Body):
            out[-1] = attrs.evolve(event, data=out[-1].data + event.data)
        else:
            out.append(event)
    return out


class OneRequest:
    """A `RequestGate` that is asked for one request: what is behind it stays in the gate."""

    def __init__(self) -> None:
        self._gate = RequestGate()
        self.receive, self.leftover = self._gate.receive, self._gate.leftover
        self._over = False

    def next(self) -> Any:
        """The next event of the first request."""
        event = None if self._over else self._gate.next()
        self._over = self._over or isinstance(event, End)
        return event

    @property
    def held(self) -> int:
        """As the gate's."""
        return self._gate.held


def answerTo(method: bytes = b"GET") -> Any:
    """A maker of gates for the response to such a request."""
    return lambda: ResponseGate(method)


def readByServer(events: list[Any]) -> list[tuple[Any, ...]]:
    """What h11 makes of the requests in these events: method, target, version, fields, content, trailers of each."""
    seen = []
    peer = h11.Connection(h11.SERVER)
    for event in events:
        raw = event.raw
        if raw:
            peer.receive_data(raw)
        if isinstance(event, RequestHead):
            head: Any = peer.next_event()
            content = b""
        if isinstance(event, Body):
            piece = peer.next_event()
            assert isinstance(piece, h11.Data), piece
            assert piece.data == event.data
            content += piece.data
        if isinstance(event, End):
            end = peer.next_event()
            assert isinstance(end, h11.EndOfMessage), end
            fields = head.headers.raw_items()
            version = head.http_version
            seen.append((bytes(head.method), bytes(head.target), bytes(version), fields, content, list(end.headers)))
            assert peer.trailing_data == (b"", False), "bytes that h11 did not read"
            peer = h11.Connection(h11.SERVER)
    return seen


def readByClient(method: bytes, events: list[Any]) -> list[tuple[Any, ...]]:
    """What h11 makes of the response in these events: status, reason, fields of each head; content, trailers."""
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a"), (b"Upgrade", b"x")]))
    peer.send(h11.EndOfMessage())
    seen: list[Any] = []
    content = b""
    untilClose = False
    for event in events:
        if raw := event.raw:
            peer.receive_data(raw)
        if isinstance(event, ResponseHead):
            head = peer.next_event()
            assert isinstance(head, h11.Response | h11.InformationalResponse), head
            seen.append((head.status_code, bytes(head.reason), head.headers.raw_items()))
            switched = head.status_code == 101
            untilClose = event.untilClose
        if isinstance(event, Body):
            piece = peer.next_event()
            assert isinstance(piece, h11.Data), piece
            assert piece.data == event.data
            content += piece.data
        if isinstance(event, End):
            if untilClose:
                peer.receive_data(b"")
            end = peer.next_event()
            if switched or (method == b"CONNECT" and seen[-1][0] < 300):
                assert end in (h11.PAUSED,) or isinstance(end, h11.EndOfMessage), end
                seen.append((content, []))
            else:
                assert isinstance(end, h11.EndOfMessage), end
                seen.append((content, list(end.headers)))
    return seen
