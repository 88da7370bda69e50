"""
Chains for other programs: client endpoints that connect through upstream proxies.

`chainEndpoint` takes a chain as its text; ``pipsocks:HOST:PORT:chain=CHAIN`` is the same as an endpoint description
for `twisted.internet.endpoints.clientFromString`. The hops themselves are `SocksHop` and `HTTPHop`: ``over`` puts one
around any endpoint. All of them fail with `Refusal`, whose text says which hop failed and how. See
``docs/endpoints.rst``.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from pipsocks.config.expand import Secrets
from pipsocks.model import Destination, Login, Secret
from pipsocks.refusal import Refusal
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.hop import HTTPHop, SocksHop
from pipsocks.upstream.parse import parseChain
from pipsocks.upstream.tls import clientTLS
from pipsocks.wire.names import NameInvalid, parseHost, parsePort

__all__ = [
    "Destination",
    "HTTPHop",
    "Login",
    "Network",
    "Refusal",
    "Secret",
    "SocksHop",
    "chainEndpoint",
    "clientTLS",
    "parse",
]


def chainEndpoint(reactor: Any, chain: str, host: str, port: int) -> IStreamClientEndpoint:
    """
    The way to a destination through a chain.

    Its `connect` fails with `Refusal`. Names are looked up at the last hop, unless that is ``socks5`` or ``socks4``;
    a protocol with an attribute ``bound`` has it set to the address that a last SOCKS hop bound.

    @param chain: ``direct``, or hops as ``--upstream`` takes them: ``socks5h://USER:PASSWORD@HOST:PORT,…``. A user or
        password may be ``${file:PATH}``, ``${env:NAME}`` or ``${credential:NAME}``.
    @param host: a name or an address, IPv6 without brackets.
    @raise ValueError: the chain, the host or the port is invalid; the text has no secrets in it.
    """
    try:
        # By its text, which is checked by octets: whatever else int() takes is no port.
        destination = Destination(parseHost(host.encode()), parsePort(str(port).encode()))
    except NameInvalid as invalid:
        raise ValueError(f"pipsocks: {invalid}") from None
    return Chain(parseChain(chain, Secrets(os.environ).expand), Network(reactor)).connect(destination)


def parse(reactor: Any, host: str = "", port: str = "", **options: str) -> IStreamClientEndpoint:
    """
    What ``pipsocks:HOST:PORT:chain=CHAIN`` describes. Colons in HOST and CHAIN are written ``\\:``.

    @raise ValueError: something is missing, unknown or invalid.
    """
    chain = options.pop("chain", "")
    if options:
        raise ValueError(f"pipsocks: unknown: {', '.join(sorted(options))}; there is chain=")
    if not host or not port or not chain:
        raise ValueError("pipsocks: write pipsocks:HOST:PORT:chain=CHAIN, colons in HOST and CHAIN as \\:")
    try:
        number = parsePort(port.encode())
    except NameInvalid as invalid:
        raise ValueError(f"pipsocks: {invalid}") from None
    return chainEndpoint(reactor, chain, host, number)
