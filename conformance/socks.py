"""Behaviours of SOCKS5 requests: replies, names and literals (RFC 1928, 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conformance.behaviour import Address, Unlike, asks, expect
from conformance.talk import Origin, refusing
from conformance.tunnels import (
    grantedAndWorks,
    greet,
    notServed,
    socks4Request,
    socks5Name,
    socks5Reply,
    socks5Request,
)

CONNECT = b"\x05\x01\x00"


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
        return notServed(at, near, origin)


@asks("port-0", "RFC 6335, 6 (port 0 is reserved); ours", "socks5", "socks4")
def portZero(at: Address) -> str:
    """Port 0 is refused."""
    with Origin() as origin, greet(at) as near:
        near.send((socks5Request if at.protocol == "socks5" else socks4Request)("127.0.0.1", 0))
        return notServed(at, near, origin)


_LONG: Final = (b"a" * 62 + b".") * 3 + b"a" * 58 + b".invalid"


def _names(label: str, title: str, make: Callable[[], bytes], source: str) -> None:
    def test(at: Address) -> str:
        with Origin() as origin, greet(at) as near:
            near.send(CONNECT + socks5Name(make(), origin.port))
            return notServed(at, near, origin)

    test.__doc__ = title
    asks(f"name-{label}", source, "socks5")(test)


_names("empty", "An empty name is refused", lambda: b"", "RFC 1928, 5")
_names(
    "nul", "A name with a NUL in it is refused, not cut off there", lambda: b"localhost\0.invalid", "ours (C strings)"
)
_names("newline", "A name with a line's end in it is refused", lambda: b"localhost\r\n", "ours")
_names("space", "A name with a space behind it is refused", lambda: b"localhost ", "RFC 1123, 2.1; ours")
_names("label-64", "A label of 64 octets is refused", lambda: b"a" * 64 + b".invalid", "RFC 1035, 2.3.4")
_names("255", "A name of 255 octets, a valid one, gets an answer", lambda: _LONG,
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
