"""A tunnel: two legs, and how the end of one is passed on to the other."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol

import attrs
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from pipsocks.model import Ended, Transport
from pipsocks.relay.sockets import isSecure, unsent
from pipsocks.relay.wheel import Watch, Wheel


class Successor(Protocol):
    """What takes a stream's events over: a leg."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""

    def readConnectionLost(self) -> None:
        """The peer ended its side (FIN)."""

    def writeConnectionLost(self) -> None:
        """Our own side was shut down."""

    def connectionLost(self, reason: Failure) -> None:
        """The socket is gone."""


class Stream(Protocol):
    """
    One side of a tunnel: its socket's transport, and the way to its events.

    `follow` delivers at once what the stream has held, its end and its loss included, and then every event.
    """

    transport: Transport

    def follow(self, successor: Successor) -> None:
        """Step aside for `successor`."""


@attrs.frozen
class Limits:
    """What all tunnels share: the wheel, the watch, and the limits in the wheel's ticks."""

    wheel: Wheel
    watch: Watch
    tunnelIdle: int
    halfIdle: int


class State(Enum):
    """Where a tunnel stands; see `Tunnel`."""

    OPEN = "open"
    HALF = "half"
    CLOSING = "closing"
    CUT = "cut"
    OVER = "over"


OK: Final = "ok"
RESET_CLIENT: Final = "reset_client"
RESET_ORIGIN: Final = "reset_origin"
IDLE: Final = "idle"
HALF_IDLE: Final = "half_idle"
ABORTED: Final = "aborted"

TOKENS: Final = {
    OK: "both directions ended cleanly",
    RESET_CLIENT: "the client's side was reset, timed out, or cut short inside TLS",
    RESET_ORIGIN: "the far side was reset, timed out, or cut short inside TLS",
    IDLE: "nothing moved in either direction for the tunnel's idle limit",
    HALF_IDLE: "one side had ended, and nothing moved for 60 seconds",
    ABORTED: "pipsocks itself closed it, as at the end of a drain",
}
"""Every token of the `pipsocks.model.Ended` of a tunnel, and what it means."""


