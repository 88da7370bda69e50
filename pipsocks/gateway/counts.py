"""How often something was done so that a session succeeds which would have failed."""

from __future__ import annotations

import attrs


@attrs.define
class Counts:
    """
    Counted since the start.

    @ivar replays: first flights that went out again.
    @ivar resumes: downloads that went on behind a cut.
    @ivar repeats: forwarded requests that were sent a second time.
    """

    replays: int = 0
    resumes: int = 0
    repeats: int = 0

    def __str__(self) -> str:
        parts = [f"{name} {count}" for name, count in attrs.asdict(self).items() if count]
        return ", ".join(parts)
