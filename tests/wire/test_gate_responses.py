"""What comes through the gate of responses: mended where no reader could doubt it, else a 502."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import TestCase

from pipsocks.wire.gate import Body, Cut, End, GateError, ResponseGate, ResponseHead
from tests.wire.codecs import assertCodec, cuttings, play
from tests.wire.messages import answerTo, merged, readByClient, response

OK = b"HTTP/1.1 200 OK\r\n"
TE = b"Transfer-Encoding: chunked\r\n"


def head(data: bytes, method: bytes = b"GET") -> ResponseHead:
    """The head that these bytes give."""
    gate = ResponseGate(method)
    gate.receive(data)
    event = gate.next()
    assert isinstance(event, ResponseHead)
    return event


def closing(gate: Any) -> None:
    """The origin closes."""
    gate.eof()


class ResponseTests(TestCase):
    """An origin's response comes out as it was meant, however it comes in."""

    def check(self, data: bytes, *events: Any, method: bytes = b"GET") -> None:
        """The response gives these events, what is behind it is left, and h11 sees the same."""
        assertCodec(self, answerTo(method), data, events, merge=merged)
        self.assertEqual(len([e for e in events if not isinstance(e, Body)]), len(readByClient(method, list(events))))

    def refused(self, data: bytes, text: str, method: bytes = b"GET") -> None:
        """However it is cut, this is a 502."""
        for how, pieces in cuttings(data):
            outcome = play(answerTo(method), pieces)
            assert isinstance(outcome.error, GateError), f"{data!r} {how} {outcome}"
            self.assertEqual((502, text), (outcome.error.status, outcome.error.text), f"{data!r} {how}")

    def test_sized(self) -> None:
        """Content of a declared length is passed on as it is."""
        fields = ((b"A", b"b"), (b"Content-Length", b"5"))
        self.check(
            response(b"A: b\r\nContent-Length: 5\r\n", b"hello"),
            ResponseHead(200, b"OK", b"1.1", fields, True, True, 5),
            Body(b"hello"),
            End(),
        )

    def test_empty(self) -> None:
        """A length of 0 is a whole response."""
        made = ResponseHead(200, b"OK", b"1.1", ((b"Content-Length", b"0"),), False, True, 0)
        self.check(response(b"content-length: 0\r\n"), made, End())

    def test_chunked(self) -> None:
        """Chunks come out without extensions and padding, trailers without what may not be one."""
        made = ResponseHead(
            200, b"OK", b"1.1", ((b"Transfer-Encoding", b"chunked"),), True, True, length=None, chunked=True
        )
        for body in (b"5\r\nhello\r\n0\r\n", b"5  \r\nhello\r\n0;a=b \t\r\n", b"2;x\r\nhe\r\n003\r\nllo\r\n0\r\n"):
            self.check(response(TE, body + b"\r\n"), made, Body(b"hello", chunked=True), End(chunked=True))
            trailers = body + b"X: y\r\nContent-Length: 7\r\nTransfer-Encoding: x\r\nHost: h\n Z: z\nTrailer : a\n\n"
            end = End(((b"X", b"y"),), chunked=True)
            self.check(response(b"transfer-encoding: Chunked\r\n", trailers), made, Body(b"hello", chunked=True), end)

    def test_untilClose(self) -> None:
        """Without a length and chunks content ends with the connection, in either version."""
        for line, version in ((b"HTTP/1.1 200 OK", b"1.1"), (b"HTTP/1.0 200 OK", b"1.0")):
            made = ResponseHead(200, b"OK", version, (), True, False, untilClose=True)
            for body in (b"", b"hello"):
                events = [made, *([Body(body)] if body else []), End()]
                assertCodec(self, answerTo(), response(b"", body, line), events, end=closing, merge=merged)
                self.assertEqual([(200, b"OK", []), (body, [])], readByClient(b"GET", events))

    def test_interim(self) -> None:
        """Interim responses come out one by one, before the response."""
        self.check(
            b"HTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ResponseHead(100, b"Continue", b"1.1", (), False, True),
            ResponseHead(103, b"Early Hints", b"1.1", ((b"Link", b"</x>"),), False, True),
            ResponseHead(200, b"OK", b"1.1", ((b"Content-Length", b"0"),), False, True, 0),
            End(),
        )

    def test_switching(self) -> None:
        """Behind a 101 everything is the tunnel's."""
        fields = ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"))
        data = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        self.check(data, ResponseHead(101, b"Switching Protocols", b"1.1", fields, False, True), End())

    def test_connect(self) -> None:
        """Behind the 2xx of a CONNECT everything is the tunnel's, whatever its fields say; other answers are as any."""
        fields = b"A: b\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n"
        made = ResponseHead(200, b"OK", b"1.1", ((b"A", b"b"),), False, False)
        self.check(response(fields), made, End(), method=b"CONNECT")
        made = ResponseHead(200, b"OK", b"1.0", (), False, False)
        self.check(response(line=b"HTTP/1.0 200 OK"), made, End(), method=b"CONNECT")
        made = ResponseHead(407, b"", b"1.1", ((b"Content-Length", b"1"),), True, True, 1)
        data = response(b"Content-Length: 1\r\n", b"x", b"HTTP/1.1 407")
        self.check(data, made, Body(b"x"), End(), method=b"CONNECT")

    def test_noContent(self) -> None:
        """HEAD and 304 declare what would have come, 204 nothing."""
        made = ResponseHead(200, b"OK", b"1.1", ((b"Content-Length", b"5"),), False, True, 5)
        self.check(response(b"Content-Length: 5\r\n"), made, End(), method=b"HEAD")
        made = ResponseHead(200, b"OK", b"1.1", ((b"Transfer-Encoding", b"chunked"),), False, True, None, True)
        self.check(response(TE), made, End(), method=b"HEAD")
        made = ResponseHead(200, b"OK", b"1.1", (), False, True)
        self.check(response(), made, End(), method=b"HEAD")
        made = ResponseHead(304, b"Not Modified", b"1.1", ((b"Content-Length", b"5"),), False, True, 5)
        self.check(response(b"Content-Length: 5\r\n", line=b"HTTP/1.1 304 Not Modified"), made, End())
        for fields, keep in (
            (b"", True),
            (b"Content-Length: 0\r\n", True),
            (b"Content-Length: 5\r\n", False),
            (TE, False),
        ):
            made = ResponseHead(204, b"No Content", b"1.1", (), False, keep)
            self.check(response(fields, line=b"HTTP/1.1 204 No Content"), made, End())

    def test_mended(self) -> None:
        """Bare LF, folded lines, a space before the colon and equal lengths are mended: nobody could doubt them."""
        for fields, made in (
            (b"A: b\nB: c\n", ((b"A", b"b"), (b"B", b"c"))),
            (b"A: b\r\n c\r\n\t  d \r\n", ((b"A", b"b c d"),)),
            (b"A:\r\n b\r\n", ((b"A", b"b"),)),
            (b"A: b\n \n  \t\n c\n", ((b"A", b"b c"),)),
            (b"A: b\r\n \r\n", ((b"A", b"b"),)),
            (b"A: b \n c\nB: d\n", ((b"A", b"b c"), (b"B", b"d"))),
            (b"A : b\r\nB\t : c\r\n", ((b"A", b"b"), (b"B", b"c"))),
            (b"A: \xe9\r\n", ((b"A", b"\xe9"),)),
        ):
            expected = ResponseHead(200, b"OK", b"1.1", (*made, (b"Content-Length", b"2")), True, True, 2)
            for length in (
                b"Content-Length: 2\r\n",
                b"content-length : 2\n",
                b"Content-Length:\r\n 2\r\n",
                b"Content-Length: 2\r\nContent-Length: 2\r\n",
                b"Content-Length: 2, 2\r\nContent-Length: 02\r\n",
            ):
                self.check(response(fields + length, b"ab"), expected, Body(b"ab"), End())
        expected = ResponseHead(200, b"OK", b"1.1", ((b"Content-Length", b"0"),), False, True, 0)
        self.check(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", expected, End())

    def test_reason(self) -> None:
        """The reason phrase may be missing, empty, or beyond ASCII."""
        for line, reason in (
            (b"HTTP/1.1 200", b""),
            (b"HTTP/1.1 200 ", b""),
            (b"HTTP/1.1 200  A  b\t", b"A  b"),
            (b"HTTP/1.9 200 \xe9", b"\xe9"),
        ):
            made = ResponseHead(200, reason, b"1.1", ((b"Content-Length", b"0"),), False, True, 0)
            self.check(response(b"Content-Length: 0\r\n", line=line), made, End())

    def test_oddStatuses(self) -> None:
        """Statuses that nobody has registered are passed on."""
        for status in (299, 600, 999):
            made = ResponseHead(status, b"", b"1.1", ((b"Content-Length", b"0"),), False, True, 0)
            self.check(response(b"Content-Length: 0\r\n", line=b"HTTP/1.1 %d" % status), made, End())

    def test_keepAlive(self) -> None:
        """A connection serves again in HTTP/1.1 when the response says nothing else and has an end of its own."""
        for line, fields, keep in (
            (b"HTTP/1.1 200", b"Content-Length: 0\r\n", True),
            (b"HTTP/1.1 200", b"Content-Length: 0\r\nConnection: a, CLOSE\r\n", False),
            (b"HTTP/1.1 200", b"", False),
            (b"HTTP/1.0 200", b"Content-Length: 0\r\nConnection: keep-alive\r\n", False),
            (b"HTTP/1.1 204", b"Connection: close\r\n", False),
        ):
            self.assertEqual(keep, head(response(fields, line=line)).keepAlive, fields)

    def test_getters(self) -> None:
        """Fields are found in whatever case."""
        made = head(response(b"Via: a\r\nvia: b\r\n"))
        self.assertEqual((b"a", [b"a", b"b"], None), (made.get(b"VIA"), made.all(b"Via"), made.get(b"X")))

    def test_raw(self) -> None:
        """What h11 is fed with is written anew from what was understood."""
        made = head(b"HTTP/1.7 200 Fine\nA : b\n c\nContent-Length: 1, 1\n\n")
        self.assertEqual(b"HTTP/1.1 200 Fine\r\nA: b c\r\nContent-Length: 1\r\n\r\n", made.raw)

    def test_refusedFraming(self) -> None:
        """What two readers could frame differently is a 502."""
        for fields, text in (
            (TE + b"Content-Length: 5\r\n", "Content-Length with Transfer-Encoding"),
            (TE + TE, "Transfer-Encoding other than chunked"),
            (b"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding other than chunked"),
            (b"Transfer-Encoding: identity\r\n", "Transfer-Encoding other than chunked"),
            (b"Transfer-Encoding:\r\n", "Transfer-Encoding other than chunked"),
            (b"Transfer-Encoding:\r\n gzip\r\n", "Transfer-Encoding other than chunked"),
            (b"Content-Length: 5\r\nContent-Length: 6\r\n", "differing Content-Lengths"),
            (b"Content-Length: 5, 6\r\n", "differing Content-Lengths"),
            (b"Content-Length: 5,\r\n", "bad Content-Length"),
            (b"Content-Length:\r\n", "bad Content-Length"),
            (b"Content-Length: +5\r\n", "bad Content-Length"),
            (b"Content-Length: -1\r\n", "bad Content-Length"),
            (b"Content-Length: 5 6\r\n", "bad Content-Length"),
            (b"Content-Length: 1_0\r\n", "bad Content-Length"),
            (b"Content-Length: \xb2\r\n", "bad Content-Length"),
            (b"Content-Length: 1000000000000000000\r\n", "bad Content-Length"),
        ):
            for method in (b"GET", b"HEAD"):
                self.refused(response(fields, b"hello"), text, method)
        self.refused(response(TE, b"", b"HTTP/1.0 200 OK"), "Transfer-Encoding in HTTP/1.0")

    def test_refusedHeads(self) -> None:
        """What is no head is a 502, as soon as that is plain."""
        for data, text in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP/1 response"),
            (b"\x05\x00", "not an HTTP/1 response"),
            (b"ICY 200 OK\r\n", "not an HTTP/1 response"),
            (b"HTTP/2 200\r\n", "not an HTTP/1 response"),
            (b"\r\nHTTP/1.1 200 OK\r\n", "not an HTTP/1 response"),
            (b"http/1.1 200 OK\r\n", "not an HTTP/1 response"),
            (b"<html>", "not an HTTP/1 response"),
            (b"HTTP/1.1\r\n", "malformed status line"),
            (b"HTTP/1.10 200 OK\r\n", "malformed status line"),
            (b"HTTP/1.1  200 OK\r\n", "malformed status line"),
            (b"HTTP/1.1 99 OK\n", "malformed status line"),
            (b"HTTP/1.1 099 OK\r\n", "malformed status line"),
            (b"HTTP/1.1 +20 OK\r\n", "malformed status line"),
            (b"HTTP/1.1 2000 OK\r\n", "malformed status line"),
            (b"HTTP/1.1 200OK\r\n", "malformed status line"),
            (b"HTTP/1.1 200 O\rK\r\n", "bare CR in status line"),
            (b"HTTP/1.1 200 O\x00K\n", "control character in status line"),
            (OK + b" A: b\r\n", "malformed field line"),
            (OK + b"A\r\n", "malformed field line"),
            (OK + b": b\r\n", "malformed field line"),
            (OK + b"A B: c\r\n", "malformed field line"),
            (OK + b"A: \x00\r\n", "control character in field line"),
            (OK + b"A: \x1b[m\n", "control character in field line"),
            (OK + b"A: b\rSet-Cookie: c\r\n", "bare CR in field line"),
            (OK + b"A: b\r\r\n", "bare CR in field line"),
            (OK + b"A: b\r\n \x07\r\n", "control character in field line"),
        ):
            self.refused(data, text)

    def test_refusedChunks(self) -> None:
        """Chunks are read strictly of origins too: only blanks behind the size are forgiven."""
        for body, text in (
            (b"0x5\r\n", "malformed chunk line"),
            (b" 5\r\n", "malformed chunk line"),
            (b"-5\r\n", "malformed chunk line"),
            (b"\r\n", "malformed chunk line"),
            (b"5;\r\n", "malformed chunk line"),
            (b"1000000000000000\r\n", "malformed chunk line"),
            (b"5\n", "bare LF in chunk line"),
            (b"5;a\rb\r\n", "bare CR in chunk line"),
            (b"5\x00\r\n", "control character in chunk line"),
            (b"5;" + b"a" * 1_023, "chunk line too long"),
            (b"5\r\nhello0\r\n", "chunk longer than its size"),
            (b"5\r\nhello\n", "chunk longer than its size"),
            (b"0\r\nA\r\n", "malformed field line"),
        ):
            self.refused(response(TE, body), text)

    def test_tooLarge(self) -> None:
        """An origin's heads are bounded as a client's."""
        for data, text in (
            (OK + b"A: b\r\n" * 201, "too many fields"),
            (OK + b"A: b\n" + b" c\n" * 200, "too many fields"),
            (OK + b"A: " + b"b" * 65_520, "head too large"),
            (OK + b"A: " + b"b" * 65_520 + b"\r\n\r\n", "head too large"),
            (b"HTTP/1.1 200 " + b"b" * 65_536, "head too large"),
            (b"HTTP/1.1 200 " + b"b" * 65_536 + b"\r\n", "head too large"),
            (response(TE, b"0\r\n" + b"A: b\r\n" * 201), "too many fields"),
        ):
            for size in (1_000, 1 << 20):
                outcome = play(answerTo(), [data[i : i + size] for i in range(0, len(data), size)])
                assert isinstance(outcome.error, GateError)
                self.assertEqual((502, text), (outcome.error.status, outcome.error.text))


