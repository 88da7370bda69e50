"""The stream: a socket whose bytes are held until somebody follows its protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from typing import Protocol as Seam

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.model import Transport

HELD_LIMIT: Final = 65_536
"""Bytes kept for a successor before reading pauses (behaviour, section 2)."""


class Successor(Seam):
    """What takes a socket's events over, once a handshake on it is done."""

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""

    def readConnectionLost(self) -> None:
        """The peer ended its side (FIN); ours may go on."""

    def writeConnectionLost(self) -> None:
        """Our own side was shut down."""

    def connectionLost(self, reason: Failure) -> None:
        """The socket is gone; reason tells a reset from a clean end."""


class Stream(Seam):
    """
    One side of a tunnel as the relay is handed it.

    `transport` is the socket's own transport. `follow` makes `successor` take every further event of it: first,
    during the call, whatever was held (bytes, then the end of input, then the loss of the connection), and
    reading is resumed if it was paused for that.
    """

    transport: Transport

    def follow(self, successor: Successor) -> None:
        """Step aside for `successor`."""


class Held:
    """What came before there was a successor: bytes, an end of input, a lost connection. Bounded by pausing."""

    __slots__ = ("_chunks", "_paused", "ended", "lost", "size")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self.size = 0
        self._paused = False
        self.ended = False
        self.lost: Failure | None = None

    def add(self, data: bytes, transport: Transport) -> None:
        """Keep `data`; from `HELD_LIMIT` on `transport` is not read any further."""
        self._chunks.append(data)
        self.size += len(data)
        if self.size >= HELD_LIMIT and not self._paused:
            self._paused = True
            transport.pauseProducing()

    def pour(self, successor: Successor, transport: Transport) -> None:
        """Deliver all of it, in order, then resume reading."""
        chunks, self._chunks, self.size = self._chunks, [], 0
        if chunks:
            successor.dataReceived(b"".join(chunks))
        if self.lost is not None:
            successor.connectionLost(self.lost)
            return
        if self._paused:
            self._paused = False
            transport.resumeProducing()
        if self.ended:
            successor.readConnectionLost()


@implementer(IHalfCloseableProtocol)
class FarStream(Protocol):
    """The far side of a tunnel: what the last hop's endpoint, or a direct dial, connects."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self) -> None:
        self._held: Held | None = Held()
        self._successor: Successor | None = None
        self._stirred: Callable[[], None] | None = None
        self.bound: tuple[str, int] | None = None  # what the last SOCKS hop says that it bound

    @property
    def spoke(self) -> bool:
        """Whether a byte is held."""
        return self._held is not None and self._held.size > 0

    @property
    def over(self) -> bool:
        """Whether the far side has ended, or is gone, as it is held."""
        return self._held is not None and (self._held.ended or self._held.lost is not None)

    @property
    def gone(self) -> bool:
        """Whether it is gone altogether, as it is held: what is under its transport must not be touched then."""
        return self._held is not None and self._held.lost is not None

    def watch(self, stirred: Callable[[], None] | None) -> None:
        """Call `stirred` whenever something is held; None: nobody."""
        self._stirred = stirred

    def _stir(self) -> None:
        if self._stirred is not None:
            self._stirred()

    def dataReceived(self, data: bytes) -> None:
        """Hold, or pass on."""
        if self._successor is not None:
            self._successor.dataReceived(data)
        elif self._held is not None:
            self._held.add(data, self.transport)
            self._stir()

    def readConnectionLost(self) -> None:
        """The far side ended its output."""
        if self._successor is not None:
            self._successor.readConnectionLost()
        elif self._held is not None:
            self._held.ended = True
            self._stir()

    def writeConnectionLost(self) -> None:
        """Our output to it was shut down."""
        if self._successor is not None:
            self._successor.writeConnectionLost()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The far side is gone."""
        if self._successor is not None:
            self._successor.connectionLost(reason)
        elif self._held is not None:
            self._held.lost = reason
            self._stir()

    def follow(self, successor: Successor) -> None:
        """See `Stream`."""
        held, self._held, self._successor, self._stirred = self._held, None, successor, None
        if held is not None:
            held.pour(successor, self.transport)
