"""Behaviours of SOCKS5 (RFC 1928, 1929) and of SOCKS4 and 4a."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from conformance.behaviour import LOGIN, PASSWORD, USER, Address, Unlike, asks, expect
from conformance.talk import Origin, Talk, dial, refusing
from conformance.tunnels import (
    GREETING,
    answer,
    grantedAndWorks,
    greet,
    refusedOrClosed,
    socks4Request,
    socks5Name,
    socks5Reply,
    socks5Request,
)

CONNECT = b"\x05\x01\x00"

# methods


@asks("one-segment", "RFC 9293, 3.9.1 (TCP keeps no message boundaries)", "socks5")
def oneSegment(at: Address) -> str:
    """Greeting, request and data in one segment work."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(GREETING + socks5Request(origin.host, origin.port) + b"first ")
        expect(near.read(2), b"\x05\x00", "chose the method")
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
        expect(near.read(2), b"\x05\x00", "chose the method")
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("methods-curl", "curl 7.88", "socks5")
def curlMethods(at: Address) -> str:
    """What curl offers without a login (0 and GSSAPI) works."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(b"\x05\x02\x00\x01")
        expect(near.read(2), b"\x05\x00", "chose the method")
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("methods-none-fit", "RFC 1928, 3", "socks5")
def noMethodFits(at: Address) -> str:
    """A client with no method that is spoken here is told so (FF), and the connection ends."""
    with dial(at.host, at.port) as near:
        near.send(b"\x05\x01\x80")
        expect(near.read(2), b"\x05\xff", "chose the method")
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
        chosen = near.read(2)
        if chosen != b"\x05\x02":
            raise Unlike(f"chose the method {chosen[1]:02X}")
        _logIn(near)
        near.send(socks5Request(origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


def _logIn(near: Talk, user: str = USER, password: str = PASSWORD) -> None:
    near.send(_login(user, password))
    said = near.read(2)
    if said[1]:
        raise Unlike(f"login refused with {said[1]:02X}")


def _login(user: str, password: str) -> bytes:
    name, secret = user.encode(), password.encode()
    return b"\x01" + bytes([len(name)]) + name + bytes([len(secret)]) + secret


# login


def _offerLogin(at: Address) -> Talk:
    near = dial(at.host, at.port)
    near.send(b"\x05\x02\x00\x02")
    expect(near.read(2), b"\x05\x02", "chose the method")
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
        expect(near.read(2), b"\x05\xff", "chose the method")
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


# replies


def _replies(at: Address, request: bytes, *wanted: int) -> str:
    with greet(at) as near:
        near.send(request)
        code, _, _ = socks5Reply(near)
        if code not in wanted:
            raise Unlike(f"replied {code:02X}")
        return f"replied {code:02X}"


@asks("refused", "RFC 1928, 6", "socks5")
def refused(at: Address) -> str:
    """A port that refuses is replied to with 05."""
    with refusing() as port:
        return _replies(at, socks5Request("127.0.0.1", port), 5)


@asks("unreachable", "RFC 1928, 6", "socks5")
def unreachable(at: Address) -> str:
    """An address to which there is no way is replied to with 03 (or 04)."""
    # Linux answers a TCP connect to the broadcast address with ENETUNREACH; nothing is sent.
    return _replies(at, socks5Request("255.255.255.255", 9), 3, 4)


@asks("no-such-name", "RFC 1928, 6; ours (04 and not 01)", "socks5")
def noSuchName(at: Address) -> str:
    """A name that does not exist is replied to with 04."""
    return _replies(at, CONNECT + socks5Name(b"no-such-host.invalid", 80), 4)


@asks("command-unknown", "RFC 1928, 6", "socks5")
def unknownCommand(at: Address) -> str:
    """A command that does not exist is replied to with 07."""
    return _replies(at, socks5Request("127.0.0.1", 9, command=9), 7)


@asks("command-bind", "RFC 1928, 6", "socks5")
def bind(at: Address) -> str:
    """BIND is served, or replied to with 07 (or 02)."""
    return _replies(at, socks5Request("127.0.0.1", 9, command=2), 0, 2, 7)


@asks("command-udp", "RFC 1928, 6 and 7", "socks5")
def udp(at: Address) -> str:
    """UDP ASSOCIATE is served, or replied to with 07 (or 02)."""
    return _replies(at, b"\x05\x03\x00\x01" + bytes(6), 0, 2, 7)


@asks("address-type", "RFC 1928, 6", "socks5")
def addressType(at: Address) -> str:
    """An address type that does not exist is replied to with 08."""
    return _replies(at, b"\x05\x01\x00\x05" + bytes(6), 8)


@asks("reply-whole", "RFC 1928, 6", "socks5")
def replyWhole(at: Address) -> str:
    """The reply has exactly the octets that its address type says, and nothing comes behind it."""
    with Origin() as origin, greet(at) as near:
        near.send(socks5Request(origin.host, origin.port))
        code, _, _ = socks5Reply(near)
        expect(code, 0, "replied")
        behind = near.within(0.4)
        if behind is not None:
            raise Unlike(f"{len(behind)} octets behind the reply")
        return "nothing behind it"


@asks("reply-bound", "RFC 1928, 6", "socks5")
def boundAddress(at: Address) -> str:
    """The reply tells the address and port that the destination sees."""
    with Origin() as origin, greet(at) as near:
        near.send(socks5Request(origin.host, origin.port))
        code, host, port = socks5Reply(near)
        expect(code, 0, "replied")
        if origin.accept().socket.getpeername()[:2] != (host, port):
            raise Unlike("all zeros" if port == 0 else "another address, or port")
        return "the address that the destination sees"


@asks("failure-closes", "RFC 1928, 6 (within 10 s)", "socks5")
def failureCloses(at: Address) -> str:
    """Behind a reply that says no the connection ends."""
    with refusing() as port, greet(at) as near:
        near.send(socks5Request("127.0.0.1", port))
        code, _, _ = socks5Reply(near)
        if not code:
            raise Unlike("replied 00 for a port that refuses")
        if not near.isOver(10):
            raise Unlike("still open after 10 s")
        return f"replied {code:02X}, and closed"


@asks("request-version", "RFC 1928, 4", "socks5")
def requestVersion(at: Address) -> str:
    """A request whose version is not 5 is refused, or ends the connection."""
    with Origin() as origin, greet(at) as near:
        near.send(b"\x06" + socks5Request(origin.host, origin.port)[1:])
        return _notServed(at, near, origin)


def _notServed(at: Address, near: Talk, origin: Origin) -> str:
    """No success, within bounds, and nothing at the origin."""
    near.socket.settimeout(5)
    said = refusedOrClosed(at, near)
    if not origin.isAlone(0.2):
        raise Unlike(f"{said}, but connected")
    return said


# names, literals and ports


@asks("port-0", "RFC 6335, 6 (port 0 is reserved); ours", "socks5", "socks4")
def portZero(at: Address) -> str:
    """Port 0 is refused."""
    with Origin() as origin, greet(at) as near:
        near.send((socks5Request if at.protocol == "socks5" else socks4Request)("127.0.0.1", 0))
        return _notServed(at, near, origin)


def _names(label: str, title: str, make: Callable[[], bytes], source: str) -> None:
    def test(at: Address) -> str:
        with Origin() as origin, greet(at) as near:
            near.send(CONNECT + socks5Name(make(), origin.port))
            return _notServed(at, near, origin)

    test.__doc__ = title
    asks(f"name-{label}", source, "socks5")(test)


_names("empty", "An empty name is refused", lambda: b"", "RFC 1928, 5")
_names(
    "nul", "A name with a NUL in it is refused, not cut off there", lambda: b"localhost\0.invalid", "ours (C strings)"
)
_names("newline", "A name with a line's end in it is refused", lambda: b"localhost\r\n", "ours")
_names("space", "A name with a space behind it is refused", lambda: b"localhost ", "RFC 1123, 2.1; ours")
_names("label-64", "A label of 64 octets is refused", lambda: b"a" * 64 + b".invalid", "RFC 1035, 2.3.4")
_names("255", "A name of 255 octets, a valid one, gets an answer", lambda: (b"a" * 62 + b".") * 3 + b"a" * 58 + b".invalid",
       "RFC 1928, 5")  # fmt: skip
_names("dots", "A name with an empty label is refused", lambda: b"localhost..invalid", "RFC 1035, 3.1")


def _literal(label: str, spelling: str, source: str) -> None:
    def test(at: Address) -> str:
        with Origin() as origin, greet(at) as near:
            near.send(CONNECT + socks5Name(spelling.encode(), origin.port))
            return grantedAndWorks(at, near, origin)

    test.__doc__ = f"The literal {spelling}, sent as a name, is the address it stands for"
    asks(f"literal-{label}", source, "socks5")(test)


_literal("dotted", "127.0.0.1", "PySocks, Go and others; ours")
_literal("short", "127.1", "POSIX, inet_addr(); ours")
_literal("hex", "0x7f.0.0.1", "POSIX, inet_addr(); ours")
_literal("octal", "0177.0.0.01", "POSIX, inet_addr(); ours")
_literal("number", "2130706433", "POSIX, inet_addr(); ours")


@asks("literal-ipv6", "RFC 5952; ours", "socks5")
def literalIPv6(at: Address) -> str:
    """The literal ::1, sent as a name, is the address it stands for."""
    with Origin("::1") as origin, greet(at) as near:
        near.send(CONNECT + socks5Name(b"::1", origin.port))
        return grantedAndWorks(at, near, origin)


# SOCKS4


@asks("refused", "SOCKS4 memo, CONNECT", "socks4")
def refused4(at: Address) -> str:
    """A port that refuses is replied to with 5B, in 8 octets, and the connection ends."""
    with refusing() as port, greet(at) as near:
        near.send(socks4Request("127.0.0.1", port))
        reply = near.read(8)
        expect(reply[:2], b"\0\x5b", "replied")
        if not near.isOver():
            raise Unlike("5B, and the connection stays open")
        return "5B, and closed"


@asks("no-such-name", "SOCKS4a memo", "socks4a")
def noSuchName4(at: Address) -> str:
    """A name that does not exist is replied to with 5B."""
    with greet(at) as near:
        near.send(socks4Request("no-such-host.invalid", 80))
        expect(near.read(8)[:2], b"\0\x5b", "replied")
        return "5B"


@asks("command-unknown", "SOCKS4 memo", "socks4")
def unknownCommand4(at: Address) -> str:
    """A command that does not exist is refused."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request(origin.host, origin.port, command=9))
        return _notServed(at, near, origin)


