"""Closing so that the last words arrive."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime, ISSLTransport
from twisted.python.failure import Failure

from pipsocks.model import Transport

LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 1 << 20
UNREAD_SECONDS: Final = 60.0
"""How long a client may leave the rest of an answer unread after that."""


class Linger:
    """
    A successor that ends our output and reads the client's input away, for a while.

    A socket that is closed with unread input resets the connection, and the reset overtakes the answer
    (RFC 9112, section 9.6). At most `LINGER_BYTES` are read and `LINGER_SECONDS` waited.
    """

    __slots__ = ("_clock", "_left", "_timer", "_transport")

    def __init__(self, clock: IReactorTime, transport: Transport) -> None:
        self._left = LINGER_BYTES
        self._transport = transport
        self._clock = clock
        self._timer = clock.callLater(LINGER_SECONDS, self._late)
        # TLS does not half-close: its loseWriteConnection falls through to the raw socket, and the answer is lost.
        if ISSLTransport.providedBy(transport):
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    def _late(self) -> None:
        # What is still unsent goes out first, for a reader that is slow; but not for ever.
        self._timer = self._clock.callLater(UNREAD_SECONDS, self._transport.abortConnection)
        self._transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Read it away."""
        self._left -= len(data)
        if self._left < 0:
            self._transport.loseConnection()

    def readConnectionLost(self) -> None:
        """The client has read the answer and closed."""
        self._transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """The answer is out."""

    def connectionLost(self, reason: Failure) -> None:
        """All done."""
        if self._timer.active():
            self._timer.cancel()
