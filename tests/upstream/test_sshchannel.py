"""One tunnel inside an ssh connection, message by message: windows, ends, producers."""

from __future__ import annotations

import gc
from typing import Any

from twisted.internet.defer import fail
from twisted.internet.error import ConnectionAborted, ConnectionDone, NoProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol

from pipsocks.upstream.dial import Dial
from pipsocks.upstream.sshchannel import Channel
from pipsocks.upstream.sshdata import Fields, number, string
from pipsocks.upstream.sshoutput import FILL, PACKET
from pipsocks.upstream.sshwindow import WINDOW, WINDOW_LIMIT
from tests.loopback import Talk
from tests.upstream.rig import A
from tests.upstream.sshrig import Bastion, Connection
from tests.upstream.test_sshline import LineCase

ADJUST, DATA, EOF, CLOSE = 93, 94, 96, 97
THERE = number(100)


class Plain(Protocol):
    """A protocol that knows nothing of half-closed connections."""

    received = b""
    lost: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost = reason


class Producer:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.then: Any = lambda: None

    def pauseProducing(self) -> None:
        self.asked.append("pause")

    def resumeProducing(self) -> None:
        self.asked.append("resume")
        self.then()

    def stopProducing(self) -> None:
        self.asked.append("stop")


class ChannelCase(LineCase):
    """A tunnel, and the scripted side of its connection."""

    protocol: type = Talk
    room = 1 << 21
    packet = PACKET

    async def begin(self) -> None:
        """Open the tunnel."""
        self.server: Bastion = await self.bastion()
        opening = self.ask(self.server.port, protocol=self.protocol)
        self.connection: Connection = await self.asked(self.server)
        self.connection.confirm(0, self.room, self.packet)
        self.inner = await self.within(opening)
        self.transport: Any = self.inner.transport

    async def got(self, message: int, count: int = 1) -> list[bytes]:
        """The messages of a kind that have come, once there are so many."""
        await self.turns(lambda: len(self.connection.of(message)) >= count)
        return self.connection.of(message)

    def octets(self) -> bytes:
        """What has come through the tunnel."""
        return b"".join(_data(each) for each in self.connection.of(DATA))

    async def settle(self) -> None:
        """Let whatever is on its way arrive: what is sent in order is answered in order."""
        before = self.server.keepalives
        self.transport._service.askForLife()
        heard = self.transport._service.transport.heard
        await self.turns(lambda: self.server.keepalives > before and self.transport._service.transport.heard > heard)

    async def sent(self) -> None:
        """Let what the scripted side has sent arrive."""
        self.connection.send(98, number(0) + string(b"x") + b"\1")
        before = len(self.connection.of(100))
        await self.turns(lambda: len(self.connection.of(100)) > before)

    def order(self) -> list[int]:
        """The kinds of messages that have come, repetitions taken out."""
        kinds = [kind for kind, _ in self.connection.got if kind not in (90, 100)]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def _data(message: bytes) -> bytes:
    fields = Fields(message)
    fields.number()
    return fields.string()


