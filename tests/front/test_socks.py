"""The SOCKS conversation, on the wire."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone

from tests.front.proxy import ProxyTestCase, Users, tick

GREETING = b"\x05\x01\x00"
CONNECT = b"\x05\x01\x00\x03\x0dindex.example\x01\xbb"
LOGIN = b"\x01\x03ann\x06secret"
NO = {code: bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]) for code in range(9)}


class SocksTests(ProxyTestCase):
    """What a client sees."""

    async def test_tunnel(self) -> None:
        """Greeting, request, success with our socket's address; then bytes both ways, and a clean end."""
        client = await self.client()
        client.write(GREETING)
        self.assertEqual(await client.read(2), b"\x05\x00")
        client.write(CONNECT)
        reply = await client.read(10)
        origin = await self.origin.accepted()
        self.assertEqual(reply[:8], b"\x05\x00\x00\x01\x7f\x00\x00\x01")
        self.assertEqual(int.from_bytes(reply[8:], "big"), origin.transport.getPeer().port)
        client.write(b"hello")
        self.assertEqual(await origin.read(5), b"hello")
        origin.write(b"welcome")
        origin.transport.loseConnection()
        self.assertEqual(await client.readAll(), b"welcome")
        client.transport.loseConnection()
        await client.gone()
        (line,) = await self.written()
        self.assertEqual(
            (line["protocol"], line["destination"], line["up"], line["down"], line["outcome"]),
            ("socks5", "index.example:443", 5, 7, "ok"),
        )
        self.assertEqual([a["outcome"] for a in line["attempts"]], ["ok"])
        self.assertIn(line["relay"], ("splice", "transport"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_byteByByte(self) -> None:
        """Any fragmentation gives the same result."""
        client = await self.client()
        for byte in GREETING + CONNECT:
            client.write(bytes([byte]))
            await tick(0.001)
        self.assertEqual((await client.read(12))[:4], b"\x05\x00\x05\x00")

    async def test_earlyBytes(self) -> None:
        """What stands behind the request in one segment reaches the destination first, in order."""
        client = await self.client()
        client.write(GREETING + CONNECT + b"early ")
        await client.read(12)
        client.write(b"late")
        self.assertEqual(await (await self.origin.accepted()).read(10), b"early late")

    async def test_noSuccessBeforeTheDial(self) -> None:
        """Nothing is told, and nothing of the client's is read by anybody, until the way stands."""
        self.chain.outcome = Deferred()
        client = await self.client()
        client.write(GREETING + CONNECT + b"early")
        self.assertEqual(await client.read(2), b"\x05\x00")
        await tick(0.02)
        self.assertEqual(client.received, b"")
        self.chain.outcome.callback(None)
        await client.read(10)
        self.assertEqual(await (await self.origin.accepted()).read(5), b"early")

    async def test_heldBytesAreBounded(self) -> None:
        """A client that floods while a way is searched for is not read beyond what is held."""
        self.chain.outcome = Deferred()
        client = await self.client()
        payload = bytes(range(256)) * 65536
        client.write(GREETING + CONNECT + payload)
        await client.read(2)
        await tick(0.1)
        (inside,) = self.clients.open
        self.assertLess(inside.held.size, 65536 * 3)
        self.chain.outcome.callback(None)
        origin = await self.origin.accepted()
        self.assertEqual(await origin.read(len(payload)), payload)

    async def test_halfClose(self) -> None:
        """FIN behind held bytes is a half-close: the answer still comes."""
        self.chain.outcome = Deferred()
        client = await self.client()
        client.write(GREETING + CONNECT + b"question")
        client.transport.loseWriteConnection()
        await tick(0.02)
        self.chain.outcome.callback(None)
        origin = await self.origin.accepted()
        self.assertEqual(await origin.readAll(), b"question")
        origin.write(b"answer")
        origin.transport.loseConnection()
        self.assertEqual((await client.readAll())[12:], b"answer")

    async def test_finWithNothingHeld(self) -> None:
        """FIN with nothing held cancels what is searched for."""
        cancelled: list[object] = []
        self.chain.outcome = Deferred(cancelled.append)
        client = await self.client()
        client.write(GREETING + CONNECT)
        await client.read(2)
        client.transport.loseWriteConnection()
        (line,) = await self.written()
        self.assertEqual((line["outcome"], len(cancelled)), ("client_left", 1))
        await client.readAll()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_resetWhileSearching(self) -> None:
        """So does a reset, with bytes held or not."""
        self.chain.outcome = Deferred(lambda _: None)
        client = await self.client()
        client.write(GREETING + CONNECT + b"held")
        await client.read(2)
        client.transport.abortConnection()
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "client_left")

    async def test_replies(self) -> None:
        """Each failure has its reply, and the connection closes cleanly behind it although input is unread."""
        for code, reply in {"PS-DE01": 5, "PS-DE02": 4, "PS-DE04": 3, "PS-UP17": 6, "PS-UP09": 1, "PS-UP13": 8}.items():
            self.chain.outcome = code
            client = await self.client()
            client.write(GREETING + CONNECT + b"x" * 50_000)
            self.assertEqual(await client.read(2), b"\x05\x00")
            while len(client.received) < 10:
                await tick()
                self.clock.advance(0.1)
            self.assertEqual(await client.readAll(), NO[reply], code)
            client.transport.loseConnection()
            (await client.gone()).trap(ConnectionDone)

    async def test_socks4(self) -> None:
        """SOCKS4 and 4a are served on the same port, with replies of their own."""
        client = await self.client()
        client.write(b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00index.example\x00")
        self.assertEqual((await client.read(8))[:2], b"\x00\x5a")
        self.chain.outcome = "PS-DE02"
        client = await self.client()
        client.write(b"\x04\x01\x01\xbb\x7f\x00\x00\x01me\x00")
        self.assertEqual((await client.readAll())[:2], b"\x00\x5b")
        self.assertEqual([str(d) for d in self.chain.asked], ["index.example:443", "127.0.0.1:443"])

    async def test_unknownCommand(self) -> None:
        """A command that nobody knows has its reply, and the journal a line."""
        client = await self.client()
        client.write(GREETING + b"\x05\x09\x00\x01\x7f\x00\x00\x01\x00\x50")
        self.assertEqual((await client.readAll())[2:4], b"\x05\x07")
        self.assertEqual((await self.written())[0]["outcome"], "command_unsupported")

    async def test_bug(self) -> None:
        """An error of our own is told as one, and the log, not the client, gets its details."""
        self.chain.outcome = fail(ValueError("a bug"))
        client = await self.client()
        client.write(GREETING + CONNECT)
        self.assertEqual((await client.readAll())[2:], NO[1])
        self.assertEqual((await self.written())[0]["outcome"], "internal")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_lingerIsBounded(self) -> None:
        """A client that goes on sending behind a refusal is read away for two seconds, and then reset."""
        self.chain.outcome = "PS-RU02"
        client = await self.client()
        client.write(GREETING + CONNECT)
        await client.read(12)
        self.clock.advance(2.1)
        while self.clients.open:
            await tick()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_lingerFlood(self) -> None:
        """Or one that sends more than a megabyte."""
        self.chain.outcome = "PS-RU02"
        client = await self.client()
        client.write(GREETING + CONNECT)
        await client.read(12)
        client.write(bytes(3 << 20))
        await client.gone()

    async def test_loop(self) -> None:
        """A request for one of our own listeners is refused without a dial."""
        client = await self.client()
        client.write(GREETING + b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x09")
        self.assertEqual((await client.readAll())[2:4], b"\x05\x02")
        self.assertEqual(self.chain.asked, [])
        self.assertEqual((await self.written())[0]["outcome"], "loop")


class LoginTests(ProxyTestCase):
    """A listener that wants a login."""

    async def test_good(self) -> None:
        """A good login, and the user stands in the journal."""
        client = await self.client(logins=Users())
        client.write(b"\x05\x02\x00\x02")
        self.assertEqual(await client.read(2), b"\x05\x02")
        client.write(LOGIN)
        self.assertEqual(await client.read(2), b"\x01\x00")
        client.write(CONNECT)
        self.assertEqual((await client.read(10))[:2], b"\x05\x00")
        client.transport.abortConnection()
        self.assertEqual((await self.written())[0]["user"], "ann")

    async def test_bad(self) -> None:
        """A bad one: 01 01, and the connection closes."""
        client = await self.client(logins=Users())
        client.write(b"\x05\x01\x02\x01\x03ann\x05wrong")
        self.assertEqual(await client.readAll(), b"\x05\x02\x01\x01")
        self.assertEqual((await self.written())[0]["outcome"], "login_failed")

    async def test_floodBehindBadLogin(self) -> None:
        """The answer to a bad login arrives although much more stands behind it, unread."""
        users = Users(user=b"bob", wait=Deferred())
        client = await self.client(logins=users)
        client.write(b"\x05\x01\x02" + LOGIN + bytes(900_000))
        await client.read(2)
        await tick(0.05)
        users.wait.callback(None)
        self.assertEqual(await client.readAll(), b"\x01\x01")
        client.transport.loseConnection()
        (await client.gone()).trap(ConnectionDone)
        while self.clients.open:
            await tick()

    async def test_brokenChecker(self) -> None:
        """A checker that breaks lets nobody in, and the log says so."""
        client = await self.client(logins=Users(wait=fail(ValueError("a bug"))))
        client.write(b"\x05\x01\x02" + LOGIN)
        self.assertEqual(await client.readAll(), b"\x05\x02\x01\x01")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_endsInHandshake(self) -> None:
        """A client that ends, or is gone, in the middle of its handshake leaves a line."""
        for leave in ("loseWriteConnection", "abortConnection"):
            client = await self.client()
            client.write(b"\x05")
            await tick(0.02)
            getattr(client.transport, leave)()
            await client.until(lambda client=client: client.ended)
        self.assertEqual([line["outcome"] for line in await self.written(2)], ["no_request"] * 2)

    async def test_notOffered(self) -> None:
        """A client that offers no login, or speaks SOCKS4, is refused."""
        client = await self.client(logins=Users())
        client.write(GREETING + CONNECT)
        self.assertEqual(await client.readAll(), b"\x05\xff")
        client = await self.client(logins=Users())
        client.write(b"\x04\x01\x00\x50\x7f\x00\x00\x01ann\x00")
        self.assertEqual((await client.readAll())[:2], b"\x00\x5b")
        self.assertEqual(self.chain.asked, [])

    async def test_checkStopsTheClock(self) -> None:
        """The time that the check of a password takes is not the client's; the rest of its ten seconds is."""
        users = Users(wait=Deferred())
        client = await self.client(logins=users)
        client.write(b"\x05\x01\x02")
        await client.read(2)
        self.clock.advance(6)
        client.write(LOGIN + CONNECT[:3])
        await tick(0.02)
        self.clock.advance(60)
        users.wait.callback(None)
        self.assertEqual(await client.read(2), b"\x01\x00")
        self.clock.advance(3.9)
        client.write(CONNECT[3:])
        self.assertEqual((await client.read(10))[:2], b"\x05\x00")

    async def test_leavesWhileChecked(self) -> None:
        """A client that goes while its password is checked leaves nothing behind."""
        users = Users(wait=Deferred(lambda _: None))
        client = await self.client(logins=users)
        client.write(b"\x05\x01\x02" + LOGIN)
        await client.read(2)
        await tick(0.02)
        client.transport.abortConnection()
        while self.clients.open:
            await tick()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_floodWhileChecked(self) -> None:
        """What a client sends behind its login while that is checked is bounded, and not lost."""
        users = Users(wait=Deferred())
        client = await self.client(logins=users)
        payload = b"y" * 3_000_000
        client.write(b"\x05\x01\x02" + LOGIN + CONNECT + payload)
        await client.read(2)
        await tick(0.05)
        users.wait.callback(None)
        self.assertEqual((await client.read(12))[:4], b"\x01\x00\x05\x00")
        self.assertEqual(await (await self.origin.accepted()).read(len(payload)), payload)


class OpeningTests(ProxyTestCase):
    """The first byte, the clock of the handshake, and who may speak at all."""

    async def test_slow(self) -> None:
        """A handshake that drips is over after ten seconds, however it drips."""
        client = await self.client()
        client.write(b"\x05")
        await tick(0.02)
        self.clock.advance(9)
        client.write(b"\x01")
        await tick(0.02)
        self.clock.advance(0.9)
        self.assertFalse(client.ended)
        self.clock.advance(0.2)
        await client.gone()
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "handshake_timeout")
        self.assertGreaterEqual(line["seconds"], 10)

    async def test_silent(self) -> None:
        """So is one that never says anything."""
        client = await self.client()
        while not self.clients.open:
            await tick()
        self.clock.advance(10.1)
        await client.gone()

    async def test_oldestMakesRoom(self) -> None:
        """When too many are in their handshake the oldest is closed for the newest."""
        self.clients.limit = 1
        port = await self.proxy("socks")
        from tests.loopback import connect

        first = await connect(self, port)
        while not self.clients.open:
            await tick()
        second = await connect(self, port)
        await first.gone()
        second.write(GREETING)
        self.assertEqual(await second.read(2), b"\x05\x00")

    async def test_otherProtocol(self) -> None:
        """The SOCKS port serves a client that speaks HTTP, and the other way round."""
        client = await self.client("socks")
        client.write(b"CONNECT index.example:443 HTTP/1.1\r\n\r\n")
        self.assertEqual((await client.readUntil(b"\r\n\r\n"))[:13], b"HTTP/1.1 200 ")
        client = await self.client("http")
        client.write(GREETING + CONNECT)
        self.assertEqual((await client.read(12))[:4], b"\x05\x00\x05\x00")

    async def test_strict(self) -> None:
        """A strict port refuses it with an answer that a person can read."""
        client = await self.client("http", strict=True)
        client.write(GREETING)
        self.assertIn(b"HTTP/1.1 400 PS-RQ07 this port is strict and speaks only HTTP", await client.readAll())
        client = await self.client("socks", strict=True)
        client.write(b"GET http://index.example/ HTTP/1.1\r\n\r\n")
        self.assertIn(b"HTTP/1.1 400 PS-RQ07 this port is strict and speaks only SOCKS", await client.readAll())

    async def test_tls(self) -> None:
        """TLS on a plain port is answered in plain HTTP, which clients make a message of."""
        client = await self.client("http")
        client.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        answer = await client.readAll()
        self.assertTrue(answer.startswith(b"HTTP/1.1 400 PS-RQ03 "), answer)
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "tls_on_plain_port")
        self.assertIn("client used https:// for a plain proxy", line["reason"])

    async def test_nothingSaid(self) -> None:
        """A connection that is closed without a word leaves a line in the journal."""
        client = await self.client()
        client.transport.loseConnection()
        self.assertEqual((await self.written())[0]["outcome"], "no_request")

    async def test_networks(self) -> None:
        """A client from outside the networks is closed without a word, and written down."""
        client = await self.client(networks=["192.0.2.0/24"])
        self.assertEqual(await client.readAll(), b"")
        self.assertEqual((await self.written())[0]["outcome"], "client_network")
        client = await self.client(networks=["192.0.2.0/24", "127.0.0.0/8"])
        client.write(GREETING)
        self.assertEqual(await client.read(2), b"\x05\x00")

    async def test_stopping(self) -> None:
        """When the proxy stops, a client in its handshake is closed and a tunnel goes on."""
        tunnel = await self.client()
        tunnel.write(GREETING + CONNECT)
        await tunnel.read(12)
        for early in (b"", b"\x05"):
            client = await self.client()
            client.write(early)
            await tick(0.02)
            self.clients.stop()
            await client.readAll()
        origin = await self.origin.accepted()
        origin.write(b"still here")
        self.assertEqual(await tunnel.read(10), b"still here")
