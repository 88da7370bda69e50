"""
Who may go where: ordered rules, of which the first that matches decides, and the address guard behind them.

A destination is judged before anything is looked up, and a name once more on each address that is about to be dialled,
so that it does not matter what a name server says the next time. Where a name goes to a hop, its address is never
seen here, and only what is said of names counts.

The guard stands behind the last rule: a client on loopback may reach everything, any other one public addresses alone.
Our own listeners are nobody's, whatever the rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from pipsocks.model import Address, Destination
from pipsocks.policy.addresses import LOOPBACK, classOf, meant, parsed
from pipsocks.policy.patterns import Hosts, Networks
from pipsocks.policy.settings import CLASSES, RuleSettings
from pipsocks.refusal import Refusal

IsOwn = Callable[[str, int], bool]


@attrs.frozen
class Rule:
    """A rule, read. At most one of `hosts`, `networks` and `kind` is there; without any it matches everything."""

    settings: RuleSettings
    hosts: Hosts | None = None
    networks: Networks | None = None
    kind: str = ""

    @classmethod
    def of(cls, settings: RuleSettings) -> Rule:
        """The rule that `settings` spell."""
        what = settings.what
        if what == "*":
            return cls(settings)
        if what in CLASSES:
            return cls(settings, kind=what)
        if "/" in what:
            return cls(settings, networks=Networks([what]))
        return cls(settings, hosts=Hosts([what]))

    @property
    def ofAddresses(self) -> bool:
        """Whether it takes an address to tell."""
        return self.networks is not None or bool(self.kind)

    def matches(self, name: str, address: Address | None, port: int) -> bool:
        """
        Whether it is about this destination.

        @param name: the name that was asked for; empty for a literal.
        @param address: what is dialled; None where that is not known.
        """
        if self.settings.ports and port not in self.settings.ports:
            return False
        if self.ofAddresses:
            return address is not None and self._holds(address)
        return self.hosts is None or bool(name and self.hosts.find(name))

    def _holds(self, address: Address) -> bool:
        within = meant(address)
        if self.networks is None:
            return classOf(within) == self.kind
        if self.networks.find(within):
            return True
        # What is denied is denied as it is written, too; what is allowed must be where the connection ends.
        return not self.settings.allow and bool(self.networks.find(address))


@attrs.frozen
class Judge:
    """
    Tells where one client may go. Each of its verdicts is a `Refusal` (PS-RU01, PS-RU02), or None for yes.

    @ivar guarded: whether the guard holds for the client.
    """

    rules: tuple[Rule, ...]
    isOwn: IsOwn
    guarded: bool

    def before(self, destination: Destination) -> Refusal | None:
        """
        The verdict before anything is looked up or dialled: all of it for a literal; of a name, what needs no address.
        """
        if destination.address is not None:
            return self.at(destination, destination.host)
        return self._verdict(destination, None, patient=True) if self.rules else None

    def at(self, destination: Destination, address: str) -> Refusal | None:
        """The verdict on the very `address` that is dialled for `destination`."""
        if self.isOwn(address, destination.port) or self._isOwnWithin(address, destination.port):
            return Refusal("PS-RU02", where=str(destination))
        if not self.rules and not self.guarded:
            return None
        return self._verdict(destination, parsed(address))

    def afar(self, destination: Destination) -> Refusal | None:
        """The verdict on a `destination` whose name is looked up by a hop; `before` has passed it."""
        if destination.address is not None or not self.rules:
            return None
        return self._verdict(destination, None)

    def _isOwnWithin(self, address: str, port: int) -> bool:
        return ":" in address and self.isOwn(str(meant(parsed(address))), port)

    def _verdict(self, destination: Destination, address: Address | None, patient: bool = False) -> Refusal | None:
        """
        What the first rule that matches says, or the guard.

        @param patient: a rule for everything waits for the address where one before it might allow that.
        """
        name = destination.host if destination.address is None else ""
        port = destination.port
        for rule in self.rules:
            if rule.matches(name, address, port):
                if rule.settings.allow or (patient and rule.hosts is None and self._mayAllow(rule, port)):
                    return None
                return Refusal("PS-RU01", where=str(destination), detail=f"the rule '{rule.settings}'")
        if self.guarded and address is not None and (kind := classOf(meant(address))):
            return Refusal("PS-RU01", where=str(destination), detail=f"the address guard ({kind})")
        return None

    def _mayAllow(self, last: Rule, port: int) -> bool:
        return any(
            rule.settings.allow and rule.ofAddresses and (not rule.settings.ports or port in rule.settings.ports)
            for rule in self.rules[: self.rules.index(last)]
        )


class Guard:
    """The rules, once and for all: it is asked for the judge of each client, and there are but two."""

    def __init__(self, rules: Iterable[RuleSettings], isOwn: IsOwn) -> None:
        """
        @param isOwn: tells whether an address and port is one of our own listeners; `pipsocks.policy.own`.
        """
        read = tuple(Rule.of(settings) for settings in rules)
        self._near = Judge(read, isOwn, guarded=False)
        self._far = Judge(read, isOwn, guarded=True)

    def judge(self, client: str) -> Judge:
        """
        The judge of a client.

        @param client: its address; empty for one that has none, as over a unix socket, which is on this machine.
        """
        return self._near if not client or classOf(meant(parsed(client))) == LOOPBACK else self._far
