"""The HTTP conversation: CONNECT, login, times, and what is refused before anything is forwarded."""

from __future__ import annotations

import base64
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost

from pipsocks.model import Ended
from pipsocks.refusal import Refusal
from tests.forward.case import response
from tests.front.proxy import ProxyTestCase, Users, tick
from tests.loopback import Talk

CONNECT = b"CONNECT index.example:443 HTTP/1.1\r\nHost: index.example:443\r\n\r\n"
YES = b"HTTP/1.1 200 Connection established\r\n\r\n"
GET = b"GET http://index.example/ HTTP/1.1\r\nHost: index.example\r\n\r\n"


def login(credentials: bytes, request: bytes = CONNECT) -> bytes:
    """A request with credentials."""
    return request[:-2] + b"Proxy-Authorization: Basic " + base64.b64encode(credentials) + b"\r\n\r\n"


class Forward:
    """Answers each request itself, with what the test says."""

    def __init__(self, answer: bytes = b"ok") -> None:
        self.seen: list[Any] = []
        self.open = 0
        self.answer = answer
        self.wait: Deferred[None] | None = None
        self.error: Exception | None = None

    def origins(self, judge: Any) -> Forward:
        self.open += 1
        return self

    def close(self) -> None:
        self.open -= 1

    async def forward(self, session: Any, target: Any, exchange: Any) -> None:
        self.seen.append((target.authority, target.path, session.request.user))
        if self.wait is not None:
            await self.wait
        if self.error is not None:
            raise self.error
        session.entry.close(Ended("ok"))
        exchange.answer(200, b"OK", ((b"Content-Length", b"%d" % len(self.answer)),))
        exchange.write(self.answer)
        exchange.finish(())


class HTTPCase(ProxyTestCase):
    """A test with an HTTP listener."""

    async def begin(self) -> None:
        await super().begin()
        self.forward = Forward()

    async def http(self, **settings: Any) -> Talk:
        return await self.client("http", forward=self.forward, **settings)

    async def refused(self, request: bytes, phrase: bytes, **settings: Any) -> bytes:
        """See that `request` is refused, and the connection closed cleanly; returns the head."""
        client = await self.http(**settings)
        client.write(request)
        head, _ = await response(client)
        self.assertIn(phrase, head.split(b"\r\n")[0])
        self.assertIn(b"Connection: close", head)
        self.assertEqual(await client.readAll(), b"")
        client.transport.loseConnection()
        (await client.gone()).trap(ConnectionDone)
        return head


