"""
Hosts and ports as clients and configurations write them, turned into one canonical text.

Rules, tables and dialling compare text, so each host has one spelling after this: a name is lower-case ASCII without
the root's trailing dot; an address is what ``inet_ntop`` prints. What looks like an address is one: whatever
``inet_aton`` reads (``127.1``, ``0x7f.1``, ``0177.1``, ``2130706433``) must not slip past as a name that a resolver
would then read as an address, so a name whose last label is a number is an address or invalid (WHATWG URL, 3.5).

U-labels are mapped and encoded here, label by label, with `unicodedata` and the ``punycode`` codec. Python's ``idna``
codec is IDNA 2003 on Unicode 3.2: it would send ``faß.example`` to the host ``fass.example``, and it refuses
names that exist (``foo_bar`` and ``r2---sn-x`` do). This is the mapping of UTS 46, non-transitional, as browsers and
curl have it, without its tables: lower case and NFKC, ideographic full stops, the ignored code points; code points
that no name may have (controls, spaces, unassigned, joiners) are refused. Labels that are ASCII already are not judged.
"""

from __future__ import annotations

import re
import socket
import unicodedata
from typing import Final

NAME_LIMIT: Final = 255
"""Octets of a name: what a SOCKS length octet can say."""

LABEL_LIMIT: Final = 63
"""Octets of a label (RFC 1035, section 2.3.4)."""


class NameInvalid(ValueError):
    """The bytes are no host, or no port. The text is short and ASCII and has nothing of the bytes in it."""


# Nearly every name is this: checked and taken with one match.
_PLAIN: Final = re.compile(
    rb"(?!.{256})(?!(?:[^.]*\.)*(?:[0-9]+|0x[0-9a-f]*)\.?\Z)((?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63})\.?",
    re.IGNORECASE | re.DOTALL,
)
_DOTTED: Final = re.compile(rb"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}")
_LABEL: Final = re.compile(r"[a-z0-9_-]+", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_IPV6: Final = re.compile(rb"[0-9a-f:.]{2,45}", re.IGNORECASE)
_PORT: Final = re.compile(rb"[0-9]{1,5}")

# UTS 46, "ignored": a name is the same with and without them.
_IGNORED: Final = dict.fromkeys((0xAD, 0x200B, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)))


def parseHost(raw: bytes) -> str:
    """
    The canonical text of a host: a name in A-labels, or an address.

    @param raw: 1 to 255 octets: a name (ASCII or UTF-8), an IPv4 address in any spelling that ``inet_aton`` takes, or
        an IPv6 address without brackets and without a zone.
    @raise NameInvalid: it is none of these.
    """
    plain = _PLAIN.fullmatch(raw)
    if plain is not None:
        return plain[1].decode("ascii").lower()
    if _DOTTED.fullmatch(raw):
        return raw.decode("ascii")
    if not raw:
        raise NameInvalid("empty host name")
    if len(raw) > NAME_LIMIT:
        raise NameInvalid("host name too long")
    if b":" in raw:
        return _parseIPv6(raw)
    if raw.isascii():
        labels = raw.decode("ascii").lower().removesuffix(".").split(".")
    else:
        labels = [_toALabel(label) for label in _mapped(raw).removesuffix(".").split(".")]
    for label in labels:
        if not label:
            raise NameInvalid("empty label in host name")
        if len(label) > LABEL_LIMIT:
            raise NameInvalid("label over 63 octets in host name")
        if not _LABEL.fullmatch(label):
            raise NameInvalid("bad character in host name")
    if _NUMBER.fullmatch(labels[-1]):
        return _parseIPv4(labels)
    name = ".".join(labels)
    if len(name) > NAME_LIMIT:
        raise NameInvalid("host name too long")
    return name


def parsePort(raw: bytes) -> int:
    """
    The port that one to five ASCII digits name.

    @raise NameInvalid: anything else, and what is not from 1 to 65535.
    """
    port = int(raw) if _PORT.fullmatch(raw) else 0
    if not 1 <= port <= 65_535:
        raise NameInvalid("no port from 1 to 65535")
    return port


def _parseIPv6(raw: bytes) -> str:
    try:
        if _IPV6.fullmatch(raw):
            # inet_ntop, not ipaddress: the latter prints ::ffff:192.0.2.1 in two ways, before Python 3.13 and since.
            return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, raw.decode("ascii")))
    except OSError:
        pass
    raise NameInvalid("bad IPv6 address")


def _parseIPv4(parts: list[str]) -> str:
    """Read the parts as ``inet_aton`` does: decimal, octal or hexadecimal, the last one filling what is left."""
    numbers = [_parseNumber(part) for part in parts]
    rest = 5 - len(numbers)
    if rest < 1 or any(number > 255 for number in numbers[:-1]) or numbers[-1] >= 256**rest:
        raise NameInvalid("bad IPv4 address")
    leading = bytes(numbers[:-1])
    return socket.inet_ntop(socket.AF_INET, leading + numbers[-1].to_bytes(rest, "big"))


def _parseNumber(part: str) -> int:
    if _NUMBER.fullmatch(part):
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)  # a bare 0x is 0 for browsers
        if not part.startswith("0"):
            return int(part)
        if not {"8", "9"}.intersection(part):
            return int(part, 8)
    raise NameInvalid("bad IPv4 address")


def _mapped(raw: bytes) -> str:
    """Decode and map a name with U-labels; what it means does not change with its case or its width."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NameInvalid("host name neither ASCII nor UTF-8") from None
    text = unicodedata.normalize("NFKC", text.translate(_IGNORED))
    # By the letter: str.lower() turns a last capital sigma of a word into the final one, which is another letter.
    text = unicodedata.normalize("NFKC", "".join(map(str.lower, text)))
    return text.replace("\u3002", ".")


def _toALabel(label: str) -> str:
    if label.isascii():
        return label
    categories = [unicodedata.category(character)[0] for character in label]
    if "C" in categories or "Z" in categories or categories[0] == "M" or label.startswith("xn--"):
        raise NameInvalid("bad character in host name")
    if not _LABEL.fullmatch("".join(character for character in label if character.isascii()) or "-"):
        raise NameInvalid("bad character in host name")
    return "xn--" + label.encode("punycode").decode("ascii")
