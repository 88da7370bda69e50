"""Whatever passes the gate is the same to h11, and whatever does not is one of the gate's errors."""

from __future__ import annotations

from typing import Any

import h11
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.gate import Body, Cut, End, GateError, RequestGate, RequestHead, ResponseGate, ResponseHead
from tests.wire.codecs import Outcome, assertFragmentation, cut
from tests.wire.messages import merged, readByClient, readByServer

TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8).map(str.encode)
VALUE = st.text('abc \t,;=":/\xe9\xff-09', max_size=20).map(lambda text: text.encode("latin-1"))
METHOD = st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"X-y"])
TARGET = st.sampled_from([b"/", b"*", b"http://a.example/b?c", b"http://a.example/\xc3\xa9", b"a:1"])
PLACES = st.lists(st.integers(0, 2_000), max_size=6)
FIELDS = st.lists(
    st.tuples(TOKEN.filter(lambda name: name.lower() not in (b"host", b"content-length", b"transfer-encoding")), VALUE),
    max_size=4,
)

PARTS = [
    *(b"GET http://a.example/ HTTP/1.1\r\n", b"POST /x HTTP/1.0\r\n"),
    *(b"CONNECT a:1 HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n"),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/1.1 204\n"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 S\r\n"),
    *(b"Host: a.example\r\n", b"Content-Length: 5\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length: 0\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:Chunked\n", b"Connection: close\r\n", b"X: y\r\n"),
    *(b"hello", b"5\r\nhello\r\n", b"5;a=b\r\nhello\r\n", b"0\r\n", b"0\r\n\r\n", b"1\r\n", b"fff\r\n", b"5 \r\n"),
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b" ", b"\t", b":", b";", b",", b"\x00"),
    *(b"\xff", b"0", b"A", b"HTTP/1.", b"GET "),
]  # fmt: skip
SOUP = st.lists(st.one_of(st.sampled_from(PARTS), st.binary(max_size=4)), max_size=14).map(b"".join)


def chunks(body: bytes, places: list[int], extension: bytes) -> bytes:
    """`body` in chunks, each with the extension."""
    return b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in cut(body, places) if piece)


@st.composite
def messages(draw: st.DrawFn, line: bytes) -> tuple[bytes, bytes, bool]:
    """A message with this start line that everybody reads alike; what its content is, and whether it is in chunks."""
    fields = draw(FIELDS)
    body = draw(st.binary(max_size=60))
    framing = draw(st.sampled_from(["none", "length", "chunks"]))
    space = draw(st.sampled_from([b"", b" ", b"\t "]))
    section = b"".join(b"%b:%b%b\r\n" % (name, space, value) for name, value in fields)
    if framing == "none":
        return line + section + b"\r\n", b"", False
    if framing == "length":
        return line + section + b"content-LENGTH:%b%d\r\n\r\n" % (space, len(body)) + body, body, False
    sent = chunks(body, draw(PLACES), draw(st.sampled_from([b"", b";a", b';a="b;c" ; d=e'])))
    trailers = draw(st.sampled_from([b"", b"X-Trailer: a\r\n"]))
    return line + section + b"Transfer-Encoding: chunked\r\n\r\n" + sent + b"0\r\n" + trailers + b"\r\n", body, True


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request."""
    line = b"%b %b HTTP/1.1\r\nHost: a\r\n" % (draw(METHOD), draw(TARGET))
    return draw(messages(line))[0]


@st.composite
def mutated(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """A good message with a few bytes changed, left out or put in."""
    data = bytearray(draw(source))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        put = draw(
            st.sampled_from([b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\x00", b"0", b"+", b";", b":", b",", b"_"])
        )
        data[at : at + draw(st.integers(0, 2))] = put
    return bytes(data)


def told(events: list[Any]) -> list[tuple[Any, ...]]:
    """The whole requests in these events, in the shape that h11's are compared in."""
    out: list[tuple[Any, ...]] = []
    content = b""
    for event in events:
        if isinstance(event, RequestHead):
            head, content = event, b""
        if isinstance(event, Body):
            content += event.data
        if isinstance(event, End):
            trailers = [(name.lower(), value) for name, value in event.trailers]
            out.append((head.method, head.target, head.version, list(head.fields), content, trailers))
    return out


