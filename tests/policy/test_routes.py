"""Which way a request takes."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Choice, Destination, Request
from pipsocks.policy.routes import LOOK_UP_LIMIT, SILENT_LIMIT, SILENT_SECONDS, Routes
from pipsocks.policy.settings import RouteSettings
from pipsocks.refusal import Refusal


@attrs.define
class Resolver:
    """Answers look-ups, and notes them."""

    answers: dict[str, Sequence[str]] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    silent: list[Deferred[Sequence[str]]] = attrs.field(factory=list)

    async def __call__(self, destination: Destination) -> Sequence[str]:
        """The addresses; an error for a name that has none, silence for one that is called so."""
        self.asked.append(destination.host)
        if destination.host.startswith("silent"):
            self.silent.append(Deferred())
            return await self.silent[-1]
        if destination.host not in self.answers:
            raise OSError("no such name")
        return self.answers[destination.host]


def request(host: str, port: int = 443, user: str = "", listener: str = "socks:127.0.0.1:1080") -> Request:
    """A request."""
    return Request(Destination(host, port), "connect", user, listener)


class RoutesCase(SynchronousTestCase):
    """Asks routes."""

    def setUp(self) -> None:
        """A clock and a resolver."""
        self.clock = Clock()
        self.resolver = Resolver()

    def routes(self, *settings: RouteSettings) -> Routes:
        """These routes; those without a label are numbered."""
        labelled = [each if each.label else attrs.evolve(each, label=f"route[{i}]") for i, each in enumerate(settings)]
        return Routes(labelled, self.resolver, self.clock)

    def begin(self, routes: Routes, asked: Request) -> Deferred[Choice]:
        """A choice that may wait."""
        return Deferred.fromCoroutine(routes.choose(asked))

    def choice(self, routes: Routes, asked: Request) -> tuple[str, str]:
        """Where it leads, and why; known at once."""
        choice = self.successResultOf(self.begin(routes, asked))
        return choice.to, choice.because

    def refused(self, routes: Routes, asked: Request) -> Refusal:
        """Why it leads nowhere; said at once, and without a look-up."""
        choice = self.successResultOf(self.begin(routes, asked))
        assert isinstance(choice.refusal, Refusal)
        self.assertEqual(self.resolver.asked, [])
        again = routes.known(asked)
        self.assertEqual(
            (again.to, again.because, str(again.refusal)), (choice.to, choice.because, str(choice.refusal))
        )
        return choice.refusal

    def chosen(self, routes: Routes, asked: Request) -> tuple[str, str]:
        """The same as `choice`, where nothing has to be looked up."""
        found = self.choice(routes, asked)
        self.assertEqual(self.resolver.asked, [])
        self.assertEqual(routes.known(asked), Choice(*found))
        return found


class ConditionTests(RoutesCase):
    """First match wins, over host or network, and port, user, listener."""

    def test_order(self) -> None:
        """The first that matches decides, whatever stands behind it."""
        routes = self.routes(
            RouteSettings("a", hosts=("a.example",)),
            RouteSettings("b", hosts=(".example",)),
            RouteSettings("c"),
            RouteSettings("d", hosts=("d.test",)),
        )
        self.assertEqual(self.chosen(routes, request("a.example")), ("a", "route[0] host a.example"))
        self.assertEqual(self.chosen(routes, request("b.example")), ("b", "route[1] host .example"))
        self.assertEqual(self.chosen(routes, request("d.test")), ("c", "route[2]"))

    def test_hosts(self) -> None:
        """A host, it and all below, what is below alone, every host."""
        for pattern, inside, outside in (
            ("a.example", ["a.example", "A.Example", "a.example."], ["x.a.example", "example"]),
            (".a.example", ["a.example", "x.a.example", "X.A.example."], ["ba.example"]),
            ("*.a.example", ["x.a.example", "y.x.a.example"], ["a.example", "ba.example"]),
            ("*", ["a", "a.example", "192.0.2.1", "2001:db8::1"], []),
        ):
            routes = self.routes(RouteSettings("g", hosts=(pattern,)), RouteSettings("rest"))
            for host in inside:
                self.assertEqual(self.chosen(routes, request(host)), ("g", f"route[0] host {pattern}"))
            for host in outside:
                self.assertEqual(self.chosen(routes, request(host))[0], "rest", host)

    def test_literalsAreNoNames(self) -> None:
        """A pattern of names says nothing of addresses."""
        routes = self.routes(RouteSettings("g", hosts=(".1", "192.0.2.1", ".0.0.1")), RouteSettings("rest"))
        for host in ("127.0.0.1", "192.0.2.1"):
            self.assertEqual(self.chosen(routes, request(host))[0], "rest")

    def test_networks(self) -> None:
        """Literals; IPv4 that hides in IPv6 is that IPv4."""
        routes = self.routes(RouteSettings("g", networks=("10.0.0.0/8", "fd00::/8")), RouteSettings("rest"))
        for host in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1"):
            self.assertEqual(self.chosen(routes, request(host)), ("g", "route[0] network 10.0.0.0/8"), host)
        self.assertEqual(self.chosen(routes, request("fd00::1")), ("g", "route[0] network fd00::/8"))
        for host in ("11.0.0.1", "2001:db8::1", "::ffff:11.0.0.1"):
            self.assertEqual(self.chosen(routes, request(host))[0], "rest", host)
        routes = self.routes(RouteSettings("g", networks=("2002::/16",)), RouteSettings("rest"))
        self.assertEqual(self.chosen(routes, request("2002:a01:203::1"))[0], "rest")

    def test_hostOrNetwork(self) -> None:
        """One of both has to match; both kinds are told."""
        routes = self.routes(
            RouteSettings("g", hosts=(".example", "*"), networks=("10.0.0.0/8",)), RouteSettings("rest")
        )
        self.assertEqual(self.chosen(routes, request("a.example"))[1], "route[0] host .example")
        self.assertEqual(self.chosen(routes, request("10.0.0.1"))[1], "route[0] network 10.0.0.0/8")
        self.assertEqual(self.chosen(routes, request("192.0.2.1"))[1], "route[0] host *")

    def test_ports(self) -> None:
        """The destination's."""
        routes = self.routes(RouteSettings("g", ports=(80, 443)), RouteSettings("rest"))
        self.assertEqual([self.chosen(routes, request("a", port))[0] for port in (80, 443, 81)], ["g", "g", "rest"])
        self.assertEqual(self.chosen(routes, request("a", 80))[1], "route[0]")

    def test_users(self) -> None:
        """Who logged in; nobody is nobody's namesake."""
        routes = self.routes(RouteSettings("g", users=("alice", "bob")), RouteSettings("rest"))
        chosen = [self.chosen(routes, request("a", user=user))[0] for user in ("alice", "bob", "Bob", "")]
        self.assertEqual(chosen, ["g", "g", "rest", "rest"])

    def test_listeners(self) -> None:
        """By the listener's protocol, or by its address."""
        for listeners, inside, outside in (
            (("socks",), ["socks:127.0.0.1:1080", "socks:[::1]:1", "socks"], ["http:127.0.0.1:1080", "http", ""]),
            (("127.0.0.1:1080",), ["socks:127.0.0.1:1080", "http:127.0.0.1:1080"], ["socks:127.0.0.1:10801", "socks"]),
            (("[::1]:1080", "http"), ["socks:[::1]:1080", "http:192.0.2.1:1"], ["socks:[::1]:1081"]),
        ):
            routes = self.routes(RouteSettings("g", listeners=listeners), RouteSettings("rest"))
            for name in inside:
                self.assertEqual(self.chosen(routes, request("a", listener=name)), ("g", "route[0]"), name)
            for name in outside:
                self.assertEqual(self.chosen(routes, request("a", listener=name))[0], "rest", name)

    def test_allOfThem(self) -> None:
        """Every condition has to hold."""
        routes = self.routes(
            RouteSettings("g", hosts=("a",), ports=(443,), users=("bob",), listeners=("socks",)), RouteSettings("rest")
        )
        right = request("a", 443, "bob")
        self.assertEqual(self.chosen(routes, right)[0], "g")
        for wrong in (
            attrs.evolve(right, destination=Destination("b", 443)),
            attrs.evolve(right, destination=Destination("a", 80)),
            attrs.evolve(right, user=""),
            attrs.evolve(right, listener="http:127.0.0.1:3128"),
        ):
            self.assertEqual(self.chosen(routes, wrong)[0], "rest")

    def test_because(self) -> None:
        """Routes that are no table of the file have names that say what they are."""
        routes = self.routes(
            RouteSettings("direct", "no_proxy", hosts=("localhost",), networks=("10.0.0.0/8",)),
            RouteSettings("default", "upstream"),
        )
        self.assertEqual(self.chosen(routes, request("localhost")), ("direct", "no_proxy localhost"))
        self.assertEqual(self.chosen(routes, request("10.0.0.1")), ("direct", "no_proxy 10.0.0.0/8"))
        self.assertEqual(self.chosen(routes, request("192.0.2.1")), ("default", "upstream"))
        routes = self.routes(RouteSettings("direct", "no_proxy", hosts=("*",)))
        self.assertEqual(self.chosen(routes, request("a.example")), ("direct", "no_proxy *"))