class ComingTests(ChannelCase):
    """What the hop sends."""

    async def test_window(self) -> None:
        """More is asked for once half has been taken, and twice as much of a reader who keeps up, to a limit."""
        await self.begin()
        granted, window = 0, WINDOW
        for _ in range(80):
            for _ in range(2):
                self.connection.data(0, b"x" * PACKET)
            await self.sent()
        sizes = [int.from_bytes(each[4:], "big") for each in self.connection.of(ADJUST)]
        granted = sum(sizes)
        self.assertEqual(WINDOW // 2 + WINDOW, sizes[0])  # what was taken, and the window as much again
        taken = 160 * PACKET
        self.assertEqual(taken, len(self.inner.received))
        self.assertLessEqual(window + granted - taken, WINDOW_LIMIT)
        self.assertGreater(window + granted - taken, WINDOW_LIMIT // 2)

    async def test_paused(self) -> None:
        """Of a reader who does not take it no more is asked for; what has come is held, in order, with its end."""
        await self.begin()
        self.transport.pauseProducing()
        for piece in range(4):
            self.connection.data(0, bytes((piece,)) * PACKET)
        self.connection.send(EOF, number(0))
        await self.sent()
        self.assertEqual((b"", False), (self.inner.received, self.inner.ended))
        self.assertEqual([], self.connection.of(ADJUST))
        self.transport.resumeProducing()
        self.assertEqual(b"", self.inner.received)  # in the next turn
        await self.inner.until(lambda: True)
        await self.turns(lambda: self.inner.ended)
        self.assertEqual(b"".join(bytes((piece,)) * PACKET for piece in range(4)), self.inner.received)
        self.assertIsNone(self.inner.lost)

    async def test_slowReader(self) -> None:
        """A reader who lets all of it pile up gets the small window again."""
        await self.begin()
        for _ in range(20):
            for _ in range(2):
                self.connection.data(0, b"x" * PACKET)
            await self.sent()
        window = WINDOW + sum(int.from_bytes(each[4:], "big") for each in self.connection.of(ADJUST)) - 40 * PACKET
        self.assertGreater(window, 4 * WINDOW)
        before = len(self.connection.of(ADJUST))
        self.transport.pauseProducing()
        while window >= PACKET:
            self.connection.data(0, b"x" * PACKET)
            window -= PACKET
        await self.sent()
        self.transport.resumeProducing()
        grants = await self.got(ADJUST, before + 1)
        self.assertLessEqual(int.from_bytes(grants[before][4:], "big"), WINDOW)

    async def test_piledUpOnce(self) -> None:
        """A reader who lets much pile up while more may still come is not asked for more until that has come."""
        await self.begin()
        for _ in range(40):
            for _ in range(2):
                self.connection.data(0, b"x" * PACKET)
            await self.sent()
        window = WINDOW + sum(int.from_bytes(each[4:], "big") for each in self.connection.of(ADJUST)) - 80 * PACKET
        before = len(self.connection.of(ADJUST))
        self.transport.pauseProducing()
        while window > WINDOW_LIMIT // 2 - 2 * PACKET:
            self.connection.data(0, b"y" * PACKET)
            window -= PACKET
        await self.sent()
        self.transport.resumeProducing()
        await self.turns(lambda: not self.transport._window.held)
        await self.sent()
        self.assertEqual(before, len(self.connection.of(ADJUST)))
        self.assertIsNone(self.inner.lost)
        while window >= PACKET:
            self.connection.data(0, b"z" * PACKET)
            window -= PACKET
        await self.got(ADJUST, before + 1)

    async def test_pausedInBetween(self) -> None:
        """A reader who pauses while it is given what was held gets the rest when it resumes."""
        await self.begin()
        self.transport.pauseProducing()
        pieces = [bytes((piece,)) * PACKET for piece in range(4)]
        for piece in pieces:
            self.connection.data(0, piece)
        await self.sent()
        taken = self.inner.dataReceived

        def pausing(data: bytes) -> None:
            taken(data)
            self.transport.pauseProducing()

        self.inner.dataReceived = pausing
        for so in (2, 4):
            self.transport.resumeProducing()
            self.transport.resumeProducing()
            await self.turns(lambda so=so: self.inner.received == b"".join(pieces[:so]))
            await self.sent()
        self.assertEqual(4 * PACKET, len(self.inner.received))
        self.assertEqual([], self.connection.of(ADJUST))

    async def test_extended(self) -> None:
        """What is not the tunnel's is dropped, and its room given back."""
        await self.begin()
        for _ in range(4):
            self.connection.send(95, number(0) + number(1) + string(b"x" * 20_000))
        await self.got(ADJUST)
        self.assertEqual(b"", self.inner.received)

    async def test_nothing(self) -> None:
        """A message without octets is not told: it must not pass for the destination's first byte."""
        await self.begin()
        told: list[bytes] = []
        self.inner.dataReceived = told.append
        self.connection.data(0, b"")
        await self.sent()
        self.connection.data(0, b"x")
        await self.turns(lambda: told)
        self.assertEqual([b"x"], told)

    async def test_behindTheEnd(self) -> None:
        """What comes behind the hop's EOF is not told."""
        await self.begin()
        self.connection.send(EOF, number(0))
        self.connection.data(0, b"more")
        await self.sent()
        self.assertEqual((b"", True), (self.inner.received, self.inner.ended))

    async def test_closeWithoutEOF(self) -> None:
        """A close is a clean end, as Go's servers send it: data, the end of input, the end."""
        await self.begin()
        self.connection.data(0, b"last words")
        self.connection.send(CLOSE, number(0))
        await self.turns(lambda: self.inner.lost)
        self.inner.lost.trap(ConnectionDone)
        self.assertEqual((b"last words", True), (self.inner.received, self.inner.ended))
        self.assertEqual([THERE], await self.got(CLOSE))
        self.inner.write(b"into nothing")
        self.transport.loseConnection()
        self.transport.abortConnection()
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.assertEqual(["stop"], producer.asked)

    async def test_closeWhilePaused(self) -> None:
        """What came before a close is given to a slow reader first; who waits to write goes on into nothing."""
        await self.begin()
        self.transport.pauseProducing()
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.connection.data(0, b"last words")
        self.transport._service.pauseProducing()  # the connection is full
        self.inner.write(b"x" * (FILL + 1))
        self.assertEqual(["pause"], producer.asked)
        self.connection.send(CLOSE, number(0))
        await self.turns(lambda: producer.asked == ["pause", "resume"])
        self.assertIsNone(self.inner.lost)
        self.transport.resumeProducing()
        await self.turns(lambda: self.inner.lost)
        self.assertEqual(b"last words", self.inner.received)
        self.transport._service.resumeProducing()
        self.assertEqual([], self.connection.of(DATA))

    async def test_protocolFails(self) -> None:
        """A protocol that raises loses its tunnel, and no other."""
        await self.begin()
        other = self.ask(self.server.port)
        await self.asked(self.server, 2)
        self.connection.confirm(1)
        other = await self.within(other)

        def broken(data: bytes) -> None:
            raise RuntimeError("broken")

        self.inner.dataReceived = broken
        self.connection.data(0, b"x")
        self.connection.data(1, b"y")
        await self.turns(lambda: self.inner.lost and other.received)  # type: ignore[attr-defined]
        self.inner.lost.trap(ConnectionAborted)
        self.assertEqual([THERE], await self.got(CLOSE))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))


