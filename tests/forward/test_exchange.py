"""Forwarding, between a client and an origin that are raw sockets."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost

from pipsocks.front.exchange import Exchange
from pipsocks.model import Login, Secret
from tests.forward.case import GET, OK, ForwardTestCase, fieldsOf, response
from tests.front.proxy import tick
from tests.loopback import Talk


def post(body: bytes, *fields: bytes, version: bytes = b"1.1", length: int | None = None) -> bytes:
    """A request with content."""
    head = [b"POST http://index.example/up HTTP/" + version, b"Host: index.example", *fields]
    if not any(field.startswith(b"Transfer") for field in fields):
        head.append(b"Content-Length: %d" % (len(body) if length is None else length))
    return b"\r\n".join(head) + b"\r\n\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"


class RequestTests(ForwardTestCase):
    """What an origin sees."""

    async def test_originForm(self) -> None:
        """A GET arrives in origin-form, with Host from the target and none of the client's hop in it."""
        client = await self.open()
        _, head = await self.asked(
            client,
            b"GET http://Index.Example:80/simple/?a=b HTTP/1.1\r\nHost: other.example\r\nUser-Agent: pip/26\r\n"
            b"Proxy-Authorization: Basic YTpi\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, X-Gone\r\n"
            b"X-Gone: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Kept: 1\r\n\r\n",
        )
        self.assertEqual(
            head,
            b"GET /simple/?a=b HTTP/1.1\r\nHost: index.example:80\r\nUser-Agent: pip/26\r\nHTTP2-Settings: x\r\n"
            b"X-Kept: 1\r\nVia: 1.1 pipsocks\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
        )
        self.assertEqual([str(each) for each in self.way.asked], ["index.example:80"])

    async def test_viaOff(self) -> None:
        """With ``via = false`` neither side learns of the proxy; the fields of others stay."""
        self.via = False
        client = await self.open()
        origin, head = await self.asked(client, GET[:-2] + b"Via: 1.0 other\r\n\r\n")
        self.assertEqual(head.count(b"Via"), 1)
        origin.write(OK)
        self.assertNotIn(b"via", (await response(client))[0].lower())

    async def test_oldClient(self) -> None:
        """HTTP/1.0 is forwarded as 1.1, its version told in Via; its Expect means nothing."""
        client = await self.open()
        origin, head = await self.asked(client, post(b"abc", b"Expect: 100-continue", version=b"1.0"))
        self.assertEqual(
            head,
            b"POST /up HTTP/1.1\r\nHost: index.example\r\nContent-Length: 3\r\nVia: 1.0 pipsocks\r\n"
            b"Connection: close\r\n\r\n",
        )
        self.assertEqual(await origin.read(3), b"abc")

    async def test_contentOfALength(self) -> None:
        """Content with a length arrives as it is, however it comes."""
        client = await self.open()
        origin, head = await self.asked(client, post(b"0123", length=10))
        self.assertEqual(fieldsOf(head)[b"content-length"], b"10")
        client.write(b"456789")
        self.assertEqual(await origin.read(10), b"0123456789")
        origin.write(OK)
        head, content = await response(client)
        self.assertNotIn(b"close", head)
        self.assertEqual(content, b"ok")
        (line,) = await self.written()
        self.assertGreater(line["up"], 10)

    async def test_contentInChunks(self) -> None:
        """Chunked content arrives in chunks, without extensions, and with its trailers."""
        client = await self.open()
        origin, head = await self.asked(client, post(b"3;x=y\r\nabc\r\n", CHUNKED))
        self.assertEqual(fieldsOf(head)[b"transfer-encoding"], b"chunked")
        self.assertEqual(await origin.read(8), b"3\r\nabc\r\n")
        client.write(b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")
        self.assertEqual(await origin.readUntil(b"\r\n\r\n"), b"2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n")

    async def test_emptyContent(self) -> None:
        """A POST with nothing in it says so."""
        client = await self.open()
        _, head = await self.asked(client, post(b""))
        self.assertEqual(fieldsOf(head)[b"content-length"], b"0")

    async def test_brokenContent(self) -> None:
        """Content that turns out malformed is answered 400, and the origin never sees an end of it."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"3\r\nabc\r\n", CHUNKED))
        client.write(b"zz\r\n")
        self.assertIn(b"400 PS-RQ01", await client.readUntil(b"\r\n"))
        self.assertEqual(await origin.readAll(), b"3\r\nabc\r\n")
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "bad_request")

    async def test_brokenContentBehindTheAnswer(self) -> None:
        """Once an answer has begun, it can only be cut."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"3\r\nabc\r\n", CHUNKED))
        origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await client.readUntil(b"half")
        client.write(b"zz\r\n")
        self.assertEqual(await client.readAll(), b"")
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "cut")

    async def test_expect(self) -> None:
        """Expect is the origin's to answer: its 100 reaches the client, which then sends the content."""
        client = await self.open()
        origin, head = await self.asked(client, post(b"", b"Expect: 100-continue", length=4))
        self.assertEqual(fieldsOf(head)[b"expect"], b"100-continue")
        await tick(0.02)
        self.assertEqual(client.received, b"")
        origin.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual((await client.readUntil(b"\r\n\r\n")).split(b"\r\n")[0], b"HTTP/1.1 100 Continue")
        client.write(b"body")
        self.assertEqual(await origin.read(4), b"body")
        origin.write(OK)
        self.assertEqual((await response(client))[1], b"ok")

    async def test_optionsForTheServer(self) -> None:
        """OPTIONS without a path asks the whole server."""
        client = await self.open()
        _, head = await self.asked(client, b"OPTIONS http://index.example HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(head.startswith(b"OPTIONS * HTTP/1.1\r\nHost: index.example\r\n"), head)

    async def test_maxForwards(self) -> None:
        """OPTIONS and TRACE arrive with one forwarding fewer to go; for other methods the field means nothing."""
        for method, count, left in ((b"OPTIONS", b"1", b"0"), (b"TRACE", b"7", b"6"), (b"GET", b"0", b"0")):
            client = await self.open()
            origin, head = await self.asked(
                client, method + b" http://index.example/x HTTP/1.1\r\nHost: x\r\nMax-Forwards: " + count + b"\r\n\r\n"
            )
            self.assertTrue(head.startswith(method + b" /x HTTP/1.1\r\n"), head)
            self.assertEqual(fieldsOf(head)[b"max-forwards"], left)
            origin.write(OK)
            self.assertEqual((await response(client))[1], b"ok")

    async def test_traceAndALogin(self) -> None:
        """TRACE never goes where our own login would be shown in the answer."""
        self.ways.clear()
        hop = await self.addWay("hop", login=Login("me", Secret("s3cret")))
        client = await self.open()
        client.write(b"TRACE http://index.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"405 PS-RQ08 TRACE through an upstream with a login", (await response(client))[0])
        self.assertEqual(hop.asked, [])

    async def test_methods(self) -> None:
        """Content of any method arrives, with a length and in chunks."""
        client = await self.open()
        origin = None
        for method in (b"PUT", b"PATCH", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PROPFIND", b"x-own"):
            for framing, body in (((), b"hello"), ((CHUNKED,), b"5\r\nhello\r\n0\r\n\r\n")):
                request = post(body, *framing).replace(b"POST", method)
                if origin is None:
                    origin, head = await self.asked(client, request)
                else:
                    client.write(request)
                    head = await origin.readUntil(b"\r\n\r\n")
                self.assertTrue(head.startswith(method + b" /up HTTP/1.1\r\n"), head)
                self.assertEqual(await origin.read(len(body)), body)
                origin.write(OK if method != b"HEAD" else OK[:-2])
                if method == b"HEAD":
                    await client.readUntil(b"\r\n\r\n")
                else:
                    self.assertEqual((await response(client))[1], b"ok")

    async def test_expectIgnored(self) -> None:
        """An origin that knows nothing of Expect gets the content once the client is tired of waiting."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"", b"Expect: 100-continue", length=4))
        await tick(0.02)
        client.write(b"body")
        self.assertEqual(await origin.read(4), b"body")
        origin.write(OK)
        head, content = await response(client)
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
        self.assertEqual(content, b"ok")

    async def test_expectRefused(self) -> None:
        """One that refuses before it has the content: the client need not send it, and the connection ends."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"", b"Expect: 100-continue", length=4))
        origin.write(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        head, _ = await response(client)
        self.assertIn(b" 417 ", head)
        self.assertIn(b"Connection: close\r\n", head)
        self.assertEqual(await client.readAll(), b"")
        await origin.gone()

    async def test_largeHead(self) -> None:
        """A head of nearly 64 KiB passes, both ways."""
        client = await self.open()
        origin, head = await self.asked(client, GET[:-2] + b"Cookie: " + b"c" * 64_000 + b"\r\n\r\n")
        self.assertEqual(len(fieldsOf(head)[b"cookie"]), 64_000)
        fields = b"".join(b"Set-Cookie: %b\r\n" % (b"d" * 318) for _ in range(190))
        origin.write(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\nok")
        head, content = await response(client)
        self.assertEqual((head.count(b"d" * 318), content), (190, b"ok"))

    async def test_loop(self) -> None:
        """A request for one of our own listeners is 508, on a kept connection as well."""
        client = await self.open()
        client.write(b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"508 PS-RU02", (await response(client))[0])
        self.assertEqual(self.way.asked, [])

    async def test_utf8InTheTarget(self) -> None:
        """A path in raw UTF-8 arrives percent-encoded."""
        client = await self.open()
        _, head = await self.asked(client, "GET http://index.example/ü HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        self.assertTrue(head.startswith(b"GET /%C3%BC HTTP/1.1\r\n"), head)


class ResponseTests(ForwardTestCase):
    """What a client sees."""

    async def answered(self, answer: bytes, request: bytes = GET) -> Talk:
        """A client, once the origin has answered and, behind that, ended."""
        client = await self.open()
        origin, _ = await self.asked(client, request)
        origin.write(answer)
        origin.transport.loseConnection()
        return client

    async def test_fields(self) -> None:
        """The origin's fields arrive, but for those of its own hop."""
        client = await self.answered(
            b"HTTP/1.1 404 Not There\r\nserver: x\r\nConnection: x-gone, keep-alive\r\nX-Gone: 1\r\nKeep-Alive: 5\r\n"
            b"Proxy-Authenticate: Basic\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nabc"
        )
        head, content = await response(client)
        self.assertEqual(
            head,
            b"HTTP/1.1 404 Not There\r\nserver: x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n"
            b"Via: 1.1 pipsocks\r\n\r\n",
        )
        self.assertEqual(content, b"abc")
        (line,) = await self.written()
        self.assertEqual(
            (line["protocol"], line["destination"], line["outcome"], line["down"]),
            ("http", "index.example:80", "ok", len(head) + 3),
        )

    async def test_chunks(self) -> None:
        """Chunks arrive as chunks, with their trailers."""
        client = await self.answered(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        self.assertIn(b"Transfer-Encoding: chunked\r\n", await client.readUntil(b"\r\n\r\n"))
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")

    async def test_chunksForAnOldClient(self) -> None:
        """An HTTP/1.0 client gets the content without chunks, and its end is the connection's."""
        client = await self.answered(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
            b"GET http://index.example/ HTTP/1.0\r\n\r\n",
        )
        head = await client.readUntil(b"\r\n\r\n")
        self.assertNotIn(b"chunked", head)
        self.assertIn(b"Connection: close\r\n", head)
        self.assertEqual(await client.readAll(), b"hello")

    async def test_untilClose(self) -> None:
        """Content that ends with the origin's connection is chunked for the client, whose connection stays."""
        client = await self.answered(b"HTTP/1.0 200 OK\r\n\r\nhello")
        head = await client.readUntil(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked\r\n", head)
        self.assertIn(b"Via: 1.0 pipsocks\r\n", head)
        self.assertEqual(await client.readUntil(b"0\r\n\r\n"), b"5\r\nhello\r\n0\r\n\r\n")
        await self.asked(client)

    async def test_untilCloseForAnOldClient(self) -> None:
        """It ends with the connection for an HTTP/1.0 client too."""
        client = await self.answered(b"HTTP/1.0 200 OK\r\n\r\nhello", b"GET http://index.example/ HTTP/1.0\r\n\r\n")
        self.assertTrue((await client.readAll()).endswith(b"close\r\n\r\nhello"))
        client.transport.loseConnection()
        (await client.gone()).trap(ConnectionDone)

    async def test_withoutContent(self) -> None:
        """HEAD, 204 and 304 have no content, whatever their fields say, and the connections stay."""
        client = await self.open()
        origin, _ = await self.asked(client, GET.replace(b"GET", b"HEAD"))
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n",
        ):
            origin.write(answer)
            head = await client.readUntil(b"\r\n\r\n")
            self.assertEqual(head.split(b" ")[1], answer.split(b" ")[1])
            self.assertEqual(b"1000" in head, b"1000" in answer)
            client.write(GET)
            await origin.readUntil(b"\r\n\r\n")
        self.assertEqual(client.received, b"")

    async def test_interim(self) -> None:
        """Every 1xx arrives, in order, before the answer."""
        client = await self.answered(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK
        )
        self.assertIn(b"103 Early Hints\r\nLink: </x>\r\n", await client.readUntil(b"\r\n\r\n"))
        self.assertIn(b"102 Processing\r\n", await client.readUntil(b"\r\n\r\n"))
        self.assertEqual((await response(client))[1], b"ok")

    async def test_interimForAnOldClient(self) -> None:
        """An HTTP/1.0 client never sees a 1xx."""
        client = await self.answered(
            b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK, b"GET http://index.example/ HTTP/1.0\r\n\r\n"
        )
        self.assertTrue((await client.readAll()).startswith(b"HTTP/1.1 200 OK\r\n"))

    async def test_nonsense(self) -> None:
        """What is no HTTP, or ambiguous, or a switch that nobody asked for, is 502."""
        for answer in (
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ):
            client = await self.open()
            origin, _ = await self.asked(client)
            origin.write(answer)
            head, content = await response(client)
            self.assertIn(b"502 PS-DE08 index.example:80 sent a malformed response", head)
            self.assertIn(b"Proxy-Status: pipsocks; error=http_protocol_error", head)
            self.assertIn(b"PS-DE08", content)

    async def test_cut(self) -> None:
        """Content that ends too early, or in nonsense, never ends cleanly for the client."""
        for answer in (
            b"Content-Length: 10\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        ):
            client = await self.answered(b"HTTP/1.1 200 OK\r\n" + answer)
            received = await client.readAll()
            self.assertIn(b"hello", received)
            self.assertFalse(received.endswith(b"0\r\n\r\n"))
        self.assertEqual([line["outcome"] for line in await self.written(3)], ["cut"] * 3)

    async def test_resetWithoutFraming(self) -> None:
        """Content that ends with a reset is cut, though it has no length; an HTTP/1.0 client gets a reset as well."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await client.readUntil(b"hello")
        origin.transport.abortConnection()
        self.assertEqual(await client.readAll(), b"\r\n")
        old = await self.another()
        origin, _ = await self.asked(old, b"GET http://index.example/ HTTP/1.0\r\n\r\n")
        origin.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await old.readUntil(b"hello")
        origin.transport.abortConnection()
        (await old.gone()).trap(ConnectionLost)

    async def test_withoutAnswer(self) -> None:
        """An origin that closes instead of answering is 502, for a GET too where there is no other way."""
        for request in (GET, post(b"abc")):
            client = await self.answered(b"", request)
            self.assertIn(b"502 PS-DE10 index.example:80 closed the connection", (await response(client))[0])
        self.assertEqual(len(self.way.asked), 2)

    async def test_earlyAnswer(self) -> None:
        """An answer that comes before the content is complete is passed on, and the connection closes behind it."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"x" * 1000, length=100_000_000))
        origin.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        head, content = await response(client)
        self.assertIn(b"413 Too Large", head)
        self.assertIn(b"Connection: close\r\n", head)
        self.assertEqual(content, b"big")
        self.assertEqual(await client.readAll(), b"")
        await origin.gone()

    async def test_clientsClose(self) -> None:
        """A client that asks for a close gets one, and so does the origin."""
        client = await self.open()
        origin, head = await self.asked(client, GET[:-2] + b"Connection: close\r\n\r\n")
        self.assertEqual(fieldsOf(head)[b"connection"], b"close")
        origin.write(OK)
        self.assertIn(b"Connection: close\r\n", (await response(client))[0])
        await client.readAll()
        client.transport.loseConnection()
        (await client.gone()).trap(ConnectionDone)
        await origin.readAll()


class KeepAliveTests(ForwardTestCase):
    """Connections that carry more than one request."""

    async def served(self, client: Talk, origin: Talk, answer: bytes = OK) -> None:
        """One more request on a connection that is there."""
        client.write(GET)
        await origin.readUntil(b"\r\n\r\n")
        origin.write(answer)
        await response(client)

    async def test_both(self) -> None:
        """Requests follow each other on one connection on both sides."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        await self.served(client, origin)
        await self.served(client, origin)
        self.assertEqual(len(self.way.asked), 1)
        lines = await self.written(3)
        self.assertEqual([line["attempts"][0]["outcome"] for line in lines], ["ok", "reused", "reused"])
        self.assertEqual([line["route"] for line in lines], ["default"] * 3)

    async def test_otherDestination(self) -> None:
        """A connection leads to one destination: host and port."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        other, head = await self.asked(client, GET.replace(b"example/", b"example:81/"))
        self.assertEqual(fieldsOf(head)[b"host"], b"index.example:81")
        other.write(OK)
        await response(client)
        await self.served(client, origin)

    async def test_notShared(self) -> None:
        """Another client never gets this one's connection."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        other = await self.another()
        second, _ = await self.asked(other)
        self.assertIsNot(second, origin)

    async def test_fifteenSeconds(self) -> None:
        """An idle connection is closed after 15 s."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        self.clock.advance(14.9)
        await self.served(client, origin)
        self.clock.advance(15)
        self.assertEqual(await origin.readAll(), b"")

    async def test_four(self) -> None:
        """At most four are kept; the oldest goes."""
        client = await self.open()
        origins = []
        for port in range(81, 86):
            origin, _ = await self.asked(client, GET.replace(b"example/", b"example:%d/" % port))
            origin.write(OK)
            await response(client)
            origins.append(origin)
        self.assertEqual(await origins[0].readAll(), b"")
        await tick()
        self.assertEqual([origin.ended for origin in origins], [True, False, False, False, False])
        client.transport.loseConnection()
        for origin in origins:
            await origin.readAll()
        await self.quiet()

    async def test_stale(self) -> None:
        """A GET on a connection that was being closed is sent again on a new one."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        client.write(GET)
        await origin.readUntil(b"\r\n\r\n")
        origin.transport.abortConnection()
        fresh = await self.origin.accepted()
        self.assertTrue((await fresh.readUntil(b"\r\n\r\n")).startswith(b"GET /simple/ "))
        fresh.write(OK)
        self.assertEqual((await response(client))[1], b"ok")
        outcomes = [[attempt["outcome"] for attempt in line["attempts"]] for line in await self.written(2)]
        self.assertEqual(outcomes, [["ok"], ["reused", "origin_closed", "ok"]])

    async def test_staleTwice(self) -> None:
        """It is sent twice at most."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        client.write(GET)
        await origin.readUntil(b"\r\n\r\n")
        origin.transport.abortConnection()
        (await self.origin.accepted()).transport.abortConnection()
        self.assertIn(b"502 PS-DE10", (await response(client))[0])
        self.assertEqual(len(self.way.asked), 2)

    async def test_stalePost(self) -> None:
        """Anything else is not: 502."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        client.write(post(b"abc"))
        await origin.readUntil(b"abc")
        origin.transport.abortConnection()
        self.assertIn(b"502 PS-DE10", (await response(client))[0])
        self.assertEqual(len(self.way.asked), 1)

    async def test_closedWhileIdle(self) -> None:
        """One that the origin has closed, or says something on unasked, is forgotten."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        origin.transport.loseConnection()
        await origin.gone()
        await tick()
        second, _ = await self.asked(client)
        second.write(OK)
        await response(client)
        second.write(b"HTTP/1.1 408 Too Slow\r\n\r\n")
        await second.gone()
        third, _ = await self.asked(client)
        third.write(OK + b"behind")
        await response(client)
        await third.readAll()
        self.assertEqual([line["outcome"] for line in await self.written(3)], ["ok"] * 3)

    async def test_pipelined(self) -> None:
        """Pipelined requests are answered in order, one at a time."""
        client = await self.open()
        origin, _ = await self.asked(client, GET + GET.replace(b"simple", b"second") + GET.replace(b"simple", b"third"))
        await tick(0.02)
        self.assertEqual(origin.received, b"")
        for name in (b"second", b"third", b""):
            origin.write(OK)
            if name:
                self.assertTrue((await origin.readUntil(b"\r\n\r\n")).startswith(b"GET /" + name))
        for _ in range(3):
            self.assertEqual((await response(client))[1], b"ok")

    async def test_pipelinedToOthers(self) -> None:
        """Pipelined requests for several origins are answered in order though the first is the slowest."""
        client = await self.open()
        ports = (81, 82, 81, 83)
        asks = [GET.replace(b"example/", b"example:%d/" % port) for port in ports]
        client.write(b"".join(asks) + post(b"tail"))
        slow = await self.origin.accepted()
        self.assertEqual(fieldsOf(await slow.readUntil(b"\r\n\r\n"))[b"host"], b"index.example:81")
        await self.pass_(30)
        self.assertEqual((client.received, len(self.origin.talks)), (b"", 1))
        slow.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n")
        await client.readUntil(b"0\r\n\r\n")
        second = await self.origin.accepted()
        self.assertEqual(fieldsOf(await second.readUntil(b"\r\n\r\n"))[b"host"], b"index.example:82")
        second.write(OK.replace(b"ok", b"2d"))
        self.assertEqual((await response(client))[1], b"2d")
        self.assertEqual(fieldsOf(await slow.readUntil(b"\r\n\r\n"))[b"host"], b"index.example:81")
        slow.write(OK.replace(b"ok", b"3d"))
        self.assertEqual((await response(client))[1], b"3d")
        third = await self.origin.accepted()
        self.assertEqual(fieldsOf(await third.readUntil(b"\r\n\r\n"))[b"host"], b"index.example:83")
        third.transport.loseConnection()
        self.assertIn(b"502 PS-DE10", (await response(client))[0])
        last = await self.origin.accepted()
        self.assertTrue((await last.readUntil(b"tail")).endswith(b"tail"))
        last.write(OK.replace(b"ok", b"5h"))
        self.assertEqual((await response(client))[1], b"5h")
        self.assertEqual(len(self.origin.talks), 4)

    async def test_closedAsARequestIsSent(self) -> None:
        """An origin whose clean end crosses the request has not answered it: a GET goes out anew, a POST is 502."""
        for request, again in ((GET, True), (GET.replace(b"GET", b"HEAD"), True), (post(b"abc"), False)):
            client = await self.open()
            origin, _ = await self.asked(client)
            origin.write(OK)
            await response(client)
            origin.transport.pauseProducing()  # it does not read what it could still read
            client.write(request)
            origin.transport.loseWriteConnection()
            if again:
                fresh = await self.origin.accepted()
                await fresh.readUntil(b"\r\n\r\n")
                fresh.write(OK if request is GET else OK[:-2])
                self.assertIn(b" 200 OK", await client.readUntil(b"\r\n\r\n"))
            else:
                self.assertIn(b"502 PS-DE10", (await response(client))[0])
            origin.transport.abortConnection()


class FlowTests(ForwardTestCase):
    """Back-pressure and departures."""

    async def test_slowClient(self) -> None:
        """An origin has to wait for a client that does not read; then everything arrives."""
        client = await self.open()
        origin, _ = await self.asked(client)
        client.transport.pauseProducing()
        size = 64 << 20
        flood = Flood(origin, size)
        origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        origin.transport.registerProducer(flood, True)
        flood.resumeProducing()
        await stalled(flood)
        self.assertGreater(flood.left, size // 4)
        (inside,) = self.clients.open
        self.clock.advance(200)
        await counted(client, size)
        self.assertEqual(flood.left, 0)
        await self.written()
        self.assertEqual(self.journal[0]["outcome"], "ok")
        self.assertEqual(inside.peer.split(":")[0], "127.0.0.1")

    async def test_slowOrigin(self) -> None:
        """A client has to wait for an origin that does not read."""
        size = 64 << 20
        client = await self.open()
        origin, _ = await self.asked(client, post(b"", length=size))
        origin.transport.pauseProducing()
        flood = Flood(client, size)
        client.transport.registerProducer(flood, True)
        flood.resumeProducing()
        await stalled(flood)
        self.assertGreater(flood.left, size // 4)
        await counted(origin, size)
        origin.write(OK)
        self.assertEqual((await response(client))[1], b"ok")

    async def test_slowConnect(self) -> None:
        """While the connection is made 64 KiB and a read are held, and none of it is lost."""
        size = 16 << 20
        self.way.pending = Deferred()
        client = await self.open()
        client.write(post(b"", length=size))
        flood = Flood(client, size)
        client.transport.registerProducer(flood, True)
        flood.resumeProducing()
        await stalled(flood)
        self.assertGreater(flood.left, 0)
        self.way.pending.callback(None)
        origin = await self.origin.accepted()
        await origin.readUntil(b"\r\n\r\n")
        await counted(origin, size)

    async def test_manyAnswersUnread(self) -> None:
        """Pipelined requests don't pile up answers for a client that reads none of them."""
        client = await self.open()
        client.transport.pauseProducing()
        origin, _ = await self.asked(client, GET * 900)
        big = b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200000
        answers, still = 0, 0
        while still < 40 and answers < 900:
            origin.write(big)
            answers += 1
            still = 0
            while b"\r\n\r\n" not in origin.received and still < 40:
                await tick(0.005)
                still += 1
            if still < 40:
                await origin.readUntil(b"\r\n\r\n")
        self.assertLess(answers, 300)
        client.transport.resumeProducing()
        await client.until(lambda: len(client.received) >= answers * 200000)

    async def test_leavesWhileConnecting(self) -> None:
        """A client that goes takes the search with it, with its timers."""
        cancelled: list[object] = []
        self.way.pending = Deferred(cancelled.append)
        client = await self.open()
        client.write(GET)
        while not self.way.asked:
            await tick()
        client.transport.abortConnection()
        (line,) = await self.written()
        self.assertEqual((line["outcome"], len(cancelled)), ("client_left", 1))
        await self.quiet()

    async def test_leavesWhileWaiting(self) -> None:
        """Or the connection to the origin, whether it resets or just ends."""
        for leave in ("abortConnection", "loseConnection"):
            client = await self.open()
            origin, _ = await self.asked(client)
            getattr(client.transport, leave)()
            await origin.gone()
            await self.quiet()
        self.assertEqual([line["outcome"] for line in self.journal], ["client_left"] * 2)

    async def test_leavesWithinContent(self) -> None:
        """An upload that its client does not finish is not finished for the origin."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"half", length=8))
        client.transport.loseConnection()
        self.assertEqual(await origin.readAll(), b"half")
        await self.quiet()

    async def test_leavesWithinTheAnswer(self) -> None:
        """An answer that nobody reads is not fetched any further."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await client.readUntil(b"half")
        client.transport.abortConnection()
        await origin.gone()
        await self.quiet()

    async def test_halfCloseBehindTheAnswer(self) -> None:
        """A client that ends its output once the answer has begun still gets all of it."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        await client.readUntil(b"half")
        client.transport.loseWriteConnection()
        await tick(0.02)
        origin.write(b"half")
        self.assertEqual(await client.readAll(), b"half")
        await origin.readAll()

    async def test_halfCloseBehindRequests(self) -> None:
        """Requests that are held behind a FIN are answered."""
        client = await self.open()
        origin, _ = await self.asked(client, GET + GET)
        client.transport.loseWriteConnection()
        await tick(0.02)
        origin.write(OK)
        await origin.readUntil(b"\r\n\r\n")
        await response(client)
        origin.write(OK)
        await tick(0.02)


class TimeTests(ForwardTestCase):
    """How long is waited."""

    async def test_noHead(self) -> None:
        """No response within 120 s is 504."""
        client = await self.open()
        origin, _ = await self.asked(client)
        self.clock.pump([10] * 11 + [9.9])
        await tick()
        self.assertEqual(client.received, b"")
        self.clock.advance(0.2)
        head, _ = await response(client)
        self.assertIn(b"504 PS-DE09 index.example:80 accepted the request", head)
        self.assertIn(b"error=http_response_timeout", head)
        await origin.gone()

    async def test_noProgress(self) -> None:
        """120 s without progress in content is a cut; a drip is progress."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        await client.readUntil(b"\r\n\r\n")
        for _ in range(3):
            self.clock.advance(100)
            origin.write(b"x")
            self.assertEqual(await client.read(1), b"x")
        self.clock.pump([60, 60, 1])
        self.assertEqual(await client.readAll(), b"")
        await origin.gone()
        self.assertEqual((await self.written())[0]["outcome"], "cut")

    async def test_slowUpload(self) -> None:
        """The 120 s for a response's head begin anew with each piece of content."""
        client = await self.open()
        origin, _ = await self.asked(client, post(b"", length=3))
        for _ in range(3):
            self.clock.advance(100)
            client.write(b"x")
            await origin.read(1)
        self.clock.advance(100)
        origin.write(OK)
        self.assertEqual((await response(client))[1], b"ok")

    async def test_searchFails(self) -> None:
        """When no way is found the answer says why, and the connection is kept for the next request."""
        self.way.code = "PS-DE02"
        client = await self.open()
        client.write(GET)
        self.assertIn(b"502 PS-DE02 no such name: there", (await response(client))[0])
        self.way.code = ""
        await self.asked(client)
        self.assertEqual([line["outcome"] for line in self.journal], ["no_such_name"])


class OwnErrorTests(ForwardTestCase):
    """Errors of ours end one request, and are logged."""

    async def test_before(self) -> None:
        """Before an answer they are a 500."""

        def broken(destination: object, judge: object) -> None:
            raise ZeroDivisionError

        self.way.connect = broken
        client = await self.open()
        client.write(GET)
        self.assertIn(b"500 PS-SV02", (await response(client))[0])
        self.assertEqual((await self.written())[0]["outcome"], "internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_within(self) -> None:
        """Within one they cut it."""

        def broken(exchange: object, data: bytes) -> None:
            raise ZeroDivisionError

        client = await self.open()
        origin, _ = await self.asked(client)
        self.patch(Exchange, "finish", broken)
        origin.write(OK)
        self.assertTrue((await client.readAll()).endswith(b"ok"))
        self.assertEqual((await self.written())[0]["outcome"], "internal")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await origin.gone()


class Flood:
    """Writes as fast as its transport takes it."""

    def __init__(self, talk: Talk, size: int) -> None:
        self.talk = talk
        self.left = size
        self.paused = False

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.left:
            piece = min(self.left, 65536)
            self.left -= piece
            self.talk.write(b"z" * piece)
        if not self.left:
            self.talk.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.left = 0


async def stalled(flood: Flood) -> None:
    """Wait until nothing more is taken."""
    left = -1
    while left != flood.left:
        left = flood.left
        await tick(0.15)


async def counted(talk: Talk, size: int) -> None:
    """Read `size` bytes of content, without keeping them."""
    talk.transport.resumeProducing()
    while size > 0:
        await talk.until(lambda: talk.received or talk.ended)
        data = talk.received
        talk.received = b""
        head, mark, rest = data.partition(b"\r\n\r\n") if data.startswith(b"HTTP/") else (b"", b"", data)
        assert data, "it ended early"
        size -= len(rest)