class RefusalTests(RoutesCase):
    """No way."""

    def test_deny(self) -> None:
        """A route may lead nowhere."""
        routes = self.routes(RouteSettings("g", ports=(443,)), RouteSettings("deny", hosts=(".example",)))
        refusal = self.refused(routes, request("a.example", 80))
        self.assertEqual(refusal.reason, "PS-RU01 route[1] denies a.example:80; run: pipsocks explain PS-RU01")
        self.assertEqual((refusal.slug.status, refusal.slug.reply), (403, 2))
        self.assertEqual(self.choice(routes, request("a.example", 80)), ("deny", "route[1] host .example"))

    def test_noRoute(self) -> None:
        """What no route is about is refused, and never goes straight."""
        for routes in (self.routes(RouteSettings("g", ports=(443,))), self.routes()):
            refusal = self.refused(routes, request("a.example", 80))
            self.assertEqual(refusal.reason, "PS-RU03 no route leads to a.example:80; run: pipsocks explain PS-RU03")
            self.assertEqual(
                (refusal.slug.status, refusal.slug.reply, refusal.slug.error), (403, 2, "http_request_denied")
            )
            self.assertEqual(refusal.token, "no_route")

    def test_denyAsWritten(self) -> None:
        """What is denied is denied as it is written, too, as rules have it; and names are not looked up for it."""
        routes = self.routes(RouteSettings("deny", networks=("2002::/16", "10.0.0.0/8")), RouteSettings("rest"))
        for host in ("2002:a01:203::1", "2002:808:808::1", "10.0.0.1", "::ffff:10.0.0.1"):
            self.assertEqual(self.refused(routes, request(host)).detail, "route[0]", host)
        self.assertEqual(self.chosen(routes, request("inside.example"))[0], "rest")


