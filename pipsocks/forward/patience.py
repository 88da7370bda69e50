"""How long nothing may happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

QUIET_SECONDS: Final = 120.0
"""How long a response's head, or progress in content, is waited for."""

STALL_SECONDS: Final = 3600.0
"""How long a client may leave what has come unread: as long as a tunnel may be idle."""


class Patience:
    """
    Calls `over` once nothing has happened for 120 s; an hour where it is the client that is waited for.

    A `touch` only looks at the clock: the timer finds out by itself, when it is due, whether it is.

    @ivar lapsed: nothing has happened for so long; `stalled`: and it was the client that was waited for.
    """

    __slots__ = ("_clock", "_last", "_over", "_timer", "_waiting", "lapsed", "stalled")

    def __init__(self, clock: IReactorTime, over: Callable[[], None]) -> None:
        self._clock = clock
        self._over = over
        self._last = clock.seconds()
        self._waiting = self.lapsed = self.stalled = False
        self._timer = clock.callLater(QUIET_SECONDS, self._look)

    def touch(self) -> None:
        """Something happened."""
        self._last = self._clock.seconds()

    def wait(self, waiting: bool) -> None:
        """Tell whether the client is being waited for."""
        self._waiting = waiting
        self.touch()

    def stop(self) -> None:
        """Nothing is waited for any more."""
        if self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        limit = STALL_SECONDS if self._waiting else QUIET_SECONDS
        left = self._last + limit - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(min(left, QUIET_SECONDS), self._look)
        else:
            self.lapsed, self.stalled = True, self._waiting
            self._over()
