"""The search: which chain next, and when to stop (behaviour, section 5, "Search", "Doubt")."""

from __future__ import annotations

import random
from typing import Any
from unittest import mock

from twisted.internet.defer import CancelledError, Deferred

from pipsocks.gateway.order import stages
from pipsocks.refusal import Refusal
from tests.gateway.searches import OTHER, SITE, SearchCase, refused


class FailureTests(SearchCase):
    """One chain after the other."""

    def test_firstChainWins(self) -> None:
        """A chain that works is the only one that is asked."""
        searching = self.begin({"a": "yes", "b": "no"})
        found = self.successResultOf(searching)
        self.assertEqual((found.chain.name, found.reached, self.order), ("a", "yes", "a"))
        self.assertEqual(self.record.outcomes, [("a", "ok")])
        self.assertClean()

    def test_nextAtOnce(self) -> None:
        """A failure leads to the next chain without a wait, and each attempt is told with its outcome."""
        searching = self.begin({"a": refused("PS-UP02"), "b": refused("PS-UP06"), "c": "yes"})
        self.assertEqual(self.won(searching), "c")
        self.assertEqual(self.record.outcomes, [("a", "hop_refused"), ("b", "hop_silent"), ("c", "ok")])
        self.assertEqual(self.record.attempts[0].hop, "hop:1")

    def test_later(self) -> None:
        """So it does when the failure takes its time, which the journal tells."""
        searching = self.begin({"a": self.hang("a", 0.25, refused("PS-UP16")), "b": self.hang("b", 0.5)})
        self.pump(0.75)
        self.assertEqual(self.won(searching), "b")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 0.25)])
        self.assertEqual([attempt.milliseconds for attempt in self.record.attempts], [250.0, 500.0])

    def test_ours(self) -> None:
        """What is the client's own fault ends the search with the first attempt, and whatever else runs."""
        self.assertEqual((self.lost(self.begin({"a": refused("PS-RU02"), "b": "yes"})), self.order), ("PS-RU02", "a"))
        searching = self.begin({"a": self.hang("a"), "b": refused("PS-LM01"), "c": "yes"})
        self.assertEqual(self.lost(searching), "PS-LM01")
        self.assertEqual((self.order, self.cancelled), ("aab", ["a"]))

    def test_ownFaultIsNoTrial(self) -> None:
        """It tells nothing of the chain: its trial goes to the next session."""
        self.eject("a")
        self.clock.advance(34.0)
        self.lost(self.begin({"a": refused("PS-LM01")}))
        self.assertTrue(self.chains["a"].health.live)

    def test_errorOfOurs(self) -> None:
        """An error in the program ends the search with it, at once or later, and leaves nothing behind."""
        for outcome in (ZeroDivisionError(), self.hang("b", 0.5, ZeroDivisionError())):
            self.setUp()
            self.eject("b")
            self.clock.advance(34.0)
            searching = self.begin({"a": self.hang("a"), "b": outcome})
            self.pump(4.6)
            self.failureResultOf(searching, ZeroDivisionError)
            self.assertEqual(self.cancelled, ["a"])
            self.assertTrue(self.chains["b"].health.live)
            self.assertClean()

    def test_errorInReach(self) -> None:
        """So does one that comes before there is a Deferred."""

        def reach(chain: Any) -> Any:
            raise ZeroDivisionError

        searching = self.begin({"a": self.hang("a"), "b": "yes"})
        with mock.patch.object(type(self.reach), "__call__", lambda _, chain: reach(chain)):
            self.pump(4.1)
        self.failureResultOf(searching, ZeroDivisionError)
        self.assertEqual(self.cancelled, ["a"])
        self.assertClean()

    def test_refusalRaised(self) -> None:
        """A refusal that is raised instead of told is one all the same."""

        def raises(_: Any) -> Any:
            raise Refusal("PS-UP06")

        searching = self.begin({"a": self.hang("a", 0.5, refused("PS-UP02")), "b": "yes", "c": "yes"})
        with mock.patch.object(type(self.reach), "__call__", raises):
            self.clock.advance(0.25)
        self.pump(1.0)
        self.assertEqual(self.won(searching), "b")

    def test_errorInTheRecord(self) -> None:
        """An error in what is done about an attempt's end is told, instead of a search that never ends."""
        searching = self.begin({"a": self.hang("a", 0.5, refused("PS-UP02"))})
        with mock.patch.object(type(self.record), "attempted", side_effect=[ZeroDivisionError(), None]):
            self.clock.advance(0.5)
        self.failureResultOf(searching, ZeroDivisionError)
        self.assertClean()

    def test_oddCancellation(self) -> None:
        """An attempt that answers its cancellation with an error, which is logged, keeps nobody from the answer."""
        odd: Deferred[Any] = Deferred(lambda d: d.errback(ZeroDivisionError()))
        searching = self.begin({"a": lambda: odd, "b": "yes"})
        self.clock.advance(4.0)
        self.assertEqual(self.won(searching), "b")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class LimitTests(SearchCase):
    """The deadline, and the number of attempts."""

    def test_eightAttempts(self) -> None:
        """A dead chain is dialled eight times, no more, and within the deadline."""
        self.assertEqual((self.lost(self.begin({"a": refused("PS-UP02")})), self.order), ("PS-UP02", "a" * 8))
        self.assertLess(self.clock.seconds(), 8.0)

    def test_eightOfTwelve(self) -> None:
        """Of twelve dead chains eight are asked."""
        self.lost(self.begin({name: refused("PS-UP02") for name in "abcdefghijkl"}))
        self.assertEqual((self.order, self.clock.seconds()), ("abcdefgh", 0.0))

    def test_configurable(self) -> None:
        """Both are configurable, for each group."""
        self.lost(self.begin({n: refused("PS-UP02") for n in "abc"}, retry={"attempts": 2}))
        self.assertEqual(self.order, "ab")
        self.assertEqual(self.lost(self.begin({"a": self.hang("a")}, retry={"total": 1.5})), "PS-UP22")
        self.assertEqual(self.clock.seconds(), 1.5)

    def test_shorter(self) -> None:
        """A search for a replay has 3 s."""
        self.assertEqual(self.lost(self.begin({"a": self.hang("a"), "b": self.hang("b")}, total=3.0)), "PS-UP22")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 1.5)])
        self.assertEqual(self.clock.seconds(), 3.0)

    def test_deadline(self) -> None:
        """A chain that hangs is cancelled after 8 s, and the client hears it then; nobody is blamed."""
        for _ in range(6):
            began = self.clock.seconds()
            searching = self.begin({"a": self.hang("a")})
            self.pump(7.9)
            self.assertNoResult(searching)
            self.assertEqual(self.lost(searching), "PS-UP22")
            self.assertEqual(self.clock.seconds(), began + 8.0)
        self.assertEqual(self.cancelled, ["a"] * 6)
        self.assertEqual(self.record.outcomes, [("a", "deadline")] * 6)
        self.assertTrue(self.chains["a"].health.live)
        self.assertFalse(self.memory.isFailing(SITE))

    def test_deadlineAmongOthers(self) -> None:
        """With other failures before it all of them are told."""
        searching = self.begin({"a": refused("PS-UP02"), "b": self.hang("b")})
        self.until(searching)
        refusal = self.failureResultOf(searching, Refusal).value
        self.assertIn("none of 2 upstreams worked: a refused, b no time left", refusal.reason)

    def test_noPauseBeyondTheEnd(self) -> None:
        """A pause that would reach beyond the deadline is not waited for."""
        with mock.patch.object(random, "uniform", lambda least, most: most):
            searching = self.begin({"a": self.hang("a", 7.95, refused("PS-UP03"))})
            self.assertEqual(self.lost(searching), "PS-UP03")
        self.assertEqual((self.asked, self.clock.seconds()), ([("a", 0.0)], 7.95))

    def test_nobody(self) -> None:
        """A group without chains is answered at once."""
        self.assertEqual(self.lost(self.begin({})), "PS-UP34")


