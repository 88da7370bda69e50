"""The search: which chain next, and when to stop (behaviour, section 5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.gateway.memory import LIMIT, Memory
from pipsocks.gateway.search import Search
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from tests.gateway.fakes import FakeChain, FakeGroup, Record, Scripted, health

SITE = Destination("index.example", 443)


def refused(code: str) -> Any:
    """A fresh refusal at each asking, as chains raise them."""
    return lambda: Refusal(code, hop="hop:1")


class SearchTests(TestCase):
    """What a client gets, and who was asked for it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)
        self.record = Record()
        self.chains: list[FakeChain] = []

    def begin(self, script: dict[str, list[Any]], direct: bool = False, **retry: Any) -> Deferred[Any]:
        self.reach = Scripted(script)
        if [chain.name for chain in self.chains] != list(script):
            self.chains = [FakeChain(name, direct=direct, health=health(name, self.clock)) for name in script]
        group = FakeGroup(self.chains, self.clock, RetrySettings(**retry))
        group.budget.earn()
        searching = Search(self.clock, group, group.plan(SITE), SITE, self.memory, self.record, self.reach).begin()
        return searching.addCallback(lambda found: (found.chain, found.reached))

    def pump(self, searching: Deferred[Any], seconds: float = 10.0) -> None:
        """Let time pass in small steps until the search ends."""
        steps = 0
        while not searching.called and steps < seconds * 100:
            self.clock.advance(0.01)
            steps += 1

    def ended(self, searching: Deferred[Any]) -> Refusal:
        self.pump(searching)
        return self.failureResultOf(searching, Refusal).value  # type: ignore[no-any-return]

    def test_firstChainWins(self) -> None:
        """A chain that works is the only one that is asked."""
        chain, got = self.successResultOf(self.begin({"a": ["yes"], "b": ["no"]}))
        self.assertEqual((chain.name, got, self.reach.asked), ("a", "yes", ["a"]))
        self.assertEqual(self.record.outcomes, [("a", "ok")])

    def test_nextAtOnce(self) -> None:
        """A failure leads to the next chain without a wait, and each attempt is told with its outcome."""
        searching = self.begin({"a": [refused("PS-UP02")], "b": [refused("PS-UP06")], "c": ["yes"]})
        self.assertEqual(self.successResultOf(searching)[0].name, "c")
        self.assertEqual(self.record.outcomes, [("a", "hop_refused"), ("b", "hop_silent"), ("c", "ok")])
        self.assertEqual(self.record.attempts[0].hop, "hop:1")

    def test_againWithBackoff(self) -> None:
        """When all have failed, they are asked again, in order, after a pause."""
        searching = self.begin({"a": [refused("PS-UP02"), "yes"], "b": [refused("PS-UP02")]})
        self.assertNoResult(searching)
        self.assertEqual(self.reach.asked, ["a", "b"])
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(searching)[0].name, "a")

    def test_eightAttempts(self) -> None:
        """A dead chain is dialled eight times, no more, and within the deadline."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP02")]}))
        self.assertEqual(self.reach.asked, ["a"] * 8)
        self.assertEqual(refusal.slug.code, "PS-UP02")
        self.assertLess(self.clock.seconds(), 8.0)

    def test_attemptsAreConfigurable(self) -> None:
        """With three chains and two attempts the third is not asked."""
        self.ended(self.begin({n: [refused("PS-UP02")] for n in "abc"}, attempts=2))
        self.assertEqual(self.reach.asked, ["a", "b"])

    def test_deadline(self) -> None:
        """A chain that hangs is cancelled at the deadline, and the client hears it then."""
        cancelled: list[str] = []
        searching = self.begin({"a": [lambda: Deferred(lambda d: cancelled.append("a"))]})
        self.clock.advance(7.9)
        self.assertNoResult(searching)
        self.clock.advance(0.2)
        self.assertEqual(self.failureResultOf(searching, Refusal).value.slug.code, "PS-UP22")
        self.assertEqual(cancelled, ["a"])
        self.assertEqual(self.record.outcomes, [("a", "deadline")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clientLeaves(self) -> None:
        """A search whose client left ends at once, with what it was waiting for, and leaves no timer."""
        cancelled: list[str] = []
        searching = self.begin({"a": [lambda: Deferred(lambda d: cancelled.append("a"))], "b": ["yes"]})
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertEqual((cancelled, self.reach.asked), (["a"], ["a"]))
        self.assertEqual(self.record.outcomes, [("a", "cancelled")])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_clientLeavesInBackoff(self) -> None:
        """So does one that waits before the next attempt."""
        searching = self.begin({"a": [refused("PS-UP02")]})
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_differentFailures(self) -> None:
        """When hops fail in different ways the client gets one phrase with all of them."""
        script = {"a:1": ["PS-UP02"], "b:2": ["PS-UP06"], "c:3": ["PS-UP10"]}
        refusal = self.ended(self.begin({name: [refused(code)] for name, (code,) in script.items()}))
        self.assertEqual(refusal.slug.status, 503)
        self.assertIn("none of 3 upstreams worked: a:1 refused, b:2 silent, c:3 login", refusal.reason)

    def test_refusedLoginIsNotAskedAgain(self) -> None:
        """A wrong password stays wrong: one attempt, and the answer says so."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP10")]}))
        self.assertEqual((refusal.slug.code, self.reach.asked), ("PS-UP10", ["a"]))

    def test_allForbid(self) -> None:
        """When each hop's rules forbid the destination, that is the answer."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP11")], "b": [refused("PS-UP11")]}))
        self.assertEqual((refusal.slug.status, self.reach.asked), (403, ["a", "b"]))

    def test_plainReportsOfAll(self) -> None:
        """Two chains that both report the destination settle it: the plainest word is told, no second round."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP20")], "b": [refused("PS-UP21")]}))
        self.assertEqual((refusal.slug.code, self.reach.asked), ("PS-UP21", ["a", "b"]))
        self.assertEqual(self.clock.seconds(), 0.0)

    def test_forbiddingChainsDontCount(self) -> None:
        """A chain whose rules forbid it has no say in whether the destination is dead."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP11")], "b": [refused("PS-UP14")]}))
        self.assertEqual((refusal.slug.code, self.reach.asked), ("PS-UP14", ["a", "b"]))

    def test_oneDeadHopAmongReports(self) -> None:
        """A hop that is dead has not reported: the others are asked again."""
        searching = self.begin({"a": [refused("PS-UP02"), "yes"], "b": [refused("PS-UP21")]})
        self.pump(searching)
        self.assertEqual(self.successResultOf(searching)[0].name, "a")

    def test_oneGatewayIsAskedFourTimes(self) -> None:
        """A rotating gateway that cannot reach the destination is believed after three more reports."""
        refusal = self.ended(self.begin({"a": [refused("PS-UP20")]}))
        self.assertEqual((refusal.slug.code, self.reach.asked), ("PS-UP20", ["a"] * 4))
        self.assertLess(self.clock.seconds(), 0.8)

    def test_oneGatewayRecovers(self) -> None:
        """And a later success of it is taken."""
        searching = self.begin({"a": [refused("PS-UP20"), refused("PS-UP20"), "yes"]})
        self.pump(searching)
        self.assertEqual(self.successResultOf(searching)[1], "yes")

    def test_directRefused(self) -> None:
        """A refused port on the direct route costs 100 ms: one more dial."""
        searching = self.begin({"direct": [refused("PS-DE01")]}, direct=True)
        self.assertEqual(self.reach.asked, ["direct"])
        self.clock.advance(0.1)
        self.assertEqual(self.failureResultOf(searching, Refusal).value.slug.code, "PS-DE01")
        self.assertEqual(self.reach.asked, ["direct"] * 2)

    def test_directMisspelt(self) -> None:
        """A name that does not exist is told at once."""
        searching = self.begin({"direct": [refused("PS-DE02")]}, direct=True)
        self.assertEqual(self.failureResultOf(searching, Refusal).value.slug.code, "PS-DE02")
        self.assertEqual(self.reach.asked, ["direct"])

    def test_remembered(self) -> None:
        """For 2 s after, one report about the destination is enough; then it is asked in full again."""
        self.ended(self.begin({"a": [refused("PS-UP20")]}))
        self.ended(self.begin({"a": [refused("PS-UP20")]}))
        self.assertEqual(self.reach.asked, ["a"])
        self.clock.advance(2.1)
        self.ended(self.begin({"a": [refused("PS-UP20")]}))
        self.assertEqual(self.reach.asked, ["a"] * 4)

    def test_ours(self) -> None:
        """What is the client's own fault ends the search with the first attempt."""
        refusal = self.ended(self.begin({"a": [refused("PS-RU02")], "b": ["yes"]}))
        self.assertEqual((refusal.slug.code, self.reach.asked), ("PS-RU02", ["a"]))


class FailingTests(TestCase):
    """The table of destinations that failed a moment ago."""

    def test_notProlonged(self) -> None:
        """Remembering again does not prolong it."""
        clock = Clock()
        memory = Memory(clock.seconds)
        memory.fail(SITE)
        clock.advance(1.5)
        memory.fail(SITE)
        self.assertTrue(memory.isFailing(SITE))
        clock.advance(1.0)
        self.assertFalse(memory.isFailing(SITE))

    def test_bounded(self) -> None:
        """It holds 10,000 at most; the oldest go."""
        memory = Memory(Clock().seconds)
        for port in range(1, LIMIT + 2):
            memory.fail(Destination("a", port))
        self.assertFalse(memory.isFailing(Destination("a", 1)))
        self.assertTrue(memory.isFailing(Destination("a", 2)))
        self.assertTrue(memory.isFailing(Destination("a", LIMIT + 1)))
