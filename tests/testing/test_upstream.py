"""Tests for `pipsocks.testing.upstream`."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pipsocks.testing.faults import parseFault
from pipsocks.testing.upstream import FaultyConnection, FaultyFactory

GREETING = b"\x05\x01\x00"
REQUEST = b"\x05\x01\x00\x03\x0eorigin.example\x01\xbb"
GRANTED = b"\x05\x00\x00\x01" + bytes(6)
CONNECT = b"CONNECT origin.example:443 HTTP/1.1\r\n\r\n"


class FaultTests(SynchronousTestCase):
    """What each fault does to a connection."""

    def begin(self, *faults: str, seed: int = 0) -> FaultyConnection:
        """A connection with the last of `faults`."""
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.clock = Clock()
        factory = FaultyFactory(
            self.clock, tuple(map(parseFault, faults)), seed, lambda name, values: self.events.append((name, values))
        )
        for _ in range(max(1, len(faults))):
            connection = factory.buildProtocol(None)
        self.transport = StringTransport()
        connection.makeConnection(self.transport)
        return connection

    def said(self, connection: FaultyConnection, *pieces: bytes) -> tuple[bytes, str]:
        """What comes back for `pieces`, and how the connection stands then."""
        for piece in pieces:
            connection.dataReceived(piece)
        state = "closed" if self.transport.disconnecting else "open"
        return self.transport.value(), "reset" if self.transport.disconnected else state

    def test_atOnce(self) -> None:
        """Some faults strike before a word is said, and nothing is answered afterwards."""
        for fault, state in (("silent", "open"), ("close", "closed"), ("reset", "reset")):
            connection = self.begin(fault)
            self.assertEqual(self.said(connection, GREETING, REQUEST), (b"", state), fault)

    def test_wrongBytes(self) -> None:
        """Scripted and random octets answer the first ones, then comes the end; a seed repeats itself."""
        self.assertEqual(self.said(self.begin("say=0102"), b"x", b"y"), (b"\x01\x02", "closed"))
        self.assertEqual(self.said(self.begin("say-reset=03"), b"x"), (b"\x03", "reset"))
        first = self.said(self.begin("nonsense", seed=7), b"x")
        self.assertEqual(len(first[0]), 64)
        self.assertEqual(first, self.said(self.begin("nonsense", seed=7), b"x"))
        self.assertNotEqual(first, self.said(self.begin("nonsense", seed=8), b"x"))

    def test_socks5(self) -> None:
        """Faults of a SOCKS5 conversation."""
        for fault, answer, state in (
            ("method-refused", b"\x05\xff", "closed"),
            ("reply=4", b"\x05\x00\x05\x04\x00\x01" + bytes(6), "closed"),
            ("cut", b"\x05\x00" + GRANTED[:5], "closed"),
            ("asked-silent", b"\x05\x00", "open"),
            ("asked-close", b"\x05\x00", "closed"),
            ("asked-reset", b"\x05\x00", "reset"),
            ("then-silent", b"\x05\x00" + GRANTED, "open"),
            ("then-close", b"\x05\x00" + GRANTED, "closed"),
            ("then-reset", b"\x05\x00" + GRANTED, "reset"),
        ):
            self.assertEqual(self.said(self.begin(fault), GREETING, REQUEST), (answer, state), fault)

    def test_loginRefused(self) -> None:
        """A login is asked for and refused, and the user is logged without the password."""
        connection = self.begin("login-refused")
        self.assertEqual(self.said(connection, b"\x05\x01\x02", b"\x01\x01u\x01p"), (b"\x05\x02\x01\x01", "closed"))
        self.assertIn(("login", {"connection": 1, "user": "u"}), self.events)

    def test_socks4(self) -> None:
        """SOCKS4 has one word for every failure."""
        asked = b"\x04\x01\x00\x50\x7f\x00\x00\x01u\x00"
        self.assertEqual(self.said(self.begin("reply=1"), asked), (b"\x00\x5b" + bytes(6), "closed"))

    def test_badSOCKS(self) -> None:
        """A request that is none gets the codec's reply."""
        answer = b"\x05\x00\x05\x07\x00\x01" + bytes(6)
        self.assertEqual(self.said(self.begin(), GREETING, b"\x05\x09"), (answer, "closed"))

    def test_otherCommands(self) -> None:
        """BIND and UDP ASSOCIATE are not carried out."""
        answer = b"\x05\x00\x05\x07\x00\x01" + bytes(6)
        for command in (2, 3):
            request = bytes([5, command, 0, 1]) + bytes(6)
            self.assertEqual(self.said(self.begin(), GREETING, request), (answer, "closed"))

    def test_http(self) -> None:
        """Faults of an HTTP conversation, the head in two pieces."""
        end = b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        for fault, answer in (
            ("status=418 I am a teapot", b"HTTP/1.1 418 I am a teapot\r\n" + end),
            (
                "method-refused",
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n" + end,
            ),
            (
                "login-refused",
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="faulty"\r\n' + end,
            ),
            ("then-close", b"HTTP/1.1 200 Connection established\r\n\r\n"),
        ):
            self.assertEqual(self.said(self.begin(fault), CONNECT[:9], CONNECT[9:]), (answer, "closed"), fault)

    def test_badHTTP(self) -> None:
        """A request without a target is a bad one."""
        for request in (b"CONNECT nowhere HTTP/1.1\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"):
            answer, state = self.said(self.begin(), request)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)
            self.assertEqual(state, "closed")

    def test_inTurn(self) -> None:
        """Connections have their faults in turn; the last one is that of all further ones."""
        self.assertEqual(self.said(self.begin("silent", "close")), (b"", "closed"))
        self.assertEqual(self.events, [("accepted", {"connection": 2, "fault": "close"})])

    def test_leaving(self) -> None:
        """A client that ends its side, and then is gone, is logged."""
        connection = self.begin("silent")
        connection.readConnectionLost()
        connection.writeConnectionLost()
        self.assertTrue(self.transport.disconnecting)
        connection.connectionLost(Failure(ConnectionError()))
        self.assertEqual([name for name, _ in self.events], ["accepted", "ended", "lost"])


