"""BIND: the connection comes from the other side (RFC 1928, section 4)."""

from __future__ import annotations

from typing import Final

import attrs
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.protocol import Factory

from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Conversation, Session
from pipsocks.gateway.stream import FarStream
from pipsocks.refusal import Refusal

BIND_SECONDS: Final = 60.0
"""How long the peer may take."""


class _Expected(FarStream):
    """The far side, which tells when it is there."""

    def __init__(self, arrived: Deferred[FarStream]) -> None:
        super().__init__()
        self._arrived = arrived

    def connectionMade(self) -> None:
        """The peer is there."""
        self._arrived.callback(self)


@attrs.define(eq=False)
class _ExpectedFactory(Factory):
    noisy = False
    arrived: Deferred[FarStream]

    def buildProtocol(self, addr: object) -> _Expected:
        """The one connection."""
        return _Expected(self.arrived)


async def bind(session: Session, conversation: Conversation, judge: Judge) -> None:
    """
    Wait for the peer that the client names, telling the client first where, then who came, and relay.

    @raise Refusal: no chain can do it, or nobody came in time.
    """
    gateway, entry, peer = session.gateway, session.entry, session.request.destination
    if (refusal := judge.before(peer)) is not None:
        raise refusal
    await session.route()
    judge = session.confined(judge)
    arrived: Deferred[FarStream] = Deferred()
    found = await session.search(lambda chain: chain.awaitArrival(peer, judge, _ExpectedFactory(arrived)))
    arrival = found.reached
    found.close()  # it tells nothing of a chain who comes to us
    try:
        conversation.accept(arrival.bound)
        far = await arrived.addTimeout(BIND_SECONDS, gateway.clock)
    except TimeoutError:
        raise Refusal("PS-DE05", where=str(peer)) from None
    finally:
        arrival.close()
    came: IPv4Address | IPv6Address = far.transport.getPeer()
    conversation.accept((came.host, came.port))
    entry.relay = gateway.relays.kind(conversation.stream, far)
    gateway.relays.join(conversation.stream, far, entry.close)
