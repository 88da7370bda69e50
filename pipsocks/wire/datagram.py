"""
The header that each datagram of a SOCKS 5 association carries (RFC 1928, section 7), both ways.

Two reserved octets, FRAG, an address field, the data. Fragments are not put together: the RFC leaves that open, and
wants them dropped then. The reserved octets are not judged, as in requests.
"""

from __future__ import annotations

from typing import Final

import attrs

from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socks import AddressTypeUnknown, decodeAddress, encodeAddress

_WHOLE: Final = bytes(3)
"""RSV, and FRAG for a datagram that stands alone."""


class DatagramInvalid(ValueError):
    """It is to be dropped. The text is short and ASCII and has nothing of the datagram in it."""


@attrs.frozen
class Datagram:
    """What is sent: `host` is canonical (see `pipsocks.wire.names`), from a client or to one, `port` not 0."""

    host: str
    port: int
    data: bytes = attrs.field(repr=False)


def decodeDatagram(raw: bytes) -> Datagram:
    """
    Read a datagram with its header.

    @raise DatagramInvalid: it is short, a fragment, or has no address that anything could be sent to.
    """
    if len(raw) > 2 and raw[2]:
        raise DatagramInvalid("a fragment")
    try:
        address = decodeAddress(raw, len(_WHOLE))
        if address is None:
            raise DatagramInvalid("a header that is not whole")
        if not address.port:
            raise DatagramInvalid("port 0")
        return Datagram(address.host, address.port, raw[address.end :])
    except (AddressTypeUnknown, NameInvalid) as error:
        raise DatagramInvalid(str(error)) from None


def encodeDatagram(host: str, port: int, data: bytes) -> bytes:
    """
    Write a datagram with its header.

    @raise NameInvalid: `host` is not canonical.
    """
    return _WHOLE + encodeAddress(host, port) + data