class LeavingTests(SearchCase):
    """The client leaves."""

    def test_running(self) -> None:
        """Everything that it was waiting for is cancelled, and no timer is left."""
        searching = self.begin({"a": self.hang("a"), "b": self.hang("b"), "c": "yes"})
        self.pump(3.0)
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertEqual((sorted(self.cancelled), self.order), (["a", "b"], "ab"))
        self.assertEqual(self.record.outcomes, [("a", "cancelled"), ("b", "cancelled")])
        self.assertClean()

    def test_backoff(self) -> None:
        """So is the pause before the next attempt."""
        searching = self.begin({"a": refused("PS-UP02")})
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertClean()
        self.pump(10.0)
        self.assertEqual(self.order, "a")

    def test_whileAsked(self) -> None:
        """Were it to leave in the very moment that a chain is asked, that attempt is cancelled too."""
        searching = self.begin({"a": self.hang("a", 0.5, refused("PS-UP02")), "b": self.hang("b"), "c": "yes"})
        self.reach.whenAsked = searching.cancel
        self.pump(0.5)
        self.failureResultOf(searching, CancelledError)
        self.assertEqual((self.order, self.cancelled), ("ab", ["b"]))
        self.assertClean()

    def test_trialIsGivenBack(self) -> None:
        """A trial that was cancelled goes to the next session."""
        self.eject("a")
        self.clock.advance(34.0)
        searching = self.begin({"a": self.hang("a")})
        self.assertFalse(self.chains["a"].health.live)
        searching.cancel()
        self.failureResultOf(searching, CancelledError)
        self.assertTrue(self.chains["a"].health.live)


