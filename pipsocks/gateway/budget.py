"""The retry budget: a dead pool is not hammered (behaviour, section 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

WINDOW: Final = 10.0
"""Seconds over which sessions and further attempts are counted."""

SLICES: Final = 20
"""In so many slices: what is counted of the oldest is a matter of half a second, and never too little."""

AT_LEAST: Final = 100
"""Further attempts that are always allowed in a window, so that a quiet proxy can retry as well."""


@attrs.define(eq=False)
class _Window:
    """A count over the last `slices` slices of time."""

    _slices: int
    _counts: deque[tuple[int, int]] = attrs.field(factory=deque, init=False)
    _sum: int = attrs.field(default=0, init=False)

    def add(self, slice: int) -> None:
        self._sum += 1
        if self._counts and self._counts[-1][0] == slice:
            self._counts[-1] = slice, self._counts[-1][1] + 1
        else:
            self._counts.append((slice, 1))
            self.at(slice)

    def at(self, slice: int) -> int:
        while self._counts and self._counts[0][0] <= slice - self._slices:
            self._sum -= self._counts.popleft()[1]
        return self._sum


@attrs.define(eq=False)
class Budget:
    """
    Attempts beyond the first of a session: over any 10 s `ratio` for each session that began, or 100 if that is more.

    A ratio of 0 allows none.
    """

    seconds: Callable[[], float]
    ratio: float = 1.0
    # The slice that has just begun counts with those of the last ten seconds: sessions of one slice fewer are taken.
    _sessions: _Window = attrs.field(factory=lambda: _Window(SLICES), init=False)
    _spent: _Window = attrs.field(factory=lambda: _Window(SLICES + 1), init=False)

    def earn(self) -> None:
        """A session begins."""
        self._sessions.add(self._slice())

    def spend(self) -> bool:
        """Whether another attempt may be made; it is counted then."""
        slice = self._slice()
        allowed = max(self.ratio * self._sessions.at(slice), AT_LEAST) if self.ratio else 0
        if self._spent.at(slice) + 1 > allowed:
            return False
        self._spent.add(slice)
        return True

    def _slice(self) -> int:
        return int(self.seconds() * SLICES / WINDOW)
