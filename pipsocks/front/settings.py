"""What the configuration says of a listener, and what its endpoint description tells before anything is bound."""

from __future__ import annotations

import ipaddress
import re

import attrs

from pipsocks.model import Problem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@attrs.frozen
class ListenerSettings:
    """
    One listening port.

    `protocol` is ``socks`` or ``http``; `endpoint` a Twisted endpoint description, short forms already turned
    into ``tcp:PORT:interface=HOST``; `source` where it was written (``--socks``, ``FILE: listener[0].socks``), for
    error messages, as `authSource` is for `auth`, which holds checker descriptions as ``--auth`` takes them.
    `udpAdvertise` is the address that clients are told to send datagrams to, where it is not the one they reached us
    at; `udpPorts` the ports that they may be received on, 0 for any.
    """

    protocol: str
    endpoint: str
    auth: tuple[str, ...] = attrs.field(default=(), repr=False)  # a description may hold passwords
    clients: tuple[Network, ...] = ()
    strict: bool = False
    source: str = ""
    authSource: str = ""
    udpAdvertise: str = ""
    udpPorts: range = range(1)

    def isGuarded(self, host: str) -> bool:
        """Whether not everybody can use it when it is bound to the address `host`: no open proxy by accident."""
        return bool(self.auth or self.clients) or isLoopback(host)

    def openProxyProblem(self, address: str) -> Problem:
        """What to say of one that is not guarded."""
        return Problem(
            f"{address} would be an open proxy: anybody who reaches it could use it",
            self.source,
            "require a login (--auth htpasswd:FILE), name the clients' networks (--clients 192.0.2.0/24), "
            "or listen on 127.0.0.1",
        )


def place(endpoint: str) -> tuple[str, int] | None:
    """
    The interface and the port that a ``tcp:``, ``tcp6:`` or ``ssl:`` description names.

    An interface that it leaves out is the one of all addresses, ``0.0.0.0`` or ``::``. None for other
    descriptions, which are known only once they are bound.
    """
    kind, *fields = re.findall(r"((?:[^:\\]|\\.)*)(?::|$)", endpoint, re.DOTALL)[:-1] or [""]
    if kind not in ("tcp", "tcp6", "ssl"):
        return None
    texts = [re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL) for field in fields]
    named = dict(text.split("=", 1) for text in texts if "=" in text)
    plain = [text for text in texts if "=" not in text]
    port = named.get("port", plain[0] if plain else "")
    if not re.fullmatch(r"[0-9]{1,5}", port):
        return None
    positional = plain[1] if kind == "tcp" and len(plain) > 1 else ""
    return named.get("interface", positional) or ("::" if kind == "tcp6" else "0.0.0.0"), int(port)


def isLoopback(host: str) -> bool:
    """Whether only this machine can reach `host`, an address; of names, only ``localhost`` is known to be so."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
