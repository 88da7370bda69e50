"""HTTP hops: absolute-form, whose answer counts, and when another chain is asked (behaviour, section 5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pipsocks.model import Login, Secret
from pipsocks.refusal import Refusal
from tests.forward.case import GET, OK, ForwardTestCase, Way, fieldsOf, response
from tests.front.proxy import tick
from tests.gateway.fakes import health
from tests.loopback import Talk

POST = b"POST http://index.example/up HTTP/1.1\r\nHost: index.example\r\nContent-Length: 3\r\n\r\nabc"
DELETE = b"DELETE http://index.example/up HTTP/1.1\r\nHost: index.example\r\n\r\n"


def answer(status: int, *fields: bytes, content: bytes = b"hop") -> bytes:
    """A response."""
    lines = [b"HTTP/1.1 %d Said" % status, b"Content-Length: %d" % len(content), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + content


class HopCase(ForwardTestCase):
    """Two HTTP hops, ``one`` and ``two``; nothing direct."""

    async def begin(self) -> None:
        await super().begin()
        self.ways.clear()
        self.one = await self.addWay("one", login=Login("us", Secret("p:w")))
        self.two = await self.addWay("two")

    async def arrived(self, way: Way) -> Talk:
        """A connection on which a request has come."""
        talk = await way.factory.accepted()
        await talk.readUntil(b"\r\n\r\n")
        return talk

    async def outcomes(self) -> list[tuple[str, str]]:
        """What the journal's first line says of the attempts."""
        lines: list[dict[str, Any]] = await self.written()
        return [(attempt["chain"], attempt["outcome"]) for attempt in lines[0]["attempts"]]

    async def expect(self, client: Talk, status: int, content: bytes | None = None) -> bytes:
        """See the answer; returns its head."""
        head, came = await response(client)
        self.assertEqual(head.split(b" ")[1], b"%d" % status, head)
        if content is not None:
            self.assertEqual(came, content)
        return head


class AbsoluteFormTests(HopCase):
    """What an HTTP hop sees."""

    async def test_head(self) -> None:
        """The URL whole, our login at the hop, and not the client's at us."""
        client = await self.open()
        hop, head = await self.asked(
            client,
            GET.replace(b"example/", b"example:8080/")[:-2] + b"Proxy-Authorization: Basic eDp5\r\n\r\n",
            self.one,
        )
        self.assertEqual(
            head,
            b"GET http://index.example:8080/simple/ HTTP/1.1\r\nHost: index.example:8080\r\nVia: 1.1 pipsocks\r\n"
            b"Proxy-Authorization: Basic dXM6cDp3\r\n\r\n",
        )
        hop.write(OK)
        await self.expect(client, 200, b"ok")

    async def test_options(self) -> None:
        """OPTIONS for the whole server has an empty path (RFC 9112, 3.2.4)."""
        client = await self.open()
        _, head = await self.asked(client, b"OPTIONS http://index.example HTTP/1.1\r\nHost: x\r\n\r\n", self.one)
        self.assertTrue(head.startswith(b"OPTIONS http://index.example HTTP/1.1\r\n"), head)

    async def test_oneConnection(self) -> None:
        """One connection to the hop serves requests for all destinations."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(OK)
        await self.expect(client, 200)
        client.write(GET.replace(b"index", b"other"))
        self.assertIn(b"http://other.example/", await hop.readUntil(b"\r\n\r\n"))

    async def test_tunnelHop(self) -> None:
        """Behind a SOCKS hop the request is in origin-form, and has no login of any hop's."""
        way = await self.addWay("socks", hop=False, login=Login("u", Secret("p")))
        self.ways[:] = [way]
        client = await self.open()
        _, head = await self.asked(client, GET, way)
        self.assertEqual(head, b"GET /simple/ HTTP/1.1\r\nHost: index.example\r\nVia: 1.1 pipsocks\r\n\r\n")


