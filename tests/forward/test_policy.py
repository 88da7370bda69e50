"""Forwarded requests by the retry policy: what health hears, idle connections, times, budget, tiers."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from tests.forward.case import GET, OK, Way
from tests.forward.test_again import DELETE, POST, HopCase, answer
from tests.front.proxy import tick
from tests.gateway.fakes import health
from tests.loopback import Talk

THERE = Destination("index.example", 80)


class PolicyCase(HopCase):
    """Two HTTP hops, ``one`` and ``two``, whose health goes by the test's clock."""

    async def begin(self) -> None:
        await super().begin()
        for way in self.ways:
            way.health = health(way.name, self.clock)

    async def hops(self, *names: str) -> list[Way]:
        """Further ones."""
        return [await self.addWay(name, health=health(name, self.clock)) for name in names]

    async def goes(self, client: Talk, way: Way, request: bytes = GET) -> Talk:
        """See a request arrive at `way`, and answer it."""
        hop, _ = await self.asked(client, request, way)
        hop.write(OK)
        await self.expect(client, 200, b"ok")
        return hop

    def reached(self, way: Way) -> bool:
        """Whether the destination is known to have been reached over `way`."""
        return self.gateway.memory.reachedLately(THERE, [way.health])

    def eject(self, way: Way) -> None:
        """Let `way` be ejected."""
        for _ in range(5):
            way.health.begin().blamed(Refusal("PS-UP02", chain=way.name))
        self.assertFalse(way.health.live)


class HealthTests(PolicyCase):
    """What becomes of a request is told to its chain's health."""

    async def test_success(self) -> None:
        """The first head from beyond the hop is success: failures before it don't count any more."""
        client = await self.open()
        for _ in range(3):
            for _ in range(4):
                self.one.health.begin().blamed(Refusal("PS-UP02", chain="one"))
            await self.goes(client, self.one, GET)
            self.one.factory.talks[-1].transport.loseConnection()
            await tick(0.01)
        self.assertTrue(self.one.health.live)
        self.assertTrue(self.reached(self.one))

    async def test_hopsOwn(self) -> None:
        """A hop's 403, 502, 503 or 504 is neither success nor a report."""
        self.ways[:] = [self.one]
        for status in (403, 502, 503, 504):
            client = await self.open()
            hop, _ = await self.asked(client, GET, self.one)
            hop.write(answer(status))
            await self.expect(client, status)
            self.assertFalse(self.reached(self.one), status)
        self.gateway.memory.reached(object(), THERE)
        self.assertFalse(self.gateway.memory.isLast(self.one.health, THERE))

    async def test_closed(self) -> None:
        """A hop that was asked and closed is asked last for that destination, once another has reached it."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.transport.abortConnection()
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        await self.goes(await self.another(), self.two)
        await self.goes(await self.another(), self.one, GET.replace(b"index", b"other"))
        self.clock.advance(61)
        await self.goes(await self.another(), self.one)

    async def test_overtaken(self) -> None:
        """So is one that was silent until another had answered."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        self.clock.advance(4)
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        await hop.gone()
        await self.goes(await self.another(), self.two)

    async def test_login(self) -> None:
        """A hop that refuses our login is out for five minutes."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(407))
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        self.clock.advance(299)
        await self.goes(await self.another(), self.two)
        self.clock.advance(2)
        self.eject(self.two)
        await self.goes(await self.another(), self.one)

    async def test_probeUnanswered(self) -> None:
        """A hop that does not answer to its name either is to blame: the fifth time it is ejected."""
        for _ in range(5):
            self.assertTrue(self.one.health.live)
            client = await self.open()
            await self.asked(client, POST, self.one)
            await self.pass_(8.5)
            self.assertIn(b"PS-UP15", await self.expect(client, 504))
        await self.goes(await self.another(), self.two, POST)


class IdleTests(PolicyCase):
    """The connections that a client's earlier requests left."""

    async def test_ejected(self) -> None:
        """That of an ejected chain is not used."""
        client = await self.open()
        await self.goes(client, self.one)
        self.eject(self.one)
        await self.goes(client, self.two)

    async def test_last(self) -> None:
        """Nor that of a chain that is asked last for the destination."""
        client = await self.open()
        await self.goes(client, self.one)
        self.gateway.memory.reached(self.two.health, THERE)
        tried = self.one.health.begin()
        self.gateway.memory.reported(self.one.health, THERE, tried, Refusal("PS-UP16", chain="one"))
        await self.goes(client, self.two)

    async def test_lowerTier(self) -> None:
        """Nor that over a lower tier while one of a tier above is live: least of all a direct one."""
        self.way.tier, self.way.health = 2, health("direct", self.clock)
        self.ways[:] = [self.one, self.way]
        client = await self.open()
        self.one.code = "PS-UP02"
        await self.goes(client, self.way)
        self.one.code = ""
        await self.goes(client, self.one)
        client = await self.open()
        self.eject(self.one)
        await self.goes(client, self.way)
        before = len(self.way.asked)
        client.write(GET)
        origin = self.way.factory.talks[-1]
        await origin.readUntil(b"\r\n\r\n")
        origin.write(OK)
        await self.expect(client, 200, b"ok")
        self.assertEqual(len(self.way.asked), before)


