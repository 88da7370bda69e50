"""Tunnels with a leg inside TLS, which can't be half-closed."""

from __future__ import annotations

from twisted.internet.task import Clock

from pipsocks.model import Ended
from pipsocks.relay import Relays
from tests.relay.rig import Feed, RigCase

MEBIBYTE = 1 << 20


class TLSTests(RigCase):
    """TLS on the client's side, on the far side, or on both."""

    async def test_bulk(self) -> None:
        """Bytes are the same on the way into TLS and out of it."""
        for tlsNear, tlsFar in ((True, False), (False, True), (True, True)):
            rig = await self.tunnel(tlsNear=tlsNear, tlsFar=tlsFar)
            rig.client.keep = rig.origin.keep = False
            up = Feed(rig.client, MEBIBYTE, lambda: None)
            await rig.origin.until(lambda r=rig: r.origin.size == MEBIBYTE)
            down = Feed(rig.origin, MEBIBYTE, rig.origin.transport.loseConnection)
            await rig.client.until(lambda r=rig: r.client.size == MEBIBYTE)
            rig.client.transport.loseConnection()
            self.assertEqual(rig.origin.hash.digest(), up.hash.digest())
            self.assertEqual(rig.client.hash.digest(), down.hash.digest())
            self.assertEqual(await rig.ended(), Ended("ok", MEBIBYTE, MEBIBYTE))

    async def test_endIsHeldBack(self) -> None:
        """A client's half-close waits outside a TLS leg; the answer still comes, and both close cleanly."""
        rig = await self.tunnel(tlsFar=True)
        rig.client.transport.write(b"question")
        rig.client.transport.loseWriteConnection()
        await rig.origin.until(lambda: rig.origin.size == 8)
        await self.turns(20)
        self.assertFalse(rig.origin.over)
        rig.origin.transport.write(b"answer")
        rig.origin.transport.loseConnection()
        await rig.client.until(lambda: rig.client.over)
        self.assertTrue(rig.client.ended)
        self.assertEqual(rig.client.data, b"answer")
        self.assertEqual(await rig.ended(), Ended("ok", 8, 6))

    async def test_endIsGivenAfterAll(self) -> None:
        """An origin behind TLS that is silent for a minute after a client's half-close gets a clean end."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock), tlsFar=True)
        rig.client.transport.loseWriteConnection()
        while not rig.near._successor.ended:
            await self.turns(1)
        clock.advance(62)
        await rig.origin.until(lambda: rig.origin.lost is not None)
        self.assertEqual(rig.origin.lost.type.__name__, "ConnectionDone")
        await rig.client.until(lambda: rig.client.over)
        self.assertEqual(await rig.ended(), Ended("half_idle", 0, 0))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_endIsIgnored(self) -> None:
        """One that does not even answer the end of TLS is reset after another minute."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock), tlsFar=True)
        rig.client.transport.loseWriteConnection()
        while not rig.near._successor.ended:
            await self.turns(1)
        rig.origin.transport.pauseProducing()
        clock.advance(62)
        await self.turns(10)
        self.assertEqual(rig.results, [])
        clock.advance(62)
        await self.turns(2)
        clock.advance(62)
        self.assertEqual(await rig.ended(), Ended("half_idle", 0, 0))
        self.assertEqual(clock.getDelayedCalls(), [])

    async def test_resetAfterItsEnd(self) -> None:
        """An origin that gets that end and is reset instead of answering it resets the client."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock), tlsFar=True)
        rig.client.transport.loseWriteConnection()
        while not rig.near._successor.ended:
            await self.turns(1)
        rig.origin.transport.pauseProducing()
        clock.advance(62)
        await self.turns(5)
        rig.origin.transport.transport.abortConnection()
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual((await rig.ended()).token, "half_idle")

    async def test_clientClosesInTLS(self) -> None:
        """A client that ends its TLS ends the origin's input, behind the tail; an answer is dropped."""
        rig = await self.tunnel(tlsNear=True)
        rig.origin.keep = False
        rig.origin.transport.pauseProducing()
        up = Feed(rig.client, MEBIBYTE, rig.client.transport.loseConnection)
        await rig.client.until(lambda: up.left <= 0)
        await self.turns(20)
        rig.origin.transport.resumeProducing()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertTrue(rig.origin.ended)
        self.assertEqual(rig.origin.hash.digest(), up.hash.digest())
        rig.origin.transport.write(b"too late")
        rig.origin.transport.loseConnection()
        self.assertEqual(await rig.ended(), Ended("ok", MEBIBYTE, 0))

    async def test_originStaysOpen(self) -> None:
        """After a client's end in TLS an origin that does not close is given a minute."""
        clock = Clock()
        rig = await self.tunnel(Relays(clock), tlsNear=True)
        rig.client.transport.loseConnection()
        await rig.origin.until(lambda: rig.origin.ended)
        clock.pump([62, 62])
        self.assertEqual(await rig.ended(), Ended("half_idle", 0, 0))

    async def test_cutInTLS(self) -> None:
        """A TLS stream that is cut, without its end, is passed on as a reset."""
        rig = await self.tunnel(tlsFar=True)
        rig.origin.transport.write(b"half of it")
        await rig.client.until(lambda: rig.client.size == 10)
        rig.origin.transport.transport.loseConnection()
        beneath = rig.origin.transport.transport
        beneath.socket.shutdown(1)
        await rig.client.until(lambda: rig.client.over)
        self.assertFalse(rig.client.ended)
        self.assertEqual((await rig.ended()).token, "reset_origin")

    async def test_resetIntoTLS(self) -> None:
        """A client's reset resets the TLS leg."""
        rig = await self.tunnel(tlsFar=True)
        rig.client.transport.abortConnection()
        await rig.origin.until(lambda: rig.origin.lost is not None)
        self.assertNotEqual(rig.origin.lost.type.__name__, "ConnectionDone")
        self.assertEqual((await rig.ended()).token, "reset_client")

    async def test_abortedByUs(self) -> None:
        """A drain's abort of the TLS side resets the other."""
        rig = await self.tunnel(tlsNear=True)
        rig.near.transport.abortConnection()
        await rig.origin.until(lambda: rig.origin.over)
        self.assertFalse(rig.origin.ended)
        self.assertEqual((await rig.ended()).token, "aborted")

    async def test_bothEndAtOnce(self) -> None:
        """Two ends that meet in the relay are both clean."""
        rig = await self.tunnel(tlsNear=True, tlsFar=True)
        rig.client.transport.loseConnection()
        rig.origin.transport.loseConnection()
        self.assertEqual((await rig.ended()).token, "ok")
