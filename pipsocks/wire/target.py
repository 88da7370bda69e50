"""Request targets that name where to go: the authority of a CONNECT and the absolute URL of a forwarded request."""

from __future__ import annotations

import re
from typing import Final

import attrs

from pipsocks.wire.names import NameInvalid, parseHost, parsePort

_PORTS: Final = {b"http": 80, b"https": 443}
_URL: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+)://([^/?#]*+)([!-~\x80-\xff]*+)")
_NO_AUTHORITY: Final = re.compile(rb"[/?#\\@\x00-\x20\x7f]")
_HIGH: Final = re.compile(rb"%([89A-Fa-f][0-9A-Fa-f])")


class TargetError(ValueError):
    """The target names nowhere. The text is short and ASCII and has nothing of the target in it."""


@attrs.frozen
class AbsoluteTarget:
    """
    An absolute URL, taken apart.

    `scheme` is ``http`` or ``https``, `host` canonical, `authority` what the field Host must say: the canonical host
    and the port where one was given (RFC 9112, 3.2.2). `path` is the target in origin-form, ``*`` for an OPTIONS
    whose URL has neither path nor query (RFC 9112, 3.2.4).
    """

    scheme: str
    host: str
    port: int
    authority: bytes
    path: bytes


def parseAuthority(raw: bytes) -> tuple[str, int]:
    """
    The host and port of ``host:port``, the target of a CONNECT (RFC 9112, 3.2.3).

    An IPv6 address may lack its brackets, as in httpx's ``::1:443``: the last colon is the port's.

    @raise TargetError: anything else: no port, user info, a path, a URL.
    """
    host, colon, port = _plain(raw).rpartition(b":")
    if not colon:
        raise TargetError("no port in the target")
    return _host(host, bare=True), _port(port)


def parseAbsolute(raw: bytes, method: bytes = b"GET") -> AbsoluteTarget:
    """
    The parts of a URL, the target of a request to a proxy (RFC 9112, 3.2.2).

    @param method: OPTIONS has a form of its own for the whole server.
    @raise TargetError: not in absolute-form, another scheme than http and https, no host, user info, a fragment, or a
        port out of range.
    """
    match = _URL.fullmatch(raw)
    if match is None:
        raise TargetError("not an absolute URL")
    scheme = match[1].lower()
    default = _PORTS.get(scheme)
    if default is None:
        raise TargetError("a scheme other than http; use CONNECT")
    name, _, digits = authority = _plain(match[2]).rpartition(b":")
    if authority[1] == b"" or digits.endswith(b"]"):
        name, digits = match[2], b""
    host = _host(name, bare=False)
    port = _port(digits) if digits else default
    path = match[3]
    if b"#" in path:
        raise TargetError("a fragment in the target")
    if not path:
        path = b"*" if method == b"OPTIONS" else b"/"
    elif path.startswith(b"?"):
        path = b"/" + path
    shown = f"[{host}]" if ":" in host else host
    return AbsoluteTarget(
        scheme.decode("ascii"), host, port, (f"{shown}:{port}" if digits else shown).encode("ascii"), path
    )


def _plain(raw: bytes) -> bytes:
    if b"@" in raw:
        raise TargetError("user info in the target")
    if _NO_AUTHORITY.search(raw):
        raise TargetError("no host and port alone")
    return raw


def _host(raw: bytes, *, bare: bool) -> str:
    """The canonical host; IPv6, and nothing else, stands in brackets, or where it may be `bare` without them."""
    bracketed = raw.startswith(b"[") and raw.endswith(b"]")
    if bracketed:
        raw = raw[1:-1]
    if bracketed != (b":" in raw) and (bracketed or not bare):
        raise TargetError("bad brackets in the host")
    try:
        # Octets beyond ASCII arrive percent-encoded (RFC 3986, 3.2.2), by the client or by the gate.
        return parseHost(_HIGH.sub(lambda high: bytes.fromhex(high[1].decode("ascii")), raw))
    except NameInvalid as error:
        raise TargetError(str(error)) from None


def _port(raw: bytes) -> int:
    try:
        return parsePort(raw)
    except NameInvalid as error:
        raise TargetError(str(error)) from None