class ConnectTests(HTTPCase):
    """Tunnels."""

    async def test_tunnel(self) -> None:
        """One head and nothing else, then the tunnel."""
        client = await self.http()
        client.write(CONNECT)
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)
        origin = await self.origin.accepted()
        client.write(b"hello")
        self.assertEqual(await origin.read(5), b"hello")
        origin.write(b"welcome")
        origin.transport.loseConnection()
        self.assertEqual(await client.readAll(), b"welcome")
        client.transport.loseConnection()
        (line,) = await self.written()
        self.assertEqual(
            (line["protocol"], line["destination"], line["up"], line["down"], line["outcome"]),
            ("connect", "index.example:443", 5, 7, "ok"),
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_clientsForms(self) -> None:
        """What real clients send: pip on 3.11 (1.0, no Host), Python 3.13.0's broken Host, httpx's bare IPv6."""
        for request, destination in (
            (b"CONNECT index.example:443 HTTP/1.0\r\n\r\n", "index.example:443"),
            (b"CONNECT [::1]:443 HTTP/1.1\r\nHost: ::1:443\r\n\r\n", "[::1]:443"),
            (b"CONNECT ::1:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", "[::1]:443"),
            (b"CONNECT 127.1:443 HTTP/1.1\r\n\r\n", "127.0.0.1:443"),
            (b"\r\nCONNECT a_b.example:1 HTTP/1.1\r\nhost: x\r\nproxy-connection: Keep-Alive\r\n\r\n", "a_b.example:1"),
        ):
            client = await self.http()
            client.write(request)
            self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)
            self.assertEqual(str(self.chain.asked.pop()), destination)

    async def test_byteByByte(self) -> None:
        """Any fragmentation gives the same."""
        client = await self.http()
        for byte in CONNECT:
            client.write(bytes([byte]))
            await tick(0.001)
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)

    async def test_earlyBytes(self) -> None:
        """Bytes behind the head reach the destination first, and only after success."""
        self.chain.outcome = Deferred()
        client = await self.http()
        client.write(CONNECT + b"early ")
        await tick(0.02)
        client.write(b"late")
        await tick(0.02)
        self.assertEqual(client.received, b"")
        self.chain.outcome.callback(None)
        self.assertEqual(await (await self.origin.accepted()).read(10), b"early late")

    async def test_badTargets(self) -> None:
        """What is no host and port is 400, and nothing is dialled."""
        for target in (b"a.example", b"a.example:0", b"a.example:65536", b"a.example:+80", b"me@a.example:80",
                       b"http://a.example:80", b"a.example:80/x", b"/"):  # fmt: skip
            await self.refused(b"CONNECT " + target + b" HTTP/1.1\r\n\r\n", b"400 PS-RQ10")
        self.assertEqual(self.chain.asked, [])
        self.assertEqual((await self.written())[0]["outcome"], "bad_destination")

    async def test_failures(self) -> None:
        """A way that is not found is told with its status, though early bytes are unread."""
        for code, status in {"PS-DE01": 502, "PS-DE05": 504, "PS-UP09": 503, "PS-UP11": 403}.items():
            self.chain.outcome = code
            client = await self.http()
            client.write(CONNECT + b"x" * 50_000)
            while b"\r\n\r\n" not in client.received:
                await tick()
                self.clock.advance(0.1)
            head, _ = await response(client)
            self.assertIn(b"HTTP/1.1 %d %s" % (status, code.encode()), head)
            self.assertEqual(await client.readAll(), b"")
            client.transport.loseConnection()
            (await client.gone()).trap(ConnectionDone)

    async def test_afterARequest(self) -> None:
        """A CONNECT may follow forwarded requests on the same connection."""
        client = await self.http()
        client.write(GET + CONNECT + b"early")
        await response(client)
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)
        self.assertEqual(await (await self.origin.accepted()).read(5), b"early")
        self.assertEqual(self.forward.open, 0)


