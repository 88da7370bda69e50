"""What goes on beside what: shares, hedging, and what they cost (behaviour, section 5, "Search", "Health")."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from tests.gateway.searches import OTHER, SITE, SearchCase, refused


class ShareTests(SearchCase):
    """An attempt that takes longer than its share goes on beside the next."""

    def test_shares(self) -> None:
        """The time left, divided by the untried live chains, itself included: 8/4, 6/3, 4/2; the last has the rest."""
        searching = self.begin({name: self.hang(name) for name in "abcd"})
        self.assertEqual(self.lost(searching), "PS-UP22")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 2.0), ("c", 4.0), ("d", 6.0)])
        self.assertEqual(sorted(self.cancelled), [*"abcd"])
        self.assertEqual(self.record.outcomes, [(name, "deadline") for name in "abcd"])

    def test_atLeastASecond(self) -> None:
        """However many chains there are, each has a second for itself."""
        self.lost(self.begin({name: self.hang(name) for name in "abcdefghijkl"}))
        self.assertEqual(self.asked, [(name, float(at)) for at, name in enumerate("abcdefgh")])

    def test_lessTimeLeft(self) -> None:
        """After failures that took time the shares are of what is left."""
        script = {"a": self.hang("a", 2.0, refused("PS-UP03")), "b": self.hang("b"), "c": self.hang("c")}
        self.lost(self.begin(script))
        self.assertEqual(self.asked, [("a", 0.0), ("b", 2.0), ("c", 5.0)])

    def test_ofItsTier(self) -> None:
        """Chains of lower tiers do not count, and are not gone on to beside."""
        self.lower("x")
        self.lower("y")
        script = {"a": self.hang("a"), "b": self.hang("b", 2.5, refused("PS-UP06")), "x": "yes", "y": "yes"}
        self.lost(self.begin(script))
        self.assertEqual(self.asked, [("a", 0.0), ("b", 4.0)])

    def test_ejectedOnesDoNotCount(self) -> None:
        """Nor do ejected ones while others are live."""
        self.eject("c", "d")
        self.lost(self.begin({name: self.hang(name) for name in "abcd"}))
        self.assertEqual(self.asked, [("a", 0.0), ("b", 4.0)])

    def test_nobodyLeftMeanwhile(self) -> None:
        """Where the next one is out by then, the slow one goes on alone."""
        searching = self.begin({"a": self.hang("a", 5.0), "b": "yes"})
        self.bar("b")
        self.pump(5.0)
        self.assertEqual((self.won(searching), self.order), ("a", "a"))

    def test_firstToFinishWins(self) -> None:
        """A healthy but slow chain still wins, if it is the first: the other is cancelled."""
        searching = self.begin({"a": self.hang("a", 5.0), "b": self.hang("b", 3.0)})
        self.pump(5.01)
        self.assertEqual(self.won(searching), "a")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 4.0)])
        self.assertEqual(self.cancelled, ["b"])
        self.assertEqual(self.record.outcomes, [("a", "ok"), ("b", "overtaken")])

    def test_overtaken(self) -> None:
        """One that began before the winner and was overtaken has reported the destination, vaguely."""
        searching = self.begin({"a": self.hang("a"), "b": self.hang("b", 0.5)})
        self.pump(4.51)
        found = self.successResultOf(searching)
        self.assertEqual((found.chain.name, self.cancelled), ("b", ["a"]))
        self.assertFalse(self.isLast("a"))
        found.spoke()
        self.assertTrue(self.isLast("a"))

    def test_overtakenAndEjected(self) -> None:
        """And is ejected by that in the end, like by any other vague report that another chain belies."""
        for number in range(6):
            self.clock.advance(1.0)
            site = type(SITE)(f"{number}.example", 443)
            searching = self.begin({"a": self.hang("a"), "b": self.hang("b", 0.5)}, to=site)
            self.until(searching)
            self.successResultOf(searching).spoke()
        self.assertFalse(self.chains["a"].health.live)

    def test_laterLoserIsNotOvertaken(self) -> None:
        """One that began after the winner was not slower than it."""
        searching = self.begin({"a": self.hang("a", 4.5), "b": self.hang("b")})
        self.pump(4.51)
        self.successResultOf(searching).spoke()
        self.assertFalse(self.isLast("b"))

    def isLast(self, name: str) -> bool:
        return self.memory.isLast(self.chains[name].health, SITE)

    def test_failsWhileOthersRun(self) -> None:
        """When the newest fails the next is asked at once; one that has another beside it is not replaced."""
        script = {
            "a": self.hang("a", 3.0, refused("PS-UP06")),
            "b": self.hang("b", 0.5, refused("PS-UP02")),
            "c": self.hang("c", 2.0),
            "d": "no",
        }
        searching = self.begin(script)
        self.pump(4.51)
        self.assertEqual(self.won(searching), "c")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 2.0), ("c", 2.5)])

    def test_nextTierWaitsForAll(self) -> None:
        """The next tier is asked once the last of this one has failed."""
        self.lower("x")
        script = {"a": self.hang("a", 6.0, refused("PS-UP06")), "b": self.hang("b", 1.0, refused("PS-UP02"))}
        searching = self.begin(script | {"x": "yes"})
        self.pump(6.01)
        self.assertEqual(self.won(searching), "x")
        self.assertEqual(self.asked, [("a", 0.0), ("b", 4.0), ("x", 6.0)])

    def test_oneReportEndsIt(self) -> None:
        """A destination that fails elsewhere meanwhile: one report ends this search too, with what runs."""
        searching = self.begin({"a": self.hang("a"), "b": refused("PS-UP14")})
        self.pump(3.9)
        self.memory.fail(SITE)
        self.pump(0.2)
        self.assertEqual(self.lost(searching), "PS-UP14")
        self.assertEqual((self.cancelled, self.record.outcomes[-1]), (["a"], ("a", "cancelled")))


class BudgetTests(SearchCase):
    """What is free, and what is not."""

    def test_freeAfterAFailure(self) -> None:
        """Going on to untried live chains is free, after whatever does not speak of the destination plainly."""
        for code in ("PS-UP02", "PS-UP10", "PS-UP11", "PS-UP12", "PS-UP14", "PS-UP15", "PS-UP23"):
            self.setUp()
            budget = self.spent()
            self.lower("c")
            searching = self.begin({"a": refused(code), "b": refused(code), "c": "yes"})
            self.assertEqual((self.won(searching), budget.asked), ("c", 0), code)

    def test_paidAfterAPlainReport(self) -> None:
        """After a plain report it is not: another exit will say the same, mostly."""
        for code in ("PS-UP19", "PS-UP20", "PS-UP21", "PS-DE01"):
            self.setUp()
            budget = self.spent()
            self.assertEqual(self.lost(self.begin({"a": refused(code), "b": "yes"})), code)
            self.assertEqual((self.order, budget.asked), ("a", 1))
            budget.left = 1
            self.assertEqual(self.won(self.begin({"a": refused(code), "b": "yes"})), "b")

    def test_besideIsPaid(self) -> None:
        """Going on beside costs; without budget the slow one goes on alone, and what fails leads on, still free."""
        budget = self.spent()
        searching = self.begin({"a": self.hang("a", 5.0, refused("PS-UP06")), "b": "yes"})
        self.pump(4.99)
        self.assertEqual((self.order, budget.asked), ("a", 1))
        self.pump(0.02)
        self.assertEqual(self.won(searching), "b")
        budget.left = 1
        self.asked = []
        self.begin({"a": self.hang("a"), "b": "yes"})
        self.clock.advance(4.0)
        self.assertEqual(self.order, "ab")

    def test_ejectedIsPaid(self) -> None:
        """Ejected ones cost, but for a session's first attempt."""
        self.eject("b")
        self.clock.advance(10.0)
        self.eject("c")
        budget = self.spent(1)
        self.assertEqual(self.lost(self.begin({name: refused("PS-UP02") for name in "abc"})), "PS-UP02")
        self.assertEqual((self.order, budget.asked), ("ab", 2))
        self.setUp()
        self.eject("a")
        self.clock.advance(10.0)
        self.eject("b")
        budget = self.spent()
        self.assertEqual(self.lost(self.begin({name: refused("PS-UP02") for name in "ab"})), "PS-UP02")
        self.assertEqual((self.order, budget.asked), ("a", 1))

    def test_againIsPaid(self) -> None:
        """So does asking again."""
        budget = self.spent(1)
        self.assertEqual(self.lost(self.begin({"a": refused("PS-UP06"), "b": refused("PS-UP06")})), "PS-UP06")
        self.assertEqual((self.order, budget.asked), ("aba", 2))

    def test_whatRunsMayEnd(self) -> None:
        """When the budget is spent the search ends, once what runs has ended: it may still win."""
        self.spent(1)
        script = {"a": self.hang("a", 5.0), "b": refused("PS-UP21"), "c": "yes"}
        searching = self.begin(script)
        self.pump(5.01)
        self.assertEqual(self.won(searching), "a")
        self.assertEqual(self.order, "ab")

    def test_whatRunsMayFail(self) -> None:
        """Or fail; then it is over, though there are untried ones."""
        self.spent(1)
        script = {"a": self.hang("a", 5.0, refused("PS-UP06")), "b": refused("PS-UP21"), "c": "yes"}
        searching = self.begin(script)
        self.pump(4.99)
        self.assertNoResult(searching)
        self.assertEqual(self.lost(searching), "PS-UP09")
        self.assertEqual(self.order, "ab")
        self.assertEqual(self.clock.seconds(), 5.0)

    def test_furtherSearch(self) -> None:
        """A replay's first attempt costs; the next, to an untried live chain after a failure, does not."""
        budget = self.spent()
        searching = self.begin({"a": "yes", "b": "yes"}, further=True, said=[(self.chain("b"), refused("PS-UP30")())])
        self.assertEqual((self.lost(searching), self.order), ("PS-UP30", ""))
        budget.left = 1
        searching = self.begin({"a": refused("PS-UP02"), "b": "yes"}, further=True)
        self.assertEqual((self.won(searching), budget.left), ("b", 0))


