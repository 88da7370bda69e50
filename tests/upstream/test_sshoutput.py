"""What goes into one tunnel of an ssh connection: pieces, producers, turns."""

from __future__ import annotations

from typing import Any

from pipsocks.upstream.sshdata import number
from pipsocks.upstream.sshoutput import DATA, FILL
from tests.upstream.test_sshchannel import ADJUST, CLOSE, ChannelCase, Producer


class OutputTests(ChannelCase):
    """Octets that the hop takes in its own time."""

    room = 40_000
    packet = 1000

    async def test_pieces(self) -> None:
        """No message is longer than the hop takes, and no more is sent than it has room for."""
        await self.begin()
        self.transport.writeSequence([b"x" * 30_000, b"y" * 30_000])
        await self.turns(lambda: len(self.octets()) == 40_000)
        self.assertEqual(40, len(self.connection.of(DATA)))
        self.assertEqual(20_000, len(self.transport.dataBuffer))
        self.connection.send(ADJUST, number(0) + number(5_000))
        await self.turns(lambda: len(self.octets()) == 45_000)
        self.connection.send(ADJUST, number(0) + number(50_000))
        await self.turns(lambda: len(self.octets()) == 60_000)
        self.assertEqual(b"x" * 30_000 + b"y" * 30_000, self.octets())

    async def test_push(self) -> None:
        """A producer is paused while more than the fill waits, and goes on when nothing does."""
        await self.begin()
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.assertRaises(RuntimeError, self.transport.registerProducer, producer, True)
        self.inner.write(b"x" * 40_000)
        self.inner.write(b"x" * FILL)
        self.assertEqual([], producer.asked)
        self.inner.write(b"x")
        self.assertEqual(["pause"], producer.asked)
        self.connection.send(ADJUST, number(0) + number(FILL))
        await self.turns(lambda: len(self.octets()) == 40_000 + FILL)
        self.assertEqual(["pause"], producer.asked)
        self.connection.send(ADJUST, number(0) + number(FILL))
        await self.turns(lambda: len(producer.asked) == 2)
        self.assertEqual(["pause", "resume"], producer.asked)
        self.transport.unregisterProducer()

    async def test_pull(self) -> None:
        """A producer that wants to be asked is asked each time that nothing waits."""
        await self.begin()
        producer, left = Producer(), [b"one", b"two", b"three" * 10_000, b"four"]

        def produce() -> None:
            if left:
                self.inner.write(left.pop(0))
            else:
                self.transport.unregisterProducer()
                self.transport.loseConnection()

        producer.then = produce
        self.transport.registerProducer(producer, False)
        await self.turns(lambda: len(self.octets()) == 40_000)
        self.assertEqual([b"four"], left)
        self.connection.send(ADJUST, number(0) + number(100_000))
        await self.got(CLOSE)
        self.assertEqual(b"onetwo" + b"three" * 10_000 + b"four", self.octets())

    async def test_closesBehindData(self) -> None:
        """A producer that was paused has its turn before a close."""
        await self.begin()
        producer = Producer()
        self.transport.registerProducer(producer, True)
        self.inner.write(b"x" * (41_000 + FILL))
        self.transport.loseConnection()
        self.assertTrue(self.transport.disconnecting)
        producer.then = lambda: (self.inner.write(b"end"), self.transport.unregisterProducer())
        self.connection.send(ADJUST, number(0) + number(100_000))
        await self.got(CLOSE)
        self.assertEqual(b"x" * (41_000 + FILL) + b"end", self.octets())

    async def test_turns(self) -> None:
        """Tunnels that wait for a full connection send in turn, a message each."""
        self.room = 1 << 20
        await self.begin()
        other: Any = self.ask(self.server.port)
        await self.asked(self.server, 2)
        self.connection.confirm(1, 1 << 20, 1000)
        other = await self.within(other)
        service = self.transport._service
        service.pauseProducing()
        self.inner.write(b"x" * 3000)
        self.inner.write(b"x" * 1000)
        other.write(b"y" * 2000)
        third = Producer()
        self.transport.registerProducer(third, True)
        await self.settle()
        self.assertEqual([], self.connection.of(DATA))
        service.resumeProducing()
        await self.turns(lambda: len(self.connection.of(DATA)) == 6)
        self.assertEqual(
            [100, 101, 100, 101, 100, 100], [int.from_bytes(m[:4], "big") for m in self.connection.of(DATA)]
        )
