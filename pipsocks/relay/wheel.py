"""The idle wheel: one timer for the limits of all tunnels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.logger import Logger

_log = Logger()


class Idler(Protocol):
    """
    What the wheel keeps: `at` is the wheel's `now` when something moved last, `limit` is in ticks.

    Whoever keeps it busy stores `wheel.now` in `at`, and nothing else: no call, no timer, no allocation.
    """

    at: int
    limit: int
    slot: int  # the wheel's own

    def expired(self) -> None:
        """Nothing moved for `limit`. It is not in the wheel any more; it may add itself again."""


@attrs.define(eq=False)
class Wheel:
    """
    Tells each member once it has been idle for its limit: never earlier, and at most about a tick later.

    A member waits in the slot in which it would be due if nothing moved any more, and is looked at only then. The
    timer runs while there are members. `reactor` is an `IReactorTime`, `tick` is in seconds.
    """

    _reactor: Any
    tick: float
    now: int = attrs.field(init=False, default=0)
    _began: float = attrs.field(init=False)
    _slots: dict[int, set[Idler]] = attrs.field(init=False, factory=dict)
    _timer: Any = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self._began = self._reactor.seconds()

    def ticks(self, seconds: float) -> int:
        """`seconds` as a limit: at least one tick."""
        return max(1, math.ceil(seconds / self.tick))

    def seconds(self) -> float:
        """The time, on the reactor's clock."""
        return float(self._reactor.seconds())

    def since(self, at: int) -> float:
        """Seconds since `at` was stored: up to a tick too many."""
        return self.seconds() - self._began - at * self.tick

    def add(self, member: Idler) -> None:
        """Watch `member` from now on."""
        if self._timer is None:
            self.now = self._elapsed()
            self._arm()
        member.at = self.now
        self._place(member)

    def discard(self, member: Idler) -> None:
        """Forget `member`, if it is there."""
        number, member.slot = member.slot, 0
        slot = self._slots.get(number)
        if slot is None:
            return
        slot.discard(member)
        if not slot:
            del self._slots[number]
        if not self._slots and self._timer is not None and self._timer.active():
            self._timer.cancel()
            self._timer = None

    def _elapsed(self) -> int:
        return int((self._reactor.seconds() - self._began) / self.tick + 1e-6)  # there but for a rounding

    def _place(self, member: Idler) -> None:
        # `at` may be almost a tick younger than it says, hence the one more.
        member.slot = max(member.at + member.limit, self.now) + 1
        self._slots.setdefault(member.slot, set()).add(member)

    def _turn(self) -> None:
        before, self.now = self.now, self._elapsed()
        for tick in range(before + 1, self.now + 1):
            for member in self._slots.pop(tick, ()):
                if member.slot != tick:
                    continue  # discarded by another's end just now
                if self.now - member.at <= member.limit:
                    self._place(member)
                    continue
                member.slot = 0
                try:
                    member.expired()
                except Exception:
                    _log.failure("A tunnel's idle limit failed")
        self._timer = None
        if self._slots:
            self._arm()

    def _arm(self) -> None:
        # For the tick's beginning, not for a tick from now: turns that are late must not make `now` late for good, or
        # `at` would be more than a tick younger than it says. A hundredth at least: roundings must not make it spin.
        due = self._began + (self.now + 1) * self.tick - self._reactor.seconds()
        self._timer = self._reactor.callLater(max(due, self.tick / 100), self._turn)


@attrs.define(eq=False)
class Watch:
    """
    Asks its members again and again, with one timer for all, until they say that they are done.

    For what has no event of its own, such as the moment at which a peer has acknowledged everything.
    """

    _reactor: Any
    interval: float = 0.05
    _members: set[Callable[[], bool]] = attrs.field(init=False, factory=set)
    _timer: Any = attrs.field(init=False, default=None)

    def add(self, isDone: Callable[[], bool]) -> None:
        """Ask `isDone` every `interval` seconds, until it returns True."""
        self._members.add(isDone)
        if self._timer is None:
            self._timer = self._reactor.callLater(self.interval, self._ask)

    def discard(self, isDone: Callable[[], bool]) -> None:
        """Ask `isDone` no more, if it is asked at all."""
        self._members.discard(isDone)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ask(self) -> None:
        self._timer = None
        for isDone in tuple(self._members):
            if isDone in self._members and isDone():
                self._members.discard(isDone)
        if self._members and self._timer is None:
            self._timer = self._reactor.callLater(self.interval, self._ask)
