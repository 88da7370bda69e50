"""What chains have told of destinations, and whom that speaks of (behaviour, section 5, "Doubt", "Health")."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.memory import LIMIT, Memory
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.health import Health, State
from tests.gateway.fakes import health

ONE, TWO, THREE = (Destination(f"{name}.example", 443) for name in ("one", "two", "three"))

# Every word that speaks of a destination, plainly or vaguely.
WORDS = (
    "PS-DE01", "PS-DE02", "PS-DE03", "PS-DE04", "PS-DE05", "PS-DE06", "PS-DE07",
    "PS-UP14", "PS-UP15", "PS-UP16", "PS-UP17", "PS-UP18", "PS-UP19", "PS-UP20", "PS-UP21",
    "PS-UP30", "PS-UP31", "PS-UP32",
)  # fmt: skip


class Tried:
    """An attempt that counts how often it was blamed, and outdone."""

    def __init__(self) -> None:
        self.blames: list[Refusal] = []
        self.losses = 0

    def blamed(self, failure: Refusal, /) -> None:
        self.blames.append(failure)

    def outdone(self, times: int, /) -> None:
        self.losses += times


class MemoryCase(SynchronousTestCase):
    """Two chains, called a and b."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)

    def report(self, chain: str, destination: Destination, code: str = "PS-UP14") -> Tried:
        tried = Tried()
        self.memory.reported(chain, destination, tried, Refusal(code))
        return tried

    def forbid(self, chain: str, destination: Destination) -> None:
        self.memory.reported(chain, destination, None, Refusal("PS-UP11"))

    def blames(self, *tries: Tried) -> list[int]:
        return [len(tried.blames) for tried in tries]


class CountingTests(MemoryCase):
    """A report counts only once two destinations failed within 60 s and another chain reached one afterwards."""

    def test_twoAndOneReached(self) -> None:
        """Then the report of the one that was reached counts: it is the chain that failed."""
        one, two = self.report("a", ONE), self.report("a", TWO, "PS-UP16")
        self.assertEqual(self.blames(one, two), [0, 0])
        self.memory.reached("b", TWO)
        self.assertEqual(self.blames(one, two), [0, 1])
        self.assertEqual(two.blames[0].slug.code, "PS-UP16")
        self.memory.reached("b", ONE)
        self.assertEqual(self.blames(one, two), [1, 1])

    def test_oneIsNotEnough(self) -> None:
        """One destination that others reach may dislike this exit; nobody is blamed, however often it fails."""
        tries = []
        for _ in range(10):
            tries.append(self.report("a", ONE))
            self.memory.reached("b", ONE)
        self.assertEqual(sum(self.blames(*tries)), 0)

    def test_outdone(self) -> None:
        """Each report is known for a loss as soon as another chain reaches the destination, and once."""
        for _ in range(2):
            self.report("a", ONE)
        last = self.report("a", ONE)
        self.assertEqual(last.losses, 0)
        self.memory.reached("b", ONE)
        self.memory.reached("b", ONE)
        self.assertEqual(last.losses, 3)
        self.assertEqual(self.report("a", ONE).losses, 1)  # reached a moment before
        self.forbid("a", TWO)
        self.memory.reached("b", TWO)

    def test_secondAfterReached(self) -> None:
        """The second destination may fail after the first was reached."""
        one = self.report("a", ONE)
        self.memory.reached("b", ONE)
        two = self.report("a", TWO)
        self.assertEqual(self.blames(one, two), [1, 0])

    def test_reportedAgain(self) -> None:
        """A report that was belied is not forgotten when the destination fails there again."""
        one = self.report("a", ONE)
        self.memory.reached("b", ONE)
        again = self.report("a", ONE)
        two = self.report("a", TWO)
        self.assertEqual(self.blames(one, again, two), [1, 0, 0])

    def test_reachedBefore(self) -> None:
        """That another chain reached them before says nothing: they may have gone down since."""
        self.memory.reached("b", ONE)
        self.memory.reached("b", TWO)
        one, two = self.report("a", ONE), self.report("a", TWO)
        self.assertEqual(self.blames(one, two), [0, 0])

    def test_reachedByItself(self) -> None:
        """Nor does it that the chain itself reaches it after all; and that takes its report back."""
        one, two = self.report("a", ONE), self.report("a", TWO)
        self.memory.reached("a", ONE)
        self.memory.reached("b", ONE)
        self.memory.reached("b", TWO)
        self.assertEqual(self.blames(one, two), [0, 0])
        three = self.report("a", THREE)
        self.assertEqual(self.blames(one, two, three), [0, 1, 0])

    def test_pendingTakenBack(self) -> None:
        """So it does with one that was belied and waits for a second."""
        one = self.report("a", ONE)
        self.memory.reached("b", ONE)
        self.memory.reached("a", ONE)
        two, three = self.report("a", TWO), self.report("a", THREE)
        self.assertEqual(self.blames(one, two, three), [0, 0, 0])

    def test_within60(self) -> None:
        """Two failures more than 60 s apart have nothing to do with one another."""
        one = self.report("a", ONE)
        self.memory.reached("b", ONE)
        self.clock.advance(60.1)
        two = self.report("a", TWO)
        self.assertEqual(self.blames(one, two), [0, 0])
        self.memory.reached("b", TWO)
        self.assertEqual(self.blames(one, two), [0, 0])
        self.clock.advance(59.8)
        three = self.report("a", THREE)
        self.assertEqual(self.blames(one, two, three), [0, 1, 0])

    def test_reachedTooLate(self) -> None:
        """A destination that another chain reaches a minute later has recovered, perhaps."""
        one, two = self.report("a", ONE), self.report("a", TWO)
        self.clock.advance(60.1)
        self.memory.reached("b", ONE)
        self.assertEqual(self.blames(one, two), [0, 0])
        self.assertFalse(self.memory.isLast("a", ONE))

    def test_onlyOnce(self) -> None:
        """Each report counts once, however often the destination is reached."""
        one, two = self.report("a", ONE), self.report("a", TWO)
        for _ in range(3):
            self.memory.reached("b", ONE)
            self.memory.reached("c", ONE)
        self.assertEqual(self.blames(one, two), [1, 0])

    def test_everyChainForItself(self) -> None:
        """Failures on another chain are not this one's."""
        one, two = self.report("a", ONE), self.report("c", TWO)
        self.memory.reached("b", ONE)
        self.memory.reached("b", TWO)
        self.assertEqual(self.blames(one, two), [0, 0])

    def test_rulesDoNotCount(self) -> None:
        """A destination that the hop's rules forbid has not failed."""
        one = self.report("a", ONE)
        self.forbid("a", TWO)
        self.memory.reached("b", ONE)
        self.memory.reached("b", TWO)
        self.assertEqual(self.blames(one), [0])


