"""How a proxy answers a request, in SOCKS and in HTTP."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import attrs

from pipsocks.wire.socks import GENERAL_FAILURE, NOT_ALLOWED, REFUSED, SUCCEEDED
from pipsocks.wire.socksserver import replyBytes

PAGE: Final = b"<html><head><title>Sign in to this network</title></head><body>Please sign in.</body></html>\n"
"""What a captive portal says to everything."""

PORTAL: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
    len(PAGE),
    PAGE,
)


@attrs.frozen
class Words:
    """How a request is answered: granted, not reached, and refused by a SOCKS reply or by an HTTP status."""

    granted: bytes
    unreached: bytes
    reply: Callable[[int], bytes]
    status: Callable[[str], bytes]


def withReason(status: str) -> str:
    """
    The status of a response, with its standard reason where `status` has none.

    The blank behind the number stays where there is no such reason either (RFC 9112, section 4).
    """
    code, _, reason = status.partition(" ")
    if not reason:
        with contextlib.suppress(ValueError):
            reason = HTTPStatus(int(code)).phrase
    return f"{code} {reason}"


def failure(status: bytes, *fields: bytes) -> bytes:
    """An HTTP response without a body that ends the connection."""
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"Content-Length: 0", b"Connection: close", b"", b""])


def socksWords(version: int) -> Words:
    """Those of SOCKS 5 or 4, which has one word for every failure."""

    def reply(code: int) -> bytes:
        return replyBytes(version, code)

    def status(text: str) -> bytes:
        return reply(NOT_ALLOWED if text.startswith("403") else GENERAL_FAILURE)

    return Words(reply(SUCCEEDED), reply(REFUSED), reply, status)


def httpWords(granted: bytes) -> Words:
    """Those of HTTP; nothing is said of a plain request that is granted, since the origin's answer follows."""

    def reply(code: int) -> bytes:
        return failure(b"403 Forbidden" if code == NOT_ALLOWED else b"502 Bad Gateway")

    return Words(granted, failure(b"502 Bad Gateway"), reply, lambda text: failure(withReason(text).encode()))
