"""Which fields a proxy passes on, which it drops and which it adds (RFC 9110, sections 7.6 and 11.7)."""

from __future__ import annotations

import base64
from typing import Final

from pipsocks.model import Login
from pipsocks.wire.gate import RequestHead, ResponseHead
from pipsocks.wire.http import listed
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

    Of what a client says for its own hop, two things are said anew for the next one: that trailers are welcome, since
    they are passed on, and the wish for a WebSocket. Every other Upgrade is dropped, h2c above all.

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
    options = []
    if head.version == b"1.1" and any(each.partition(b";")[0] == b"trailers" for each in listed(head.all(b"te"))):
        fields.append((b"TE", b"trailers"))
        options.append(b"TE")
    if wantsWebSocket(head):
        fields.append((b"Upgrade", b"websocket"))
        options.append(b"Upgrade")
    if not head.keepAlive:
        options.append(b"close")  # the client's connection ends, and the origin's with it
    if options:
        fields.append((b"Connection", b", ".join(options)))
    return fields


def wantsWebSocket(head: RequestHead) -> bool:
    """
    Whether the request may turn its connection into a WebSocket: a GET without content (RFC 6455, section 4.1).

    Its Connection must name the Upgrade, or it was for another hop (RFC 9110, section 7.8).
    """
    return (
        head.method == b"GET"
        and head.keepAlive
        and not head.hasBody
        and b"upgrade" in listed(head.all(b"connection"))
        and b"websocket" in listed(head.all(b"upgrade"))
    )


def responseFields(head: ResponseHead, *, via: bool) -> Fields:
    """
    The fields to send a response on with. Its length stays; chunks are made anew for the client.

    Of a 101, which can be a WebSocket's alone, the switch is said anew for the client's hop.
    """
    fields = _endToEnd(head.fields, head.all(b"connection"), also=(b"content-length",))
    if head.length is not None:
        fields.append((b"Content-Length", b"%d" % head.length))
    if head.status == 101:
        fields += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
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