class HealthyTests(MemoryCase):
    """What must never eject a healthy chain."""

    def test_oneDeadDestination(self) -> None:
        """One dead destination among many requests, whatever the words."""
        for word in WORDS:
            chain, other = health("a", self.clock), health("b", self.clock)
            for number in range(200):
                for each in (chain, other):
                    tried = each.begin()
                    self.memory.reported(each, ONE, tried, Refusal(word))
                    tried.untold()
                    self.succeed(each, Destination("works.example", 1 + number % 5))
                self.clock.advance(0.3)
            self.assertEqual((chain.state, other.state), (State.LIVE, State.LIVE), word)

    def test_nothingButDeadOnes(self) -> None:
        """A crawl over hosts that are all dead, without a single success."""
        for word in WORDS:
            chain, other = health("a", self.clock), health("b", self.clock)
            for number in range(200):
                for each in (chain, other):
                    tried = each.begin()
                    self.memory.reported(each, Destination(f"{number}.example", 80), tried, Refusal(word))
                    tried.untold()
                self.clock.advance(0.1)
            self.assertEqual((chain.state, other.state), (State.LIVE, State.LIVE), word)

    def test_badExit(self) -> None:
        """But an exit that fails at destination after destination, which another reaches, is ejected."""
        bad, good = health("a", self.clock), health("b", self.clock)
        for number in range(6):
            site = Destination(f"{number}.example", 443)
            tried = bad.begin()
            self.memory.reported(bad, site, tried, Refusal("PS-UP14"))
            tried.untold()
            self.succeed(good, site)
        self.assertEqual((bad.state, good.state), (State.EJECTED, State.LIVE))

    def succeed(self, chain: Health, site: Destination) -> None:
        tried = chain.begin()
        self.memory.reached(chain, site)
        tried.succeeded()


