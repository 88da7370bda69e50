"""From settings to groups: what they share, and what each has of its own."""

from __future__ import annotations

import errno
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.memory import Memory
from pipsocks.gateway.search import Search
from pipsocks.gateway.settings import RetrySettings
from pipsocks.groups import makeGroups, makeProbes
from pipsocks.model import Destination, Login, Secret, StartError
from pipsocks.policy.settings import RouteSettings
from pipsocks.refusal import Refusal
from pipsocks.settings import GroupSettings, Settings
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.settings import ChainSettings, HopSettings, TLSSettings
from tests.gateway.fakes import Record
from tests.loopback import TalkFactory

SITE = Destination("index.example", 443)


def hop(host: str, user: str = "", **more: Any) -> HopSettings:
    login = Login(user, Secret("hunter2")) if user else None
    return HopSettings("socks5h", Destination(host, 1080), login, **more)


def chain(host: str, *behind: str, user: str = "", name: str = "") -> ChainSettings:
    return ChainSettings((hop(host, user), *map(hop, behind)), name)


class GroupsTests(SynchronousTestCase):
    """What the service is given."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.network = Network(self.reactor)

    def make(self, *groups: GroupSettings, routes: tuple[RouteSettings, ...] = (), **settings: Any) -> dict[str, Any]:
        return makeGroups(Settings((), groups, routes, **settings), self.network)

    def test_sharedHealth(self) -> None:
        """Chains of the same hops share their health, whatever they are called and whatever group they are in."""
        groups = self.make(
            GroupSettings("exits", (chain("192.0.2.1"), chain("192.0.2.2"))),
            GroupSettings("others", (chain("192.0.2.2", name="second"), chain("192.0.2.2", "c.example"))),
            GroupSettings("straight", (ChainSettings(),)),
            routes=(RouteSettings(to="direct"),),
        )
        first, second = (each.health for each in groups["exits"].chains)
        same, longer = (each.health for each in groups["others"].chains)
        self.assertIs(second, same)
        self.assertEqual(len({first, second, longer}), 3)
        self.assertIs(groups["straight"].chains[0].health, groups["direct"].chains[0].health)
        for _ in range(5):
            first.begin().blamed(Refusal("PS-UP02"))
            same.begin().blamed(Refusal("PS-UP02"))
        self.assertEqual([each.health.live for each in groups["exits"].chains], [False, False])
        self.assertEqual([each.health.live for each in groups["others"].chains], [False, True])

    def test_anotherLogin(self) -> None:
        """The same gateway with another login is another chain."""
        groups = self.make(GroupSettings("exits", (chain("192.0.2.1", user="ann"), chain("192.0.2.1", user="bob"))))
        ann, bob = groups["exits"].chains
        self.assertIsNot(ann.health, bob.health)
        self.assertEqual([each.settings.hops[0].login.user for each in (ann, bob)], ["ann", "bob"])

    def test_asTheyAreWritten(self) -> None:
        """A group has its strategy, its hedging, its limits, and its chains as they are listed."""
        retry = RetrySettings(total=5.0, attempts=3, budget=0.0)
        chains = (chain("192.0.2.2"), chain("192.0.2.1"))
        groups = self.make(GroupSettings("exits", chains, "sticky", True, retry=retry), GroupSettings("b", chains))
        exits = groups["exits"]
        self.assertEqual((exits.name, exits.strategy, exits.hedge, exits.retry), ("exits", "sticky", True, retry))
        self.assertEqual([each.name for each in exits.chains], ["192.0.2.2:1080", "192.0.2.1:1080"])
        self.assertEqual((groups["b"].strategy, groups["b"].hedge), ("order", False))
        self.assertFalse(exits.budget.spend())
        self.assertTrue(groups["b"].budget.spend())

    def test_limitsReachTheDials(self) -> None:
        """A connect takes as long as its own group's limits say, a handshake too, though health is shared."""
        chains = (chain("192.0.2.1"),)
        groups = self.make(
            GroupSettings("quick", chains, retry=RetrySettings(connect=0.5, handshake=0.25)),
            GroupSettings("slow", chains, retry=RetrySettings(connect=7.0, handshake=9.0)),
        )
        for name, connect, handshake in (("quick", 0.5, 0.25), ("slow", 7.0, 9.0)):
            connecting: Deferred[Any] = groups[name].chains[0].connect(SITE).connect(TalkFactory())
            *_, timeout, _ = self.reactor.tcpClients.pop()
            self.assertEqual(timeout, connect)
            self.assertEqual(groups[name].chains[0].network.retry.handshake, handshake)
            connecting.cancel()
            connecting.addErrback(lambda _: None)

    def test_namesAndConnectionsAreShared(self) -> None:
        """What is looked up, and ssh connections, serve all groups."""
        groups = self.make(GroupSettings("a", (chain("192.0.2.1"),)), GroupSettings("b", (chain("192.0.2.2"),)))
        for group in groups.values():
            self.assertIs(group.chains[0].network.names, self.network.names)
            self.assertIs(group.chains[0].network.shared, self.network.shared)

    def test_directWhereARouteNamesIt(self) -> None:
        """Nobody needs to write it, and where no route leads there it is not."""
        exits = GroupSettings("exits", (chain("192.0.2.1"),))
        self.assertEqual(set(self.make(exits, routes=(RouteSettings(to="exits"),))), {"exits"})
        retry = RetrySettings(total=2.0)
        routes = (RouteSettings(to="exits"), RouteSettings(to="direct"))
        groups = self.make(exits, routes=routes, retry=retry)
        self.assertEqual(list(groups), ["exits", "direct"])
        self.assertEqual(groups["direct"].retry, retry)
        self.assertEqual([each.direct for each in groups["direct"].chains], [True])

    def test_failClosed(self) -> None:
        """Everything dead means a refusal: only the group's own hops are dialled, never the destination."""
        groups = self.make(
            GroupSettings("exits", (chain("192.0.2.1"), chain("192.0.2.2"))), routes=(RouteSettings(to="direct"),)
        )
        group = groups["exits"]
        judge: Any = None

        def reach(each: Any) -> Deferred[Any]:
            connecting: Deferred[Any] = each.connect(SITE, judge).connect(TalkFactory())
            return connecting

        memory = Memory(self.reactor.seconds)
        searching = Search(self.reactor, group, group.plan(SITE), SITE, memory, Record(), reach).begin()
        dialled = []
        for _ in range(200):
            while self.reactor.tcpClients:
                host, port, factory, *_ = self.reactor.tcpClients.pop()
                dialled.append(host)
                factory.clientConnectionFailed(
                    self.reactor.connectors[-1], Failure(ConnectionRefusedError(errno.ECONNREFUSED))
                )
            self.reactor.advance(0.05)
        self.assertEqual(self.failureResultOf(searching, Refusal).value.slug.code, "PS-UP02")
        self.assertEqual(set(dialled), {"192.0.2.1", "192.0.2.2"})
        self.assertEqual(len(dialled), 8)

    def test_missingFile(self) -> None:
        """A hop's certificate file that is not there is told, with the chain, and without its login."""
        broken = HopSettings(
            "https", Destination("h.example", 443), Login("ann", Secret("x")), TLSSettings(ca="/no/such")
        )
        for name, called in (("office", "office"), ("", "h.example:443")):
            with self.assertRaises(StartError) as caught:
                self.make(GroupSettings("exits", (ChainSettings((broken,), name),)))
            (problem,) = caught.exception.problems
            self.assertIn(f"upstream {called}: ", problem.what)
            self.assertIn("/no/such", problem.what)
            self.assertTrue(problem.hint)

    def test_missingExtra(self) -> None:
        """An ssh hop without the extra that it needs is told with how to install it."""
        group = GroupSettings("exits", (ChainSettings((HopSettings("ssh", Destination("h.example", 22)),)),))
        with (
            mock.patch("pipsocks.upstream.chain.makeHop", side_effect=ImportError("No module named 'bcrypt'")),
            self.assertRaises(StartError) as caught,
        ):
            self.make(group)
        (problem,) = caught.exception.problems
        self.assertIn("upstream h.example:22: No module", problem.what)
        self.assertIn("pipsocks[ssh]", problem.hint)


