"""What the tests of upstream share: real sockets under a clock that stands still, and peers to script."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.dial import Network
from pipsocks.upstream.names import Names
from tests.loopback import Talk, TalkFactory, listen

A = Destination("a.example", 443)


class Standing(Clock):
    """The real reactor's sockets and threads, and time that passes when the test says so."""

    connectTCP = staticmethod(reactor.connectTCP)  # type: ignore[attr-defined]
    callFromThread = staticmethod(reactor.callFromThread)  # type: ignore[attr-defined]


class Inner(Talk):
    """The protocol that wants the tunnel."""

    bound: tuple[str, int] | None = None
    boundWhenMade: tuple[str, int] | None = None
    receivedWhenMade = b"?"

    def connectionMade(self) -> None:
        """Note what was there."""
        self.boundWhenMade = self.bound
        self.receivedWhenMade = self.received


def answers(names: dict[str, list[str]]) -> Callable[..., Any]:
    """A `getaddrinfo` that knows these names alone."""

    def lookUp(host: bytes, port: None, type: int) -> list[Any]:
        if host.decode() not in names:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, type, 0, "", (address, 0)) for address in names[host.decode()]]

    return lookUp


class UpstreamCase(TestCase):
    """Peers on loopback, a network whose time stands still, and everything closed at the end."""

    timeout = 60

    def setUp(self) -> None:
        """Begin with no connection."""
        self.clock = Standing()
        self.knownNames: dict[str, list[str]] = {"localhost": ["127.0.0.1"]}
        self.network = self.makeNetwork()
        self._opening: list[Deferred[Any]] = []
        self._inners: list[Any] = []
        self.addCleanup(self._close)

    def makeNetwork(self, **changes: Any) -> Network:
        """A network on the clock that stands still, and on names that the test knows."""
        return Network(self.clock, names=Names(self.clock, answers(self.knownNames)), **changes)

    def _close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._closeAll())

    async def _closeAll(self) -> None:
        for opening in self._opening:
            opening.cancel()
            opening.addErrback(lambda _: None)
        for inner in self._inners:
            if isinstance(inner, Talk) and inner.lost is None:
                inner.transport.abortConnection()  # type: ignore[union-attr]
                await inner.gone()

    async def peer(self) -> tuple[TalkFactory, Destination]:
        """Somebody who listens."""
        factory = TalkFactory()
        port = await listen(self, factory)

        async def close() -> None:
            await self._closeAll()
            for talk in factory.talks:
                if talk.lost is None:
                    talk.transport.abortConnection()  # type: ignore[union-attr]
                    await talk.gone()

        self.addCleanup(lambda: Deferred.fromCoroutine(close()))
        return factory, Destination("127.0.0.1", port)

    def open(self, endpoint: IStreamClientEndpoint, protocol: type = Inner) -> Deferred[Any]:
        """Begin to connect; whatever comes of it is closed at the end."""
        factory = Factory.forProtocol(protocol)
        factory.noisy = False
        opening: Deferred[Any] = endpoint.connect(factory)
        self._opening.append(opening)
        return opening.addCallback(self._opened)

    def _opened(self, inner: Any) -> Any:
        self._inners.append(inner)
        return inner

    async def refused(self, opening: Deferred[Any], code: str, **fields: str) -> Refusal:
        """Connecting must fail with this refusal, which has these fields."""
        try:
            got = await opening
        except Refusal as refusal:
            self.assertEqual(code, refusal.slug.code, str(refusal))
            for name, value in fields.items():
                self.assertEqual(value, getattr(refusal, name), f"{refusal}: {name}")
            return refusal
        raise AssertionError(f"{got} instead of {code}")


def unusedPort() -> int:
    """A port on 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