class RepeatTests(PolicyCase):
    """When a request is sent again."""

    async def test_doubtful(self) -> None:
        """A GET that some frameworks take for another method, or that announces something, is sent once."""
        for field in (b"X-HTTP-Method-Override: DELETE", b"X_Method_Override: PUT", b"Expect: 100-continue"):
            client = await self.open()
            hop, _ = await self.asked(client, GET[:-2] + field + b"\r\n\r\n", self.one)
            hop.transport.abortConnection()
            await self.expect(client, 502)
        self.assertEqual(self.two.asked, [])

    async def test_noContent(self) -> None:
        """A GET that says that it has no content has none."""
        client = await self.open()
        hop, _ = await self.asked(client, GET[:-2] + b"Content-Length: 0\r\n\r\n", self.one)
        hop.transport.abortConnection()
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        self.assertEqual(self.gateway.counts.repeats, 1)

    async def test_budget(self) -> None:
        """Each further sending is paid for; when nothing is left, the first failure is told."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        while self.group.budget.spend():
            pass
        hop.transport.abortConnection()
        self.assertIn(b"PS-UP16 upstream one", await self.expect(client, 502))
        self.assertEqual(self.two.asked, [])

    async def test_late(self) -> None:
        """No other way is begun later than 10 s after the client's request, however late the first was found."""
        for found, again in ((5.5, True), (6.5, False)):
            self.ways[:] = [await self.addWay("socks", hop=False), self.two]  # nobody is probed
            one, two = self.ways
            one.health, two.health = health("one", self.clock), health("two", self.clock)
            one.pending, two.code = Deferred(), "PS-UP02"
            two.asked.clear()
            client = await self.open()
            client.write(GET)
            while not one.asked:
                await tick()
            await self.pass_(found)
            self.assertEqual(len(two.asked), 1)
            two.code = ""
            one.pending.callback(None)
            hop = await self.arrived(one)
            one.pending = None
            await self.pass_(4)
            self.assertEqual(len(two.asked), 1 + again)
            hop.write(OK)
            await self.expect(client, 200, b"ok")

    async def test_reported(self) -> None:
        """What an upstream has plainly reported is not asked for directly from a lower tier."""
        await self.tiers()
        self.two.code = "PS-UP20"
        self.ways[:2] = [self.two, self.one]
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.transport.abortConnection()
        await self.pass_(4)
        self.assertIn(b"two bad gateway, one closed", await self.expect(client, 503))
        self.assertEqual(self.way.asked, [])

    async def test_forbidden(self) -> None:
        """Nor what one forbids by its 403, were it while another way is being searched for."""
        await self.tiers()
        self.two.pending = Deferred()
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        await self.pass_(4)
        self.assertEqual(len(self.two.asked), 1)
        hop.write(answer(403))
        await tick(0.02)
        self.two.code = "PS-UP02"
        self.two.pending.errback(Refusal("PS-UP02", chain="two"))
        await self.pass_(3)
        await self.expect(client, 403)
        self.assertEqual(self.way.asked, [])

    async def test_forbiddenAndClosed(self) -> None:
        """The same when the other, which does not count, closes."""
        await self.tiers()
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        await self.pass_(4)
        other = await self.arrived(self.two)
        hop.write(answer(403))
        await tick(0.02)
        other.transport.abortConnection()
        await self.expect(client, 403)
        self.assertEqual(self.way.asked, [])

    async def test_tiers(self) -> None:
        """Where nothing is left of the first tier, the next has its turn."""
        await self.tiers()
        client = await self.open()
        for way in (self.one, self.two):
            hop, _ = await self.asked(client, GET if way is self.one else b"", way)
            hop.transport.abortConnection()
        origin = await self.way.factory.accepted()
        self.assertTrue((await origin.readUntil(b"\r\n\r\n")).startswith(b"GET /simple/ "))
        origin.write(OK)
        await self.expect(client, 200, b"ok")

    async def test_tierBeside(self) -> None:
        """A lower tier is asked beside a silent upstream too, when that was the last of its own."""
        await self.tiers()
        self.ways.remove(self.two)
        client = await self.open()
        await self.asked(client, GET, self.one)
        self.clock.advance(4)
        origin = await self.way.factory.accepted()
        await origin.readUntil(b"\r\n\r\n")
        origin.write(OK)
        await self.expect(client, 200, b"ok")

    async def tiers(self) -> None:
        """Put ``direct`` behind the hops."""
        self.way.tier = 2
        self.way.health = health("direct", self.clock)
        self.ways.append(self.way)


