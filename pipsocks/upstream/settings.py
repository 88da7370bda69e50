"""What the configuration says of upstreams: a chain is one string, hops left to right, comma-separated."""

from __future__ import annotations

from typing import Final

import attrs

from pipsocks.model import Destination, Login, Secret


@attrs.frozen
class TLSSettings:
    """TLS to an ``https`` hop. `ca`, `cert` are PEM files; `sni` the name to ask for and to verify."""

    ca: str = ""
    cert: str = ""
    sni: str = ""
    verify: bool = True


@attrs.frozen
class SSHSettings:
    """
    The login at an ``ssh`` hop, and whom to take it for.

    `key` is the file of the one key to offer, encrypted by `passphrase` or not; without it those of the agent are
    offered, if `agent` allows it, and OpenSSH's default files. `known_hosts` is the file of host keys, in place of
    OpenSSH's.
    """

    key: str = ""
    passphrase: Secret | None = None
    known_hosts: str = ""
    agent: bool = True


@attrs.frozen
class HopSettings:
    """One hop: `scheme` is socks5, socks5h, socks4, socks4a, http, https or ssh."""

    scheme: str
    address: Destination
    login: Login | None = None
    tls: TLSSettings | None = None
    ssh: SSHSettings | None = None


@attrs.frozen
class ChainSettings:
    """
    A chain's hops in order; none is ``direct``. `name` is what the journal and the errors call it.

    `tier` is where it stands in its group: those of a lower number are tried first, and all of them.
    """

    hops: tuple[HopSettings, ...] = ()
    name: str = ""
    tier: int = 1


STRATEGIES: Final = {
    "order": "as they are listed",
    "round-robin": "each session begins with the next one",
    "least-tunnels": "the one with the fewest open tunnels first",
    "fastest": "the one that connects fastest, until another is more than 20 % and 30 ms better",
    "sticky": "the same one for the same destination",
}
"""Every strategy of a group, and in which order it asks the chains of a tier."""
