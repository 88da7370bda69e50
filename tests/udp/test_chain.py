"""Associations through a chain: one SOCKS 5 hop carries them, a scripted one, dante, and pipsocks itself."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from pipsocks.policy.settings import RuleSettings
from pipsocks.wire.datagram import Datagram, decodeDatagram, encodeDatagram
from pipsocks.wire.socks import encodeAddress
from tests.functional.processes import shared
from tests.loopback import Talk, TalkFactory, listen
from tests.udp.case import Associated, Post, UDPCase
from tests.udp.test_association import outOfDescriptors

ASSOCIATE = b"\x05\x03\x00\x01" + bytes(6)


class HopCase(UDPCase):
    """A hop that the test plays."""

    scheme = "socks5h"

    async def begin(self) -> None:
        await super().begin()
        self.hops = TalkFactory()
        self.hopPort = await listen(self, self.hops)
        self.useChain(f"{self.scheme}://127.0.0.1:{self.hopPort}")
        self.addCleanup(lambda: Deferred.fromCoroutine(self.closeHops()))

    async def closeHops(self) -> None:
        for talk in self.hops.talks:
            if talk.lost is None:
                talk.transport.abortConnection()  # type: ignore[union-attr]
                await talk.gone()

    async def through(self, said: str = "127.0.0.1") -> tuple[Associated, Talk, Post]:
        """A client with an association through the hop, the hop's control connection, and its UDP socket."""
        post = await self.post()
        client = self.associated()
        waiting: Deferred[Associated] = Deferred.fromCoroutine(client)
        talk = await self.hops.accepted()
        self.assertEqual(await talk.read(3), b"\x05\x01\x00")
        talk.write(b"\x05\x00")
        self.assertEqual(await talk.read(10), ASSOCIATE)
        talk.write(b"\x05\x00\x00" + encodeAddress(said, post.port))
        return await waiting, talk, post


class HopTests(HopCase):
    """What the hop gets, and what is taken from it."""

    async def test_thereAndBack(self) -> None:
        """Datagrams are handed to the hop as they are, names among them, and its answers to the client."""
        client, _, hop = await self.through()
        for host in ("peer.example", "192.0.2.7", "2001:db8::7"):
            client.send(host, 53, b"question")
            raw, addr = await hop.next()
            self.assertEqual(decodeDatagram(raw), Datagram(host, 53, b"question"))
            hop.transport.write(encodeDatagram("192.0.2.7", 53, b"answer"), addr)
            self.assertEqual(await client.next(), Datagram("192.0.2.7", 53, b"answer"))
        client.talk.transport.loseConnection()
        line = await self.line()
        self.assertEqual((line["up"], line["down"], line["dropped"], line["outcome"]), (24, 18, 0, "ok"))

    async def test_whereTheHopIs(self) -> None:
        """A hop that does not say where it takes datagrams, or says it with a name, takes them where it is."""
        for said in ("0.0.0.0", "::", "hop.example"):
            client, _, hop = await self.through(said)
            client.send("192.0.2.7", 53, b"x")
            await hop.next()

    async def test_strangers(self) -> None:
        """Only the hop's datagrams are answers, and only sound ones."""
        client, _, hop = await self.through()
        stranger = await self.post()
        client.send("192.0.2.7", 53, b"x")
        _, addr = await hop.next()
        answer = encodeDatagram("192.0.2.7", 53, b"answer")
        stranger.transport.write(answer, addr)
        hop.transport.write(b"\x00\x00\x01" + answer[3:], addr)
        hop.transport.write(answer, addr)
        self.assertEqual((await client.next()).data, b"answer")
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 2)

    async def test_ends(self) -> None:
        """The hop's connection ends with the client's, and the client's with the hop's."""
        client, control, _ = await self.through()
        client.talk.transport.loseConnection()
        self.assertEqual(await control.readAll(), b"")
        client, control, _ = await self.through()
        control.transport.abortConnection()  # type: ignore[union-attr]
        await client.talk.readAll()
        self.assertEqual((await self.line(2))["outcome"], "reset_origin")

    async def test_refused(self) -> None:
        """What the hop says to being asked is what the client hears."""
        for said, heard, token in ((b"\x05\x07", 7, "hop_command"), (b"\x05\x02", 2, "hop_forbids")):
            talk = await self.client()
            asked = Deferred.fromCoroutine(self.ask(talk))
            hop = await self.hops.accepted()
            await hop.read(3)
            hop.write(b"\x05\x00")
            await hop.read(10)
            hop.write(said)
            reply, _ = await asked
            self.assertEqual((reply, (await self.line(len(self.lines) or 1))["outcome"]), (heard, token))

    async def test_noSocket(self) -> None:
        """Without a socket towards the hop its control connection is closed again."""
        listenUDP = reactor.listenUDP  # type: ignore[attr-defined]
        client = await self.client()
        asked = Deferred.fromCoroutine(self.ask(client))
        hop = await self.hops.accepted()
        hop.write(b"\x05\x00")
        await hop.read(13)
        self.patch(reactor, "listenUDP", outOfDescriptors)
        hop.write(b"\x05\x00\x00" + encodeAddress("127.0.0.1", 5))
        self.assertEqual((await asked)[0], 1)
        self.patch(reactor, "listenUDP", listenUDP)
        await hop.readAll()
        self.assertEqual((await self.line())["outcome"], "out_of_descriptors")

    async def test_leaves(self) -> None:
        """A client that goes while the hop is asked leaves nothing behind."""
        talk = await self.client()
        talk.write(b"\x05\x01\x00" + ASSOCIATE)
        hop = await self.hops.accepted()
        talk.transport.abortConnection()
        self.assertEqual((await self.line())["outcome"], "client_left")
        await hop.readAll()


