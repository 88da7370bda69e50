"""The far side of a proxy that fails as it is told: the connection to where its client wants to go."""

from __future__ import annotations

import ipaddress
from typing import Any
from typing import Protocol as Seam

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.testing.turn import Turn
from pipsocks.testing.valve import Valve


class Near(Seam):
    """The client's side, as the far side sees it. `valve` is there once the two are joined."""

    turn: Turn
    valve: Valve | None

    def answered(self) -> None:
        """The origin has ended its direction."""

    def lostFar(self) -> None:
        """The origin is gone."""


@implementer(IHalfCloseableProtocol)
class Far(Protocol):
    """The far side of a granted request: its bytes and its end go to `near`, and theirs come here."""

    transport: Any

    def __init__(self, near: Near) -> None:
        self.near = near
        self.ended = False

    def connectionMade(self) -> None:
        """End with the server, whatever happens meanwhile."""
        self.near.turn.opened(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Pass on."""
        assert self.near.valve is not None  # since it was connected
        self.near.valve.write(data)

    def readConnectionLost(self) -> None:
        """Pass the end on; TLS has no such end of one direction, so there it is the end of both."""
        self.ended = True
        self.near.answered()

    def writeConnectionLost(self) -> None:
        """Wait for the other direction."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """Both directions are done, or the origin broke off."""
        self.near.lostFar()
        self.near.turn.closed(self.transport)


def farEndpoint(reactor: Any, host: str, port: int) -> Any:
    """The way to `host`."""
    # The literals that most tests use need no thread to look them up.
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return HostnameEndpoint(reactor, host, port)
    return (TCP4ClientEndpoint if version == 4 else TCP6ClientEndpoint)(reactor, host, port)
