"""Tests for `pipsocks.testing.upstream`: what it does where nothing is wrong, and what it makes of bad requests."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing import Content, Echo, Events, Origin, Server, Upstream
from tests.functional.origins import certificateFile
from tests.loopback import Talk, TalkFactory, listen
from tests.testing.rig import CHOSEN, GRANTED, GREETING, FaultCase, connectTo, replied, socksTo

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def certificate() -> Any:
    """A context factory for a listener."""
    return PrivateCertificate.loadPEM(certificateFile().read_text()).options()


class RequestTests(SynchronousTestCase):
    """Requests that are not carried out, in memory."""

    def said(self, *pieces: bytes, fault: str = "none") -> tuple[bytes, bool]:
        """What comes back for `pieces`, and whether the connection is closed then."""
        self.events = Events(reactor)
        protocol: Any = Server(reactor, Upstream(), [fault], log=self.events).build()
        transport = StringTransport()
        protocol.makeConnection(transport)
        for piece in pieces:
            protocol.dataReceived(piece)
        closed = transport.disconnecting
        protocol.connectionLost(Failure(ConnectionDone()))
        return transport.value(), closed

    def test_pieces(self) -> None:
        """A request in single bytes is the same request."""
        for request in (GREETING + b"\x05\x01\x00\x03\x09a.example\x01\xbb", b"CONNECT a.example:443 HTTP/1.1\r\n\r\n"):
            whole = self.said(request, fault="reply=4")
            self.assertEqual(self.said(*(bytes([octet]) for octet in request), fault="reply=4"), whole)
            (asked,) = self.events.named("request")
            self.assertEqual((asked["host"], asked["port"]), ("a.example", 443))

    def test_socks4(self) -> None:
        """SOCKS 4 has one word for every failure."""
        asked = b"\x04\x01\x00\x50\x7f\x00\x00\x01u\x00"
        self.assertEqual(self.said(asked, fault="reply=1"), (b"\x00\x5b" + bytes(6), True))

    def test_login(self) -> None:
        """A login is logged without the password, from SOCKS and from HTTP."""
        self.said(b"\x05\x01\x02", b"\x01\x01u\x06s3cret", fault="login-refused")
        self.assertEqual(self.events.named("login"), [{"connection": 1, "user": "u"}])
        self.said(b"CONNECT a:1 HTTP/1.1\r\nProxy-Authorization: Basic czNjcmV0\r\nX: y\r\n\r\n", fault="reply=1")
        self.assertEqual(self.events.named("request")[0]["head"], "CONNECT a:1 HTTP/1.1\nX: y")

    def test_badSOCKS(self) -> None:
        """A request that is none gets the codec's reply, and so do BIND and UDP ASSOCIATE."""
        self.assertEqual(self.said(GREETING, b"\x05\x09"), (CHOSEN + replied(7), True))
        for command in (2, 3):
            request = bytes([5, command, 0, 1]) + bytes(6)
            self.assertEqual(self.said(GREETING, request), (CHOSEN + replied(7), True))

    def test_badHTTP(self) -> None:
        """A request without a target is a bad one, and so is one that has no end."""
        for request in (
            b"CONNECT nowhere HTTP/1.1\r\n\r\n",
            b"hello\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nX: " + b"y" * 70_000,
        ):
            answer, closed = self.said(request, b"z")
            self.assertRegex(answer, rb"^HTTP/1.1 4(00|31) ")
            self.assertTrue(closed)


