"""What the configuration says of who may go where."""

from __future__ import annotations

from typing import Final

import attrs

CLASSES: Final = ("loopback", "link-local", "private", "cgnat", "multicast", "reserved")
"""The classes of addresses that a rule may name, as the address guard knows them."""


@attrs.frozen
class RuleSettings:
    """
    One rule for one pattern.

    `what` is canonical: ``*`` for everything, ``a.example`` for that host, ``.a.example`` for it and all below it,
    ``*.a.example`` for what is below it alone, a network as `ipaddress` prints it, or one of `CLASSES`. Without
    `ports` it holds for all of them.
    """

    allow: bool
    what: str
    ports: tuple[int, ...] = ()

    def __str__(self) -> str:
        ports = f" port {','.join(map(str, self.ports))}" if self.ports else ""
        return f"{'allow' if self.allow else 'deny'} {self.what}{ports}"


DIRECT: Final = "direct"
DENY: Final = "deny"


@attrs.frozen
class RouteSettings:
    """
    One route: where sessions go for which all of its conditions hold. A condition without values holds for all.

    `to` is a group's name, ``direct`` or ``deny``; `label` what the journal calls the route (``route[0]``,
    ``no_proxy``, ``upstream``). `hosts` are spelt as `RuleSettings.what` spells hosts (``*`` is every host); `networks`
    as `ipaddress` prints them. Of `hosts` and `networks` together one has to match. `listeners` are ``socks``,
    ``http`` or the address that a listener is bound to, ``127.0.0.1:1080``.
    """

    to: str
    label: str = ""
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    users: tuple[str, ...] = ()
    listeners: tuple[str, ...] = ()