class LookUpTests(RoutesCase):
    """Names in the networks of direct routes."""

    def setUp(self) -> None:
        """Names inside and outside of a network."""
        super().setUp()
        self.resolver.answers = {
            "inside.example": ["10.0.0.1", "10.9.9.9", "fd00::1"], "disguised.example": ["::ffff:10.0.0.1"],
            "both.example": ["10.0.0.1", "192.0.2.1"], "outside.example": ["192.0.2.1"], "empty.example": [],
            "zone.example": ["fd00::1%eth0"],
        }  # fmt: skip
        self.split = self.routes(
            RouteSettings("a", hosts=(".a.example",)),
            RouteSettings("direct", networks=("10.0.0.0/8", "fd00::/8")),
            RouteSettings("rest"),
        )

    def test_allAddresses(self) -> None:
        """A name goes straight when all of its addresses are in the networks, and not when it has none."""
        for host in ("inside.example", "disguised.example"):
            self.assertEqual(self.choice(self.split, request(host)), ("direct", "route[1] network 10.0.0.0/8"))
        self.assertEqual(self.choice(self.split, request("zone.example"))[0], "direct")
        for host in ("both.example", "outside.example", "empty.example", "unknown.example"):
            self.assertEqual(self.choice(self.split, request(host)), ("rest", "route[2]"), host)

    def test_holdsAt(self) -> None:
        """It goes nowhere else then, should its addresses change; where they are no matter nothing is said."""
        choice = self.successResultOf(self.begin(self.split, request("inside.example")))
        holdsAt = choice.holdsAt
        assert holdsAt is not None
        self.assertEqual([holdsAt(each) for each in ("10.1.1.1", "fd00::9", "192.0.2.1")], [True, True, False])
        for host in ("x.a.example", "10.0.0.1", "outside.example"):
            self.assertIsNone(self.successResultOf(self.begin(self.split, request(host))).holdsAt, host)

    def test_notBefore(self) -> None:
        """Nothing is looked up for what a route before it decides, nor a literal, nor for groups."""
        self.assertEqual(self.chosen(self.split, request("x.a.example"))[0], "a")
        self.assertEqual(self.chosen(self.split, request("10.0.0.1"))[0], "direct")
        group = self.routes(RouteSettings("g", networks=("10.0.0.0/8",)), RouteSettings("rest"))
        self.assertEqual(self.chosen(group, request("inside.example"))[0], "rest")

    def test_otherConditionsFirst(self) -> None:
        """Nor for a route that port, user or listener rule out, or whose host matches."""
        routes = self.routes(
            RouteSettings("direct", networks=("10.0.0.0/8",), ports=(80,)),
            RouteSettings("direct", networks=("10.0.0.0/8",), users=("bob",)),
            RouteSettings("direct", networks=("10.0.0.0/8",), listeners=("http",)),
            RouteSettings("direct", hosts=("inside.example",), networks=("10.0.0.0/8",)),
        )
        self.assertEqual(self.chosen(routes, request("inside.example")), ("direct", "route[3] host inside.example"))

    def test_once(self) -> None:
        """One look-up serves all routes of a choice."""
        routes = self.routes(
            RouteSettings("direct", networks=("127.0.0.0/8",)),
            RouteSettings("direct", networks=("fd00::/8",)),
            RouteSettings("direct", networks=("192.0.2.0/24",)),
        )
        self.assertEqual(self.choice(routes, request("outside.example"))[1], "route[2] network 192.0.2.0/24")
        self.assertEqual(self.resolver.asked, ["outside.example"])
        self.resolver.asked.clear()
        self.assertEqual(self.choice(routes, request("unknown.example")), ("", ""))
        self.assertEqual(self.resolver.asked, ["unknown.example"])

    def test_silence(self) -> None:
        """A name without an answer in time is in no network; its look-up is given up."""
        waiting = self.begin(self.split, request("silent.example"))
        self.clock.advance(LOOK_UP_LIMIT - 0.01)
        self.assertNoResult(waiting)
        self.clock.advance(0.01)
        self.assertEqual(self.successResultOf(waiting).to, "rest")
        self.assertTrue(self.resolver.silent[0].called, "it is cancelled")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silenceIsRemembered(self) -> None:
        """The next connection does not wait for the same name as well, for some seconds."""
        first = self.begin(self.split, request("silent.example"))
        self.clock.advance(LOOK_UP_LIMIT)
        self.successResultOf(first)
        self.assertEqual(self.choice(self.split, request("silent.example"))[0], "rest")
        self.assertEqual(len(self.resolver.asked), 1)
        self.clock.advance(SILENT_SECONDS)
        again = self.begin(self.split, request("silent.example"))
        self.assertNoResult(again)
        self.resolver.silent[-1].callback(["10.0.0.1"])
        self.assertEqual(self.successResultOf(again).to, "direct")

    def test_silentNamesAreBounded(self) -> None:
        """Many of them cost no more than a table of a certain size."""
        waiting = [self.begin(self.split, request(f"silent{i}.example")) for i in range(SILENT_LIMIT + 1)]
        self.clock.advance(LOOK_UP_LIMIT)
        for each in waiting:
            self.assertEqual(self.successResultOf(each).to, "rest")
        self.assertEqual(self.choice(self.split, request(f"silent{SILENT_LIMIT}.example"))[0], "rest")
        self.assertNoResult(self.begin(self.split, request("silent0.example")))

    def test_late(self) -> None:
        """An answer that comes in time counts."""
        waiting = self.begin(self.split, request("silent.example"))
        self.clock.advance(LOOK_UP_LIMIT / 2)
        self.resolver.silent[0].callback(["10.0.0.1"])
        self.assertEqual(self.successResultOf(waiting).to, "direct")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelled(self) -> None:
        """A client that leaves takes its look-up with it."""
        waiting = self.begin(self.split, request("silent.example"))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertTrue(self.resolver.silent[0].called)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNoResult(self.begin(self.split, request("silent.example")))

    def test_resolverRaises(self) -> None:
        """A resolver that fails at once, or answers with a Deferred, is one like any other."""
        route = RouteSettings("direct", "route[0]", networks=("10.0.0.0/8",))

        def failing(destination: Destination) -> Deferred[Sequence[str]]:
            raise ValueError(destination.host)

        for resolve, to in ((failing, "rest"), (lambda destination: succeed(["10.0.0.1"]), "direct")):
            routes = Routes([route, RouteSettings("rest", "route[1]")], resolve, self.clock)
            self.assertEqual(self.choice(routes, request("a.example"))[0], to)

    def test_known(self) -> None:
        """Without a look-up no name is in any network."""
        self.assertEqual(self.split.known(request("inside.example")), Choice("rest", "route[2]"))
        self.assertEqual(self.split.known(request("10.0.0.1")), Choice("direct", "route[1] network 10.0.0.0/8"))
        self.assertEqual(self.resolver.asked, [])


