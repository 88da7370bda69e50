"""How long a chain's connects take: the last hundred of them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.upstream.pace import Pace


class PaceTests(SynchronousTestCase):
    """What hedging and the strategy ``fastest`` go by."""

    def setUp(self) -> None:
        self.pace = Pace()

    def add(self, *times: float) -> None:
        for time in times:
            self.pace.add(time)

    def test_nothingKnown(self) -> None:
        """Before the first connect there is neither."""
        self.assertIsNone(self.pace.typical)
        self.assertIsNone(self.pace.slow)

    def test_fromTenOn(self) -> None:
        """Nine are too few to call an attempt slow; ten are enough."""
        self.add(*[0.1] * 9)
        self.assertIsNone(self.pace.slow)
        self.assertEqual(self.pace.typical, 0.1)
        self.add(0.1)
        self.assertEqual(self.pace.slow, 0.1)

    def test_ninetiethPercentile(self) -> None:
        """Nine connects in ten take no longer, in whatever order they came."""
        self.add(*(n / 10 for n in (7, 3, 10, 1, 9, 5, 2, 8, 4, 6)))
        self.assertEqual(self.pace.slow, 0.9)
        self.assertEqual(self.pace.typical, 0.5)

    def test_lastHundred(self) -> None:
        """What is longer ago is forgotten."""
        self.add(*[9.0] * 50, *(n / 100 for n in range(1, 101)))
        self.assertEqual(self.pace.slow, 0.9)
        self.assertEqual(self.pace.typical, 0.5)