class HedgeTests(SearchCase):
    """``hedge = "auto"``."""

    def pace(self, name: str, *times: float) -> None:
        for time in times:
            self.chain(name).health.pace.add(time)

    def test_slow(self) -> None:
        """An attempt slower than nine in ten of its chain's last connects has a second one begun beside it."""
        self.pace("a", *(n / 10 for n in range(1, 11)))
        searching = self.begin({"a": self.hang("a", 5.0), "b": self.hang("b", 0.5)}, hedge=True)
        self.pump(0.89)
        self.assertEqual(self.order, "a")
        self.pump(0.52)
        self.assertEqual(self.asked, [("a", 0.0), ("b", 0.9)])
        self.assertEqual((self.won(searching), self.cancelled), ("b", ["a"]))

    def test_nobodyIsBlamed(self) -> None:
        """Whoever loses has not reported the destination."""
        self.pace("a", *[0.1] * 10)
        for first, second, winner in ((5.0, 0.2, "b"), (0.3, 5.0, "a")):
            searching = self.begin({"a": self.hang("a", first), "b": self.hang("b", second)}, hedge=True)
            self.pump(1.0)
            found = self.successResultOf(searching)
            self.assertEqual(found.chain.name, winner)
            found.spoke()
            for name in "ab":
                self.assertFalse(self.memory.isLast(self.chains[name].health, SITE))

    def test_off(self) -> None:
        """Without it a slow attempt has its share."""
        self.pace("a", *[0.1] * 10)
        self.begin({"a": self.hang("a"), "b": "yes"})
        self.pump(3.9)
        self.assertEqual(self.order, "a")
        self.pump(0.2)
        self.assertEqual(self.order, "ab")

    def test_fromTenOn(self) -> None:
        """Nine connects are too few to go by."""
        self.pace("a", *[0.1] * 9)
        self.begin({"a": self.hang("a"), "b": "yes"}, hedge=True)
        self.pump(3.9)
        self.assertEqual(self.order, "a")

    def test_connectsAreCounted(self) -> None:
        """Connects that were made count, and cancelled ones with their time so far; failures do not."""
        for _ in range(5):
            self.until(searching := self.begin({"a": self.hang("a", 0.1)}))
            self.successResultOf(searching).close()
        for _ in range(4):
            searching = self.begin({"a": self.hang("a")})
            self.clock.advance(1.0)
            searching.cancel()
            self.failureResultOf(searching, CancelledError)
        self.lost(self.begin({"a": refused("PS-UP14")}))
        pace = self.chains["a"].health.pace
        self.assertIsNone(pace.slow)
        self.assertAlmostEqual(pace.typical, 0.1)  # type: ignore[arg-type]
        self.lost(self.begin({"a": self.hang("a")}))
        self.assertAlmostEqual(pace.slow, 1.0)  # type: ignore[arg-type]

    def test_onceInASearch(self) -> None:
        """A second starts, not a third: after that there are shares."""
        for name in "abc":
            self.pace(name, *[0.1] * 10)
        self.begin({name: self.hang(name) for name in "abc"}, hedge=True)
        self.pump(2.0)
        self.assertEqual(self.asked, [("a", 0.0), ("b", 0.1)])
        self.pump(2.1)
        self.assertEqual(self.asked, [("a", 0.0), ("b", 0.1), ("c", 4.05)])

    def test_paid(self) -> None:
        """It costs; without budget there is none, and the share holds."""
        self.pace("a", *[0.1] * 10)
        budget = self.spent()
        self.begin({"a": self.hang("a"), "b": "yes"}, hedge=True)
        self.pump(3.9)
        self.assertEqual((self.order, budget.asked), ("a", 1))
        budget.left = 1
        self.pump(0.2)
        self.assertEqual(self.order, "ab")

    def test_nobodyElse(self) -> None:
        """With no other chain to ask a slow one goes on."""
        self.pace("a", *[0.1] * 10)
        searching = self.begin({"a": self.hang("a", 3.0)}, hedge=True)
        self.pump(3.01)
        self.assertEqual((self.won(searching), self.order), ("a", "a"))

    def test_slowerThanItsShare(self) -> None:
        """Where a chain's 90th percentile is longer than its share, the share counts, and it is overtaken."""
        self.pace("a", *[5.0] * 10)
        searching = self.begin({"a": self.hang("a"), "b": self.hang("b", 0.5)}, hedge=True)
        self.pump(4.51)
        found = self.successResultOf(searching)
        found.spoke()
        self.assertEqual(self.asked, [("a", 0.0), ("b", 4.0)])
        self.assertTrue(self.memory.isLast(self.chains["a"].health, SITE))


