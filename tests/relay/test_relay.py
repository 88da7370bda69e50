"""Both relays, by the same tests, on real sockets."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThreadPool

from pipsocks.model import Ended
from pipsocks.relay import Relays
from tests.relay.rig import Feed, RigCase, Tunnelled, descriptors, reactor, small

MEBIBYTE = 1 << 20


class RelayMixin:
    """What a user sees, whichever relay does it."""

    splice: bool
    kind: str
    relays: Relays
    connect: Any
    tunnel: Any
    turns: Any
    assertEqual: Any
    assertTrue: Any
    assertFalse: Any
    assertIn: Any
    assertLess: Any

    async def test_echo(self) -> None:
        """What the client says reaches the origin, and the other way; then both close, cleanly."""
        rig = await self.tunnel()
        rig.origin.onData = rig.origin.transport.write
        rig.client.transport.write(b"hello")
        await rig.client.until(lambda: rig.client.data == b"hello")
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        rig.origin.transport.loseConnection()
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(await rig.ended(), Ended("ok", 5, 5))

    async def test_bulk(self) -> None:
        """Megabytes go both ways at the same time, and not a byte differs."""
        rig = await self.tunnel()
        rig.client.keep = rig.origin.keep = False
        up = Feed(rig.client, 8 * MEBIBYTE, rig.client.transport.loseWriteConnection)
        down = Feed(rig.origin, 8 * MEBIBYTE, rig.origin.transport.loseWriteConnection)
        await rig.client.until(lambda: rig.client.ended)
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())
        self.assertEqual(await rig.ended(), Ended("ok", 8 * MEBIBYTE, 8 * MEBIBYTE))

    async def test_clientHalfCloses(self) -> None:
        """A client that ends its upload still gets a download that begins only then."""
        rig = await self.tunnel()
        rig.client.keep = False
        rig.client.transport.write(b"all of it")
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.data, b"all of it")
        down = Feed(rig.origin, 2 * MEBIBYTE, rig.origin.transport.loseConnection)
        await rig.client.until(lambda: rig.client.over)
        self.assertTrue(rig.client.ended)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())
        self.assertEqual((await rig.ended()).token, "ok")

    async def test_originHalfCloses(self) -> None:
        """An origin that has said everything still takes an upload that begins only then."""
        rig = await self.tunnel()
        rig.origin.keep = False
        rig.origin.transport.write(b"banner")
        rig.origin.transport.loseWriteConnection()
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(rig.client.data, b"banner")
        up = Feed(rig.client, 2 * MEBIBYTE, rig.client.transport.loseConnection)
        await rig.origin.until(lambda: rig.origin.over)
        self.assertTrue(rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())
        self.assertEqual((await rig.ended()).token, "ok")

    async def test_tailOfUpload(self) -> None:
        """A client that sends and closes at once loses nothing, though the origin begins to read only later."""
        rig = await self.tunnel()
        small(rig.far.transport, rig.origin.transport)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, 2 * MEBIBYTE, rig.client.transport.loseConnection)
        await self.turns(50)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertTrue(rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())

    async def test_tailOfDownload(self) -> None:
        """An origin that answers and closes at once is heard to the end, though the client reads late."""
        rig = await self.tunnel()
        small(rig.near.transport, rig.client.transport)
        rig.client.keep = False
        rig.client.transport.pauseProducing()
        down = Feed(rig.origin, 2 * MEBIBYTE, rig.origin.transport.loseConnection)
        await self.turns(50)
        rig.client.transport.resumeProducing()
        await rig.client.until(lambda: rig.client.over)
        self.assertTrue(rig.client.ended)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())

    async def test_clientResets(self) -> None:
        """An origin learns of a client's reset by a reset, never by a clean end."""
        rig = await self.tunnel()
        rig.client.transport.write(b"half a req")
        await rig.origin.until(lambda: len(rig.origin.data) == 10)
        rig.client.transport.abortConnection()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertFalse(rig.origin.ended)
        self.assertEqual(rig.origin.lost.type, ConnectionLost)
        self.assertEqual(await rig.ended(), Ended("reset_client", 10, 0))

    async def test_originResets(self) -> None:
        """A client learns of an origin's reset by a reset, behind everything that came before it."""
        rig = await self.tunnel()
        rig.origin.transport.write(b"x" * 100_000)
        # Sent by the kernel, and then reset in one go: the relay finds both together.
        await rig.origin.until(lambda: True)
        while rig.origin.transport._tempDataLen or rig.origin.transport.dataBuffer:
            await self.turns(1)
        rig.origin.transport.abortConnection()
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual(rig.client.lost.type, ConnectionLost)
        self.assertEqual(rig.client.size, 100_000)
        self.assertEqual(await rig.ended(), Ended("reset_origin", 0, 100_000))

    async def test_resetAfterHalfClose(self) -> None:
        """A client that ended its upload and then dies resets the download, when that is noticed."""
        rig = await self.tunnel()
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        rig.client.transport.abortConnection()
        await self.turns(5)
        while rig.origin.lost is None:
            rig.origin.transport.write(b"still there?")
            await self.turns(5)
        self.assertEqual((await rig.ended()).token, "reset_client")

    async def test_originResetsAfterTheEnd(self) -> None:
        """A client that has ended its upload still learns of a reset by a reset."""
        rig = await self.tunnel()
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        rig.origin.transport.abortConnection()
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual((await rig.ended()).token, "reset_origin")

    async def test_originResetsInBulk(self) -> None:
        """An upload in full flow ends by a reset when the origin resets it."""
        rig = await self.tunnel()
        rig.origin.keep = False
        Feed(rig.client, 256 * MEBIBYTE, lambda: None)
        await rig.origin.until(lambda: rig.origin.size > MEBIBYTE)
        rig.origin.transport.abortConnection()
        await rig.client.until(lambda: rig.client.lost is not None)
        self.assertEqual((await rig.ended()).token, "reset_origin")

    async def test_slowReader(self) -> None:
        """While a reader sleeps its sender is stopped, with a bounded amount in between; then all of it arrives."""
        rig = await self.tunnel()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, 16 * MEBIBYTE, rig.client.transport.loseWriteConnection)
        stood = -1
        while stood != up.sent:
            stood = up.sent
            await self.turns(200)
        self.assertLess(up.sent, 2 * MEBIBYTE)
        transport = rig.far.transport
        self.assertLess(len(transport.dataBuffer) + transport._tempDataLen, 200_000)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())

    async def test_slowReaderDown(self) -> None:
        """The same for a client that sleeps."""
        rig = await self.tunnel()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.client.keep = False
        rig.client.transport.pauseProducing()
        down = Feed(rig.origin, 16 * MEBIBYTE, rig.origin.transport.loseWriteConnection)
        stood = -1
        while stood != down.sent:
            stood = down.sent
            await self.turns(200)
        self.assertLess(down.sent, 2 * MEBIBYTE)
        rig.client.transport.resumeProducing()
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())

    async def test_trickle(self) -> None:
        """Bytes that come one by one go on one by one, both ways."""
        rig = await self.tunnel()
        for count in range(1, 101):
            rig.client.transport.write(b"u")
            rig.origin.transport.write(b"d")
            await rig.origin.until(lambda n=count: rig.origin.size == n)
            await rig.client.until(lambda n=count: rig.client.size == n)
        self.assertEqual((rig.origin.data, rig.client.data), (b"u" * 100, b"d" * 100))

    async def test_urgent(self) -> None:
        """An urgent byte keeps its place among the others."""
        rig = await self.tunnel()
        rig.origin.keep = True
        rig.client.transport.socket.setblocking(True)
        blob = os.urandom(300_000)
        sock: socket.socket = rig.client.transport.socket

        def send() -> None:
            sock.sendall(blob)
            sock.send(b"!", socket.MSG_OOB)
            sock.sendall(b"after")

        await deferToThreadPool(reactor, reactor.getThreadPool(), send)
        sock.setblocking(False)
        await rig.origin.until(lambda: rig.origin.size == 300_006)
        self.assertTrue(bytes(rig.origin.data) == blob + b"!after")

    async def test_deathWhilePaused(self) -> None:
        """A client that dies while a sleeping origin holds it up: what it sent arrives, then the reset."""
        rig = await self.tunnel()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, 16 * MEBIBYTE, lambda: None)
        stood = -1
        while stood != up.sent:
            stood = up.sent
            await self.turns(100)
        rig.client.transport.abortConnection()
        await self.turns(5)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertFalse(rig.origin.ended)
        ended = await rig.ended()
        self.assertEqual(ended.token, "reset_client")
        self.assertEqual(rig.origin.size, ended.up)

    async def test_idle(self) -> None:
        """A tunnel in which nothing moves for the limit is reset, and not earlier."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock, splice=self.splice))
        clock.advance(3000)
        rig.client.transport.write(b"x")
        await rig.origin.until(lambda: rig.origin.size == 1)
        clock.advance(3599)
        await self.turns(5)
        self.assertFalse(rig.origin.over or rig.client.over)
        clock.advance(3)
        await rig.origin.until(lambda: rig.origin.over)
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.origin.ended or rig.client.ended)
        self.assertEqual(await rig.ended(), Ended("idle", 1, 0))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_halfIdle(self) -> None:
        """Once one side has ended, the other may be silent for a minute; who still owed an answer is closed."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock, splice=self.splice))
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        clock.advance(50)
        rig.origin.transport.write(b"x")
        await rig.client.until(lambda: rig.client.size == 1)
        clock.advance(59)
        await self.turns(5)
        self.assertFalse(rig.client.over)
        clock.advance(3)
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended, "an answer that never came whole must not end cleanly")
        self.assertEqual(await rig.ended(), Ended("half_idle", 0, 1))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_slowIsNotIdle(self) -> None:
        """A client that still takes what was sent, however slowly, is not idle though nothing new comes."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock, splice=self.splice))
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.client.keep = False
        rig.client.transport.pauseProducing()
        down = Feed(rig.origin, 500_000, rig.origin.transport.loseWriteConnection)
        for _ in range(3):
            before = rig.client.size
            rig.client.transport.resumeProducing()
            await rig.client.until(lambda: rig.client.size > before)  # noqa: B023
            rig.client.transport.pauseProducing()
            await self.turns(20)
            clock.advance(61)
            await self.turns(5)
        rig.client.transport.resumeProducing()
        await rig.client.until(lambda: rig.client.over)
        self.assertTrue(rig.client.ended)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())

    async def test_heldBytes(self) -> None:
        """Early bytes of either side, and an early end, go first and in order."""
        rig = await self.connect()
        rig.client.transport.write(b"early ")
        rig.origin.transport.write(b"banner")
        rig.origin.transport.loseWriteConnection()
        while not (rig.near._held.size and rig.far._held.ended):
            await self.turns(1)
        rig.join(self.relays)
        rig.client.transport.write(b"late")
        await rig.origin.until(lambda: rig.origin.size == 10)
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual((rig.origin.data, rig.client.data), (b"early late", b"banner"))
        rig.client.transport.loseConnection()
        self.assertEqual(await rig.ended(), Ended("ok", 10, 6))

    async def test_heldToTheLimit(self) -> None:
        """A client that had been paused for sending too much early is read again, and nothing is lost."""
        rig = await self.connect()
        rig.origin.keep = False
        up = Feed(rig.client, MEBIBYTE, rig.client.transport.loseWriteConnection)
        while rig.near._held.size < 65_536:
            await self.turns(1)
        await self.turns(20)
        rig.join(self.relays)
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())

    async def test_heldForASleeper(self) -> None:
        """Early bytes that the origin does not take yet stay before the later ones."""
        rig = await self.connect()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, 4 * MEBIBYTE, rig.client.transport.loseWriteConnection)
        while rig.near._held.size < 65_536:
            await self.turns(1)
        rig.far.transport.write(b"z" * 300_000)
        rig.join(self.relays)
        await self.turns(200)
        self.assertLess(up.sent, 2 * MEBIBYTE)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.size, 4 * MEBIBYTE + 300_000)

    async def test_farLostBefore(self) -> None:
        """An origin that answered and was reset before the join: the client gets the answer, then the reset."""
        rig = await self.connect()
        rig.origin.transport.write(b"x" * 30_000)
        while rig.far._held.size < 30_000:
            await self.turns(1)
        rig.origin.transport.abortConnection()
        while rig.far._held.lost is None:
            await self.turns(1)
        rig.join(self.relays)
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual(rig.client.size, 30_000)
        self.assertEqual(await rig.ended(), Ended("reset_origin", 0, 30_000))

    async def test_nearLostBefore(self) -> None:
        """A client that left by a reset before the join: the origin is reset."""
        rig = await self.connect()
        rig.client.transport.abortConnection()
        while rig.near._held.lost is None:
            await self.turns(1)
        rig.join(self.relays)
        await rig.origin.until(lambda: rig.origin.over)
        self.assertFalse(rig.origin.ended)
        self.assertEqual(await rig.ended(), Ended("reset_client", 0, 0))

    async def test_bothLostBefore(self) -> None:
        """Both gone before the join: it is over before `join` returns."""
        rig = await self.connect()
        rig.client.transport.abortConnection()
        rig.origin.transport.abortConnection()
        while rig.near._held.lost is None or rig.far._held.lost is None:
            await self.turns(1)
        rig.join(self.relays)
        self.assertEqual(rig.results, [Ended("reset_client", 0, 0)])

    async def test_abortedByUs(self) -> None:
        """A drain that aborts the client's side resets both sides, whatever is in between."""
        for side in ("near", "far"):
            rig = await self.tunnel()
            rig.origin.transport.pauseProducing()
            Feed(rig.client, 64 * MEBIBYTE, lambda: None)
            await self.turns(50)
            getattr(rig, side).transport.abortConnection()
            self.assertEqual((await rig.ended()).token, "aborted")
            rig.origin.transport.resumeProducing()
            await rig.origin.until(lambda r=rig: r.origin.over)
            await rig.client.until(lambda r=rig: r.client.lost)
            self.assertFalse(rig.origin.ended)

    async def test_closedByUs(self) -> None:
        """One that closes the client's side ends both sides, behind what was written."""
        rig = await self.tunnel()
        rig.client.transport.write(b"last words")
        await rig.origin.until(lambda: rig.origin.size == 10)
        rig.near.transport.loseConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(await rig.ended(), Ended("aborted", 10, 0))

    async def test_closedByUsInMidFlow(self) -> None:
        """Closing a side whose reader sleeps waits for the reader; the other side is closed."""
        rig = await self.tunnel()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        Feed(rig.client, 16 * MEBIBYTE, lambda: None)
        await self.turns(200)
        rig.far.transport.loseConnection()
        await self.turns(20)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertEqual((await rig.ended()).token, "aborted")

    async def test_wakeUps(self) -> None:
        """While nothing moves nothing is done: idle, half-closed, held up, at an urgent mark, or half dead."""

        rig = await self.tunnel()
        calls = [0]

        def counting(original: Any) -> Any:
            def counted() -> Any:
                calls[0] += 1
                return original()

            return counted

        for transport in (rig.near.transport, rig.far.transport):
            transport.doRead = counting(transport.doRead)
            transport.doWrite = counting(transport.doWrite)

        async def quiet(when: str) -> None:
            await self.turns(20)
            before = calls[0]
            for _ in range(20):
                await deferLater(reactor, 0.002)
            self.assertLess(calls[0] - before, 10, when)

        await quiet("idle")
        rig.client.transport.socket.send(b"!", socket.MSG_OOB)
        await rig.origin.until(lambda: rig.origin.size == 1)
        await quiet("at an urgent mark")
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        await quiet("half-closed")
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.client.transport.pauseProducing()
        down = Feed(rig.origin, 4 * MEBIBYTE, lambda: None)
        stood = -1
        while stood != down.sent:
            stood = down.sent
            await self.turns(100)
        await quiet("held up")
        rig.origin.transport.abortConnection()
        await quiet("held up and reset")

    async def test_manyTunnels(self) -> None:
        """Two hundred tunnels, ended in every way, leave no descriptor behind."""
        await self._shortTunnels(20)
        before = descriptors()
        await self._shortTunnels(200)
        self.assertEqual(descriptors(), before)

    test_manyTunnels.skip = None if os.path.isdir("/proc/self/fd") else "no /proc"  # type: ignore[attr-defined]

    async def _shortTunnels(self, count: int) -> None:
        for number in range(count):
            rig: Tunnelled = await self.tunnel()
            rig.client.transport.write(b"x" * (1 << (number % 18)))
            rig.origin.transport.write(b"y" * 100)
            await rig.client.until(lambda r=rig: r.client.size)
            if number % 3 == 0:
                rig.client.transport.abortConnection()
            elif number % 3 == 1:
                rig.client.transport.loseConnection()
                rig.origin.transport.loseConnection()
            else:
                rig.origin.transport.abortConnection()
            await rig.ended()
            for peer in (rig.client, rig.origin):
                if peer.lost is None:
                    peer.transport.abortConnection()
                await peer.until(lambda p=peer: p.lost is not None)

    async def test_optionsSet(self) -> None:
        """Both sockets have no delay, keep-alive 60/15/4, and urgent bytes inline."""
        rig = await self.tunnel()
        for transport in (rig.near.transport, rig.far.transport):
            sock: socket.socket = transport.socket
            self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            self.assertTrue(sock.getsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE))
            times = [
                sock.getsockopt(socket.IPPROTO_TCP, option)
                for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
            ]
            self.assertEqual(times, [60, 15, 4])

    async def test_closeOrderly(self) -> None:
        """When both have ended each of them sees a clean close."""
        rig = await self.tunnel()
        rig.client.transport.loseWriteConnection()
        rig.origin.transport.loseWriteConnection()
        await rig.ended()
        for peer in (rig.client, rig.origin):
            await peer.until(lambda p=peer: p.ended)
            peer.transport.loseConnection()
            await peer.until(lambda p=peer: p.lost is not None)
            self.assertEqual(peer.lost.type, ConnectionDone)


class TransportRelayTests(RelayMixin, RigCase):
    """The relay for every platform and for TLS."""

    splice = False
    kind = "transport"

    async def test_closingIsCutShort(self) -> None:
        """Both have ended, but the client has not yet taken everything: a drain, or its own reset, is told."""
        for by, token in (("near", "aborted"), ("client", "reset_client")):
            rig = await self.connect()
            small(rig.client.transport, rig.near.transport)
            rig.client.transport.pauseProducing()
            rig.near.transport.write(b"x" * 4 * MEBIBYTE)
            rig.join(self.relays)
            rig.client.transport.loseWriteConnection()
            rig.origin.transport.loseWriteConnection()
            while not (rig.near._successor.ended and rig.far._successor.ended):
                await self.turns(1)
            await self.turns(20)
            self.assertEqual(rig.results, [])
            getattr(rig, by).transport.abortConnection()
            self.assertEqual((await rig.ended()).token, token)


class SpliceRelayTests(RelayMixin, RigCase):
    """The relay for Linux."""

    splice = True
    kind = "splice"
    skip = None if hasattr(os, "splice") else "this system has no splice()"