class _Collector(Protocol):
    """Keeps what comes, and tells of the end."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(self.data)


class _Origin(Protocol):
    """Answers the first octets with an upper case of all of them, then ends."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data.upper())
        self.transport.loseConnection()


class HealthyTests(TestCase):
    """What is done where nothing is wrong, over real sockets."""

    async def start(self, *faults: str) -> tuple[_Collector, int]:
        """A client of a proxy with these faults, and the port of an origin."""
        ports = []
        factory = FaultyFactory(reactor, tuple(map(parseFault, faults)), 0, lambda name, values: None)
        for served in (Factory.forProtocol(_Origin), factory):
            served.noisy = False
            port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(served)
            self.addCleanup(port.stopListening)
            ports.append(port.getHost().port)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", ports[1])
        client: Any = await endpoint.connect(Factory.forProtocol(_Collector))
        return client, ports[0]

    async def test_socks5(self) -> None:
        """A tunnel by SOCKS5; the octets behind the request go first."""
        client, port = await self.start()
        assert client.transport is not None
        client.transport.write(GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big") + b"song")
        self.assertEqual(await client.ended, b"\x05\x00" + GRANTED + b"SONG")

    async def test_connect(self) -> None:
        """A tunnel by CONNECT, from a proxy that is a little slow."""
        client, port = await self.start("slow=0.01")
        assert client.transport is not None
        client.transport.write(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nsong" % port)
        self.assertEqual(await client.ended, b"HTTP/1.1 200 Connection established\r\n\r\nSONG")

    async def test_absolute(self) -> None:
        """A plain request goes on in origin-form, without what is the proxy's."""
        client, port = await self.start()
        assert client.transport is not None
        fields = b"Host: 127.0.0.1:%d\r\nProxy-Authorization: Basic eHg=\r\nConnection: keep-alive\r\n" % port
        client.transport.write(b"GET http://127.0.0.1:%d/a?b HTTP/1.1\r\n%b\r\n" % (port, fields))
        expected = b"GET /A?B HTTP/1.1\r\nHOST: 127.0.0.1:%d\r\nCONNECTION: CLOSE\r\n\r\n" % port
        self.assertEqual(await client.ended, expected)

    async def test_refused(self) -> None:
        """A destination that nothing listens at is refused in the protocol's words."""
        client, _ = await self.start()
        assert client.transport is not None
        client.transport.write(GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x01")
        self.assertEqual(await client.ended, b"\x05\x00\x05\x05\x00\x01" + bytes(6))
