"""Basic credentials out of a request's head (RFC 7617)."""

from __future__ import annotations

import base64
import re
from typing import Final

from pipsocks.refusal import Refusal

_BASE64: Final = rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
_BASIC: Final = re.compile(rb"(?i:basic) +(%b)" % _BASE64)


def basicCredentials(values: list[bytes]) -> tuple[bytes, bytes]:
    """
    The user and the password of the ``Proxy-Authorization`` fields `values`, split at the first colon.

    Our challenge asks for UTF-8 (RFC 7617, section 2.1). urllib3, and so pip, sends Latin-1 all the same: octets that
    are no UTF-8 are taken for that, and given back in UTF-8.

    @raise Refusal: PS-AU01 where there are none of a scheme that is spoken here, PS-AU02 where they are malformed.
    """
    if not values or not values[0][:5].lower() == b"basic":
        raise Refusal("PS-AU01")
    match = _BASIC.fullmatch(values[0])
    if match is None or len(values) > 1:
        raise Refusal("PS-AU02")
    octets = base64.b64decode(match[1])
    try:
        octets.decode("utf-8")
    except UnicodeDecodeError:
        octets = octets.decode("latin-1").encode("utf-8")
    user, colon, password = octets.partition(b":")
    if not colon:
        raise Refusal("PS-AU02")
    return user, password
