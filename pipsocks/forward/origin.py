"""One connection to an origin, or to an HTTP hop: one request at a time, without any policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from typing import Protocol as Seam

import attrs
import h11
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.gateway.stream import Successor
from pipsocks.model import Transport
from pipsocks.wire.gate import Body, Cut, End, GateError, ResponseGate, ResponseHead
from pipsocks.wire.http import listed

Fields = tuple[tuple[bytes, bytes], ...]

INTERIM_LIMIT: Final = 100
"""Interim heads before a response's own: they pass to the client however fast it reads, so there is an end to them."""


class Closed(Exception):
    """The connection ended before the head of a response. `spoke`: some byte of it, or an interim one, had come."""

    def __init__(self, spoke: bool) -> None:
        super().__init__(spoke)
        self.spoke = spoke


class Taker(Seam):
    """What takes a response's content."""

    def write(self, data: bytes) -> None:
        """A piece of it."""


@implementer(IHalfCloseableProtocol)
class Origin(Protocol):
    """
    Sends a request, then hands out the response: its head when it comes, its content when it is asked for.

    h11 writes the request, which decides how its content is framed, and has to agree with the gate on the response's
    head. Content goes from the gate to its taker; until there is one the connection is not read. After a 101 it is the
    far `Stream` of a tunnel.

    @ivar sent: the bytes sent for this request.
    @ivar spoke: whether anything has come for it, be it half a head.
    @ivar complete: whether all of it was sent.
    @ivar promised: whether the last response said in so many words that the connection is kept.
    """

    transport: Transport  # type: ignore[assignment]

    def __init__(self, hear: Callable[[], None]) -> None:
        """
        @param hear: is called when anything comes that is whole: a head, content, an end. Half a head is no sign of
            life, or a hop that stays in it would pass for a slow page.
        """
        self.sent = 0
        self._interim = 0
        self._hear = hear
        self._h11 = h11.Connection(h11.CLIENT)
        self._gate = ResponseGate(b"GET")
        self._head: Deferred[ResponseHead] | None = None
        self._over: Deferred[Fields] | None = None
        self._inform: Callable[[ResponseHead], None] = lambda head: None
        self._taker: Taker | None = None
        self._whenStale: Callable[[], None] | None = None
        self._successor: Successor | None = None
        self._keeps = False
        self.complete = False
        self.promised = False
        self.spoke = False
        self._lost: Failure | None = None
        self._unread = False  # nobody takes the content yet
        self._slow = False  # the taker wants no more for now
        self._paused = False

    # the request

    def ask(self, request: h11.Request, inform: Callable[[ResponseHead], None]) -> Deferred[ResponseHead]:
        """
        Send a request's head; `write` and `finish` send its content.

        @param inform: is called with each interim head (1xx).
        @return: fires with the response's head. Fails with `Closed`, or `GateError` for what is no response.
        @raise h11.LocalProtocolError: the request can't be said in HTTP/1.1.
        """
        self._h11 = h11.Connection(h11.CLIENT)
        self._gate = ResponseGate(request.method)
        self._whenStale, self._inform = None, inform
        self._keeps = self.complete = self.spoke = False
        self.sent = self._interim = 0
        self._put(self._h11.send(request))
        head = self._head = Deferred()
        if self._lost is not None:
            self._end(self._lost)
        return head

    def write(self, data: bytes) -> None:
        """Send a piece of the request's content."""
        self._put(self._h11.send(h11.Data(data=data)))

    def finish(self, trailers: Fields) -> None:
        """The request is complete."""
        self.complete = True
        self._put(self._h11.send(h11.EndOfMessage(headers=list(trailers))))

    def _put(self, data: bytes) -> None:
        if data:
            self.sent += len(data)
            self.transport.write(data)

    # the response

    def deliver(self, taker: Taker) -> Deferred[Fields]:
        """
        Hand the content out.

        @return: fires with the trailers once all of it is out. Fails with `Cut` where the connection ended before that,
            and `GateError` where the content is malformed.
        """
        over = self._over = Deferred()
        self._taker = taker
        self._unread = False
        self._pump()
        self._regulate()
        if self._lost is not None:
            self._end(self._lost)
        return over

    def pauseProducing(self) -> None:
        """Whoever takes the content wants no more for now."""
        self._slow = True
        self._regulate()

    def resumeProducing(self) -> None:
        """It does again."""
        self._slow = False
        self._regulate()

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent, once this one's response is complete."""
        return self._keeps and self.complete and self._lost is None and not self._gate.held

    def rest(self, whenStale: Callable[[], None]) -> None:
        """Wait for the next request; `whenStale` is called when there can be none."""
        self._whenStale = whenStale

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._whenStale = self._head = self._over = self._taker = None
        self.transport.abortConnection()

    def follow(self, successor: Successor) -> None:
        """Step aside for `successor`, behind a 101: see `pipsocks.gateway.stream.Stream`."""
        self._successor = successor
        self._unread = False
        if early := self._gate.leftover():
            successor.dataReceived(early)

    def giveUp(self) -> None:
        """End the response short, as if the connection had ended there."""
        self._fail(Cut("no progress"))
        self.transport.abortConnection()

    # events

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a response; between two of them there can be none that mean anything."""
        if self._successor is not None:
            self._successor.dataReceived(data)
            return
        if self._head is None and self._taker is None and not self._unread:
            self._hear()
            self._stale()
            self.abort()
            return
        self.spoke = True
        self._gate.receive(data)
        if self._head is not None:
            self._readHead()
        else:
            self._hear()
            self._pump()
        self._regulate()

    def readConnectionLost(self) -> None:
        """The origin ended its output. Only a tunnel goes on without it."""
        if self._successor is not None:
            self._successor.readConnectionLost()
        else:
            self._close(Failure(ConnectionDone()))
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our output was shut down, which only a tunnel does."""
        if self._successor is not None:
            self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The connection ended; where content ends with it, that is its end."""
        if self._successor is not None:
            self._successor.connectionLost(reason)
        elif self._lost is None:
            self._close(reason)

    def _close(self, reason: Failure) -> None:
        self._lost = reason
        self._stale()
        if not self._unread:
            self._end(reason)

    def _end(self, reason: Failure) -> None:
        if self._head is not None:
            self._fail(Closed(self.spoke))
        elif self._taker is not None:
            if reason.check(ConnectionDone):
                self._gate.eof()
                self._pump()
            if self._taker is not None:
                self._fail(Cut("reset within the content"))

    def _stale(self) -> None:
        stale, self._whenStale = self._whenStale, None
        if stale is not None:
            stale()

    def _readHead(self) -> None:
        try:
            while (head := self._gate.next()) is not None:
                assert isinstance(head, ResponseHead), "the gate begins each response with heads"
                self._hear()
                self._agree(head)
                if head.status >= 200 or head.status == 101:
                    break
                self._interim += 1
                if self._interim > INTERIM_LIMIT:
                    raise GateError(502, "too many interim responses")
                self._inform(head)
        except GateError as error:
            self._fail(error)
            self.transport.abortConnection()
            return
        if head is None:
            return
        self._keeps = head.keepAlive
        self.promised = b"keep-alive" in listed(head.all(b"connection") + head.all(b"proxy-connection"))
        self._unread = True
        headed, self._head = self._head, None
        if headed is not None:
            headed.callback(head)

    def _agree(self, head: ResponseHead) -> None:
        self._h11.receive_data(head.raw)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError:
            event = None
        if not isinstance(event, h11.Response | h11.InformationalResponse) or event.status_code != head.status:
            raise GateError(502, "a response to nothing that was asked" if head.status == 101 else "malformed head")
        if head.status == 101 and listed(head.all(b"upgrade")) != [b"websocket"]:
            raise GateError(502, "a switch to another protocol than was asked for")

    def _pump(self) -> None:
        try:
            while self._taker is not None and (event := self._gate.next()) is not None:
                if isinstance(event, Body):
                    self._taker.write(event.data)
                elif isinstance(event, End):
                    over, self._over, self._taker = self._over, None, None
                    if over is not None:
                        over.callback(event.trailers)
                    return
        except (GateError, Cut) as error:
            self._fail(error)
            self.transport.abortConnection()

    def _fail(self, error: Exception) -> None:
        waiting: Deferred[ResponseHead] | Deferred[Fields] | None = self._head or self._over
        self._head = self._over = self._taker = None
        self._keeps = False
        if waiting is not None:
            waiting.errback(Failure(error))

    def _regulate(self) -> None:
        pause = self._unread or self._slow
        if pause != self._paused:
            self._paused = pause
            (self.transport.pauseProducing if pause else self.transport.resumeProducing)()


@attrs.define(eq=False)
class OriginFactory(Factory):
    """Makes the connection for one sending; `hear` as `Origin` has it."""

    noisy = False
    hear: Callable[[], None]

    def buildProtocol(self, addr: object) -> Origin:
        """The connection."""
        return Origin(self.hear)