class PlainTests(ChannelCase):
    """A protocol that knows no half-close."""

    protocol = Plain

    async def test_ended(self) -> None:
        """The end of input is the end."""
        await self.begin()
        self.connection.data(0, b"x")
        self.connection.send(EOF, number(0))
        await self.turns(lambda: self.inner.lost)
        self.inner.lost.trap(ConnectionDone)
        self.assertEqual(b"x", self.inner.received)
        await self.got(CLOSE)
        self.assertEqual([EOF, CLOSE], self.order())
        self.connection.data(0, b"more")
        self.connection.send(EOF, number(0))
        self.connection.send(CLOSE, number(0))
        await self.settle()

    async def test_closed(self) -> None:
        """So is a close, once."""
        await self.begin()
        self.connection.send(CLOSE, number(0))
        await self.turns(lambda: self.inner.lost)
        self.inner.lost.trap(ConnectionDone)

    async def test_halfClose(self) -> None:
        """It may end its own output all the same."""
        await self.begin()
        self.transport.loseWriteConnection()
        await self.got(EOF)
        self.connection.data(0, b"still here")
        await self.turns(lambda: self.inner.received)

    async def test_factory(self) -> None:
        """A factory that gives nothing, or raises, or whose protocol does, opens nothing."""
        await self.begin()

        class Broken(Protocol):
            def connectionMade(self) -> None:
                raise RuntimeError("broken")

        def raising() -> Any:
            raise RuntimeError("none")

        for count, (build, error) in enumerate(
            ((lambda: None, NoProtocol), (raising, RuntimeError), (Broken, RuntimeError)), 1
        ):
            factory = Factory()
            factory.noisy = False
            factory.buildProtocol = lambda addr, build=build: build()  # type: ignore[method-assign,misc]
            hop = self.hop(self.server.port)
            opening = hop.over(Dial(self.network, hop.address, isHop=True), A, self.network).connect(factory)
            await self.asked(self.server, count + 1)
            self.connection.confirm(count)
            outcome: list[Any] = []
            opening.addBoth(outcome.append)
            await self.turns(lambda outcome=outcome: outcome)
            await self.assertFailure(fail(outcome[0]), error)
            await self.got(CLOSE, count)
            self.connection.send(CLOSE, number(count))


