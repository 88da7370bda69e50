"""What a search is told, and an attempt of it that is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import attrs
from twisted.internet.defer import Deferred

from pipsocks.gateway.order import Stages
from pipsocks.gateway.seam import Chain, Try
from pipsocks.model import Attempt
from pipsocks.refusal import Refusal


class Record(Protocol):
    """Where attempts are told: the session's entry."""

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt."""


@attrs.frozen(eq=False)
class Terms:
    """
    What one search has of its own. Without anything it is a session's first.

    @ivar total: seconds for all of it; the group's, by default.
    @ivar attempts: how many there may be; the group's, by default.
    @ivar chains: what to ask, if not all of the plan; none but these is asked again either.
    @ivar said: what chains have told of the destination already.
    @ivar further: it is not the session's first, so that its first attempt is paid for like the others.
    @ivar again: whether a chain that was asked may be asked once more, behind all the others.
    """

    total: float | None = None
    attempts: int | None = None
    chains: Stages | None = None
    said: Iterable[tuple[Chain, Refusal]] = ()
    further: bool = False
    again: Callable[[Chain], bool] = lambda _: True


TERMS: Final = Terms()


@attrs.define(eq=False)
class Going:
    """
    An attempt that is under way.

    @ivar share: until when it goes on alone, while there is another to go on beside it.
    @ivar slow: from when on it is slow, by its chain's pace.
    @ivar followed: another has begun beside it.
    @ivar hedged: and that since it was slow: whoever wins, it is not blamed.
    """

    chain: Chain
    tried: Try
    began: float
    share: float
    slow: float
    asking: Deferred[object] | None = None
    followed: bool = False
    hedged: bool = False
