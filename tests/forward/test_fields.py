"""Which fields go on."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.forward.fields import basic, requestFields, responseFields
from pipsocks.model import Login, Secret
from pipsocks.wire.gate import RequestGate, RequestHead, ResponseGate, ResponseHead
from pipsocks.wire.target import parseAbsolute

TARGET = parseAbsolute(b"http://a.example:81/")


def request(*lines: bytes, version: bytes = b"1.1", method: bytes = b"POST") -> RequestHead:
    """A request's head with these fields."""
    gate = RequestGate()
    gate.receive(b"\r\n".join([method + b" http://a.example:81/ HTTP/" + version, b"Host: other", *lines, b"", b""]))
    head = gate.next()
    assert isinstance(head, RequestHead)
    return head


def response(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    """A response's head with these fields."""
    gate = ResponseGate(b"GET")
    gate.receive(b"\r\n".join([line, *lines, b"", b""]))
    head = gate.next()
    assert isinstance(head, ResponseHead)
    return head


class RequestFieldsTests(SynchronousTestCase):
    """Towards an origin."""

    def test_hopByHop(self) -> None:
        """What belongs to the client's connection stays there, in whatever case, named by Connection or not."""
        head = request(
            b"CONNECTION: a , B", b"connection: c,", b"A: 1", b"b: 2", b"C: 3", b"D: 4", b"Keep-Alive: x",
            b"proxy-connection: x", b"Proxy-Authorization: x", b"Proxy-Authenticate: x", b"TE: gzip", b"Upgrade: x",
            b"Trailer: X-Sum", b"Authorization: kept",
        )  # fmt: skip
        self.assertEqual(
            requestFields(head, TARGET, via=False),
            [(b"Host", b"a.example:81"), (b"D", b"4"), (b"Trailer", b"X-Sum"), (b"Authorization", b"kept")],
        )

    def test_framing(self) -> None:
        """The framing is what the gate saw, though Connection names it."""
        fields = requestFields(request(b"content-length: 5", b"Connection: Content-Length, Host"), TARGET, via=False)
        self.assertEqual(fields, [(b"Host", b"a.example:81"), (b"Content-Length", b"5")])
        fields = requestFields(request(b"transfer-encoding: Chunked"), TARGET, via=False)
        self.assertEqual(fields, [(b"Host", b"a.example:81"), (b"Transfer-Encoding", b"chunked")])

    def test_added(self) -> None:
        """Via with the version received, the hop's login, and the client's wish to close."""
        login = Login("me", Secret("pä:ß"))
        fields = requestFields(request(b"Via: 1.0 a", version=b"1.0"), TARGET, via=True, hopLogin=login)
        self.assertEqual(
            fields[1:],
            [
                (b"Via", b"1.0 a"),
                (b"Via", b"1.0 pipsocks"),
                (b"Proxy-Authorization", basic(login)),
                (b"Connection", b"close"),
            ],
        )
        self.assertEqual(basic(login), b"Basic bWU6cMOkOsOf")

    def test_trailers(self) -> None:
        """Trailers are welcome at the next hop where they are at this one, and only they: no coding of content."""
        for value in (b"trailers", b"gzip;q=0.5, Trailers", b"deflate,trailers;q=0.1"):
            fields = requestFields(request(b"TE: " + value, b"Connection: TE"), TARGET, via=False)
            self.assertEqual(fields[1:], [(b"TE", b"trailers"), (b"Connection", b"TE")])
        for head in (request(b"TE: trailers", version=b"1.0"), request(b"TE: x-trailers")):
            self.assertNotIn((b"TE", b"trailers"), requestFields(head, TARGET, via=False))

    def test_webSocket(self) -> None:
        """The wish for a WebSocket goes on, alone, where it was meant for us and may be granted."""
        good = (b"Upgrade: h2c, WebSocket", b"Connection: keep-alive, UPGRADE", b"Sec-WebSocket-Key: x")
        fields = requestFields(request(*good, method=b"GET"), TARGET, via=False)
        self.assertEqual(
            fields[1:], [(b"Sec-WebSocket-Key", b"x"), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        )
        for head in (
            request(*good),
            request(*good, method=b"GET", version=b"1.0"),
            request(*good, b"Content-Length: 1", method=b"GET"),
            request(*good, b"Connection: close", method=b"GET"),
            request(good[0], method=b"GET"),
            request(b"Upgrade: h2c", good[1], method=b"GET"),
            request(b"Upgrade: websockets", good[1], method=b"GET"),
        ):
            self.assertNotIn(b"Upgrade", dict(requestFields(head, TARGET, via=False)))


class ResponseFieldsTests(SynchronousTestCase):
    """Towards a client."""

    def test_all(self) -> None:
        """The origin's hop stays its own, and a challenge of a hop's never passes."""
        head = response(
            b"Connection: x-a", b"X-A: 1", b"X-B: 2", b"Proxy-Authenticate: Basic", b"Proxy-Connection: close",
            b"Transfer-Encoding: chunked", b"Upgrade: h2c",
        )  # fmt: skip
        self.assertEqual(responseFields(head, via=False), ((b"X-B", b"2"),))
        head = response(b"content-length: 5")
        self.assertEqual(responseFields(head, via=True), ((b"Content-Length", b"5"), (b"Via", b"1.1 pipsocks")))

    def test_switch(self) -> None:
        """A 101 says for the client's hop what it said for the origin's."""
        head = response(
            b"connection: Upgrade, x-a", b"upgrade: WebSocket", b"X-A: 1", b"Sec-WebSocket-Accept: y",
            line=b"HTTP/1.1 101 Switching Protocols",
        )  # fmt: skip
        self.assertEqual(
            responseFields(head, via=False),
            ((b"Sec-WebSocket-Accept", b"y"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")),
        )
