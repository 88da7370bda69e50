"""Behaviours of connections that are kept, or not, between one forwarded request and the next."""

from __future__ import annotations

import time

from conformance.behaviour import Address, Ended, Missing, Unlike, asks, expect
from conformance.forward import KEEPS_NONE, OK, between, keptAfter, request
from conformance.grammar import readAnswer
from conformance.talk import Origin, Talk


@asks("keep-alive", "RFC 9112, 9.3 (SHOULD)", "forward")
def keepAlive(at: Address) -> str:
    """Two requests one after the other work on one connection of an HTTP/1.1 client."""
    with between(at) as (near, origin):
        near.send(request(origin, path=b"/1"))
        far = origin.accept(3)
        _answer(near, far, b"GET /1")
        try:
            near.send(request(origin, path=b"/2"))
            _answer(near, _next(origin, far), b"GET /2")
        except (Ended, ConnectionError):
            raise Unlike("closed behind the first") from None
        return "both answered"


def _answer(near: Talk, far: Talk, asked: bytes) -> None:
    expect(far.head().asked, asked, "the origin saw")
    far.send(OK)
    expect(readAnswer(near).body, b"ok", "the client got")


def _next(origin: Origin, far: Talk) -> Talk:
    """The connection on which the next request comes: the same, or a new one."""
    said = far.within(0.7)
    if said:
        far.unread(said)
        return far
    try:
        return origin.accept(2)
    except Unlike:
        raise Unlike("the second never reached the origin") from None


@asks("pipelining", "RFC 9112, 9.3 and 9.3.2", "forward")
def pipelining(at: Address) -> str:
    """Two requests in one segment are answered, in order."""
    return _pipelined(at, 0.0)


@asks("pipelining-origins", "RFC 9112, 9.3 and 9.3.2", "forward")
def pipeliningToTwo(at: Address) -> str:
    """Two requests in one segment, for a slow origin and a fast one, are answered in order."""
    return _pipelined(at, 0.7)


def _pipelined(at: Address, pause: float) -> str:
    with between(at) as (near, first), Origin() as second:
        near.send(request(first, path=b"/1") + request(second, path=b"/2"))
        far = first.accept()
        expect(far.head().asked, b"GET /1", "the first origin saw")
        time.sleep(pause)  # the second answer, had it been asked for, would overtake the first
        far.send(OK.replace(b"ok", b"#1"))
        expect(readAnswer(near).body, b"#1", "the first answer")
        try:
            other = second.accept(3)
            expect(other.head().asked, b"GET /2", "the second origin saw")
            other.send(OK.replace(b"ok", b"#2"))
            expect(readAnswer(near).body, b"#2", "the second answer")
        except (Ended, ConnectionError):
            raise Unlike("the second was dropped") from None
        except Unlike as unlike:
            raise Unlike("the second was dropped" if "reached" in str(unlike) else str(unlike)) from None
        return "in order"


@asks("request-goes-home", "RFC 9112, 3.2.2; ours", "forward")
def eachToItsOwn(at: Address) -> str:
    """On one connection each request goes to the origin that it names."""
    with between(at) as (near, first), Origin() as second:
        near.send(request(first))
        far = first.accept()
        far.head()
        far.send(OK)
        keptAfter(near, 200)
        try:
            near.send(request(second, path=b"/2"))
            said = far.within(0.5)
            if said:
                raise Unlike("the first origin saw the second's request")
            other = second.accept(3)
            expect(other.head().asked, b"GET /2", "the second origin saw")
            other.send(OK)
            expect(readAnswer(near).status, 200, "answered")
        except (Ended, ConnectionError):
            raise Missing(KEEPS_NONE) from None
        return "to its own"


@asks("close-asked", "RFC 9112, 9.6 (MUST)", "forward")
def closeAsked(at: Address) -> str:
    """A client that asks for it (Connection: close) has its connection closed behind the answer."""
    return _isClosed(at, b"1.1", b"Connection: close\r\n")


@asks("close-http10", "RFC 9112, 9.3", "forward")
def close10(at: Address) -> str:
    """The connection of an HTTP/1.0 client is closed behind the answer."""
    return _isClosed(at, b"1.0", b"")


def _isClosed(at: Address, version: bytes, fields: bytes) -> str:
    with between(at) as (near, origin):
        near.send(request(origin, fields=fields, version=version))
        far = origin.accept()
        far.head()
        far.send(OK)
        expect(readAnswer(near).body, b"ok", "the client got")
        if not near.isOver(3):
            raise Unlike("the connection stays open")
        return "closed"


@asks("stale-origin", "RFC 9112, 9.3.1", "forward")
def staleOrigin(at: Address) -> str:
    """An origin that closes its kept connection between two requests does no harm to the second."""
    with between(at) as (near, origin):
        near.send(request(origin, path=b"/1"))
        far = origin.accept()
        far.head()
        far.send(OK)
        keptAfter(near, 200)
        far.close()
        time.sleep(0.1)
        try:
            near.send(request(origin, path=b"/2"))
            other = origin.accept(3)
            expect(other.head().asked, b"GET /2", "the origin saw")
            other.send(OK)
            expect(readAnswer(near).status, 200, "answered")
        except (Ended, ConnectionError):
            raise Unlike("closed behind the first") from None
        return "asked anew"
