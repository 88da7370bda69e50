"""What is asked of an origin: a client's request, or what is still missing of its answer."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import h11

from pipsocks.forward.fields import requestFields
from pipsocks.forward.seam import Exchange
from pipsocks.gateway.seam import Chain
from pipsocks.wire.flight import isPlain
from pipsocks.wire.gate import RequestHead, ResponseHead
from pipsocks.wire.target import AbsoluteTarget


@attrs.frozen(eq=False)
class Question:
    """
    One request, as it can be sent over any chain.

    @ivar content: has the request's content; of no matter where the head says that there is none.
    @ivar inform: takes the interim heads of the answer.
    @ivar via: whether to say that the request came through here.
    """

    head: RequestHead
    target: AbsoluteTarget
    content: Exchange
    inform: Callable[[ResponseHead], None]
    via: bool = True

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time: by the same words as a tunnel's first flight."""
        head = self.head
        return head.method in (b"GET", b"HEAD") and not head.hasBody and isPlain(head)

    def to(self, chain: Chain) -> h11.Request:
        """The head, in absolute-form for an HTTP proxy (RFC 9112, section 3.2.2), else in origin-form."""
        path = self.target.path
        if chain.endsInHTTP:
            path = b"http://" + self.target.authority + (b"" if path == b"*" else path)
        hopLogin = chain.login if chain.endsInHTTP else None
        fields = requestFields(self.head, self.target, via=self.via, hopLogin=hopLogin)
        return h11.Request(method=self.head.method, target=path, headers=fields)
