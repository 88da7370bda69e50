"""Which first words of a client may be said again: what each flight is judged, however it comes."""

from __future__ import annotations

import re
import ssl

import h11
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.flight import FLIGHT_LIMIT, Flight, Kind
from tests.wire.codecs import TRAILING, cut, cuttings
from tests.wire.hellos import (
    CAPTURED,
    CHROMIUM,
    CURL,
    CURL_TLS12,
    EARLY_DATA,
    ECH,
    PADDING,
    ZERO_RTT,
    extension,
    heard,
    message,
    modern,
    padded,
    pyOpenSSLs,
    pythons,
    rebuilt,
    records,
    serverName,
)

GET = b"GET /simple/pip/ HTTP/1.1\r\nHost: index.example\r\nUser-Agent: pip/25.0\r\nAccept: */*\r\n\r\n"
HEAD = b"HEAD / HTTP/1.0\r\n\r\n"
REPLAYABLE = {Kind.NOTHING, Kind.HELLO, Kind.REQUEST}
PARTIAL = {Kind.PARTIAL_HELLO, Kind.PARTIAL_REQUEST}


def flown(case: SynchronousTestCase, pieces: list[bytes]) -> Flight:
    """A flight of these pieces, with what must hold behind each of them looked at."""
    flight, sent, lost = Flight(), 0, False
    for piece in pieces:
        kind = flight.receive(piece)
        sent += len(piece)
        case.assertIs(kind, flight.kind)
        case.assertFalse(lost and kind is not Kind.OTHER, "nothing makes OTHER anything else")
        lost = kind is Kind.OTHER
        case.assertEqual(0 if lost else sent, flight.held)
        case.assertLessEqual(flight.held, FLIGHT_LIMIT)
        case.assertEqual(kind in REPLAYABLE, flight.replayable)
    case.assertEqual(b"" if lost else b"".join(pieces), flight.data)
    return flight


class FlightCase(SynchronousTestCase):
    """Vectors whole, in two pieces everywhere, byte by byte, and with bytes behind them."""

    def assertKind(self, kind: Kind, data: bytes, sni: str = "") -> None:
        for how, pieces in cuttings(data):
            flight = flown(self, pieces)
            self.assertIs(kind, flight.kind, f"{data[:80]!r}, {how}")
            self.assertEqual(sni, flight.sni)
            for behind in () if kind in PARTIAL else TRAILING:
                for more in ([*pieces, behind], [*pieces[:-1], pieces[-1] + behind]):
                    self.assertIs(
                        Kind.OTHER, flown(self, more).kind, f"{data[:80]!r}, {how}, behind it {behind[:20]!r}"
                    )

    def assertWhole(self, kind: Kind, partial: Kind, data: bytes, sni: str = "") -> None:
        """`data` is of this kind, and each beginning of it is not yet."""
        self.assertKind(kind, data, sni)
        flight = Flight()
        for at in range(len(data) - 1):
            self.assertIs(partial, flight.receive(data[at : at + 1]))


class NothingTests(FlightCase):
    """A client that waits for the server to begin."""

    def test_nothing(self) -> None:
        """Nothing may be sent again, and no bytes change nothing."""
        flight = flown(self, [b"", b""])
        self.assertIs(Kind.NOTHING, flight.kind)
        self.assertTrue(Flight().replayable)
        self.assertEqual(b"", Flight().data)


class HelloTests(FlightCase):
    """TLS."""

    def test_captured(self) -> None:
        """What curl, Chromium and OpenSSL say first may go again, with a ticket too."""
        for flight, sni in CAPTURED.values():
            self.assertWhole(Kind.HELLO, Kind.PARTIAL_HELLO, flight, sni)

    def test_libraries(self) -> None:
        """So may what pip and others on Python's ssl or pyOpenSSL say."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            flight = pythons(version, "a.example", ["h2", "http/1.1"])
            self.assertWhole(Kind.HELLO, Kind.PARTIAL_HELLO, flight, "a.example")
        self.assertWhole(Kind.HELLO, Kind.PARTIAL_HELLO, pyOpenSSLs(b"a.example"), "a.example")

    def test_built(self) -> None:
        """A post-quantum one, an encrypted one, one in pieces, and one as long as we keep."""
        for flight in (
            records(modern()),
            records(modern(extension(ECH, bytes(300)))),
            records(modern(extension(PADDING, bytes(2_000))), [1, 2, 1_000]),
            padded(FLIGHT_LIMIT, [5_000, 1]),
        ):
            self.assertWhole(Kind.HELLO, Kind.PARTIAL_HELLO, flight, "a.example")

    def test_earlyData(self) -> None:
        """A request may be in early data, so it never goes again: not even when its ClientHello came alone."""
        self.assertKind(Kind.OTHER, ZERO_RTT, "a.example")
        self.assertKind(Kind.OTHER, ZERO_RTT[:414], "a.example")
        self.assertIs(Kind.PARTIAL_HELLO, flown(self, [ZERO_RTT[:413]]).kind)
        self.assertKind(Kind.OTHER, records(modern(extension(ECH, bytes(300)), extension(EARLY_DATA))), "a.example")

    def test_behind(self) -> None:
        """Whatever is behind it, it is no longer alone."""
        for behind in (
            b"\x14\3\3\0\1\1",  # ChangeCipherSpec
            b"\x15\3\3\0\2\1\0",  # the client gives up
            b"\x16",
            b"\x17\3\3\0\1\0",
            records(message()),
            GET,
        ):
            self.assertKind(Kind.OTHER, CURL + behind, "curl.example")

    def test_long(self) -> None:
        """One octet too many, and nothing is kept."""
        self.assertKind(Kind.OTHER, padded(FLIGHT_LIMIT + 1, [5_000, 1]))
        self.assertKind(Kind.OTHER, b"\x16\3\1\x40\0\1\0\x3f\xfc" + bytes(FLIGHT_LIMIT))

    def test_none(self) -> None:
        """What is no ClientHello to the last octet isn't taken for one."""
        for data in (
            b"\x16\2",
            b"\x16\4",
            b"\x16\3\1\0\5\2",
            b"\x16\3\1\0\0",
            records(message() + b"\0"),
            records(message(suites=b"\x13")),
            records(message(extension(EARLY_DATA), extension(EARLY_DATA))),
            b"\x80\x2e\1\0\2\0\x15\0\0\0\x10" + bytes(37),  # SSLv2's
            b"\x16\xfe\xfd" + bytes(10),  # DTLS
        ):
            self.assertKind(Kind.OTHER, data)

    def test_freed(self) -> None:
        """Of a flight that turned out to be OTHER nothing is kept, and a flight shows nothing of itself in a log."""
        flight = flown(self, [CURL, b"x", CURL])
        self.assertEqual((b"", 0, "curl.example"), (flight.data, flight.held, flight.sni))
        self.assertNotIn("curl.example", repr(flight))


