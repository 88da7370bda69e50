"""
The policy in bad networks, simulated on a fake clock: what users get, and what it costs the upstreams.

The figures are promises of the README's kind, so they are bounds and not what a run happened to give.
"""

from __future__ import annotations

import heapq
import random
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.memory import Memory
from pipsocks.gateway.search import Search
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from tests.gateway.fakes import FakeChain, FakeGroup, Record, health

# What a connect fails with that fails at random: refused, closed and reset before and after it was asked, 01, 503.
WORDS = ("PS-UP02", "PS-UP05", "PS-UP16", "PS-UP14")
SPEAKING = ("PS-UP14", "PS-UP15", "PS-UP16", "PS-UP17", "PS-UP18", "PS-UP19", "PS-UP20", "PS-UP21")


class Session:
    """One tunnel that is searched for."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.dials = 0
        self.took = -1.0
        self.outcome = ""


class World:
    """A group of chains, and sessions that begin at their times. `dial` says what a chain does, and how late."""

    def __init__(self, seed: int, chains: int = 4, **retry: Any) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.memory = Memory(self.clock.seconds)
        self.chains = [FakeChain(name, health=health(name, self.clock)) for name in "abcdefgh"[:chains]]
        self.group = FakeGroup(self.chains, self.clock, RetrySettings(**retry))
        self.sessions: list[Session] = []

    def dial(self, chain: FakeChain, to: Destination) -> tuple[float, str]:
        """Seconds, and a code, or nothing for yes."""
        raise NotImplementedError

    def begin(self, to: Destination) -> None:
        session = Session(self.clock.seconds())
        self.sessions.append(session)
        self.group.budget.earn()

        def reach(chain: FakeChain) -> Deferred[Any]:
            session.dials += 1
            seconds, code = self.dial(chain, to)
            dialling: Deferred[Any] = Deferred(lambda _: call.cancel())

            def end() -> None:
                if code:
                    dialling.errback(Refusal(code, chain=chain.name, hop="hop:1"))
                else:
                    dialling.callback("yes")

            call = self.clock.callLater(seconds, end)
            return dialling

        def ended(outcome: str) -> None:
            session.outcome = outcome
            session.took = self.clock.seconds() - session.began

        def found(way: Any) -> None:
            way.spoke()
            self.clock.callLater(1.0, way.close)
            ended("yes")

        plan = self.group.plan(to)
        search = Search(self.clock, self.group, plan, to, self.memory, Record(), reach).begin()  # type: ignore[arg-type]
        search.addCallbacks(found, lambda failure: ended(failure.value.slug.code))

    def run(self, every: float, destinations: list[Destination]) -> None:
        """A session begins to each of those, so far apart; until all are over."""
        for number, to in enumerate(destinations):
            self.clock.callLater(number * every, self.begin, to)
        with mock.patch.object(random, "uniform", self.random.uniform):
            while calls := self.clock.getDelayedCalls():
                due = heapq.nsmallest(1, (call.getTime() for call in calls))[0]
                self.clock.rightNow = max(due, self.clock.rightNow)
                self.clock.advance(0)

    @property
    def dials(self) -> int:
        return sum(session.dials for session in self.sessions)

    @property
    def share(self) -> float:
        """Of the sessions that got through."""
        return sum(session.outcome == "yes" for session in self.sessions) / len(self.sessions)


class Flaky(World):
    """Each chain fails three connects in ten, by whatever word."""

    def dial(self, chain: FakeChain, to: Destination) -> tuple[float, str]:
        if self.random.random() < 0.3:
            return self.random.uniform(0.01, 0.2), self.random.choice(WORDS)
        return self.random.uniform(0.02, 0.2), ""


class Dead(World):
    """Each chain fails all connects, in one way."""

    seconds = 0.001
    code = "PS-UP02"

    def dial(self, chain: FakeChain, to: Destination) -> tuple[float, str]:
        return self.seconds, self.code


class OneDead(World):
    """All is well, but for one destination, of which every chain says one word."""

    word = ""

    def dial(self, chain: FakeChain, to: Destination) -> tuple[float, str]:
        return (0.05, self.word) if to.host == "dead.example" else (0.05, "")


class OneBad(World):
    """The first of the chains fails everything; the others nothing."""

    word = ""

    def dial(self, chain: FakeChain, to: Destination) -> tuple[float, str]:
        return (0.05, self.word) if chain is self.chains[0] else (0.05, "")


def sites(count: int, hosts: int) -> list[Destination]:
    return [Destination(f"host{number % hosts}.example", 443) for number in range(count)]


class SimulationTests(SynchronousTestCase):
    """What a day of bad luck looks like."""

    def test_flaky(self) -> None:
        """Four chains that fail 30 % of connects: 99.8 % of 1,000 tunnels are made, with 1.5 dials each at most."""
        for seed in range(3):
            world = Flaky(seed)
            world.run(0.02, sites(1000, 5))
            told = f"seed {seed}: {world.share:.2%}, {world.dials} dials"
            self.assertGreaterEqual(world.share, 0.998, told)
            self.assertLessEqual(world.dials, 1500, told)
            self.assertTrue(all(session.took <= 8.0 for session in world.sessions), told)

    def test_flakyAndSeldom(self) -> None:
        """The same where no destination was reached in the last minute, so that vague reports of all are believed."""
        worlds = [Flaky(seed) for seed in range(3)]
        for world in worlds:
            world.run(0.5, sites(1000, 200))
        self.assertGreaterEqual(sum(world.share for world in worlds) / 3, 0.998)
        self.assertLessEqual(sum(world.dials for world in worlds) / 3, 1500)

    def test_allDead(self) -> None:
        """All four dead, 200 requests at 20 a second: 500 dials at most, 8 each, an answer within 8.5 s."""
        for seed, (seconds, code) in enumerate(
            [(0.001, "PS-UP02"), (3.0, "PS-UP03"), (3.0, "PS-UP06"), (0.05, "PS-UP05"), (8.0, "PS-UP22")]
        ):
            world = Dead(seed)
            world.seconds, world.code = seconds, code
            world.run(0.05, sites(200, 20))
            told = f"{code}: {world.dials} dials"
            self.assertEqual(len(world.sessions), 200)
            self.assertLessEqual(world.dials, 500, told)
            self.assertLessEqual(max(session.dials for session in world.sessions), 8, told)
            self.assertLessEqual(max(session.took for session in world.sessions), 8.5, told)
            self.assertEqual(world.share, 0.0)

    def test_oneDeadDestination(self) -> None:
        """A dead destination among many requests ejects nobody, whatever the words for it."""
        for word in SPEAKING:
            world = OneDead(7)
            world.word = word
            requests = sites(600, 6)
            for number in range(0, 600, 3):
                requests[number] = Destination("dead.example", 443)
            world.run(0.05, requests)
            self.assertEqual([chain.health.live for chain in world.chains], [True] * 4, word)
            self.assertEqual({session.outcome for session in world.sessions}, {"yes", word})
            self.assertAlmostEqual(world.share, 2 / 3)

    def test_oneBadChain(self) -> None:
        """A chain that fails everything costs five sessions or so a dial more, and then is left alone."""
        for word in ("PS-UP02", "PS-UP14", "PS-UP16", "PS-UP21"):
            world = OneBad(3)
            world.word = word
            world.run(0.2, sites(600, 100))  # two minutes
            self.assertEqual(world.share, 1.0)
            self.assertLess(world.dials, 630, word)
            self.assertFalse(world.chains[0].health.live)
