"""Waiting for the one connection that a client expects (BIND), on the direct route."""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.dial import Judge, Network


@attrs.frozen
class Arrival:
    """A port that waits for it. `bound` is where the peer has to connect to."""

    port: IListeningPort
    bound: tuple[str, int]

    def close(self) -> None:
        """Wait no longer."""
        self.port.stopListening()


async def awaitArrival(
    network: Network, expected: Destination, judge: Judge, protocolFactory: IProtocolFactory
) -> Arrival:
    """
    Listen, on the address that this machine has towards `expected`, for a connection from there.

    The first such connection gets a protocol of `protocolFactory`; any other one is closed.

    @param expected: whose port is not heeded: RFC 1928 leaves open what it says.
    @raise Refusal: `judge` forbids it (PS-RU01, PS-RU02), its name has no address, there is no way to it (PS-DE04), or
        no port to be had (PS-LM01).
    """
    if expected.address is not None and expected.address.is_unspecified:
        raise Refusal("PS-RQ10", detail="BIND needs the address of the peer that will connect")
    addresses = await network.judged(expected, judge)
    here = _addressTowards(addresses[0], expected)
    factory = _Expecting(frozenset(addresses), protocolFactory)
    try:
        port = network.reactor.listenTCP(0, factory, backlog=5, interface=here)
    except CannotListenError:
        raise Refusal("PS-LM01") from None
    return Arrival(port, (here, port.getHost().port))


def _addressTowards(address: str, expected: Destination) -> str:
    """This machine's own address on the way to `address`; connecting a datagram socket sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            here: str = probe.getsockname()[0]
    except OSError:
        raise Refusal("PS-DE04", where=str(expected)) from None
    return here


class _Expecting(Factory):
    """Lets one connection in, from one of the addresses."""

    noisy = False

    def __init__(self, addresses: frozenset[str], factory: IProtocolFactory) -> None:
        self._addresses = addresses
        self._factory = factory
        self._arrived = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The protocol for the peer that is expected; None, which closes the connection, for all others."""
        if addr is None or self._arrived or getattr(addr, "host", None) not in self._addresses:
            return None
        self._arrived = True
        return self._factory.buildProtocol(addr)