class RequestTests(FlightCase):
    """HTTP without TLS."""

    def test_whole(self) -> None:
        """A GET or HEAD that is nothing but its head may go again."""
        for data in (
            GET,
            HEAD,
            b"GET / HTTP/1.0\r\nHost: a.example\r\n\r\n",
            b"HEAD /a?b=c&d=%20 HTTP/1.1\r\nhost:\r\nConnection: close\r\nRange: bytes=5-\r\n\r\n",
            b"GET //x|y HTTP/1.1\r\nHost: a.example:80\r\nCookie: a\r\nAuthorization: Basic bWU6\r\nTE: x\r\n\r\n",
        ):
            self.assertWhole(Kind.REQUEST, Kind.PARTIAL_REQUEST, data)

    def test_long(self) -> None:
        """A head as long as we keep; one octet more is OTHER."""
        spare = FLIGHT_LIMIT - len(GET)
        longest = GET.replace(b"/pip/", b"/pip/" + b"a" * spare)
        self.assertWhole(Kind.REQUEST, Kind.PARTIAL_REQUEST, longest)
        self.assertKind(Kind.OTHER, longest.replace(b"/pip/", b"/pip/a"))

    def test_atOnce(self) -> None:
        """Another method or protocol is OTHER with the first octet that shows it."""
        for data in (
            b"P",  # POST, PUT, PATCH, PRI
            b"D",
            b"C",
            b"O",
            b"S",  # SSH
            b"\r",
            b"\n",
            b" ",
            b"g",
            b"\0",
            b"\5",
            b"\x13",
            b"\xff",
            b"GI",
            b"GETS",
            b"GET\t",
            b"GET *",
            b"GET h",
            b"GET  ",
            b"HEADS",
            b"HEAD h",
            b"HEL",
        ):
            self.assertKind(Kind.OTHER, data)
            if data[:-1]:
                self.assertIs(Kind.PARTIAL_REQUEST, flown(self, [data[:-1]]).kind)

    def test_line(self) -> None:
        """A line that isn't read alike everywhere, or that the gate would mend."""
        for line in (
            b"GET /",
            b"GET / HTTP/0.9",
            b"GET / HTTP/1.2",
            b"GET / HTTP/2.0",
            b"GET /  HTTP/1.1",
            b"GET / HTTP/1.1 ",
            b"GET /a b HTTP/1.1",
            b"GET /\xc3\xa9 HTTP/1.1",
            b"GET /\x01 HTTP/1.1",
            b"GET / http/1.1",
        ):
            self.assertKind(Kind.OTHER, line + b"\r\nHost: a.example\r\n\r\n")
        self.assertKind(Kind.OTHER, b"GET / HTTP/1.1\nHost: a.example\n\n")
        self.assertKind(Kind.OTHER, b"\r\n" + GET)

    def test_fields(self) -> None:
        """Content, what may become content, another protocol, another method: none goes again."""
        for field in (
            b"Content-Length: 5",
            b"content-length: 0",
            b"Content-Length: 5, 5",
            b"Content_Length: 5",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity",
            b"transfer_encoding: chunked",
            b"Expect: 100-continue",
            b"Upgrade: websocket",
            b"upgrade:",
            b"UPGRADE: h2c",
            b"Connection: close, Upgrade",
            b"HTTP2-Settings: AAMAAABkAAQAAP__",
            b"X-HTTP-Method-Override: DELETE",
            b"x_http_method_override: DELETE",
            b"X-HTTP-Method: DELETE",
            b"X-Method-Override: DELETE",
            b"Host: b.example",
            b"Folded: a\r\n b",
            b"Name : a",
            b": a",
            b"a\0: b",
            b"a: b\0",
            b"a: b\rc: d",
            b"a",
        ):
            for head in (GET, b"HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n"):
                self.assertKind(Kind.OTHER, head[:-2] + field + b"\r\n\r\n")
        self.assertKind(Kind.OTHER, b"GET / HTTP/1.1\r\n\r\n")

    def test_behind(self) -> None:
        """A second request behind the first, or anything else: not even an empty line."""
        for behind in (GET, b"\r\n", b"\n", b"\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CURL):
            self.assertKind(Kind.OTHER, GET + behind)

    def test_partial(self) -> None:
        """Half a head isn't known: it may yet turn out to be anything."""
        for at in range(1, len(GET)):
            flight = flown(self, [GET[:at]])
            self.assertIs(Kind.PARTIAL_REQUEST, flight.kind)
            self.assertFalse(flight.replayable)


ONE = re.compile(
    rb"(?:GET|HEAD) /[!-~]* HTTP/1\.[01]\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)*\r\n", re.DOTALL
)
HELLOS = [flight for flight, _ in CAPTURED.values()] + [
    ZERO_RTT[:414],
    records(modern(extension(ECH, bytes(30))), [1, 7]),
    records(message(serverName(b"a.example"), extension(EARLY_DATA)), [50]),
    records(message(bare=True)),
]
REQUESTS = [
    GET,
    HEAD,
    GET[:-2] + b"Content-Length: 0\r\n\r\n",
    GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    GET + GET,
]


@st.composite
def mangled(draw: st.DrawFn, flights: list[bytes], octets: st.SearchStrategy[bytes]) -> bytes:
    """One of the flights with up to three places changed: octets replaced, left out, put in, said twice."""
    data = draw(st.sampled_from(flights))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 4)))
        put = draw(st.one_of(octets, st.just(data[start:end] * 2)))
        data = data[:start] + put + data[end:]
    return data


