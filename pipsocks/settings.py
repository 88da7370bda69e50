"""The whole of the settings, composed of each room's: what `config` makes and `service` runs."""

from __future__ import annotations

import attrs

from pipsocks.front.settings import ListenerSettings
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Destination
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import RouteSettings, RuleSettings
from pipsocks.upstream.settings import ChainSettings


@attrs.frozen
class GroupSettings:
    """
    A named set of chains, of which a search asks one after the other.

    `strategy` is one of `pipsocks.upstream.settings.STRATEGIES`; `probe` where each chain is tried out from time to
    time, with TLS.
    """

    name: str
    chains: tuple[ChainSettings, ...]
    strategy: str = "order"
    hedge: bool = False
    probe: Destination | None = None
    retry: RetrySettings = RetrySettings()


@attrs.frozen
class Settings:
    """
    Frozen: a reload makes a new one.

    `routes` are in order: the first that matches decides, and what matches none is refused. `retry` is that of what
    goes straight because a route says so; each group has its own.
    """

    listeners: tuple[ListenerSettings, ...]
    groups: tuple[GroupSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    journal: JournalSettings = JournalSettings()
    rules: tuple[RuleSettings, ...] = ()  # in order: the first that matches decides
    via: bool = True
    notices: tuple[str, ...] = ()  # lines to print at start: warnings about the configuration itself