class GoingTests(ChannelCase):
    """What we send."""

    room = 40_000
    packet = 1000

    async def test_endsBehindData(self) -> None:
        """An end of output, and a close, wait for what was written before."""
        await self.begin()
        self.inner.write(b"x" * 50_000)
        self.transport.loseWriteConnection()
        self.inner.write(b"too late")
        await self.turns(lambda: len(self.octets()) == 40_000)
        await self.settle()
        self.assertEqual([], self.connection.of(EOF))
        self.connection.send(ADJUST, number(0) + number(100_000))
        self.assertEqual([THERE], await self.got(EOF))
        self.assertEqual(b"x" * 50_000, self.octets())
        self.transport.loseConnection()
        self.transport.loseConnection()
        self.assertIsNone(self.inner.lost)  # in the next turn
        await self.turns(lambda: self.inner.lost)
        self.inner.lost.trap(ConnectionDone)
        await self.got(CLOSE)
        self.assertEqual([DATA, EOF, CLOSE], self.order())
        self.connection.send(CLOSE, number(0))
        await self.settle()

    async def test_abort(self) -> None:
        """An abort waits for nothing, and is told in the next turn."""
        await self.begin()
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.inner.write(b"x" * (41_000 + FILL))
        self.transport.abortConnection()
        self.assertEqual(["pause", "resume"], producer.asked)
        self.assertIsNone(self.inner.lost)
        self.connection.data(0, b"too late")
        await self.turns(lambda: self.inner.lost)
        self.inner.lost.trap(ConnectionAborted)
        self.assertEqual([THERE], await self.got(CLOSE))
        self.assertEqual([], self.connection.of(EOF))
        self.connection.send(ADJUST, number(0) + number(100_000))
        self.connection.send(CLOSE, number(0))
        await self.settle()
        self.assertEqual(b"", self.inner.received)

    async def test_stopProducing(self) -> None:
        """Somebody that it produced for is gone: it closes."""
        await self.begin()
        self.transport.stopProducing()
        await self.got(CLOSE)

    async def test_abortBeforeTheLineDies(self) -> None:
        """What ended a tunnel first is what it is told."""
        await self.begin()
        self.transport.abortConnection()
        self.transport._service.serviceStopped()
        self.inner.lost.trap(ConnectionAborted)

    async def test_likeTCP(self) -> None:
        """What Twisted's HTTP client sets on a TCP connection, be it beneath TLS, is there and does no harm."""
        await self.begin()
        self.assertTrue(ITCPTransport.providedBy(self.transport))
        for enabled in (False, True):
            self.transport.setTcpNoDelay(enabled)
            self.transport.setTcpKeepAlive(enabled)
        self.assertTrue(self.transport.getTcpNoDelay() and self.transport.getTcpKeepAlive())

    async def test_leavesNothing(self) -> None:
        """A closed channel goes with its last reference, and waits for no garbage collector."""
        await self.begin()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        before = self.channels()
        self.transport.abortConnection()
        self.connection.send(CLOSE, number(0))
        await self.turns(lambda: self.inner.lost)
        await self.settle()
        self.inner.transport = None
        del self.transport
        self.assertEqual(self.channels(), before - 1)

    def channels(self) -> int:
        """How many there are in this process."""
        return sum(isinstance(each, Channel) for each in gc.get_objects())

    async def test_addresses(self) -> None:
        """Those of the connection to the hop."""
        await self.begin()
        self.assertEqual(self.server.port, self.transport.getPeer().port)
        self.assertEqual("127.0.0.1", self.transport.getHost().host)
