"""What the configuration says of upstreams: a chain is one string, hops left to right, comma-separated."""

from __future__ import annotations

import attrs

from pipsocks.model import Destination, Login


@attrs.frozen
class TLSSettings:
    """TLS to an ``https`` hop. `ca`, `cert` are PEM files; `sni` the name to ask for and to verify."""

    ca: str = ""
    cert: str = ""
    sni: str = ""
    verify: bool = True


@attrs.frozen
class HopSettings:
    """One hop: `scheme` is socks5, socks5h, socks4, socks4a, http or https."""

    scheme: str
    address: Destination
    login: Login | None = None
    tls: TLSSettings | None = None


@attrs.frozen
class ChainSettings:
    """A chain's hops in order; none is ``direct``. `name` is what the journal and the errors call it."""

    hops: tuple[HopSettings, ...] = ()
    name: str = ""
