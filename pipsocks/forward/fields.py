"""Which fields a proxy passes on, which it drops and which it adds (RFC 9110, sections 7.6 and 11.7)."""

from __future__ import annotations

import base64
from typing import Final

from pipsocks.model import Login
from pipsocks.wire.gate import RequestHead, ResponseHead
from pipsocks.wire.target import AbsoluteTarget

Fields = tuple[tuple[bytes, bytes], ...]

_HOP_BY_HOP: Final = frozenset(
    b"""
    connection keep-alive proxy-authenticate proxy-authentication-info proxy-authorization proxy-connection
    te transfer-encoding upgrade
    """.split()
)


def requestFields(
    head: RequestHead, target: AbsoluteTarget, *, via: bool, hopLogin: Login | None = None
) -> list[tuple[bytes, bytes]]:
    """
    The fields to send a request on with: Host from the target, the framing anew, and none of the client's own hop.

    @param via: whether to say that the request came through here.
    @param hopLogin: the credentials for an HTTP proxy that the request goes to.
    """
    fields = [(b"Host", target.authority)]
    fields += _endToEnd(head.fields, head.all(b"connection"), also=(b"host", b"content-length"))
    if head.version == b"1.0":
        fields = [field for field in fields if field[0].lower() != b"expect"]  # RFC 9110, section 10.1.1
    if head.chunked:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif head.length is not None:
        fields.append((b"Content-Length", b"%d" % head.length))
    if via:
        fields.append((b"Via", head.version + b" pipsocks"))
    if hopLogin is not None:
        fields.append((b"Proxy-Authorization", basic(hopLogin)))
    if not head.keepAlive:
        fields.append((b"Connection", b"close"))  # the client's connection ends, and the origin's with it
    return fields


def responseFields(head: ResponseHead, *, via: bool) -> Fields:
    """The fields to send a response on with. Its length stays; chunks are made anew for the client."""
    fields = _endToEnd(head.fields, head.all(b"connection"), also=(b"content-length",))
    if head.length is not None:
        fields.append((b"Content-Length", b"%d" % head.length))
    if via:
        fields.append((b"Via", head.version + b" pipsocks"))
    return tuple(fields)


def basic(login: Login) -> bytes:
    """The value of a field with Basic credentials (RFC 7617), in UTF-8."""
    return b"Basic " + base64.b64encode(f"{login.user}:{login.password.reveal()}".encode())


def _endToEnd(fields: Fields, connection: list[bytes], also: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    named = {option.strip(b" \t") for value in connection for option in value.lower().split(b",")}
    dropped = _HOP_BY_HOP.union(named, also)
    return [field for field in fields if field[0].lower() not in dropped]
