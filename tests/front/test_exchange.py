"""The client's side of a request, by itself."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.exchange import Exchange
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import RequestGate, RequestHead


def unused() -> Any:
    """What these tests have no use for."""


class Sink:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def write(self, data: bytes) -> None:
        self.events.append(data)

    def finish(self, trailers: Any) -> None:
        self.events.append(trailers)

    def broken(self, refusal: Refusal) -> None:
        self.events.append(refusal.token)


class ExchangeTests(SynchronousTestCase):
    """Content in, an answer out."""

    def begin(self, request: bytes) -> tuple[Exchange, RequestGate, StringTransport]:
        """An exchange for a request."""
        gate, transport = RequestGate(), StringTransport()
        gate.receive(request)
        head = gate.next()
        assert isinstance(head, RequestHead)
        self.regulated = 0

        def regulate() -> None:
            self.regulated += 1

        return Exchange(transport, gate, head, regulate, unused), gate, transport  # type: ignore[arg-type]

    def test_disagreement(self) -> None:
        """A head that h11 takes for something else, or not at all, is refused: two readers, one meaning."""
        for method, target in ((b"GET", b"/a b"), (b"GE T", b"/")):
            head = RequestHead(method, target, b"1.1", ((b"Host", b"x"),))
            refusal = self.assertRaises(Refusal, Exchange, StringTransport(), RequestGate(), head, unused, unused)
            self.assertEqual(refusal.token, "bad_request")

    def test_contentWaitsForATaker(self) -> None:
        """Content stays in the gate until somebody takes it, and again when nobody does any more."""
        exchange, gate, _ = self.begin(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
        exchange.pump()
        self.assertEqual(gate.held, 3)
        sink = Sink()
        exchange.pour(sink)
        exchange.pour(None)
        gate.receive(b"def")
        exchange.pump()
        self.assertEqual((sink.events, exchange.received), ([b"abc"], False))
        exchange.pour(sink)
        self.assertEqual((sink.events, exchange.received), ([b"abc", b"def", ()], True))

    def test_full(self) -> None:
        """A taker that wants no more stops the reading of the client, until it does or is gone."""
        exchange, _, _ = self.begin(b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
        for again in (exchange.resumeProducing, exchange.stopProducing):
            exchange.pauseProducing()
            self.assertTrue(exchange.full)
            again()
            self.assertFalse(exchange.full)
        self.assertEqual(self.regulated, 4)

    def test_sourceOfACongestedClient(self) -> None:
        """A source that comes while the client does not read waits from the start."""
        exchange, _, _ = self.begin(b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
        source = Waiting()
        exchange.hold()
        exchange.drain(source)
        exchange.release()
        exchange.drain(None)
        exchange.hold()
        exchange.release()
        self.assertEqual(source.events, ["pause", "resume"])

    def test_brokenContentWithoutTaker(self) -> None:
        """Content that nobody takes any more may break without harm: the connection is not kept, that is all."""
        exchange, gate, transport = self.begin(
            b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sink = Sink()
        exchange.pour(sink)
        gate.receive(b"zz\r\n")
        exchange.pump()
        self.assertEqual(sink.events, ["bad_request"])
        exchange.refuse(Refusal("PS-DE01", where="a:80"))
        self.assertIn(b"Connection: close", transport.value())
        self.assertEqual(self.successResultOf(exchange.over()), False)

    def test_noContent(self) -> None:
        """A 204 or a HEAD's answer has none, an HTTP/1.0 client's no trailers."""
        exchange, _, transport = self.begin(b"GET http://a/ HTTP/1.0\r\n\r\n")
        exchange.answer(200, b"OK", ())
        exchange.write(b"abc")
        exchange.finish(((b"X", b"y"),))
        self.assertEqual(transport.value(), b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc")
        self.assertEqual(exchange.sent, len(transport.value()))


class Waiting:
    """Notes when it has to wait."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")