class LoginTests(HTTPCase):
    """A listener that wants a login."""

    async def test_challenge(self) -> None:
        """git sends its password only when asked, on the same connection."""
        client = await self.http(logins=Users())
        client.write(CONNECT)
        head, _ = await response(client)
        self.assertIn(b"HTTP/1.1 407 PS-AU01 login required", head)
        self.assertIn(b'Proxy-Authenticate: Basic realm="pipsocks", charset="UTF-8"\r\n', head)
        self.assertNotIn(b"Connection: close", head)
        client.write(login(b"ann:wrong"))
        self.assertIn(b"HTTP/1.1 407 PS-AU02", (await response(client))[0])
        client.write(login(b"ann:secret"))
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)
        client.transport.abortConnection()
        lines = await self.written(3)
        self.assertEqual([line["outcome"] for line in lines[:2]], ["login_required", "login_failed"])
        self.assertEqual(lines[2]["user"], "ann")

    async def test_closed(self) -> None:
        """It closes for HTTP/1.0, and where bytes stand behind a CONNECT that are no request."""
        for request in (b"CONNECT a.example:1 HTTP/1.0\r\n\r\n", CONNECT + b"GET http://a/ HTTP/1.1\r\n\r\n"):
            await self.refused(request, b"407 PS-AU01", logins=Users())
        self.assertEqual(self.forward.seen, [])

    async def test_malformed(self) -> None:
        """Credentials that are none: another scheme, bad base64, no colon, two of them."""
        for value, code in (
            (b"Bearer abc", b"AU01"),
            (b"Basic", b"AU02"),
            (b"Basic YW5u\xff", b"AU02"),
            (b"Basic YW5uO", b"AU02"),
            (b"Basic YW5u", b"AU02"),
            (b"Basic YW5uOnNlY3JldA==\r\nProxy-Authorization: Basic YW5uOnNlY3JldA==", b"AU02"),
        ):
            client = await self.http(logins=Users())
            client.write(CONNECT[:-2] + b"Proxy-Authorization: " + value + b"\r\n\r\n")
            self.assertIn(b"407 PS-" + code, (await response(client))[0])

    async def test_octets(self) -> None:
        """Octets pass as they are, colons in the password too; the scheme's case is of no matter."""
        client = await self.http(logins=Users("ä".encode(), "s:é:".encode()))
        client.write(login("ä:s:é:".encode("latin-1")).replace(b"Basic", b"bASIC"))
        self.assertEqual(await client.readUntil(b"\r\n\r\n"), YES)

    async def test_everyRequest(self) -> None:
        """One good login does not open the connection for the next request."""
        client = await self.http(logins=Users())
        client.write(login(b"ann:secret", GET))
        self.assertEqual((await response(client))[1], b"ok")
        client.write(GET)
        self.assertIn(b"407", (await response(client))[0])
        client.write(login(b"ann:secret", GET))
        self.assertEqual((await response(client))[1], b"ok")
        self.assertEqual([user for _, _, user in self.forward.seen], ["ann", "ann"])

    async def test_contentBehindTheChallenge(self) -> None:
        """A little content behind a 407 is read away, much of it closes the connection."""
        post = b"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        client = await self.http(logins=Users())
        client.write(post % 5 + b"abc")
        self.assertNotIn(b"close", (await response(client))[0])
        client.write(b"de" + login(b"ann:secret", GET))
        self.assertEqual((await response(client))[1], b"ok")
        await self.refused(post % 300_000 + b"abc", b"407", logins=Users())

    async def test_endlessContentBehindTheChallenge(self) -> None:
        """Content of unknown length is read away up to a bound, and no longer than a handshake takes."""
        post = b"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client = await self.http(logins=Users())
        client.write(post)
        self.assertNotIn(b"close", (await response(client))[0])
        client.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        client.write(b"100000\r\n" + b"x" * 300_000)
        self.assertEqual(await client.readAll(), b"")
        for rest in (b"zz\r\n", b""):
            client = await self.http(logins=Users())
            client.write(post + rest)
            await response(client)
            await tick()
            self.clock.advance(10)
            self.assertEqual(await client.readAll(), b"")

    async def test_leavesWhileChecked(self) -> None:
        """A client that goes while its password is checked leaves nothing behind."""
        for request in (CONNECT, GET):
            users = Users(wait=Deferred(lambda _: None))
            client = await self.http(logins=users)
            client.write(login(b"ann:secret", request))
            await tick(0.02)
            client.transport.loseConnection()
            while self.clients.open:
                await tick()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([line["outcome"] for line in self.journal], ["client_left"] * 2)

    async def test_halfCloseWhileChecked(self) -> None:
        """FIN behind early bytes is a half-close while a password is checked, too."""
        users = Users(wait=Deferred())
        client = await self.http(logins=users)
        client.write(login(b"ann:secret") + b"early")
        await tick(0.02)
        client.transport.loseWriteConnection()
        await tick(0.02)
        users.wait.callback(None)
        origin = await self.origin.accepted()
        self.assertEqual(await origin.readAll(), b"early")
        origin.transport.loseConnection()
        self.assertEqual(await client.readAll(), YES)
        await self.written()

    async def test_checkFails(self) -> None:
        """When logins can't be checked at all that is our error, and logged."""

        class Broken:
            async def check(self, user: bytes, password: bytes) -> str:
                raise ZeroDivisionError

        await self.refused(login(b"ann:secret"), b"500 PS-SV02", logins=Broken())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RefusedTests(HTTPCase):
    """What is no request that a proxy forwards."""

    async def test_forms(self) -> None:
        """A request for the port itself, another scheme, no URL: 400, with what to do."""
        for target, phrase in (
            (b"/", b"400 PS-RQ02 this is a proxy, not a web server; set http_proxy"),
            (b"*", b"400 PS-RQ02"),
            (b"https://a.example/", b"400 PS-RQ02 this is a proxy, and https:// URLs need CONNECT"),
            (b"ftp://a.example/", b"400 PS-RQ10"),
            (b"a.example:80", b"400 PS-RQ10"),
            (b"http://me@a.example/", b"400 PS-RQ10"),
        ):
            await self.refused(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n", phrase)
        self.assertEqual(self.forward.seen, [])

    async def test_malformed(self) -> None:
        """What the gate refuses is answered with the status that it names, and closed."""
        for request, phrase in (
            (b"GET / HTTP/1.1\nHost: x\n\n", b"400 PS-RQ01"),
            (b"GET http://a/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", b"400 PS-RQ01"),
            (b"GET http://a/ HTTP/2.0\r\n\r\n", b"505 PS-RQ05"),
            (b"GET http://a/ HTTP/1.1\r\nX: " + b"y" * 70_000, b"431 PS-RQ04"),
            (b"GET http://a/ HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 201 + b"\r\n", b"431 PS-RQ04"),
        ):
            await self.refused(request, phrase)
        self.assertEqual(self.forward.seen, [])
        self.assertEqual((await self.written())[0]["outcome"], "bad_request")

    async def test_behindAGoodOne(self) -> None:
        """A malformed request behind a good one is answered after it."""
        client = await self.http()
        client.write(GET + b"nonsense\r\n\r\n")
        self.assertEqual((await response(client))[1], b"ok")
        self.assertIn(b"400 PS-RQ01", (await response(client))[0])
        await client.readAll()

    async def test_ourOwnError(self) -> None:
        """An error of ours is 500, logged, and the end of that connection alone."""
        self.forward.error = ZeroDivisionError()
        await self.refused(GET, b"500 PS-SV02")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_ourOwnErrorWithinAnAnswer(self) -> None:
        """Within an answer it is a cut."""

        class Half(Forward):
            async def forward(self, session: Any, target: Any, exchange: Any) -> None:
                exchange.answer(200, b"OK", ((b"Content-Length", b"9"),))
                raise ZeroDivisionError

        self.forward = Half()
        client = await self.http()
        client.write(GET)
        (await client.gone()).trap(ConnectionLost)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_head(self) -> None:
        """A refused HEAD has no content, and the connection goes on where it can."""

        class No(Forward):
            async def forward(self, session: Any, target: Any, exchange: Any) -> None:
                exchange.refuse(Refusal("PS-DE01", where="x"))

        self.forward = No()
        client = await self.http()
        client.write(GET.replace(b"GET", b"HEAD") * 2)
        for _ in range(2):
            self.assertIn(b"502 PS-DE01", await client.readUntil(b"\r\n\r\n"))
        await tick(0.02)
        self.assertEqual(client.received, b"")


class TimeTests(HTTPCase):
    """How long a client may take."""

    async def test_slowHead(self) -> None:
        """10 s for the first head since the connection was made, however it drips: 408."""
        client = await self.http()
        await tick()
        self.clock.advance(5)
        for byte in GET[:8]:
            client.write(bytes([byte]))
            await tick(0.002)
            self.clock.advance(0.6)
        self.assertEqual(client.received, b"")
        self.clock.advance(0.6)
        self.assertIn(b"408 PS-RQ06", (await response(client))[0])
        self.assertEqual(await client.readAll(), b"")
        self.assertEqual((await self.written())[0]["outcome"], "handshake_timeout")

    async def test_slowSecondHead(self) -> None:
        """10 s for each later one since its first byte."""
        client = await self.http()
        client.write(GET)
        await response(client)
        self.clock.advance(50)
        client.write(GET[:20])
        await tick(0.02)
        self.clock.advance(9.9)
        client.write(GET[20:30])
        await tick(0.02)
        self.assertEqual(client.received, b"")
        self.clock.advance(0.2)
        self.assertIn(b"408 PS-RQ06", (await response(client))[0])

    async def test_idle(self) -> None:
        """60 s between two requests, then a quiet close."""
        client = await self.http()
        for _ in range(2):
            client.write(GET)
            await response(client)
            self.clock.advance(59.9)
        self.clock.advance(0.2)
        self.assertEqual(await client.readAll(), b"")
        client.transport.loseConnection()
        while self.clients.open:
            await tick()
        self.assertEqual((self.clock.getDelayedCalls(), self.forward.open), ([], 0))

    async def test_notDuringAnAnswer(self) -> None:
        """The clocks of the client's own do not run while it waits for an answer."""
        self.forward.wait = Deferred()
        client = await self.http()
        client.write(GET)
        await tick(0.02)
        self.clock.advance(1000)
        self.forward.wait.callback(None)
        self.assertEqual((await response(client))[1], b"ok")

    async def test_unreadAnswer(self) -> None:
        """An answer that is not read for an hour is given up."""
        self.forward = Forward(b"x" * (64 << 20))
        client = await self.http()
        client.transport.pauseProducing()
        client.write(GET)
        await tick(0.1)
        self.clock.advance(3599)
        await tick(0.02)
        self.assertEqual(len(self.clients.open), 1)
        self.clock.advance(2)
        while self.clients.open:
            await tick()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_ends(self) -> None:
        """A client that ends between requests is let go; within a head it is told so."""
        client = await self.http()
        client.write(GET)
        await response(client)
        client.transport.loseWriteConnection()
        self.assertEqual(await client.readAll(), b"")
        client = await self.http()
        client.write(GET[:10])
        client.transport.loseWriteConnection()
        self.assertIn(b"400 PS-RQ01 malformed request: it ended early", (await response(client))[0])

    async def test_vanishes(self) -> None:
        """A client that resets leaves nothing behind, and a line in the journal where it had begun to ask."""
        for sent in (b"G", GET[:30], GET):
            client = await self.http()
            client.write(sent)
            await tick(0.02)
            client.transport.abortConnection()
            while self.clients.open:
                await tick()
            self.assertEqual((self.clock.getDelayedCalls(), self.forward.open), ([], 0))
        self.assertEqual([line["outcome"] for line in self.journal], ["no_request", "no_request", "ok"])

    async def test_backlog(self) -> None:
        """Pipelined requests beyond 64 KiB and a read are left to the client."""
        self.forward.wait = Deferred()
        client = await self.http()
        client.write(GET * 20_000)
        await tick(0.1)
        (inside,) = self.clients.open
        self.assertLess(inside._speaker._gate.held, 200_000)
        self.forward.wait.callback(None)
        self.forward.wait = None
        await client.until(lambda: len(client.received) > 200_000)


class StopTests(HTTPCase):
    """The proxy stops."""

    async def test_idle(self) -> None:
        """A client between two requests is let go at once."""
        client = await self.http()
        client.write(GET)
        await response(client)
        self.clients.stop()
        self.assertEqual(await client.readAll(), b"")

    async def test_withinAHead(self) -> None:
        """One that is asking is told."""
        client = await self.http()
        client.write(GET[:20])
        await tick(0.02)
        self.clients.stop()
        head, _ = await response(client)
        self.assertIn(b"503 PS-SV01", head)
        self.assertIn(b"Retry-After: ", head)

    async def test_underWay(self) -> None:
        """One that is being answered gets its answer, which says that it is the last."""
        self.forward.wait = Deferred()
        client = await self.http()
        client.write(GET * 2)
        await tick(0.02)
        self.clients.stop()
        self.forward.wait.callback(None)
        head, content = await response(client)
        self.assertIn(b"Connection: close\r\n", head)
        self.assertEqual(content, b"ok")
        self.assertEqual(await client.readAll(), b"")

    async def test_whileReading(self) -> None:
        """One that has yet to read its answer reads it, and then there is nothing more."""
        self.forward = Forward(b"x" * (12 << 20))
        client = await self.http()
        client.transport.pauseProducing()
        client.write(GET)
        await tick(0.1)
        self.clients.stop()
        client.transport.resumeProducing()
        self.assertEqual(len((await client.readAll()).partition(b"\r\n\r\n")[2]), 12 << 20)
