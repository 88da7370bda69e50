"""Dialling: a name looked up here, its addresses checked, and those very addresses connected to as literals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.failures import commonest, ofDial, ofName
from pipsocks.upstream.names import Names, NameSilent, NameUnknown
from pipsocks.upstream.race import AllFailed, race
from pipsocks.upstream.shared import Shared


class Limits(Protocol):
    """The times that the retry policy gives, in seconds."""

    @property
    def connect(self) -> float:
        """One TCP connect."""

    @property
    def handshake(self) -> float:
        """One hop's handshake, its TLS included."""


@attrs.frozen
class _DefaultLimits:
    connect: float = 3.0
    handshake: float = 3.0


def _nothingIsOwn(host: str, port: int) -> bool:
    return False


class Judge(Protocol):
    """Tells where the client of a session may go: the refusal to tell it, or None for yes."""

    def before(self, destination: Destination) -> Refusal | None:
        """On what was asked for, before anything is looked up."""

    def at(self, destination: Destination, address: str) -> Refusal | None:
        """On the very address that is dialled for `destination`."""

    def afar(self, destination: Destination) -> Refusal | None:
        """On a name that is looked up by a hop."""


@attrs.frozen(eq=False)
class Network:
    """
    What everything that dials shares.

    @ivar reactor: has TCP, the time and `callFromThread`.
    @ivar retry: the limits.
    @ivar isOwn: tells whether a literal address and port is one of our own listeners, which is never dialled.
    @ivar shared: connections to ssh hops, which outlive the sessions that use them.
    """

    reactor: Any
    retry: Limits = _DefaultLimits()
    isOwn: Callable[[str, int], bool] = _nothingIsOwn
    names: Names = attrs.field()
    shared: Shared = attrs.field(factory=Shared, kw_only=True)

    @names.default
    def _newNames(self) -> Names:
        return Names(self.reactor)

    async def resolve(self, destination: Destination, isHop: bool = False) -> tuple[str, ...]:
        """
        The destination's addresses in the order to dial them.

        @raise Refusal: it has none, or none was learnt in time.
        """
        try:
            return await self.names.resolve(destination.host)
        except (NameUnknown, NameSilent) as error:
            raise ofName(error, destination, isHop) from None

    async def judged(self, destination: Destination, judge: Judge | None) -> list[str]:
        """
        The destination's addresses that `judge` allows, in the order to dial them.

        @raise Refusal: there is none.
        """
        allowed, refused = [], None
        for address in await self.resolve(destination):
            if judge is None:
                refusal = Refusal("PS-RU02", where=str(destination)) if self.isOwn(address, destination.port) else None
            else:
                refusal = judge.at(destination, address)
            if refusal is None:
                allowed.append(address)
            refused = refused or refusal
        if refused is not None and not allowed:
            raise refused
        return allowed


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class Dial:
    """
    A plain TCP connection to a destination, or to a chain's first hop, by Happy Eyeballs.

    `connect` fails with `Refusal`: PS-DE01 to PS-DE07 for a destination, PS-UP01 to PS-UP05 for a hop; PS-LM01 when
    out of descriptors; PS-RU01 or PS-RU02 when `judge` forbids all its addresses, or PS-UP24 when a hop is ourselves.
    """

    network: Network
    destination: Destination
    isHop: bool = False
    judge: Judge | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        network, destination = self.network, self.destination
        if self.isHop:
            found = await network.resolve(destination, isHop=True)
            addresses = [address for address in found if not network.isOwn(address, destination.port)]
            if not addresses:
                raise Refusal("PS-UP24", hop=str(destination))
        else:
            addresses = await network.judged(destination, self.judge)
        try:
            protocol = await race(network.reactor, map(self._endpoint, addresses), factory)
        except AllFailed as failed:
            network.names.forget(destination.host)
            raise commonest([self._explain(failure) for failure in failed.failures]) from None
        transport = ITCPTransport(getattr(protocol, "transport", None), None)
        if transport is not None:
            transport.setTcpNoDelay(True)
        return protocol

    def _endpoint(self, address: str) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(
            self.network.reactor, address, self.destination.port, timeout=self.network.retry.connect
        )
        return endpoint

    def _explain(self, failure: Failure) -> Refusal:
        if not isinstance(failure.value, ConnectError):
            failure.raiseException()
        return ofDial(failure.value, self.destination, self.isHop)
