"""A tunnel: two legs, and how the end of one is passed on to the other."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

import attrs
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.python.failure import Failure

from pipsocks.model import Ended
from pipsocks.relay.leg import Leg, Limits, Stream


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
class Tunnel:
    """
    Two legs, until both are gone; then `done` is called, once. `heard` is called when the first bytes come from the far
    one.

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
    heard: Callable[[], None] | None = None
    near: Leg = attrs.field(init=False)
    far: Leg = attrs.field(init=False)
    state: State = attrs.field(init=False, default=State.OPEN)
    token: str = attrs.field(init=False, default="")
    at: int = attrs.field(init=False, default=0)
    limit: int = attrs.field(init=False, default=0)
    slot: int = attrs.field(init=False, default=0)
    _unsent: int = attrs.field(init=False, default=0)
    _clientFirst: bool | None = attrs.field(init=False, default=None)
    _since: float = attrs.field(init=False, default=0.0)  # when the client spoke first, or the tunnel began
    _silence: float = attrs.field(init=False, default=0.0)

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
        self._since = self.limits.wheel.seconds()
        if plug is not None:
            plug(self.near, self.far)
        else:
            near.transport.registerProducer(self.far, True)
            far.transport.registerProducer(self.near, True)
        near.follow(self.near)
        far.follow(self.far)

    def legSpoke(self, leg: Leg) -> None:
        """The first bytes came from `leg`."""
        if leg is self.near:
            self._since = self.limits.wheel.seconds()
            return
        heard, self.heard = self.heard, None
        if heard is not None:
            heard()

    def legEnded(self, leg: Leg) -> None:
        """`leg` has no more to say."""
        self._isFirst(leg)
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
        self._isFirst(leg)
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

    def _isFirst(self, leg: Leg) -> None:
        if self._clientFirst is None:
            self._clientFirst = leg is self.near
            wheel = self.limits.wheel
            self._silence = min(wheel.seconds() - self._since, wheel.since(self.at))

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
        first = bool(self._clientFirst)
        counts = self.near.received, self.far.received
        self.done(Ended(self.token or OK, *counts, clientFirst=first, silence=self._silence))
