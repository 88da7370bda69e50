"""The retry budget: a dead pool is not hammered (behaviour, section 5, "Search")."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.budget import Budget

WINDOW = 10.0
SLICE = 0.5
"""What a count may be stricter by: a slice of time is counted whole, or not at all."""

# Bursts: after a pause, so many sessions, then so many wishes for a further attempt.
BURSTS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from([0.0, 0.25, 0.5, 9.5, 9.75, 10.0, 10.25]), st.floats(0.0, 12.0)),
        st.integers(0, 160),
        st.integers(0, 160),
    ),
    max_size=40,
)


class BudgetTests(SynchronousTestCase):
    """Further attempts, beside sessions."""

    def setUp(self) -> None:
        self.clock = Clock()

    def spend(self, budget: Budget, times: int) -> int:
        """How many of so many wishes are granted."""
        return sum(budget.spend() for _ in range(times))

    def test_hundred(self) -> None:
        """A quiet proxy can retry as well: a hundred in 10 s are always allowed."""
        budget = Budget(self.clock.seconds)
        self.assertEqual(self.spend(budget, 300), 100)
        self.clock.advance(9.9)
        self.assertFalse(budget.spend())
        self.clock.advance(0.7)
        self.assertEqual(self.spend(budget, 300), 100)

    def test_asManyAsSessions(self) -> None:
        """A busy one may make as many further attempts as sessions began."""
        budget = Budget(self.clock.seconds)
        for _ in range(250):
            budget.earn()
        self.assertEqual(self.spend(budget, 300), 250)
        budget.earn()
        self.assertEqual(self.spend(budget, 300), 1)

    def test_ratio(self) -> None:
        """It can be set to more, to less, and to none at all."""
        for ratio, allowed in ((2.0, 600), (0.5, 150), (0.1, 100), (0.0, 0)):
            budget = Budget(self.clock.seconds, ratio)
            for _ in range(300):
                budget.earn()
            self.assertEqual(self.spend(budget, 1000), allowed, ratio)

    def test_refusedCostsNothing(self) -> None:
        """What is not granted is not counted."""
        budget = Budget(self.clock.seconds)
        self.spend(budget, 100)
        for _ in range(40):
            self.clock.advance(0.25)
            self.assertFalse(budget.spend())
        self.clock.advance(0.75)
        self.assertTrue(budget.spend())

    def test_steady(self) -> None:
        """Under a steady load with one wish per session nearly every wish is granted, for as long as it lasts."""
        budget = Budget(self.clock.seconds)
        granted = 0
        for _ in range(3000):
            self.clock.advance(0.02)  # 50 sessions a second
            budget.earn()
            granted += budget.spend()
        self.assertGreater(granted, 3000 * 0.9)

    @given(BURSTS, st.sampled_from([1.0, 0.5, 2.0]))
    @settings(deadline=None)
    def test_anyWindow(self, bursts: list[tuple[float, int, int]], ratio: float) -> None:
        """
        Over any 10 s that end with a further attempt, they are no more than the sessions begun in them, or 100; and
        none is refused that would have been allowed with half a second more of attempts, and less of sessions.
        """
        clock = Clock()
        budget = Budget(clock.seconds, ratio)
        sessions: list[float] = []
        granted: list[float] = []
        for pause, begun, wishes in bursts:
            clock.advance(pause)
            now = clock.seconds()
            for _ in range(begun):
                budget.earn()
                sessions.append(now)
            for _ in range(wishes):
                if budget.spend():
                    granted.append(now)
                    allowed = max(ratio * sum(at > now - WINDOW for at in sessions), 100)
                    self.assertLessEqual(sum(at > now - WINDOW for at in granted), allowed)
                else:
                    strict = max(ratio * sum(at > now - WINDOW + SLICE for at in sessions), 100)
                    self.assertGreater(sum(at > now - WINDOW - SLICE for at in granted) + 1, strict)

    def test_bounded(self) -> None:
        """However much happens, a handful of numbers is kept."""
        budget = Budget(self.clock.seconds)
        for _ in range(5000):
            self.clock.advance(0.1)
            budget.earn()
            budget.spend()
        self.assertLessEqual(len(budget._sessions._counts) + len(budget._spent._counts), 41)
