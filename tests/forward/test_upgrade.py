"""WebSockets, between a client and an origin that are raw sockets."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost

from tests.forward.case import GET, OK, ForwardTestCase, fieldsOf, response
from tests.front.proxy import tick
from tests.loopback import Talk

ASK = (
    GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
YES = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class WebSocketTests(ForwardTestCase):
    """A request that becomes a tunnel."""

    async def opened(self, early: bytes = b"", said: bytes = b"") -> tuple[Talk, Talk, bytes]:
        """The client, the origin and the 101's head, with these bytes sent behind the request and behind the 101."""
        client = await self.open()
        origin, _ = await self.asked(client, ASK + early)
        origin.write(YES + said)
        return client, origin, await client.readUntil(b"\r\n\r\n")

    async def end(self, client: Talk, origin: Talk) -> None:
        """End a tunnel, so that nothing of it is left when the test is over."""
        written = len(self.lines)
        client.transport.loseConnection()
        origin.transport.loseConnection()
        await self.written(written + 1)

    async def test_tunnel(self) -> None:
        """Both heads pass with what makes the switch, then everything as it is, until both have ended."""
        client = await self.open()
        origin, head = await self.asked(client, ASK)
        fields = fieldsOf(head)
        self.assertEqual((fields[b"upgrade"], fields[b"connection"]), (b"websocket", b"Upgrade"))
        self.assertEqual(fields[b"sec-websocket-key"], b"dGhlIHNhbXBsZSBub25jZQ==")
        origin.write(YES)
        answer = await client.readUntil(b"\r\n\r\n")
        self.assertEqual(
            answer,
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nVia: 1.1 pipsocks\r\n\r\n",
        )
        client.write(b"\x81\x05hello\r\n\r\n")
        self.assertEqual(await origin.read(11), b"\x81\x05hello\r\n\r\n")
        origin.write(b"HTTP/1.1 \x00\n\n")
        self.assertEqual(await client.read(12), b"HTTP/1.1 \x00\n\n")
        self.assertEqual(self.lines, [])
        client.transport.loseWriteConnection()
        self.assertEqual(await origin.readAll(), b"")
        origin.write(b"bye")
        origin.transport.loseConnection()
        self.assertEqual(await client.readAll(), b"bye")
        (line,) = await self.written()
        self.assertEqual(
            (line["protocol"], line["destination"], line["outcome"], line["up"], line["down"]),
            ("http", "index.example:80", "ok", len(head) + 11, len(answer) + 12 + 3),
        )
        self.assertIn(line["relay"], ("splice", "transport"))
        await self.quiet()

    async def test_earlyBytes(self) -> None:
        """What either side sends without waiting arrives first, and the client's only behind the 101."""
        client = await self.open()
        origin, _ = await self.asked(client, ASK + b"early ")
        await tick(0.02)
        self.assertEqual(origin.received, b"")
        client.write(b"bird")
        await tick(0.02)
        origin.write(YES + b"worm")
        await client.readUntil(b"\r\n\r\n")
        self.assertEqual(await client.read(4), b"worm")
        self.assertEqual(await origin.read(10), b"early bird")
        await self.end(client, origin)

    async def test_manyEarlyBytes(self) -> None:
        """More of them than are held wait at the client, and none is lost."""
        size = 1 << 20
        client, origin, _ = await self.opened(b"x" * size, b"y" * 100_000)
        self.assertEqual(await client.read(100_000), b"y" * 100_000)
        self.assertEqual(await origin.read(size), b"x" * size)
        await self.end(client, origin)

    async def test_halfCloseOfTheOrigin(self) -> None:
        """An origin that has said all still hears the client."""
        client, origin, _ = await self.opened()
        origin.transport.loseWriteConnection()
        self.assertEqual(await client.readAll(), b"")
        client.write(b"still here")
        self.assertEqual(await origin.read(10), b"still here")
        await self.end(client, origin)
        self.assertEqual(self.journal[0]["outcome"], "ok")

    async def test_halfCloseBehindEarlyBytes(self) -> None:
        """A client that has said all behind its request still hears the origin."""
        client = await self.open()
        origin, _ = await self.asked(client, ASK + b"all")
        client.transport.loseWriteConnection()
        await tick(0.02)
        origin.write(YES)
        await client.readUntil(b"\r\n\r\n")
        self.assertEqual(await origin.readAll(), b"all")
        origin.write(b"well")
        origin.transport.loseConnection()
        self.assertEqual(await client.readAll(), b"well")
        await self.written()

    async def test_reset(self) -> None:
        """A reset of either side is one for the other."""
        for first in (0, 1):
            client, origin, _ = await self.opened()
            talks = (client, origin)
            talks[first].transport.abortConnection()
            (await talks[1 - first].gone()).trap(ConnectionLost)
        self.assertEqual([line["outcome"] for line in await self.written(2)], ["reset_client", "reset_origin"])

    async def test_behindAnotherRequest(self) -> None:
        """The connections may have carried requests before, and an interim answer may come first."""
        client = await self.open()
        origin, _ = await self.asked(client)
        origin.write(OK)
        await response(client)
        client.write(ASK)
        await origin.readUntil(b"\r\n\r\n")
        origin.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + YES + b"x")
        self.assertIn(b"103 Early", await client.readUntil(b"\r\n\r\n"))
        self.assertIn(b"101 Switching", await client.readUntil(b"\r\n\r\n"))
        self.assertEqual(await client.read(1), b"x")
        self.clock.advance(4000)
        client.write(b"y")
        self.assertEqual(await origin.read(1), b"y")
        await self.end(client, origin)

    async def test_refused(self) -> None:
        """An origin that answers as usual is answered for as usual: what is behind is the next request."""
        client = await self.open()
        origin, _ = await self.asked(client, ASK + GET.replace(b"simple", b"next"))
        origin.write(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno")
        head, content = await response(client)
        self.assertIn(b"426 Upgrade Required", head)
        self.assertNotIn(b"\r\nUpgrade", head)
        self.assertEqual(content, b"no")
        self.assertTrue((await origin.readUntil(b"\r\n\r\n")).startswith(b"GET /next/ "))

    async def test_otherProtocols(self) -> None:
        """Any other Upgrade does not reach the origin; a switch to another protocol is 502."""
        for wish in (b"h2c", b"TLS/1.0", b"websockets"):
            client = await self.open()
            origin, head = await self.asked(client, ASK.replace(b"websocket\r\n", wish + b"\r\n"))
            self.assertNotIn(b"pgrade", head)
            origin.write(YES)
            self.assertIn(b"502 PS-DE08", (await response(client))[0])
        for granted in (b"Upgrade: h2c", b"Upgrade: websocket, h2c", b"X: y"):
            client = await self.open()
            origin, _ = await self.asked(client, ASK)
            origin.write(YES.replace(b"upgrade: websocket", granted))
            self.assertIn(b"502 PS-DE08", (await response(client))[0])
            await origin.gone()

    async def test_throughAnHTTPHop(self) -> None:
        """The last hop is asked in absolute-form, with the wish, and its connection becomes the tunnel."""
        self.ways.clear()
        hop = await self.addWay("hop")
        client = await self.open()
        origin, head = await self.asked(client, ASK, hop)
        self.assertTrue(head.startswith(b"GET http://index.example/simple/ HTTP/1.1\r\n"), head)
        self.assertEqual(fieldsOf(head)[b"upgrade"], b"websocket")
        origin.write(YES + b"in")
        await client.readUntil(b"\r\n\r\n")
        client.write(b"out")
        self.assertEqual((await client.read(2), await origin.read(3)), (b"in", b"out"))
        await self.end(client, origin)

    async def test_leavesMeanwhile(self) -> None:
        """A client that goes before the answer takes the connection with it."""
        client = await self.open()
        origin, _ = await self.asked(client, ASK)
        client.transport.abortConnection()
        await origin.gone()
        await self.quiet()
        self.assertEqual(self.journal[0]["outcome"], "client_left")

    async def test_slowSwitch(self) -> None:
        """It is not sent twice, nor to two, however long the origin takes."""
        await self.addWay("other", hop=False)
        client = await self.open()
        origin, _ = await self.asked(client, ASK)
        await self.pass_(10)
        self.assertEqual(len(self.ways[1].asked), 0)
        origin.transport.abortConnection()
        self.assertIn(b"502 PS-DE10", (await response(client))[0])
        self.assertEqual(len(self.ways[1].asked), 0)
