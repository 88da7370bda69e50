"""The client's side of one forwarded request: its content on the way in, the answer on the way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import h11
from twisted.internet.defer import Deferred

from pipsocks.front.answer import answerBytes
from pipsocks.gateway.stream import Stream
from pipsocks.model import Transport
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import Body, End, GateError, RequestGate, RequestHead

DRAIN_LIMIT: Final = 256 * 1024
"""Bytes of content nobody wants that are read away to keep a connection; beyond that closing is cheaper."""

Fields = tuple[tuple[bytes, bytes], ...]
_GATE_CODES: Final = {431: "PS-RQ04", 505: "PS-RQ05"}


def gateRefusal(error: GateError) -> Refusal:
    """What the client is told of a request that does not pass the gate."""
    return Refusal(_GATE_CODES.get(error.status, "PS-RQ01"), detail=error.text)


class Sink(Protocol):
    """What takes a request's content."""

    def write(self, data: bytes) -> None:
        """A piece of it."""

    def finish(self, trailers: Fields) -> None:
        """It is complete."""

    def broken(self, refusal: Refusal) -> None:
        """It turned out malformed, and the rest can't be read."""


class Source(Protocol):
    """What the answer's content comes from; it can wait."""

    def pauseProducing(self) -> None:
        """Wait."""

    def resumeProducing(self) -> None:
        """Go on."""


class Exchange:
    """
    One request and its answer, as the client sees them.

    h11 has a say in every head: it reads the request's that passed the gate, and writes the answer's, whose framing
    (length, chunks, or the connection's end for an HTTP/1.0 client) is its decision. Content goes from the gate to the
    taker without being parsed twice.

    @ivar head: the request's.
    @ivar received: whether all of the request has come.
    @ivar full: whether the taker of its content wants no more for now.
    @ivar sent: the bytes of the answer so far.
    """

    def __init__(
        self,
        transport: Transport,
        gate: RequestGate,
        head: RequestHead,
        regulate: Callable[[], None],
        handOver: Callable[[], Stream],
    ) -> None:
        """
        @param regulate: is called when `full` changes.
        @param handOver: gives the client's connection away, behind a 101.

        @raise Refusal: h11 does not take the head for what the gate takes it for.
        """
        self.head = head
        self.received = False
        self.full = False
        self.sent = 0
        self.begun = False
        self._transport = transport
        self._gate = gate
        self._regulate = regulate
        self.handOver = handOver
        self._sink: Sink | None = None
        self._source: Source | None = None
        self._congested = False
        self._framed = False
        self._keep = head.keepAlive
        self._h11 = h11.Connection(h11.SERVER)
        self._h11.receive_data(head.raw)
        try:
            request = self._h11.next_event()
        except h11.RemoteProtocolError:
            request = None
        if not isinstance(request, h11.Request) or request.method != head.method:
            raise Refusal("PS-RQ01", detail="not an HTTP request")
        if not head.hasBody:
            self._take()

    # the request's content

    def pour(self, sink: Sink | None) -> None:
        """Let `sink` have the content from now on, and what has come of it already at once; None: nobody."""
        self._sink = sink
        self.pump()

    def pump(self) -> None:
        """Hand on what has come."""
        while self._sink is not None and not self.received:
            if not self._take():
                break
        self._regulate()

    def _take(self) -> bool:
        sink = self._sink
        try:
            event = self._gate.next()
        except GateError as error:
            self._sink, self._keep = None, False
            if sink is not None:
                sink.broken(gateRefusal(error))
            return False
        if isinstance(event, Body):
            if sink is not None:
                sink.write(event.data)
        elif isinstance(event, End):
            self.received = True
            self._sink = None
            if sink is not None:
                sink.finish(event.trailers)
        return event is not None

    def pauseProducing(self) -> None:
        """The taker is full: the client is not read."""
        self.full = True
        self._regulate()

    def resumeProducing(self) -> None:
        """It has room again."""
        self.full = False
        self._regulate()

    def stopProducing(self) -> None:
        """It is gone, as somebody else notices."""
        self.resumeProducing()

    # the answer

    def drain(self, source: Source | None) -> None:
        """Let `source` wait whenever the client does not read; None: there is no source any more."""
        self._source = source
        if source is not None and self._congested:
            source.pauseProducing()

    def hold(self) -> None:
        """The client does not read."""
        self._congested = True
        if self._source is not None:
            self._source.pauseProducing()

    def release(self) -> None:
        """It does again."""
        self._congested = False
        if self._source is not None:
            self._source.resumeProducing()

    def inform(self, status: int, reason: bytes, fields: Fields) -> None:
        """An interim answer (1xx); an HTTP/1.0 client must not see it (RFC 9110, section 15.2)."""
        if self.head.version != b"1.0":
            self._send(h11.InformationalResponse(status_code=status, reason=reason, headers=list(fields)))

    def answer(self, status: int, reason: bytes, fields: Fields) -> None:
        """The answer's head. The connection is kept only where the client wants it and the request is complete."""
        self.begun = True
        headers = list(fields)
        if not (self._keep and self.received):
            self._keep = False
            headers.append((b"Connection", b"close"))
        # Closing short of the framing tells of a cut, and what has come reaches the client, who may resume behind it.
        # Where the connection's end is the content's only a reset tells, and takes some of it along.
        self._framed = self.head.version != b"1.0" or any(name.lower() == b"content-length" for name, _ in fields)
        self._send(h11.Response(status_code=status, reason=reason, headers=headers))

    def write(self, data: bytes) -> None:
        """A piece of the answer's content."""
        self._send(h11.Data(data=data))

    def finish(self, trailers: Fields) -> None:
        """The answer is complete. An HTTP/1.0 client can't be sent trailers."""
        self._send(h11.EndOfMessage(headers=[] if self.head.version == b"1.0" else list(trailers)))
        self._keep = self._keep and self._h11.our_state is h11.DONE

    def refuse(self, refusal: Refusal) -> None:
        """The answer is no. Nothing else may have been sent but interim answers."""
        self.begun = True
        small = self.received or self.head.chunked or (self.head.length or 0) <= DRAIN_LIMIT
        self._keep = self._keep and small and refusal.slug.status not in (400, 408)
        self._put(answerBytes(refusal, self._keep, self.head.method == b"HEAD"))

    def cut(self) -> None:
        """The answer ends here, and the client must not take it for whole."""
        self._keep = False
        if not self._framed:
            self._transport.abortConnection()

    def _send(self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage) -> None:
        self._put(self._h11.send(event))

    def _put(self, data: bytes) -> None:
        self.sent += len(data)
        self._transport.write(data)

    # the end

    def retire(self) -> None:
        """No request may follow this one."""
        self._keep = False

    async def over(self) -> bool:
        """Read away what is left of the request, within bounds; whether another one may follow."""
        if self._keep and not self.received:
            waste = _Waste()
            self.pour(waste)
            self._keep = await waste.done
        return self._keep


class _Waste:
    """Takes content that nobody wants. `done` tells whether it all came."""

    def __init__(self) -> None:
        self.done: Deferred[bool] = Deferred()
        self._left = DRAIN_LIMIT

    def write(self, data: bytes) -> None:
        """Away with it."""
        self._left -= len(data)
        if self._left < 0:
            self._over(False)

    def finish(self, trailers: Fields) -> None:
        """All of it came."""
        self._over(True)

    def broken(self, refusal: Refusal) -> None:
        """The rest can't be read."""
        self._over(False)

    def _over(self, whole: bool) -> None:
        if not self.done.called:
            self.done.callback(whole)
