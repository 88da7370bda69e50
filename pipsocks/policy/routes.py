"""
Which way a request takes: ordered routes, of which the first decides whose conditions all hold.

A name is never looked up for a route to a group, since its addresses are the last hop's matter. For one that leads
straight it may be: the name goes straight when all of its addresses are in that route's networks. That is the one
thing here that waits, and nothing is asked before the first route that needs it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError

from pipsocks.model import Address, Choice, Destination, Request
from pipsocks.policy.addresses import meant, parsed
from pipsocks.policy.patterns import Hosts, Networks
from pipsocks.policy.settings import DENY, DIRECT, RouteSettings
from pipsocks.refusal import Refusal

LOOK_UP_LIMIT: Final = 1.0
"""Seconds that a choice waits for a name's addresses; without them the name is in no network."""

SILENT_SECONDS: Final = 10.0
"""How long a name is not asked for again that had no answer in time: pip's next connection need not wait, too."""

SILENT_LIMIT: Final = 1_024
"""Names of which that is known; the oldest go."""

Resolve = Callable[[Destination], Awaitable[Sequence[str]]]


@attrs.frozen
class Route:
    """
    A route, read.

    @ivar everywhere: whether every destination matches: it has neither hosts nor networks, or ``*`` among them.
    """

    settings: RouteSettings
    everywhere: bool
    hosts: Hosts
    networks: Networks
    ports: frozenset[int]
    users: frozenset[str]
    listeners: frozenset[str]

    @classmethod
    def of(cls, settings: RouteSettings) -> Route:
        """The route that `settings` spell."""
        return cls(
            settings,
            everywhere="*" in settings.hosts or not (settings.hosts or settings.networks),
            hosts=Hosts(host for host in settings.hosts if host != "*"),
            networks=Networks(settings.networks),
            ports=frozenset(settings.ports),
            users=frozenset(settings.users),
            listeners=frozenset(settings.listeners),
        )

    @property
    def looksUp(self) -> bool:
        """Whether a name's addresses count."""
        return bool(self.settings.networks) and self.settings.to == DIRECT

    def admits(self, request: Request) -> bool:
        """Whether port, user and listener are among those that it is for."""
        if self.ports and request.destination.port not in self.ports:
            return False
        if self.users and request.user not in self.users:
            return False
        if not self.listeners:
            return True
        protocol, _, address = request.listener.partition(":")
        return protocol in self.listeners or address in self.listeners

    def matches(self, name: str, address: Address | None) -> str | None:
        """
        Why it is about this destination: the condition, in the words of the journal; None where it is not.

        @param name: the name that was asked for; empty for a literal.
        @param address: the literal; None for a name.
        """
        if name and (host := self.hosts.find(name)):
            return self._because("host", host)
        if address is not None and self.settings.networks and (network := self._network(address)):
            return self._because("network", network)
        if self.everywhere:
            return self._because("host", "*") if self.settings.hosts else self.settings.label
        return None

    def holds(self, addresses: Sequence[str]) -> str | None:
        """The same for a name that has these `addresses`: all of them have to be in its networks."""
        if not addresses or not all(map(self.holdsAt, addresses)):
            return None
        return self._because("network", self._network(parsed(addresses[0])))

    def holdsAt(self, address: str) -> bool:
        """Whether `address` is in its networks."""
        return bool(self._network(parsed(address)))

    def _network(self, address: Address) -> str:
        within = self.networks.find(meant(address))
        # As rules have it: what is denied is denied as it is written, too.
        return within if within or self.settings.to != DENY else self.networks.find(address)

    def _because(self, kind: str, pattern: str) -> str:
        """Routes that have no number have one kind of condition, which goes without saying."""
        label = self.settings.label
        return f"{label} {kind} {pattern}" if label.endswith("]") else f"{label} {pattern}"

    def choice(self, because: str, where: str, byAddresses: bool = False) -> Choice:
        """
        Where it leads.

        @param byAddresses: it is taken for what the destination's addresses are.
        """
        denied = Refusal("PS-RU01", where=where, detail=self.settings.label) if self.settings.to == DENY else None
        return Choice(self.settings.to, because, self.holdsAt if byAddresses else None, denied)


class Routes:
    """The routes, once and for all."""

    def __init__(self, settings: Sequence[RouteSettings], resolve: Resolve, clock: Any) -> None:
        """
        @param resolve: the addresses of a destination that is a name; cancelled where it takes too long.
        @param clock: bounds that (`LOOK_UP_LIMIT`).
        """
        self._routes = tuple(Route.of(each) for each in settings)
        self._resolve = resolve
        self._clock = clock
        self._silent: OrderedDict[str, float] = OrderedDict()  # until when names are not asked for again

    async def choose(self, request: Request) -> Choice:
        """
        The way of a `request`. Waits only where a name's addresses count, and then for `LOOK_UP_LIMIT` at most.

        @return: with PS-RU01 where a route denies it, with PS-RU03 where there is none for it.
        """
        destination = request.destination
        name, address = _read(destination)
        addresses: Sequence[str] | None = None
        for route in self._routes:
            if not route.admits(request):
                continue
            because, byAddresses = route.matches(name, address), False
            if because is None and name and route.looksUp:
                if addresses is None:
                    addresses = await self._addresses(destination)
                because, byAddresses = route.holds(addresses), True
            if because is not None:
                return route.choice(because, str(destination), byAddresses)
        return Choice("", refusal=Refusal("PS-RU03", where=str(destination)))

    def known(self, request: Request, anywhere: bool = False) -> Choice:
        """
        The way as far as it can be told without looking anything up: no name is in any network.

        @param anywhere: the way of a destination that no route speaks of, which is what an association takes before its
            first datagram: only routes match that are about every host and every port.
        @return: with PS-RU01 where a route denies it, with PS-RU03 where there is none for it.
        """
        name, address = ("", None) if anywhere else _read(request.destination)
        where = "" if anywhere else str(request.destination)
        for route in self._routes:
            if (anywhere and route.ports) or not route.admits(request):
                continue
            because = route.matches(name, address)
            if because is not None:
                return route.choice(because, where)
        return Choice("", refusal=Refusal("PS-RU03", where=where))

    async def _addresses(self, destination: Destination) -> Sequence[str]:
        """The addresses of a name; none where they cannot be had in time, for whatever reason."""
        name, now = destination.host, self._clock.seconds()
        if now < self._silent.get(name, 0.0):
            return ()
        asked = Deferred.fromCoroutine(self._ask(destination))
        try:
            found: Sequence[str] = await asked.addTimeout(LOOK_UP_LIMIT, self._clock)
        except CancelledError:
            raise
        except TimeoutError:
            self._silent[name] = self._clock.seconds() + SILENT_SECONDS
            self._silent.move_to_end(name)
            if len(self._silent) > SILENT_LIMIT:
                self._silent.popitem(last=False)
            return ()
        except Exception:
            return ()
        return found

    async def _ask(self, destination: Destination) -> Sequence[str]:
        return await self._resolve(destination)


def _read(destination: Destination) -> tuple[str, Address | None]:
    """The name, in lower case and without the root's dot, or the address."""
    address = destination.address
    return ("", address) if address is not None else (destination.host.lower().removesuffix("."), None)
