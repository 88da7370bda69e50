"""The whole of the settings, composed of each room's: what `config` makes and `service` runs."""

from __future__ import annotations

import attrs

from pipsocks.front.settings import ListenerSettings
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import RuleSettings
from pipsocks.upstream.settings import ChainSettings


@attrs.frozen
class Settings:
    """Frozen: a reload makes a new one."""

    listeners: tuple[ListenerSettings, ...]
    upstream: tuple[ChainSettings, ...]
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    journal: JournalSettings = JournalSettings()
    rules: tuple[RuleSettings, ...] = ()  # in order: the first that matches decides
    via: bool = True
    notices: tuple[str, ...] = ()  # lines to print at start: warnings about the configuration itself
