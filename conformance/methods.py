"""Behaviours of SOCKS5 before the request: the choice of a method, and the login (RFC 1928, 3; RFC 1929)."""

from __future__ import annotations

import contextlib
import time

from conformance.behaviour import LOGIN, PASSWORD, USER, Address, Unlike, asks, expect
from conformance.talk import Origin, Talk, dial
from conformance.tunnels import (
    GREETING,
    answer,
    expectMethod,
    grantedAndWorks,
    socks5Request,
)


@asks("one-segment", "RFC 9293, 3.9.1 (TCP keeps no message boundaries)", "socks5")
def oneSegment(at: Address) -> str:
    """Greeting, request and data in one segment work."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(GREETING + socks5Request(origin.host, origin.port) + b"first ")
        expectMethod(near, 0)
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        near.send(b"second")
        expect(origin.accept().read(12), b"first second", "the origin got")
        return "the tunnel works"


@asks("methods-many", "RFC 1928, 3", "socks5")
def manyMethods(at: Address) -> str:
    """A client that offers 255 methods, no login among them, is served."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(b"\x05\xff" + bytes(range(254, -1, -1)))
        expectMethod(near, 0)
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("methods-curl", "curl 7.88", "socks5")
def curlMethods(at: Address) -> str:
    """What curl offers without a login (0 and GSSAPI) works."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(b"\x05\x02\x00\x01")
        expectMethod(near, 0)
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("methods-none-fit", "RFC 1928, 3", "socks5")
def noMethodFits(at: Address) -> str:
    """A client with no method that is spoken here is told so (FF), and the connection ends."""
    with dial(at.host, at.port) as near:
        near.send(b"\x05\x01\x80")
        expectMethod(near, 0xFF)
        if not near.isOver():
            raise Unlike("FF, and the connection stays open")
        return "FF, and closed"


@asks("methods-empty", "RFC 1928, 3", "socks5")
def noMethods(at: Address) -> str:
    """A client that offers no method at all is told FF, or let go."""
    with dial(at.host, at.port) as near:
        near.send(b"\x05\x00")
        said = near.within(2)
        if said is None:
            raise Unlike("left hanging for 2 s")
        if said not in (b"", b"\x05\xff"):
            raise Unlike(f"answered {said.hex(' ')}")
        return "FF" if said else "closed"


@asks("methods-only-login", "uv 0.13 and httpx 0.28 with a password in the URL; ours", "socks5")
def onlyLogin(at: Address) -> str:
    """A client that insists on sending a login is served where none is needed."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(b"\x05\x01\x02")
        expectMethod(near, 2)
        _logIn(near)
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("version", "RFC 1928, 3", "socks5")
def unknownVersion(at: Address) -> str:
    """A first octet that is no version of SOCKS is not answered with success, nor left hanging."""
    with dial(at.host, at.port) as near:
        near.send(b"\x06\x01\x00")
        began = time.monotonic()
        said = near.within(2)
        if said is None:
            raise Unlike(f"left hanging for {time.monotonic() - began:.0f} s")
        if said[1:2] == b"\x00":
            raise Unlike(f"answered {said.hex(' ')}")
        return "answered" if said else "closed"


def _logIn(near: Talk, user: str = USER, password: str = PASSWORD) -> None:
    near.send(_login(user, password))
    said = near.read(2)
    if said[1]:
        raise Unlike(f"login refused with {said[1]:02X}")


def _login(user: str, password: str) -> bytes:
    name, secret = user.encode(), password.encode()
    return b"\x01" + bytes([len(name)]) + name + bytes([len(secret)]) + secret


def _offerLogin(at: Address) -> Talk:
    near = dial(at.host, at.port)
    near.send(b"\x05\x02\x00\x02")
    expectMethod(near, 2)
    return near


@asks("login", "RFC 1929, 2", "socks5", variant=LOGIN)
def login(at: Address) -> str:
    """With the right login you get through."""
    with Origin() as origin, _offerLogin(at) as near:
        _logIn(near)
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("login-drip", "RFC 9293, 3.9.1", "socks5", variant=LOGIN)
def loginByteByByte(at: Address) -> str:
    """A login that arrives octet by octet works."""
    with Origin() as origin, _offerLogin(at) as near:
        near.drip(_login(USER, PASSWORD))
        expect(near.read(2)[1:], b"\x00", "the login's status")
        near.drip(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("login-wrong", "RFC 1929, 2", "socks5", variant=LOGIN)
def wrongLogin(at: Address) -> str:
    """A wrong password is refused with a status, and the connection ends."""
    return _refusesLogin(at, _login(USER, "wrong"))


@asks("login-empty", "RFC 1929, 2", "socks5", variant=LOGIN)
def emptyLogin(at: Address) -> str:
    """An empty user and password are refused with a status, and the connection ends."""
    return _refusesLogin(at, _login("", ""))


@asks("login-255", "RFC 1929, 2", "socks5", variant=LOGIN)
def longLogin(at: Address) -> str:
    """A user and a password of 255 octets, which are wrong, are refused like any other."""
    return _refusesLogin(at, _login("u" * 255, "p" * 255))


def _refusesLogin(at: Address, sent: bytes) -> str:
    with Origin() as origin, _offerLogin(at) as near:
        near.send(sent)
        said = near.read(2)
        if not said[1]:
            raise Unlike("accepted it")
        with contextlib.suppress(ConnectionError):
            near.send(socks5Request(origin.host, origin.port))
        if not near.isOver():
            raise Unlike(f"status {said[1]:02X}, and the connection stays open")
        if not origin.isAlone(0.2):
            raise Unlike("connected all the same")
        return f"status {said[1]:02X}, and closed"


@asks("login-needed", "RFC 1928, 3", "socks5", variant=LOGIN)
def loginNeeded(at: Address) -> str:
    """Where a login is wanted, a client that offers none is told FF."""
    with dial(at.host, at.port) as near:
        near.send(GREETING)
        expectMethod(near, 0xFF)
        return "FF"


@asks("login-is-yours", "ours", "socks5", variant=LOGIN)
def loginIsNotRemembered(at: Address) -> str:
    """One good login does not open the port to everybody else at that address."""
    login(at)
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(GREETING)
        said = near.read(2)
        if said == b"\x05\x00":
            near.send(socks5Request(origin.host, origin.port))
            granted, _ = answer(at.protocol, near)
            raise Unlike("the next client needed none" if granted else "method 0 was chosen")
        return "the next client needs its own"
