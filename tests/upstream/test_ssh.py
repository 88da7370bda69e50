"""The ssh hop with OpenSSH's own server: what passes, how both sides end, and who shares a connection."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from pipsocks import endpoint
from pipsocks.gateway.stream import FarStream
from pipsocks.model import Destination, Secret
from pipsocks.relay import Relays
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Dial
from pipsocks.upstream.parse import parseChain
from tests.functional.processes import ROOT, shared
from tests.loopback import Talk
from tests.relay.rig import Feed, Peer
from tests.upstream.rig import unusedPort
from tests.upstream.sshrig import Server, SSHCase, login


class RealCase(SSHCase):
    """A chain whose only hop is a real sshd, in real time."""

    settings: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.server: Server = self.sshd(*self.settings)
        self.network = self.real()
        self.chain = self.through(self.url)

    @property
    def url(self) -> str:
        """The hop."""
        return f"ssh://127.0.0.1:{self.server.port}?key={self.key}&known_hosts={self.known}"

    def through(self, text: str) -> Chain:
        """A chain on this test's network."""
        return Chain(parseChain(text), self.network)

    def logins(self) -> int:
        """How often somebody has logged in at the server."""
        return self.server.output.count("Accepted ")


class TunnelTests(RealCase):
    """One tunnel."""

    async def pair(self) -> tuple[Any, Talk]:
        """Both ends of a tunnel."""
        peers, there = await self.peer()
        inner = await self.open(self.chain.connect(there))
        return inner, await peers.accepted()

    async def test_halfCloseBothWays(self) -> None:
        """Either side may end first, and hear what the other still says."""
        near, far = await self.pair()
        far.write(b"first")
        far.transport.loseWriteConnection()  # type: ignore[union-attr]
        self.assertEqual(b"first", await near.readAll())
        self.assertIsNone(near.lost)
        near.write(b"answer" * 10_000)
        near.transport.loseWriteConnection()
        self.assertEqual(b"answer" * 10_000, await far.readAll())
        (await near.gone()).trap(ConnectionDone)

        near, far = await self.pair()
        near.write(b"question")
        near.transport.loseWriteConnection()
        self.assertEqual(b"question", await far.readAll())
        far.write(b"answer" * 10_000)
        far.transport.loseConnection()  # type: ignore[union-attr]
        self.assertEqual(b"answer" * 10_000, await near.readAll())
        (await near.gone()).trap(ConnectionDone)

    async def test_closeBehindData(self) -> None:
        """What was written before a close arrives."""
        near, far = await self.pair()
        near.write(b"x" * 5_000_000)
        near.transport.loseConnection()
        self.assertEqual(5_000_000, len(await far.readAll()))
        (await near.gone()).trap(ConnectionDone)

    async def test_abort(self) -> None:
        """An abort ends the other side too, and leaves the connection for others."""
        near, far = await self.pair()
        near.transport.abortConnection()
        await far.until(lambda: far.ended)
        await self.pair()
        self.assertEqual(1, self.logins())

    async def test_originResets(self) -> None:
        """Of a destination that resets, sshd tells no more than that it has ended."""
        near, far = await self.pair()
        far.transport.abortConnection()  # type: ignore[union-attr]
        await near.until(lambda: near.ended)

    async def test_lost(self) -> None:
        """When the hop goes down its tunnels are lost, not ended."""
        near, _ = await self.pair()
        self.server.drop()
        (await near.gone()).trap(ConnectionLost)

    async def test_originSpeaksFirst(self) -> None:
        """What the destination sends at once is not lost."""
        peers, there = await self.peer()
        made = peers.buildProtocol

        def greeting(addr: Any) -> Any:
            talk = made(addr)
            connected = talk.connectionMade
            talk.connectionMade = lambda: (connected(), talk.write(b"220 hello\r\n"))  # type: ignore[method-assign]
            return talk

        peers.buildProtocol = greeting  # type: ignore[method-assign]
        inner = await self.open(self.chain.connect(there))
        self.assertEqual(b"220 hello\r\n", await inner.read(11))


class RefusedTests(RealCase):
    """What sshd says when it cannot open a tunnel."""

    settings = ("PermitOpen 127.0.0.1:* localhost:* nowhere.invalid:*",)

    async def test_refused(self) -> None:
        """The destination refuses."""
        refusal = await self.refused(
            self.open(self.chain.connect(Destination("127.0.0.1", unusedPort()))), "PS-UP21", said="Connection refused"
        )
        self.assertEqual(f"127.0.0.1:{self.server.port}", refusal.chain)

    async def test_unknown(self) -> None:
        """The hop's name server knows no such name."""
        await self.refused(self.open(self.chain.connect(Destination("nowhere.invalid", 80))), "PS-UP20")

    async def test_forbidden(self) -> None:
        """The hop's rules do not allow it."""
        await self.refused(self.open(self.chain.connect(Destination("127.0.0.2", 80))), "PS-UP11")

    async def test_name(self) -> None:
        """Names are looked up at the hop."""
        peers, there = await self.peer()
        await self.open(self.chain.connect(Destination("localhost", there.port)))
        await peers.accepted()


