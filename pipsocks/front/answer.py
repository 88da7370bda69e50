"""A refusal in HTTP's words: the status line that users see, and a body for a person (behaviour, section 3)."""

from __future__ import annotations

from typing import Final

from pipsocks.refusal import Refusal, clip

_CHALLENGE: Final = 'Proxy-Authenticate: Basic realm="pipsocks", charset="UTF-8"'  # RFC 7617
_RETRY_AFTER: Final = {429: 1, 503: 2}
"""Seconds. A destination is remembered as failing for 2 (behaviour, section 5), so an earlier try is no real one."""
_DETAILS_LIMIT: Final = 160
ALLOW: Final = b"CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE"
"""What methods there are: all are carried out by forwarding, so these are the known ones (RFC 9110, section 10.2.1)."""


def answerBytes(refusal: Refusal, keepAlive: bool = False, bodyless: bool = False) -> bytes:
    """
    The whole response to a request that is refused.

    The reason phrase is the only text of a proxy that users of most clients ever see. Nothing in the answer is the
    client's unescaped: `Refusal` sees to that.

    @param keepAlive: whether another request may follow on the connection; without it the response says ``close``.
    @param bodyless: the request was a HEAD: fields as for a GET, and no content.
    """
    body = refusal.text.encode("ascii", "backslashreplace")
    status = refusal.slug.status
    fields = [
        f"HTTP/1.1 {status} {refusal.reason}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        f"Proxy-Status: {_proxyStatus(refusal)}",
    ]
    if status == 407:
        fields.append(_CHALLENGE)
    if status == 405:
        fields.append(f"Allow: {ALLOW.decode()}")
    if status in _RETRY_AFTER:
        fields.append(f"Retry-After: {_RETRY_AFTER[status]}")
    if not keepAlive:
        fields.append("Connection: close")
    head = "\r\n".join(fields).encode("ascii") + b"\r\n\r\n"
    return head if bodyless else head + body


def _proxyStatus(refusal: Refusal) -> str:
    """The field of RFC 9209, section 2: a token where the registry has one that fits, and a quoted string."""
    error = f"; error={refusal.slug.error}" if refusal.slug.error else ""
    details = clip(str(refusal), _DETAILS_LIMIT).replace("\\", "\\\\").replace('"', '\\"')
    return f'pipsocks{error}; details="{details}"'
