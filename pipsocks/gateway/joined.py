"""A tunnel in the relay's hands: what becomes of it is told to its chain's health, and to the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from pipsocks.gateway.found import Found
from pipsocks.gateway.stream import FarStream, Stream
from pipsocks.model import Ended, Entry
from pipsocks.refusal import Refusal

if TYPE_CHECKING:
    from pipsocks.gateway.session import Session

LEFT: Final = 2.0
"""A client that leaves after so many seconds of silence, having sent something, has told something of the chain."""


class Relays(Protocol):
    """What joins two streams."""

    def kind(self, near: Stream, far: Stream) -> str:
        """What the journal calls the relay that would join them."""

    def join(
        self, near: Stream, far: Stream, done: Callable[[Ended], None], heard: Callable[[], None] | None = None
    ) -> str:
        """
        Join them, and return the kind.

        `heard` is called once, when the first byte comes from `far`; `done` once, when both are over. Either may be
        during the call.
        """


def join(session: Session, near: Stream, found: Found[FarStream], carried: int = 0, since: float | None = None) -> None:
    """
    Let the relay have both, until the tunnel is over.

    @param carried: bytes that have gone from the client to the far side already; the last of them at `since`.
    """
    relays = session.gateway.relays
    silence = 0.0 if since is None else session.gateway.clock.seconds() - since
    joined = _Joined(session.entry, found, carried, silence)
    session.entry.relay = relays.kind(near, found.reached)
    relays.join(near, found.reached, joined.done, joined.heard)


def died(found: Found[FarStream]) -> Refusal:
    """What a tunnel that ends before its first byte says of its chain."""
    return Refusal("PS-UP30", chain=found.chain.name, where=str(found.destination))


def unanswered(found: Found[FarStream]) -> Refusal:
    """What a tunnel in which the flight stays unanswered says of its chain."""
    return Refusal("PS-UP31", chain=found.chain.name, where=str(found.destination))


@attrs.define(eq=False)
class _Joined:
    """
    What a tunnel needs until it is over.

    @ivar silence: for how long the far side had not answered what was carried, when the relay was handed both.
    """

    entry: Entry
    found: Found[FarStream]
    carried: int
    silence: float

    def heard(self) -> None:
        """The first byte came back."""
        self.found.spoke()

    def done(self, ended: Ended) -> None:
        """Both sides are over."""
        up, found = self.carried + ended.up, self.found
        if not found.told:
            if not ended.clientFirst:
                found.failed(died(found))
            elif up and ended.silence + (0.0 if ended.up else self.silence) >= LEFT:
                found.failed(unanswered(found))
        found.close()
        # Of a direct way the outcome says all: there is nobody between us and the origin.
        reason = ended.reason or ("" if found.chain.direct else found.cause)
        self.entry.close(Ended(ended.token, up, ended.down, reason=reason))
