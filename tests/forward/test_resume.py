"""Downloads that are cut and go on where they stopped (behaviour, section 5, "Resume")."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone

from pipsocks.forward import resume
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Login, Secret
from pipsocks.testing import Events, Origin, Server, Upstream
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.names import Names
from pipsocks.upstream.parse import parseChain
from tests.forward.case import GET, OK, ForwardTestCase, Way, contentLength, fieldsOf
from tests.front.proxy import tick
from tests.loopback import Talk

CONTENT = bytes(range(48, 58))
ETAG = b'ETag: "x"'
OLD = b"Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"
NOW = b"Date: Wed, 01 Jan 2020 01:00:00 GMT"


def whole(*fields: bytes, content: bytes = b"", status: bytes = b"200 OK", length: int | None = 10) -> bytes:
    """The head of the whole, and so much of its content; without a `length`, in chunks."""
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    content = b"%x\r\n%b\r\n" % (len(content), content) if length is None and content else content
    return b"\r\n".join([b"HTTP/1.1 " + status, framing, *fields, b"", b""]) + content


def part(first: int, *fields: bytes, last: int = 9, total: int = 10, content: bytes | None = None) -> bytes:
    """A 206 from `first` to `last`, with its content, or with this in its place."""
    said = b"Content-Range: bytes %d-%d/%d" % (first, last, total)
    content = CONTENT[first : last + 1] if content is None else content
    return whole(said, *fields, content=content, status=b"206 Partial Content", length=last - first + 1)


class ResumeCase(ForwardTestCase):
    """A direct way, called ``direct``; every other is added by its test."""

    async def begun(
        self, *fields: bytes, request: bytes = GET, content: bytes = b"0123", length: int | None = 10
    ) -> tuple[Talk, Talk, bytes]:
        """A client that has got the head and the first bytes, the origin, and that head."""
        client = await self.open()
        origin, _ = await self.asked(client, request, self.ways[0])
        origin.write(whole(*(fields or (ETAG,)), content=content, length=length))
        head = await client.readUntil(b"\r\n\r\n")
        shown = b"%x\r\n%b\r\n" % (len(content), content) if b"chunked" in head else content
        self.assertEqual(await client.read(len(shown)), shown)
        return client, origin, head

    async def cut(self, origin: Talk, way: Way | None = None) -> tuple[Talk, bytes]:
        """Reset that connection; the one on which the rest is asked for, and that request's head."""
        origin.transport.abortConnection()
        again = await (way or self.ways[0]).factory.accepted()
        return again, await again.readUntil(b"\r\n\r\n")

    async def isCut(self, client: Talk, reason: str = "", came: bytes = b"") -> dict[str, Any]:
        """See that the client's answer ends short; returns the journal's line."""
        self.assertEqual(await client.readAll(), came)
        (line,) = await self.written()
        self.assertEqual((line["outcome"], line.get("reason", "")), ("cut", reason))
        client.transport.abortConnection()
        await self.quiet()
        return line

    def outcomes(self, line: dict[str, Any]) -> list[tuple[str, str]]:
        """The attempts."""
        return [(attempt["chain"], attempt["outcome"]) for attempt in line["attempts"]]


