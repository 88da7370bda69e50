"""The client's socket: the first byte tells who speaks, then a speaker, then the relay gets what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from typing import Protocol as Seam

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.front.answer import answerBytes
from pipsocks.front.http import HTTPSpeaker
from pipsocks.front.linger import Linger
from pipsocks.front.socks import SocksSpeaker
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Carry, Conversation, connect
from pipsocks.gateway.stream import Held, Successor
from pipsocks.model import Ended, Request, Transport
from pipsocks.refusal import Refusal

if TYPE_CHECKING:
    from pipsocks.front.listener import Listener


class Speaker(Seam):
    """The conversation in one protocol, which ends in `Client.tunnel` or `Client.part`."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came from the client."""

    def readConnectionLost(self) -> None:
        """The client ended its output."""

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""

    def late(self) -> None:
        """The time for the handshake is over."""

    def stop(self) -> None:
        """The proxy stops: end now, unless a session is under way."""


@implementer(IHalfCloseableProtocol)
class Client(Protocol):
    """
    One client's connection, from its first byte to its last. It is the near `Stream` of a tunnel.

    What comes goes to the successor (the relay, or a lingering close) if there is one; is held while a way is searched
    for; goes to the speaker before that; and at the very first tells which speaker it is.

    @ivar listener: what it shares with the other clients of its port.
    @ivar peer: the client's address, for the journal.
    @ivar judge: where the client may go.
    @ivar deadline: when its first handshake must be over, in seconds of `clock`.
    """

    transport: Transport  # type: ignore[assignment]
    judge: Judge

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.gateway = listener.gateway
        self.clock = listener.clock
        self.forward = listener.forward
        self.associations = listener.associations
        self.logins = listener.logins
        self.held = Held()
        self.peer = ""
        self.deadline = 0.0
        self._since = 0.0
        self._timer: IDelayedCall | None = None
        self._speaker: Speaker | None = None
        self._successor: Successor | None = None
        self._task: Deferred[Any] | None = None
        self._request: Request | None = None
        self._noted = False

    def connectionMade(self) -> None:
        """A client is there, and its time begins to run."""
        peer = self.transport.getPeer()
        self.peer = _addressText(peer)
        self.judge = self.gateway.guard.judge(getattr(peer, "host", ""))
        self._since = self.clock.seconds()
        self.deadline = self._since + self.gateway.timeouts.handshake
        self.startClock(self.gateway.timeouts.handshake)
        self.listener.clients.add(self)

    # the handshake's clock

    def startClock(self, seconds: float) -> None:
        """`Speaker.late` is called after `seconds`, once; an earlier clock is forgotten."""
        self.stopClock()
        self._timer = self.clock.callLater(seconds, self._late)

    def stopClock(self) -> None:
        """Nothing is waited for any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _late(self) -> None:
        self._timer = None
        if self._speaker is not None:
            self._speaker.late()
        else:
            self.expire()

    def expire(self) -> None:
        """Close a client that has not said what it wants."""
        self.listener.clients.settled(self)
        self.note(Refusal("PS-RQ06").token)
        self.stopClock()
        self.transport.abortConnection()

    # what comes

    def dataReceived(self, data: bytes) -> None:
        """Bytes came from the client."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif self._task is not None:
            self.held.add(data, self.transport)
        elif self._speaker is not None:
            self._speaker.dataReceived(data)
        else:
            self._open(data)

    def readConnectionLost(self) -> None:
        """The client ended its output (FIN)."""
        if self._successor is not None:
            self.held.ended = True  # for the next successor
            self._successor.readConnectionLost()
        elif self._task is not None:
            self._ended()
        elif self._speaker is not None:
            self._speaker.readConnectionLost()
        else:
            self.transport.loseConnection()

    def _ended(self) -> None:
        # FIN behind held bytes is a half-close: they may be all that the client has to say. With nothing held it left.
        self.held.ended = True
        if not self.held.size:
            self._leave()
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our own output was shut down."""
        if self._successor is not None:
            self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The client is gone: what was searched for it is not needed any more."""
        self.stopClock()
        self.held.lost = reason
        if self._successor is not None:
            self._successor.connectionLost(reason)
        elif self._task is not None:
            self._leave()
        elif self._speaker is not None:
            self._speaker.connectionLost(reason)
        elif self.listener.clients.isShaking(self):
            self.note("no_request")
        self.listener.clients.remove(self)

    def _leave(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    # who speaks

    def _open(self, data: bytes) -> None:
        first, strict, own = data[0], self.listener.strict, self.listener.protocol
        if first == 0x16:
            self._misspoke(Refusal("PS-RQ03"))
            return
        spoken = "socks" if first in (4, 5) else "http" if chr(first).isascii() and chr(first).isalpha() else own
        if strict and spoken != own:
            self._misspoke(Refusal("PS-RQ07", detail="SOCKS" if own == "socks" else "HTTP"))
            return
        speaker: Speaker = SocksSpeaker(self) if spoken == "socks" else HTTPSpeaker(self)
        self._speaker = speaker
        speaker.dataReceived(data)

    def _misspoke(self, refusal: Refusal) -> None:
        self.note(refusal.token, refusal.cause)
        self.transport.write(answerBytes(refusal))
        self.part()

    # what becomes of it

    def tunnel(self, conversation: Conversation, request: Request, early: bytes, carry: Carry = connect) -> None:
        """
        Let the gateway carry `request` out, and hold what the client sends meanwhile.

        @param early: what it has already sent behind its request.
        """
        self.settle()
        self._speaker = None
        if early:
            self.held.add(early, self.transport)
        entry = self.gateway.open(self.listener.name, self.peer)
        task = Deferred.fromCoroutine(self.gateway.run(carry, conversation, request, entry, self.judge))
        if not task.called:
            self._task = task
        task.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def settle(self) -> None:
        """The client has said what it wants: its handshake is over."""
        self.stopClock()
        self.listener.clients.settled(self)

    def follow(self, successor: Successor) -> None:
        """Step aside for `successor`: see `pipsocks.gateway.stream.Stream`."""
        self._successor = successor
        self._speaker = self._task = None
        self.held.pour(successor, self.transport)

    def part(self) -> None:
        """Close after an answer, lingering: unread input must not turn the close into a reset that eats it."""
        self.settle()
        if self.held.lost is None:
            # Whoever paused it: what is not read now would reset the connection.
            self.transport.resumeProducing()
            self.follow(Linger(self.clock, self.transport))

    def stop(self) -> None:
        """The proxy stops: end now, unless a session is under way."""
        if self._speaker is not None:
            self._speaker.stop()
        elif self._task is None and self._successor is None:
            self.settle()
            self.transport.loseConnection()

    def note(self, token: str, reason: str = "") -> None:
        """A line in the journal for a connection that never got as far as a session: one, with what is told first."""
        if self._noted:
            return
        self._noted = True
        ago = self.clock.seconds() - self._since
        self.gateway.open(self.listener.name, self.peer, ago).close(Ended(token, reason=reason))


def _addressText(address: Any) -> str:
    host = getattr(address, "host", None)
    if host is None:
        return "unix"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