class AnswerTests(HopCase):
    """Whose answer counts."""

    async def test_login(self) -> None:
        """A hop's 407 never reaches the client: the next chain is asked, whatever the method."""
        for request in (GET, DELETE):
            self.one.health = health()  # or it would be out for five minutes
            client = await self.open()
            hop, _ = await self.asked(client, request, self.one)
            hop.write(answer(407, b"Proxy-Authenticate: Basic realm=hop"))
            (await self.arrived(self.two)).write(OK)
            await self.expect(client, 200, b"ok")
        self.assertEqual(await self.outcomes(), [("one", "ok"), ("one", "hop_login"), ("two", "ok")])

    async def test_loginWithContent(self) -> None:
        """Content can't be sent twice: 502, with the chain's name and what the hop said."""
        client = await self.open()
        hop, _ = await self.asked(client, POST, self.one)
        hop.write(answer(407, b"Proxy-Authenticate: Basic realm=hop"))
        head, content = await response(client)
        self.assertIn(b"502 PS-UP10 upstream one refused our login", head)
        self.assertNotIn(b"Authenticate", head)
        self.assertIn(b'one said "407 Said"', content)
        self.assertEqual(self.two.asked, [])

    async def test_loginSaidAgain(self) -> None:
        """A hop that says our login again is quoted without it, in either spelling."""
        self.ways[:] = [self.one]
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(b"HTTP/1.1 407 us p:w dXM6cDp3\r\nProxy-Authenticate: dXM6cDp3\r\nContent-Length: 0\r\n\r\n")
        head, content = await response(client)
        self.assertIn(b'one said "407 us *** ***"', content)
        self.assertNotIn(b"dXM6", head + content + "".join(self.lines).encode())

    async def test_loginEverywhere(self) -> None:
        """Each chain is asked once."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(407))
        (await self.arrived(self.two)).write(answer(407))
        self.assertIn(b"PS-UP10 upstream one ", await self.expect(client, 502))
        self.assertEqual((len(self.one.asked), len(self.two.asked)), (1, 1))

    async def test_forbidden(self) -> None:
        """A 403 is passed on as it is."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(403, content=b"no cats"))
        await self.expect(client, 403, b"no cats")
        self.assertEqual(self.two.asked, [])

    async def test_originsOwn(self) -> None:
        """A 503 that came through the hop is the origin's, and passed on."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(503, b"Via: 1.1 squid"))
        await self.expect(client, 503, b"hop")
        self.assertEqual(self.two.asked, [])

    async def test_originsOwnWithoutHop(self) -> None:
        """Where no HTTP hop is, every answer is the origin's."""
        self.ways[:] = [self.way, self.two]
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(answer(503, b"X-Squid-Error: x"))
        await self.expect(client, 503, b"hop")
        self.assertEqual(self.two.asked, [])

    async def test_hopsOwn(self) -> None:
        """A 502, 503 or 504 of the hop's own making is asked for once more, elsewhere."""
        for status, field in ((502, b"X: y"), (503, b"X-Squid-Error: ERR_DNS 0\r\nVia: 1.1 squid"), (504, b"X: y")):
            client = await self.open()
            hop, _ = await self.asked(client, GET, self.one)
            hop.write(answer(status, field))
            (await self.arrived(self.two)).write(OK)
            await self.expect(client, 200, b"ok")
            await hop.readAll()

    async def test_hopsOwnTwice(self) -> None:
        """When the second says no better, the first one's answer is passed on, which was held unread."""
        long = b"x" * 300_000
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(502, content=long))
        (await self.arrived(self.two)).write(answer(504, content=b"other"))
        await self.expect(client, 502, long)
        client.write(GET)
        await hop.readUntil(b"\r\n\r\n")

    async def test_hopsOwnAndNobodyElse(self) -> None:
        """When there is no other chain, or it can't be reached, it is passed on as well."""
        self.two.code = "PS-UP02"
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(502))
        await tick()
        await self.pass_(4)
        await self.expect(client, 502, b"hop")
        self.ways[:] = [self.one]
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(503))
        await self.expect(client, 503, b"hop")

    async def test_hopsOwnAndOthersUnreached(self) -> None:
        """Chains that could not be reached a moment ago are not waited for when there is an answer to give."""
        self.one.code = "PS-UP02"
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.two)
        hop.write(answer(502))
        await self.expect(client, 502, b"hop")

    async def test_forbiddenMeanwhile(self) -> None:
        """A lower tier's direct way does not get what a hop forbids while another way is searched for already."""
        self.way.tier = 2
        self.two.pending = Deferred()
        self.ways[:] = [self.one, self.two, self.way]
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        await self.pass_(4)
        while not self.two.asked:
            await tick()
        hop.write(answer(403))
        await tick(0.02)
        self.two.code = "PS-UP02"
        self.two.pending.errback(Refusal("PS-UP02", chain="two"))
        await self.pass_(4)
        await self.expect(client, 403, b"hop")
        self.assertEqual(self.way.asked, [])

    async def test_success(self) -> None:
        """A hop's own 500 reaches the client, and tells nothing good of the hop; an origin's does."""
        for field, suspect in ((b"X: y", True), (b"Via: 1.1 hop", False)):
            self.one.health = health()
            for _ in range(5):
                self.one.health.begin().doubted()
            self.assertTrue(self.one.health.suspect)
            self.ways[:] = [self.one]
            client = await self.open()
            hop, _ = await self.asked(client, GET, self.one)
            hop.write(answer(500, field))
            await self.expect(client, 500, b"hop")
            self.assertEqual(self.one.health.suspect, suspect)

    async def test_hopsOwnForContent(self) -> None:
        """What can't be asked again is passed on at once."""
        for request in (POST, DELETE):
            client = await self.open()
            hop, _ = await self.asked(client, request, self.one)
            hop.write(answer(502))
            await self.expect(client, 502, b"hop")
        self.assertEqual(self.two.asked, [])

    async def test_keptForLong(self) -> None:
        """An answer that is held waits as long as the other may take."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(502))
        other = await self.arrived(self.two)
        self.clock.advance(1)
        for _ in range(3):
            other.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await client.readUntil(b"\r\n\r\n")
            self.clock.advance(39)
        await self.pass_(4)
        await self.expect(client, 502, b"hop")


class ClosingTests(HopCase):
    """A connection that closes without a head."""

    async def test_goesOn(self) -> None:
        """A GET goes on to another chain at once."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.transport.abortConnection()
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        self.assertEqual(await self.outcomes(), [("one", "ok"), ("one", "hop_closed_after"), ("two", "ok")])

    async def test_anyOther(self) -> None:
        """Any other method is sent once: 502."""
        for request in (POST, DELETE, GET[:-2] + b"Upgrade: websocket\r\n\r\n"):
            client = await self.open()
            hop, _ = await self.asked(client, request, self.one)
            hop.transport.abortConnection()
            self.assertIn(b"PS-UP16 upstream one was asked and closed", await self.expect(client, 502))
        self.assertEqual(self.two.asked, [])

    async def test_afterABit(self) -> None:
        """It goes on too when a part of a head, or an interim one, had come."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200")
        await client.readUntil(b"\r\n\r\n")
        hop.transport.loseConnection()
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")

    async def test_twiceAtMost(self) -> None:
        """It is sent twice, and to a third chain no more."""
        three = await self.addWay("three")
        client = await self.open()
        for way in (self.one, self.two):
            hop, _ = await self.asked(client, GET if way is self.one else b"", way)
            hop.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await client.readUntil(b"\r\n\r\n")
            hop.transport.loseConnection()
        self.assertIn(b"PS-UP16 upstream one ", await self.expect(client, 502))
        self.assertEqual(three.asked, [])

    async def test_deadHopsDoNotCount(self) -> None:
        """A hop that has said nothing for a minute does not count, but each is asked only once."""
        three = await self.addWay("three")
        four = await self.addWay("four")
        client = await self.open()
        (await self.asked(client, GET, self.one))[0].transport.abortConnection()
        (await self.arrived(self.two)).transport.abortConnection()
        (await self.arrived(three)).transport.abortConnection()
        (await self.arrived(four)).transport.abortConnection()
        await self.expect(client, 502)
        self.assertEqual([len(way.asked) for way in self.ways], [1, 1, 1, 1])

    async def test_nobodyElse(self) -> None:
        """Where the other chain can't be reached within 3 s, the first failure is told."""
        self.two.pending = Deferred(lambda _: None)
        client = await self.open()
        (await self.asked(client, GET, self.one))[0].transport.abortConnection()
        while not self.two.asked:
            await tick()
        self.clock.advance(2.9)
        await tick()
        self.assertEqual(client.received, b"")
        self.clock.advance(0.2)
        self.assertIn(b"PS-UP16 upstream one", await self.expect(client, 502))

    async def test_notHTTP(self) -> None:
        """A hop that does not speak HTTP is named, and a GET goes on."""
        client = await self.open()
        (await self.asked(client, GET, self.one))[0].write(b"SSH-2.0\r\n")
        (await self.arrived(self.two)).write(OK.replace(b"\r\n\r\n", b"\r\nConnection: Keep-Alive\r\n\r\n", 1))
        await self.expect(client, 200, b"ok")
        client.write(POST)
        talk = self.two.factory.talks[0]
        await talk.readUntil(b"abc")
        talk.write(b"\x15\x03\x03")
        self.assertIn(b"PS-UP07 upstream two does not speak HTTP: ", await self.expect(client, 502))

    async def test_noPromise(self) -> None:
        """A POST, which nobody may send twice, does not go out on a hop's connection that it never promised to keep."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(OK)
        await self.expect(client, 200, b"ok")
        fresh, request = await self.asked(client, POST, self.one)
        self.assertIsNot(fresh, hop)
        self.assertTrue(request.startswith(b"POST "), request)
        fresh.write(OK)
        await self.expect(client, 200, b"ok")

    async def test_differentFailures(self) -> None:
        """When hops fail in different ways the client gets one phrase with all of them."""
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.transport.abortConnection()
        (await self.arrived(self.two)).write(answer(407, b"Proxy-Authenticate: Basic realm=x"))
        head = await self.expect(client, 503)
        self.assertIn(b"PS-UP09 none of 2 upstreams worked: one closed, two login", head)

    async def test_schemes(self) -> None:
        """A hop that wants a login of a kind that we cannot give is told of with what helps."""
        self.ways.remove(self.two)
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(answer(407, b"Proxy-Authenticate: NTLM"))
        head = await self.expect(client, 502)
        self.assertIn(b"PS-UP10 upstream one refused our login: it offers only NTLM; put px or cntlm before it", head)
        self.assertIn("only NTLM", (await self.written())[0]["reason"])


class SilenceTests(HopCase):
    """A hop that says nothing."""

    async def silent(self, request: bytes = GET) -> tuple[Talk, Talk]:
        """A client, and the first hop, which has been silent for 4 s."""
        self.one.asked.clear()
        client = await self.open()
        hop, _ = await self.asked(client, request, self.one)
        self.clock.advance(3.9)
        await tick()
        self.assertEqual((len(self.one.asked), len(self.two.asked)), (1, 0))
        self.clock.advance(0.1)
        return client, hop

    async def test_beside(self) -> None:
        """After 4 s a GET is sent beside the first; the first head wins, and the other is let go."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        other.write(OK)
        await self.expect(client, 200, b"ok")
        await hop.gone()
        client.transport.loseConnection()
        await self.quiet()
        self.assertEqual(await self.outcomes(), [("one", "ok"), ("two", "ok"), ("one", "overtaken")])

    async def test_notSentBehindTheAnswer(self) -> None:
        """A way that is found only once there is an answer is not taken, however long the content takes."""
        self.two.pending = Deferred()
        client, hop = await self.silent()
        while not self.two.asked:
            await tick()
        hop.write(OK[:-1])
        await client.readUntil(b"\r\n\r\no")
        self.two.pending.addErrback(lambda failure: None).callback(None)
        await tick(0.02)
        self.assertEqual(self.two.factory.talks, [])
        hop.write(OK[-1:])
        self.assertEqual(await client.read(1), b"k")

    async def test_letGoAtOnce(self) -> None:
        """Nor is the other connection kept for as long as the content takes."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        hop.write(OK[:-1])
        await client.readUntil(b"\r\n\r\no")
        await other.gone()
        hop.write(OK[-1:])
        self.assertEqual(await client.read(1), b"k")

    async def test_firstWins(self) -> None:
        """The first one's head wins as well, when it comes first."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        hop.write(OK)
        await self.expect(client, 200, b"ok")
        await other.gone()

    async def test_doubtfulWaits(self) -> None:
        """A hop's 403 counts only when no other head is awaited."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        other.write(answer(403))
        await tick(0.02)
        self.assertEqual(client.received, b"")
        hop.write(OK)
        await self.expect(client, 200, b"ok")

    async def test_doubtfulAlone(self) -> None:
        """When the other then closes, the 403 it is."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        other.write(answer(403, content=b"no"))
        await tick(0.02)
        hop.transport.abortConnection()
        await self.expect(client, 403, b"no")

    async def test_probeAnswered(self) -> None:
        """The hop is asked about itself; when that is answered, or closed, a slow page is left its time."""
        for reply in (b"HTTP/1.1 400 Bad\r\n\r\n", b""):
            self.ways[:] = [self.one]
            client, hop = await self.silent(POST)
            probe = await self.one.factory.accepted()
            head = await probe.readUntil(b"\r\n\r\n")
            self.assertTrue(head.startswith(b"OPTIONS * HTTP/1.1\r\nHost: index.example\r\nMax-Forwards: 0\r\n"), head)
            self.assertEqual(fieldsOf(head)[b"proxy-authorization"], b"Basic dXM6cDp3")
            if reply:
                probe.write(reply)
                await probe.gone()
            else:
                probe.transport.loseConnection()
                await tick(0.02)
            await self.pass_(100)
            self.assertEqual(client.received, b"")
            hop.write(OK)
            await self.expect(client, 200, b"ok")

    async def test_probeUnanswered(self) -> None:
        """When nothing comes for 4 s more, 504; and nothing is left of either connection."""
        self.ways[:] = [self.one]
        for request in (GET, POST):
            client, hop = await self.silent(request)
            probe = await self.arrived(self.one)
            self.clock.advance(3.9)
            await tick()
            self.assertEqual(client.received, b"")
            self.clock.advance(0.1)
            self.assertIn(b"PS-UP15 upstream one was asked and said nothing", await self.expect(client, 504))
            await probe.gone()
            await hop.gone()

    async def test_probeNotTaken(self) -> None:
        """A hop that takes no connection any more is as silent; one that refuses it is alive."""
        self.ways[:] = [self.one]
        for code, status in (("PS-UP03", b"504"), ("PS-UP02", b"")):
            self.one.code = ""
            client = await self.open()
            await self.asked(client, POST, self.one)
            self.one.code = code
            self.clock.advance(4)
            await self.pass_(5)
            self.assertEqual(client.received.partition(b" ")[2][:3], status)

    async def test_heardElsewhere(self) -> None:
        """A hop from which anything came meanwhile, on any connection, is not asked."""
        self.ways[:] = [self.one]
        client = await self.open()
        await self.asked(client, POST, self.one)
        self.clock.advance(2)
        other = await self.another()
        talk, _ = await self.asked(other, GET, self.one)
        talk.write(OK)
        await self.expect(other, 200)
        self.clock.advance(2)
        await tick(0.02)
        self.assertEqual(len(self.one.asked), 2)

    async def test_silentBoth(self) -> None:
        """When both hops are dead, 504 once the second probe has gone unanswered."""
        client, _ = await self.silent()
        await self.arrived(self.two)
        await self.pass_(8)
        self.assertIn(b"PS-UP15 upstream one", await self.expect(client, 504))
        self.assertEqual((len(self.one.asked), len(self.two.asked)), (2, 2))
        client.transport.loseConnection()
        await self.quiet()

    async def test_deadHopsDoNotCount(self) -> None:
        """A GET goes on past hops that have been dead for long."""
        three = await self.addWay("three")
        client, _ = await self.silent()
        await self.arrived(self.two)
        await self.pass_(3)
        (await self.arrived(three)).write(OK)
        await self.expect(client, 200, b"ok")

    async def test_halfAHead(self) -> None:
        """Half a head is as good as silence, but the hop may have carried the request out: it counts."""
        three = await self.addWay("three")
        client = await self.open()
        hop, _ = await self.asked(client, GET, self.one)
        hop.write(b"HTTP/1.1 200 Conn")
        await self.pass_(4)
        other = await self.arrived(self.two)
        other.write(b"HTTP/1.1 200 OK\r\nContent-Le")
        await self.pass_(4)
        self.assertIn(b"PS-UP15 upstream one was asked", await self.expect(client, 504))
        self.assertEqual(three.asked, [])
        await hop.gone()

    async def test_interimHead(self) -> None:
        """A whole one is a sign of life, be it an interim one."""
        client = await self.open()
        hop, _ = await self.asked(client, POST, self.one)
        self.clock.advance(0.1)
        hop.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await client.readUntil(b"\r\n\r\n")
        await self.pass_(30)
        self.assertEqual(len(self.one.asked), 1)
        hop.write(OK)
        await self.expect(client, 200, b"ok")

    async def test_deadlineOfTheSecond(self) -> None:
        """Where the search for another way runs out of time, the first hop's silence is what the client hears of."""
        socks = await self.addWay("socks", hop=False, pending=Deferred())
        self.ways[:] = [self.one, socks]
        client, _ = await self.silent()
        await self.pass_(4)
        self.assertIn(b"PS-UP15 upstream one was asked", await self.expect(client, 504))
        self.assertEqual(len(socks.asked), 1)

    async def test_slowPage(self) -> None:
        """Through a SOCKS hop nobody is asked about himself, and a GET goes on beside all the same."""
        self.ways[:] = [await self.addWay("socks", hop=False), self.two]
        client = await self.open()
        slow, _ = await self.asked(client, GET, self.ways[0])
        self.clock.advance(4)
        (await self.arrived(self.two)).write(OK)
        await self.expect(client, 200, b"ok")
        await slow.gone()
        self.assertEqual(len(self.ways[0].asked), 1)

    async def test_leaves(self) -> None:
        """A client that goes takes everything with it: two connections, two probes, the timers."""
        client, hop = await self.silent()
        other = await self.arrived(self.two)
        self.clock.advance(4)
        probes = [await self.arrived(self.one)]
        client.transport.abortConnection()
        await hop.gone()
        await other.gone()
        await probes[0].gone()
        self.assertEqual((await self.written())[0]["outcome"], "client_left")
        await self.quiet()