class SharedTests(RealCase):
    """One connection for all."""

    async def test_atOnce(self) -> None:
        """The first users join one login; a chain of the same text under another name shares it."""
        peers, there = await self.peer()
        other = Chain(parseChain(self.url, name="other"), self.network)
        opening = [self.open(chain.connect(there)) for chain in (self.chain, other) * 5]
        inners = await gatherResults(opening)
        for inner in inners:
            inner.write(b"hello")
            self.assertEqual(b"hello", await (await peers.accepted()).read(5))
        self.assertEqual(1, self.logins())

    async def test_otherPrograms(self) -> None:
        """Endpoints of another program share it too, by the chain's text and by the hop's value."""
        peers, there = await self.peer()
        endpoint._networks.pop(reactor, None)
        for _ in range(2):
            await self.open(endpoint.chainEndpoint(reactor, self.url, "127.0.0.1", there.port))
            await peers.accepted()
        network = endpoint._networks.pop(reactor)
        self.addCleanup(network.shared.close)
        settings = endpoint.SSHSettings(key=str(self.key), known_hosts=str(self.known))
        hop = endpoint.SSHHop(Destination("127.0.0.1", self.server.port), settings=settings)
        await self.open(hop.over(Dial(network, hop.address, isHop=True), there, network))
        self.assertEqual(1, self.logins())

    async def test_cancelled(self) -> None:
        """Who leaves while it is being opened leaves it to the others."""
        _, there = await self.peer()
        first, second = (self.open(self.chain.connect(there)) for _ in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        await second
        self.assertEqual(1, self.logins())

    async def test_restarted(self) -> None:
        """A hop that comes back is logged in to again, at the next use."""
        _, there = await self.peer()
        inner = await self.open(self.chain.connect(there))
        self.server.restart()
        await inner.gone()
        await self.open(self.chain.connect(there))
        self.assertEqual(1, self.logins())  # the new server's

    async def test_down(self) -> None:
        """While it is down each use says so."""
        _, there = await self.peer()
        inner = await self.open(self.chain.connect(there))
        self.server.drop()
        await inner.gone()
        await self.refused(self.open(self.chain.connect(there)), "PS-UP02")

    async def test_behindAnotherHop(self) -> None:
        """An ssh hop behind a SOCKS hop is another connection than the one without it; a hop behind both works."""
        peers, there = await self.peer()
        socks = shared("microsocks")
        await self.open(self.chain.connect(there))
        await self.open(self.through(f"{socks.url},{self.url}").connect(there))
        self.assertEqual(2, self.logins())
        inner = await self.open(self.through(f"{self.url},{socks.url},{shared('tinyproxy').url}").connect(there))
        for _ in range(2):
            await peers.accepted()
        inner.write(b"through three")
        self.assertEqual(b"through three", await (await peers.accepted()).read(13))
        self.assertEqual(2, self.logins())

    async def test_sshOverSSH(self) -> None:
        """A connection inside another's tunnel."""
        peers, there = await self.peer()
        inner = await self.open(self.through(f"{self.url},{self.url}").connect(there))
        inner.write(b"x" * 300_000)
        inner.transport.loseWriteConnection()
        self.assertEqual(300_000, len(await (await peers.accepted()).readAll()))
        self.assertEqual(2, self.logins())

    async def test_nextHopIsNotThere(self) -> None:
        """What the ssh hop reports on the hop behind it speaks of that one."""
        dead = unusedPort()
        _, there = await self.peer()
        chain = self.through(f"{self.url},http://127.0.0.1:{dead}")
        await self.refused(self.open(chain.connect(there)), "PS-UP23", hop=f"127.0.0.1:{dead}")


class RekeyTests(RealCase):
    """A server that wants new keys every 200 KB."""

    settings = ("RekeyLimit 200K",)

    async def test_both(self) -> None:
        """Bytes pass both ways while keys are exchanged, again and again."""
        peers, there = await self.peer()
        near = await self.open(self.chain.connect(there))
        far = await peers.accepted()
        blob = os.urandom(3_000_000)
        near.write(blob)
        far.write(blob[::-1])
        self.assertEqual(blob, await far.read(len(blob)))
        self.assertEqual(blob[::-1], await near.read(len(blob)))


class RelayTests(RealCase):
    """A client, the relay, and an origin behind the hop."""

    timeout = 120

    async def rig(self) -> tuple[Any, Peer, Peer, list[Any]]:
        """The client's end, the origin's, and the relay's verdict in a list."""
        origin, client = Peer(), Peer()
        factory: Any = Factory.forProtocol(lambda: origin)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        near: Any = FarStream()  # what holds a client's bytes is of the same kind
        nearFactory: Any = Factory.forProtocol(lambda: near)
        nearPort = reactor.listenTCP(0, nearFactory, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(nearPort.stopListening)
        clientFactory: Any = Factory.forProtocol(lambda: client)
        await self.open(_To(nearPort.getHost().port, clientFactory))
        far = await self.open(self.chain.connect(Destination("127.0.0.1", port.getHost().port)), FarStream)
        await self.turns(lambda: origin.transport is not None and near.transport is not None)
        verdicts: list[Any] = []
        relays = Relays(reactor)
        self.assertEqual("transport", relays.kind(near, far))
        relays.join(near, far, verdicts.append)
        self.addCleanup(self._endPeers, client, origin, verdicts)
        return far, client, origin, verdicts

    async def _endPeers(self, client: Peer, origin: Peer, verdicts: list[Any]) -> None:
        for peer in (client, origin):
            if peer.lost is None:
                peer.transport.abortConnection()
        await self.turns(lambda: verdicts)

    async def test_bulk(self) -> None:
        """20 MB each way at once, and both ends in order."""
        _, client, origin, verdicts = await self.rig()
        client.keep = origin.keep = False
        up = Feed(client, 20_000_000, client.transport.loseWriteConnection)
        down = Feed(origin, 20_000_000, origin.transport.loseWriteConnection)
        await origin.until(lambda: origin.over)
        await client.until(lambda: client.over)
        self.assertEqual((up.hash.digest(), 20_000_000), (origin.hash.digest(), origin.size))
        self.assertEqual((down.hash.digest(), 20_000_000), (client.hash.digest(), client.size))
        await self.turns(lambda: verdicts)
        self.assertEqual(("ok", 20_000_000, 20_000_000), (verdicts[0].token, verdicts[0].up, verdicts[0].down))

    async def test_slowClient(self) -> None:
        """Of 100 MB for a client that does not read, only as much comes as buffers and windows hold; then all of it."""
        far, client, origin, _ = await self.rig()
        client.keep = False
        client.transport.pauseProducing()
        feed = Feed(origin, 100_000_000, origin.transport.loseWriteConnection)
        await self._settled(lambda: feed.sent)
        self.assertLess(feed.sent, 30_000_000)  # the kernel's buffers of four sockets
        self.assertLess(len(far.transport._window.held), 2_200_000)
        client.transport.resumeProducing()
        await client.until(lambda: client.over)
        self.assertEqual((feed.hash.digest(), 100_000_000), (client.hash.digest(), client.size))

    async def test_slowOrigin(self) -> None:
        """The same the other way."""
        far, client, origin, _ = await self.rig()
        origin.keep = False
        origin.transport.pauseProducing()
        feed = Feed(client, 100_000_000, client.transport.loseWriteConnection)
        await self._settled(lambda: feed.sent)
        self.assertLess(feed.sent, 30_000_000)
        self.assertLess(len(far.transport.dataBuffer), 200_000)
        origin.transport.resumeProducing()
        await origin.until(lambda: origin.over)
        self.assertEqual((feed.hash.digest(), 100_000_000), (origin.hash.digest(), origin.size))

    async def test_slowOneAmongOthers(self) -> None:
        """A tunnel whose client does not read holds no other tunnel up."""
        _, client, origin, _ = await self.rig()
        client.transport.pauseProducing()
        feed = Feed(origin, 50_000_000, lambda: None)
        await self._settled(lambda: feed.sent)
        _, other, there, _ = await self.rig()
        there.transport.write(b"y" * 5_000_000)
        await other.until(lambda: other.size == 5_000_000)
        self.assertEqual(1, self.logins())

    async def _settled(self, sent: Any) -> None:
        before = -1
        while sent() != before:
            before = sent()
            await deferLater(reactor, 0.5)  # type: ignore[arg-type]


class _To:
    """An endpoint for a protocol of one's own."""

    def __init__(self, port: int, factory: Any) -> None:
        self._port, self._factory = port, factory

    def connect(self, _: Any) -> Deferred[Any]:
        from twisted.internet.endpoints import TCP4ClientEndpoint

        return TCP4ClientEndpoint(reactor, "127.0.0.1", self._port).connect(self._factory)


class ValueTests(SSHCase):
    """The hop as a value."""

    def test_same(self) -> None:
        """Hops of the same text are one, another way to it, or another login, makes another; no secret is shown."""
        hop = self.hop(22, login("me", "hunter2"), passphrase=Secret("hunter3"))
        self.assertEqual(hop, self.hop(22, login("me", "hunter2"), passphrase=Secret("hunter3")))
        self.assertEqual(1, len({hop, self.hop(22, login("me", "hunter2"), passphrase=Secret("hunter3"))}))
        self.assertNotEqual(hop, self.hop(22, login("me", "hunter3"), passphrase=Secret("hunter3")))
        self.assertNotEqual(hop, attrs.evolve(hop, via=parseChain("http://a:1").hops))
        self.assertNotIn("hunter", repr(hop))

    def test_reach(self) -> None:
        """The way to the hop itself is the way."""
        way = Dial(self.network, Destination("a", 22))
        self.assertIs(way, self.hop(22).reach(way, self.network))

    def test_lazy(self) -> None:
        """Who has no ssh hop does not import conch."""
        modules = "pipsocks.service, pipsocks.endpoint, pipsocks.cli, pipsocks.tap"
        program = f"import sys, {modules}; print([name for name in sys.modules if 'conch' in name])"
        run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        self.assertEqual("[]\n", run.stdout)