@attrs.define(eq=False)
class Leg:
    """
    One side of a tunnel: the successor of its stream, and the producer of the other side's transport.

    `ended` says that no more input comes, `gone` that the socket is closed, `owed` that a FIN must still enter
    this side, which is TLS and can't be half-closed; `parked` counts bytes for this side that are neither in its
    transport nor sent.
    """

    transport: Any
    tunnel: Tunnel
    resetToken: str
    peer: Leg = attrs.field(init=False)
    secure: bool = attrs.field(init=False)
    received: int = attrs.field(init=False, default=0)
    ended: bool = attrs.field(init=False, default=False)
    gone: bool = attrs.field(init=False, default=False)
    owed: bool = attrs.field(init=False, default=False)
    parked: int = attrs.field(init=False, default=0)

    @property
    def isClosing(self) -> bool:
        """Whether somebody has called its `loseConnection`."""
        return bool(getattr(self.transport, "disconnecting", False))

    @property
    def unsent(self) -> int:
        """How many bytes for this side its peer has not acknowledged."""
        return self.parked + unsent(self.transport)

    def __attrs_post_init__(self) -> None:
        self.secure = isSecure(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Write `data` to the other side, whose fill pauses us."""
        if self.tunnel.state is State.CUT or self.peer.gone:
            return
        self.moved(len(data))
        self.peer.transport.write(data)

    def moved(self, count: int) -> None:
        """Count bytes that came from this side."""
        self.received += count
        self.tunnel.at = self.tunnel.limits.wheel.now

    def readConnectionLost(self) -> None:
        """The side has no more to say."""
        if not self.ended and not self.gone:
            self.ended = True
            self.tunnel.legEnded(self)

    def writeConnectionLost(self) -> None:
        """Our FIN has left: nothing to do."""

    def connectionLost(self, reason: Failure) -> None:
        """The side is gone."""
        if not self.gone:
            self.gone = True
            self.tunnel.limits.watch.discard(self._abortIfSent)
            self.tunnel.legLost(self, reason)

    def pauseProducing(self) -> None:
        """The other side's buffer is full."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It is empty. A side that has ended is not read again: its end would be told twice."""
        if self.peer.isClosing:
            # Closed from outside: Twisted waits with that for its producer to be done.
            self.peer.transport.unregisterProducer()
        elif not self.ended and not self.gone:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other side is gone, of which its own `connectionLost` tells."""

    def shut(self) -> None:
        """Pass a FIN on into this side, behind everything that was written."""
        self.transport.unregisterProducer()
        if self.secure:
            self.owed = True
        else:
            self.transport.loseWriteConnection()

    def close(self) -> None:
        """Close this side, cleanly, once everything is written."""
        if not self.gone:
            self.owed = False
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """Reset this side."""
        if not self.gone:
            self.transport.abortConnection()

    def cut(self) -> None:
        """Reset this side once its peer has what was sent before the other side's reset."""
        self.transport.unregisterProducer()
        if not self.ended:
            self.transport.pauseProducing()
        if not self._abortIfSent():
            self.tunnel.limits.watch.add(self._abortIfSent)

    def _abortIfSent(self) -> bool:
        if self.unsent:
            return False
        self.transport.abortConnection()
        return True


@attrs.define(eq=False)
class Tunnel:
    """
    Two legs, until both are gone; then `done` is called, once.

    =======  =========================  =======  ==========================================================
    state    what happens               becomes  what is done
    =======  =========================  =======  ==========================================================
    OPEN     a leg ends (FIN)           HALF     the other's output is shut, or owed its end if it is TLS
    HALF     the other leg ends         CLOSING  both are closed behind what was written
    OPEN,    a leg is reset             CUT      the other is reset, behind what was written
    HALF
    OPEN,    a leg is aborted by us     CUT      the other is aborted at once
    HALF
    OPEN,    a leg is closed by us      CLOSING  the other is closed behind what was written
    HALF
    OPEN,    a TLS leg closes cleanly   CLOSING  the other's output is shut, and what it still says dropped;
    HALF                                         if it can't be, or has ended itself, it is closed
    CLOSING  a leg ends                 CLOSING  it is closed
    CLOSING  a leg is closed            CLOSING  the other is closed, if it is not closing already; reset, where
                                                 the first was reset with more to say
    OPEN     idle for `tunnelIdle`      CUT      both are reset
    HALF     idle for `halfIdle`        CUT      the leg that only listened is closed, the other, which is
                                                 still owed an answer, reset
    HALF     the same, an end owed      CLOSING  the TLS leg gets its end: it is closed, and read until it
                                                 has closed too
    CLOSING  idle for `halfIdle`        CUT      what is left is reset
    CUT      idle for `halfIdle`        CUT      the same
    any      the second leg is gone     OVER     the wheel forgets the tunnel, `done` is told
    =======  =========================  =======  ==========================================================

    A reader who takes what was written, however slowly, is not idle.
    """

    limits: Limits
    done: Callable[[Ended], None]
    near: Leg = attrs.field(init=False)
    far: Leg = attrs.field(init=False)
    state: State = attrs.field(init=False, default=State.OPEN)
    token: str = attrs.field(init=False, default="")
    at: int = attrs.field(init=False, default=0)
    limit: int = attrs.field(init=False, default=0)
    slot: int = attrs.field(init=False, default=0)
    _unsent: int = attrs.field(init=False, default=0)

    def begin(self, near: Stream, far: Stream, plug: Callable[[Leg, Leg], None] | None) -> None:
        """
        Follow both streams. What they held is passed on during the call, in which all may be over already.

        `plug` takes the moving of bytes over; without it each leg's transport paces the other's.
        """
        self.near = Leg(near.transport, self, RESET_CLIENT)
        self.far = Leg(far.transport, self, RESET_ORIGIN)
        self.near.peer, self.far.peer = self.far, self.near
        self.limit = self.limits.tunnelIdle
        self.limits.wheel.add(self)
        if plug is not None:
            plug(self.near, self.far)
        else:
            near.transport.registerProducer(self.far, True)
            far.transport.registerProducer(self.near, True)
        near.follow(self.near)
        far.follow(self.far)

    def legEnded(self, leg: Leg) -> None:
        """`leg` has no more to say."""
        peer = leg.peer
        if peer.gone or self.state is State.CLOSING:
            leg.close()
        elif self.state is State.OPEN:
            self._enter(State.HALF)
            peer.shut()
        elif self.state is State.HALF:
            self._enter(State.CLOSING)
            leg.close()
            peer.close()

    def legLost(self, leg: Leg, reason: Failure) -> None:
        """The socket of `leg` is gone."""
        peer = leg.peer
        if peer.gone:
            self._over(leg, reason)
        elif self.state is State.CUT:
            self._name(leg, reason)
        elif self.state is State.CLOSING:
            self._name(leg, reason)
            if leg.ended or reason.check(ConnectionDone):
                peer.close()
            else:
                peer.cut()
        elif reason.check(ConnectionAborted) or (leg.isClosing and not reason.check(ConnectionDone)):
            self._cut(ABORTED)  # inside TLS an abort of ours looks like a loss
            peer.abort()
        elif not reason.check(ConnectionDone):
            self._cut(leg.resetToken)
            peer.cut()
        else:
            self._enter(State.CLOSING)
            if leg.secure and not peer.secure and not peer.ended:
                peer.shut()
                peer.transport.resumeProducing()
            else:
                self._name(leg, reason)
                peer.close()

    def expired(self) -> None:
        """Nothing came for the limit."""
        left = self.near.unsent + self.far.unsent
        if left != self._unsent:
            self._unsent = left
            self.limits.wheel.add(self)
            return
        if self.state is State.OPEN:
            self._cut(IDLE)
        elif self.state is State.HALF:
            self._expireHalf()
            return
        else:
            self._cut(HALF_IDLE)
        self.near.abort()
        self.far.abort()

    def _expireHalf(self) -> None:
        listener = self.near if self.far.ended else self.far
        self.token = HALF_IDLE
        if listener.owed:
            self._enter(State.CLOSING)
            listener.close()
        else:
            self._cut(HALF_IDLE)
            listener.peer.abort()
            listener.close()

    def _enter(self, state: State) -> None:
        self.state = state
        self.limits.wheel.discard(self)
        self.limit = self.limits.halfIdle
        self.limits.wheel.add(self)

    def _cut(self, token: str) -> None:
        self.token = self.token or token
        self._enter(State.CUT)

    def _name(self, leg: Leg, reason: Failure) -> None:
        if self.token:
            return
        if reason.check(ConnectionAborted):
            self.token = ABORTED
        elif not reason.check(ConnectionDone):
            self.token = leg.resetToken
        elif not leg.ended and not leg.secure:
            self.token = ABORTED

    def _over(self, leg: Leg, reason: Failure) -> None:
        self._name(leg, reason)
        self.state = State.OVER
        self.limits.wheel.discard(self)
        self.done(Ended(self.token or OK, self.near.received, self.far.received))