class AnywhereTests(RoutesCase):
    """The way of a destination that matches nothing, which an association takes."""

    def test_everywhere(self) -> None:
        """Routes with hosts, networks or ports are passed over, whatever the request names."""
        routes = self.routes(
            RouteSettings("a", hosts=("a.example",)),
            RouteSettings("b", networks=("0.0.0.0/0", "::/0")),
            RouteSettings("c", ports=(443,)),
            RouteSettings("d", users=("bob",)),
            RouteSettings("e", listeners=("http",)),
            RouteSettings("f"),
        )
        for host, user, listener, to in (
            ("a.example", "", "socks", "f"), ("10.0.0.1", "", "socks", "f"), ("a.example", "bob", "socks", "d"),
            ("a.example", "", "http:127.0.0.1:3128", "e"),
        ):  # fmt: skip
            self.assertEqual(routes.known(request(host, 443, user, listener), anywhere=True).to, to)

    def test_star(self) -> None:
        """Every host is everywhere."""
        routes = self.routes(RouteSettings("direct", "no_proxy", hosts=("*", "a")), RouteSettings("g"))
        self.assertEqual(routes.known(request("0.0.0.0", 0), anywhere=True), Choice("direct", "no_proxy *"))

    def test_refused(self) -> None:
        """The client's own address, which is what an association names, is no part of the answer."""
        for to, code, phrase in (
            ("deny", "PS-RU01", "route[1] denies the destination"),
            ("g", "PS-RU03", "no route leads to the destination"),
        ):  # fmt: skip
            last = RouteSettings(to) if to == "deny" else RouteSettings(to, ports=(1,))
            routes = self.routes(RouteSettings("g", hosts=("a",)), last)
            refusal = routes.known(request("0.0.0.0", 0), anywhere=True).refusal
            assert isinstance(refusal, Refusal)
            self.assertEqual((refusal.slug.code, refusal.cause), (code, phrase))