class TimeTests(PolicyCase):
    """How long silence takes."""

    async def begin(self) -> None:
        await super().begin()
        self.heads: dict[Talk, bytes] = {}

    async def test_probedByRequest(self) -> None:
        """The 4 s before a silent hop is probed run from the client's request, however long the way took."""
        self.ways[:] = [self.one]
        self.one.pending = Deferred()
        client = await self.open()
        client.write(POST)
        while not self.one.asked:
            await tick()
        await self.pass_(2.5)
        self.one.pending.callback(None)
        self.one.pending = None
        await self.arrived(self.one)
        await self.pass_(1)
        self.assertEqual(len(self.one.asked), 1)
        self.clock.advance(0.5)
        probe = await self.one.factory.accepted()
        self.assertTrue((await probe.readUntil(b"\r\n\r\n")).startswith(b"OPTIONS * "))
        await self.pass_(4)
        self.assertIn(b"PS-UP15", await self.expect(client, 504))

    async def test_sameName(self) -> None:
        """Chains without names are called alike where their last hops are: each has its own signs of life."""
        hops = [self.one, self.two]
        for way, before in zip(hops, ("a", "b"), strict=True):
            way.name, text = "127.0.0.1:8080", f"ssh://{before}:22,http://127.0.0.1:8080"
            way.describe = lambda text=text: text  # type: ignore[method-assign]
        talks = []
        for way in hops:
            self.ways[:] = [way]
            client = await self.open()
            talks.append((client, await self.asked(client, POST, way)))
            self.clock.advance(1)
        client, (hop, _) = talks[1]
        hop.write(OK)
        await self.expect(client, 200, b"ok")
        self.clock.advance(2)
        await self.one.factory.accepted()  # the probe
        self.clock.advance(4)
        await self.expect(talks[0][0], 504)

    async def test_oneProbe(self) -> None:
        """However many requests wait for a silent hop, it is probed once at a time, and all are told in time."""
        self.ways[:] = [self.one]
        clients = [await self.open(), await self.another(), await self.another()]
        for client in clients:
            await self.asked(client, POST, self.one)
        self.clock.advance(1)
        clients.append(await self.another())
        await self.asked(clients[-1], POST, self.one)  # its time for a probe comes while another is under way
        await self.pass_(4.5)
        self.assertEqual(len(self.one.asked), 5)
        await self.pass_(4)
        for client in clients:
            self.assertIn(b"PS-UP15", await self.expect(client, 504))
        self.assertEqual(len(self.one.asked), 5)

    async def test_probeGivenUp(self) -> None:
        """A probe that is ended since nobody waits any more is no sign of life: the hop is probed anew."""
        self.ways[:] = [self.one]
        first = await self.open()
        await self.asked(first, POST, self.one)
        await self.pass_(3)
        second = await self.another()
        await self.asked(second, POST, self.one)
        await self.pass_(2)
        first.transport.abortConnection()
        await tick(0.02)
        await self.pass_(6.5)
        self.assertIn(b"PS-UP15", await self.expect(second, 504))

    async def test_attempts(self) -> None:
        """All searches of one request together make no more attempts than one may."""
        self.retry = RetrySettings(attempts=2)
        await self.hops("three", "four")
        client = await self.open()
        for way in self.ways[:2]:
            hop = await self.arrived(way) if way is not self.one else (await self.asked(client, GET, way))[0]
            hop.transport.loseConnection()
        await self.expect(client, 502)
        self.assertEqual([len(way.asked) for way in self.ways], [1, 1, 0, 0])

    async def test_fourSilent(self) -> None:
        """Four dead hops are all asked, once each, and the client has its 504 within 8.5 s."""
        await self.hops("three", "four")
        client = await self.open()
        client.write(GET)
        await self.untilAnswered(client)
        self.assertIn(b"504 PS-UP15", await self.expect(client, 504))
        self.assertEqual([self.requests(way) for way in self.ways], [1, 1, 1, 1])

    async def test_fourthAnswers(self) -> None:
        """When the fourth lives, the client has its answer."""
        *_, four = await self.hops("three", "four")
        client = await self.open()
        client.write(GET)
        while not four.factory.talks:
            await self.slowly()
            self.assertLess(self.clock.seconds(), 8)
        four.factory.talks[0].write(OK)
        await self.expect(client, 200, b"ok")

    async def test_spokeLately(self) -> None:
        """Hops that have said something within the minute may have carried it out: two at most."""
        await self.hops("three")
        every = list(self.ways)
        for way in every:
            self.ways[:] = [way]
            await self.goes(await self.open(), way)
            self.heads[way.factory.talks[0]] = b""
        self.ways[:] = every
        client = await self.open()
        client.write(GET)
        await self.untilAnswered(client)
        await self.expect(client, 504)
        self.assertEqual([self.requests(way) for way in every], [1, 1, 0])

    async def test_onceEach(self) -> None:
        """No chain is asked twice for one request, though its search would have the time."""
        client = await self.open()
        (await self.asked(client, GET, self.one))[0].transport.abortConnection()
        (await self.arrived(self.two)).transport.abortConnection()
        self.assertIn(b"PS-UP16 upstream one", await self.expect(client, 502))
        self.assertEqual((len(self.one.asked), len(self.two.asked)), (1, 1))

    async def test_otherMethods(self) -> None:
        """Nothing else goes on beside a silent hop."""
        for request in (POST, DELETE):
            client = await self.open()
            hop, _ = await self.asked(client, request, self.one)
            await self.pass_(4)
            await self.arrived(self.one)  # the probe
            hop.write(OK)
            await self.expect(client, 200, b"ok")
        self.assertEqual(self.two.asked, [])

    async def untilAnswered(self, client: Talk) -> None:
        """Let the time pass until the client has an answer, which must be within 8.5 s."""
        while not client.received:
            await self.slowly()
            self.assertLess(self.clock.seconds(), 8.5)

    async def slowly(self) -> None:
        """Let a quarter of a second pass, once every connection that was begun is there, and what was said on it."""
        await tick(0.01)
        for way in self.ways:
            while len(way.factory.talks) < len(way.asked):
                await tick()
            for talk in way.factory.talks:
                if talk not in self.heads:
                    self.heads[talk] = await talk.readUntil(b"\r\n\r\n")
        self.clock.advance(0.25)
        await tick(0.01)

    def requests(self, way: Way) -> int:
        """How many requests have come there meanwhile, but probes."""
        return sum(self.heads.get(talk, b"").startswith(b"GET ") for talk in way.factory.talks)
