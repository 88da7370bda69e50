"""First flights on real sockets, with the clock in the test's hands: idle tunnels, ends, floods, an exit's death."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost

from tests.front.proxy import ProxyTestCase, ScriptedEndpoint, tick
from tests.loopback import Talk, connect
from tests.wire.hellos import message, records, serverName

HELLO = records(message(serverName(b"index.example")))
SOCKS = b"\x05\x01\x00\x05\x01\x00\x03\x0dindex.example\x01\xbb"
CONNECT = b"CONNECT index.example:443 HTTP/1.1\r\nHost: index.example:443\r\n\r\n"
MEBIBYTE = 1 << 20


class FlightCase(ProxyTestCase):
    """A listener with one exit, which is not the direct route: so flights are watched."""

    async def begin(self) -> None:
        await super().begin()
        self.chain = ScriptedEndpoint(self.originPort, name="exit", direct=False)
        self.talks: list[Talk] = []

    async def tunnel(self, port: int, protocol: str, early: bytes = b"") -> tuple[Talk, Talk]:
        """A client that was told yes, and the origin's side of its tunnel."""
        client = await connect(self, port)
        self.talks.append(client)
        if protocol == "socks":
            client.write(SOCKS + early)
            answer = await client.read(12)
            self.assertEqual(answer[:4], b"\x05\x00\x05\x00")
        else:
            client.write(CONNECT + early)
            self.assertEqual((await client.readUntil(b"\r\n\r\n"))[:13], b"HTTP/1.1 200 ")
        return client, await self.origin.accepted()

    async def until(self, true: Any) -> None:
        """Wait for what happens inside."""
        while not true():
            await tick()

    async def over(self, count: int = 1) -> None:
        """Everybody has left; nothing is left of them."""
        for end in (*self.origin.talks, *self.talks):
            if end.lost is None:
                end.transport.loseConnection()  # type: ignore[union-attr]
        await self.written(count)
        self.assertEqual(self.chain.health.tunnels, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class IdleTests(FlightCase):
    """Tunnels that are opened ahead of their use."""

    async def test_handedOver(self) -> None:
        """After 10 s without a word the relay has them, and no timer is left for each; then they work as any."""
        for protocol in ("socks", "http"):
            port = await self.proxy(protocol)
            pairs = [await self.tunnel(port, protocol) for _ in range(20)]
            self.assertEqual(len(self.clock.getDelayedCalls()), 20)
            self.clock.advance(9.9)
            self.assertEqual(len(self.clock.getDelayedCalls()), 20)
            self.clock.advance(0.1)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(300)
            for client, origin in pairs:
                client.write(HELLO)
                self.assertEqual(await origin.read(len(HELLO)), HELLO)
                origin.write(b"hello")
                self.assertEqual(await client.read(5), b"hello")
            await self.over(20)
            self.assertEqual({line["outcome"] for line in self.journal}, {"ok"})
            self.lines.clear()

    async def test_manyAtOnce(self) -> None:
        """Those that were answered have no timer at all."""
        port = await self.proxy("http")
        pairs = [await self.tunnel(port, "http", HELLO) for _ in range(20)]
        for client, origin in pairs:
            origin.write(b"x")
            await client.read(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        await self.over(20)


class RescueTests(FlightCase):
    """The exit dies, and is asked again."""

    async def test_resent(self) -> None:
        """What the client sent goes again, as it was; of the first connection the client hears nothing."""
        for protocol in ("socks", "http"):
            self.lines.clear()
            port = await self.proxy(protocol)
            client, first = await self.tunnel(port, protocol)
            client.write(HELLO[:30])
            await first.read(30)
            client.write(HELLO[30:])
            await first.read(len(HELLO) - 30)
            first.transport.abortConnection()  # type: ignore[union-attr]
            second = await self.origin.accepted()
            self.assertEqual(await second.read(len(HELLO)), HELLO)
            second.write(b"answer")
            self.assertEqual(await client.read(6), b"answer")
            client.write(b"more")
            self.assertEqual(await second.read(4), b"more")
            await self.over()
            (line,) = self.journal
            self.assertEqual((line["up"], line["down"], line["replays"]), (len(HELLO) + 4, 6, 1))

    async def test_half(self) -> None:
        """Half a ClientHello was there when the exit died: the rest comes within a second, and all of it goes again."""
        for seconds in (0.9, 1.0):
            port = await self.proxy("socks")
            client, first = await self.tunnel(port, "socks", HELLO[:30])
            await first.read(30)
            first.transport.abortConnection()  # type: ignore[union-attr]
            due = self.clock.seconds() + 1
            await self.until(lambda: [each.getTime() for each in self.clock.getDelayedCalls()] == [due])  # noqa: B023
            self.clock.advance(seconds)
            if seconds == 1.0:
                self.assertTrue((await client.gone()).check(ConnectionLost))
                break
            client.write(HELLO[30:])
            second = await self.origin.accepted()
            self.assertEqual(await second.read(len(HELLO)), HELLO)
            second.write(b"answer")
            self.assertEqual(await client.read(6), b"answer")
            await self.over()
        self.assertEqual(len(self.chain.asked), 3)
        await self.over(2)

    async def test_flood(self) -> None:
        """A client that floods while its exit is asked again loses nothing, and what came is in order."""
        client, first = await self.tunnel(await self.proxy("socks"), "socks", HELLO)
        await first.read(len(HELLO))
        asking: Deferred[None] = Deferred()
        self.chain.outcome = asking
        first.transport.loseConnection()  # type: ignore[union-attr]
        await self.until(lambda: len(self.chain.asked) == 2)
        data = bytes(range(256)) * (4 * MEBIBYTE // 256)
        client.write(data)
        await self.until(lambda: len(client.transport.dataBuffer) < len(data))  # type: ignore[union-attr]
        for _ in range(20):
            await tick()
        # The kernel took some, the proxy 64 KiB and one read; the rest waits at the client.
        self.assertGreater(len(client.transport.dataBuffer), 0)  # type: ignore[union-attr]
        self.chain.outcome = None
        asking.callback(None)
        second = await self.origin.accepted()
        self.assertTrue(await second.read(len(HELLO) + len(data)) == HELLO + data)
        await self.over()

    async def test_clientGone(self) -> None:
        """A client that resets while its exit is asked again: that is cancelled."""
        client, first = await self.tunnel(await self.proxy("http"), "http", HELLO)
        cancelled: list[bool] = []
        self.chain.outcome = Deferred(lambda _: cancelled.append(True))
        first.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: len(self.chain.asked) == 2)
        client.transport.abortConnection()  # type: ignore[union-attr]
        (line,) = await self.written()
        self.assertEqual(line["outcome"], "reset_client")
        self.assertEqual([each["outcome"] for each in line["attempts"]], ["ok", "died", "cancelled"])
        self.assertEqual(cancelled, [True])
        await self.over()

    async def test_told(self) -> None:
        """What can't go again ends as the exit ended it: by a reset here, by an end there."""
        for end, lost in (("abortConnection", True), ("loseConnection", False)):
            client, first = await self.tunnel(await self.proxy("socks"), "socks", b"POST / HTTP/1.1\r\n\r\n")
            await first.read(19)
            getattr(first.transport, end)()
            self.assertEqual(await client.readAll(), b"")
            if lost:
                self.assertTrue((await client.gone()).check(ConnectionLost))
            self.assertEqual(len(self.chain.asked), 1)
            self.chain.asked.clear()
            client.transport.loseConnection()  # type: ignore[union-attr]
        await self.written(2)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class EndTests(FlightCase):
    """The client's end, and servers that speak first."""

    async def test_halfClose(self) -> None:
        """A FIN behind the request goes on to the origin; the answer comes whole, however late."""
        for protocol in ("socks", "http"):
            self.lines.clear()
            client, origin = await self.tunnel(await self.proxy(protocol), protocol)
            client.write(b"GET / HTTP/1.0\r\n\r\n")
            client.transport.loseWriteConnection()  # type: ignore[union-attr]
            self.assertEqual(await origin.readAll(), b"GET / HTTP/1.0\r\n\r\n")
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.clock.advance(30)
            origin.write(b"x" * MEBIBYTE)
            origin.transport.loseConnection()  # type: ignore[union-attr]
            self.assertEqual(len(await client.readAll()), MEBIBYTE)
            await self.over()
            self.assertEqual(self.journal[0]["outcome"], "ok")

    async def test_serverSpeaksFirst(self) -> None:
        """A greeting reaches a client that waits for it, and it is the first byte."""
        client, origin = await self.tunnel(await self.proxy("socks"), "socks")
        origin.write(b"SSH-2.0-x\r\n")
        self.assertEqual(await client.read(11), b"SSH-2.0-x\r\n")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        client.write(b"SSH-2.0-y\r\n")
        self.assertEqual(await origin.read(11), b"SSH-2.0-y\r\n")
        await self.over()

    async def test_sinkThatEndsAtOnce(self) -> None:
        """An origin that ends its side at once and only listens, as ``nc -l </dev/null``, gets every byte."""
        client, first = await self.tunnel(await self.proxy("socks"), "socks")
        asking: Deferred[None] = Deferred()
        self.chain.outcome = asking
        first.transport.loseWriteConnection()  # type: ignore[union-attr]
        await self.until(lambda: len(self.chain.asked) == 2)
        client.write(b"one ")
        for _ in range(5):
            await tick()
        self.clock.advance(3)  # no other way is found
        client.write(b"two")
        self.assertEqual(await first.read(7), b"one two")
        await self.over()
