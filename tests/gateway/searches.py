"""What the tests of the search share: chains of one letter that do what they are told, on a clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.gateway.attempt import Terms
from pipsocks.gateway.budget import Budget
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.search import Search
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from tests.gateway.fakes import FakeChain, FakeGroup, Record, Scripted, health

SITE = Destination("index.example", 443)
OTHER = Destination("other.example", 443)


def refused(code: str) -> Any:
    """A fresh refusal at each asking, as chains raise them."""
    return lambda: Refusal(code, hop="hop:1")


class Poor(Budget):
    """A budget that has so much left, and counts what is asked of it."""

    left = 0
    asked = 0

    def spend(self) -> bool:
        self.asked += 1
        self.left -= 1
        return self.left >= 0


class SearchCase(TestCase):
    """
    One group, and searches over it.

    @ivar asked: who was asked, and when.
    @ivar cancelled: whose attempts were cancelled, in order.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)
        self.record = Record()
        self.chains: dict[str, FakeChain] = {}
        self.cancelled: list[str] = []
        self.asked: list[tuple[str, float]] = []
        self.budget: Budget = Budget(self.clock.seconds)

    def chain(self, name: str, tier: int = 1, direct: bool = False) -> FakeChain:
        """The chain of that name, made when it is first spoken of."""
        if name not in self.chains:
            made = FakeChain(name, tier=tier, direct=direct, health=health(name, self.clock))
            self.chains[name] = made
        return self.chains[name]

    def lower(self, name: str, tier: int = 2, direct: bool = False) -> None:
        """There is such a chain in a lower tier."""
        self.chain(name, tier, direct)

    def hang(self, name: str, seconds: float = float("inf"), then: Any = "yes") -> Callable[[], Deferred[Any]]:
        """An outcome that takes that long to come."""

        def asked() -> Deferred[Any]:
            def cancel(_: Any) -> None:
                self.cancelled.append(name)
                if call is not None:
                    call.cancel()

            done: Deferred[Any] = Deferred(cancel)
            call = None
            if seconds != float("inf"):
                call = self.clock.callLater(seconds, end, done)
            return done

        def end(done: Deferred[Any]) -> None:
            outcome = then() if callable(then) else then
            if isinstance(outcome, Exception):
                done.errback(outcome)
            else:
                done.callback(outcome)

        return asked

    def begin(self, script: dict[str, Any], hedge: bool = False, retry: Any = None, **search: Any) -> Deferred[Any]:
        """
        Search over those chains; each gives the outcomes of its list, or its one outcome.

        @return: fires with the `Found`.
        """
        chains = [self.chain(name) for name in script]
        self.reach = Scripted({n: o if isinstance(o, list) else [o] for n, o in script.items()})

        def reach(chain: FakeChain) -> Any:
            self.asked.append((chain.name, round(self.clock.seconds(), 3)))
            return self.reach(chain)

        group = FakeGroup(chains, self.clock, RetrySettings(**(retry or {})), hedge)
        group.budget = self.budget
        self.budget.earn()
        to = search.pop("to", SITE)
        plan = group.plan(to)
        lost = search.pop("lost", None)
        terms = Terms(**search)
        return Search(self.clock, group, plan, to, self.memory, self.record, reach, terms, lost).begin()  # type: ignore[arg-type]

    def pump(self, seconds: float) -> None:
        """Let time pass, from one event to the next, so that each happens on time."""
        end = self.clock.seconds() + seconds
        while (calls := self.clock.getDelayedCalls()) and (due := min(call.getTime() for call in calls)) <= end:
            self.clock.rightNow = max(due, self.clock.rightNow)
            self.clock.advance(0)
        self.clock.rightNow = end
        self.clock.advance(0)

    def until(self, searching: Deferred[Any], seconds: float = 10.0) -> None:
        """Let time pass until the search ends."""
        end = self.clock.seconds() + seconds
        while not searching.called:
            due = min(call.getTime() for call in self.clock.getDelayedCalls())
            self.assertLessEqual(due, end)
            self.pump(due - self.clock.seconds())

    def won(self, searching: Deferred[Any]) -> str:
        """Who won."""
        name: str = self.successResultOf(searching).chain.name
        self.assertClean()
        return name

    def lost(self, searching: Deferred[Any]) -> str:
        """With what it fails, in the end."""
        self.until(searching)
        code: str = self.failureResultOf(searching, Refusal).value.slug.code
        self.assertClean()
        return code

    def assertClean(self) -> None:
        """No timer is left."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    @property
    def order(self) -> str:
        """Who was asked, in order."""
        return "".join(name for name, _ in self.asked)

    def eject(self, *names: str) -> None:
        """Five failures in a row, on each."""
        for name in names:
            for _ in range(5):
                self.chain(name).health.begin().blamed(Refusal("PS-UP02", chain=name, hop="hop:1"))

    def bar(self, *names: str) -> None:
        for name in names:
            self.chain(name).health.begin().barred(Refusal("PS-UP10", chain=name))

    def probeOut(self, *names: str) -> None:
        for name in names:
            self.chain(name).health.probed(Refusal("PS-UP31", chain=name))

    def spent(self, left: int = 0) -> Poor:
        """From now on the budget has no more than that."""
        self.budget = poor = Poor(self.clock.seconds)
        poor.left = left
        return poor