class AgainTests(SearchCase):
    """When all have failed."""

    def test_inOrder(self) -> None:
        """They are asked again, in order, after a pause."""
        searching = self.begin({"a": [refused("PS-UP02"), "yes"], "b": refused("PS-UP02")})
        self.assertNoResult(searching)
        self.assertEqual(self.order, "ab")
        self.clock.advance(0.1)
        self.assertEqual(self.won(searching), "a")

    def test_fullJitter(self) -> None:
        """Each pause is drawn from 0 to 100 ms, 200 ms and so on, at most 2 s."""
        drawn: list[float] = []

        def uniform(least: float, most: float) -> float:
            if least == 0:  # an ejection's jitter is not meant
                drawn.append(round(most, 6))
            return most / 4

        with mock.patch.object(random, "uniform", uniform):
            self.lost(self.begin({"a": refused("PS-UP02")}))
        self.assertEqual(drawn, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
        gaps = [after - before for (_, before), (_, after) in zip(self.asked, self.asked[1:], strict=False)]
        self.assertEqual([round(gap, 3) for gap in gaps], [0.025, 0.05, 0.1, 0.2, 0.4, 0.5, 0.5])

    def test_everyRound(self) -> None:
        """Round after round, a pause before each attempt."""
        self.lost(self.begin({"a": refused("PS-UP02"), "b": refused("PS-UP06"), "c": refused("PS-UP04")}))
        self.assertEqual(self.order, "abcabcab")
        self.assertEqual(len({at for _, at in self.asked}), 6)

    def test_notThoseThatWillSayItAgain(self) -> None:
        """A refused login, rules, and what a hop cannot do are not asked for twice in a search."""
        for code in ("PS-UP10", "PS-UP11", "PS-UP12", "PS-UP13"):
            self.setUp()
            self.assertEqual((self.lost(self.begin({"a": refused(code)})), self.order), (code, "a"))
            self.setUp()
            self.lost(self.begin({"a": refused(code), "b": refused("PS-UP02")}))
            self.assertTrue(self.order.startswith("abbbbb"))
            self.assertNotIn("a", self.order[1:])

    def test_barredMeanwhile(self) -> None:
        """A chain that another session found to refuse our login, during the pause, is not asked."""
        searching = self.begin({"a": refused("PS-UP02"), "b": [refused("PS-UP02"), "yes"]})
        self.bar("a")
        self.until(searching)
        self.assertEqual((self.won(searching), self.order), ("b", "abb"))

    def test_allBarredMeanwhile(self) -> None:
        """With nobody left to ask the search ends."""
        searching = self.begin({"a": refused("PS-UP02")})
        self.bar("a")
        self.assertEqual((self.lost(searching), self.order), ("PS-UP02", "a"))

    def test_ejectedMeanwhile(self) -> None:
        """A chain that is ejected in the course of it has no further turn while others are live."""
        self.chain("b")
        self.memory.reached(self.chains["b"].health, SITE)
        for _ in range(3):
            self.chain("a").health.begin().blamed(Refusal("PS-UP02"))
        self.lost(self.begin({"a": refused("PS-UP02"), "b": refused("PS-UP14")}))
        self.assertEqual(self.order, "abab" + "b" * (len(self.order) - 4))

    def test_onlyThoseThatWereGiven(self) -> None:
        """A search over certain chains asks no others, not even at the end: nothing goes back to one that had it."""
        for name in "abc":
            self.chain(name)
        given = iter([[self.chains["b"]]])
        self.lost(self.begin({name: refused("PS-UP02") for name in "abc"}, chains=given))
        self.assertEqual(self.order, "b" * 5)  # then it is ejected, and there are live ones, which are not for it


class OrderTests(SearchCase):
    """Tiers, then ejected ones, then those out by a probe."""

    def test_stages(self) -> None:
        """The lower tier after every live one above; then the ejected ones, soonest due first; then those out."""
        for name, tier in (("x", 2), ("y", 2)):
            self.lower(name, tier)
        self.eject("c")
        self.clock.advance(10.0)
        self.eject("x")
        self.probeOut("a")
        searching = self.begin({name: refused("PS-UP02") for name in "abcd"} | {n: refused("PS-UP02") for n in "xy"})
        self.assertEqual(self.order, "bdycxa")
        searching.cancel()
        self.failureResultOf(searching, CancelledError)

    def test_barredOnesAreNotAsked(self) -> None:
        """A chain whose login was refused is not asked, and told with that reason."""
        self.bar("a")
        searching = self.begin({"a": "yes", "b": refused("PS-UP02")})
        self.until(searching)
        refusal = self.failureResultOf(searching, Refusal).value
        self.assertEqual(self.order, "b" * 8)
        self.assertIn("none of 2 upstreams worked: a login, b refused", refusal.reason)

    def test_allBarred(self) -> None:
        """With nobody left the client hears it without a wait, and no attempt is made."""
        self.bar("a", "b")
        self.assertEqual((self.lost(self.begin({"a": "yes", "b": "yes"})), self.order), ("PS-UP10", ""))
        self.assertEqual(self.clock.seconds(), 0.0)

    def test_noneLive(self) -> None:
        """Where none is live those are asked that may be: the pool may be back."""
        self.probeOut("a")
        self.eject("b")
        searching = self.begin({"a": refused("PS-UP02"), "b": [refused("PS-UP02"), "yes"]})
        self.until(searching)
        self.assertEqual((self.won(searching), self.order[:2]), ("b", "ba"))

    def test_dueInTheMiddle(self) -> None:
        """A chain whose trial comes due while others are asked has its turn before anybody has a second one."""
        self.eject("a")
        self.clock.advance(self.chain("a").health.due - 1.0)
        searching = self.begin({"a": "yes", "b": self.hang("b", 2.0, refused("PS-UP06"))})
        self.pump(2.0)
        self.assertEqual((self.won(searching), self.order), ("a", "ba"))

    def test_askedLast(self) -> None:
        """Who could not reach a destination that another one reached is asked last for it, and only for it."""
        self.successResultOf(self.begin({"a": refused("PS-UP14"), "b": "yes", "c": "yes"})).spoke()
        self.asked = []
        script = {"a": "yes", "b": refused("PS-UP02"), "c": refused("PS-UP02")}
        found = self.successResultOf(self.begin(script))
        self.assertEqual(self.order, "bca")
        self.asked = []
        self.assertEqual((self.won(self.begin(script, to=OTHER)), self.order), ("a", "a"))
        self.asked = []
        found.spoke()
        self.assertEqual((self.won(self.begin(script)), self.order), ("a", "a"))

    def test_askedLastForAMinute(self) -> None:
        """Its rules count as well; after 60 s it has its place again."""
        self.successResultOf(self.begin({"a": refused("PS-UP11"), "b": "yes"})).spoke()
        self.asked = []
        self.clock.advance(59.9)
        self.assertEqual(self.won(self.begin({"a": "yes", "b": "yes"})), "b")
        self.clock.advance(0.2)
        self.assertEqual(self.won(self.begin({"a": "yes", "b": "yes"})), "a")

    def test_lostOnes(self) -> None:
        """Those that failed the session before are the last of their tier in its further searches."""
        self.lower("x")
        lost: list[Any] = []
        self.until(searching := self.begin({"a": refused("PS-UP02"), "b": "yes", "c": "yes", "x": "yes"}, lost=lost))
        self.successResultOf(searching)
        self.assertEqual([chain.name for chain in lost], ["a"])
        plan = [[self.chains[name] for name in "abc"], [self.chains["x"]]]
        order = [[chain.name for chain in stage] for stage in stages(plan, SITE, self.memory, lost=lost)]
        self.assertEqual(order, [["b", "c", "a"], ["x"], []])


class FallbackTests(SearchCase):
    """A direct way in a lower tier."""

    def test_shut(self) -> None:
        """It does not get what an exit refused: after a plain report, 02 or 403 it is out of the search."""
        for code in ("PS-UP21", "PS-UP20", "PS-UP19", "PS-UP11"):
            self.setUp()
            self.lower("z", direct=True)
            self.assertEqual(self.lost(self.begin({"a": refused(code), "b": refused(code), "z": "yes"})), code)
            self.assertEqual(self.order, "ab")

    def test_shutByOne(self) -> None:
        """By one of them is enough, whatever the others say."""
        self.lower("z", direct=True)
        self.lost(self.begin({"a": refused("PS-UP11"), "b": refused("PS-UP02"), "z": "yes"}))
        self.assertNotIn("z", self.order)

    def test_open(self) -> None:
        """After what says nothing plain it is used, since it is listed."""
        for code in ("PS-UP02", "PS-UP14", "PS-UP10", "PS-UP15"):
            self.setUp()
            self.lower("z", direct=True)
            self.assertEqual(self.won(self.begin({"a": refused(code), "b": refused(code), "z": "yes"})), "z")

    def test_notDirect(self) -> None:
        """A hop in a lower tier is asked all the same."""
        self.lower("z")
        self.assertEqual(self.won(self.begin({"a": refused("PS-UP21"), "b": refused("PS-UP11"), "z": "yes"})), "z")


class DoubtTests(SearchCase):
    """When the destination's failure is the answer."""

    def test_plainReportsOfAll(self) -> None:
        """Two chains that both report it settle it: the plainest word is told, no second round."""
        searching = self.begin({"a": refused("PS-UP20"), "b": refused("PS-UP21")})
        self.assertEqual((self.lost(searching), self.order, self.clock.seconds()), ("PS-UP21", "ab", 0.0))

    def test_vagueThoughReached(self) -> None:
        """Vague reports of a destination that one had reached in the last 60 s are not believed: asked again."""
        self.successResultOf(self.begin({"a": "yes", "b": "yes"})).spoke()
        self.clock.advance(59.0)
        self.asked = []
        searching = self.begin({"a": [refused("PS-UP14"), "yes"], "b": refused("PS-UP14")})
        self.until(searching)
        self.assertEqual((self.won(searching), self.order), ("a", "aba"))

    def test_vagueAndNotReached(self) -> None:
        """Otherwise they are."""
        searching = self.begin({"a": refused("PS-UP14"), "b": refused("PS-UP16")})
        self.assertEqual((self.lost(searching), self.order, self.clock.seconds()), ("PS-UP14", "ab", 0.0))

    def test_vagueToTheEnd(self) -> None:
        """If it remains so, the answer after eight attempts is the destination's failure all the same."""
        self.successResultOf(self.begin({"a": "yes", "b": "yes"})).spoke()
        self.asked = []
        self.assertEqual(self.lost(self.begin({"a": refused("PS-UP14"), "b": refused("PS-UP18")})), "PS-UP18")
        self.assertEqual(len(self.order), 8)
        self.assertTrue(self.memory.isFailing(SITE))

    def test_forbiddingChainsDontCount(self) -> None:
        """A chain whose rules forbid it has no say in whether the destination is dead."""
        searching = self.begin({"a": refused("PS-UP11"), "b": refused("PS-UP14")})
        self.assertEqual((self.lost(searching), self.order), ("PS-UP14", "ab"))

    def test_allForbid(self) -> None:
        """When each hop's rules forbid it that is the answer, at once."""
        searching = self.begin({"a": refused("PS-UP11"), "b": refused("PS-UP11")})
        self.assertEqual((self.lost(searching), self.order), ("PS-UP11", "ab"))
        self.assertFalse(self.memory.isFailing(SITE))

    def test_oneDeadHopAmongReports(self) -> None:
        """A hop that is dead has not reported: the others are asked again."""
        searching = self.begin({"a": [refused("PS-UP02"), "yes"], "b": refused("PS-UP21")})
        self.until(searching)
        self.assertEqual(self.won(searching), "a")

    def test_oneGateway(self) -> None:
        """A rotating gateway that cannot reach it is believed after three more reports, at the back-off's times."""
        for code in ("PS-UP20", "PS-UP14"):
            self.setUp()
            self.assertEqual((self.lost(self.begin({"a": refused(code)})), self.order), (code, "aaaa"))
            self.assertLess(self.clock.seconds(), 0.1 + 0.2 + 0.4)

    def test_oneGatewayRecovers(self) -> None:
        """A later success of it is taken."""
        searching = self.begin({"a": [refused("PS-UP20"), refused("PS-UP20"), "yes"]})
        self.until(searching)
        self.assertEqual(self.won(searching), "a")

    def test_refusedStaysRefused(self) -> None:
        """The client gets the plainest word, even if it was said once only."""
        outcomes = [refused("PS-UP14"), refused("PS-UP21"), refused("PS-UP14"), refused("PS-UP16")]
        self.assertEqual(self.lost(self.begin({"a": outcomes})), "PS-UP21")

    def test_oneLiveAmongEjected(self) -> None:
        """Reports of ejected ones count among the three more."""
        self.eject("b", "c")
        searching = self.begin({name: refused("PS-UP14") for name in "abc"})
        self.assertEqual(self.lost(searching), "PS-UP14")
        self.assertEqual((sorted(self.order[:3]), self.order[3:]), (["a", "b", "c"], "a"))

    def test_direct(self) -> None:
        """A refused port on the direct route costs 100 ms: one more dial."""
        for code in ("PS-DE01", "PS-DE03", "PS-DE05"):
            self.setUp()
            self.chain("z", direct=True)
            self.assertEqual(self.lost(self.begin({"z": refused(code)})), code)
            self.assertEqual(self.asked, [("z", 0.0), ("z", 0.1)])

    def test_directMisspelt(self) -> None:
        """A name that does not exist is told at once."""
        self.chain("z", direct=True)
        self.assertEqual(self.lost(self.begin({"z": refused("PS-DE02")})), "PS-DE02")
        self.assertEqual((self.order, self.clock.seconds()), ("z", 0.0))

    def test_directRestarting(self) -> None:
        """A service that restarts is found with the second dial."""
        self.chain("z", direct=True)
        searching = self.begin({"z": [refused("PS-DE01"), "yes"]})
        self.clock.advance(0.1)
        self.assertEqual(self.won(searching), "z")

    def test_remembered(self) -> None:
        """For 2 s after, one report is enough, and that does not prolong it; then it is asked in full again."""
        self.lost(self.begin({"a": refused("PS-UP20")}))
        failed = self.clock.seconds()
        self.clock.advance(1.9)
        self.assertEqual((self.lost(self.begin({"a": refused("PS-UP20")})), self.order[4:]), ("PS-UP20", "a"))
        self.clock.advance(failed + 2.05 - self.clock.seconds())
        self.lost(self.begin({"a": refused("PS-UP20")}))
        self.assertEqual(self.order[5:], "aaaa")

    def test_rememberedStaysReal(self) -> None:
        """The client's own later tries are real ones: a chain that reaches it by then is used."""
        self.lost(self.begin({"a": refused("PS-UP20"), "b": refused("PS-UP20")}))
        self.assertEqual(self.won(self.begin({"a": refused("PS-UP02"), "b": "yes"})), "b")

    def test_rememberedWhenCutShort(self) -> None:
        """It is remembered whenever a search ends with a report of every live chain, if by the deadline."""
        self.lost(self.begin({"a": [refused("PS-UP20"), self.hang("a")]}))
        self.assertTrue(self.memory.isFailing(SITE))
        self.clock.advance(3.0)
        self.spent()
        self.lost(self.begin({"a": refused("PS-UP20")}))
        self.assertTrue(self.memory.isFailing(SITE))

    def test_notRemembered(self) -> None:
        """And not where one of them has not reported it."""
        self.lost(self.begin({"a": refused("PS-UP20"), "b": refused("PS-UP02")}))
        self.assertFalse(self.memory.isFailing(SITE))

    def test_saidBefore(self) -> None:
        """What chains told in an earlier search of the session counts."""
        self.chain("a")
        said = [(self.chain(name), refused("PS-UP30")()) for name in "ab"]
        self.assertEqual(
            self.lost(self.begin({"a": refused("PS-UP18"), "b": "yes"}, said=said, further=True)), "PS-UP18"
        )
        self.assertEqual(self.order, "a")


class BlameTests(SearchCase):
    """What each failure does to a chain's health."""

    BLAMED = ("PS-UP01", "PS-UP02", "PS-UP03", "PS-UP04", "PS-UP05", "PS-UP06", "PS-UP07", "PS-UP08", "PS-UP23",
              "PS-UP24", "PS-UP26", "PS-UP27")  # fmt: skip
    NOT_BLAMED = ("PS-UP11", "PS-UP12", "PS-UP13", "PS-UP14", "PS-UP15", "PS-UP16", "PS-UP17", "PS-UP18", "PS-UP19",
                  "PS-UP20", "PS-UP21", "PS-DE01", "PS-DE05")  # fmt: skip

    def fail(self, code: str) -> bool:  # type: ignore[override]
        """Five searches of a chain fail so; whether it is live then."""
        self.setUp()
        for _ in range(5):
            searching = self.begin({"a": refused(code), "b": "yes"})
            self.successResultOf(searching).close()
        return self.chains["a"].health.live

    def test_blamed(self) -> None:
        """The hop's own failures eject it, after five; five connects to it were made then, and no sixth."""
        for code in self.BLAMED:
            self.assertFalse(self.fail(code), code)
            self.assertEqual(self.order, "ab" * 5)
            self.successResultOf(self.begin({"a": "yes", "b": "yes"}))
            self.assertEqual(self.order, "ab" * 5 + "b")

    def test_notBlamed(self) -> None:
        """What speaks of the destination, or of its rules and what it can do, does not."""
        for code in self.NOT_BLAMED:
            self.assertTrue(self.fail(code), code)

    def test_login(self) -> None:
        """A refused login puts it out at once."""
        self.assertFalse(self.fail("PS-UP10"))
        self.assertEqual(self.order, "ab" + "b" * 4)

    def test_yesIsNoSuccess(self) -> None:
        """An exit that says yes and dies has not reset the count of failures; the first byte does."""
        for spoke in (False, True):
            self.setUp()
            for _ in range(4):
                self.successResultOf(self.begin({"a": refused("PS-UP02"), "b": "yes"}))
            found = self.successResultOf(self.begin({"a": "yes", "b": "yes"}))
            if spoke:
                found.spoke()
            self.successResultOf(self.begin({"a": refused("PS-UP02"), "b": "yes"}))
            self.assertEqual(self.chains["a"].health.live, spoke)

    def test_reportsOfSeveral(self) -> None:
        """An exit that reports destination after destination, which another one reaches, is ejected like that."""
        for number in range(5):
            site = type(SITE)(f"{number}.example", 443)
            self.successResultOf(self.begin({"a": refused("PS-UP14"), "b": "yes"}, to=site)).spoke()
            self.assertEqual(self.chains["a"].health.live, number < 4)