class ProbesTests(SynchronousTestCase):
    """Who tries chains out."""

    def make(self, *groups: GroupSettings) -> list[Any]:
        settings, clock = Settings((), groups), Clock()
        return makeProbes(settings, makeGroups(settings, Network(clock)), clock)

    def test_onlyWhereThereIsATarget(self) -> None:
        """Groups without one are left alone."""
        without = GroupSettings("a", (chain("192.0.2.1"),))
        having = GroupSettings("b", (chain("192.0.2.2"), chain("192.0.2.3")), probe=SITE)
        (probes,) = self.make(without, having)
        self.assertEqual((probes.group, probes.target), ("b", SITE))
        self.assertEqual([each.name for each in probes.chains], ["192.0.2.2:1080", "192.0.2.3:1080"])
        self.assertIsInstance(probes.chains[0], Chain)

    def test_nameWithoutCertificate(self) -> None:
        """A target whose certificate could never be verified stops the start, with the group's key."""
        with self.assertRaises(StartError) as caught:
            self.make(GroupSettings("b", (chain("192.0.2.2"),), probe=Destination("foo_bar.example", 443)))
        (problem,) = caught.exception.problems
        self.assertEqual(problem.where, "groups.b.probe")
        self.assertIn("foo_bar.example", problem.what)
