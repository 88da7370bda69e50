"""Tests for `pipsocks.testing.valve` and `pipsocks.testing.sending`: portions, and who pauses whom."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing import Echo, Origin, Server
from pipsocks.testing.server import Kind
from pipsocks.testing.valve import HELD, portion

GET = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class MemoryCase(SynchronousTestCase):
    """A connection in memory."""

    def begin(self, kind: Kind, fault: str) -> Any:
        """Its protocol."""
        self.clock = Clock()
        protocol: Any = Server(self.clock, kind, [fault]).build()
        self.transport = StringTransport()
        protocol.makeConnection(self.transport)
        self.producer: Any = None
        return protocol

    def got(self) -> int:
        """How many bytes have come since the last time."""
        count = len(self.transport.value())
        self.transport.clear()
        return count


class RateTests(SynchronousTestCase):
    """How a rate is kept."""

    def test_portions(self) -> None:
        """Whatever the rate, the portions come to it: no more and no less."""
        for rate in (1, 3, 19, 20, 30, 49, 1000, 1234567):
            octets, wait = portion(rate)
            self.assertAlmostEqual(octets / wait, rate)
            self.assertGreaterEqual(octets, 1)


class ValveTests(MemoryCase):
    """An echo that is throttled."""

    def test_sourcePaused(self) -> None:
        """What waits is bounded: its source is paused, and goes on when there is room."""
        protocol = self.begin(Echo(), "throttle=20000")
        protocol.dataReceived(bytes(HELD + 1500))
        self.assertEqual((self.got(), self.transport.producerState), (1000, "paused"))
        self.clock.advance(0.05)
        self.assertEqual((self.got(), self.transport.producerState), (1000, "producing"))

    def test_clientSlow(self) -> None:
        """A client that is slower than the rate is waited for."""
        protocol = self.begin(Echo(), "throttle=20000")
        protocol.dataReceived(bytes(3000))
        valve: Any = self.transport.producer
        valve.pauseProducing()
        self.clock.pump([0.05] * 3)
        self.assertEqual((self.got(), self.transport.producerState), (1000, "paused"))
        valve.resumeProducing()
        self.clock.pump([0.05] * 3)
        self.assertEqual((self.got(), self.transport.producerState), (2000, "producing"))
        valve.stopProducing()

    def test_end(self) -> None:
        """The end of the client comes back behind all that it said."""
        protocol = self.begin(Echo(), "throttle=20")
        protocol.dataReceived(b"song")
        protocol.readConnectionLost()
        protocol.writeConnectionLost()
        self.clock.pump([0.05] * 2)
        self.assertEqual((self.got(), self.transport.disconnecting), (3, False))
        self.clock.advance(0.05)
        self.assertEqual((self.got(), self.transport.disconnecting), (1, True))

    def test_cut(self) -> None:
        """A throttled echo ends behind its last byte, and takes no more."""
        protocol = self.begin(Echo(), "throttle=20 + close-after=2")
        protocol.dataReceived(b"song")
        self.clock.pump([0.05] * 5)
        self.assertEqual((self.got(), self.transport.disconnecting), (2, True))
        protocol.dataReceived(b"more")
        self.clock.pump([0.05] * 5)
        self.assertEqual(self.got(), 0)
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent(self) -> None:
        """An echo that fell silent goes on to read, and so hears of the client's end, but does not answer it."""
        protocol = self.begin(Echo(), "silent-after=2")
        protocol.dataReceived(b"song")
        self.transport.producer.resumeProducing()  # type: ignore[union-attr]
        protocol.readConnectionLost()
        self.assertEqual((self.got(), self.transport.disconnecting), (2, False))


class SendingTests(MemoryCase):
    """An origin's body."""

    def test_throttled(self) -> None:
        """A client that is slower than the rate is waited for; the end comes behind the last byte."""
        protocol = self.begin(Origin(100), "throttle=1000")
        protocol.dataReceived(GET)
        sending: Any = self.transport.producer
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        self.assertEqual(len(body), 50)
        self.transport.clear()
        sending.pauseProducing()
        self.clock.pump([0.05] * 3)
        self.assertEqual(self.got(), 0)
        sending.resumeProducing()
        self.clock.advance(0.05)
        self.assertEqual((self.got(), self.transport.disconnecting), (50, True))
        sending.stopProducing()

    def test_unthrottled(self) -> None:
        """Whoever pauses gets no more until it resumes."""
        protocol = self.begin(Origin(1_000_000), "none")
        write = self.transport.write

        def once(data: bytes) -> None:
            write(data)
            if self.transport.producer is not None:
                self.transport.producer.pauseProducing()

        self.transport.write = once  # type: ignore[method-assign]
        protocol.dataReceived(GET)
        sending: Any = self.transport.producer
        self.got()
        for _ in range(14):
            sending.resumeProducing()
            self.assertEqual(self.got(), 65_536)
        sending.resumeProducing()
        self.assertEqual((self.got(), self.transport.disconnecting), (1_000_000 - 15 * 65_536, True))
        sending.resumeProducing()
        self.assertEqual(self.got(), 0)

    def test_empty(self) -> None:
        """Nothing is a body too, however slowly it is sent."""
        for fault in ("throttle=1", "none", "chunked"):
            protocol = self.begin(Origin(0), fault)
            protocol.dataReceived(GET)
            self.assertTrue(self.transport.disconnecting)
            self.assertIn(self.transport.value().partition(b"\r\n\r\n")[2], (b"", b"0\r\n\r\n"))
