"""Requests that end at the proxy."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.ending import passedOn
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import RequestHead
from tests.forward.case import response
from tests.front.proxy import Users
from tests.front.test_http import GET, HTTPCase, login

ALLOW = b"\r\nAllow: CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE\r\n"


def head(method: bytes, *counts: bytes, target: bytes = b"http://a/", length: int | None = None) -> RequestHead:
    """A request's head."""
    return RequestHead(method, target, b"1.1", (*((b"max-FORWARDS", each) for each in counts), (b"X", b"0")), length)


class CountTests(SynchronousTestCase):
    """Max-Forwards."""

    def test_fewer(self) -> None:
        """OPTIONS and TRACE go on with one fewer, and without a count as they are."""
        for method in (b"OPTIONS", b"TRACE"):
            for count, left in ((b"1", b"0"), (b"010", b"9"), (b"999999999999999999", b"999999999999999998")):
                passed = passedOn(head(method, count))
                assert passed is not None
                self.assertEqual(passed.fields, ((b"max-FORWARDS", left), (b"X", b"0")))
            self.assertEqual(passedOn(head(method)), head(method))

    def test_others(self) -> None:
        """No other method counts, whatever the field says."""
        for each in (head(b"GET", b"0"), head(b"options", b"0"), head(b"POST", b"x", b"y")):
            self.assertIs(passedOn(each), each)

    def test_nonsense(self) -> None:
        """A count that is no number, or two of them, is refused, and so is a TRACE with content."""
        for counts in ((b"",), (b"-1",), (b"+1",), (b"1_0",), (b"\xb2",), (b"1" * 19,), (b"1", b"1"), (b"1, 1",)):
            refusal = self.assertRaises(Refusal, passedOn, head(b"OPTIONS", *counts))
            self.assertEqual(refusal.slug.code, "PS-RQ01")
        self.assertRaises(Refusal, passedOn, head(b"TRACE", b"5", length=1))
        self.assertIsNone(passedOn(head(b"OPTIONS", b"0", length=1)))


class EndingTests(HTTPCase):
    """On the wire."""

    async def test_options(self) -> None:
        """OPTIONS of the proxy, or with no forwarding left, is answered here; the connection is kept."""
        client = await self.http()
        for line, field in (
            (b"OPTIONS * HTTP/1.1", b""),
            (b"OPTIONS http://index.example/ HTTP/1.1", b"Max-Forwards: 0\r\n"),
            (b"OPTIONS http://index.example HTTP/1.1", b"Max-Forwards: 0\r\n"),
        ):
            client.write(line + b"\r\nHost: index.example\r\n" + field + b"\r\n")
            head, content = await response(client)
            self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"), head)
            self.assertIn(ALLOW, head)
            self.assertEqual(content, b"")
        self.assertEqual(self.forward.seen, [])
        lines = [(line["outcome"], line["protocol"], line["destination"]) for line in await self.written(3)]
        self.assertEqual(lines, [("ok", "http", "")] * 3)

    async def test_optionsWithContent(self) -> None:
        """Its content is of no matter."""
        client = await self.http()
        client.write(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        self.assertIn(b" 200 OK", (await response(client))[0])
        await client.readAll()

    async def test_login(self) -> None:
        """Who must log in must do so for this too."""
        client = await self.http(logins=Users())
        client.write(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"407 PS-AU01", (await response(client))[0])
        client.write(login(b"ann:secret", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"))
        self.assertIn(b" 200 OK", (await response(client))[0])

    async def test_trace(self) -> None:
        """TRACE is never answered here: it would give credentials back."""
        client = await self.http()
        for line, field in (
            (b"TRACE http://index.example/ HTTP/1.1", b"Max-Forwards: 0\r\n"),
            (b"TRACE / HTTP/1.1", b""),
        ):
            client.write(line + b"\r\nHost: x\r\nCookie: s3cret\r\n" + field + b"\r\n")
            head, content = await response(client)
            self.assertIn(b"HTTP/1.1 405 PS-RQ08 TRACE of the proxy itself is not supported", head)
            self.assertIn(ALLOW, head)
            self.assertNotIn(b"s3cret", head + content)
        client.write(GET)
        self.assertEqual((await response(client))[1], b"ok")

    async def test_nonsense(self) -> None:
        """What can't be counted is 400."""
        await self.refused(
            b"OPTIONS http://index.example/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: -1\r\n\r\n",
            b"400 PS-RQ01 malformed request: bad Max-Forwards",
        )