class HealthyTests(FaultCase):
    """What is done where nothing is wrong, over real sockets."""

    async def test_tunnels(self) -> None:
        """Tunnels by SOCKS and CONNECT; the octets behind the request go first, and each end is passed on."""
        for asked, granted in ((socksTo, CHOSEN + GRANTED), (connectTo, CONNECTED)):
            hop, there = self.hop()
            talk = await self.say(hop, asked(there) + b"song")
            self.assertEqual(await talk.read(len(granted) + 4), granted + b"song")
            talk.write(b" and more")
            transport: Any = talk.transport
            transport.loseWriteConnection()
            self.assertEqual(await talk.readAll(), b" and more")
            await self.leave(talk)
            lost = (await self.events.until("lost"))[0]
            self.assertEqual((lost["up"], lost["down"]), (13, 13))

    async def test_originEnds(self) -> None:
        """The origin's end is passed on, and the other direction goes on; its reset is the end of both."""
        for how in ("loseWriteConnection", "abortConnection"):
            there = TalkFactory()
            port = await listen(self, there)
            talk = await self.say(self.serve(Upstream()), socksTo(port))
            origin = await there.accepted()
            await talk.read(len(CHOSEN + GRANTED))
            getattr(origin.transport, how)()
            await talk.until(lambda talk=talk: talk.ended)  # type: ignore[misc]
            if how == "loseWriteConnection":
                talk.write(b"song")
                self.assertEqual(await origin.read(4), b"song")
            await self.leave(talk)
            await self.leave(origin)

    async def test_clientLeaves(self) -> None:
        """A client that is gone takes its tunnel with it, and one that is gone before there is one as well."""
        there = TalkFactory()
        port = await listen(self, there)
        hop = self.serve(Upstream())
        talk = await self.say(hop, socksTo(port))
        origin = await there.accepted()
        await talk.read(len(CHOSEN + GRANTED))
        talk.transport.abortConnection()  # type: ignore[union-attr]
        await origin.until(lambda: origin.ended)
        await self.leave(origin)
        early = await self.say(hop, GREETING)
        await early.read(2)
        early.transport.loseWriteConnection()  # type: ignore[union-attr]
        self.assertEqual(await early.readAll(), b"")
        await self.leave(early)

    async def test_plainRequest(self) -> None:
        """A plain request goes on in origin-form, without what is the proxy's."""
        there = TalkFactory()
        port = await listen(self, there)
        fields = f"Host: 127.0.0.1:{port}\r\nProxy-Authorization: Basic eHg=\r\nConnection: keep-alive\r\n"
        request = f"GET http://127.0.0.1:{port}/a?b HTTP/1.1\r\n{fields}\r\nbody".encode()
        talk = await self.say(self.serve(Upstream()), request)
        origin = await there.accepted()
        head = f"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\nbody".encode()
        self.assertEqual(await origin.read(len(head)), head)
        origin.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        origin.transport.loseConnection()  # type: ignore[union-attr]
        self.assertEqual(await talk.readAll(), b"HTTP/1.1 204 No Content\r\n\r\n")

    async def test_refused(self) -> None:
        """A destination that nothing listens at is refused in the protocol's words, one without an address too."""
        hop = self.serve(Upstream())
        self.assertEqual(await self.whole(hop, socksTo(1)), (CHOSEN + replied(5), "close"))
        data, _ = await self.whole(hop, b"CONNECT nowhere.invalid:1 HTTP/1.1\r\n\r\n")
        self.assertTrue(data.startswith(b"HTTP/1.1 502 "), data)
        self.assertEqual(self.events.named("failed")[0]["reason"], "ConnectionRefusedError")

    async def test_hosts(self) -> None:
        """A name may lead to a listener of the test, and have a fault of its own."""
        there = self.serve(Echo()).port
        hosts = {"a.example:443": ("127.0.0.1", there), "b.example:443": ("127.0.0.1", there)}
        hop = self.serve(Upstream(hosts), "for=b.example reply=4", "for=b.example:443 none", "for=b.example:443 cut")
        for name, expected in ((b"a", GRANTED + b"song"), (b"b", GRANTED + b"song"), (b"b", GRANTED[:5])):
            request = GREETING + b"\x05\x01\x00\x03\x09" + name + b".Example\x01\xbbsong"
            talk = await self.say(hop, request)
            self.assertEqual(await talk.read(2 + len(expected)), CHOSEN + expected)
        self.assertEqual([each["fault"] for each in self.events.named("fault")], ["none", "cut"])

    async def test_slowReader(self) -> None:
        """A client that does not read stops the origin, and in the end has every byte."""
        content = Content("a", 30_000_000)
        origin = self.serve(Origin(content.size, 0))
        hop = self.serve(Upstream())
        talk = await self.say(hop, socksTo(origin.port))
        await talk.read(len(CHOSEN + GRANTED))
        transport: Any = talk.transport
        transport.pauseProducing()
        talk.write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        kind: Any = origin.kind
        seen, quiet = -1, 0
        while quiet < 5:
            await self.breathe(0.02)
            quiet = quiet + 1 if kind.sent == seen and seen > 0 else 0
            seen = kind.sent
        self.assertLess(seen, content.size)
        transport.resumeProducing()
        body = (await talk.readAll()).partition(b"\r\n\r\n")[2]
        self.assertEqual(body, kind.content("/x").all())

    async def breathe(self, seconds: float) -> None:
        """Let the reactor work."""
        waited: Deferred[None] = Deferred()
        reactor.callLater(seconds, waited.callback, None)  # type: ignore[attr-defined]
        await waited


