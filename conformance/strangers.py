"""Behaviours towards clients that are slow, break off, or speak something else."""

from __future__ import annotations

import time
from typing import Final

from conformance.behaviour import HASTY, PATIENCE, Address, Unlike, asks
from conformance.relay import BOTH, TUNNELS
from conformance.talk import Origin, dial
from conformance.tunnels import (
    GREETING,
    answer,
    greet,
    requestBytes,
    works,
)

REAPED: Final = 11.0


@asks("handshake-dripped", "ours", *TUNNELS, variant=HASTY)
def handshakeIsReaped(at: Address) -> str:
    """A handshake that drips on is ended in time (3 s where that can be set, else within 11 s)."""
    lead = {
        "socks5": b"\x05\xff",
        "socks4": b"\x04\x01\x00\x50\x7f\x00\x00\x01",
        "connect": b"CONNECT x:1 HTTP/1.1\r\nA: ",
    }
    with dial(at.host, at.port) as near:
        near.send(lead[at.protocol])
        began = time.monotonic()
        while (age := time.monotonic() - began) < REAPED:
            try:
                near.send(b"a")
                if near.isOver(0.5):
                    return "ended"
            except ConnectionError:
                return "ended"
        raise Unlike(f"still open after {age:.0f} s")


@asks("handshake-silent", "ours", *BOTH, variant=HASTY)
def silenceIsReaped(at: Address) -> str:
    """A client that connects and says nothing is let go (after 3 s where that can be set, else within 11 s)."""
    with dial(at.host, at.port) as near:
        if near.isOver(REAPED):
            return "ended"
        raise Unlike(f"still open after {REAPED:.0f} s")


@asks("tls", "clients with an https:// proxy URL", "socks5", "connect")
def tlsHello(at: Address) -> str:
    """A client that speaks TLS to the plain port is told, or let go, within two seconds."""
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
    return _isNotLeftHanging(at, hello)


@asks("other-protocol", "clients with the wrong scheme in their proxy URL", "socks5", "connect")
def otherProtocol(at: Address) -> str:
    """A client that speaks HTTP to SOCKS, or SOCKS to HTTP, is served, told or let go within two seconds."""
    said = b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n" if at.protocol == "socks5" else GREETING
    return _isNotLeftHanging(at, said)


def _isNotLeftHanging(at: Address, said: bytes) -> str:
    with dial(at.host, at.port) as near:
        near.send(said)
        try:
            answered = near.within(PATIENCE / 4)
        except ConnectionError:
            return "reset"
        if answered is None:
            raise Unlike(f"left hanging for {PATIENCE / 4:g} s")
        return "answered" if answered else "closed"


@asks("afterwards", "ours", *TUNNELS)
def afterwards(at: Address) -> str:
    """Twenty clients that break off in the middle of a handshake do not disturb the next one."""
    for count in range(20):
        whole = requestBytes(at.protocol, "127.0.0.1", 9)
        with dial(at.host, at.port) as near:
            near.send((GREETING if at.protocol == "socks5" else b"") + whole[: count % len(whole)])
            if count % 2:
                near.reset()
    with Origin() as origin, greet(at) as near:
        near.send(requestBytes(at.protocol, origin.host, origin.port))
        granted, said = answer(at.protocol, near)
        if not granted:
            raise Unlike(said)
        works(near, origin)
        return "the next one is served"
