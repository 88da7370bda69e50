"""How a client of each protocol asks for a tunnel: message by message, each after the answer to the one before."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

from conformance.behaviour import Address, Ended, Unlike, expect
from conformance.talk import Origin, Talk, dial

GREETING: Final = b"\x05\x01\x00"
GRANTED: Final = 0


def socks5Request(host: str, port: int, kind: int = 0, command: int = 1) -> bytes:
    """A request of RFC 1928, section 4. `kind` 3 sends even a literal as a name."""
    head = bytes([5, command, 0])
    for number, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        if kind in (0, number):
            with contextlib.suppress(OSError):
                return head + bytes([number]) + socket.inet_pton(family, host) + struct.pack(">H", port)
    return head + socks5Name(host.encode("latin-1"), port)


def socks5Name(name: bytes, port: int) -> bytes:
    """Address type 3: a name, whatever is in it."""
    return bytes([3, len(name)]) + name + struct.pack(">H", port)


def socks4Request(host: str, port: int, user: bytes = b"", command: int = 1) -> bytes:
    """A request of SOCKS4, or of 4a where the host is no IPv4 address."""
    head = bytes([4, command]) + struct.pack(">H", port)
    try:
        return head + socket.inet_pton(socket.AF_INET, host) + user + b"\0"
    except OSError:
        return head + b"\0\0\0\1" + user + b"\0" + host.encode("latin-1") + b"\0"


def connectRequest(host: str, port: int, fields: bytes = b"") -> bytes:
    """A CONNECT as most clients send it."""
    target = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
    return b"CONNECT " + target + b" HTTP/1.1\r\nHost: " + target + b"\r\n" + fields + b"\r\n"


_REQUESTS: Final[dict[str, Callable[[str, int], bytes]]] = {
    "socks5": socks5Request,
    "socks4": socks4Request,
    "socks4a": socks4Request,
    "connect": connectRequest,
}


def requestBytes(protocol: str, host: str, port: int) -> bytes:
    """The message that names the destination."""
    return _REQUESTS[protocol](host, port)


def greet(at: Address) -> Talk:
    """A connection to the proxy, through SOCKS5's choice of a method where there is one."""
    talk = dial(at.host, at.port)
    try:
        if at.protocol == "socks5":
            talk.send(GREETING)
            expectMethod(talk, 0)
    except BaseException:
        talk.close()
        raise
    return talk


def expectMethod(talk: Talk, wanted: int) -> None:
    """Read the choice of a method."""
    version, chosen = talk.read(2)
    if version != 5 or chosen != wanted:
        raise Unlike(f"chose the method {chosen:02X}" if version == 5 else f"answered as version {version}")


def socks5Reply(talk: Talk) -> tuple[int, str, int]:
    """A reply of RFC 1928, section 6: its code and the bound address."""
    version, code, _, kind = talk.read(4)
    if version != 5:
        raise Unlike(f"a reply of version {version}")
    if kind == 3:
        host = talk.read(talk.read(1)[0]).decode("latin-1")
    elif kind in (1, 4):
        family, width = ((socket.AF_INET, 4), (socket.AF_INET6, 16))[kind == 4]
        host = socket.inet_ntop(family, talk.read(width))
    else:
        raise Unlike(f"a reply with address type {kind}")
    return code, host, int(struct.unpack(">H", talk.read(2))[0])


def answer(protocol: str, talk: Talk) -> tuple[bool, str]:
    """Whether the proxy says yes, and what it says in a few words. Reads nothing of the tunnel."""
    if protocol == "socks5":
        code, _, _ = socks5Reply(talk)
        return code == GRANTED, f"replied {code:02X}"
    if protocol in ("socks4", "socks4a"):
        reply = talk.read(8)
        if reply[0] != 0:
            raise Unlike(f"a reply of version {reply[0]}")
        return reply[1] == 0x5A, f"replied {reply[1]:02X}"
    head = talk.head()
    return 200 <= head.status < 300, f"answered {head.status}"


@contextlib.contextmanager
def opened(at: Address, origin: Origin, receive: int = 0) -> Iterator[tuple[Talk, Talk]]:
    """A tunnel: the client's end and the origin's. Raises `Unlike` when the proxy says no."""
    with dial(at.host, at.port, receive) as near:
        if at.protocol == "socks5":
            near.send(GREETING)
            expectMethod(near, 0)
        near.send(requestBytes(at.protocol, origin.host, origin.port))
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        yield near, origin.accept()


def works(near: Talk, origin: Origin) -> Talk:
    """Both directions of a tunnel that was granted; the origin's end."""
    far = origin.accept()
    near.send(b"there")
    expect(far.read(5), b"there", "the origin got")
    far.send(b"and back")
    expect(near.read(8), b"and back", "the client got")
    return far


def grantedAndWorks(at: Address, near: Talk, origin: Origin) -> str:
    """Read the answer, which must be yes, and try the tunnel."""
    granted, said = answer(at.protocol, near)
    if not granted:
        raise Unlike(said)
    works(near, origin)
    return "the tunnel works"


def refusedOrClosed(at: Address, near: Talk) -> str:
    """Read the answer, which must be no, or the end of the connection in its place."""
    try:
        granted, said = answer(at.protocol, near)
    except Ended:
        return "closed without an answer"
    except ConnectionError:
        return "reset without an answer"
    if granted:
        raise Unlike(f"{said}, success")
    return said


def notServed(at: Address, near: Talk, origin: Origin) -> str:
    """No success, within bounds, and nothing at the origin."""
    near.socket.settimeout(5)
    said = refusedOrClosed(at, near)
    if not origin.isAlone(0.2):
        raise Unlike(f"{said}, but connected")
    return said