class TLSTests(FaultCase):
    """A listener that speaks TLS."""

    async def start(self, *faults: str) -> tuple[Talk, int]:
        """A client's connection, and the port of an echo."""
        hop, there = self.hop(*faults, tls=certificate())
        endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", hop.port, CertificateOptions())
        talk: Any = await connectProtocol(endpoint, Talk())
        return talk, there

    async def test_tunnel(self) -> None:
        """A tunnel; the end of either side is the end of both."""
        talk, there = await self.start()
        talk.write(connectTo(there) + b"song")
        self.assertEqual(await talk.read(len(CONNECTED) + 4), CONNECTED + b"song")
        talk.transport.loseConnection()  # type: ignore[union-attr]
        await talk.gone()
        await self.events.until("lost")

    async def test_originEnds(self) -> None:
        """The origin's end is passed on as TLS's own."""
        there = TalkFactory()
        port = await listen(self, there)
        talk, _ = await self.start()
        talk.write(connectTo(port))
        await talk.read(len(CONNECTED))
        (await there.accepted()).transport.loseWriteConnection()  # type: ignore[union-attr]
        self.assertTrue((await talk.gone()).check(ConnectionDone))

    async def test_earlyBytes(self) -> None:
        """What comes behind the request in a record of its own is not lost while the destination is dialled."""
        talk, there = await self.start("slow=0.05")
        talk.write(connectTo(there))
        talk.write(b"song")
        self.assertEqual(await talk.read(len(CONNECTED) + 4), CONNECTED + b"song")
        talk.transport.abortConnection()  # type: ignore[attr-defined,union-attr]
        await talk.gone()

    async def test_beforeHandshake(self) -> None:
        """What ends before TLS has begun ends as it says: ``close`` by an end of the stream, ``reset`` by a reset."""
        for kind, fault, end in (
            (Upstream(), "close", "close"),
            (Origin(), "close", "close"),
            (Echo(), "close-after=0", "close"),
            (Upstream(), "reset", "reset"),
            (Echo(), "reset-after=0", "reset"),
        ):
            server = self.serve(kind, fault, tls=certificate())
            self.assertEqual(await self.whole(server), (b"", end), fault)
            await self.events.until("lost")

    async def test_faults(self) -> None:
        """Faults strike inside TLS; what was said before a reset arrives."""
        for fault, expected in (
            ("then-reset", CONNECTED),
            ("reset-after=2", CONNECTED + b"so"),
            ("then-close", CONNECTED),
        ):
            talk, there = await self.start(fault)
            talk.write(connectTo(there))
            talk.write(b"song")
            self.assertEqual(await talk.readAll(), expected)
            reason = await talk.gone()
            self.assertEqual(bool(reason.check(ConnectionDone)), fault == "then-close", reason)
