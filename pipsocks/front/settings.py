"""What the configuration says of a listener."""

from __future__ import annotations

import ipaddress

import attrs

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