PLACES = st.lists(st.integers(0, 3_000), max_size=4)


class AnythingTests(FlightCase):
    """Whatever comes, against a second reading of it that shares no code with ours."""

    def kindOf(self, data: bytes, places: list[int]) -> tuple[Kind, str]:
        """What it is, which is the same in any segments."""
        flight = flown(self, cut(data, places))
        whole, slow = Flight(), Flight()
        whole.receive(data)
        for octet in data:
            slow.receive(bytes((octet,)))
        self.assertEqual((flight.kind, flight.data), (whole.kind, whole.data))
        self.assertEqual((flight.kind, flight.data, flight.sni), (slow.kind, slow.data, slow.sni))
        return flight.kind, flight.sni

    @given(mangled(HELLOS, st.binary(max_size=4)), PLACES)
    def test_hellos(self, data: bytes, places: list[int]) -> None:
        """HELLO is what says the same when it is read and written anew, without early data; and nothing else is."""
        kind, sni = self.kindOf(data, places)
        anew, extensions = rebuilt(data)
        self.assertEqual(bool(data) and anew == data and EARLY_DATA not in extensions, kind is Kind.HELLO)
        if kind is Kind.HELLO and sni and (name := heard(data)) is not None:
            self.assertEqual(name.lower(), sni)

    @given(
        mangled(REQUESTS, st.one_of(st.binary(max_size=3), st.sampled_from([b"\r\n", b"\n", b"\r", b":", b" "]))),
        PLACES,
    )
    def test_requests(self, data: bytes, places: list[int]) -> None:
        """REQUEST is what h11 takes for one GET or HEAD without content, and for its head to the last octet."""
        kind, _ = self.kindOf(data, places)
        if kind is not Kind.REQUEST:
            return
        self.assertIsNotNone(ONE.fullmatch(data))
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(data)
        head = connection.next_event()
        self.assertIsInstance(head, h11.Request)
        self.assertIn(head.method, (b"GET", b"HEAD"))
        self.assertIsInstance(connection.next_event(), h11.EndOfMessage)
        self.assertEqual((b"", False), connection.trailing_data)
        self.assertFalse({name for name, _ in head.headers} & {b"content-length", b"transfer-encoding", b"upgrade"})

    @given(st.binary(max_size=400), PLACES)
    def test_anything(self, data: bytes, places: list[int]) -> None:
        """Any octets are judged, and random ones never go again."""
        self.assertNotIn(self.kindOf(data, places)[0], REPLAYABLE if data else ())

    @given(st.sampled_from([CHROMIUM, CURL_TLS12, GET, HEAD]), st.binary(min_size=1, max_size=40), PLACES)
    def test_final(self, data: bytes, behind: bytes, places: list[int]) -> None:
        """What is behind a whole one makes it OTHER, for ever."""
        self.assertIs(Kind.OTHER, self.kindOf(data + behind, places)[0])
        self.assertIs(Kind.OTHER, self.kindOf(data + behind + data, places)[0])
