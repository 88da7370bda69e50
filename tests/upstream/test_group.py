"""Groups: in which order a session asks the chains (behaviour, section 4)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.gateway.budget import Budget
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination, Login, Secret
from pipsocks.refusal import Refusal
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.group import Group
from pipsocks.upstream.settings import STRATEGIES, ChainSettings, HopSettings

SITE = Destination("index.example", 443)
SITES = [Destination(f"host{number}.example", 443) for number in range(300)]


class GroupCase(SynchronousTestCase):
    """Groups of chains with short names."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)

    def chain(self, name: str, tier: int = 1, **hop: Any) -> Chain:
        hops = (HopSettings("socks5h", Destination(hop.pop("host", f"{name}.example"), 1080), **hop),)
        return Chain(ChainSettings(hops, name, tier), self.network)

    def group(self, strategy: str, *chains: Chain | str) -> Group:
        made = [self.chain(each) if isinstance(each, str) else each for each in chains]
        self.chains = {chain.name: chain for chain in made}
        retry = RetrySettings()
        return Group("exits", tuple(made), retry, Budget(self.clock.seconds), strategy=strategy)

    def names(self, group: Group, destination: Destination = SITE) -> list[list[str]]:
        return [[chain.name for chain in tier] for tier in group.plan(destination)]

    def first(self, group: Group, destination: Destination = SITE) -> str:
        """Who is asked first: of the live ones, as a search takes them."""
        return next(chain.name for tier in group.plan(destination) for chain in tier if chain.health.live)

    def kill(self, name: str) -> None:
        self.chains[name].health.probed(Refusal("PS-UP31", chain=name))

    def revive(self, name: str) -> None:
        self.chains[name].health.probed(None)

    def pace(self, name: str, *times: float) -> None:
        for time in times:
            self.chains[name].health.pace.add(time)


class EveryTests(GroupCase):
    """What holds for each strategy."""

    def test_everybodyOnce(self) -> None:
        """Whatever the strategy, and whoever is out: each chain stands in the plan once, in its own tier."""
        for strategy in STRATEGIES:
            for dead in ("", "a", "abc", "abcx", "xy"):
                group = self.group(strategy, "a", "b", "c", self.chain("x", 2), self.chain("y", 2))
                for name in dead:
                    self.kill(name)
                for _ in range(4):
                    high, low = self.names(group)
                    self.assertEqual((sorted(high), sorted(low)), (["a", "b", "c"], ["x", "y"]), strategy)

    def test_tiers(self) -> None:
        """A tier is a number, wherever its chains are listed; the lowest comes first."""
        group = self.group("order", self.chain("x", 7), self.chain("a"), self.chain("y", 2), self.chain("b"))
        self.assertEqual(self.names(group), [["a", "b"], ["y"], ["x"]])

    def test_alone(self) -> None:
        """A tier of one chain has one order."""
        for strategy in STRATEGIES:
            self.assertEqual(self.names(self.group(strategy, "a")), [["a"]])


class OrderTests(GroupCase):
    """``order``, the default."""

    def test_asListed(self) -> None:
        """As they are listed, at each session."""
        group = self.group("order", "b", "a", "c")
        for _ in range(3):
            self.assertEqual(self.names(group), [["b", "a", "c"]])


class RoundRobinTests(GroupCase):
    """``round-robin``."""

    def test_turns(self) -> None:
        """Each session begins with the next one, and goes on in the same order."""
        group = self.group("round-robin", "a", "b", "c")
        self.assertEqual([self.names(group)[0] for _ in range(4)], [[*"abc"], [*"bca"], [*"cab"], [*"abc"]])

    def test_liveOnesOnly(self) -> None:
        """A dead one has no turn: the one behind it gets no more than its share."""
        group = self.group("round-robin", "a", "b", "c", "d")
        self.kill("b")
        self.assertEqual(Counter(self.first(group) for _ in range(30)), {"a": 10, "c": 10, "d": 10})
        self.assertEqual(self.names(group)[0][-1], "b")
        self.revive("b")
        self.assertEqual(Counter(self.first(group) for _ in range(40)), dict.fromkeys("abcd", 10))


class LeastTunnelsTests(GroupCase):
    """``least-tunnels``."""

    def test_fewestFirst(self) -> None:
        """The one with the fewest open tunnels comes first; of equals the one that is listed first."""
        group = self.group("least-tunnels", "a", "b", "c")
        self.assertEqual(self.names(group), [["a", "b", "c"]])
        self.chains["a"].health.tunnels = 2
        self.chains["b"].health.tunnels = 1
        self.assertEqual(self.names(group), [["c", "b", "a"]])
        self.chains["c"].health.tunnels = 3
        self.chains["a"].health.tunnels = 0
        self.assertEqual(self.names(group), [["a", "b", "c"]])


