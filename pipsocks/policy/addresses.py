"""Addresses as the guard sees them: the class that each is of, and the IPv4 address that hides in an IPv6 one."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from pipsocks.model import Address
from pipsocks.policy.settings import CLASSES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK, LINK_LOCAL, PRIVATE, CGNAT, MULTICAST, RESERVED = CLASSES

# The special-purpose registries (RFC 6890 and what IANA added since). The first that fits counts.
_NETWORKS: Final = tuple(
    (ipaddress.ip_network(network), name)
    for name, networks in (
        (LOOPBACK, "127.0.0.0/8 ::1/128"),
        (LINK_LOCAL, "169.254.0.0/16 fe80::/10"),
        (PRIVATE, "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
        (CGNAT, "100.64.0.0/10"),
        (MULTICAST, "224.0.0.0/4 ff00::/8"),
        (RESERVED, "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15 198.51.100.0/24"),
        (RESERVED, "203.0.113.0/24 240.0.0.0/4 2001::/23 2001:db8::/32 3fff::/20"),
    )
    for network in networks.split()
)
_GLOBAL6: Final = ipaddress.IPv6Network("2000::/3")  # all that IANA gives out: whatever else there is, is reserved
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052, section 2.1
_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")  # RFC 4291, section 2.5.5.1


@lru_cache(1024)
def parsed(text: str) -> Address:
    """
    The address that `text` is; a zone, which means nothing elsewhere, is left away.

    @raise ValueError: it is none.
    """
    return ipaddress.ip_address(text.partition("%")[0])


@lru_cache(1024)
def meant(address: Address) -> Address:
    """
    The address where a connection to `address` ends.

    IPv4 inside IPv6 is that IPv4: mapped, compatible, NAT64, 6to4, Teredo (the client's). The unspecified address
    is this machine: Linux connects to it by loopback.
    """
    if isinstance(address, ipaddress.IPv6Address):
        # By the number: since Python 3.13 a mapped address has the properties of the one within.
        if int(address) in (0, 1):
            return ipaddress.IPv6Address("::1")
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and address.teredo is not None:
            inside = address.teredo[1]
        if inside is None and (address in _NAT64 or address in _COMPATIBLE):
            inside = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inside is None:
            return address
        address = inside
    return ipaddress.IPv4Address("127.0.0.1") if address.is_unspecified else address


@lru_cache(1024)
def classOf(address: Address) -> str:
    """The class of an address that is `meant`: one of `CLASSES`, or nothing for a public one."""
    for network, name in _NETWORKS:
        if address.version == network.version and address in network:
            return name
    return RESERVED if address.version == 6 and address not in _GLOBAL6 else ""