@asks("user", "SOCKS4 memo", "socks4")
def user4(at: Address) -> str:
    """A user id does no harm where no login is needed."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request(origin.host, origin.port, b"parrot"))
        return grantedAndWorks(at, near, origin)


@asks("user-endless", "ours", "socks4")
def endlessUser(at: Address) -> str:
    """A user id without an end is not read for ever."""
    with greet(at) as near:
        near.send(b"\x04\x01\x00\x50\x7f\x00\x00\x01")
        try:
            near.socket.settimeout(3)
            for _ in range(256):
                near.send(b"u" * 4096)
            near.within(1)
        except TimeoutError:
            return "stopped reading"
        except ConnectionError:
            return "ended the connection"
        near.socket.settimeout(3)
        said = near.within(1)
        if said is None:
            raise Unlike("read 1 MiB and waits for more")
        return "refused"


@asks("early", "SOCKS4a memo", "socks4a")
def early4a(at: Address) -> str:
    """What stands behind the name's end belongs to the tunnel."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request("localhost", origin.port, b"parrot") + b"early ")
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        near.send(b"late")
        expect(origin.accept().read(10), b"early late", "the origin got")
        return "it came first"


@asks("name-literal", "ours", "socks4a")
def literal4a(at: Address) -> str:
    """A literal, sent as a name, is the address it stands for."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request("127.1", origin.port))
        return grantedAndWorks(at, near, origin)


@asks("login-needed", "ours (a user id is no password)", "socks4", variant=LOGIN)
def login4(at: Address) -> str:
    """Where a login is wanted, SOCKS4 does not get around it."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request(origin.host, origin.port, USER.encode()))
        return _notServed(at, near, origin)


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
