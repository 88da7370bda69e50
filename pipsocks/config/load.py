"""From a command line, an environment and a file to frozen settings, or to every reason why not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from pipsocks.config.chains import Chains, ParseChain, holdsSecret
from pipsocks.config.document import Given, Value
from pipsocks.config.expand import Secrets
from pipsocks.config.groups import DEFAULT_GROUP, groupSettings
from pipsocks.config.layers import DEFAULT, Gathered, gather, strangers
from pipsocks.config.options import BY_KEY, Arguments
from pipsocks.config.routes import NO_PROXY, UPSTREAM, bypass, judgeRoutes, routeNotices, routeSettings
from pipsocks.config.values import Upstream
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Problem, StartError, masked
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import DENY, DIRECT, RouteSettings, RuleSettings
from pipsocks.settings import GroupSettings, Settings

PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
"""The variables by which other programs are told of a proxy."""


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
    chains = Chains(parseChain, fromEnvironment, environ, secrets, gathered.listeners, problems)
    retry = RetrySettings(**_table(gathered, "retry"))
    upstream = _upstream(gathered)
    groups = _groups(gathered, upstream, chains, retry)
    routes = _routes(gathered, upstream, [group.name for group in groups])
    problems += strangers(twins, secrets.named)
    if problems:
        raise StartError(*problems)
    settings = Settings(
        listeners=tuple(gathered.listeners),
        groups=tuple(groups),
        routes=tuple(routes),
        retry=retry,
        timeouts=TimeoutSettings(**_table(gathered, "timeouts")),
        rules=tuple(rule for rule in gathered.values("rules") if isinstance(rule, RuleSettings)),
        journal=JournalSettings(**_table(gathered, "", journal="target", journal_format="form")),
        **_table(gathered, "", via="via"),
        notices=tuple(_notices(gathered, groups, routes, chains)),
    )
    return Loaded(settings, gathered)


def _upstream(gathered: Gathered) -> Given | None:
    """
    The list that is short for the default group and the last route; None where there is none.

    The default holds only where nobody said otherwise: beside groups or routes, what matches none is refused.
    """
    document = gathered.document
    if "upstream" in gathered.given or document.groups or document.routes:
        return gathered.given.get("upstream")
    return Given((Value(Upstream("direct"), DEFAULT),), DEFAULT)


def _groups(gathered: Gathered, upstream: Given | None, chains: Chains, retry: RetrySettings) -> list[GroupSettings]:
    """The groups of the file, and the one that ``upstream`` is short for."""
    document = gathered.document
    groups = [
        groupSettings(name, keys, chains.made(keys["chains"]) if "chains" in keys else (), retry)
        for name, keys in (document.groups or {}).items()
    ]
    if upstream is not None:
        if document.groups and DEFAULT_GROUP in document.groups:
            hint = f"give it another name, or leave {upstream.where} away"
            what = "upstream is short for a group of this name"
            gathered.problems.append(Problem(what, document.where(f"groups.{DEFAULT_GROUP}"), hint))
        groups.append(GroupSettings(DEFAULT_GROUP, chains.made(upstream), retry=retry))
    return groups


def _routes(gathered: Gathered, upstream: Given | None, groups: Collection[str]) -> list[RouteSettings]:
    """What goes straight, the routes of the file, and the way of the rest."""
    document = gathered.document
    if document.groups and document.routes == [] and upstream is None:
        name = next((each for each in document.groups if each not in (DIRECT, DENY)), "NAME")
        hint = f'write [[route]] and, below, to = "{masked(name)}": without host, port or user it takes everything'
        gathered.problems.append(Problem("no route leads to any group", document.where("groups"), hint))
    if document.groups is not None:
        gathered.problems += judgeRoutes(document.routes or (), groups, gathered.listeners)
    if gathered.problems:
        return []
    routes = [bypass(gathered.given[NO_PROXY])] if gathered.values(NO_PROXY) else []
    routes += [routeSettings(f"route[{index}]", keys) for index, keys in enumerate(document.routes or ())]
    if upstream is not None:
        routes.append(RouteSettings(DEFAULT_GROUP, UPSTREAM))
    return routes


def _table(gathered: Gathered, table: str, **names: str) -> dict[str, Any]:
    """What was given of the keys of `table`, or of the keys `names`, by the names of their settings."""
    if table:
        names = {key: key.partition(".")[2] for key in gathered.given if key.startswith(table + ".")}
    return {name: gathered.values(key)[0] for key, name in names.items() if gathered.values(key)}


def _notices(
    gathered: Gathered, groups: Sequence[GroupSettings], routes: Sequence[RouteSettings], chains: Chains
) -> list[str]:
    """What is allowed, and worth a line at the start."""
    notices = []
    source = gathered.source("upstream")
    upstream = [each.chain for each in gathered.values("upstream") if isinstance(each, Upstream)]
    if source == "--upstream" and any(map(holdsSecret, upstream)):
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
    unverified = [
        hop.address
        for group in groups
        for chain in group.chains
        for hop in chain.hops
        if hop.tls is not None and not hop.tls.verify
    ]
    notices += [
        f"warning: the certificate of {address} is not verified (verify=off), so that anybody may stand in for it"
        for address in dict.fromkeys(unverified)
    ]
    if source in (BY_KEY["upstream"].flag, BY_KEY["upstream"].twin) and gathered.document.routes:
        notices.append(f"{source} is the last route: it takes what no [[route]] of the file matches")
    notices += routeNotices(routes, [group.name for group in groups])
    if not chains.usesEnvironment and (found := [name for name in PROXIES if chains.environ.get(name)]):
        names = " and ".join(found)
        notices.append(f"{names} in our environment: ignored; --upstream env would make an upstream of it")
    return notices
