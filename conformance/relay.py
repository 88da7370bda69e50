"""Behaviours of an open tunnel, the same for every protocol that makes one, and of one that is still to come."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final

from conformance.behaviour import Address, Unlike, asks, expect
from conformance.talk import FILL_LIMIT, Origin, Talk, blackHole, dial, megabytes, refusing, sendBeside
from conformance.tunnels import (
    GREETING,
    answer,
    expectMethod,
    grantedAndWorks,
    greet,
    opened,
    refusedOrClosed,
    requestBytes,
)

TUNNELS: Final = ("socks5", "socks4", "connect")
BY_NAME: Final = ("socks5", "socks4a", "connect")
BOTH: Final = ("socks5", "connect")
SMALL: Final = 1 << 16
MIB: Final = 1 << 20

_TCP: Final = "RFC 9293, 3.6 (a connection half closed); ours"
_STREAM: Final = "RFC 9293, 3.9.1 (TCP keeps no message boundaries)"


@asks("ipv4", {"socks5": "RFC 1928, 4 to 6", "socks4": "SOCKS4 memo", "connect": "RFC 9110, 9.3.6"})
def ipv4(at: Address) -> str:
    """You reach an IPv4 address through a tunnel."""
    with Origin() as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("ipv6", {"socks5": "RFC 1928, 5", "connect": "RFC 9112, 3.2.3"})
def ipv6(at: Address) -> str:
    """You reach an IPv6 address through a tunnel."""
    with Origin("::1") as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, origin.host, origin.port))
        return grantedAndWorks(at, near, origin)


@asks("name", {"socks5": "RFC 1928, 5", "socks4a": "SOCKS4a memo", "connect": "RFC 9112, 3.2.3"})
def name(at: Address) -> str:
    """You reach a host by its name, which the proxy looks up."""
    with Origin() as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, "localhost", origin.port))
        return grantedAndWorks(at, near, origin)


@asks("name-upper", "RFC 4343, 3", *BY_NAME)
def nameUpper(at: Address) -> str:
    """A name in capitals is the same name."""
    with Origin() as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, "LocalHost", origin.port))
        return grantedAndWorks(at, near, origin)


@asks("drip", _STREAM, *TUNNELS, "socks4a")
def byteByByte(at: Address) -> str:
    """A handshake that arrives octet by octet works."""
    with Origin() as origin, dial(at.host, at.port) as near:
        if at.protocol == "socks5":
            near.drip(GREETING)
            expectMethod(near, 0)
        near.drip(requestBytes(at.protocol, origin.host if at.protocol == "socks4" else "localhost", origin.port))
        return grantedAndWorks(at, near, origin)


@asks("early", {"socks5": _STREAM, "socks4": _STREAM, "connect": "RFC 9110, 9.3.6"})
def early(at: Address) -> str:
    """What a client sends in one segment with its request reaches the destination first, and whole."""
    with Origin() as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, origin.host, origin.port) + b"early ")
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        near.send(b"late")
        expect(origin.accept().read(10), b"early late", "the origin got")
        return "it came first"


@asks("early-bulk", {"socks5": "ours", "connect": "RFC 9110, 9.3.6"})
def earlyBulk(at: Address) -> str:
    """256 KiB sent before the answer is read arrive whole and in order."""
    data = megabytes(1)[: 1 << 18]
    with Origin() as origin, greet(at) as near:
        sendBeside(near, requestBytes(at.protocol, origin.host, origin.port) + data)
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        if origin.accept().read(len(data)) != data:
            raise Unlike("other octets arrived")
        return "they arrived whole"


@asks("dial-first", {"socks5": "RFC 1928, 6", "socks4": "SOCKS4 memo", "connect": "RFC 9110, 9.3.6"})
def successAfterTheDial(at: Address) -> str:
    """Success is told only once the destination has been reached."""
    with blackHole() as port, greet(at) as near:
        near.send(requestBytes(at.protocol, "127.0.0.1", port))
        said = near.within(1.5)
        if said is None:
            return "silent while the connect was pending"
        near.unread(said)
        return refusedOrClosed(at, near)


@asks("pending-bounded", "ours", *BOTH)
def pendingBounded(at: Address) -> str:
    """While the destination does not answer, what a client sends is not taken without bound."""
    with blackHole() as port, greet(at) as near:
        near.send(requestBytes(at.protocol, "127.0.0.1", port))
        return _isBounded(near)


def _isBounded(talk: Talk) -> str:
    try:
        taken = talk.fill()
    except ConnectionError:
        return "ended the connection"
    if taken >= FILL_LIMIT:
        raise Unlike(f"took {taken // MIB} MiB and wanted more")
    return f"took under {taken // MIB + 1} MiB"


@asks("refusal-survives", {"socks5": "ours", "socks4": "ours", "connect": "RFC 9112, 9.6"})
def refusalSurvives(at: Address) -> str:
    """A refusal reaches a client that has already sent more than the proxy read."""
    with refusing() as port, greet(at) as near:
        with contextlib.suppress(ConnectionError):
            near.send(requestBytes(at.protocol, "127.0.0.1", port) + bytes(200_000))
        time.sleep(0.3)  # for the reset, if one comes, to overtake the answer
        granted, said = answer(at.protocol, near)
        if granted:
            raise Unlike(f"{said}, success, for a port that refuses")
        return said


@asks("client-ends-first", _TCP, *TUNNELS)
def clientEndsFirst(at: Address) -> str:
    """When the client has sent all and says so, it still gets the whole answer."""
    data = megabytes(1)
    with Origin() as origin, opened(at, origin) as (near, far):
        near.send(b"the question")
        near.end()
        expect(far.rest(), b"the question", "the origin got")
        time.sleep(0.3)  # a proxy that ends both directions at once has done so by now
        sendBeside(far, data, close=True)
        if near.rest() != data:
            raise Unlike("the answer was cut short")
        return "the whole answer came"


@asks("origin-ends-first", _TCP, *TUNNELS)
def originEndsFirst(at: Address) -> str:
    """When the destination has sent all and says so, it still gets the rest of what the client sends."""
    data = megabytes(1)
    with Origin() as origin, opened(at, origin) as (near, far):
        far.send(b"done")
        far.end()
        expect(near.rest(), b"done", "the client got")
        time.sleep(0.3)  # a proxy that ends both directions at once has done so by now
        sendBeside(near, data, close=True)
        try:
            arrived = far.rest()
        except ConnectionError:
            raise Unlike("the rest of the upload was cut off") from None
        if arrived != data:
            raise Unlike(f"{len(arrived)} of {len(data)} octets arrived")
        return "all of it came"


@asks("tail-down", {"socks5": "ours", "connect": "RFC 9110, 9.3.6"})
def tailDown(at: Address) -> str:
    """A destination that sends 4 MiB and closes at once is heard to the end by a slow client."""
    data = megabytes(4)
    with Origin() as origin, opened(at, origin, receive=SMALL) as (near, far):
        sendBeside(far, data, close=True)
        time.sleep(0.4)  # the proxy sees the end long before the client has read
        arrived = near.rest()
        if arrived != data:
            raise Unlike(f"{len(arrived)} of {len(data)} octets arrived")
        return "all of it came"


@asks("tail-up", {"socks5": "ours", "connect": "RFC 9110, 9.3.6"})
def tailUp(at: Address) -> str:
    """A client that sends 4 MiB and closes at once is heard to the end by a slow destination."""
    data = megabytes(4)
    with Origin() as origin:
        origin.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        with opened(at, origin) as (near, far):
            sendBeside(near, data, close=True)
            time.sleep(0.4)  # the proxy sees the end long before the origin has read
            arrived = far.rest()
            if arrived != data:
                raise Unlike(f"{len(arrived)} of {len(data)} octets arrived")
            return "all of it came"


@asks("origin-resets", "ours", *BOTH)
def originResets(at: Address) -> str:
    """A connection that the destination resets is reset for the client too, not ended cleanly."""
    with Origin() as origin, opened(at, origin) as (near, far):
        works2(near, far)
        far.reset()
        return _isReset(near)


@asks("client-resets", "ours", *BOTH)
def clientResets(at: Address) -> str:
    """A connection that the client resets is reset for the destination too, not ended cleanly."""
    with Origin() as origin, opened(at, origin) as (near, far):
        works2(near, far)
        near.reset()
        return _isReset(far)


def works2(near: Talk, far: Talk) -> None:
    """Both directions of a tunnel whose ends are known."""
    near.send(b"there")
    expect(far.read(5), b"there", "the origin got")
    far.send(b"back")
    expect(near.read(4), b"back", "the client got")


def _isReset(talk: Talk) -> str:
    try:
        left = talk.rest()
    except ConnectionResetError:
        return "reset"
    raise Unlike(f"ended cleanly behind {len(left)} octets")


@asks("slow-client", "ours", *BOTH)
def slowClient(at: Address) -> str:
    """A client that does not read stops the destination, and the proxy does not collect without bound."""
    with Origin() as origin, opened(at, origin, receive=SMALL) as (_, far):
        far.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        return _isBounded(far)


@asks("slow-origin", "ours", *BOTH)
def slowOrigin(at: Address) -> str:
    """A destination that does not read stops the client, and the proxy does not collect without bound."""
    with Origin() as origin:
        origin.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        with opened(at, origin) as (near, _):
            near.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
            return _isBounded(near)


@asks("both-ways", "ours", *BOTH)
def bothWaysAtOnce(at: Address) -> str:
    """4 MiB each way at the same time arrive whole in both directions."""
    data = megabytes(4)
    with Origin() as origin, opened(at, origin) as (near, far):
        sendBeside(near, data)
        sendBeside(far, data[::-1])
        if near.read(len(data)) != data[::-1] or far.read(len(data)) != data:
            raise Unlike("other octets arrived")
        return "all of it came"


@asks("urgent", "RFC 6093, 6 (in-line); ours", *BOTH)
def urgent(at: Address) -> str:
    """An octet that is sent as urgent data is not lost, and the tunnel goes on."""
    with Origin() as origin, opened(at, origin) as (near, far):
        far.socket.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        far.socket.settimeout(3)
        near.send(b"before ")
        near.socket.send(b"!", socket.MSG_OOB)
        near.send(b" behind")
        expect(far.read(15), b"before ! behind", "the origin got")
        return "it came in its place"
