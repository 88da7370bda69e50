"""A way that was found, until its session is over: what becomes of it is told to the chain's health and the memory."""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

from pipsocks.gateway.doubt import REPORTS
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.seam import Chain, Try
from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.slugs import About

T = TypeVar("T")


@attrs.define(eq=False)
class Found(Generic[T]):
    """
    A chain that was asked for a destination and said yes.

    @ivar reached: what the search was for: the far stream of a tunnel, the connection to an HTTP hop.
    @ivar cause: what it came to nothing by, in the words of the journal.
    """

    chain: Chain
    reached: T
    tried: Try
    destination: Destination
    _memory: Memory
    cause: str = attrs.field(default="", init=False)
    _told: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.chain.health.tunnels += 1

    @property
    def told(self) -> bool:
        """Whether it is known what it came to."""
        return self._told

    def spoke(self) -> None:
        """The destination's first byte came back: the chain's success."""
        if not self._told:
            self._told = True
            self._memory.reached(self.chain.health, self.destination)
            self.tried.succeeded()

    def failed(self, refusal: Refusal) -> None:
        """It came to nothing, of which `refusal` speaks vaguely."""
        if not self._told:
            self._told, self.cause = True, refusal.cause
            note(self._memory, self.chain, self.destination, self.tried, refusal)

    def blamed(self, refusal: Refusal) -> None:
        """It came to nothing by the chain's own fault."""
        if not self._told:
            self._told, self.cause = True, refusal.cause
            self.tried.doubted()
            self.tried.blamed(refusal)

    def close(self) -> None:
        """The session is over, or goes on another way."""
        if not self._closed:
            self._closed = True
            self.chain.health.tunnels -= 1
            self.tried.untold()


def note(memory: Memory, chain: Chain, destination: Destination, tried: Try, refusal: Refusal) -> None:
    """Let the chain's health, and the memory, know of a failure, by what it speaks of."""
    about = refusal.about
    if about in (About.HOP, About.VAGUE):
        tried.doubted()
    if about is About.HOP:
        tried.blamed(refusal)
    elif about is About.LOGIN:
        tried.barred(refusal)
    elif about in REPORTS or about is About.RULES:
        memory.reported(chain.health, destination, tried if about in REPORTS else None, refusal)
    tried.untold()
