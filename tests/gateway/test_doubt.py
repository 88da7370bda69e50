"""Doubt: when a failure is the destination's own, and what the client is told (behaviour, section 5, "Doubt")."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.doubt import Findings, noneWorked
from pipsocks.gateway.memory import Memory
from pipsocks.model import Destination
from pipsocks.refusal import PHRASE_LIMIT, Refusal
from tests.gateway.fakes import FakeChain, health

SITE = Destination("index.example", 443)

PLAIN = ("PS-DE01", "PS-UP21", "PS-DE02", "PS-DE03", "PS-UP20", "PS-UP19", "PS-DE04")
VAGUE = ("PS-UP14", "PS-UP15", "PS-UP16", "PS-UP17", "PS-UP18", "PS-DE05", "PS-DE06", "PS-DE07", "PS-UP30", "PS-UP31")
BY_THE_HOP = ("PS-UP01", "PS-UP02", "PS-UP03", "PS-UP04", "PS-UP05", "PS-UP06", "PS-UP07", "PS-UP08", "PS-UP23")
NO_SAY = ("PS-UP11", "PS-UP12", "PS-UP13")


class DoubtCase(SynchronousTestCase):
    """Chains that say something, on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)

    def findings(self, *tiers: str, direct: str = "") -> Findings:
        """Findings on chains of one letter each."""
        self.chains = {
            name: FakeChain(name, direct=name in direct, health=health(name, self.clock)) for name in "".join(tiers)
        }
        return Findings([[self.chains[name] for name in tier] for tier in tiers], SITE, self.memory)

    def say(self, findings: Findings, name: str, *codes: str) -> None:
        for code in codes:
            findings.add(self.chains[name], Refusal(code, chain=name))

    def reach(self, *names: str) -> None:
        for name in names:
            self.memory.reached(self.chains[name].health, SITE)

    def eject(self, name: str) -> None:
        for _ in range(5):
            self.chains[name].health.begin().blamed(Refusal("PS-UP02", chain=name, hop="h:1"))

    def answer(self, findings: Findings) -> str:
        return findings.answer().slug.code

    def usable(self, findings: Findings) -> str:
        return "".join(name for name, chain in self.chains.items() if findings.isUsable(chain))


class SeveralTests(DoubtCase):
    """With several live chains."""

    def test_allPlainly(self) -> None:
        """Once every live chain has reported it plainly that is the answer, even if some had reached it just now."""
        for code in PLAIN:
            findings = self.findings("ab")
            self.reach("a", "b")
            self.say(findings, "a", code)
            self.assertFalse(findings.settled, code)
            self.say(findings, "b", "PS-UP21")
            self.assertTrue(findings.settled, code)

    def test_vaguely(self) -> None:
        """Vague reports of all are enough where none of them has reached it in the last 60 s."""
        for code in VAGUE:
            findings = self.findings("ab")
            self.say(findings, "a", code)
            self.assertFalse(findings.settled, code)
            self.say(findings, "b", "PS-UP20")
            self.assertTrue(findings.settled, code)

    def test_vaguelyThoughReached(self) -> None:
        """Where one has, they are not: the destination was there a moment ago."""
        findings = self.findings("ab")
        self.reach("b")
        self.clock.advance(59.9)
        self.say(findings, "a", "PS-UP14", "PS-UP14")
        self.say(findings, "b", "PS-UP21", "PS-UP14")
        self.assertFalse(findings.settled)
        self.clock.advance(0.2)
        self.assertTrue(findings.settled)

    def test_reachedByAnEjectedOne(self) -> None:
        """Whether one that is not live reached it is of no matter, nor how it reported."""
        findings = self.findings("abc")
        self.reach("a", "c")
        self.say(findings, "c", "PS-UP14")
        self.eject("c")
        self.say(findings, "a", "PS-UP21")
        self.say(findings, "b", "PS-UP21")
        self.assertTrue(findings.settled)

    def test_whatIsNoReport(self) -> None:
        """A hop that failed itself has not reported the destination."""
        for code in BY_THE_HOP:
            findings = self.findings("ab")
            self.say(findings, "a", "PS-UP21")
            self.say(findings, "b", code)
            self.assertFalse(findings.settled, code)

    def test_whoHasNoSay(self) -> None:
        """Those that refused it by 02, 403, 07 or 08 have no say, and are not asked again."""
        for code in NO_SAY:
            findings = self.findings("ab")
            self.say(findings, "a", code)
            self.assertFalse(findings.settled, code)
            self.assertEqual(self.usable(findings), "b")
            self.say(findings, "b", "PS-UP14")
            self.assertTrue(findings.settled, code)
            self.assertEqual(self.answer(findings), "PS-UP14")

    def test_allHaveNoSay(self) -> None:
        """When each of them says so the search is over, and that is the answer."""
        for code in NO_SAY:
            findings = self.findings("ab")
            self.say(findings, "a", code)
            self.say(findings, "b", code)
            self.assertTrue(findings.settled)
            self.assertEqual(self.answer(findings), code)
            self.assertFalse(findings.reported)

    def test_ejectedOnesAreNotWaitedFor(self) -> None:
        """Every live chain is meant: one that is ejected need not have reported."""
        findings = self.findings("abc")
        self.eject("c")
        self.say(findings, "a", "PS-UP14")
        self.say(findings, "b", "PS-UP14")
        self.assertTrue(findings.settled)

    def test_lowerTiersAreWaitedFor(self) -> None:
        """Live chains of a lower tier must have reported it too."""
        findings = self.findings("a", "b")
        self.say(findings, "a", "PS-UP14")
        self.assertFalse(findings.settled)

    def test_allEjected(self) -> None:
        """Where none is live, those that may be asked count as live."""
        findings = self.findings("ab")
        self.eject("a")
        self.eject("b")
        self.assertEqual(findings.live, list(self.chains.values()))
        self.say(findings, "a", "PS-UP21")
        self.assertFalse(findings.settled)
        self.say(findings, "b", "PS-UP21")
        self.assertTrue(findings.settled)


