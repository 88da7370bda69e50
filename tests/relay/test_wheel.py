"""The idle wheel and the watch, on a clock in the test's hand."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.relay.wheel import Watch, Wheel


@attrs.define(eq=False)
class Idler:
    """A member that notes when it was told."""

    wheel: Wheel
    clock: Clock
    limit: int
    at: int = 0
    slot: int = 0
    told: list[float] = attrs.Factory(list)
    then: Callable[[], None] | None = None

    def expired(self) -> None:
        self.told.append(self.clock.seconds())
        if self.then is not None:
            self.then()


class WheelTests(TestCase):
    """One timer tells every member of its own limit."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = Wheel(self.clock, 1.0)

    def member(self, seconds: float) -> Idler:
        idler = Idler(self.wheel, self.clock, self.wheel.ticks(seconds))
        self.wheel.add(idler)
        return idler

    def test_tellsAfterTheLimit(self) -> None:
        """Nobody is told early, nor much later than its limit."""
        idler = self.member(60)
        self.clock.pump([0.5] * 119)
        self.assertEqual(idler.told, [])
        self.clock.pump([0.5] * 5)
        self.assertEqual(len(idler.told), 1)

    def test_touched(self) -> None:
        """Storing the wheel's time is all that keeps a member busy."""
        idler = self.member(60)
        self.clock.pump([1] * 50)
        idler.at = self.wheel.now
        self.clock.pump([1] * 59)
        self.assertEqual(idler.told, [])
        self.clock.pump([1] * 3)
        self.assertEqual(len(idler.told), 1)

    def test_oneTimer(self) -> None:
        """A thousand members have one timer, and none has none."""
        idlers = [self.member(60 + number) for number in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for idler in idlers:
            self.wheel.discard(idler)
            self.wheel.discard(idler)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(5000)
        self.assertEqual(len(self.member(60).told), 0)
        self.clock.advance(62)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clockJumps(self) -> None:
        """A machine that slept tells all that were due, once."""
        first, second = self.member(10), self.member(3000)
        self.clock.advance(1000)
        self.assertEqual((len(first.told), len(second.told)), (1, 0))

    def test_addsItselfAgain(self) -> None:
        """A member may go on for another limit."""
        idler = self.member(10)
        idler.then = lambda: self.wheel.add(idler)
        self.clock.pump([1] * 36)
        self.assertEqual(len(idler.told), 3)

    def test_endOfAnother(self) -> None:
        """A member whose turn ends another's, due in the same tick, leaves that one in peace."""
        first, second = self.member(10), self.member(10)
        first.then = lambda: self.wheel.discard(second)
        second.then = lambda: self.wheel.discard(first)
        self.clock.pump([1] * 30)
        self.assertEqual(len(first.told) + len(second.told), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_oneFails(self) -> None:
        """A member that raises is logged, and the others still have their turn."""
        first, second = self.member(10), self.member(10)

        def fail() -> None:
            raise ValueError

        first.then = fail
        self.clock.pump([1] * 12)
        self.assertEqual(len(second.told), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_lateTurns(self) -> None:
        """Turns that come late make nobody late in what he stores: a member that moves then has all of its limit."""
        idler = self.member(6)
        for step in (1.0, 0.5, 1.0, 0.75):
            self.clock.advance(step)
        idler.at = self.wheel.now
        self.clock.pump([1.25, 4.5])
        self.assertEqual(idler.told, [])
        self.clock.advance(1)
        self.assertEqual(len(idler.told), 1)

    @given(
        st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(0, 60), max_size=5)), max_size=8),
        st.lists(st.floats(0.1, 5), min_size=1, max_size=60),
    )
    def test_limits(self, plan: list[tuple[int, list[int]]], steps: list[float]) -> None:
        """However the clock runs: told once idle for the limit, and within a tick and a step of it."""
        clock = Clock()
        wheel = Wheel(clock, 1.0)
        members = []
        for limit, touches in plan:
            idler = Idler(wheel, clock, wheel.ticks(limit))
            wheel.add(idler)
            members.append((idler, set(touches)))
        last = {id(idler): 0.0 for idler, _ in members}
        for number, step in enumerate(steps):
            clock.advance(step)
            for idler, touches in members:
                if idler.told:
                    self.assertGreaterEqual(idler.told[0] - last[id(idler)], idler.limit)
                    continue
                self.assertLess(clock.seconds() - last[id(idler)], idler.limit + 2 + 2 * max(steps))
                if number in touches:
                    idler.at = wheel.now
                    last[id(idler)] = clock.seconds()


class WatchTests(TestCase):
    """One timer asks all."""

    def test_asksUntilDone(self) -> None:
        """Each is asked until it is done; then there is no timer."""
        clock = Clock()
        watch = Watch(clock, 0.1)
        answers = {"a": [False, True], "b": [False, False, True]}
        watch.add(lambda: answers["a"].pop(0))
        watch.add(lambda: answers["b"].pop(0))
        self.assertEqual(len(clock.getDelayedCalls()), 1)
        clock.pump([0.1] * 4)
        self.assertEqual(answers, {"a": [], "b": []})
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_addsWhileAsked(self) -> None:
        """One that is added in the middle is asked too."""
        clock = Clock()
        watch = Watch(clock, 0.1)
        asked: list[int] = []

        def first() -> bool:
            watch.add(lambda: asked.append(1) is None)
            return True

        watch.add(first)
        clock.pump([0.1] * 3)
        self.assertEqual(asked, [1])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_forgets(self) -> None:
        """One that is gone is asked no more, and the last takes the timer with it."""
        clock = Clock()
        watch = Watch(clock, 0.1)
        asked: list[int] = []

        def never() -> bool:
            asked.append(1)
            return False

        watch.add(never)
        clock.advance(0.1)
        watch.discard(never)
        watch.discard(never)
        self.assertEqual((asked, clock.getDelayedCalls()), ([1], []))
