"""What the configuration says of a listener."""

from __future__ import annotations

import ipaddress

import attrs

from pipsocks.model import Problem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class ListenerSettings:
    """
    One listening port.

    `protocol` is ``socks`` or ``http``; `endpoint` a Twisted endpoint description, short forms already turned
    into ``tcp:PORT:interface=HOST``; `source` where it was written (``--socks``, ``FILE: listener[0].socks``), for
    error messages. `auth` holds checker descriptions as ``--auth`` takes them.
    """

    protocol: str
    endpoint: str
    auth: tuple[str, ...] = ()
    clients: tuple[Network, ...] = ()
    strict: bool = False
    source: str = ""

    def isGuarded(self, host: str) -> bool:
        """Whether not everybody can use it when it is bound to the address `host`: no open proxy by accident."""
        if self.auth or self.clients:
            return True
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback

    def openProxyProblem(self, address: str) -> Problem:
        """What to say of one that is not guarded."""
        return Problem(
            f"{address} would be an open proxy: anybody who reaches it could use it",
            self.source,
            "require a login (--auth htpasswd:FILE) or name the clients' networks (--clients 192.0.2.0/24)",
        )