class GoingOnTests(ResumeCase):
    """What is asked, and joined."""

    async def test_asked(self) -> None:
        """The rest is asked for by Range and If-Range; the client gets one whole answer, and may ask for more."""
        client, origin, head = await self.begun()
        self.assertEqual(contentLength(head), 10)
        again, request = await self.cut(origin)
        self.assertEqual(
            request,
            b"GET /simple/ HTTP/1.1\r\nHost: index.example\r\nRange: bytes=4-\r\n"
            b'If-Range: "x"\r\nVia: 1.1 pipsocks\r\n\r\n',
        )
        again.write(part(4, ETAG))
        self.assertEqual(await client.read(6), b"456789")
        client.write(GET)
        await again.readUntil(b"\r\n\r\n")
        (line,) = await self.written()
        self.assertEqual((line["outcome"], line["resumes"]), ("ok", 1))
        self.assertEqual(self.outcomes(line), [("direct", "ok"), ("direct", "cut"), ("direct", "ok")])
        self.assertGreater(line["up"], len(request) + len(GET) // 2)

    async def test_end(self) -> None:
        """A FIN in the middle is a cut like any other."""
        client, origin, _ = await self.begun()
        origin.transport.loseConnection()
        again = await self.way.factory.accepted()
        await again.readUntil(b"\r\n\r\n")
        again.write(part(4))
        self.assertEqual(await client.read(6), b"456789")

    async def test_silence(self) -> None:
        """So are 120 s without a byte; that chain is asked last."""
        other = await self.addWay("other", hop=False)
        client, origin, _ = await self.begun()
        self.clock.pump([60, 60, 1])
        again = await other.factory.accepted()
        await again.readUntil(b"\r\n\r\n")
        again.write(part(4, ETAG))
        self.assertEqual(await client.read(6), b"456789")
        await origin.gone()

    async def test_lastModified(self) -> None:
        """Without an ETag it is a Last-Modified that must be the same."""
        client, origin, _ = await self.begun(OLD, NOW)
        again, request = await self.cut(origin)
        self.assertEqual(fieldsOf(request)[b"if-range"], OLD.partition(b": ")[2])
        again.write(part(4, OLD))
        self.assertEqual(await client.read(6), b"456789")

    async def test_conditions(self) -> None:
        """What the client made its request depend on is settled, and not asked again; the rest of its fields is."""
        fields = b"".join(
            b"%b: %b\r\n" % (name, value)
            for name, value in (
                *((b"If-None-Match", b'"y"'), (b"If-Modified-Since", OLD[15:]), (b"If-Match", b"*")),
                *((b"If-Unmodified-Since", NOW[6:]), (b"If-Range", b'"z"'), (b"TE", b"trailers")),
                *((b"Accept-Encoding", b"gzip"), (b"Authorization", b"Basic eDp5"), (b"Cookie", b"a=b")),
            )
        )
        client, origin, _ = await self.begun(request=GET[:-2] + fields + b"\r\n")
        _, request = await self.cut(origin)
        names = {b"host", b"accept-encoding", b"authorization", b"cookie", b"range", b"if-range", b"via"}
        self.assertEqual(set(fieldsOf(request)), names)
        self.assertEqual(fieldsOf(request)[b"if-range"], b'"x"')
        client.transport.abortConnection()

    async def test_chunks(self) -> None:
        """A client that gets chunks gets chunks; the size is known from the first part on."""
        client, origin, _ = await self.begun(length=None)
        again, _ = await self.cut(origin)
        again.write(part(4, ETAG, content=b"45"))
        self.assertEqual(await client.read(7), b"2\r\n45\r\n")
        again, request = await self.cut(again)
        self.assertEqual(fieldsOf(request)[b"range"], b"bytes=6-")
        again.write(
            b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 6-9/10\r\n\r\n"
            b"4\r\n6789\r\n0\r\nX-Sum: of a part\r\n\r\n"
        )
        self.assertEqual(await client.read(14), b"4\r\n6789\r\n0\r\n\r\n")

    async def test_chunksWhole(self) -> None:
        """When all the octets of a known size are there, the missing end of the chunks is of no matter."""
        client, origin, _ = await self.begun(length=None)
        again, _ = await self.cut(origin)
        again.write(
            b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 4-9/10\r\n\r\n6\r\n456789\r\n"
        )
        self.assertEqual(await client.read(11), b"6\r\n456789\r\n")
        again.transport.abortConnection()
        self.assertEqual(await client.read(5), b"0\r\n\r\n")

    async def test_untilClose(self) -> None:
        """A part that ends with its connection is measured by its Content-Range."""
        client, origin, _ = await self.begun()
        head = b"HTTP/1.0 206 Partial\r\nContent-Range: bytes %d-9/10\r\n\r\n"
        again, _ = await self.cut(origin)
        again.write(head % 4 + b"45")
        again.transport.loseConnection()
        again = await self.way.factory.accepted()
        self.assertIn(b"bytes=6-", await again.readUntil(b"\r\n\r\n"))
        again.write(head % 6 + b"6789")
        again.transport.loseConnection()
        self.assertEqual(await client.read(6), b"456789")
        client.write(GET)
        await (await self.way.factory.accepted()).readUntil(b"\r\n\r\n")

    async def test_oldClient(self) -> None:
        """A client of HTTP/1.0, whose content ends with the connection, gets all of it before that end."""
        old = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
        client, origin, head = await self.begun(request=old, length=None)
        self.assertNotIn(b"chunked", head)
        again, request = await self.cut(origin)
        self.assertIn(b"Connection: close", request)
        again.write(part(4))
        self.assertEqual(await client.readAll(), b"456789")

    async def test_oldClientCut(self) -> None:
        """Where it can't go on such a client sees a reset."""
        old = GET.replace(b"HTTP/1.1", b"HTTP/1.0")
        client, origin, _ = await self.begun(request=old, length=None)
        again, _ = await self.cut(origin)
        again.write(OK)
        self.assertFalse((await client.gone()).check(ConnectionDone))

    async def test_shortParts(self) -> None:
        """A server that sends less than was asked for is asked for the rest."""
        client, origin, _ = await self.begun()
        talk, _ = await self.cut(origin)
        for first, last in ((4, 4), (5, 7), (8, 9)):
            talk.write(part(first, ETAG, last=last))
            if last < 9:
                talk = await self.way.factory.accepted()
                self.assertIn(b"bytes=%d-" % (last + 1), await talk.readUntil(b"\r\n\r\n"))
        self.assertEqual(await client.read(6), b"456789")
        self.assertEqual((await self.written())[0]["resumes"], 3)

    async def test_nothingYet(self) -> None:
        """A cut behind the head alone is one as well."""
        client, origin, _ = await self.begun(content=b"")
        again, request = await self.cut(origin)
        self.assertEqual(fieldsOf(request)[b"range"], b"bytes=0-")
        again.write(part(0))
        self.assertEqual(await client.read(10), CONTENT)

    async def test_interim(self) -> None:
        """Interim heads of a continuation are no news to the client."""
        client, origin, _ = await self.begun()
        again, _ = await self.cut(origin)
        again.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + part(4))
        self.assertEqual(await client.read(6), b"456789")

    async def test_slowClient(self) -> None:
        """Each connection waits for a client that does not read."""
        size = 20_000_000
        client = await self.open()
        origin, _ = await self.asked(client)
        client.transport.pauseProducing()
        origin.write(whole(ETAG, content=bytes(1000), length=size))
        await tick(0.02)
        again, _ = await self.cut(origin)
        again.write(
            whole(b"Content-Range: bytes 1000-%d/%d" % (size - 1, size), status=b"206 Partial", length=size - 1000)
        )
        full = _Producer(again, size - 1000)
        await full.stuck()
        self.clock.pump([100] * 10)  # it is the client who is waited for
        await tick()
        self.assertGreater(full.left, 0)
        client.transport.resumeProducing()
        head = await client.readUntil(b"\r\n\r\n")
        self.assertEqual(await digest(client, contentLength(head)), sha256(bytes(size)).hexdigest())


