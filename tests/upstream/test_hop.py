"""One hop over one connection: what passes, what is told when it fails, and what is left when nobody wants it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, NoProtocol
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from pipsocks.model import Destination, Login, Secret
from pipsocks.slugs import About
from pipsocks.upstream.dial import Dial
from pipsocks.upstream.hop import Hop, HTTPHop, SocksHop
from tests.loopback import Talk, TalkFactory
from tests.upstream.rig import A, Inner, UpstreamCase

GREETING = b"\x05\x01\x00"
REQUEST = b"\x05\x01\x00\x03\x09a.example\x01\xbb"
YES = b"\x05\x00\x00\x01\xc0\x00\x02\x07\x12\x34"
CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
LOGIN = Login("me", Secret("p@ss"))


class Whole(Protocol):
    """A protocol that knows nothing of half-closed connections."""

    def __init__(self) -> None:
        self.gone: Deferred[Failure] = Deferred()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The end."""
        self.gone.callback(reason.value)


class HopCase(UpstreamCase):
    """A hop that the test plays."""

    async def over(self, kind: str = "socks5h", destination: Destination = A, **fields: Any) -> IStreamClientEndpoint:
        """The way through a hop of that kind; its side is `self.hopSide`."""
        self.peers, self.there = await self.peer()
        hop: Hop
        if kind == "http":
            hop = HTTPHop(self.there, **fields)
        else:
            hop = SocksHop(self.there, 5 if "5" in kind else 4, kind in ("socks5h", "socks4a"), **fields)
        return hop.over(Dial(self.network, self.there, isHop=True), destination, self.network)

    async def asked(self, kind: str = "socks5h", protocol: type = Inner, **fields: Any) -> tuple[Deferred[Any], Talk]:
        """A hop that has just been asked for the destination."""
        opening = self.open(await self.over(kind, **fields), protocol)
        talk = await self.peers.accepted()
        if kind == "http":
            self.assertEqual(CONNECT, await talk.read(len(CONNECT)))
        else:
            self.assertEqual(GREETING, await talk.read(3))
            talk.write(b"\x05\x00")
            self.assertEqual(REQUEST, await talk.read(len(REQUEST)))
        return opening, talk

    async def tunnel(self, kind: str = "socks5h", protocol: type = Inner, behind: bytes = b"") -> tuple[Any, Talk]:
        """An open tunnel."""
        opening, talk = await self.asked(kind, protocol)
        talk.write((b"HTTP/1.1 200 Fine\r\n\r\n" if kind == "http" else YES) + behind)
        return await opening, talk


