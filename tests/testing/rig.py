"""Faulty listeners on real loopback sockets, for the tests of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.testing import Echo, Events, Server, Upstream
from pipsocks.testing.server import Kind
from tests.loopback import Talk, connect

GREETING = b"\x05\x01\x00"
CHOSEN = b"\x05\x00"
GRANTED = b"\x05\x00\x00\x01" + bytes(6)


def socksTo(port: int, host: str = "127.0.0.1") -> bytes:
    """A greeting and a request of SOCKS 5, at once."""
    return GREETING + b"\x05\x01\x00\x01" + bytes(map(int, host.split("."))) + port.to_bytes(2, "big")


def connectTo(port: int, host: str = "127.0.0.1") -> bytes:
    """A CONNECT."""
    return f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode()


def replied(code: int) -> bytes:
    """The reply of SOCKS 5 with that code."""
    return b"\x05" + bytes([code]) + b"\x00\x01" + bytes(6)


class Clocked:
    """The reactor, with time that a test moves itself."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)


class FaultCase(TestCase):
    """Starts listeners that end with the test."""

    timeout = 60

    def serve(
        self, kind: Kind, *faults: str, seed: int = 0, with_: Any = reactor, tls: Any = None, host: str = "127.0.0.1"
    ) -> Server:
        """A listener; its events are in `events`, which those of a later one replace."""
        self.events = Events(reactor)
        server = Server(with_, kind, faults, seed=seed, tls=tls, log=self.events, host=host)
        server.listen()
        self.addCleanup(server.stop)
        return server

    def hop(self, *faults: str, **options: Any) -> tuple[Server, int]:
        """An upstream, and the port of an echo."""
        there = self.serve(Echo()).port
        return self.serve(Upstream(), *faults, **options), there

    async def say(self, server: Server, *pieces: bytes) -> Talk:
        """A client that has said this."""
        talk = await connect(self, server.port)
        for piece in pieces:
            talk.write(piece)
        return talk

    async def whole(self, server: Server, *pieces: bytes) -> tuple[bytes, str]:
        """All that a client that says this gets, and how it ends: ``close`` or ``reset``."""
        talk = await self.say(server, *pieces)
        data = await talk.readAll()
        if talk.lost is None:  # a half-close
            return data, "close"
        return data, "close" if talk.lost.check(ConnectionDone) else "reset"

    async def leave(self, talk: Talk) -> None:
        """End a connection, of which the other side may have ended its direction."""
        if talk.lost is None and talk.transport is not None:
            talk.transport.loseConnection()
        await talk.gone()

    async def silent(self, server: Server, expected: bytes, event: str, pieces: Sequence[bytes]) -> None:
        """A client that says this gets `expected`, once `event` has happened, and nothing else."""
        talk = await self.say(server, *pieces)
        await self.events.until(event)
        await talk.until(lambda: len(talk.received) >= len(expected))
        self.assertFalse(talk.ended)
        await server.stop()
        # What ends it is the server's own end.
        self.assertEqual(await talk.readAll(), expected)
        self.assertEqual(self.events.named("lost")[0]["reason"], "ConnectionAborted")