class SuspectTests(SearchCase):
    """Chains that have only failed lately."""

    def suspect(self, *names: str) -> None:
        for name in names:
            for _ in range(5):
                self.chain(name).health.begin().doubted()
            self.assertTrue(self.chain(name).health.suspect)

    def test_inPlace(self) -> None:
        """They keep their place: the failures may all have been their destinations'."""
        self.suspect("a")
        self.assertEqual(self.won(self.begin({"a": "yes", "b": "yes"})), "a")

    def test_paid(self) -> None:
        """To go on to one costs budget, as ejection does not bound it; the first attempt is free."""
        self.suspect("a", "b")
        poor = self.spent(1)
        self.assertEqual(self.won(self.begin({"a": refused("PS-UP14"), "b": "yes"})), "b")
        self.assertEqual((self.order, poor.asked), ("ab", 1))

    def test_nobodyElse(self) -> None:
        """Without budget the search ends with what it knows."""
        self.suspect("b")
        self.spent(0)
        self.assertEqual(self.lost(self.begin({"a": refused("PS-UP02"), "b": "yes"})), "PS-UP02")
        self.assertEqual(self.order, "a")

    def test_outdone(self) -> None:
        """One that failed five times where others did not is asked behind them, whatever is wanted."""
        for name in "ab":
            self.chain(name).health.begin().outdone(5)
        self.lower("d")
        searching = self.begin({n: refused("PS-UP14") for n in "abc"} | {"d": "yes"})
        self.assertEqual((self.won(searching), self.order), ("d", "cabd"))

    def test_thirtyAtOnce(self) -> None:
        """Thirty who wait for a silent chain at once wait for it once: the next thirty, for another host, do not."""
        scripts = {"a": self.hang("a"), "b": "yes"}
        searches = [self.begin(scripts) for _ in range(30)]
        self.pump(4.01)
        for search in searches:
            self.successResultOf(search).spoke()
        self.asked.clear()
        found = self.successResultOf(self.begin(scripts, to=OTHER))
        self.assertEqual((found.chain.name, self.order), ("b", "b"))
        self.assertTrue(self.chains["a"].health.live)

    def test_deadDestination(self) -> None:
        """A destination that nobody reaches puts nobody behind the others, however often it is asked for."""
        for _ in range(10):
            self.lost(self.begin({"a": refused("PS-UP14"), "b": refused("PS-UP21")}))
            self.clock.advance(3)
        self.assertFalse(self.chains["a"].health.outdone)
        self.assertEqual(self.won(self.begin({"a": "yes", "b": "yes"}, to=OTHER)), "a")
