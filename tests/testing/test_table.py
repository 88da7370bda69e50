"""Every fault of `pipsocks.testing.faults.TABLE` strikes, over real sockets; a fault without a test fails here."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import attrs
from twisted.internet.error import ConnectionRefusedError

from pipsocks.testing import Echo, Origin, Upstream
from pipsocks.testing.faults import TABLE
from pipsocks.testing.server import Kind
from pipsocks.testing.words import PAGE
from tests.loopback import connect
from tests.testing.rig import CHOSEN, GRANTED, Clocked, FaultCase, connectTo, replied, socksTo

SIZE: Final = 200_000
CONNECTED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
GET: Final = b"GET /parrot HTTP/1.1\r\nHost: a\r\n\r\n"
LAST: Final = b"GET /parrot HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
PART: Final = b"GET /parrot HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=10-\r\n\r\n"


@attrs.frozen
class Case:
    """
    What one fault does.

    @ivar kind: the kind of listener.
    @ivar said: what a client says, for an echo's port.
    @ivar gets: what it gets for it, or what that must be.
    @ivar ends: ``close``, ``reset`` or ``silent``, then with the `event` behind which nothing more comes.
    """

    kind: str
    fault: str
    said: Callable[[int], bytes]
    gets: bytes | Callable[[bytes], bool]
    ends: str = "close"
    event: str = ""


def socks(port: int) -> bytes:
    """A tunnel by SOCKS 5, and the first bytes in it."""
    return socksTo(port) + b"song"


def http(port: int) -> bytes:
    """A tunnel by CONNECT, and the first bytes in it."""
    return connectTo(port) + b"song"


def _words(text: bytes) -> Callable[[int], bytes]:
    return lambda port: text


def _head(*wanted: bytes, without: tuple[bytes, ...] = ()) -> Callable[[bytes], bool]:
    """The head has `wanted` in it and nothing of `without`."""

    def check(data: bytes) -> bool:
        head = data.partition(b"\r\n\r\n")[0].lower()
        return all(each.lower() in head for each in wanted) and not any(each.lower() in head for each in without)

    return check


def _line(wanted: bytes) -> Callable[[bytes], bool]:
    """The status line is `wanted`, to the octet."""
    return lambda data: data.partition(b"\r\n")[0] == wanted


def _body(start: int, stop: int) -> Callable[[bytes], bool]:
    """The body is those bytes of the content, and no others."""
    return lambda data: data.partition(b"\r\n\r\n")[2] == Origin(SIZE).content("/parrot").read(start, stop)


def _both(*checks: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    return lambda data: all(check(data) for check in checks)


TUNNEL: Final = CHOSEN + GRANTED

CASES: Final[tuple[Case | tuple[str, str], ...]] = (
    Case("echo", "silent", socks, b"", "silent", "accepted"),
    Case("upstream", "silent", socks, b"", "silent", "accepted"),
    Case("origin", "close", _words(b""), b""),
    Case("upstream", "close", _words(b""), b""),
    Case("upstream", "reset", _words(b""), b"", "reset"),
    Case("origin", "reset", _words(b""), b"", "reset"),
    Case("upstream", "nonsense", socks, lambda data: len(data) == 64 and data[0] == 0xEE),
    Case("origin", "say=68656c6c6f", _words(GET), b"hello"),
    Case("upstream", "say=0102", socks, b"\x01\x02"),
    Case("upstream", "say-reset=0102", socks, b"\x01\x02", "reset"),
    Case("upstream", "method-refused", socks, b"\x05\xff"),
    Case("upstream", "method-refused", http, _head(b"HTTP/1.1 407 ", b"Proxy-Authenticate: NTLM")),
    Case("upstream", "login-refused", _words(b"\x05\x01\x02\x01\x01u\x01p"), b"\x05\x02\x01\x01"),
    Case("upstream", "login-refused", http, _head(b"HTTP/1.1 407 ", b"Proxy-Authenticate: Basic")),
    Case("upstream", "cut", socks, CHOSEN + GRANTED[:5]),
    Case("upstream", "cut", http, CONNECTED[: len(CONNECTED) // 2]),
    *(Case("upstream", f"reply={code}", socks, CHOSEN + replied(code)) for code in range(1, 9)),
    Case("upstream", "reply=2", http, _head(b"HTTP/1.1 403 Forbidden")),
    Case("upstream", "reply=5", http, _head(b"HTTP/1.1 502 Bad Gateway")),
    *(
        Case(kind, f"status={code.value}", said, _line(b"HTTP/1.1 %d %b" % (code, code.phrase.encode())))
        for kind, said in (("upstream", http), ("origin", _words(LAST)))
        for code in map(HTTPStatus, (301, 400, 403, 404, 407, 429, 500, 502, 503, 504))
    ),
    Case("upstream", "status=599", http, _line(b"HTTP/1.1 599 ")),
    Case("origin", "status=599", _words(LAST), _line(b"HTTP/1.1 599 ")),
    Case("upstream", "status=418 I am a teapot", http, _head(b"HTTP/1.1 418 I am a teapot\r\n")),
    Case("upstream", "status=403", socks, CHOSEN + replied(2)),
    Case("upstream", "status=503", socks, CHOSEN + replied(1)),
    Case("origin", "status=503 Too many parrots", _words(LAST), _head(b"HTTP/1.1 503 Too many parrots\r\n")),
    Case("upstream", "asked-silent", socks, CHOSEN, "silent", "request"),
    Case("origin", "asked-silent", _words(GET), b"", "silent", "request"),
    Case("upstream", "asked-close", socks, CHOSEN),
    Case("origin", "asked-close", _words(GET), b""),
    Case("upstream", "asked-reset", socks, CHOSEN, "reset"),
    Case("origin", "asked-reset", _words(GET), b"", "reset"),
    Case("upstream", "then-silent", socks, TUNNEL, "silent", "granted"),
    Case("upstream", "then-close", http, CONNECTED),
    Case("upstream", "then-reset", socksTo, TUNNEL, "reset"),
    Case("upstream", "then-reset", connectTo, CONNECTED, "reset"),
    Case("upstream", "flight-silent", socks, TUNNEL, "silent", "flight"),
    Case("upstream", "flight-close", socks, TUNNEL),
    Case("upstream", "flight-reset", socks, TUNNEL, "reset"),
    Case("upstream", "flight-reset", http, CONNECTED, "reset"),
    Case("upstream", "flight-close", _words(b"GET http://a/ HTTP/1.1\r\n\r\n"), b""),
    Case("upstream", "portal", socks, lambda data: data.startswith(TUNNEL + b"HTTP/1.1 200 ") and data.endswith(PAGE)),
    Case("upstream", "portal", http, lambda data: data.startswith(CONNECTED) and data.endswith(PAGE)),
    Case("upstream", "portal", _words(b"GET http://a/ HTTP/1.1\r\n\r\n"), lambda data: data.endswith(PAGE)),
    Case("upstream", "silent-after=2", socks, TUNNEL + b"so", "silent", "struck"),
    Case("upstream", "close-after=2", socks, TUNNEL + b"so"),
    Case("upstream", "reset-after=2", socks, TUNNEL + b"so", "reset"),
    Case("upstream", "reset-after=0", socks, TUNNEL, "reset"),
    Case("echo", "silent-after=2", _words(b"song"), b"so", "silent", "struck"),
    Case("echo", "close-after=2", _words(b"song"), b"so"),
    Case("echo", "reset-after=2", _words(b"song"), b"so", "reset"),
    Case("origin", "close-after=70000", _words(GET), _both(_head(b"Content-Length: 200000"), _body(0, 70_000))),
    Case("origin", "reset-after=70000", _words(GET), _body(0, 70_000), "reset"),
    Case("origin", "chunked + reset-after=0", _words(GET), _head(b"200 OK", b"Transfer-Encoding: chunked"), "reset"),
    Case(
        "origin", "chunked", _words(LAST),
        _both(
            _head(b"Transfer-Encoding: chunked", without=(b"Content-Length",)),
            lambda data: data.endswith(b"\r\n0\r\n\r\n") and data.partition(b"\r\n\r\n")[2].startswith(b"10000\r\n"),
        ),
    ),
    Case(
        "origin", "until-close", _words(GET),
        _both(_head(b"Connection: close", without=(b"Content-Length", b"Transfer-Encoding")), _body(0, SIZE)),
    ),
    Case("origin", "none", _words(PART), _both(_head(b"206 Partial", b"bytes 10-199999/200000"), _body(10, SIZE))),
    Case("origin", "no-range", _words(PART), _both(_head(b"200 OK", without=(b"Accept-Ranges",)), _body(0, SIZE))),
    Case("origin", "wrong-range", _words(PART), _head(b"206 Partial", b"Content-Range: bytes 11-199999/200000")),
    Case("origin", "weak-etag", _words(LAST), _head(b"200 OK", b'ETag: W/"')),
    Case("origin", "no-etag", _words(LAST), _head(b"200 OK", without=(b"ETag", b"Last-Modified"))),
    Case("origin", "last-modified", _words(LAST), _head(b"Last-Modified: Wed, 01 Jan 2020 ", without=(b"ETag",))),
    # Those that take time, and those of the port, have tests of their own below.
    ("slow", "test_slow"),
    ("slow-connect", "test_slowConnect"),
    ("throttle", "test_throttle"),
    ("refuse", "test_refuse"),
    ("flap", "test_flap"),
    ("new-etag", "test_newETag"),
)  # fmt: skip


class TableTests(FaultCase):
    """What you read in ``twistd pipsocks-faults --help`` is what happens."""

    def test_everyFaultHasATest(self) -> None:
        """A fault that is added to the table is tested in this file, and listed once in the table."""
        tested = set()
        for case in CASES:
            if isinstance(case, Case):
                tested |= {part.partition("=")[0] for part in case.fault.split(" + ")}
            else:
                self.assertTrue(hasattr(self, case[1]), case)
                tested.add(case[0])
        self.assertEqual(tested, set(TABLE))

    async def test_eachKind(self) -> None:
        """A healthy listener of each kind does its work; its neighbours in this file are about what goes wrong."""
        hop, there = self.hop("none")
        talk = await self.say(hop, socks(there))
        self.assertEqual(await talk.read(len(TUNNEL) + 4), TUNNEL + b"song")

    async def test_cases(self) -> None:
        """Each fault of the table above, in turn."""
        for case in CASES:
            if isinstance(case, Case):
                await self.check(case)

    async def check(self, case: Case) -> None:
        """One of them."""
        there = self.serve(Echo()).port
        kinds: dict[str, Kind] = {"upstream": Upstream(), "origin": Origin(SIZE), "echo": Echo()}
        server = self.serve(kinds[case.kind], case.fault)
        said = case.said(there)
        if case.ends == "silent":
            assert isinstance(case.gets, bytes)
            await self.silent(server, case.gets, case.event, [said])
            return
        data, end = await self.whole(server, said)
        self.assertEqual(end, case.ends, case)
        if isinstance(case.gets, bytes):
            self.assertEqual(data, case.gets, case)
        else:
            self.assertTrue(case.gets(data), (case, data[:500]))
        if "-after" in case.fault:
            struck = self.events.named("struck")[0]
            self.assertEqual(f"{struck['how']}-after={struck['down']}", case.fault.rpartition(" + ")[2])

    async def test_slow(self) -> None:
        """The request is carried out only when the time is over; the bytes behind it are kept."""
        clocked = Clocked()
        hop, there = self.hop("slow=2.5", with_=clocked)
        talk = await self.say(hop, socks(there))
        await self.events.until("request")
        clocked.clock.advance(2.4)
        self.assertEqual(self.events.named("granted"), [])
        clocked.clock.advance(0.1)
        self.assertEqual(await talk.read(len(TUNNEL) + 4), TUNNEL + b"song")

        origin = self.serve(Origin(SIZE), "slow=2.5", with_=clocked)
        talk = await self.say(origin, LAST)
        await self.events.until("request")
        clocked.clock.advance(2.4)
        self.assertEqual(self.events.named("answered"), [])
        clocked.clock.advance(0.1)
        self.assertTrue(_body(0, SIZE)(await talk.readAll()))

    async def test_slowConnect(self) -> None:
        """Nothing is read of a new connection until the time is over."""
        clocked = Clocked()
        hop, there = self.hop("slow-connect=3", with_=clocked)
        talk = await self.say(hop, socks(there))
        await self.events.until("accepted")
        clocked.clock.advance(2.9)
        self.assertEqual(self.events.names, ["accepted"])
        clocked.clock.advance(0.1)
        self.assertEqual(await talk.read(len(TUNNEL) + 4), TUNNEL + b"song")

    async def test_throttle(self) -> None:
        """The answer comes in portions, one for each twentieth of a second, and is whole."""
        clocked = Clocked()
        hop, there = self.hop("throttle=40", with_=clocked)
        talk = await self.say(hop, socks(there))
        self.assertEqual(await talk.read(len(TUNNEL) + 2), TUNNEL + b"so")
        clocked.clock.advance(0.05)
        self.assertEqual(await talk.read(2), b"ng")
        await self.throttled(self.serve(Echo(), "throttle=1000", with_=clocked), bytes(range(250)), clocked)
        origin = Origin(SIZE)
        server = self.serve(origin, "throttle=1000000", with_=clocked)
        data = await self.throttled(server, LAST, clocked)
        self.assertTrue(_body(0, SIZE)(data))
        self.assertEqual(origin.sent, SIZE)

    async def throttled(self, server: Any, said: bytes, clocked: Clocked) -> bytes:
        """All that comes for `said`; it takes five portions."""
        talk = await self.say(server, said)
        head = b"" if isinstance(server.kind, Echo) else await talk.readUntil(b"\r\n\r\n")
        share = 50 if isinstance(server.kind, Echo) else 50_000
        data = head + await talk.read(share)
        for _ in range((250 if share == 50 else SIZE) // share - 1):
            self.assertEqual(talk.received, b"")
            clocked.clock.advance(0.05)
            data += await talk.read(share)
        return data

    async def test_refuse(self) -> None:
        """Nobody listens at a port that only refuses; among other faults it is a reset, and says so in the log."""
        server = self.serve(Upstream(), "refuse")
        self.assertGreater(server.port, 0)
        await self.assertFailure(self.dial(server.port), ConnectionRefusedError)
        server.use("none", "refuse")
        talk = await self.say(server, b"x")
        self.assertFalse(talk.ended)
        self.assertEqual(await self.whole(server), (b"", "reset"))
        self.assertEqual([each["fault"] for each in self.events.named("accepted")], ["none", "refuse"])

    def dial(self, port: int) -> Any:
        """A connection, or its failure."""
        from twisted.internet.defer import Deferred

        return Deferred.fromCoroutine(connect(self, port))

    async def test_flap(self) -> None:
        """A listener that is down refuses and has reset what stood; when it is up again it is at the same port."""
        clocked = Clocked()
        server = self.serve(Echo(), "flap=10/5", with_=clocked)
        port = server.port
        talk = await self.say(server, b"song")
        self.assertEqual(await talk.read(4), b"song")
        clocked.clock.advance(10)
        await talk.gone()
        for _ in range(2):
            await self.assertFailure(self.dial(port), ConnectionRefusedError)
            clocked.clock.advance(5)
            again = await self.say(server, b"more")
            self.assertEqual(await again.read(4), b"more")
            clocked.clock.advance(10)
        self.assertEqual([name for name in self.events.names if name in ("up", "down")], ["down", "up"] * 2 + ["down"])

    async def test_newETag(self) -> None:
        """Each request finds another version; a range of the former one does not hold any more."""
        origin = Origin(1000)
        server = self.serve(origin, "new-etag")
        first, _ = await self.whole(server, LAST)
        tag = origin.etag("/parrot", 1)
        self.assertIn(f"ETag: {tag}\r\n".encode(), first)
        self.assertTrue(first.endswith(origin.content("/parrot", 1).all()))
        asked = f"GET /parrot HTTP/1.1\r\nHost: a\r\nConnection: close\r\nRange: bytes=10-\r\nIf-Range: {tag}\r\n\r\n"
        second, _ = await self.whole(server, asked.encode())
        self.assertTrue(second.startswith(b"HTTP/1.1 200 OK\r\n"), second[:200])
        self.assertTrue(second.endswith(origin.content("/parrot", 2).all()))
