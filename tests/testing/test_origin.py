"""Tests for `pipsocks.testing.origin`: requests, ranges, connections that are kept, and faults of each request."""

from __future__ import annotations

from typing import Any

import h11
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from pipsocks.testing import Origin, Server
from pipsocks.testing.origin import MODIFIED
from tests.loopback import Talk
from tests.testing.rig import Clocked, FaultCase


class OriginTests(FaultCase):
    """A client reads the answers with a parser that knows nothing of the origin."""

    def request(self, method: str = "GET", path: str = "/x", version: str = "1.1", **fields: str) -> bytes:
        """A request's head; underscores in a field's name stand for hyphens."""
        lines = [f"{method} {path} HTTP/{version}", "Host: a"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    async def answer(self, talk: Talk, method: str = "GET") -> tuple[h11.Response, bytes, bool]:
        """The next answer: its head, its body, and whether that is whole."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        parser.send(h11.EndOfMessage())
        head: Any = None
        body = b""
        while True:
            event: Any = None
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return head, body, False
            if event is h11.NEED_DATA:
                await talk.until(lambda: talk.received or talk.ended)
                parser.receive_data(talk.received)
                talk.received = b""
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                talk.received = parser.trailing_data[0] + talk.received
                return head, body, True

    async def ask(self, server: Server, *requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """The answers to `requests` on one connection: status, fields, body."""
        talk = await self.say(server, b"".join(requests))
        told = []
        for request in requests:
            head, body, whole = await self.answer(talk, request.partition(b" ")[0].decode())
            self.assertTrue(whole)
            told.append((head.status_code, {n.decode(): v.decode() for n, v in head.headers}, body))
        return told

    async def test_kept(self) -> None:
        """Requests at once on one connection are answered in turn, each path by bytes of its own."""
        origin = Origin(1000, seed=5)
        server = self.serve(origin)
        paths = [f"/{number}/{number}" for number in range(200)]
        told = await self.ask(server, *(self.request(path=path) for path in paths))
        self.assertEqual([body for _, _, body in told], [origin.content(path).all() for path in paths])
        self.assertEqual([len(body) for _, _, body in told], list(range(200)))
        self.assertEqual((origin.requests, server.accepted), (200, 1))
        self.assertEqual(origin.sent, sum(range(200)))
        self.assertEqual(self.events.named("request")[3]["path"], "/3/3")
        self.assertEqual(
            Origin(1000, seed=6).content("/a").read(100, 101), Origin(1000, seed=6).content("/a").read(100, 101)
        )
        self.assertNotEqual(Origin(1000, seed=6).content("/a"), origin.content("/a"))

    async def test_ranges(self) -> None:
        """One range is given as it was asked for, where its condition holds; what is no range gets the whole."""
        origin = Origin(1000)
        server = self.serve(origin)
        all, tag = origin.content("/x").all(), origin.etag("/x")
        for asked, condition, status, said, body in (
            ("bytes=10-", None, 206, "bytes 10-999/1000", all[10:]),
            ("bytes=10-19", tag, 206, "bytes 10-19/1000", all[10:20]),
            ("bytes=990-5000", None, 206, "bytes 990-999/1000", all[990:]),
            ("bytes=-5", None, 206, "bytes 995-999/1000", all[995:]),
            ("bytes=-5000", None, 206, "bytes 0-999/1000", all),
            ("bytes=1000-", None, 416, "bytes */1000", b""),
            ("bytes=10-", '"other"', 200, None, all),
            ("bytes=10-", "W/" + tag, 200, None, all),
            ("bytes=10-", MODIFIED, 200, None, all),
            ("bytes=10-5", None, 200, None, all),
            ("bytes=-", None, 200, None, all),
            ("bytes=1-2,4-5", None, 200, None, all),
            ("lines=1-2", None, 200, None, all),
        ):
            fields = {"Range": asked, **({"If_Range": condition} if condition else {})}
            [(code, told, got)] = await self.ask(server, self.request(**fields))
            self.assertEqual((code, told.get("content-range"), got), (status, said, body), asked)

    async def test_validators(self) -> None:
        """A Last-Modified holds for If-Range, a weak or missing tag never does."""
        tag = Origin().etag("/x")
        for fault, condition, status in (
            ("last-modified", MODIFIED, 206), ("last-modified", tag, 200), ("weak-etag", tag, 200),
            ("weak-etag", "W/" + tag, 200), ("no-etag", tag, 200),
        ):  # fmt: skip
            server = self.serve(Origin(), fault)
            [(code, fields, _)] = await self.ask(server, self.request(Range="bytes=1-", If_Range=condition))
            self.assertEqual(code, status, fault)
            self.assertIn("date", fields)

    async def test_otherRequests(self) -> None:
        """HEAD has no body, a request's own body is swallowed, and one that is asked for is asked for."""
        origin = Origin(100)
        server = self.serve(origin)
        head, post, get = await self.ask(
            server, self.request("HEAD"), self.request("POST", Content_Length="5") + b"hello", self.request()
        )
        self.assertEqual((head[0], head[1]["content-length"], head[2]), (200, "100", b""))
        self.assertEqual((post[2], get[2]), (origin.content("/x").all(),) * 2)
        talk = await self.say(server, self.request("PUT", Content_Length="5", Expect="100-continue"))
        self.assertEqual(await talk.readUntil(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.write(b"hello")
        self.assertTrue((await self.answer(talk, "PUT"))[2])

    async def test_oldClients(self) -> None:
        """HTTP/1.0 gets an end instead of chunks, and is kept where it asks for that."""
        origin = Origin(100)
        server = self.serve(origin, "none", "none", "chunked")
        talk = await self.say(server, self.request(version="1.0", Connection="keep-alive"))
        head, _, _ = await self.answer(talk)
        self.assertIn((b"connection", b"keep-alive"), list(head.headers))
        talk.write(self.request(version="1.0"))
        self.assertEqual((await self.answer(talk))[1:], (origin.content("/x").all(), True))
        self.assertEqual(await talk.readAll(), b"")
        [(_, fields, body)] = await self.ask(server, self.request(version="1.0"))
        self.assertEqual((fields.get("transfer-encoding"), body), (None, origin.content("/x").all()))

    async def test_badRequest(self) -> None:
        """What is no HTTP gets a 400."""
        for said in (
            b"\x16\x03\x01\r\n\r\n",
            b"GET //[ HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000,
        ):
            data, _ = await self.whole(self.serve(Origin()), said)
            self.assertRegex(data, rb"^HTTP/1.1 4\d\d ")

    async def test_halfClosed(self) -> None:
        """A client that has ended its side still gets its answer, and one that asks for nothing the end."""
        clocked = Clocked()
        server = self.serve(Origin(1000), "slow=1", with_=clocked)
        talk = await self.say(server, self.request())
        await self.events.until("request")
        talk.transport.loseWriteConnection()  # type: ignore[union-attr]
        await self.events.until("ended")
        clocked.clock.advance(1)
        self.assertEqual(len((await self.answer(talk))[1]), 1000)
        self.assertEqual(await talk.readAll(), b"")
        idle = await self.say(server)
        idle.transport.loseWriteConnection()  # type: ignore[union-attr]
        self.assertEqual(await idle.readAll(), b"")

    async def test_eachRequest(self) -> None:
        """Each request is a turn, on a connection that is kept as well."""
        server = self.serve(Origin(10), "status=503", "none", "for=/z status=404", "for=/y reset-after=3", "close")
        first, second, third = await self.ask(server, self.request(), self.request(), self.request(path="/z"))
        self.assertEqual([first[0], second[0], third[0]], [503, 200, 404])
        talk = await self.say(self.serve(Origin(10), "none", "close"), self.request() + self.request())
        self.assertTrue((await self.answer(talk))[2])
        self.assertEqual(await talk.readAll(), b"")
        talk = await self.say(self.serve(Origin(10), "none", "say=3132"), self.request() + self.request())
        self.assertTrue((await self.answer(talk))[2])
        self.assertEqual(await talk.readAll(), b"12")

    async def test_resumed(self) -> None:
        """A body that is cut every so many bytes can be put together from ranges."""
        origin = Origin(1000)
        server = self.serve(origin, "close-after=300", "reset-after=300", "chunked + close-after=300", "none")
        got = b""
        for expected in (300, 600, 900, 1000):
            talk = await self.say(server, self.request(Range=f"bytes={len(got)}-", If_Range=origin.etag("/x")))
            _, body, whole = await self.answer(talk)
            got += body
            self.assertEqual((len(got), whole), (expected, expected == 1000))
        self.assertEqual(got, origin.content("/x").all())
        self.assertEqual(origin.sent, 1000)

    async def test_flood(self) -> None:
        """Requests that come while one is answered are kept up to a bound, wait outside then, and are all answered."""
        clocked = Clocked()
        server = self.serve(Origin(10), "slow=1", "none", with_=clocked)
        request = self.request(X="y" * 10_000)
        talk = await self.say(server, request)
        await self.events.until("request")
        clocked.clock.advance(0)
        talk.write(request * 100)
        for _ in range(200):
            await self.turn()
        # The first answer frees the way, and each further one the next.
        answered = 0
        for _ in range(101):
            while not talk.received:
                await self.turn()
                clocked.clock.advance(0.1)
            self.assertTrue((await self.answer(talk))[2])
            answered += 1
        self.assertEqual((answered, len(self.events.named("request"))), (101, 101))

    async def turn(self) -> None:
        """One turn of the reactor."""
        waited: Deferred[None] = Deferred()
        reactor.callLater(0, waited.callback, None)  # type: ignore[attr-defined]
        await waited