HOSTS = st.sampled_from(["a.example", "x.a.example", "b.test", "10.0.0.1", "fd00::1", "192.0.2.1"])
CONDITIONS = st.builds(
    RouteSettings,
    st.sampled_from(["a", "b", "direct", "deny"]),
    st.sampled_from(["route[0]", "no_proxy"]),
    st.lists(st.sampled_from(["a.example", ".a.example", "*.a.example", "*"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(["10.0.0.0/8", "fd00::/8", "0.0.0.0/0"]), max_size=2).map(tuple),
    st.lists(st.sampled_from([80, 443]), max_size=1).map(tuple),
    st.lists(st.sampled_from(["bob"]), max_size=1).map(tuple),
    st.lists(st.sampled_from(["socks", "127.0.0.1:3128"]), max_size=1).map(tuple),
)


class PropertyTests(RoutesCase):
    """What holds for all routes."""

    @given(st.lists(CONDITIONS, max_size=5), HOSTS, st.sampled_from([80, 443]), st.sampled_from(["", "bob"]))
    def test_firstOfThoseThatMatchAlone(self, settings: list[RouteSettings], host: str, port: int, user: str) -> None:
        """All routes together say what the first one says that has an answer when it stands alone."""
        asked = request(host, port, user)

        def outcome(routes: Routes) -> str:
            return routes.known(asked).to

        alone = [outcome(Routes([each], self.resolver, self.clock)) for each in settings]
        expected = next(filter(None, alone), "")
        self.assertEqual(outcome(Routes(settings, self.resolver, self.clock)), expected)
