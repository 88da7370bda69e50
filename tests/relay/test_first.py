"""What both relays tell of a tunnel besides its end: its first far byte, who ended it, and how long it was silent."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.task import Clock

from pipsocks.model import Ended
from pipsocks.relay import Relays
from tests.relay.rig import Feed, RigCase, Tunnelled

MEBIBYTE = 1 << 20


class FirstMixin:
    """The same for either relay."""

    splice: bool
    relays: Relays
    connect: Any
    tunnel: Any
    turns: Any
    assertEqual: Any
    assertFalse: Any
    assertLess: Any
    assertTrue: Any

    # the first far byte

    async def test_heardOnce(self) -> None:
        """The first byte of the far side is told when it comes; no later one, and none of the client's."""
        rig = await self.tunnel()
        rig.client.transport.write(b"hello")
        await rig.origin.until(lambda: rig.origin.data == b"hello")
        self.assertEqual(rig.hearings, 0)
        rig.origin.transport.write(b"w")
        await rig.client.until(lambda: rig.client.data == b"w")
        self.assertEqual(rig.hearings, 1)
        rig.origin.transport.write(b"elcome")
        rig.client.transport.write(b"again")
        await rig.client.until(lambda: rig.client.data == b"welcome")
        await rig.origin.until(lambda: rig.origin.data == b"helloagain")
        self.assertEqual(rig.hearings, 1)

    async def test_heardDuringTheJoin(self) -> None:
        """A byte that is held already is told while the two are being joined."""
        rig = await self.connect()
        rig.origin.transport.write(b"220 ready")
        while not rig.far.spoke:
            await self.turns(1)
        rig.join(self.relays)
        self.assertEqual(rig.hearings, 1)
        await rig.client.until(lambda: rig.client.data == b"220 ready")

    async def test_heardWithTheEnd(self) -> None:
        """So is the one word of a far side that is gone by then, and before the tunnel's end."""
        rig = await self.connect()
        rig.origin.transport.write(b"bye")
        rig.origin.transport.loseConnection()
        while not rig.far.over:
            await self.turns(1)
        rig.join(self.relays)
        self.assertEqual(rig.hearings, 1)
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual(rig.client.data, b"bye")
        rig.client.transport.loseConnection()
        self.assertEqual((await rig.ended()).down, 3)

    async def test_neverHeard(self) -> None:
        """A far side that says nothing is not heard, however much the client says."""
        rig = await self.tunnel()
        rig.origin.keep = False
        up = Feed(rig.client, 4 * MEBIBYTE, rig.client.transport.loseWriteConnection)
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())
        rig.origin.transport.loseConnection()
        self.assertEqual(await rig.ended(), Ended("ok", 4 * MEBIBYTE, 0))
        self.assertEqual(rig.hearings, 0)

    async def test_heardInBulk(self) -> None:
        """A far side that begins with megabytes is heard once."""
        rig = await self.tunnel()
        rig.client.keep = False
        Feed(rig.origin, 4 * MEBIBYTE, rig.origin.transport.loseConnection)
        await rig.client.until(lambda: rig.client.ended)
        self.assertEqual((rig.hearings, rig.client.size), (1, 4 * MEBIBYTE))

    # who ended it

    async def over(self, rig: Tunnelled) -> Ended:
        """Everything of a tunnel one side of which has ended."""
        await self.turns(20)
        for end in (rig.client, rig.origin):
            end.transport.loseConnection()
        return await rig.ended()

    async def test_clientEnds(self) -> None:
        """By a FIN, or by a reset, it was the client: also where the origin then resets."""
        rig = await self.tunnel()
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        self.assertTrue((await self.over(rig)).clientFirst)
        rig = await self.tunnel()
        rig.client.transport.abortConnection()
        self.assertTrue((await rig.ended()).clientFirst)
        rig = await self.tunnel()
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        rig.origin.transport.abortConnection()
        ended = await rig.ended()
        self.assertEqual((ended.token, ended.clientFirst), ("reset_origin", True))

    async def test_originEnds(self) -> None:
        """By a FIN, or by a reset, it was the origin: also where the client then resets."""
        rig = await self.tunnel()
        rig.origin.transport.loseWriteConnection()
        await rig.client.until(lambda: rig.client.ended)
        self.assertFalse((await self.over(rig)).clientFirst)
        rig = await self.tunnel()
        rig.origin.transport.abortConnection()
        self.assertFalse((await rig.ended()).clientFirst)
        rig = await self.tunnel()
        rig.origin.transport.loseWriteConnection()
        await rig.client.until(lambda: rig.client.ended)
        rig.client.transport.abortConnection()
        ended = await rig.ended()
        self.assertEqual((ended.token, ended.clientFirst), ("reset_client", False))

    async def test_endedBefore(self) -> None:
        """An end that came before the two were joined counts; of both, the client's, whose answer nobody awaits."""
        for ends, first in ((("client",), True), (("origin",), False), (("client", "origin"), True)):
            rig = await self.connect()
            for name in ends:
                getattr(rig, name).transport.loseWriteConnection()
            while sum(end._held.ended for end in (rig.near, rig.far)) < len(ends):
                await self.turns(1)
            rig.join(self.relays)
            self.assertEqual((await self.over(rig)).clientFirst, first, ends)

    # how long it was silent

    async def silent(self, *steps: Any) -> float:
        """The silence that is told of a tunnel whose client does these steps: words, and seconds of waiting."""
        clock: Any = Clock()
        clock.advance(1000.7)
        rig = await self.tunnel(Relays(clock, splice=self.splice))
        said = b""
        for step in steps:
            if isinstance(step, bytes):
                said += step
                rig.client.transport.write(step)
                await rig.origin.until(lambda: bytes(rig.origin.data) == said)  # noqa: B023
            else:
                clock.pump([0.1] * round(step * 10))
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        clock.pump([0.1] * 300)  # what comes behind the client's end is no silence before it
        rig.origin.transport.abortConnection()
        ended = await rig.ended()
        self.assertTrue(ended.clientFirst)
        self.assertEqual(clock.getDelayedCalls(), [])
        return ended.silence

    async def test_silence(self) -> None:
        """It counts from the tunnel's begin, or from the client's one word, however long it has idled before."""
        for steps, seconds in (((), 0), ((1.5,), 1.5), ((3.2, b"x"), 0), ((300, b"x", 2.5), 2.5), ((b"x", 1.9), 1.9)):
            self.assertLess(abs(await self.silent(*steps) - seconds), 0.01, steps)

    async def test_silenceAfterMore(self) -> None:
        """After several words from the last one, to a second."""
        for steps, seconds in (((b"x", 30, b"y", 0.1), 0.1), ((b"x", 30, b"y", 5), 5), ((b"x", 1, b"y", 1, b"z"), 0)):
            silence = await self.silent(*steps)
            self.assertTrue(seconds - 0.01 < silence < seconds + 1.11, (steps, silence))

    async def test_noSilenceOfOurs(self) -> None:
        """Of a tunnel that the origin ends, it is not asked who was silent."""
        rig = await self.tunnel()
        rig.origin.transport.abortConnection()
        self.assertFalse((await rig.ended()).clientFirst)


class FirstTransportTests(FirstMixin, RigCase):
    """The relay for every platform and for TLS."""

    splice = False
    kind = "transport"

    async def test_goneTLS(self) -> None:
        """A far side inside TLS that is gone before the two are joined, and a client that resets: both are let go."""
        for end in ("loseConnection", "abortConnection"):
            rig = await self.connect(tlsFar=True)
            getattr(rig.origin.transport, end)()
            while rig.far._held.lost is None:
                await self.turns(1)
            rig.client.transport.abortConnection()
            while rig.near._held.lost is None:
                await self.turns(1)
            rig.join(self.relays)
            self.assertEqual((await rig.ended()).token, "reset_client")


class FirstSpliceTests(FirstMixin, RigCase):
    """The relay for Linux."""

    splice = True
    kind = "splice"
    skip = None if hasattr(os, "splice") else "this system has no splice()"
