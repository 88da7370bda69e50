"""
Chains for other programs: client endpoints that connect through upstream proxies.

`chainEndpoint` takes a chain as its text; ``pipsocks:HOST:PORT:chain=CHAIN`` is the same as an endpoint description
for `twisted.internet.endpoints.clientFromString`. `groupEndpoint`, and ``pipsocks:HOST:PORT:group=NAME:config=FILE``,
search a group of a configuration file for a way, as the proxy does. The hops themselves are `SocksHop`, `HTTPHop`
and `SSHHop`: ``over`` puts one around any endpoint. All of them fail with `Refusal`, whose text says which hop failed
and how. See ``docs/endpoints.rst``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from pipsocks.config.expand import Secrets
from pipsocks.config.load import load
from pipsocks.config.options import Arguments
from pipsocks.gateway import seam
from pipsocks.gateway.found import Found
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.search import Search
from pipsocks.groups import makeGroups
from pipsocks.model import Attempt, Destination, Login, Secret, StartError
from pipsocks.refusal import Refusal
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.group import Group
from pipsocks.upstream.hop import HTTPHop, SocksHop
from pipsocks.upstream.parse import fromEnvironment, parseChain
from pipsocks.upstream.settings import SSHSettings
from pipsocks.upstream.ssh import SSHHop
from pipsocks.upstream.tls import clientTLS
from pipsocks.wire.names import NameInvalid, parseHost, parsePort

__all__ = [
    "Destination",
    "HTTPHop",
    "Login",
    "Network",
    "Refusal",
    "Secret",
    "SSHHop",
    "SSHSettings",
    "SocksHop",
    "chainEndpoint",
    "clientTLS",
    "groupEndpoint",
    "parse",
]


def chainEndpoint(reactor: Any, chain: str, host: str, port: int) -> IStreamClientEndpoint:
    """
    The way to a destination through a chain.

    Its `connect` fails with `Refusal`. Names are looked up at the last hop, unless that is ``socks5`` or ``socks4``;
    a protocol with an attribute ``bound`` has it set to the address that a last SOCKS hop bound. Names that were looked
    up, and connections to ssh hops, are shared by all endpoints of one reactor.

    @param chain: ``direct``, or hops as ``--upstream`` takes them: ``socks5h://USER:PASSWORD@HOST:PORT,…``. A user or
        password may be ``${file:PATH}``, ``${env:NAME}`` or ``${credential:NAME}``.
    @param host: a name or an address, IPv6 without brackets.
    @raise ValueError: the chain, the host or the port is invalid; the text has no secrets in it.
    """
    destination = _destination(host, str(port))
    network = _networks.get(reactor) or _networks.setdefault(reactor, Network(reactor))
    return Chain(parseChain(chain, Secrets(os.environ).expand), network).connect(destination)


_networks: WeakKeyDictionary[Any, Network] = WeakKeyDictionary()


def groupEndpoint(reactor: Any, config: str, group: str, host: str, port: int) -> IStreamClientEndpoint:
    """
    The way to a destination over the chains of a group, by its strategy and retry policy.

    Its `connect` fails with `Refusal`, within the group's ``retry.total`` seconds. The file is read once, and what is
    learnt of the chains' health is shared by all endpoints of it. A connection counts as a success, since what comes
    back on it is not seen here; so no first flight is replayed either.

    @param config: a configuration file of pipsocks's; only its groups matter.
    @param group: a name in it; ``default`` is that of ``upstream``.
    @raise ValueError: the file, the group, the host or the port is invalid; the text has no secrets in it.
    """
    destination = _destination(host, str(port))
    pool = _pool(reactor, os.path.realpath(config))
    if group not in pool.groups:
        raise ValueError(f"pipsocks: {config} has no group {group!a}; it has {', '.join(sorted(pool.groups))}")
    return _Searching(reactor, pool.groups[group], pool.memory, destination)


def _destination(host: str, port: str) -> Destination:
    try:
        # By its text, which is checked by octets: whatever else int() takes is no port.
        return Destination(parseHost(host.encode()), parsePort(port.encode()))
    except NameInvalid as invalid:
        raise ValueError(f"pipsocks: {invalid}") from None


@attrs.frozen(eq=False)
class _Pool:
    """The groups of a file, and what their searches have learnt."""

    groups: Mapping[str, Group]
    memory: Memory


_pools: WeakKeyDictionary[Any, dict[str, _Pool]] = WeakKeyDictionary()


def _pool(reactor: Any, path: str) -> _Pool:
    known = _pools.setdefault(reactor, {})
    if path not in known:
        try:
            settings = load(Arguments({"config": (path,)}), os.environ, parseChain, fromEnvironment, twins={}).settings
            known[path] = _Pool(makeGroups(settings, Network(reactor)), Memory(reactor.seconds))
        except StartError as error:
            raise ValueError(f"pipsocks: {error}") from None
    return known[path]


class _Unrecorded:
    """Attempts are nobody's news: there is no journal here."""

    def attempted(self, attempt: Attempt) -> None:
        """Forget it."""


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Searching:
    """An endpoint that asks one chain after the other."""

    reactor: Any
    group: Group
    memory: Memory
    destination: Destination

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        destination = self.destination

        def reach(chain: seam.Chain) -> Deferred[IProtocol]:
            assert isinstance(chain, Chain)
            return chain.connect(destination).connect(protocolFactory)

        def found(way: Found[IProtocol]) -> IProtocol:
            way.spoke()
            way.close()
            return way.reached

        self.group.budget.earn()
        plan = self.group.plan(destination)
        search = Search(self.reactor, self.group, plan, destination, self.memory, _Unrecorded(), reach)
        return search.begin().addCallback(found)


def parse(reactor: Any, host: str = "", port: str = "", *more: str, **options: str) -> IStreamClientEndpoint:
    """
    What ``pipsocks:HOST:PORT:chain=CHAIN`` or ``pipsocks:HOST:PORT:group=NAME:config=FILE`` describes.

    Colons in HOST, CHAIN and FILE are written ``\\:``.

    @raise ValueError: something is missing, unknown or invalid.
    """
    if more:
        raise ValueError("pipsocks: too many parts: write colons in HOST, CHAIN and FILE as \\:")
    unknown = options.keys() - {"chain", "group", "config"}
    if unknown:
        raise ValueError(f"pipsocks: unknown: {', '.join(sorted(unknown))}; there are chain=, and group= with config=")
    chain, group, config = (options.get(name, "") for name in ("chain", "group", "config"))
    if not host or not port or bool(chain) == bool(group or config) or bool(group) != bool(config):
        raise ValueError(
            "pipsocks: write pipsocks:HOST:PORT:chain=CHAIN or pipsocks:HOST:PORT:group=NAME:config=FILE, "
            "colons in HOST, CHAIN and FILE as \\:"
        )
    number = _destination(host, port).port
    if group:
        return groupEndpoint(reactor, config, group, host, number)
    return chainEndpoint(reactor, chain, host, number)
