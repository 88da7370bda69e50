"""Behaviours of SOCKS4 and 4a, by the memos of the two."""

from __future__ import annotations

from conformance.behaviour import LOGIN, USER, Address, Unlike, asks, expect
from conformance.talk import Origin, refusing
from conformance.tunnels import (
    answer,
    grantedAndWorks,
    greet,
    notServed,
    socks4Request,
)


@asks("refused", "SOCKS4 memo, CONNECT", "socks4")
def refused4(at: Address) -> str:
    """A port that refuses is replied to with 5B, in 8 octets, and the connection ends."""
    with refusing() as port, greet(at) as near:
        near.send(socks4Request("127.0.0.1", port))
        expect(answer(at.protocol, near)[1], "replied 5B", "it")
        if not near.isOver():
            raise Unlike("5B, and the connection stays open")
        return "5B, and closed"


@asks("no-such-name", "SOCKS4a memo", "socks4a")
def noSuchName4(at: Address) -> str:
    """A name that does not exist is replied to with 5B."""
    with greet(at) as near:
        near.send(socks4Request("no-such-host.invalid", 80))
        expect(answer(at.protocol, near)[1], "replied 5B", "it")
        return "5B"


@asks("command-unknown", "SOCKS4 memo", "socks4")
def unknownCommand4(at: Address) -> str:
    """A command that does not exist is refused."""
    with Origin() as origin, greet(at) as near:
        near.send(socks4Request(origin.host, origin.port, command=9))
        return notServed(at, near, origin)


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
        return notServed(at, near, origin)
