"""An origin that gives every byte back, and then the end."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.testing.turn import Turn
from pipsocks.testing.valve import Valve


@attrs.frozen
class Echo:
    """The kind of listener that echoes (TCP; see `pipsocks.testing.server.Server`)."""

    @property
    def name(self) -> str:
        """As the table of faults has it."""
        return "echo"

    def serve(self, turn: Turn) -> IProtocol:
        """One connection."""
        return _Connection(turn)


@implementer(IHalfCloseableProtocol)
class _Connection(Protocol):
    transport: Any

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._up = 0

    def connectionMade(self) -> None:
        self._turn.begin(self.transport)
        self._valve = Valve(self._turn, self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._up += len(data)
        self._valve.write(data)

    def readConnectionLost(self) -> None:
        """The client's end is echoed too, behind its bytes."""
        self._turn.tell("ended")
        self._valve.end(lambda: self._turn.end("close"))

    def writeConnectionLost(self) -> None:
        """Nothing ends but by the client, or behind an answer."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self._turn.over(reason, up=self._up, down=self._valve.sent)