class TunnelTests(HopCase):
    """A hop that says yes."""

    async def test_open(self) -> None:
        """Bytes pass both ways, on the connection's own transport; the handshake's timer is gone."""
        for kind in ("socks5h", "http"):
            inner, talk = await self.tunnel(kind)
            inner.write(b"hello")
            self.assertEqual(b"hello", await talk.read(5))
            talk.write(b"world")
            self.assertEqual(b"world", await inner.read(5))
            self.assertEqual(self.there.port, inner.transport.getPeer().port)
            self.assertTrue(inner.transport.getTcpNoDelay())
            self.assertEqual([], self.clock.getDelayedCalls())

    async def test_behind(self) -> None:
        """Bytes behind the hop's answer are the tunnel's first, and come after connectionMade."""
        for kind in ("socks5h", "http"):
            inner, talk = await self.tunnel(kind, behind=b"SSH-2.0\r\n")
            self.assertEqual(b"", inner.receivedWhenMade)
            self.assertEqual(b"SSH-2.0\r\n", inner.received)
            talk.write(b"more")
            self.assertEqual(b"SSH-2.0\r\nmore", await inner.read(13))

    async def test_trickle(self) -> None:
        """An answer that comes byte by byte is the same answer."""
        opening = self.open(await self.over())
        talk = await self.peers.accepted()
        for byte in b"\x05\x00" + YES + b"x":
            talk.write(bytes([byte]))
            turn: Deferred[None] = Deferred()
            self.reactorTurn(turn)
            await turn
        inner = await opening
        self.assertEqual(b"x", await inner.read(1))

    def reactorTurn(self, turn: Deferred[None]) -> None:
        """Let the reactor go round, so that each write is a segment of its own."""
        self.clock.callFromThread(turn.callback, None)

    async def test_bound(self) -> None:
        """The address that a SOCKS hop bound is known before connectionMade; an HTTP hop tells none."""
        inner, _ = await self.tunnel()
        self.assertEqual(("192.0.2.7", 0x1234), inner.boundWhenMade)
        inner, _ = await self.tunnel("http")
        self.assertIsNone(inner.boundWhenMade)
        talk, _ = await self.tunnel(protocol=Talk)
        self.assertFalse(hasattr(talk, "bound"))

    async def test_halfClose(self) -> None:
        """Either side may end its output while the other goes on."""
        for kind in ("socks5h", "http"):
            inner, talk = await self.tunnel(kind)
            inner.write(b"up")
            inner.transport.loseWriteConnection()
            self.assertEqual(b"up", await talk.readAll())
            talk.write(b"down")
            talk.transport.loseConnection()  # type: ignore[union-attr]
            self.assertEqual(b"down", await inner.readAll())
            inner, talk = await self.tunnel(kind)
            talk.write(b"down")
            talk.transport.loseWriteConnection()  # type: ignore[union-attr]
            self.assertEqual(b"down", await inner.readAll())
            self.assertIsNone(inner.lost)
            inner.write(b"up")
            self.assertEqual(b"up", await talk.read(2))

    async def test_wholeProtocol(self) -> None:
        """A protocol that knows no half-close loses its connection with the other side's end, as always."""
        inner, talk = await self.tunnel(protocol=Whole)
        talk.transport.loseWriteConnection()  # type: ignore[union-attr]
        self.assertIsInstance(await inner.gone, ConnectionDone)
        self.assertEqual(b"", await talk.readAll())
        inner, talk = await self.tunnel(protocol=Whole)
        inner.transport.loseWriteConnection()
        self.assertEqual(b"", await talk.readAll())

    async def test_reset(self) -> None:
        """A reset of the tunnel arrives as one."""
        inner, talk = await self.tunnel()
        talk.transport.abortConnection()  # type: ignore[union-attr]
        self.assertFalse((await inner.gone()).check(ConnectionDone))

    async def test_login(self) -> None:
        """The login is sent to the hop that asks for it, and prints as nothing."""
        opening = self.open(await self.over(login=LOGIN))
        talk = await self.peers.accepted()
        self.assertEqual(b"\x05\x02\x00\x02", await talk.read(4))
        talk.write(b"\x05\x02")
        self.assertEqual(b"\x01\x02me\x04p@ss", await talk.read(9))
        talk.write(b"\x01\x00")
        self.assertEqual(REQUEST, await talk.read(len(REQUEST)))
        talk.write(YES)
        await opening
        endpoint = await self.over("http", login=LOGIN)
        opening = self.open(endpoint)
        head = await (await self.peers.accepted()).readUntil(b"\r\n\r\n")
        self.assertIn(b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n", head)
        self.assertNotIn("p@ss", repr(endpoint))

    async def test_four(self) -> None:
        """SOCKS 4a sends the name, and the user as user id."""
        opening = self.open(await self.over("socks4a", login=LOGIN))
        talk = await self.peers.accepted()
        expected = b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00a.example\x00"
        self.assertEqual(expected, await talk.read(len(expected)))
        talk.write(b"\x00\x5a\x12\x34\xc0\x00\x02\x07rest")
        inner = await opening
        self.assertEqual((("192.0.2.7", 0x1234), b"rest"), (inner.bound, inner.received))


class RefusedTests(HopCase):
    """A hop that does not say yes."""

    async def gone(self, talk: Talk) -> None:
        """The hop sees the connection closed, and no timer runs."""
        self.assertEqual([], self.clock.getDelayedCalls())
        await talk.until(lambda: talk.ended)

    async def test_answers(self) -> None:
        """Each kind of answer that is none is told with the hop and its words, and the connection is closed."""
        for kind, answer, code, said in (
            ("socks5h", b"\x05\x05\x00\x01" + bytes(6), "PS-UP21", "SOCKS5 reply 05, connection refused"),
            ("socks5h", b"HTTP/1.1 400 No\r\n\r\n", "PS-UP07", ""),
            ("http", b"HTTP/1.1 403 Filtered\r\n\r\nbody", "PS-UP11", "403 Filtered"),
            ("http", b"\x05\xff", "PS-UP07", ""),
        ):
            opening, talk = await self.asked(kind)
            talk.write(answer)
            await self.refused(opening, code, hop=str(self.there), where="a.example:443", said=said)
            await self.gone(talk)

    async def test_silentBefore(self) -> None:
        """A hop that takes the connection and says nothing is blamed after its 3 s."""
        opening = self.open(await self.over())
        talk = await self.peers.accepted()
        await talk.read(3)
        self.clock.advance(2.9)
        self.assertNoResult(opening)
        self.clock.advance(0.2)
        refusal = await self.refused(opening, "PS-UP06", hop=str(self.there))
        self.assertIs(About.HOP, refusal.about)
        await self.gone(talk)

    async def test_silentAfter(self) -> None:
        """Once it was asked, its silence may be the destination's; a drip does not prolong it."""
        for kind, drip in (("socks5h", b"\x05"), ("http", b"HTTP/1.1 100 Continue\r\n\r\n")):
            opening, talk = await self.asked(kind)
            self.clock.advance(1.5)
            talk.write(drip)
            self.clock.advance(1.6)
            refusal = await self.refused(opening, "PS-UP15", hop=str(self.there), where="a.example:443")
            self.assertIs(About.VAGUE, refusal.about)
            await self.gone(talk)

    async def test_closedBefore(self) -> None:
        """A hop that closes or resets before it was asked is blamed."""
        for end in ("loseConnection", "loseWriteConnection", "abortConnection"):
            opening = self.open(await self.over())
            talk = await self.peers.accepted()
            await talk.read(3)
            getattr(talk.transport, end)()
            await self.refused(opening, "PS-UP05", hop=str(self.there))
            await self.gone(talk)

    async def test_closedAfter(self) -> None:
        """Once it was asked, its end may be the destination's."""
        for kind in ("socks5h", "http"):
            for end in ("loseConnection", "loseWriteConnection", "abortConnection"):
                opening, talk = await self.asked(kind)
                getattr(talk.transport, end)()
                await self.refused(opening, "PS-UP16", hop=str(self.there))
                await self.gone(talk)

    async def test_cancelled(self) -> None:
        """Leaving at any moment closes the connection, and leaves no timer."""
        for moment in range(4):
            opening = self.open(await self.over())
            if moment == 0:
                opening.cancel()
                self.failureResultOf(opening, CancelledError)
                self.assertEqual([], self.clock.getDelayedCalls())
                continue
            talk = await self.peers.accepted()
            await talk.read(3)
            if moment > 1:
                talk.write(b"\x05\x00")
                await talk.read(len(REQUEST))
            if moment > 2:
                talk.write(YES[:5])
                turn: Deferred[None] = Deferred()
                self.clock.callFromThread(turn.callback, None)
                await turn
            opening.cancel()
            self.failureResultOf(opening, CancelledError)
            await self.gone(talk)

    async def test_notCarried(self) -> None:
        """What cannot be asked for is told before the hop is dialled."""
        endpoint = await self.over("socks4a", Destination("2001:db8::1", 443))
        await self.refused(self.open(endpoint), "PS-UP13", hop=str(self.there))
        for kind in ("socks5h", "http"):
            await self.refused(self.open(await self.over(kind, Destination("", 443))), "PS-RQ10")
        self.assertEqual([], self.peers.talks)

    async def test_noProtocol(self) -> None:
        """A factory that builds nothing, or fails, closes the tunnel."""

        class Nothing(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> None:
                """Nothing."""

        class Broken(Factory):
            noisy = False

            def buildProtocol(self, addr: Any) -> Protocol:
                """Fail."""
                raise ZeroDivisionError

        class Fails(Protocol):
            def connectionMade(self) -> None:
                """Fail."""
                raise ZeroDivisionError

        fails = Factory.forProtocol(Fails)
        fails.noisy = False
        for factory, error in ((Nothing(), NoProtocol), (Broken(), ZeroDivisionError), (fails, ZeroDivisionError)):
            opening = (await self.over()).connect(factory)
            talk = await self.peers.accepted()
            talk.write(b"\x05\x00" + YES)
            await self.assertFailure(opening, error)  # type: ignore[arg-type]
            await self.gone(talk)


class ResolvingTests(HopCase):
    """Hops that are sent addresses: ``socks5`` and ``socks4``."""

    async def answer(self, peers: TalkFactory, reply: bytes) -> bytes:
        """Play a hop once: take whatever is asked for, and reply."""
        talk = await peers.accepted()
        await talk.read(3)
        talk.write(b"\x05\x00")
        request = await talk.read(4)
        request += await talk.read(6 if request[3] == 1 else 18)
        talk.write(reply)
        return request[4:-2]

    async def test_inOrder(self) -> None:
        """A name's addresses are asked for one after the other, each on a connection of its own, until one works."""
        self.knownNames["a.example"] = ["2001:db8::1", "192.0.2.1", "192.0.2.2"]
        opening = self.open(await self.over("socks5"))
        self.assertEqual(16, len(await self.answer(self.peers, b"\x05\x03")))
        self.assertEqual(b"\xc0\x00\x02\x01", await self.answer(self.peers, b"\x05\x05"))
        self.assertNoResult(opening)
        self.assertEqual(b"\xc0\x00\x02\x02", await self.answer(self.peers, YES))
        self.assertEqual(("192.0.2.7", 0x1234), (await opening).bound)
        self.assertEqual(3, len(self.peers.talks))

    async def test_allFailed(self) -> None:
        """When none works, the commonest failure is told, of the name as it was asked for."""
        self.knownNames["a.example"] = ["2001:db8::1", "192.0.2.1"]
        opening = self.open(await self.over("socks5"))
        await self.answer(self.peers, b"\x05\x03")
        await self.answer(self.peers, b"\x05\x05")
        await self.refused(opening, "PS-UP21", where="a.example:443", hop=str(self.there))

    async def test_hopsFault(self) -> None:
        """What speaks of the hop itself is not tried with the next address."""
        self.knownNames["a.example"] = ["192.0.2.1", "192.0.2.2"]
        opening = self.open(await self.over("socks5"))
        (await self.peers.accepted()).write(b"\x05\xff")
        await self.refused(opening, "PS-UP10")
        self.assertEqual(1, len(self.peers.talks))

    async def test_unknown(self) -> None:
        """A name that is not found here is not asked for, and not the hop's fault."""
        await self.refused(self.open(await self.over("socks5")), "PS-DE02", where="a.example", hop="")
        self.assertEqual([], self.peers.talks)

    async def test_four(self) -> None:
        """SOCKS 4 takes a name's IPv4 addresses; a name without any is an address type that it does not take."""
        self.knownNames["a.example"] = ["2001:db8::1", "192.0.2.1"]
        opening = self.open(await self.over("socks4"))
        talk = await self.peers.accepted()
        self.assertEqual(b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00", await talk.read(9))
        talk.write(b"\x00\x5a" + bytes(6))
        await opening
        self.knownNames["six.example"] = ["2001:db8::1"]
        endpoint = await self.over("socks4", Destination("six.example", 443))
        refusal = await self.refused(self.open(endpoint), "PS-UP13", hop=str(self.there))
        self.assertEqual(8, refusal.slug.reply)

    async def test_cancelled(self) -> None:
        """Leaving while the second address is asked for closes that connection."""
        self.knownNames["a.example"] = ["192.0.2.1", "192.0.2.2"]
        opening = self.open(await self.over("socks5"))
        await self.answer(self.peers, b"\x05\x05")
        talk = await self.peers.accepted()
        await talk.read(3)
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        await talk.until(lambda: talk.ended)

    async def test_literal(self) -> None:
        """An address is sent as it is."""
        opening = self.open(await self.over("socks5", Destination("192.0.2.9", 80)))
        self.assertEqual(b"\xc0\x00\x02\x09", await self.answer(self.peers, YES))
        await opening
