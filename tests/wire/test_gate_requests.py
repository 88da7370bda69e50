"""What comes through the gate of requests, and what the gate tells about it."""

from __future__ import annotations

import sys
from typing import Any

from twisted.trial.unittest import TestCase

from pipsocks.wire.gate import Body, End, GateError, RequestGate, RequestHead
from tests.wire.codecs import assertCodec, play
from tests.wire.messages import HOST, OneRequest, chunked, merged, request

GET = b"GET http://a.example/ HTTP/1.1"
HEAD = RequestHead(b"GET", b"http://a.example/", b"1.1", ((b"Host", b"a.example"),))
POST = RequestHead(
    b"POST", b"http://a.example/", b"1.1", ((b"Host", b"a.example"), (b"Transfer-Encoding", b"chunked")), None, True
)
BARE = GET + b"\r\n" + HOST + b"\r\n"


def head(line: bytes, fields: bytes = HOST) -> RequestHead:
    """The head that these bytes give."""
    gate = RequestGate()
    gate.receive(line + b"\r\n" + fields + b"\r\n")
    event = gate.next()
    assert isinstance(event, RequestHead)
    return event


class RequestTests(TestCase):
    """A client's requests come out as they were meant, however they come in."""

    def check(self, data: bytes, *events: Any) -> None:
        """One request gives these events, and what is behind it is left."""
        assertCodec(self, OneRequest, data, events, merge=merged)

    def refused(self, data: bytes, status: int, *events: Any, text: str) -> None:
        """After these events the client is told so."""
        attributes = {"status": status, "text": text}
        assertCodec(self, RequestGate, data, events, raises=GateError, attributes=attributes, merge=merged)

    def test_bodyless(self) -> None:
        """A request without content is a head and an end."""
        self.check(BARE, HEAD, End())

    def test_emptyLines(self) -> None:
        """Empty lines before a request are skipped, as old clients send one behind a POST; a flood of them is not."""
        self.check(b"\r\n" * 16 + BARE, HEAD, End())
        self.refused(b"\r\n" * 17 + BARE, 400, text="too many empty lines")

    def test_sized(self) -> None:
        """Content of a declared length is passed on as it is, and no more."""
        fields = ((b"Host", b"a.example"), (b"Content-Length", b"5"))
        made = RequestHead(b"POST", b"http://a.example/", b"1.1", fields, 5)
        self.check(request(b"Content-Length: 5\r\n", b"hello"), made, Body(b"hello"), End())
        self.assertTrue(made.hasBody)

    def test_empty(self) -> None:
        """A declared length of nothing is no content."""
        made = head(b"POST http://a.example/ HTTP/1.1", HOST + b"Content-Length: 0\r\n")
        self.assertEqual((False, 0, False), (made.hasBody, made.length, made.chunked))

    def test_longest(self) -> None:
        """The longest length that is believed has eighteen digits; the content need not come."""
        made = head(b"PUT http://a.example/ HTTP/1.1", HOST + b"Content-Length: 999999999999999999\r\n")
        self.assertEqual(10**18 - 1, made.length)

    def test_chunked(self) -> None:
        """Chunks come out as content, and go on as chunks without their extensions."""
        for body in (
            b"5\r\nhello\r\n0\r\n\r\n",
            b"5;a\r\nhello\r\n0;b=c\r\n\r\n",
            b'2 ; a = "q\\"\t;" ;b\r\nhe\r\n00003\r\nllo\r\n000\r\n\r\n',
            b"1\r\nh\r\n1;x\r\ne\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n",
            b'5;a="\xc3\xa9"\r\nhello\r\n0\r\n\r\n',
        ):
            self.check(chunked(body), POST, Body(b"hello", chunked=True), End(chunked=True))
        self.assertEqual(b"a\r\n0123456789\r\n", Body(b"0123456789", chunked=True).raw)
        self.assertEqual(b"0\r\n\r\n", End(chunked=True).raw)

    def test_manyChunks(self) -> None:
        """A segment of tiny chunks is one piece: chunk by chunk it would cost everybody dearly."""
        gate = RequestGate()
        gate.receive(chunked(b"1\r\nx\r\n" * 5_000))
        self.assertEqual(POST, gate.next())
        self.assertEqual(Body(b"x" * 5_000, chunked=True), gate.next())
        self.assertIsNone(gate.next())

    def test_largeChunk(self) -> None:
        """A chunk larger than anything we would buffer comes out in the pieces in which it comes in."""
        gate = RequestGate()
        gate.receive(chunked(b"fffffffffffffff\r\n" + b"a" * 10))
        self.assertEqual(POST, gate.next())
        self.assertEqual(Body(b"a" * 10, chunked=True), gate.next())
        self.assertIsNone(gate.next())
        gate.receive(b"b" * 70_000)
        self.assertEqual(Body(b"b" * 70_000, chunked=True), gate.next())
        self.assertEqual(0, gate.held)

    def test_noCopy(self) -> None:
        """A segment of content is handed on as the object that came in."""
        gate = RequestGate()
        gate.receive(request(b"Content-Length: 70000\r\n"))
        gate.next()
        piece = b"x" * 65_536
        gate.receive(piece)
        event = gate.next()
        assert isinstance(event, Body)
        self.assertIs(piece, event.data)
        self.assertIs(piece, event.raw)

    def test_noBuffer(self) -> None:
        """A gate whose client idles keeps nothing of what it has handed on."""
        gate = RequestGate()
        piece = request(b"Content-Length: 70000\r\n") + b"x" * 70_000
        before = sys.getrefcount(piece)
        gate.receive(piece)
        while gate.next() is not None:
            pass
        self.assertEqual((0, before), (gate.held, sys.getrefcount(piece)))

    def test_trailers(self) -> None:
        """Trailers come with the end; those that may not be trailers are left out."""
        self.check(
            chunked(b"0\r\nX-Sum: 1\r\nAuthorization: Basic eA==\r\ncookie: a\r\nX-Two: \t 2 \r\n\r\n"),
            POST,
            End(((b"X-Sum", b"1"), (b"X-Two", b"2")), chunked=True),
        )

    def test_codingSpelled(self) -> None:
        """The one transfer coding has one spelling behind the gate."""
        for value in (b"chunked", b"Chunked", b"CHUNKED", b"\tchunked \t"):
            data = request(b"transfer-encoding:" + value + b"\r\nX: y\r\n", b"0\r\n\r\n")
            fields = ((b"Host", b"a.example"), (b"X", b"y"), (b"Transfer-Encoding", b"chunked"))
            made = RequestHead(b"POST", b"http://a.example/", b"1.1", fields, None, True)
            self.check(data, made, End(chunked=True))

    def test_values(self) -> None:
        """Names keep their case, values everything but the whitespace around them."""
        made = head(
            GET, b"hOsT:a.example\r\nX-Tab: \t a\tb \t\r\nX-Obs: \xe9\xff\r\nX-Empty:\r\nX!#$%&'*+-.^_`|~9: :\r\n"
        )
        self.assertEqual(b"a.example", made.get(b"HOST"))
        self.assertEqual(b"a\tb", made.get(b"x-tab"))
        self.assertEqual(b"\xe9\xff", made.get(b"X-Obs"))
        self.assertEqual(b"", made.get(b"X-Empty"))
        self.assertEqual(b":", made.get(b"X!#$%&'*+-.^_`|~9"))
        self.assertIsNone(made.get(b"X-Other"))
        self.assertEqual([b"hOsT", b"X-Tab"], [name for name, _ in made.fields[:2]])

    def test_all(self) -> None:
        """Fields that come several times are all there, in order."""
        made = head(GET, HOST + b"Accept: a\r\nX: y\r\naccept: b\r\n")
        self.assertEqual([b"a", b"b"], made.all(b"Accept"))
        self.assertEqual([], made.all(b"Via"))

    def test_raw(self) -> None:
        """What h11 is fed with is written anew from what was understood."""
        made = head(b"GET http://a.example/\xc3\xa9?\xff HTTP/1.7", b"hOsT:\ta.example\t\r\n")
        self.assertEqual(b"http://a.example/%C3%A9?%FF", made.target)
        self.assertEqual(b"1.1", made.version)
        self.assertEqual(b"GET http://a.example/%C3%A9?%FF HTTP/1.1\r\nhOsT: a.example\r\n\r\n", made.raw)

    def test_keepAlive(self) -> None:
        """The connection is kept in HTTP/1.1 unless the client closes, and never in 1.0: that may be a proxy too."""
        for version, fields, keep in (
            (b"1.1", b"", True),
            (b"1.1", b"Connection: keep-alive\r\n", True),
            (b"1.1", b"Connection: te,\t Close ,x\r\n", False),
            (b"1.1", b"Connection: te\r\nconnection: close\r\n", False),
            (b"1.1", b"Connection: ,closed\r\n", True),
            (b"1.0", b"", False),
            (b"1.0", b"Connection: keep-alive\r\n", False),
        ):
            self.assertEqual(keep, head(b"GET http://a.example/ HTTP/" + version, HOST + fields).keepAlive, fields)

    def test_host(self) -> None:
        """Old clients send no Host in HTTP/1.0, and that is fine."""
        self.check(
            b"GET http://a.example/ HTTP/1.0\r\n\r\n", RequestHead(b"GET", b"http://a.example/", b"1.0", ()), End()
        )
        self.refused(GET + b"\r\n\r\n", 400, text="no Host")
        self.refused(GET + b"\r\n" + HOST + b"host: b\r\n\r\n", 400, text="repeated Host")
        self.refused(b"GET http://a/ HTTP/1.0\r\n" + HOST + b"host: b\r\n\r\n", 400, text="repeated Host")

    def test_connect(self) -> None:
        """Of a CONNECT the target alone counts, and everything behind it is the tunnel's."""
        for data, target, version in (
            (b"CONNECT a.example:443 HTTP/1.0\r\n\r\n", b"a.example:443", b"1.0"),  # pip on Python 3.11
            (b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", b"a.example:443", b"1.1"),
            (b"CONNECT ::1:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"::1:443", b"1.1"),  # httpx
            (b"CONNECT [::1]:443 HTTP/1.1\r\nHost: ::1:443\r\n\r\n", b"[::1]:443", b"1.1"),  # Python 3.13.0
            (b"CONNECT a:1 HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n", b"a:1", b"1.1"),
            (b"CONNECT \xc3\xa9:1 HTTP/1.1\r\n\r\n", b"%C3%A9:1", b"1.1"),
        ):
            made = RequestHead(b"CONNECT", target, version, ((b"Host", target),))
            assertCodec(self, RequestGate, data, [made, End()])

    def test_connectWithContent(self) -> None:
        """A CONNECT that declares content is refused; WinINet's declaration of none is not."""
        for fields in (b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"):
            self.refused(b"CONNECT a:1 HTTP/1.1\r\n" + fields + b"\r\n", 400, text="CONNECT with content")
        made = RequestHead(b"CONNECT", b"a:1", b"1.1", ((b"Host", b"a:1"), (b"Content-Length", b"0")), 0)
        assertCodec(self, RequestGate, b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", [made, End()])

    def test_connectAgain(self) -> None:
        """After a 407 the second try comes on the same connection, and may be there already."""
        gate = RequestGate()
        gate.receive(b"CONNECT a:1 HTTP/1.1\r\n\r\n" + BARE)
        gate.next(), gate.next()
        self.assertIsNone(gate.next())
        gate.receive(gate.leftover())
        self.assertEqual(HEAD, gate.next())

    def test_pipelined(self) -> None:
        """Requests behind one another come out one after the other."""
        one = request(b"Content-Length: 2\r\n", b"ab")
        expected = [
            RequestHead(b"POST", b"http://a.example/", b"1.1", (HEAD.fields[0], (b"Content-Length", b"2")), 2),
            Body(b"ab"),
            End(),
            HEAD,
            End(),
            POST,
            Body(b"hello", chunked=True),
            End(chunked=True),
            HEAD,
            End(),
        ]
        data = one + b"\r\n" + BARE + chunked(b"5\r\nhello\r\n0\r\n\r\n") + b"\r\n" * 3 + BARE
        assertCodec(self, RequestGate, data, expected, merge=merged, trailing=())

    def test_held(self) -> None:
        """How much was held back is known, so that reading can pause."""
        gate = RequestGate()
        self.assertEqual((0, False), (gate.held, gate.partial))
        gate.receive(BARE + BARE)
        gate.next()
        self.assertEqual((len(BARE), False), (gate.held, gate.partial))
        gate.next()
        gate.next()
        self.assertEqual((0, False), (gate.held, gate.partial))

    def test_partial(self) -> None:
        """It is known whether a head has begun to come: then it has ten seconds."""
        gate = RequestGate()
        gate.receive(b"\r\n")
        gate.next()
        self.assertFalse(gate.partial)
        gate.receive(b"G")
        gate.next()
        self.assertTrue(gate.partial)
        gate.receive(BARE[1:-1])
        gate.next()
        self.assertTrue(gate.partial)
        gate.receive(BARE[-1:])
        self.assertEqual(HEAD, gate.next())
        self.assertFalse(gate.partial)

    def test_leftover(self) -> None:
        """What was taken back within a head is whole, and the gate begins anew."""
        gate = RequestGate()
        gate.receive(BARE[:-2])
        self.assertIsNone(gate.next())
        self.assertEqual(BARE[:-2], gate.leftover())
        gate.receive(BARE)
        self.assertEqual(HEAD, gate.next())

    def test_errorStays(self) -> None:
        """After an error the gate stays shut, holds nothing, and says the same again."""
        gate = RequestGate()
        gate.receive(b"nonsense\r\n" + BARE)
        for _ in range(3):
            error = self.assertRaises(GateError, gate.next)
            self.assertEqual((400, "malformed request line"), (error.status, error.text))
            gate.receive(BARE)
        self.assertEqual((0, b""), (gate.held, gate.leftover()))
        self.assertRaises(GateError, gate.next)

    def test_soon(self) -> None:
        """What is wrong already is not waited for: what comes next may be nothing at all."""
        for start, text in (
            (b"\x16", "not an HTTP request"),
            (b" ", "not an HTTP request"),
            (b"\n", "bare LF in request line"),
            (b"\r\x00", "not an HTTP request"),
            (b"GET / HTTP/1.1\n", "bare LF in request line"),
            (BARE[:-2] + b"\n", "bare LF in field line"),
            (BARE[:-2] + b"X: y\n", "bare LF in field line"),
            (BARE[:-2] + b" \r\n", "folded field line"),
            (chunked(b"\n"), "bare LF in chunk line"),
            (chunked(b"1\r\nab"), "chunk longer than its size"),
            (chunked(b"1\r\na\n"), "chunk longer than its size"),
            (chunked(b"1\r\na\rb"), "chunk longer than its size"),
        ):
            gate = RequestGate()
            gate.receive(start)
            with self.assertRaises(GateError) as caught:
                while gate.next():
                    pass
            self.assertEqual(text, caught.exception.text, start)

    def test_waits(self) -> None:
        """Any beginning of a good request is waited for."""
        data = chunked(b"3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n")
        for at in range(len(data)):
            outcome = play(OneRequest, [data[:at]])
            self.assertIsNone(outcome.error)
            self.assertNotIn(End, map(type, outcome.events))

    def test_noClientBytes(self) -> None:
        """What a client is told holds nothing of what it sent: it would end in a reason phrase and a log."""
        outcome = play(RequestGate, [b"GET secret\x1b[31m\r\n\r\n"])
        assert isinstance(outcome.error, GateError)
        self.assertNotIn("secret", repr(outcome.error))
        self.assertTrue(outcome.error.text.isascii() and outcome.error.text.isprintable())


class LimitTests(TestCase):
    """Heads are bounded while they arrive; nothing is bounded beside them."""

    def fed(self, data: bytes, size: int = 1 << 20) -> Any:
        """Feed in pieces of `size`; the events, or the error's status and text."""
        outcome = play(RequestGate, [data[i : i + size] for i in range(0, len(data), size)])
        return (outcome.error.status, outcome.error.text) if isinstance(outcome.error, GateError) else outcome.events

    def exactly(self, size: int) -> bytes:
        """A request whose head is so long."""
        return BARE[:-2] + b"X: " + b"y" * (size - len(BARE) - 5) + b"\r\n\r\n"

    def test_head(self) -> None:
        """A head of 64 KiB passes, of one byte more does not, in whatever segments."""
        good, bad = self.exactly(65_536), self.exactly(65_537)
        self.assertEqual((65_536, 65_537), (len(good), len(bad)))
        for size in (1, 1_000, 65_536, 1 << 20):
            self.assertEqual(2, len(self.fed(good, size)))
            self.assertEqual((431, "head too large"), self.fed(bad, size))

    def test_unfinished(self) -> None:
        """A line that does not end is refused once it is too long, and not kept."""
        for start in (b"GET http://a/", BARE[:-2], BARE[:-2] + b"X: "):
            gate = RequestGate()
            gate.receive(start)
            self.assertIsNone(gate.next())
            gate.receive(b"a" * (65_536 - len(start)))
            self.assertIsNone(gate.next())
            gate.receive(b"a")
            self.assertEqual(431, self.assertRaises(GateError, gate.next).status)
            self.assertEqual(0, gate.held)

    def test_line(self) -> None:
        """A request line that is too long is a head that is."""
        self.assertEqual((431, "head too large"), self.fed(b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n"))

    def test_fields(self) -> None:
        """200 fields pass, 201 do not."""
        for count, expected in ((199, 2), (200, (431, "too many fields"))):
            got = self.fed(BARE[:-2] + b"X: y\r\n" * count + b"\r\n")
            self.assertEqual(expected, got if isinstance(got, tuple) else len(got))

    def test_trailers(self) -> None:
        """Trailers are bounded as heads are."""
        for trailers, text in ((b"X: y\r\n" * 201, "too many fields"), (b"X:" + b"y" * 65_535, "head too large")):
            self.assertEqual((431, text), self.fed(chunked(b"0\r\n" + trailers + b"\r\n\r\n")))

    def test_chunkLine(self) -> None:
        """A chunk's line has 1024 bytes at most, however its end is held back."""
        good = chunked(b"1;" + b"a" * 1_020 + b"\r\nx\r\n0\r\n\r\n")
        bad = chunked(b"1;" + b"a" * 1_021 + b"\r\nx\r\n0\r\n\r\n")
        for size in (1, 7, 4_096):
            self.assertIsInstance(self.fed(good, size), list)
            self.assertEqual((400, "chunk line too long"), self.fed(bad, size))

    def test_bodyBehindHead(self) -> None:
        """What comes behind a head in the same segment does not count towards it."""
        data = request(b"Content-Length: 300000\r\n", b"x" * 300_000)
        self.assertEqual(300_000, sum(len(e.data) for e in self.fed(data) if isinstance(e, Body)))

    def test_noReferences(self) -> None:
        """A gate that holds an error keeps none of what came."""
        gate = RequestGate()
        gate.receive(b"GET http://a/ HTTP/1.1\r\n" + b"X: yyyyyyyy\r\n" * 300)
        try:
            gate.next()
        except GateError as error:
            gate.receive(b"more")
            self.assertEqual(431, error.status)
        self.assertEqual(0, gate.held)