class AgreementTests(SynchronousTestCase):
    """h11 and the gate never read two things in the same bytes."""

    def checkRequests(self, data: bytes, places: list[int]) -> Outcome:
        """Any input comes out alike however it is cut, and what comes out is the same to h11."""
        outcome = assertFragmentation(self, RequestGate, data, places, (GateError,), merge=merged)
        self.assertEqual(told(outcome.events), readByServer(outcome.events))
        if isinstance(outcome.error, GateError):
            self.assertIn(outcome.error.status, (400, 431, 505))
        return outcome

    @given(SOUP, PLACES)
    @example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n" * 2, [])
    def test_anyRequests(self, data: bytes, places: list[int]) -> None:
        """Random pieces of HTTP."""
        self.checkRequests(data, places)

    @given(st.lists(mutated(requests()), min_size=1, max_size=3).map(b"".join), PLACES)
    def test_mutatedRequests(self, data: bytes, places: list[int]) -> None:
        """Good requests with a few bytes changed; where h11 alone reads the first one too, it reads the same."""
        outcome = self.checkRequests(data, places)
        whole = told(outcome.events)
        if whole:
            peer = h11.Connection(h11.SERVER)
            peer.receive_data(data)
            try:
                head: Any = peer.next_event()
            except h11.RemoteProtocolError:
                return  # A leading empty line, a target beyond ASCII: what the gate is there to help with
            content = b""
            while isinstance(piece := peer.next_event(), h11.Data):
                content += piece.data
            self.assertEqual(whole[0][0::4], (head.method, content))
            self.assertEqual(len(whole[0][3]), len(head.headers))

    @given(st.lists(requests(), min_size=1, max_size=3), PLACES)
    def test_goodRequests(self, data: list[bytes], places: list[int]) -> None:
        """Good requests all pass."""
        outcome = self.checkRequests(b"".join(data), places)
        self.assertIsNone(outcome.error)
        self.assertEqual(len(data), len(told(outcome.events)))

    def checkResponse(self, data: bytes, places: list[int], method: bytes) -> Outcome:
        """Any input comes out alike however it is cut, and what comes out is the same to h11."""
        outcome = assertFragmentation(
            self,
            lambda: ResponseGate(method),
            data,
            places,
            (GateError, Cut),
            merge=merged,
            end=ResponseGate.eof,
        )
        if isinstance(outcome.error, GateError):
            self.assertEqual(502, outcome.error.status)
        if outcome.events and isinstance(outcome.events[-1], End):
            heads = [event for event in outcome.events if isinstance(event, ResponseHead)]
            content = b"".join(event.data for event in outcome.events if isinstance(event, Body))
            trailers = [(name.lower(), value) for name, value in outcome.events[-1].trailers]
            expected: list[Any] = [(head.status, head.reason, list(head.fields)) for head in heads]
            self.assertEqual([*expected, (content, trailers)], readByClient(method, outcome.events))
        return outcome

    @given(SOUP, PLACES, st.sampled_from([b"GET", b"HEAD", b"CONNECT"]))
    def test_anyResponse(self, data: bytes, places: list[int], method: bytes) -> None:
        """Random pieces of HTTP."""
        self.checkResponse(data, places, method)

    @given(
        mutated(messages(b"HTTP/1.1 200 OK\r\n").map(lambda message: message[0])),
        PLACES,
        st.sampled_from([b"GET", b"HEAD", b"CONNECT"]),
    )
    def test_mutatedResponse(self, data: bytes, places: list[int], method: bytes) -> None:
        """A good response with a few bytes changed."""
        self.checkResponse(data, places, method)

    @given(messages(b"HTTP/1.1 200 OK\r\n"), PLACES)
    def test_goodResponse(self, message: tuple[bytes, bytes, bool], places: list[int]) -> None:
        """Good responses all pass, with their content."""
        data, body, _ = message
        outcome = self.checkResponse(data, places, b"GET")
        self.assertIsNone(outcome.error)
        content = b"".join(event.data for event in outcome.events if isinstance(event, Body))
        self.assertEqual(body, content)