class EndOfInputTests(TestCase):
    """What it means when the origin closes."""

    def closed(self, data: bytes, method: bytes = b"GET") -> Any:
        """What comes of these bytes and the end of input."""
        return play(answerTo(method), [data], end=closing)

    def test_cut(self) -> None:
        """Content that is shorter than its head said is cut, and stays so."""
        for data in (
            response(b"Content-Length: 5\r\n"),
            response(b"Content-Length: 5\r\n", b"hell"),
            response(TE),
            response(TE, b"5"),
            response(TE, b"5\r\nhello"),
            response(TE, b"5\r\nhello\r\n"),
            response(TE, b"5\r\nhello\r\n0"),
            response(TE, b"0\r\n"),
            response(TE, b"0\r\nA: b\r\n"),
        ):
            outcome = self.closed(data)
            self.assertIsInstance(outcome.error, Cut, data)
            self.assertNotIn(End, map(type, outcome.events))
        gate = ResponseGate(b"GET")
        gate.receive(response(b"Content-Length: 5\r\n", b"hell"))
        gate.eof()
        self.assertIsInstance(gate.next(), ResponseHead)
        self.assertEqual(Body(b"hell"), gate.next())
        self.assertRaises(Cut, gate.next)
        self.assertRaises(Cut, gate.next)

    def test_noHead(self) -> None:
        """A connection that closes before a whole head has given none."""
        for data in (b"", b"HTT", OK, OK + b"A: b\r\n", b"HTTP/1.1 100\r\n\r\n"):
            error = self.closed(data).error
            assert isinstance(error, GateError)
            self.assertEqual((502, "closed before a whole response head"), (error.status, error.text), data)

    def test_whole(self) -> None:
        """Closing behind a whole response is nothing."""
        for data in (response(b"Content-Length: 2\r\n", b"ab"), response(TE, b"0\r\n\r\n"), b"HTTP/1.1 204\r\n\r\n"):
            outcome = self.closed(data)
            self.assertIsNone(outcome.error)
            self.assertIsInstance(outcome.events[-1], End)

    def test_errorStays(self) -> None:
        """After an error the gate stays shut and holds nothing."""
        gate = ResponseGate(b"GET")
        gate.receive(b"nonsense")
        for _ in range(2):
            self.assertEqual(502, self.assertRaises(GateError, gate.next).status)
            gate.receive(OK)
        self.assertEqual((0, b""), (gate.held, gate.leftover()))

    def test_partial(self) -> None:
        """It is known whether anything of a head has come, and whether bytes are there that nobody asked for."""
        gate = ResponseGate(b"GET")
        self.assertFalse(gate.partial)
        gate.receive(OK)
        self.assertIsNone(gate.next())
        self.assertTrue(gate.partial)
        gate.receive(b"Content-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n")
        self.assertIsInstance(gate.next(), ResponseHead)
        self.assertEqual(End(), gate.next())
        self.assertIsNone(gate.next())
        self.assertEqual((False, len(OK)), (gate.partial, gate.held))
