"""Requests that end at the proxy: Max-Forwards, OPTIONS and TRACE (RFC 9110, sections 7.6.2, 9.3.7 and 9.3.8)."""

from __future__ import annotations

import re
from typing import Final

import attrs

from pipsocks.refusal import Refusal
from pipsocks.wire.gate import RequestHead

_COUNT: Final = re.compile(rb"[0-9]{1,18}")
_COUNTED: Final = frozenset({b"OPTIONS", b"TRACE"})


def passedOn(head: RequestHead) -> RequestHead | None:
    """
    The request as it goes on, with one forwarding fewer to go where it counts them; None for an OPTIONS that ends here.

    OPTIONS and TRACE alone count. Either ends here where it asks the proxy itself.

    @raise Refusal: it is a TRACE that ends here, which would show its sender's credentials to whoever reads the answer;
        or a TRACE with content, or its count is no number.
    """
    if head.method not in _COUNTED:
        return head
    if head.method == b"TRACE" and head.hasBody:
        raise Refusal("PS-RQ01", detail="TRACE with content")
    counts = head.all(b"max-forwards")
    if len(counts) > 1 or not all(map(_COUNT.fullmatch, counts)):
        raise Refusal("PS-RQ01", detail="bad Max-Forwards")
    left = int(counts[0]) if counts else None
    asksUs = head.target == b"*" if head.method == b"OPTIONS" else head.target.startswith(b"/")
    if left == 0 or asksUs:
        if head.method == b"TRACE":
            raise Refusal("PS-RQ08", detail="TRACE of the proxy itself")
        return None
    if left is None:
        return head
    fields = tuple(
        (name, b"%d" % (left - 1) if name.lower() == b"max-forwards" else each) for name, each in head.fields
    )
    return attrs.evolve(head, fields=fields)
