"""The step at one hop: run a codec on a connection, then step aside for the protocol that wants the tunnel."""

from __future__ import annotations

from typing import Any
from typing import Protocol as Seam

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from pipsocks.model import Destination, Login, Transport
from pipsocks.refusal import Refusal
from pipsocks.upstream.failures import ofAnswer, ofEnd, ofSilence
from pipsocks.wire.connect import ConnectRefused, Opened
from pipsocks.wire.socksclient import Bound, HopLogin, HopNonsense, HopRefused, Send


class Codec(Seam):
    """The client's side of a hop's protocol; see `pipsocks.wire.socksclient` and `pipsocks.wire.connect`."""

    asked: bool

    def start(self) -> bytes:
        """The first bytes to send."""

    def receive(self, data: bytes) -> None:
        """Take bytes that came."""

    def next(self) -> Send | Bound | Opened | None:
        """What is to be done."""

    def leftover(self) -> bytes:
        """What came behind the answer."""


class Connected:
    """In place of a codec: all that is wanted is the connection, and TLS on it."""

    asked = False

    def start(self) -> bytes:
        """Nothing is asked."""
        return b""

    def receive(self, data: bytes) -> None:
        """Nothing comes before `next` has said that this is all."""

    def next(self) -> Opened:
        """Done at once."""
        return Opened()

    def leftover(self) -> bytes:
        """Nothing."""
        return b""


@attrs.frozen
class Ask:
    """
    Who is asked for what, in which protocol, and for how long the answer is waited for.

    @ivar speaks: the protocol's name, for a hop that does not speak it.
    @ivar where: the destination as it is told to the client.
    @ivar tls: there is a TLS handshake to wait for before the first bytes are sent.
    @ivar login: what the hop is sent.
    """

    hop: Destination
    where: Destination
    speaks: str
    clock: IReactorTime
    limit: float
    tls: bool = False
    login: Login | None = None


@attrs.frozen(eq=False)
class Errand:
    """What one handshake needs, and nothing after it."""

    ask: Ask
    codec: Codec
    factory: IProtocolFactory


@implementer(IHalfCloseableProtocol)
class Step(Protocol):
    """
    Asks one hop for a tunnel and gives it to what `factory` builds.

    That protocol gets the real transport, so that a relay may take it over, and the bytes that came behind the hop's
    answer, after its connectionMade and before `done` fires. Its events are forwarded one by one: rebinding
    `dataReceived` breaks as soon as two hops nest. Where it has an attribute `bound`, that is set to what a SOCKS hop
    bound.

    @ivar done: fires with it, or fails with `Refusal`; cancelling it aborts the connection.
    """

    transport: Transport  # type: ignore[assignment]

    def __init__(self, ask: Ask, codec: Codec, factory: IProtocolFactory) -> None:
        self._errand: Errand | None = Errand(ask, codec, factory)
        self._inner: IProtocol | None = None
        self._inTLS = ask.tls
        if ask.tls:
            # Not on the class: Twisted's client endpoints let the last interface that they look for replace the others,
            # so that a plain connection would lose its half-close to this one.
            alsoProvides(self, IHandshakeListener)
        self._timer: IDelayedCall | None = None
        self.done: Deferred[IProtocol] = Deferred(lambda _: self._giveUp())

    def connectionMade(self) -> None:
        """The way to the hop is there: its time begins."""
        if self._errand is not None:
            ask = self._errand.ask
            self._timer = ask.clock.callLater(ask.limit, self._expired)
            if not self._inTLS:
                self._begin(self._errand)

    def handshakeCompleted(self) -> None:
        """TLS to the hop is there."""
        self._inTLS = False
        if self._errand is not None:
            self._begin(self._errand)

    def dataReceived(self, data: bytes) -> None:
        """The hop's answer, or the tunnel's bytes."""
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif self._errand is not None:
            self._errand.codec.receive(data)
            self._proceed(self._errand)

    def readConnectionLost(self) -> None:
        """The hop, or who is behind it, ended its output."""
        if self._inner is None:
            self._ended(None)
        elif IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our output was shut down."""
        if self._inner is not None and IHalfCloseableProtocol.providedBy(self._inner):
            self._inner.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._ended(reason.value)

    def _begin(self, errand: Errand) -> None:
        if first := errand.codec.start():
            self.transport.write(first)
        self._proceed(errand)

    def _proceed(self, errand: Errand) -> None:
        try:
            while (event := errand.codec.next()) is not None:
                if not isinstance(event, Send):
                    self._stepAside(errand, event)
                    return
                self.transport.write(event.data)
        except (HopRefused, HopLogin, HopNonsense, ConnectRefused) as error:
            ask = errand.ask
            self._fail(ofAnswer(error, ask.speaks, ask.hop, ask.where, ask.login))

    def _stepAside(self, errand: Errand, event: Bound | Opened) -> None:
        self._forget()
        try:
            inner = errand.factory.buildProtocol(self.transport.getPeer())
            if inner is None:
                raise NoProtocol
        except Exception:
            self.transport.abortConnection()
            self.done.errback(Failure())
            return
        self._inner = inner
        if isinstance(event, Bound) and hasattr(inner, "bound"):
            inner.bound = event.host, event.port
        try:
            inner.makeConnection(self.transport)  # type: ignore[arg-type]
            if leftover := errand.codec.leftover():
                inner.dataReceived(leftover)
        except Exception:
            self.transport.abortConnection()
            self.done.errback(Failure())
        else:
            self.done.callback(inner)

    def _expired(self) -> None:
        self._timer = None
        if self._errand is not None:
            ask = self._errand.ask
            self._fail(ofSilence(self._errand.codec.asked, ask.hop, ask.where))

    def _ended(self, reason: BaseException | None) -> None:
        if self._errand is not None:
            ask = self._errand.ask
            self._fail(ofEnd(self._errand.codec.asked, reason, self._inTLS, ask.hop, ask.where))

    def _fail(self, refusal: Refusal) -> None:
        self._giveUp()
        self.done.errback(refusal)

    def _giveUp(self) -> None:
        self._forget()
        self.transport.abortConnection()

    def _forget(self) -> None:
        """Let go of all that only the handshake needed."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._errand = None


class StepFactory(Factory):
    """Gives out one step, since one connection is all that is made."""

    noisy = False

    def __init__(self, step: Step) -> None:
        self._step = step

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See `IProtocolFactory`."""
        return self._step
