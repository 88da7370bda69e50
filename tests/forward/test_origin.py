"""One connection to an origin, by itself."""

from __future__ import annotations

from typing import Any

import h11
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.forward.origin import Closed, Origin, OriginFactory
from pipsocks.wire.gate import Cut, GateError, ResponseHead

DONE, LOST = Failure(ConnectionDone()), Failure(ConnectionLost())


class Socket(StringTransport):
    """Notes how it is closed."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True

    def unregisterProducer(self) -> None:
        """As a real one: whether there is any or not."""
        self.producer = None


class Taker:
    """Collects content."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, data: bytes) -> None:
        self.content += data


class OriginTests(SynchronousTestCase):
    """A request out, a response in."""

    def setUp(self) -> None:
        self.heard = 0
        self.interim: list[int] = []
        origin = OriginFactory(self.hear).buildProtocol(None)
        self.origin: Origin = origin
        self.socket = Socket()
        self.origin.makeConnection(self.socket)
        self.taker = Taker()

    def hear(self) -> None:
        self.heard += 1

    def ask(self, method: str = "GET") -> Deferred[ResponseHead]:
        """Send a whole request."""
        request = h11.Request(method=method, target="/", headers=[("Host", "x")])
        headed = self.origin.ask(request, lambda head: self.interim.append(head.status))
        self.origin.finish(())
        return headed

    def deliver(self) -> Deferred[Any]:
        return self.origin.deliver(self.taker)

    def test_byteByByte(self) -> None:
        """Any fragmentation gives the same."""
        for _ in range(2):
            headed = self.ask()
            response = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
            over = None
            for byte in response:
                self.origin.dataReceived(bytes([byte]))
                if over is None and headed.called:
                    self.assertEqual(self.successResultOf(headed).status, 200)
                    over = self.deliver()
            self.assertEqual(self.successResultOf(over), ())
            self.assertTrue(self.origin.reusable)
        self.assertEqual((self.taker.content, self.interim, self.heard), (b"abcabc", [103, 103], 2 * (2 + 3)))
        self.assertEqual(self.origin.sent * 2, len(self.socket.value()))

    def test_unread(self) -> None:
        """Content that nobody takes yet is not read, and neither is any while its taker wants no more."""
        headed = self.ask()
        self.origin.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na")
        self.successResultOf(headed)
        self.assertEqual(self.socket.producerState, "paused")
        over = self.deliver()
        self.assertEqual(self.socket.producerState, "producing")
        self.origin.pauseProducing()
        self.assertEqual(self.socket.producerState, "paused")
        self.origin.dataReceived(b"bcd")
        self.origin.resumeProducing()
        self.assertEqual((self.successResultOf(over), self.taker.content), ((), b"abcd"))

    def test_endsUnread(self) -> None:
        """A connection that ends while its content is held delivers what it has, and then says whether that was all."""
        for reason, content, error in ((DONE, b"abc", None), (LOST, b"abc", Cut)):
            self.setUp()
            self.ask()
            self.origin.dataReceived(b"HTTP/1.0 200 OK\r\n\r\n" + content)
            self.origin.connectionLost(reason)
            over = self.deliver()
            if error is None:
                self.successResultOf(over)
            else:
                self.failureResultOf(over, error)
            self.assertEqual(self.taker.content, content)
            self.assertFalse(self.origin.reusable)

    def test_wholeAndThenLost(self) -> None:
        """A reset behind a complete response does it no harm."""
        headed = self.ask()
        self.origin.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
        self.successResultOf(headed)
        self.origin.connectionLost(LOST)
        self.assertEqual(self.successResultOf(self.deliver()), ())

    def test_lostBeforeTheRequest(self) -> None:
        """A connection that is gone already fails as one that goes."""
        self.origin.connectionLost(DONE)
        self.assertFalse(self.failureResultOf(self.ask(), Closed).value.spoke)

    def test_spoke(self) -> None:
        """Whether anything had come is told."""
        headed = self.ask()
        self.origin.dataReceived(b"HT")
        self.origin.connectionLost(LOST)
        self.assertTrue(self.failureResultOf(headed, Closed).value.spoke)

    def test_nonsense(self) -> None:
        """What is no response ends the connection, in the head and in the content."""
        headed = self.ask()
        self.origin.dataReceived(b"nonsense")
        self.failureResultOf(headed, GateError)
        self.assertTrue(self.socket.aborted)
        self.setUp()
        self.ask()
        self.origin.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        self.failureResultOf(self.deliver(), GateError)
        self.assertTrue(self.socket.aborted)

    def test_interimForEver(self) -> None:
        """There is an end to interim responses."""
        headed = self.ask()
        for _ in range(100):
            self.origin.dataReceived(b"HTTP/1.1 103 Early\r\n\r\n")
        self.assertNoResult(headed)
        self.origin.dataReceived(b"HTTP/1.1 103 Early\r\n\r\n")
        self.failureResultOf(headed, GateError)
        self.assertTrue(self.socket.aborted)

    def test_twoReaders(self) -> None:
        """A head that h11 does not take is none, though the gate takes it."""
        headed = self.ask()
        self.origin.dataReceived(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        self.assertEqual(self.failureResultOf(headed, GateError).value.status, 502)

    def test_stale(self) -> None:
        """An idle connection tells once when it can't be used: when it ends, or speaks unasked."""
        for end in (lambda: self.origin.connectionLost(DONE), lambda: self.origin.dataReceived(b"x")):
            self.setUp()
            stale: list[int] = []
            self.origin.rest(lambda stale=stale: stale.append(1))  # type: ignore[misc]
            end()
            self.origin.connectionLost(DONE)
            self.assertEqual(stale, [1])

    def test_notReusable(self) -> None:
        """Nor is one that says close, that has more to say, or whose request is not complete."""
        for response in (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore",
        ):
            self.setUp()
            self.ask()
            self.origin.dataReceived(response)
            self.successResultOf(self.deliver())
            self.assertFalse(self.origin.reusable)
        self.setUp()
        headers = [("Host", "x"), ("Content-Length", "5")]
        self.origin.ask(h11.Request(method="PUT", target="/", headers=headers), lambda head: None)
        self.origin.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(self.deliver())
        self.assertFalse(self.origin.reusable or self.origin.complete)

    def test_givenUp(self) -> None:
        """A response that is given up ends short for whoever takes it, now or later."""
        for later in (False, True):
            self.setUp()
            self.ask()
            self.origin.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            over = None if later else self.deliver()
            self.origin.giveUp()
            self.assertTrue(self.socket.aborted)
            self.origin.connectionLost(LOST)
            self.failureResultOf(over or self.deliver(), Cut)


class Follower:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def readConnectionLost(self) -> None:
        self.events.append("read")

    def writeConnectionLost(self) -> None:
        self.events.append("write")

    def connectionLost(self, reason: Failure) -> None:
        self.events.append(reason)


class TunnelTests(SynchronousTestCase):
    """A connection behind a 101."""

    def setUp(self) -> None:
        self.origin = OriginFactory(lambda: None).buildProtocol(None)
        self.socket = Socket()
        self.origin.makeConnection(self.socket)
        fields = [("Host", "x"), ("Connection", "Upgrade"), ("Upgrade", "websocket")]
        self.headed = self.origin.ask(h11.Request(method="GET", target="/", headers=fields), lambda head: None)
        self.origin.finish(())

    def test_follow(self) -> None:
        """Whoever takes it over gets what stood behind the head, then every event."""
        self.origin.dataReceived(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nearly")
        self.assertEqual(self.successResultOf(self.headed).status, 101)
        follower = Follower()
        self.origin.follow(follower)
        self.origin.dataReceived(b"late")
        self.origin.readConnectionLost()
        self.origin.writeConnectionLost()
        self.origin.connectionLost(DONE)
        self.assertEqual(follower.events, [b"early", b"late", "read", "write", DONE])
        self.assertFalse(self.socket.aborted or self.socket.disconnecting)

    def test_otherProtocol(self) -> None:
        """A switch to anything else is no answer."""
        self.origin.dataReceived(b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
        self.failureResultOf(self.headed, GateError)
        self.assertTrue(self.socket.aborted)

    def test_ends(self) -> None:
        """Without a switch the end of the origin's output is the end of the connection, once."""
        self.origin.readConnectionLost()
        self.assertFalse(self.failureResultOf(self.headed, Closed).value.spoke)
        self.origin.writeConnectionLost()
        self.origin.connectionLost(LOST)
        self.assertTrue(self.socket.disconnecting)
