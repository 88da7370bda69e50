"""Talking on real loopback sockets, from a test's coroutine."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

PATIENCE = 20.0
"""A test that waits longer fails; none depends on how fast the machine is."""


@implementer(IHalfCloseableProtocol)
class Talk(Protocol):
    """One end of a connection, whose events a coroutine awaits."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = False
        self.lost: Failure | None = None
        self._waiting: list[tuple[Any, Deferred[None]]] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._wake()

    def readConnectionLost(self) -> None:
        self.ended = True
        self._wake()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self.ended = True
        self.lost = reason
        self._wake()

    def _wake(self) -> None:
        for waiting in list(self._waiting):
            ready, deferred = waiting
            if ready():
                self._waiting.remove(waiting)
                deferred.callback(None)

    async def until(self, ready: Any) -> None:
        """Wait until `ready()`, asked after each event."""
        if not ready():
            deferred: Deferred[None] = Deferred()
            deferred.addTimeout(PATIENCE, reactor)  # type: ignore[arg-type]
            self._waiting.append((ready, deferred))
            await deferred

    async def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer where the connection ends before."""
        await self.until(lambda: len(self.received) >= count or self.ended)
        data, self.received = self.received[:count], self.received[count:]
        return data

    async def readUntil(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`; all there is where the connection ends before."""
        await self.until(lambda: mark in self.received or self.ended)
        at = self.received.find(mark)
        count = len(self.received) if at < 0 else at + len(mark)
        return await self.read(count)

    async def readAll(self) -> bytes:
        """Everything until the other side ends."""
        await self.until(lambda: self.ended)
        return await self.read(len(self.received))

    async def gone(self) -> Failure:
        """Wait until the connection is closed both ways; why."""
        await self.until(lambda: self.lost is not None)
        assert self.lost is not None
        return self.lost

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class TalkFactory(Factory):
    """Collects the connections that come to a listening port."""

    noisy = False

    def __init__(self) -> None:
        self.talks: list[Talk] = []
        self._waiting: list[Deferred[Talk]] = []
        self._next = 0

    def buildProtocol(self, addr: Any) -> Talk:
        talk = Talk()
        self.talks.append(talk)
        made = talk.connectionMade

        def connected() -> None:
            made()
            if self._waiting:
                self._next += 1
                self._waiting.pop(0).callback(talk)

        talk.connectionMade = connected  # type: ignore[method-assign]
        return talk

    async def accepted(self) -> Talk:
        """The next connection."""
        if self._next < len(self.talks):
            self._next += 1
            return self.talks[self._next - 1]
        waiting: Deferred[Talk] = Deferred()
        waiting.addTimeout(PATIENCE, reactor)  # type: ignore[arg-type]
        self._waiting.append(waiting)
        return await waiting


async def listen(case: Any, factory: Factory) -> int:
    """Listen on a free loopback port until the test ends; returns the port."""
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    case.addCleanup(port.stopListening)
    return port.getHost().port  # type: ignore[no-any-return,attr-defined]


async def connect(case: Any, port: int) -> Talk:
    """Connect to a loopback port; closed when the test ends."""
    talk: Talk = await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(Factory.forProtocol(Talk))  # type: ignore[assignment]

    async def close() -> None:
        if talk.lost is None and talk.transport is not None:
            talk.transport.abortConnection()  # type: ignore[attr-defined]
            await talk.gone()

    case.addCleanup(lambda: Deferred.fromCoroutine(close()))
    return talk