class LastTests(MemoryCase):
    """Who is asked last for a destination."""

    def test_reachedAfterwards(self) -> None:
        """A chain that reported it, once another reaches it: for 60 s."""
        self.report("a", ONE)
        self.assertFalse(self.memory.isLast("a", ONE))
        self.memory.reached("b", ONE)
        self.assertTrue(self.memory.isLast("a", ONE))
        self.assertFalse(self.memory.isLast("a", TWO))
        self.assertFalse(self.memory.isLast("b", ONE))
        self.clock.advance(59.9)
        self.assertTrue(self.memory.isLast("a", ONE))
        self.clock.advance(0.2)
        self.assertFalse(self.memory.isLast("a", ONE))

    def test_reachedBefore(self) -> None:
        """Or where another had reached it in the last minute."""
        self.memory.reached("b", ONE)
        self.clock.advance(59.0)
        self.report("a", ONE)
        self.assertTrue(self.memory.isLast("a", ONE))
        self.memory.reached("b", TWO)
        self.clock.advance(60.5)
        self.report("a", TWO)
        self.assertFalse(self.memory.isLast("a", TWO))

    def test_untilItSucceeds(self) -> None:
        """Until it reaches the destination itself."""
        self.report("a", ONE)
        self.memory.reached("b", ONE)
        self.memory.reached("a", ONE)
        self.assertFalse(self.memory.isLast("a", ONE))

    def test_rules(self) -> None:
        """One whose rules forbid it as well."""
        self.forbid("a", ONE)
        self.memory.reached("b", ONE)
        self.assertTrue(self.memory.isLast("a", ONE))

    def test_itsOwnSuccessBefore(self) -> None:
        """That it reached the destination itself before does not make it the last."""
        self.memory.reached("a", ONE)
        self.report("a", ONE)
        self.assertFalse(self.memory.isLast("a", ONE))


class FailingTests(MemoryCase):
    """Destinations that failed a moment ago."""

    def test_twoSeconds(self) -> None:
        """For 2 s, and not a moment longer by failing again."""
        self.memory.fail(ONE)
        self.assertFalse(self.memory.isFailing(TWO))
        self.clock.advance(1.9)
        self.memory.fail(ONE)
        self.assertTrue(self.memory.isFailing(ONE))
        self.clock.advance(0.2)
        self.assertFalse(self.memory.isFailing(ONE))
        self.memory.fail(ONE)
        self.assertTrue(self.memory.isFailing(ONE))

    def test_reached(self) -> None:
        """Or until it is reached."""
        self.memory.fail(ONE)
        self.memory.reached("a", ONE)
        self.assertFalse(self.memory.isFailing(ONE))

    def test_reachedLately(self) -> None:
        """Who reached what is known for 60 s."""
        self.memory.reached("a", ONE)
        self.clock.advance(59.9)
        self.assertTrue(self.memory.reachedLately(ONE, ["b", "a"]))
        self.assertFalse(self.memory.reachedLately(ONE, ["b"]))
        self.assertFalse(self.memory.reachedLately(TWO, ["a"]))
        self.clock.advance(0.2)
        self.assertFalse(self.memory.reachedLately(ONE, ["a"]))


class FlightTests(MemoryCase):
    """Destinations whose flights died."""

    def test_twoSessionsRunning(self) -> None:
        """After two sessions running there is no replay for 2 s."""
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.assertTrue(self.memory.mayReplay(ONE))
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.assertFalse(self.memory.mayReplay(ONE))
        self.assertTrue(self.memory.mayReplay(TWO))
        self.clock.advance(1.9)
        self.assertFalse(self.memory.mayReplay(ONE))
        self.clock.advance(0.2)
        self.assertTrue(self.memory.mayReplay(ONE))
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.assertFalse(self.memory.mayReplay(ONE))

    def test_oneSuccess(self) -> None:
        """One success lifts that, and two more have to die."""
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.memory.reached("a", ONE)
        self.assertTrue(self.memory.mayReplay(ONE))
        self.memory.lostFlight(ONE, self.clock.seconds())
        self.assertTrue(self.memory.mayReplay(ONE))


class BoundTests(MemoryCase):
    """Each table holds 10,000 destinations; the oldest go."""

    def test_each(self) -> None:
        """Whatever a crawler asks for, memory does not grow, and what is recent is still known."""
        self.assertEqual(LIMIT, 10_000)
        sites = [Destination("a", port) for port in range(1, LIMIT + 2)]
        self.memory.reached("b", sites[0])
        self.report("a", sites[0])
        self.assertTrue(self.memory.isLast("a", sites[0]))
        for site in sites:
            self.memory.fail(site)
            self.memory.lostFlight(site, self.clock.seconds())
            self.memory.lostFlight(site, self.clock.seconds())
        self.assertEqual([self.memory.isFailing(site) for site in (sites[0], sites[1], sites[-1])], [False, True, True])
        self.assertEqual(
            [self.memory.mayReplay(site) for site in (sites[0], sites[1], sites[-1])], [True, False, False]
        )
        for site in sites[1:]:
            self.report("a", site)
        self.assertFalse(self.memory.isLast("a", sites[0]))
        for site in sites:
            self.memory.reached("b", site)
        self.assertEqual(self.memory.reachedLately(sites[0], ["b"]), False)
        self.assertEqual(self.memory.reachedLately(sites[1], ["b"]), True)
        self.assertEqual(self.memory.isLast("a", sites[1]), True)