class FastestTests(GroupCase):
    """``fastest``."""

    def test_measuredOnce(self) -> None:
        """Those that were never measured go first, one after the other; then the fastest."""
        group = self.group("fastest", "a", "b", "c")
        firsts = []
        for time in (0.3, 0.1, 0.2):
            firsts.append(self.first(group))
            self.pace(firsts[-1], time)
        self.assertEqual(firsts, ["a", "b", "c"])
        self.assertEqual(self.names(group), [["b", "c", "a"]])

    def test_switchesOnlyForMore(self) -> None:
        """Not for 20 %, nor for 30 ms: only when another is better by more than both."""
        for inUse, other, switches in (
            (1.0, 0.79, True),
            (1.0, 0.8, False),
            (1.0, 0.9, False),
            (0.1, 0.071, False),  # 29 % and 29 ms
            (0.1, 0.069, True),  # 31 % and 31 ms
            (0.02, 0.001, False),
            (1.0, 0.96, False),  # 40 ms, but 4 %
        ):
            group = self.group("fastest", "a", "b")
            self.pace("a", inUse)
            self.pace("b", inUse)
            self.assertEqual(self.first(group), "a")
            self.pace("b", other, other)
            self.assertEqual(self.first(group), "b" if switches else "a", f"{inUse} {other}")

    def test_measuringIsNoSwitch(self) -> None:
        """One that is tried out, and is no better than the one in use, does not stay."""
        group = self.group("fastest", "a", "b")
        self.pace(self.first(group), 0.1)
        self.assertEqual(self.first(group), "b")
        self.pace("b", 0.1)
        self.assertEqual(self.first(group), "a")

    def test_death(self) -> None:
        """When the one in use is out the best of the others is, and remains so until another is that much better."""
        group = self.group("fastest", "a", "b", "c")
        for name, time in (("a", 0.1), ("b", 0.12), ("c", 0.13)):
            self.pace(name, time)
        self.assertEqual(self.first(group), "a")
        self.kill("a")
        self.assertEqual(self.first(group), "b")
        self.revive("a")
        self.assertEqual(self.first(group), "b")

    def test_allDead(self) -> None:
        """With all of them out the order is by their times all the same."""
        group = self.group("fastest", "a", "b")
        self.pace("a", 0.2)
        self.pace("b", 0.1)
        self.kill("a")
        self.kill("b")
        self.assertEqual(self.names(group), [["b", "a"]])

    def test_tiersApart(self) -> None:
        """Each tier has its own in use."""
        group = self.group("fastest", "a", "b", self.chain("x", 2), self.chain("y", 2))
        for name, time in (("a", 0.5), ("b", 0.1), ("x", 0.5), ("y", 0.01)):
            self.pace(name, time)
        self.assertEqual(self.names(group), [["b", "a"], ["y", "x"]])


class StickyTests(GroupCase):
    """``sticky``."""

    def test_sameChain(self) -> None:
        """A destination keeps its chain; each chain has its share of destinations, another port is another one."""
        group = self.group("sticky", "a", "b", "c")
        firsts = [self.first(group, site) for site in SITES]
        self.assertEqual(firsts, [self.first(group, site) for site in SITES])
        for count in Counter(firsts).values():
            self.assertTrue(60 < count < 140, firsts)
        ports = {self.first(group, Destination("index.example", port)) for port in range(1, 40)}
        self.assertEqual(ports, {"a", "b", "c"})

    def test_deathAndReturn(self) -> None:
        """When a chain dies only its destinations move, spread over the others; when it is back, they are too."""
        group = self.group("sticky", "a", "b", "c")
        before = {site: self.first(group, site) for site in SITES}
        self.kill("b")
        without = {site: self.first(group, site) for site in SITES}
        moved = {site for site in SITES if before[site] != without[site]}
        self.assertEqual(moved, {site for site in SITES if before[site] == "b"})
        self.assertEqual({without[site] for site in moved}, {"a", "c"})
        self.revive("b")
        self.assertEqual(before, {site: self.first(group, site) for site in SITES})

    def test_anotherProcess(self) -> None:
        """It is the same after a restart, and whatever order they are listed in."""
        before = {site: self.first(self.group("sticky", "a", "b", "c"), site) for site in SITES[:40]}
        self.assertEqual(before, {site: self.first(self.group("sticky", "c", "a", "b"), site) for site in SITES[:40]})

    def test_oneGatewayManyLogins(self) -> None:
        """A gateway that is listed once for each of its sessions is several chains: all are used, each sticks."""
        logins = [Login(f"joe-session-{number}", Secret("hunter2")) for number in range(3)]
        chains = [self.chain("", login=login, host="gateway.example") for login in logins]
        group = self.group("sticky", *chains)
        firsts = [group.plan(site)[0][0] for site in SITES]
        self.assertEqual(firsts, [group.plan(site)[0][0] for site in SITES])
        for count in Counter(chains.index(chain) for chain in firsts).values():
            self.assertTrue(60 < count < 140)
