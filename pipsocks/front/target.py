"""Where a request is to go: what its target says, or why it says nothing that a proxy can do."""

from __future__ import annotations

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import RequestHead
from pipsocks.wire.target import AbsoluteTarget, TargetError, parseAbsolute, parseAuthority


def connectTarget(head: RequestHead) -> Destination:
    """
    Where the tunnel of a CONNECT is to end. Its Host is of no matter.

    @raise Refusal: PS-RQ10.
    """
    try:
        return Destination(*parseAuthority(head.target))
    except TargetError as error:
        raise Refusal("PS-RQ10", detail=str(error)) from None


def absoluteTarget(head: RequestHead) -> AbsoluteTarget:
    """
    Where a request that is no CONNECT is to go.

    @raise Refusal: it is not of the form that a proxy forwards (RFC 9112, section 3.2.2), or not of the scheme.
    """
    if head.target.startswith(b"/") or head.target == b"*":
        raise Refusal("PS-RQ02", detail="not a web server; set http_proxy and https_proxy to it")
    try:
        target = parseAbsolute(head.target, head.method)
    except TargetError as error:
        raise Refusal("PS-RQ10", detail=str(error)) from None
    if target.scheme != "http":
        raise Refusal("PS-RQ02", detail="and https:// URLs need CONNECT")
    return target