class _Producer:
    """Writes zeros until it is told to wait."""

    def __init__(self, talk: Talk, size: int) -> None:
        self.left = size
        self.paused = False
        self._talk = talk
        talk.transport.registerProducer(self, True)
        self.resumeProducing()

    async def stuck(self) -> None:
        """Wait until every buffer on the way is full."""
        still = 0
        while still < 20:
            left = self.left
            await tick()
            still = still + 1 if self.paused and self.left == left else 0

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        while self.left and not self.paused:
            size = min(self.left, 65_536)
            self.left -= size
            self._talk.write(bytes(size))

    def stopProducing(self) -> None:
        self.paused = True


class NotGoingOnTests(ResumeCase):
    """What stays a cut."""

    async def test_answers(self) -> None:
        """The client's answer is cut where what comes is not surely the rest; nothing of it is joined."""
        for answer, why in (
            (OK, "answered 200, not 206"),
            (whole(ETAG, content=CONTENT), "answered 200, not 206"),
            (b"HTTP/1.1 416 No\r\nContent-Range: bytes */10\r\nContent-Length: 0\r\n\r\n", "answered 416, not 206"),
            (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answered 503, not 206"),
            (part(4, b'ETag: "y"'), "another validator"),
            (part(4, b'ETag: W/"x"'), "another validator"),
            (part(4, ETAG, total=11), "another Content-Range"),
            (part(5, ETAG), "another Content-Range"),
            (part(4, b"Content-Type: multipart/byteranges; boundary=x"), "several ranges"),
            (part(4, ETAG).replace(b"Length: 6", b"Length: 5"), "a length that is not its Content-Range's"),
        ):
            self.lines.clear()
            client, origin, _ = await self.begun()
            again, _ = await self.cut(origin)
            again.write(answer)
            line = await self.isCut(client, f"not resumed: {why}")
            self.assertNotIn("resumes", line)
            await again.gone()

    async def test_moreThanItsRange(self) -> None:
        """A part in chunks that is longer than it said is malformed."""
        client, origin, _ = await self.begun()
        again, _ = await self.cut(origin)
        again.write(
            b"HTTP/1.1 206 Partial\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 4-9/10\r\n\r\n7\r\n456789A\r\n"
        )
        await self.isCut(client)

    async def test_validators(self) -> None:
        """Without a strong validator it is not even tried."""
        for fields in ((b"X: y",), (b'ETag: W/"x"', OLD, NOW), (OLD,), (OLD, b"Date:" + OLD[14:]), (ETAG, ETAG)):
            await self.untried(*fields)

    async def test_acceptRanges(self) -> None:
        """A server that says that it knows no ranges is not asked for one."""
        await self.untried(ETAG, b"Accept-Ranges: none")

    async def test_requests(self) -> None:
        """Only a plain GET for the whole goes on."""
        for request in (
            GET.replace(b"GET", b"POST"),
            *(
                GET[:-2] + field + b"\r\n\r\n"
                for field in (
                    *(b"Range: bytes=0-", b"Expect: x", b"Upgrade: h2c", b"X-HTTP-Method-Override: PUT"),
                    *(b"Connection: if-range", b"Connection: Range"),
                )
            ),
            GET[:-2] + b"Content-Length: 1\r\n\r\nx",
        ):
            await self.untried(ETAG, request=request)

    async def untried(self, *fields: bytes, request: bytes = GET) -> None:
        """Nobody is asked a second time."""
        self.lines.clear()
        client, origin, _ = await self.begun(*fields, request=request)
        asked = len(self.way.asked)
        origin.transport.abortConnection()
        await self.isCut(client)
        self.assertEqual(len(self.way.asked), asked)

    async def test_status(self) -> None:
        """Only the whole goes on, not what is said beside it."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(whole(ETAG, content=b"0123", status=b"203 Changed"))
        await client.readUntil(b"0123")
        origin.transport.abortConnection()
        await self.isCut(client)

    async def test_untilClose(self) -> None:
        """Content that ends with the connection can't be told from a cut one, but by a reset."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(b"HTTP/1.1 200 OK\r\n" + ETAG + b"\r\n\r\n0123")
        await client.readUntil(b"0123")
        origin.transport.abortConnection()
        await client.readAll()
        self.assertEqual(((await self.written())[0]["outcome"], len(self.way.asked)), ("cut", 1))

    async def test_malformed(self) -> None:
        """Malformed content is nothing to go on behind."""
        client, origin, _ = await self.begun(length=None)
        origin.write(b"zz\r\n")
        await self.isCut(client)
        self.assertEqual(len(self.way.asked), 1)

    async def test_threeInARow(self) -> None:
        """Three continuations without a new byte end it."""
        client, origin, _ = await self.begun()
        for _ in range(3):
            origin, _ = await self.cut(origin)
            origin.write(part(4, content=b""))
            await tick(0.01)
        origin.transport.abortConnection()
        line = await self.isCut(client, "not resumed: reset within the content")
        self.assertEqual((line["resumes"], len(self.way.asked)), (3, 4))

    async def test_noHead(self) -> None:
        """A connection that closes without a head brings no new byte either."""
        client, origin, _ = await self.begun()
        for _ in range(3):
            origin, _ = await self.cut(origin)
        origin.transport.abortConnection()
        await self.isCut(client, "not resumed: index.example:80 closed the connection without an answer")

    async def test_newBytesCount(self) -> None:
        """Each new byte gives three more."""
        client, origin, _ = await self.begun()
        for at in (4, 5):
            for content in (b"", b"", CONTENT[at : at + 1]):
                origin, _ = await self.cut(origin)
                origin.write(part(at, content=content))
                await tick(0.01)
        again, _ = await self.cut(origin)
        again.write(part(6))
        self.assertEqual(await client.read(6), b"456789")

    async def test_manyTimes(self) -> None:
        """There is an end to it even if each brings a byte."""
        self.patch(resume, "CONTINUATIONS", 4)
        client, origin, _ = await self.begun()
        for at in range(4, 8):
            origin, _ = await self.cut(origin)
            origin.write(part(at, content=CONTENT[at : at + 1]))
            await client.read(1)
        origin.transport.abortConnection()
        line = await self.isCut(client, "not resumed: reset within the content")
        self.assertEqual((line["resumes"], len(self.way.asked)), (4, 5))

    async def test_noWay(self) -> None:
        """Three searches in a row that find none end it; the reason is in the journal."""
        client, origin, _ = await self.begun()
        self.way.code = "PS-DE03"
        origin.transport.abortConnection()
        await tick(0.02)
        await self.pass_(2)
        line = await self.isCut(client, "not resumed: there is unreachable")
        self.assertNotIn("resumes", line)

    async def test_forbidden(self) -> None:
        """What our rules forbid by now is over at once."""
        client, origin, _ = await self.begun()
        self.way.code = "PS-RU01"
        asked = len(self.way.asked)
        origin.transport.abortConnection()
        await client.readAll()
        self.assertIn("denies there", (await self.written())[0]["reason"])
        self.assertEqual(len(self.way.asked), asked + 1)

    async def test_stalledClient(self) -> None:
        """A client that does not read for an hour is cut, and nobody asked again for it."""
        client = await self.open()
        origin, _ = await self.asked(client)
        client.transport.pauseProducing()
        origin.write(whole(ETAG, length=20_000_000))
        await _Producer(origin, 20_000_000).stuck()
        self.clock.pump([100] * 37)
        self.assertEqual((await self.written())[0]["outcome"], "cut")
        self.assertEqual(len(self.way.asked), 1)

    async def test_leaves(self) -> None:
        """A client that goes takes the continuation along: while it is searched for, asked, and answered."""
        for state in ("search", "head", "content"):
            self.lines.clear()
            client, origin, _ = await self.begun()
            if state == "search":
                self.way.code = "PS-DE04"
                origin.transport.abortConnection()
                while len(self.way.asked) < 2:
                    await tick()
            else:
                again, _ = await self.cut(origin)
                if state == "content":
                    again.write(part(4, content=b"4"))
                    await client.read(1)
            client.transport.abortConnection()
            self.assertEqual((await self.written())[0]["outcome"], "client_left")
            await self.quiet()
            self.way.code = ""
            if state != "search":
                await again.gone()


class OffTests(ResumeCase):
    """``resume = false``."""

    retry = RetrySettings(resume=False)

    async def test_off(self) -> None:
        """A cut is a cut."""
        client, origin, _ = await self.begun()
        origin.transport.abortConnection()
        await self.isCut(client)
        self.assertEqual(len(self.way.asked), 1)


class ChainTests(ResumeCase):
    """Over which chain."""

    async def begin(self) -> None:
        await super().begin()
        self.ways.clear()
        self.one = await self.addWay("one", login=Login("us", Secret("p:w")))
        self.two = await self.addWay("two")

    async def test_same(self) -> None:
        """A chain that has brought something keeps its place; an HTTP hop is asked in absolute-form, with its login."""
        client, origin, _ = await self.begun()
        again, request = await self.cut(origin)
        self.assertTrue(request.startswith(b"GET http://index.example/simple/ HTTP/1.1\r\n"), request)
        self.assertEqual(fieldsOf(request)[b"proxy-authorization"], b"Basic dXM6cDp3")
        again.write(part(4))
        self.assertEqual(await client.read(6), b"456789")
        self.assertTrue(self.one.health.live)

    async def test_nothingNew(self) -> None:
        """One that has brought nothing new is asked last, until it has again."""
        client, origin, _ = await self.begun(content=b"")
        origin, request = await self.cut(origin, self.two)
        self.assertEqual((self.one.health.tunnels, self.two.health.tunnels), (0, 1))
        self.assertNotIn(b"proxy-authorization", fieldsOf(request))
        origin.write(part(0, content=b""))
        await tick(0.01)
        origin, _ = await self.cut(origin, self.one)
        origin.write(part(0, content=b"01"))
        await client.read(2)
        origin, _ = await self.cut(origin, self.one)
        origin.write(part(2))
        self.assertEqual(await client.read(8), b"23456789")

    async def test_hopsFailure(self) -> None:
        """A hop's own 502, 503, 504 or 407 is no answer of the origin's: another chain goes on."""
        for status in (b"502 Bad", b"503 Busy", b"504 Slow", b"407 Who"):
            self.lines.clear()
            self.one.health = type(self.one.health)("one", self.clock.seconds)
            client, origin, _ = await self.begun()
            again, _ = await self.cut(origin)
            again.write(whole(b"X: y", status=status, length=0))
            again = await self.two.factory.accepted()
            await again.readUntil(b"\r\n\r\n")
            again.write(part(4, ETAG))
            self.assertEqual(await client.read(6), b"456789")
            self.assertEqual((await self.written())[0]["outcome"], "ok")

    async def test_hopsFailureEverywhere(self) -> None:
        """Three times in a row is enough."""
        client, origin, _ = await self.begun()
        origin.transport.abortConnection()
        for way in (self.one, self.two, self.two, self.one, self.one, self.two):
            again = await way.factory.accepted()
            await again.readUntil(b"\r\n\r\n")
            again.write(whole(b"X: y", status=b"503 Busy", length=0))
        await self.isCut(client, "not resumed: one answered 503")

    async def test_originsFailure(self) -> None:
        """A 503 that came from beyond the hop is the origin's word, and final."""
        client, origin, _ = await self.begun()
        again, _ = await self.cut(origin)
        again.write(whole(b"Via: 1.1 x", status=b"503 Busy", length=0))
        await self.isCut(client, "not resumed: answered 503, not 206")

    async def test_deadHop(self) -> None:
        """A hop that is gone is passed over within the continuation's search."""
        client, origin, _ = await self.begun()
        self.one.code = "PS-UP02"
        again, _ = await self.cut(origin, self.two)
        again.write(part(4))
        self.assertEqual(await client.read(6), b"456789")
        line = (await self.written())[0]
        self.assertEqual(
            self.outcomes(line),
            [("one", "ok"), ("one", "cut"), ("one", "hop_refused"), ("two", "ok")],
        )

    async def test_silentHop(self) -> None:
        """One that says nothing has another asked beside it after 4 s, as ever."""
        client, origin, _ = await self.begun()
        await self.cut(origin)
        self.clock.advance(4)
        again = await self.two.factory.accepted()
        await again.readUntil(b"\r\n\r\n")
        again.write(part(4))
        self.assertEqual(await client.read(6), b"456789")

    async def test_budget(self) -> None:
        """Each continuation is paid for; when the budget is spent it is a cut."""
        client, origin, _ = await self.begun()
        group = self.group
        while group.budget.spend():
            pass
        asked = len(self.one.asked)
        origin.transport.abortConnection()
        await client.readAll()
        self.assertEqual((await self.written())[0]["outcome"], "cut")
        self.assertEqual((len(self.one.asked), self.two.asked), (asked, []))


class RealTests(ForwardTestCase):
    """Real chains to real faulty origins."""

    timeout = 120

    async def download(
        self, size: int, every: int, how: str, scheme: str, *faults: str
    ) -> tuple[Origin, dict[str, Any]]:
        """Download `size` bytes that are cut behind `every`; the content must be right. The origin, and the journal."""
        origin = Origin()
        plans = [" + ".join((f"{how}-after={every}", *faults))]
        server = Server(reactor, origin, plans, log=Events(reactor))
        server.listen()
        self.addCleanup(server.stop)
        chain = "direct"
        if scheme:
            hop = Server(reactor, Upstream())
            hop.listen()
            self.addCleanup(hop.stop)
            chain = f"{scheme}://{hop.address}"
        network = Network(reactor, names=Names(reactor))
        self.ways[:] = [Chain(parseChain(chain), network)]  # type: ignore[list-item]
        client = await self.open()
        path = f"/parrot/{size}"
        client.write(f"GET http://{server.address}{path} HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode())
        head = await client.readUntil(b"\r\n\r\n")
        if b"chunked" in head:
            came = sha256(await chunks(client)).hexdigest()
        else:
            came = await digest(client, contentLength(head))
        self.assertEqual(came, origin.content(path).digest)
        return origin, (await self.written())[0]

    async def test_matrix(self) -> None:
        """Ten cuts are bridged directly, through SOCKS and through HTTP, by FIN and RST, and the content is right."""
        size, every = 5_000_000, 500_000
        for scheme in ("", "socks5", "http"):
            for how in ("close", "reset"):
                for fault in ((), ("chunked",), ("last-modified",)):
                    self.lines.clear()
                    origin, line = await self.download(size, every, how, scheme, *fault)
                    self.assertEqual(line["outcome"], "ok", (scheme, how, fault, line))
                    self.assertIn(line["resumes"], (9, 10))
                    self.assertLess(origin.sent, size * 1.02, (scheme, how, fault))

    async def test_large(self) -> None:
        """50 MB, cut every 5 MB, arrive with less than 2 % sent twice."""
        size = 50_000_000
        for scheme in ("", "http"):
            self.lines.clear()
            origin, line = await self.download(size, 5_000_000, "reset", scheme)
            self.assertIn(line["resumes"], (9, 10))
            self.assertLess(origin.sent, size * 1.02)


async def digest(client: Talk, size: int) -> str:
    """The SHA-256 of so many bytes."""
    sum = sha256()
    while size:
        data = await client.read(min(size, 16_384))
        assert data, f"{size} bytes are missing"
        size -= len(data)
        sum.update(data)
    return sum.hexdigest()


async def chunks(client: Talk) -> bytes:
    """The content of a chunked answer."""
    pieces = []
    while size := int(await client.readUntil(b"\r\n"), 16):
        pieces.append(await client.read(size))
        await client.read(2)
    await client.read(2)
    return b"".join(pieces)
