"""Dialling on real sockets: which address, and what is told when none answers."""

from __future__ import annotations

import errno
import resource
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP6ClientEndpoint, TCP6ServerEndpoint
from twisted.internet.error import ConnectError, TimeoutError
from twisted.internet.interfaces import IStreamClientEndpoint
from zope.interface import implementer

from pipsocks.model import Destination
from pipsocks.upstream.dial import Dial
from pipsocks.upstream.names import LOOK_UP_LIMIT, Names
from tests.loopback import TalkFactory
from tests.upstream.rig import UpstreamCase, unusedPort


@implementer(IStreamClientEndpoint)
class Failing:
    """An endpoint that fails at once."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        return fail(self._error)


class DialTests(UpstreamCase):
    """The direct route."""

    async def test_connected(self) -> None:
        """A literal is dialled as it is, without Nagle's delay, and bytes pass both ways."""
        peer, there = await self.peer()
        inner = await self.open(Dial(self.network, there))
        talk = await peer.accepted()
        self.assertTrue(inner.transport.getTcpNoDelay())
        inner.write(b"hello")
        self.assertEqual(b"hello", await talk.read(5))
        talk.write(b"world")
        self.assertEqual(b"world", await inner.read(5))
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_families(self) -> None:
        """A name whose first address refuses is reached at its second, of the other family, without a wait."""
        peer, there = await self.peer()
        self.knownNames["both.example"] = ["::1", "127.0.0.1"]
        await self.open(Dial(self.network, Destination("both.example", there.port)))
        await peer.accepted()

    async def test_ipv6(self) -> None:
        """A name with an IPv6 address is reached there."""
        factory = TalkFactory()
        try:
            port = await TCP6ServerEndpoint(reactor, 0, interface="::1").listen(factory)
        except Exception:
            self.skipTest("no IPv6 on loopback")
        self.addCleanup(port.stopListening)
        self.knownNames["six.example"] = ["::1"]
        inner = await self.open(Dial(self.network, Destination("six.example", port.getHost().port)))  # type: ignore[attr-defined]
        self.assertEqual("::1", inner.transport.getPeer().host)
        self.assertIsInstance(Dial(self.network, Destination("::1", 1))._endpoint("::1"), TCP6ClientEndpoint)
        talk = await factory.accepted()
        talk.transport.abortConnection()  # type: ignore[union-attr]
        await talk.gone()

    async def test_refused(self) -> None:
        """Nobody listens: the destination refused, or the hop did."""
        there = Destination("127.0.0.1", unusedPort())
        await self.refused(self.open(Dial(self.network, there)), "PS-DE01", where=str(there), hop="")
        await self.refused(self.open(Dial(self.network, there, isHop=True)), "PS-UP02", hop=str(there))

    async def test_unknown(self) -> None:
        """A misspelt name is no such name; of a hop it is the hop's."""
        there = Destination("nope.example", 80)
        await self.refused(self.open(Dial(self.network, there)), "PS-DE02", where="nope.example")
        await self.refused(self.open(Dial(self.network, there, isHop=True)), "PS-UP01", hop="nope.example:80")

    async def test_nameServerSilent(self) -> None:
        """A name server that says nothing costs 5 s, and is told as such; leaving before that leaves no timer."""
        held = socket.socketpair()

        def hang(*_: Any, **__: Any) -> Any:
            held[1].recv(1)
            raise socket.gaierror(socket.EAI_AGAIN, "")

        self.addCleanup(held[1].close)
        self.addCleanup(held[0].close)
        network = self.makeNetwork()
        object.__setattr__(network, "names", Names(self.clock, hang))
        opening = self.open(Dial(network, Destination("slow.example", 80)))
        leaving = self.open(Dial(network, Destination("slow.example", 80)))
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.clock.advance(LOOK_UP_LIMIT)
        await self.refused(opening, "PS-DE07", where="slow.example")
        self.assertEqual([], self.clock.getDelayedCalls())
        held[0].send(b"x")
        while network.names._threads:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)  # type: ignore[attr-defined]
            await turn

    async def test_own(self) -> None:
        """Our own listeners are never dialled, whatever name they are hidden in; other addresses of it are."""
        peer, there = await self.peer()
        asked = []

        def isOwn(host: str, port: int) -> bool:
            asked.append((host, port))
            return host == "::1"

        network = self.makeNetwork(isOwn=isOwn)
        self.knownNames.update({"own.example": ["::1"], "both.example": ["::1", "127.0.0.1"]})
        own = Destination("own.example", there.port)
        await self.refused(self.open(Dial(network, own)), "PS-RU02", where=str(own))
        await self.refused(self.open(Dial(network, own, isHop=True)), "PS-UP24", hop=str(own))
        self.assertEqual({("::1", there.port)}, set(asked))
        await self.open(Dial(network, Destination("both.example", there.port)))
        await peer.accepted()

    async def test_outOfDescriptors(self) -> None:
        """Out of descriptors is our limit, and not the destination's fault."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            opening = self.open(Dial(self.network, Destination("127.0.0.1", 9)))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await self.refused(opening, "PS-LM01")

    async def test_cancelled(self) -> None:
        """A client that leaves while the connect is pending leaves nothing behind."""
        # A full backlog leaves a connect pending without leaving the machine.
        with socket.socket() as full, socket.socket() as filler:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            filler.connect(full.getsockname())
            opening = self.open(Dial(self.network, Destination(*full.getsockname())))
            opening.cancel()
            self.failureResultOf(opening, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_told(self) -> None:
        """Each way in which a connect fails has its slug, for a destination and for a hop."""
        there = Destination("192.0.2.1", 80)
        for error, code, hopCode in (
            (ConnectError(errno.ECONNREFUSED), "PS-DE01", "PS-UP02"),
            (ConnectError(errno.EHOSTUNREACH), "PS-DE03", "PS-UP04"),
            (ConnectError(errno.ENETUNREACH), "PS-DE04", "PS-UP04"),
            (ConnectError(errno.EADDRNOTAVAIL), "PS-DE04", "PS-UP04"),
            (ConnectError(errno.ETIMEDOUT), "PS-DE05", "PS-UP03"),
            (TimeoutError(), "PS-DE05", "PS-UP03"),
            (ConnectError(errno.ECONNRESET), "PS-DE06", "PS-UP05"),
            (ConnectError(errno.EPERM), "PS-DE03", "PS-UP04"),
            (ConnectError(errno.ENFILE), "PS-LM01", "PS-LM01"),
        ):
            self.patch(Dial, "_endpoint", lambda *_, error=error: Failing(error))
            await self.refused(self.open(Dial(self.network, there)), code)
            await self.refused(self.open(Dial(self.network, there, isHop=True)), hopCode)
        self.patch(Dial, "_endpoint", lambda *_: Failing(ZeroDivisionError()))
        await self.assertFailure(self.open(Dial(self.network, there)), ZeroDivisionError)

    async def test_forgotten(self) -> None:
        """A name whose addresses all failed is looked up anew the next time."""
        there = Destination("a.example", unusedPort())
        self.knownNames["a.example"] = ["127.0.0.1"]
        await self.refused(self.open(Dial(self.network, there)), "PS-DE01")
        del self.knownNames["a.example"]
        await self.refused(self.open(Dial(self.network, there)), "PS-DE02")
