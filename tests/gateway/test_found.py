"""A way that was found: what becomes of it is told once."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.counts import Counts
from pipsocks.gateway.found import Found
from pipsocks.gateway.memory import Memory
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.health import State
from tests.gateway.fakes import FakeChain, health

SITE = Destination("index.example", 443)


class FoundTests(SynchronousTestCase):
    """From the yes to the end of the session."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)
        self.chain = FakeChain("a", health=health("a", self.clock))

    def find(self) -> Found[str]:
        return Found(self.chain, "far", self.chain.health.begin(), SITE, self.memory)

    def eject(self) -> None:
        """The chain is ejected, and its trial is due."""
        for _ in range(5):
            self.find().blamed(Refusal("PS-UP07"))
        self.assertIs(self.chain.health.state, State.EJECTED)
        self.clock.advance(34.0)

    def test_tunnels(self) -> None:
        """It counts among its chain's tunnels until it is closed, once."""
        found, other = self.find(), self.find()
        self.assertEqual(self.chain.health.tunnels, 2)
        found.close()
        found.close()
        self.assertEqual(self.chain.health.tunnels, 1)
        other.close()
        self.assertEqual(self.chain.health.tunnels, 0)

    def test_spoke(self) -> None:
        """The first byte is the chain's success, and the destination is reached."""
        self.eject()
        found = self.find()
        found.spoke()
        self.assertIs(self.chain.health.state, State.LIVE)
        self.assertTrue(self.memory.reachedLately(SITE, [self.chain.health]))
        found.failed(Refusal("PS-UP30"))
        found.blamed(Refusal("PS-UP07"))
        self.memory.reached("another", SITE)
        self.assertFalse(self.memory.isLast(self.chain.health, SITE))

    def test_yesIsNoSuccess(self) -> None:
        """An exit that says yes and dies has not reached the destination; its trial goes to the next session."""
        self.eject()
        found = self.find()
        self.assertFalse(self.chain.health.live)
        found.failed(Refusal("PS-UP30"))
        found.spoke()
        self.assertFalse(self.memory.reachedLately(SITE, [self.chain.health]))
        self.assertIs(self.chain.health.state, State.EJECTED)
        self.assertTrue(self.chain.health.live)
        self.memory.reached("another", SITE)
        self.assertTrue(self.memory.isLast(self.chain.health, SITE))

    def test_closedUntold(self) -> None:
        """A client that leaves before anything came tells nothing: the trial goes to the next session."""
        self.eject()
        self.find().close()
        self.assertTrue(self.chain.health.live)

    def test_blamed(self) -> None:
        """Nonsense where an answer was due is the chain's own fault."""
        self.eject()
        self.find().blamed(Refusal("PS-UP07"))
        self.assertFalse(self.chain.health.live)


class CountsTests(SynchronousTestCase):
    """What was done so that sessions succeed, in a word."""

    def test_text(self) -> None:
        """Only what happened is told."""
        self.assertEqual(str(Counts()), "")
        self.assertEqual(str(Counts(replays=3)), "replays 3")
        self.assertEqual(str(Counts(replays=3, resumes=1, repeats=2)), "replays 3, resumes 1, repeats 2")
