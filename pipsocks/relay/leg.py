"""A leg: one side of a tunnel."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
from twisted.python.failure import Failure

from pipsocks.model import Transport
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


class Owner(Protocol):
    """The tunnel, as its legs see it. `at` is the wheel's time at which something moved last."""

    limits: Limits
    at: int

    def legSpoke(self, leg: Leg) -> None:
        """The first bytes came from `leg`."""

    def legEnded(self, leg: Leg) -> None:
        """`leg` has no more to say."""

    def legLost(self, leg: Leg, reason: Failure) -> None:
        """The socket of `leg` is gone."""


@attrs.define(eq=False)
class Leg:
    """
    One side of a tunnel: the successor of its stream, and the producer of the other side's transport.

    `ended` says that no more input comes, `gone` that the socket is closed, `owed` that a FIN must still enter
    this side, which is TLS and can't be half-closed; `parked` counts bytes for this side that are neither in its
    transport nor sent.
    """

    transport: Any
    tunnel: Owner
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
        if not self.peer.gone:
            self.moved(len(data))
            self.peer.transport.write(data)

    def moved(self, count: int) -> None:
        """Count bytes that came from this side."""
        if not self.received:
            self.tunnel.legSpoke(self)
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
        # Its stream may hold an end that was not told yet, and what is lost inside TLS must not be touched.
        if not self.gone and getattr(self.transport, "connected", True):
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
        self.abort()
        return True
