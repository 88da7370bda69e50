"""Chains: hops, left to right, as one way out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.model import Destination, Login
from pipsocks.refusal import Refusal
from pipsocks.upstream.arrival import awaitArrival
from pipsocks.upstream.datagrams import Control, Direct, Inlet, ThroughHop
from pipsocks.upstream.dial import Dial, Judge, Network
from pipsocks.upstream.failures import onNextHop
from pipsocks.upstream.health import Health
from pipsocks.upstream.hop import Hop, HTTPHop, SocksHop, makeHop
from pipsocks.upstream.settings import ChainSettings
from pipsocks.wire.socks import VERSION_5

__all__ = ["Chain", "Network"]


@attrs.frozen(eq=False)
class Chain:
    """
    One way out. Without hops it is direct.

    @ivar settings: its hops.
    @ivar network: what its connections are made with.
    @ivar health: how it fares, which chains of the same hops in other groups share.
    @raise ValueError: a CA or certificate file of a hop is not PEM, or a key's file has no key.
    @raise OSError: it cannot be read.
    """

    settings: ChainSettings
    network: Network
    health: Health = attrs.field()
    hops: tuple[Hop, ...] = attrs.field(init=False)

    @health.default
    def _newHealth(self) -> Health:
        return Health(self.name, self.network.reactor.seconds)

    @hops.default
    def _makeHops(self) -> tuple[Hop, ...]:
        hops = self.settings.hops
        return tuple(makeHop(hop, hops[:number]) for number, hop in enumerate(hops))

    @property
    def name(self) -> str:
        """What errors and the journal call it: its name, else its last hop's host and port."""
        return self.settings.name or (str(self.settings.hops[-1].address) if self.settings.hops else "direct")

    @property
    def direct(self) -> bool:
        """It has no hops."""
        return not self.hops

    @property
    def endsInHTTP(self) -> bool:
        """The last hop takes absolute-form requests."""
        return bool(self.hops) and isinstance(self.hops[-1], HTTPHop)

    @property
    def login(self) -> Login | None:
        """The last hop's."""
        return self.hops[-1].login if self.hops else None

    def describe(self) -> str:
        """The hops as they are written, without user info and options: ``socks5h://a:1080,http://b:3128``."""
        return ",".join(f"{hop.scheme}://{hop.address}" for hop in self.settings.hops) or "direct"

    def connect(self, destination: Destination, judge: Judge | None = None) -> IStreamClientEndpoint:
        """
        The whole way to `destination`, as far as `judge` lets it: without one, everywhere but to ourselves.

        Its `connect` fails with `Refusal`, for each reason that `Dial` and the hops' `over` list, which carries this
        chain's name; what a hop before the last reports on the next one is PS-UP01 or PS-UP23. Cancelling it closes
        whatever it opened.
        """
        if not self.hops:
            return Dial(self.network, destination, judge=judge)
        return self._named(self.hops[-1].over(self._toLast(), destination, self.network, judge))

    def reachLast(self) -> IStreamClientEndpoint:
        """The way to the last hop, with TLS to it, without asking it for a tunnel; fails as `connect` does."""
        return self._named(self.hops[-1].reach(self._toLast(), self.network))

    def datagrams(self, judge: Judge, inlet: Inlet) -> Deferred[Any]:
        """
        A way out for the datagrams of `inlet`, as far as `judge` lets them: straight, or through a chain's only hop.

        @return: fires with a `Direct` or a `ThroughHop`. It fails with `Refusal` as `connect` does, and with PS-UP25
            where that hop is no SOCKS 5, or there are more.
        """
        if not self.hops:
            return succeed(Direct(self.network, judge, inlet))
        hop = self.hops[0]
        if len(self.hops) > 1 or not isinstance(hop, SocksHop) or hop.version != VERSION_5:
            return fail(Refusal("PS-UP25", chain=self.name, detail="UDP ASSOCIATE"))
        factory = Factory.forProtocol(Control)
        factory.noisy = False
        associating: Deferred[Any] = self._named(hop.associate(self._toLast(), self.network)).connect(factory)
        return associating.addCallback(lambda control: ThroughHop(self.network, judge, inlet, control, hop.remote))

    def awaitArrival(self, expected: Destination, judge: Judge, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """
        Wait for a connection from `expected`, which gets a protocol of `protocolFactory`.

        @return: fires with an `Arrival`. It fails with `Refusal` as `pipsocks.upstream.arrival.awaitArrival` does, and
            with PS-UP25 where the chain is not direct.
        """
        if self.hops:
            return fail(Refusal("PS-UP25", chain=self.name, detail="BIND"))
        return Deferred.fromCoroutine(awaitArrival(self.network, expected, judge, protocolFactory))

    def _toLast(self) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = Dial(self.network, self.hops[0].address, isHop=True)
        for hop, following in pairwise(self.hops):
            through = hop.over(endpoint, following.address, self.network)
            endpoint = _Translated(through, partial(onNextHop, following=following.address))
        return endpoint

    def _named(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        def named(refusal: Refusal) -> Refusal:
            refusal.chain = self.name
            return refusal

        return _Translated(endpoint, named)


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Translated:
    """An endpoint whose refusals are told otherwise."""

    endpoint: IStreamClientEndpoint
    translate: Callable[[Refusal], Refusal]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return self.endpoint.connect(protocolFactory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        if isinstance(failure.value, Refusal):
            return Failure(self.translate(failure.value))
        return failure
