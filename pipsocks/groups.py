"""From settings to groups of chains: what the service, and an endpoint of another program, search for a way in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from pipsocks.gateway.budget import Budget
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Problem, StartError
from pipsocks.policy.settings import DIRECT
from pipsocks.settings import GroupSettings, Settings
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.group import Group
from pipsocks.upstream.health import Health
from pipsocks.upstream.probes import Probes
from pipsocks.upstream.settings import ChainSettings, HopSettings

Healths = dict[tuple[HopSettings, ...], Health]


def makeGroups(settings: Settings, network: Network) -> dict[str, Group]:
    """
    Every group by its name, and ``direct``, which routes may name without anybody having written it.

    Chains of the same hops share their health, whatever group they are in.

    @raise StartError: a file that a hop names cannot be used.
    """
    healths: Healths = {}
    straight = GroupSettings(DIRECT, (ChainSettings(),), retry=settings.retry)
    wanted = [*settings.groups, *([straight] if any(route.to == DIRECT for route in settings.routes) else [])]
    return {each.name: _makeGroup(each, network, healths) for each in wanted}


def makeProbes(settings: Settings, groups: Mapping[str, Group], reactor: Any) -> list[Probes]:
    """
    What tries the chains out of those groups that have a target for it.

    @raise StartError: no certificate could be verified for a target's name.
    """
    probes = []
    for each in settings.groups:
        if each.probe is not None:
            try:
                probes.append(Probes(reactor, each.name, groups[each.name].chains, each.probe))
            except ValueError:  # Twisted verifies what IDNA 2008 calls a name: without underscores, for one
                what = f"no certificate can be verified for {each.probe.host}"
                raise StartError(Problem(what, f"groups.{each.name}.probe", "name another target")) from None
    return probes


def _makeGroup(settings: GroupSettings, network: Network, healths: Healths) -> Group:
    within = attrs.evolve(network, retry=settings.retry)
    retry: RetrySettings = settings.retry
    return Group(
        settings.name,
        tuple(_makeChain(chain, within, healths) for chain in settings.chains),
        retry=retry,
        budget=Budget(network.reactor.seconds, retry.budget),
        strategy=settings.strategy,
        hedge=settings.hedge,
    )


def _makeChain(settings: ChainSettings, network: Network, healths: Healths) -> Chain:
    try:
        chain = Chain(settings, network)
    except (OSError, ValueError, ImportError) as error:
        last = settings.hops[-1].address
        hint = "give the path of a PEM file that pipsocks may read"
        if isinstance(error, ImportError):
            hint = "install what ssh hops need: pip install 'pipsocks[ssh]'"
        raise StartError(Problem(f"upstream {settings.name or last}: {error}", "upstream", hint)) from None
    return attrs.evolve(chain, health=healths.setdefault(settings.hops, chain.health))
