"""From a command line, an environment and a file to frozen settings, or to every reason why not."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from pipsocks.config.expand import REFERENCE, Secrets
from pipsocks.config.file import Given, Value
from pipsocks.config.layers import DEFAULT, Gathered, gather, strangers
from pipsocks.config.options import Arguments
from pipsocks.config.values import Upstream
from pipsocks.front.settings import ListenerSettings, isLoopback, place
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Destination, Problem, StartError
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import RuleSettings
from pipsocks.settings import Settings
from pipsocks.upstream.settings import ChainSettings

PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
"""The variables by which other programs are told of a proxy."""


class ParseChain(Protocol):
    """`pipsocks.upstream.parse.parseChain`, which this room is handed."""

    def __call__(self, text: str, expand: Callable[[str], str], name: str) -> ChainSettings:
        """The chain that `text` spells. Raises ValueError, without secrets in its words."""


@attrs.frozen
class Loaded:
    """The settings, and what they were made of."""

    settings: Settings
    gathered: Gathered


def load(
    arguments: Arguments,
    environ: Mapping[str, str],
    parseChain: ParseChain,
    fromEnvironment: Callable[[Mapping[str, str]], str],
    twins: Mapping[str, str] | None = None,
) -> Loaded:
    """
    Read all layers, look the secrets up, and judge the whole.

    @param environ: where secrets and ``--upstream env`` are looked up, and, unless `twins` is given, the twins of
        the options too.
    @param fromEnvironment: the chain's text that the proxy variables name; raises ValueError where none does.
    @raise StartError: with everything that is wrong.
    """
    twins = environ if twins is None else twins
    gathered = gather(arguments, twins)
    problems = gathered.problems
    secrets = Secrets(environ)
    given = gathered.given.get("upstream", Given((_DIRECT,), DEFAULT))
    entries = given.values
    if not entries and given.whole:
        hint = 'write "direct" for no upstream at all'
        problems.append(Problem("the list of chains is empty", gathered.source("upstream"), hint))
    chains = []
    for entry in entries:
        assert isinstance(entry.value, Upstream)
        try:
            text = fromEnvironment(environ) if entry.value.chain == "env" else entry.value.chain
            chain = parseChain(text, secrets.expand, entry.value.name)
        except ValueError as error:
            hint = getattr(error, "hint", "") or "a chain is direct, or SCHEME://USER:PASSWORD@HOST:PORT,..."
            problems.append(Problem(str(error), entry.where, hint))
            continue
        chains.append(chain)
        problems += _loops(chain, entry, gathered.listeners)
    problems += strangers(twins, secrets.named)
    if problems:
        raise StartError(*problems)
    settings = Settings(
        listeners=tuple(gathered.listeners),
        upstream=tuple(chains),
        retry=RetrySettings(**_table(gathered, "retry")),
        timeouts=TimeoutSettings(**_table(gathered, "timeouts")),
        rules=tuple(rule for rule in gathered.values("rules") if isinstance(rule, RuleSettings)),
        journal=JournalSettings(**_table(gathered, "", journal="target", journal_format="form")),
        **_table(gathered, "", via="via"),
        notices=tuple(_notices(gathered, entries, chains, environ)),
    )
    return Loaded(settings, gathered)


_DIRECT = Value(Upstream("direct"), DEFAULT)


def _table(gathered: Gathered, table: str, **names: str) -> dict[str, Any]:
    """What was given of the keys of `table`, or of the keys `names`, by the names of their settings."""
    if table:
        names = {key: key.partition(".")[2] for key in gathered.given if key.startswith(table + ".")}
    return {name: gathered.values(key)[0] for key, name in names.items() if gathered.values(key)}


def _loops(chain: ChainSettings, entry: Value, listeners: list[ListenerSettings]) -> list[Problem]:
    """A chain whose first hop is a listener of ours would send each session to us again."""
    if not chain.hops:
        return []
    first = chain.hops[0].address
    hint = "name another proxy, or listen on another port"
    return [
        Problem(f"{first} is one of our own listeners", entry.where, hint)
        for listener in listeners
        if (where := place(listener.endpoint)) and _same(first, *where)
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


def _notices(
    gathered: Gathered, entries: tuple[Value, ...], chains: list[ChainSettings], environ: Mapping[str, str]
) -> list[str]:
    """What is allowed, and worth a line at the start."""
    notices = []
    fromFlag = gathered.source("upstream") == "--upstream"
    if fromFlag and any(isinstance(each.value, Upstream) and holdsSecret(each.value.chain) for each in entries):
        notices.append(
            "warning: --upstream holds a password, which all users of this machine can read in the list of processes; "
            "put the chain into PIPSOCKS_UPSTREAM or a --config FILE, or write ${file:PATH}, ${env:NAME} or "
            "${credential:NAME} in the password's place"
        )
    if gathered.source("auth") == "--auth" and any(str(each).startswith("memory:") for each in gathered.values("auth")):
        notices.append(
            "warning: --auth holds a password, which all users of this machine can read in the list of processes; "
            "put it into PIPSOCKS_AUTH or a --config FILE, or use --auth htpasswd:FILE"
        )
    notices += [
        f"warning: the certificate of {hop.address} is not verified (verify=off), so that anybody may stand in for it"
        for chain in chains
        for hop in chain.hops
        if hop.tls is not None and not hop.tls.verify
    ]
    ours = any(isinstance(each.value, Upstream) and each.value.chain == "env" for each in entries)
    if not ours and (found := [name for name in PROXIES if environ.get(name)]):
        names = " and ".join(found)
        notices.append(f"{names} in our environment: ignored; --upstream env would make an upstream of it")
    return notices


def holdsSecret(chain: str) -> bool:
    """Whether a chain's text has a password in it, and not only a reference to one."""
    users = re.findall(r"://([^@/]*)@", REFERENCE.sub("", chain))
    return any(":" in user and user.partition(":")[2] for user in users)
