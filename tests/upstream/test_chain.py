"""Chains through scripted hops and through real proxies: what passes, and what each of them says when it fails."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory

from pipsocks.model import Destination, Login, Secret
from pipsocks.refusal import Refusal
from pipsocks.slugs import About
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.names import Names
from pipsocks.upstream.parse import parseChain
from pipsocks.upstream.settings import ChainSettings, HopSettings
from tests.functional.processes import dante, microsocks, shared, squid
from tests.loopback import Talk
from tests.upstream.rig import A, UpstreamCase, unusedPort

GREETING = b"\x05\x01\x00"
YES = b"\x05\x00\x00\x01\xc0\x00\x02\x07\x12\x34"


class ChainCase(UpstreamCase):
    """Chains from their text."""

    def chain(self, text: str, name: str = "") -> Chain:
        """The chain that `text` spells."""
        return Chain(parseChain(text, name=name), self.network)


class DescribeTests(ChainCase):
    """What a chain says of itself."""

    def test_direct(self) -> None:
        """No hops is direct."""
        chain = self.chain("direct")
        self.assertEqual(("direct", "direct"), (chain.name, chain.describe()))
        self.assertTrue(chain.direct)
        self.assertFalse(chain.endsInHTTP)
        self.assertIsNone(chain.login)

    def test_hops(self) -> None:
        """It is called by its name, else by its last hop; nothing of a login shows."""
        chain = self.chain("socks5://me:p%40ss@a:1080,http://you:s3cret@[::1]:3128")
        self.assertEqual("[::1]:3128", chain.name)
        self.assertEqual("socks5://a:1080,http://[::1]:3128", chain.describe())
        self.assertTrue(chain.endsInHTTP)
        self.assertFalse(chain.direct)
        self.assertEqual(Login("you", Secret("s3cret")), chain.login)
        self.assertNotIn("s3cret", repr(chain))
        named = self.chain("http://a:1,socks4://b:2", "hk1")
        self.assertEqual("hk1", named.name)
        self.assertFalse(named.endsInHTTP)


class ScriptedTests(ChainCase):
    """Hops that the test plays."""

    async def test_direct(self) -> None:
        """A direct chain dials, and its failures name no chain."""
        peers, there = await self.peer()
        await self.open(self.chain("direct").connect(there))
        await peers.accepted()
        dead = Destination("127.0.0.1", unusedPort())
        await self.refused(self.open(self.chain("direct").connect(dead)), "PS-DE01", chain="", hop="", where=str(dead))

    async def test_nested(self) -> None:
        """The first hop is asked for the second by the name that it has there, the second for the destination."""
        peers, there = await self.peer()
        opening = self.open(self.chain(f"socks5h://{there},http://b.example:3128", "hk1").connect(A))
        talk = await peers.accepted()
        await talk.read(3)
        talk.write(b"\x05\x00")
        request = b"\x05\x01\x00\x03\x09b.example\x0c\x38"
        self.assertEqual(request, await talk.read(len(request)))
        talk.write(YES)
        head = await talk.readUntil(b"\r\n\r\n")
        self.assertEqual(b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", head)
        talk.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        inner = await opening
        self.assertEqual(b"first", await inner.read(5))
        self.assertIsNone(inner.bound)
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_oneSegment(self) -> None:
        """Two hops' answers in one segment, with the destination's first bytes behind them, are three things."""
        peers, there = await self.peer()
        opening = self.open(self.chain(f"http://{there},socks4a://b.example:1080").connect(A))
        talk = await peers.accepted()
        await talk.readUntil(b"\r\n\r\n")
        talk.write(b"HTTP/1.1 200 OK\r\n\r\n\x00\x5a\x12\x34\xc0\x00\x02\x07first")
        inner = await opening
        self.assertEqual((("192.0.2.7", 0x1234), b"first"), (inner.boundWhenMade, inner.received))

    async def test_notDialled(self) -> None:
        """A first hop that refuses is told with its chain, and nothing is dialled directly."""
        peers, there = await self.peer()
        dead = f"127.0.0.1:{unusedPort()}"
        chain = self.chain(f"socks5h://{dead},http://b.example:3128", "hk1")
        refusal = await self.refused(self.open(chain.connect(there)), "PS-UP02", chain="hk1", hop=dead)
        self.assertIn(f"hk1 (at {dead}) refused the connection", refusal.reason)
        self.assertEqual([], peers.talks)

    async def test_earlierReports(self) -> None:
        """What an earlier hop says of the next one speaks of the next one, whatever it says; its words are told."""
        for answer, said, brief in (
            (b"HTTP/1.1 403 Filtered\r\n\r\n", "403 Filtered", "forbids it"),
            (b"HTTP/1.1 502 No\r\n\r\n", "502 No", "bad gateway"),
            (b"HTTP/1.1 503 No\r\n\r\n", "503 No", "failed"),
            (b"", "", "closed"),
        ):
            peers, there = await self.peer()
            chain = self.chain(f"http://{there},socks5h://b.example:1080", "hk1")
            opening = self.open(chain.connect(A))
            talk = await peers.accepted()
            await talk.readUntil(b"\r\n\r\n")
            talk.write(answer)
            talk.transport.loseConnection()  # type: ignore[union-attr]
            refusal = await self.refused(opening, "PS-UP23", chain="hk1", hop="b.example:1080")
            self.assertIs(About.HOP, refusal.about)
            self.assertEqual(refusal.cause, f"upstream hk1 (at b.example:1080) was not reached by {there} ({brief})")
            self.assertEqual(f'{there} said "{said}"' in refusal.text, bool(said))

    async def test_earlierOwn(self) -> None:
        """What an earlier hop says of us stays its own: the login is refused at that hop."""
        peers, there = await self.peer()
        opening = self.open(self.chain(f"http://{there},socks5h://b.example:1080", "hk1").connect(A))
        (await peers.accepted()).write(b"HTTP/1.1 407 Who?\r\n\r\n")
        await self.refused(opening, "PS-UP10", chain="hk1", hop=str(there), said="407 Who?")

    async def test_nextHere(self) -> None:
        """A socks5 hop is sent the next hop's address; when its name is not found here, it is the next hop's name."""
        peers, there = await self.peer()
        self.knownNames["b.example"] = ["192.0.2.1"]
        opening = self.open(self.chain(f"socks5://{there},socks5h://b.example:1080").connect(A))
        talk = await peers.accepted()
        await talk.read(3)
        talk.write(b"\x05\x00")
        self.assertEqual(b"\x05\x01\x00\x01\xc0\x00\x02\x01\x04\x38", await talk.read(10))
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        chain = self.chain(f"socks5://{there},socks5h://c.example:1080", "hk1")
        await self.refused(self.open(chain.connect(A)), "PS-UP01", chain="hk1", hop="c.example:1080")

    async def test_reachLast(self) -> None:
        """The way to the last hop ends there, through those before it."""
        peers, there = await self.peer()
        await self.open(self.chain(f"http://{there}").reachLast())
        talk = await peers.accepted()
        self.assertEqual(b"", talk.received)
        opening = self.open(self.chain(f"socks5h://{there},http://b.example:3128").reachLast())
        talk = await peers.accepted()
        await talk.read(3)
        talk.write(b"\x05\x00")
        await talk.readUntil(b"b.example\x0c\x38")
        talk.write(YES)
        inner = await opening
        inner.write(b"GET")
        self.assertEqual(b"GET", await talk.read(3))

    async def test_cancelledDeep(self) -> None:
        """Leaving while the third hop is asked closes the one connection there is, and leaves no timer."""
        peers, there = await self.peer()
        opening = self.open(self.chain(f"http://{there},http://b.example:1,socks5h://c.example:2").connect(A))
        talk = await peers.accepted()
        for _ in range(2):
            await talk.readUntil(b"\r\n\r\n")
            talk.write(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(GREETING, await talk.read(3))
        self.assertEqual(1, len(self.clock.getDelayedCalls()))
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        await talk.until(lambda: talk.ended)

    async def test_own(self) -> None:
        """A hop that is our own listener is not dialled."""
        peers, there = await self.peer()
        network = self.makeNetwork(isOwn=lambda host, port: port == there.port)
        chain = Chain(ChainSettings((HopSettings("http", there),), "hk1"), network)
        refusal = await self.refused(self.open(chain.connect(A)), "PS-UP24", chain="hk1", hop=str(there))
        self.assertEqual(508, refusal.slug.status)
        self.assertEqual([], peers.talks)


class RealTests(ChainCase):
    """Real proxies, as Debian has them."""

    timeout = 120

    def setUp(self) -> None:
        """Look names up for real."""
        super().setUp()
        object.__setattr__(self.network, "names", Names(self.clock))

    async def assertPasses(self, chain: Chain, host: str = "127.0.0.1") -> None:
        """Bytes pass through the chain both ways, and each side may end first."""
        peers, there = await self.peer()
        for first in ("client", "server"):
            inner = await self.open(chain.connect(Destination(host, there.port)))
            talk: Talk = await peers.accepted()
            inner.write(b"up" * 50_000)
            self.assertEqual(b"up" * 50_000, await talk.read(100_000), chain.describe())
            talk.write(b"down" * 50_000)
            self.assertEqual(b"down" * 50_000, await inner.read(200_000), chain.describe())
            near, far = (inner, talk) if first == "client" else (talk, inner)
            near.transport.loseConnection()  # type: ignore[union-attr]
            self.assertEqual(b"", await far.readAll(), chain.describe())
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_hops(self) -> None:
        """One to three hops of mixed kinds."""
        socks, http, other = shared("microsocks"), shared("tinyproxy"), shared("squid")
        for text in (
            socks.url,
            http.url,
            other.url,
            f"{socks.url},{http.url}",
            f"{http.url},{socks.url}",
            f"{other.url},{socks.url},{http.url}",
            f"{socks.url},{http.url},{other.url}",
        ):
            await self.assertPasses(self.chain(text))

    async def test_dante(self) -> None:
        """dante, with names sent and looked up here, and SOCKS4. (Its 4a refuses names, of curl too.)"""
        address = shared("dante").address
        for scheme in ("socks5h", "socks5", "socks4"):
            await self.assertPasses(self.chain(f"{scheme}://{address}"), "localhost")
            await self.assertPasses(self.chain(f"{scheme}://{address}"))

    async def test_login(self) -> None:
        """With the right login real hops let us in, with a wrong one or none they are told as a login's failure."""
        for kind in ("microsocks", "tinyproxy", "squid"):
            hop = shared(kind, login=True)
            await self.assertPasses(self.chain(hop.url))
            scheme = hop.url.partition("://")[0]
            for login in ("", "hopper:wrong@"):
                chain = self.chain(f"{scheme}://{login}{hop.address}")
                refusal = await self.refused(self.open(chain.connect(A)), "PS-UP10", hop=hop.address)
                self.assertTrue(refusal.said or refusal.detail)

    async def assertWords(self, url: str, codes: dict[str, str]) -> None:
        """What a hop says of a port that refuses, and of a name that does not exist; neither is ever its own fault."""
        chain = self.chain(url)
        refused = Destination("127.0.0.1", unusedPort())
        for what, where in (("refused", refused), ("misspelt", Destination("nope.invalid", 443))):
            if what in codes:
                refusal = await self.refused(self.open(chain.connect(where)), codes[what], where=str(where))
                self.assertIn(refusal.about, (About.PLAIN, About.VAGUE), url)

    async def test_words(self) -> None:
        """Each real proxy's own words for a refused and for a misspelt destination."""
        await self.assertWords(shared("microsocks").url, {"refused": "PS-UP21", "misspelt": "PS-UP14"})
        await self.assertWords(shared("dante").url, {"refused": "PS-UP21", "misspelt": "PS-UP20"})
        await self.assertWords(shared("tinyproxy").url, {"refused": "PS-UP14", "misspelt": "PS-UP14"})
        await self.assertWords(shared("squid").url, {"refused": "PS-UP14", "misspelt": "PS-UP14"})

    async def test_rules(self) -> None:
        """A hop's own rules are told as such: dante's 02, squid's 403."""
        there = Destination("127.0.0.1", unusedPort())
        for hop in (
            dante(rules="socks block { from: 0.0.0.0/0 to: 127.0.0.0/8 }"),
            squid(settings="http_access deny all"),
        ):
            self.addCleanup(hop.clean)
            self.addCleanup(hop.stop)
            refusal = await self.refused(self.open(self.chain(hop.url).connect(there)), "PS-UP11")
            self.assertIs(About.RULES, refusal.about)

    async def test_deadHopBehind(self) -> None:
        """A second hop that is not there is named, with what the first, a real one, says of it."""
        dead = f"127.0.0.1:{unusedPort()}"
        for kind in ("microsocks", "dante", "tinyproxy", "squid"):
            chain = self.chain(f"{shared(kind).url},http://{dead}", "hk1")
            refusal = await self.refused(self.open(chain.connect(A)), "PS-UP23", hop=dead, chain="hk1")
            self.assertIn(shared(kind).address, refusal.detail)

    async def test_wrongScheme(self) -> None:
        """A hop whose URL names the other protocol is found out."""
        chain = self.chain(f"http://{shared('microsocks').address}")
        refusal = await self.refused(self.open(chain.connect(A)), "PS-UP07", detail="HTTP: the answer is not HTTP/1")
        self.assertEqual(shared("microsocks").address, refusal.hop)

    async def test_ipv6(self) -> None:
        """A hop on ::1."""
        hop = microsocks("::1")
        self.addCleanup(hop.stop)
        await self.assertPasses(self.chain(hop.url))

    async def test_leavingAtAnyMoment(self) -> None:
        """Clients that leave at any moment of a search through two real hops leave no descriptor and no timer."""
        peers, there = await self.peer()
        chain = self.chain(f"{shared('microsocks').url},{shared('tinyproxy').url}")
        dead = Destination("127.0.0.1", unusedPort())
        for moments in range(60):
            # As trial's own check of the reactor at the end of a test: what is left open fails it.
            opening = self.open(chain.connect(dead if moments % 3 == 0 else there))
            for _ in range(moments):
                turn: Deferred[None] = Deferred()
                self.clock.callFromThread(turn.callback, None)
                await turn
            opening.cancel()
            opening.addErrback(lambda failure: failure.trap(Refusal, CancelledError) and None)
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_manyAtOnce(self) -> None:
        """Many chains at the same time do not mix."""
        peers, there = await self.peer()
        chain = self.chain(f"{shared('microsocks').url},{shared('tinyproxy').url}")
        factory = Factory.forProtocol(Talk)
        factory.noisy = False
        inners: list[Any] = [await self.open(chain.connect(there)) for _ in range(20)]
        for number, inner in enumerate(inners):
            inner.write(b"%02d" % number)
        seen = {await (await peers.accepted()).read(2) for _ in inners}
        self.assertEqual({b"%02d" % number for number in range(20)}, seen)
