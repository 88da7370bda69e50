"""Tests for `pipsocks.testing.server`: listening, going down, ending."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP6ClientEndpoint
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.protocol import Factory

from pipsocks.testing import Echo, FaultUnknown, Origin, Server, Upstream, ending
from tests.functional.talk import blackHole
from tests.loopback import Talk, connect
from tests.testing.rig import FaultCase, socksTo


class ServerTests(FaultCase):
    """What a test does with a listener."""

    def dial(self, port: int) -> Deferred[Talk]:
        """A connection, or its failure."""
        return Deferred.fromCoroutine(connect(self, port))

    async def test_downAndUp(self) -> None:
        """One that is taken down has reset what stood; nobody else can have its port until it is up again."""
        server = self.serve(Echo())
        self.assertEqual(server.address, f"127.0.0.1:{server.port}")
        talk = await self.say(server, b"song")
        await talk.read(4)
        server.down()
        server.down()
        await talk.gone()
        await self.assertFailure(self.dial(server.port), ConnectionRefusedError)
        with socket.socket() as other:
            self.assertRaises(OSError, other.bind, ("127.0.0.1", server.port))
        server.up()
        server.up()
        self.assertEqual(await (await self.say(server, b"more")).read(4), b"more")
        self.assertEqual(server.accepted, 2)

    async def test_stop(self) -> None:
        """Whatever is going on ends with the listener: tunnels, both their sides, what waits, what is being dialled."""
        silent = self.serve(Echo(), "silent-after=2")
        hop = self.serve(Upstream(), "none", "slow=1000", "silent", "throttle=1")
        talks = [await self.say(hop, socksTo(silent.port) + b"song" * 9) for _ in range(4)]
        await self.events.until("granted", 2)
        await talks[0].until(lambda: len(talks[0].received) >= 14)
        await hop.stop()
        for talk in talks:
            await talk.gone()
        self.assertEqual(len(self.events.named("lost")), 4)
        await self.assertFailure(self.dial(hop.port), ConnectionRefusedError)
        await hop.stop()

    async def test_stopWhileDialling(self) -> None:
        """A destination that does not answer does not hold the end up."""
        hop = self.serve(Upstream())
        with blackHole() as port:
            talk = await self.say(hop, socksTo(port))
            await self.events.until("request")
            await hop.stop()
        self.assertEqual((await talk.readAll())[2:], b"")
        self.assertEqual(self.events.names, ["accepted", "request", "lost"])

    async def test_use(self) -> None:
        """Another plan holds for the connections from then on; one that cannot be read changes nothing."""
        server = self.serve(Echo())
        talk = await self.say(server, b"song")
        await talk.read(4)
        self.assertRaises(FaultUnknown, server.use, "nothing")
        server.use("close")
        self.assertEqual(await self.whole(server), (b"", "close"))
        talk.write(b"more")
        self.assertEqual(await talk.read(4), b"more")
        server.use("refuse")
        await self.assertFailure(self.dial(server.port), ConnectionRefusedError)
        server.use("none")
        await self.say(server, b"song")

    def test_useBeforehand(self) -> None:
        """A plan may be changed before the port is open."""
        server = Server(reactor, Echo())
        server.use("close")
        self.assertEqual(server.port, 0)

    def test_taken(self) -> None:
        """A port that is taken is told as such, and nothing of it is kept."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = Server(reactor, Echo(), port=taken.getsockname()[1])
            self.assertRaises((OSError, CannotListenError), server.listen)
        # Now it can be had.
        server.listen()
        self.addCleanup(server.stop)

    async def test_ipv6(self) -> None:
        """IPv6, in brackets where it stands in a URL."""
        server = self.serve(Echo(), host="::1")
        self.assertEqual(server.address, f"[::1]:{server.port}")
        talk: Any = await TCP6ClientEndpoint(reactor, "::1", server.port).connect(Factory.forProtocol(Talk))
        talk.write(b"song")
        self.assertEqual(await talk.read(4), b"song")
        talk.transport.loseConnection()
        await talk.gone()

    async def test_seeded(self) -> None:
        """The same seed and order of connections is the same log."""
        told = []
        for _ in range(2):
            server = self.serve(Echo(), "40% close", "40% nonsense", seed=11)
            for _ in range(10):
                talk = await self.say(server, b"x")
                await talk.until(lambda talk=talk: talk.received or talk.ended)  # type: ignore[misc]
                talk.transport.abortConnection()  # type: ignore[union-attr]
                await talk.gone()
            await self.events.until("lost", 10)
            faults = [each["fault"] for each in self.events.named("accepted")]
            told.append((faults, [each["octets"] for each in self.events.named("said")]))
        self.assertEqual(told[0], told[1])
        self.assertEqual(set(told[0][0]), {"close", "nonsense", "none"})


class ResetTests(FaultCase):
    """A reset comes behind what was written before it."""

    async def test_reader(self) -> None:
        """A reader that is slow still gets every byte before the reset."""
        server = self.serve(Origin(500_000), "reset-after=400000")
        talk = await connect(self, server.port)
        transport: Any = talk.transport
        transport.pauseProducing()
        talk.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await self.events.until("struck")
        transport.resumeProducing()
        body = (await talk.readAll()).partition(b"\r\n\r\n")[2]
        self.assertEqual(body, Origin(500_000).content("/").read(0, 400_000))

    async def test_never(self) -> None:
        """One that never reads is reset all the same, after a while."""
        self.patch(ending, "PATIENCE", 0.05)
        server = self.serve(Origin(20_000_000), "reset-after=19000000")
        talk = await connect(self, server.port)
        transport: Any = talk.transport
        transport.pauseProducing()
        talk.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await self.events.until("answered")
        server.down()
        await self.events.until("lost")
        transport.resumeProducing()
        await talk.gone()
        self.assertLess(len(talk.received), 19_000_000)

    async def test_impatient(self) -> None:
        """What the kernel cannot get rid of is waited for only so long."""
        self.patch(ending, "PATIENCE", 0.05)
        server = self.serve(Echo(), "reset-after=500000")
        talk = await connect(self, server.port)
        transport: Any = talk.transport
        transport.pauseProducing()
        talk.write(bytes(600_000))
        await self.events.until("struck")
        self.assertEqual((await self.events.until("lost"))[0]["reason"], "ConnectionAborted")
        transport.resumeProducing()
        await talk.gone()
