"""What only the splice relay has: hooks, bulk, and what is left in a socket after a reset."""

from __future__ import annotations

import array
import fcntl
import os
import resource
import termios
from typing import Any

from twisted.internet.error import ConnectionLost

from pipsocks.model import Ended
from pipsocks.relay.pipes import KEPT
from pipsocks.relay.splice import canSplice
from tests.relay.rig import Feed, RigCase, Tunnelled, noMoreDescriptors, small

MEBIBYTE = 1 << 20


def unread(transport: Any) -> int:
    """How many bytes the kernel holds for this socket."""
    count = array.array("i", [0])
    fcntl.ioctl(transport.fileno(), termios.FIONREAD, count)
    return count[0]


class SpliceTests(RigCase):
    """Splicing where something goes wrong."""

    skip = None if hasattr(os, "splice") else "this system has no splice()"

    async def stalled(self) -> tuple[Tunnelled, Feed]:
        """A download that stands still, because the client sleeps."""
        rig = await self.tunnel()
        small(rig.client.transport, rig.near.transport, rig.far.transport, rig.origin.transport)
        rig.client.keep = rig.origin.keep = False
        rig.client.transport.pauseProducing()
        down = Feed(rig.origin, 16 * MEBIBYTE, lambda: None)
        stood = -1
        while stood != down.sent:
            stood = down.sent
            await self.turns(100)
        return rig, down

    async def test_resetFoundByAWrite(self) -> None:
        """What an origin had sent before its reset arrives, though an upload finds the reset first."""
        rig, _ = await self.stalled()
        rig.origin.transport.abortConnection()
        await self.turns(5)
        waiting = unread(rig.far.transport) + unread(rig.client.transport)
        self.assertGreater(unread(rig.far.transport), 10_000)
        rig.client.transport.write(b"more")
        await self.turns(50)
        self.assertEqual(rig.results, [])
        rig.client.transport.resumeProducing()
        await rig.client.until(lambda: rig.client.lost is not None)
        self.assertEqual(rig.client.lost.type, ConnectionLost)
        self.assertFalse(rig.client.ended)
        self.assertGreaterEqual(rig.client.size, waiting)
        self.assertEqual(await rig.ended(), Ended("reset_origin", 4, rig.client.size))

    async def test_resetWhileBothStand(self) -> None:
        """The same when both directions stand still, so that the reactor tells of the reset."""
        rig, _ = await self.stalled()
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, 16 * MEBIBYTE, lambda: None)
        stood = -1
        while stood != up.sent:
            stood = up.sent
            await self.turns(100)
        waiting = unread(rig.far.transport) + unread(rig.client.transport)
        rig.origin.transport.abortConnection()
        await self.turns(50)
        self.assertEqual(rig.results, [])
        rig.client.transport.resumeProducing()
        await rig.client.until(lambda: rig.client.lost is not None)
        self.assertFalse(rig.client.ended)
        self.assertGreaterEqual(rig.client.size, waiting)
        self.assertEqual((await rig.ended()).token, "reset_origin")

    async def test_resetFoundInBulk(self) -> None:
        """An upload that finds the reset while it pours a pipe out is ended by a reset."""
        rig = await self.tunnel()
        rig.origin.keep = False
        Feed(rig.client, 256 * MEBIBYTE, lambda: None)
        await rig.origin.until(lambda: rig.origin.size > MEBIBYTE)
        rig.far.transport.stopReading()
        rig.origin.transport.abortConnection()
        await rig.client.until(lambda: rig.client.lost is not None)
        self.assertEqual((await rig.ended()).token, "reset_origin")

    async def test_wokenForNothing(self) -> None:
        """An event that comes late, as epoll's may, does nothing."""
        rig = await self.tunnel()
        for transport in (rig.near.transport, rig.far.transport):
            self.assertIsNone(transport.doRead())
            self.assertIsNone(transport.doWrite())
        rig.client.transport.write(b"x")
        await rig.origin.until(lambda: rig.origin.size == 1)

    async def test_closedAfterTheReset(self) -> None:
        """A drain may close what is only still being read to its end."""
        for name in ("loseConnection", "abortConnection", "loseWriteConnection"):
            rig, _ = await self.stalled()
            rig.origin.transport.abortConnection()
            await self.turns(5)
            rig.client.transport.write(b"more")
            await self.turns(20)
            self.assertEqual(rig.results, [])
            getattr(rig.far.transport, name)()
            await self.turns(5)
            rig.client.transport.resumeProducing()
            self.assertIn((await rig.ended()).token, ("reset_origin", "aborted"))

    async def test_pipesFull(self) -> None:
        """A pipe whose bytes nobody wants any more is closed, not lent again."""
        for _ in range(2 * KEPT):
            rig, _ = await self.stalled()
            rig.client.transport.abortConnection()
            await self.turns(2)
            rig.near.transport.abortConnection()
            await rig.ended()
        rig = await self.tunnel()
        rig.client.keep = False
        down = Feed(rig.origin, MEBIBYTE, rig.origin.transport.loseConnection)
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())

    async def test_noDescriptors(self) -> None:
        """Out of descriptors, tunnels go on by copying."""
        rig = await self.tunnel()
        rig.client.keep = rig.origin.keep = False
        limits = noMoreDescriptors()
        try:
            down = Feed(rig.origin, 4 * MEBIBYTE, rig.origin.transport.loseWriteConnection)
            up = Feed(rig.client, 4 * MEBIBYTE, rig.client.transport.loseWriteConnection)
            await rig.client.until(lambda: rig.client.over)
            await rig.origin.until(lambda: rig.origin.over)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertEqual(rig.client.hash.digest(), down.hash.digest())
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())

    async def test_spliceFails(self) -> None:
        """A socket whose splice() fails is lost, and no other; the reason is not told as a clean end."""

        def fail(*args: object, **named: object) -> int:
            raise OSError(5, "made up")

        healthy = await self.tunnel()
        rig = await self.tunnel()
        rig.client.keep = False
        Feed(rig.origin, 256 * MEBIBYTE, lambda: None)
        await rig.client.until(lambda: rig.client.size > 200_000)
        self.patch(os, "splice", fail)
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual((await rig.ended()).token, "reset_origin")
        healthy.client.transport.write(b"alive")
        await healthy.origin.until(lambda: healthy.origin.size == 5)

    async def test_bug(self) -> None:
        """An exception of our own costs its tunnel only, and is logged."""
        healthy = await self.tunnel()
        rig = await self.tunnel()
        rig.client.keep = False
        Feed(rig.origin, 256 * MEBIBYTE, lambda: None)
        await rig.client.until(lambda: rig.client.size > 200_000)

        def fail(*args: object, **named: object) -> int:
            raise ZeroDivisionError

        self.patch(os, "splice", fail)
        await rig.client.until(lambda: rig.client.over)
        self.assertEqual((await rig.ended()).token, "reset_origin")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        healthy.client.transport.write(b"alive")
        await healthy.origin.until(lambda: healthy.origin.size == 5)

    async def test_hooksGo(self) -> None:
        """A transport that is lost holds nothing of the tunnel any more."""
        rig = await self.tunnel()
        transports = (rig.near.transport, rig.far.transport)
        rig.client.transport.loseConnection()
        rig.origin.transport.loseConnection()
        await rig.ended()
        for transport in transports:
            self.assertFalse({"doRead", "doWrite", "connectionLost"} & set(vars(transport)))

    async def test_whatItCanNot(self) -> None:
        """TLS, and what is no socket of Twisted's, is not spliced."""
        rig = await self.connect()
        secure = await self.connect(tlsFar=True)
        self.assertTrue(canSplice(rig.near.transport, rig.far.transport))
        self.assertFalse(canSplice(rig.near.transport, secure.far.transport))
        self.assertFalse(canSplice(object(), rig.far.transport))
        rig.near.transport.abortConnection()
        await self.turns(3)
        self.assertFalse(canSplice(rig.near.transport, rig.far.transport))
