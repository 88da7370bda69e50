"""How long a chain's connects take: what hedging and the strategy ``fastest`` go by."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Final

import attrs

SAMPLES: Final = 100
"""Connects that are remembered."""

ENOUGH: Final = 10
"""From so many on there is a 90th percentile."""


@attrs.define(eq=False)
class Pace:
    """The times, in seconds, of a chain's last connects."""

    _times: deque[float] = attrs.field(factory=lambda: deque(maxlen=SAMPLES), init=False)

    def add(self, seconds: float) -> None:
        """A connect took so long; one that was cancelled took at least so long."""
        self._times.append(seconds)

    @property
    def slow(self) -> float | None:
        """The 90th percentile, by the nearest rank; None while too few are known."""
        return self._rank(0.9) if len(self._times) >= ENOUGH else None

    @property
    def typical(self) -> float | None:
        """The median; None while none is known."""
        return self._rank(0.5) if self._times else None

    def _rank(self, share: float) -> float:
        return sorted(self._times)[ceil(share * len(self._times)) - 1]
