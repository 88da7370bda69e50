"""
What both sides of SOCKS share: the numbers, and the address field (RFC 1928; SOCKS 4 and 4a by their memos).

The address field is ATYP, the address, and the port, in requests and in replies alike.
"""

from __future__ import annotations

import socket
from typing import Final

import attrs

from pipsocks.wire.names import NAME_LIMIT, NameInvalid, parseHost

VERSION_4: Final = 4
VERSION_5: Final = 5

CONNECT: Final = 1
BIND: Final = 2
UDP_ASSOCIATE: Final = 3

# Methods (RFC 1928, section 3), and the version of the login that method 2 leads to (RFC 1929, section 2).
METHOD_NONE: Final = 0
METHOD_LOGIN: Final = 2
METHOD_REFUSED: Final = 0xFF
LOGIN_VERSION: Final = 1

# Address types (RFC 1928, section 5).
ATYP_IPV4: Final = 1
ATYP_NAME: Final = 3
ATYP_IPV6: Final = 4

# Replies (RFC 1928, section 6).
SUCCEEDED: Final = 0
GENERAL_FAILURE: Final = 1
NOT_ALLOWED: Final = 2
NETWORK_UNREACHABLE: Final = 3
HOST_UNREACHABLE: Final = 4
REFUSED: Final = 5
TTL_EXPIRED: Final = 6
COMMAND_UNSUPPORTED: Final = 7
ATYP_UNSUPPORTED: Final = 8

GRANTED_4: Final = 0x5A
REJECTED_4: Final = 0x5B

_WIDTH: Final = {ATYP_IPV4: 4, ATYP_IPV6: 16}


class AddressTypeUnknown(ValueError):
    """The ATYP octet is none of RFC 1928, so that nobody knows how long the address is."""


@attrs.frozen
class Address:
    """An address field as it was read; `raw` is the packed address or the name, `end` the offset behind the field."""

    kind: int
    raw: bytes
    port: int
    end: int

    @property
    def host(self) -> str:
        """
        The canonical text; a name that spells an address is that address.

        @raise NameInvalid: it is no name that anything could be called by.
        """
        if self.kind == ATYP_IPV4:
            return socket.inet_ntop(socket.AF_INET, self.raw)
        if self.kind == ATYP_IPV6:
            return socket.inet_ntop(socket.AF_INET6, self.raw)
        return parseHost(self.raw)


def decodeAddress(data: bytes | bytearray, offset: int = 0) -> Address | None:
    """
    Read the address field that begins at `offset`; None while it is not whole.

    @raise AddressTypeUnknown: as soon as the ATYP octet is there.
    """
    if len(data) <= offset:
        return None
    kind = data[offset]
    start = offset + 1
    if kind == ATYP_NAME:
        if len(data) <= start:
            return None
        width = data[start]
        start += 1
    else:
        width = _WIDTH.get(kind, -1)
        if width < 0:
            raise AddressTypeUnknown(f"address type {kind}")
    end = start + width
    if len(data) < end + 2:
        return None
    return Address(kind, bytes(data[start:end]), int.from_bytes(data[end : end + 2], "big"), end + 2)


def packHost(host: str) -> tuple[int, bytes]:
    """
    The address type of a canonical host (see `pipsocks.wire.names`) and its octets, without a length.

    @raise NameInvalid: the text is not canonical: not ASCII, no length that fits, an address spelt otherwise.
    """
    try:
        if ":" in host:
            return ATYP_IPV6, socket.inet_pton(socket.AF_INET6, host)
        # No name ends in a number, see names.
        if host.rpartition(".")[2].isdecimal():
            return ATYP_IPV4, socket.inet_pton(socket.AF_INET, host)
        raw = host.encode("ascii")
    except (OSError, ValueError):
        raise NameInvalid("not a canonical host") from None
    if not 1 <= len(raw) <= NAME_LIMIT:
        raise NameInvalid("host name empty or too long")
    return ATYP_NAME, raw


def encodeAddress(host: str, port: int) -> bytes:
    """
    Write the address field of a canonical host.

    @raise NameInvalid: see `packHost`.
    """
    kind, raw = packHost(host)
    length = bytes([len(raw)]) if kind == ATYP_NAME else b""
    return bytes([kind]) + length + raw + port.to_bytes(2, "big")