class LocalNamesTests(HopCase):
    """``socks5``: names are looked up here, and what they come to is judged."""

    scheme = "socks5"
    rules = (RuleSettings(False, "192.0.2.0/24"),)

    async def test_names(self) -> None:
        """The hop gets addresses alone."""
        self.knownNames.update({"peer.example": ["198.51.100.7"], "sly.example": ["192.0.2.7"]})
        client, _, hop = await self.through()
        client.send("sly.example", 53, b"no")
        client.send("192.0.2.7", 53, b"no")
        client.send("peer.example", 53, b"yes")
        self.assertEqual(decodeDatagram((await hop.next())[0]), Datagram("198.51.100.7", 53, b"yes"))
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 2)


class AfarTests(HopCase):
    """``socks5h``: of a name, what is said of names counts."""

    rules = (RuleSettings(True, "198.51.100.0/24"), RuleSettings(True, ".fine.example"), RuleSettings(False, "*"))

    async def test_rules(self) -> None:
        """A name that no rule on names allows does not go to the hop."""
        client, _, hop = await self.through()
        client.send("other.example", 53, b"no")
        client.send("x.fine.example", 53, b"yes")
        self.assertEqual(decodeDatagram((await hop.next())[0]).host, "x.fine.example")
        client.send("198.51.100.1", 53, b"yes")
        self.assertEqual(decodeDatagram((await hop.next())[0]).host, "198.51.100.1")


class ElsewhereTests(UDPCase):
    """Chains that carry no datagrams."""

    async def test_notCarried(self) -> None:
        """HTTP, SOCKS 4, and more than one hop: 07, without a connection anywhere."""
        for text in ("http://127.0.0.1:1", "socks4a://127.0.0.1:1", "socks5h://127.0.0.1:1,socks5h://127.0.0.1:2"):
            self.useChain(text)
            reply, _ = await self.ask(await self.client())
            line = await self.line(len(self.lines) or 1)
            self.assertEqual((reply, line["outcome"]), (7, "not_carried"))


class RealTests(UDPCase):
    """Real proxies as the hop."""

    timeout = 120

    async def passes(self, hop: Any) -> None:
        """Datagrams pass both ways through a running proxy."""
        self.useChain(f"socks5h://127.0.0.1:{hop}")
        client, peer = await self.associated(), await self.echo()
        for size in (1, 1400):
            client.send("127.0.0.1", peer.port, b"x" * size)
            self.assertEqual(await client.next(), Datagram("127.0.0.1", peer.port, b"x" * size))
        client.talk.transport.loseConnection()

    async def test_dante(self) -> None:
        """dante."""
        await self.passes(shared("dante").port)

    async def test_pipsocks(self) -> None:
        """Another pipsocks."""
        await self.passes(await self.proxy("socks"))
        await self.line(2)