class OneTests(DoubtCase):
    """With one live chain."""

    def test_threeMore(self) -> None:
        """After three more reports: a rotating gateway fails one time in five."""
        for code in PLAIN + VAGUE:
            findings = self.findings("a")
            self.say(findings, "a", code)
            if code == "PS-DE02":  # our own resolver has said that there is no such name
                self.assertTrue(findings.settled)
                continue
            self.say(findings, "a", code, code)
            self.assertFalse(findings.settled, code)
            self.say(findings, "a", code)
            self.assertTrue(findings.settled, code)
            self.assertEqual(self.answer(findings), code)

    def test_ofWhicheverChain(self) -> None:
        """Of whichever chain: an ejected one's count too, but the live one's must be among them."""
        findings = self.findings("ab")
        self.eject("b")
        self.say(findings, "b", "PS-UP14", "PS-UP14", "PS-UP14", "PS-UP14")
        self.assertFalse(findings.settled)
        self.say(findings, "a", "PS-UP14")
        self.assertTrue(findings.settled)

    def test_anothersResolver(self) -> None:
        """That there is no such name for an ejected chain is not the word of the one that is alone."""
        findings = self.findings("ab")
        self.eject("b")
        self.say(findings, "a", "PS-UP20")
        self.say(findings, "b", "PS-DE02")
        self.assertFalse(findings.settled)

    def test_failuresOfTheHopDoNotCount(self) -> None:
        """What the hop fails at itself is no report."""
        findings = self.findings("a")
        self.say(findings, "a", "PS-UP14", "PS-UP02", "PS-UP06", "PS-UP02", "PS-UP14", "PS-UP14")
        self.assertFalse(findings.settled)

    def test_direct(self) -> None:
        """Where it is direct, one more report; no such name is known at once."""
        for code in ("PS-DE01", "PS-DE03", "PS-DE05"):
            findings = self.findings("d", direct="d")
            self.say(findings, "d", code)
            self.assertFalse(findings.settled, code)
            self.say(findings, "d", code)
            self.assertTrue(findings.settled, code)
        findings = self.findings("d", direct="d")
        self.say(findings, "d", "PS-DE02")
        self.assertTrue(findings.settled)


class ShutTests(DoubtCase):
    """A direct way in a lower tier must not get what the exits refused."""

    def test_shut(self) -> None:
        """Once a chain gave a plain report, 02 or 403, it is out of the search, and of every live chain."""
        for code in (*PLAIN, "PS-UP11"):
            findings = self.findings("ab", "d", direct="d")
            self.assertEqual(self.usable(findings), "abd")
            self.say(findings, "a", code)
            self.assertNotIn("d", self.usable(findings), code)
            self.assertNotIn(self.chains["d"], findings.live)

    def test_notCarried(self) -> None:
        """Datagrams that the exits can't carry don't go around them either."""
        findings = self.findings("a", "d", direct="d")
        self.say(findings, "a", "PS-UP25")
        self.assertEqual(self.usable(findings), "")

    def test_open(self) -> None:
        """After anything else it is not."""
        for code in (*VAGUE, *BY_THE_HOP, "PS-UP10", "PS-UP12", "PS-UP13"):
            findings = self.findings("ab", "d", direct="d")
            self.say(findings, "a", code)
            self.assertIn("d", self.usable(findings), code)

    def test_firstTier(self) -> None:
        """A direct way beside the exits is no fallback: it is asked."""
        findings = self.findings("ad", direct="d")
        self.say(findings, "a", "PS-UP11")
        self.assertEqual(self.usable(findings), "d")

    def test_settles(self) -> None:
        """Its own silence is not waited for then."""
        findings = self.findings("ab", "d", direct="d")
        self.say(findings, "a", "PS-UP21")
        self.say(findings, "b", "PS-UP20")
        self.assertTrue(findings.settled)
        findings = self.findings("a", "d", direct="d")
        self.say(findings, "a", "PS-UP11")
        self.assertTrue(findings.settled)
        self.assertEqual(self.answer(findings), "PS-UP11")


