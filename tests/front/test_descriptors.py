"""Running out of descriptors."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.descriptors import Descriptors, reserveOf


class Port:
    """A listening port that is told when to read."""

    def __init__(self) -> None:
        self.reading = True
        self.turns = 0

    def stopReading(self) -> None:
        self.reading = False
        self.turns += 1

    def startReading(self) -> None:
        self.reading = True


class DescriptorsTests(SynchronousTestCase):
    """When listeners pause, and go on."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.free = 990
        self.descriptors = Descriptors(self.clock, 1000, lambda: self.free)  # type: ignore[arg-type]
        self.ports = [Port(), Port()]
        for port in self.ports:
            self.descriptors.watch(port)
        self.warnings: list[object] = []

        def observe(event: object) -> None:
            if event["log_level"] == LogLevel.warn:  # type: ignore[index]
                self.warnings.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    @property
    def reading(self) -> list[bool]:
        return [port.reading for port in self.ports]

    def test_enough(self) -> None:
        """With descriptors to spare nothing happens."""
        self.descriptors.taken(700)
        self.assertEqual(self.reading, [True, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pause(self) -> None:
        """A socket with a high number pauses every listener until there are low numbers again."""
        self.descriptors.taken(760)
        self.descriptors.taken(761)
        self.assertEqual(self.reading, [False, False])
        self.assertEqual(self.ports[0].turns, 1)
        self.clock.advance(1)
        self.assertEqual(self.reading, [False, False])
        self.free = 700
        self.clock.advance(0.25)
        self.assertEqual(self.reading, [True, True])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneLineAMinute(self) -> None:
        """However often that happens, the log gets one line a minute."""
        self.free = 700
        for _ in range(100):
            self.descriptors.taken(760)
            self.clock.advance(0.25)
        self.assertEqual(len(self.warnings), 1)
        self.clock.advance(60)
        self.descriptors.taken(760)
        self.assertEqual(len(self.warnings), 2)

    def test_release(self) -> None:
        """Once the listeners are closed none of them is touched, and no timer is left."""
        self.descriptors.taken(760)
        self.descriptors.release()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.descriptors.taken(760)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reserve(self) -> None:
        """A quarter is kept, of small limits and large ones within bounds."""
        self.assertEqual([reserveOf(n) for n in (20, 256, 1024, 1 << 20)], [16, 64, 256, 512])

    def test_real(self) -> None:
        """What is asked for by default is a descriptor's number."""
        self.assertIn(Descriptors(self.clock, 10).lowestFree(), range(1 << 20))  # type: ignore[arg-type]
