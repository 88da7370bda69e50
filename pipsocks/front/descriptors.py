"""Running out of file descriptors: the listeners stop reading, so that clients wait instead of being closed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_log = Logger()

AGAIN_SECONDS: Final = 0.25
LOG_SECONDS: Final = 60.0
BATCH: Final = 32
"""Connections that a listener accepts in one turn at most, but for `GROWTH`."""

GROWTH: Final = 20
"""What Twisted adds to that under load, and again each turn, unless it is reminded."""


def reserveOf(limit: int) -> int:
    """How many descriptors are kept for the dials of the clients that are there, of a process that may have `limit`."""
    return max(16, min(limit // 4, 512))


def batchOf(limit: int) -> int:
    """
    How many connections a listener accepts in one turn, of a process that may have `limit` descriptors.

    Those of two turns must fit in the reserve: so many may pass before the first clients are read or dialled for.
    """
    return max(1, min(BATCH, reserveOf(limit) // 2 - GROWTH))


def _lowestFree() -> int:
    """The next descriptor's number; one beyond every limit where there is none."""
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 1 << 30
    os.close(descriptor)
    return descriptor


@attrs.define(eq=False)
class Descriptors:
    """
    Watches the numbers of new sockets. The system gives out the lowest free one, so a high number means that nearly all
    below it are taken: nothing needs to be counted.

    Left alone, Twisted accepts the clients that wait when there is no descriptor left, and closes them.

    @ivar limit: how many the process may have.
    @ivar lowestFree: asks for the number that the next descriptor would have.
    """

    clock: IReactorTime
    limit: int
    lowestFree: Callable[[], int] = _lowestFree
    _ports: list[Any] = attrs.field(factory=list, init=False)
    _timer: IDelayedCall | None = attrs.field(default=None, init=False)
    _told: float | None = attrs.field(default=None, init=False)

    def watch(self, port: Any) -> None:
        """Pause this listening port as well when there is need to. Only ports that read descriptors can be paused."""
        if hasattr(port, "stopReading"):
            port.numberAccepts = batchOf(self.limit)
            self._ports.append(port)

    def release(self) -> None:
        """Forget all ports: they are closed."""
        self._ports.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def taken(self, descriptor: int) -> None:
        """A client's socket has this number."""
        for port in self._ports:
            port.numberAccepts = batchOf(self.limit)
        if descriptor < self.limit - reserveOf(self.limit) or self._timer is not None or not self._ports:
            return
        now = self.clock.seconds()
        if self._told is None or now - self._told >= LOG_SECONDS:
            self._told = now
            _log.warn(
                "out of file descriptors ({limit}): new clients wait; raise LimitNOFILE= or ulimit -n", limit=self.limit
            )
        for port in self._ports:
            port.stopReading()
        self._timer = self.clock.callLater(AGAIN_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        if self.lowestFree() < self.limit - reserveOf(self.limit):
            for port in self._ports:
                port.startReading()
        else:
            self._timer = self.clock.callLater(AGAIN_SECONDS, self._look)
