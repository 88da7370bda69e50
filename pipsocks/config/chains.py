"""Lists of chains: how a file writes them, and what their texts come to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import attrs

from pipsocks.config.document import Document, Given, Value
from pipsocks.config.expand import REFERENCE, Secrets
from pipsocks.config.values import Count, Name, Upstream
from pipsocks.front.settings import ListenerSettings, isLoopback, place
from pipsocks.model import Destination, Problem
from pipsocks.upstream.settings import ChainSettings

_CHAIN: Final[Mapping[str, Any]] = {"chain": Upstream, "name": Name, "tier": Count}


class ParseChain(Protocol):
    """`pipsocks.upstream.parse.parseChain`, which this room is handed."""

    def __call__(self, text: str, expand: Callable[[str], str], name: str) -> ChainSettings:
        """The chain that `text` spells. Raises ValueError, without secrets in its words."""


def readChains(document: Document, path: str, value: object) -> Given:
    """
    The chains of a list, each a text, or a table with a text, a name and a tier: `Upstream` values.

    Errors and the journal tell chains by their names, so no two of a list have the same.
    """
    if not isinstance(value, list):
        return document.many(path, Upstream, value)
    values: list[Value] = []
    names: set[str] = set()
    for index, each in enumerate(value):
        place = f"{path}[{index}]"
        found = _table(document, place, each) if isinstance(each, dict) else document.value(place, Upstream, each)
        if found is None:
            continue
        values.append(found)
        name = found.value.name if isinstance(found.value, Upstream) else ""
        if name and name in names:
            document.wrong(f"{place}.name", f"another chain before it is called {name}", "give each a name of its own")
        names.add(name)
    return Given(tuple(values), document.where(path), len(values) == len(value))


def _table(document: Document, path: str, tree: Mapping[str, object]) -> Value | None:
    """A chain that is a table. It may hold a password, so that its text is never shown."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if name not in _CHAIN:
            document.unknown(f"{path}.{name}", name, _CHAIN)
        elif (given := document.value(f"{path}.{name}", _CHAIN[name], value)) is not None:
            found[name] = given.value
    if "chain" not in tree:
        document.wrong(path, "a chain's table needs the text of its chain", 'write chain = "..." in it')
    chain = found.pop("chain", None)
    return Value(attrs.evolve(chain, **found), document.where(path)) if isinstance(chain, Upstream) else None


@attrs.define
class Chains:
    """
    Makes chains of their texts, and notes what is wrong with them.

    @ivar fromEnvironment: the chain's text that the proxy variables of `environ` name; raises ValueError where none
        does.
    @ivar usesEnvironment: whether it was asked for.
    """

    parse: ParseChain
    fromEnvironment: Callable[[Mapping[str, str]], str]
    environ: Mapping[str, str] = attrs.field(repr=False)
    secrets: Secrets
    listeners: Sequence[ListenerSettings]
    problems: list[Problem]
    usesEnvironment: bool = False

    def made(self, given: Given) -> tuple[ChainSettings, ...]:
        """The chains of a list; without those that are wrong."""
        if not given.values and given.whole:
            hint = 'write "direct" for no upstream at all'
            self.problems.append(Problem("the list of chains is empty", given.where, hint))
        found = [self._made(entry.value, entry.where) for entry in given.values if isinstance(entry.value, Upstream)]
        return tuple(chain for chain in found if chain is not None)

    def _made(self, entry: Upstream, where: str) -> ChainSettings | None:
        try:
            self.usesEnvironment |= entry.chain == "env"
            text = self.fromEnvironment(self.environ) if entry.chain == "env" else entry.chain
            chain = self.parse(text, self.secrets.expand, entry.name)
        except ValueError as error:
            hint = getattr(error, "hint", "") or "a chain is direct, or SCHEME://USER:PASSWORD@HOST:PORT,..."
            self.problems.append(Problem(str(error), where, hint))
            return None
        self.problems += _loops(chain, where, self.listeners)
        return attrs.evolve(chain, tier=entry.tier)


def holdsSecret(chain: str) -> bool:
    """Whether a chain's text has a password or a passphrase in it, and not only a reference to one."""
    plain = REFERENCE.sub("", chain)
    users = re.findall(r"://([^@/]*)@", plain)
    return any(user.partition(":")[2] for user in users) or bool(re.search(r"[?&]passphrase=[^&,]", plain))


def _loops(chain: ChainSettings, where: str, listeners: Iterable[ListenerSettings]) -> list[Problem]:
    """A chain whose first hop is a listener of ours would send each session to us again."""
    if not chain.hops:
        return []
    first = chain.hops[0].address
    hint = "name another proxy, or listen on another port"
    return [
        Problem(f"{first} is one of our own listeners", where, hint)
        for listener in listeners
        if (at := place(listener.endpoint)) and _same(first, *at)
    ]


def _same(address: Destination, host: str, port: int) -> bool:
    """Whether a connection to `address` meets a listener on `host` and `port`, as far as a text can tell."""
    if address.port != port or port == 0:
        return False
    asked, bound = _plain(address.host), _plain(host)
    if bound in ("0.0.0.0", "::"):
        # The machine's own name is a name like any other: what it resolves to is found out when it is dialled.
        return isLoopback(asked) or asked in ("0.0.0.0", "::") or asked == socket.gethostname().lower()
    if "localhost" in (asked, bound) or asked in ("0.0.0.0", "::"):  # as a destination: this machine
        return isLoopback(bound) and (isLoopback(asked) or asked in ("0.0.0.0", "::"))
    return asked == bound


def _plain(host: str) -> str:
    """An IPv4 address out of its IPv6 disguise; a name in lower case."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower()
    return str(getattr(address, "ipv4_mapped", None) or address)
