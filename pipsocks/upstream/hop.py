"""
Hops: frozen values, each of which turns a way to itself into a way through itself.

`over` takes the endpoint that reaches the hop and gives one that reaches a destination through it, so any hop nests in
any other, and in any endpoint of another program.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from zope.interface import implementer

from pipsocks.model import Destination, Login
from pipsocks.refusal import Refusal
from pipsocks.upstream.dial import Judge, Network
from pipsocks.upstream.failures import REPORTS, commonest
from pipsocks.upstream.settings import HopSettings, SSHSettings
from pipsocks.upstream.ssh import SSHHop
from pipsocks.upstream.step import Ask, Codec, Connected, Step, StepFactory
from pipsocks.upstream.tls import clientTLS
from pipsocks.wire.connect import ConnectClient
from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socks import UDP_ASSOCIATE, VERSION_4, VERSION_5
from pipsocks.wire.socksclient import SocksClient


@attrs.frozen
class SocksHop:
    """
    A SOCKS proxy (RFC 1928, 1929; SOCKS 4 and 4a).

    @ivar version: 5 or 4.
    @ivar remote: names are sent to the hop (``socks5h``, ``socks4a``) instead of being looked up here.
    @ivar login: user and password; of SOCKS 4 the user is the user id.
    """

    address: Destination
    version: int = VERSION_5
    remote: bool = True
    login: Login | None = None

    def over(
        self,
        endpoint: IStreamClientEndpoint,
        destination: Destination,
        network: Network,
        judge: Judge | None = None,
    ) -> IStreamClientEndpoint:
        """
        The way to `destination` through this hop, which `endpoint` reaches.

        `connect` fails with `Refusal`: PS-UP05 to PS-UP07 and PS-UP10 of the hop, PS-UP11 to PS-UP18, PS-UP20 and
        PS-UP21 by its reply, PS-UP15 and PS-UP16 by its silence and its end; PS-DE02 and PS-DE07 where the name is
        looked up here, PS-RU01 and PS-RU02 where `judge` forbids what it comes to, here or at the hop; and with
        whatever `endpoint` fails with. Cancelling it closes the connection.

        A protocol with an attribute ``bound`` has it set to the address that the hop bound, ``(host, port)``, before
        its connectionMade.
        """
        if self.remote or destination.address is not None:
            return _permitted(self._asking(endpoint, destination, destination, network), destination, judge)
        return _Resolving(self, endpoint, destination, network, judge)

    def _asking(
        self, endpoint: IStreamClientEndpoint, target: Destination, where: Destination, network: Network
    ) -> IStreamClientEndpoint:
        ask = Ask(self.address, where, f"SOCKS{self.version}", network.reactor, network.retry.handshake)
        return _Asking(endpoint, ask, lambda: self._codec(target))

    def _codec(self, target: Destination) -> Codec:
        return SocksClient(self.version, target.host, target.port, _octets(self.login), a4=self.remote)

    def associate(self, endpoint: IStreamClientEndpoint, network: Network) -> IStreamClientEndpoint:
        """
        The way to an association at this hop, which has to speak SOCKS 5.

        `connect` fails as that of `over` does; the protocol's ``bound`` is where the hop takes datagrams. From where
        they will come is not told: somebody on the way may translate addresses.
        """
        ask = Ask(self.address, self.address, "SOCKS5", network.reactor, network.retry.handshake)
        login = _octets(self.login)
        return _Asking(endpoint, ask, lambda: SocksClient(VERSION_5, "0.0.0.0", 0, login, command=UDP_ASSOCIATE))

    def reach(self, endpoint: IStreamClientEndpoint, network: Network) -> IStreamClientEndpoint:
        """The way to the hop itself: `endpoint` is all of it."""
        return endpoint


@attrs.frozen
class HTTPHop:
    """
    An HTTP proxy that is asked with CONNECT (RFC 9110, section 9.3.6).

    @ivar tls: makes the TLS connection to an ``https`` hop; None for ``http``. See `pipsocks.upstream.tls.clientTLS`.
    """

    address: Destination
    login: Login | None = None
    tls: IOpenSSLClientConnectionCreator | None = None

    def over(
        self,
        endpoint: IStreamClientEndpoint,
        destination: Destination,
        network: Network,
        judge: Judge | None = None,
    ) -> IStreamClientEndpoint:
        """
        The way to `destination` through this hop, which `endpoint` reaches.

        `connect` fails with `Refusal`: PS-UP05, PS-UP06 and PS-UP08 before TLS is there, PS-UP07, PS-UP10, PS-UP11,
        PS-UP14, PS-UP19 and PS-UP20 by the hop's answer, PS-UP15 and PS-UP16 by its silence and its end; PS-RU01 where
        `judge` forbids what is looked up at the hop; and with whatever `endpoint` fails with. Cancelling it closes
        the connection.
        """
        asking = _Asking(
            self._secured(endpoint),
            self._ask(destination, network),
            lambda: ConnectClient(destination.host, destination.port, _octets(self.login)),
        )
        return _permitted(asking, destination, judge)

    def reach(self, endpoint: IStreamClientEndpoint, network: Network) -> IStreamClientEndpoint:
        """The way to the hop itself, TLS included, for requests that need no tunnel."""
        if self.tls is None:
            return endpoint
        return _Asking(self._secured(endpoint), self._ask(self.address, network), Connected)

    def _ask(self, where: Destination, network: Network) -> Ask:
        limit, tls = network.retry.handshake, self.tls is not None
        return Ask(self.address, where, "HTTP", network.reactor, limit, tls, self.login)

    def _secured(self, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        if self.tls is None:
            return endpoint
        secured: IStreamClientEndpoint = wrapClientTLS(self.tls, endpoint)
        return secured


Hop = SocksHop | HTTPHop | SSHHop


def makeHop(settings: HopSettings, via: tuple[HopSettings, ...] = ()) -> Hop:
    """
    The hop that the settings describe, which is reached through the hops `via`.

    @raise ValueError: a CA or certificate file is not PEM, a key's file has no key.
    @raise OSError: it cannot be read.
    @raise ImportError: an ``ssh`` hop, and what the extra ``ssh`` brings is not there.
    """
    address, login = settings.address, settings.login
    if settings.scheme == "ssh":
        return SSHHop(address, login, settings.ssh or SSHSettings(), via)
    if settings.scheme == "http":
        return HTTPHop(address, login)
    if settings.scheme == "https":
        return HTTPHop(address, login, clientTLS(settings.tls, address.host))
    version = VERSION_4 if settings.scheme.startswith("socks4") else VERSION_5
    return SocksHop(address, version, settings.scheme in ("socks5h", "socks4a"), login)


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Asking:
    """Connects `endpoint` and takes one step on it."""

    endpoint: IStreamClientEndpoint
    ask: Ask
    makeCodec: Callable[[], Codec]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        try:
            codec = self.makeCodec()
        except NameInvalid as invalid:
            where = self.ask.where
            if where.address is not None:
                return fail(Refusal("PS-UP13", hop=str(self.ask.hop), where=str(where)))
            return fail(Refusal("PS-RQ10", detail=str(invalid)))
        step = Step(self.ask, codec, protocolFactory)
        return self.endpoint.connect(StepFactory(step)).addCallback(lambda _: step.done)


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Resolving:
    """
    Asks a hop that is sent addresses for each of a name's, one after the other, until one is reached.

    The next is asked only after a report on the one before; what speaks of the hop itself ends it.
    """

    hop: SocksHop
    endpoint: IStreamClientEndpoint
    destination: Destination
    network: Network
    judge: Judge | None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        hop, destination = self.hop, self.destination
        failures = []
        for address in await self.network.judged(destination, self.judge):
            if ":" in address and hop.version == VERSION_4:
                continue
            target = Destination(address, destination.port)
            try:
                return await hop._asking(self.endpoint, target, destination, self.network).connect(factory)
            except Refusal as refusal:
                if refusal.about not in REPORTS:
                    raise
                failures.append(refusal)
        if not failures:
            raise Refusal("PS-UP13", hop=str(hop.address), where=str(destination))
        raise commonest(failures)


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Refused:
    """An endpoint that is never connected."""

    refusal: Refusal

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return fail(self.refusal)


def _permitted(endpoint: IStreamClientEndpoint, destination: Destination, judge: Judge | None) -> IStreamClientEndpoint:
    """`endpoint`, unless `judge` forbids a destination whose name the hop looks up."""
    refusal = None if judge is None else judge.afar(destination)
    return endpoint if refusal is None else _Refused(refusal)


def _octets(login: Login | None) -> tuple[bytes, bytes] | None:
    return None if login is None else (login.user.encode(), login.password.reveal().encode())