class MemoryTests(DoubtCase):
    """A destination that failed a moment ago."""

    def test_oneReportIsEnough(self) -> None:
        """Of whichever chain."""
        self.memory.fail(SITE)
        findings = self.findings("abc")
        self.say(findings, "a", "PS-UP02")
        self.assertFalse(findings.settled)
        self.say(findings, "b", "PS-UP14")
        self.assertTrue(findings.settled)
        self.assertEqual(self.answer(findings), "PS-UP14")


class AnswerTests(DoubtCase):
    """What the client is told."""

    def test_plainest(self) -> None:
        """The plainest word: refused, no such name, unreachable, timed out, and then what says nothing."""
        for codes, told in (
            (("PS-UP14", "PS-UP21"), "PS-UP21"),
            (("PS-UP20", "PS-UP21"), "PS-UP21"),
            (("PS-UP16", "PS-UP20"), "PS-UP20"),
            (("PS-UP19", "PS-UP20"), "PS-UP20"),
            (("PS-UP14", "PS-UP18"), "PS-UP18"),
            (("PS-UP15", "PS-DE05"), "PS-DE05"),
            (("PS-DE04", "PS-DE02"), "PS-DE02"),
        ):
            for order in (codes, codes[::-1]):
                findings = self.findings("ab")
                for name, code in zip("ab", order, strict=True):
                    self.say(findings, name, code)
                self.assertEqual(self.answer(findings), told, order)

    def test_refusedStaysRefused(self) -> None:
        """One gateway that says refused once, and something vague the other times."""
        findings = self.findings("a")
        self.say(findings, "a", "PS-UP14", "PS-UP21", "PS-UP14", "PS-UP16")
        self.assertTrue(findings.settled)
        self.assertEqual(self.answer(findings), "PS-UP21")

    def test_alike(self) -> None:
        """When all attempts failed alike, that failure."""
        findings = self.findings("ab")
        self.say(findings, "a", "PS-UP02")
        self.say(findings, "b", "PS-UP02")
        self.assertEqual(self.answer(findings), "PS-UP02")

    def test_differently(self) -> None:
        """Otherwise one phrase for all, in the order that they are listed."""
        findings = self.findings("abc")
        for name, code in (("c", "PS-UP10"), ("a", "PS-UP02"), ("b", "PS-UP06")):
            self.say(findings, name, code)
        self.assertIn("none of 3 upstreams worked: a refused, b silent, c login", findings.answer().reason)

    def test_cutByTheDeadline(self) -> None:
        """An attempt cut by the deadline says nothing where the chain has said something before."""
        findings = self.findings("a")
        self.say(findings, "a", "PS-UP06", "PS-UP22")
        self.assertEqual(self.answer(findings), "PS-UP06")
        findings = self.findings("a")
        self.say(findings, "a", "PS-UP22")
        self.assertEqual(self.answer(findings), "PS-UP22")

    def test_notAsked(self) -> None:
        """A chain that is out is told with the reason, whether it was asked or not."""
        findings = self.findings("abc")
        self.eject("a")
        self.chains["b"].health.begin().barred(Refusal("PS-UP10", chain="b"))
        self.say(findings, "c", "PS-UP06")
        self.assertEqual(self.usable(findings), "ac")
        self.assertIn("a refused, b login, c silent", findings.answer().reason)

    def test_allBarred(self) -> None:
        """With every login refused a while ago nobody is asked, and the client hears why."""
        findings = self.findings("ab")
        for name in "ab":
            self.chains[name].health.begin().barred(Refusal("PS-UP10", chain=name, hop="h:1"))
        self.assertTrue(findings.settled)
        self.assertEqual(findings.live, [])
        self.assertEqual(findings.answer().reason[:40], "PS-UP10 upstream a (at h:1) refused our ")

    def test_longNames(self) -> None:
        """Long names are cut so that all of them are told."""
        failures = [(f"upstream-with-a-long-name-{n}.example:1080", Refusal("PS-UP02")) for n in range(4)]
        failures.append(("z", Refusal("PS-UP06")))
        refusal = noneWorked(failures)
        self.assertLessEqual(len(refusal.reason), PHRASE_LIMIT)
        self.assertEqual(refusal.reason.count("refused"), 4)
        self.assertIn("z silent", refusal.reason)
