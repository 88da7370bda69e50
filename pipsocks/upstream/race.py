"""Happy Eyeballs (RFC 8305, section 5): connects that start one after the other, of which the first to end wins."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

STAGGER: Final = 0.25
"""Seconds between two starts: RFC 8305's recommended Connection Attempt Delay."""


class AllFailed(Exception):
    """
    No endpoint connected.

    @ivar failures: each one's, in the order in which they failed.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__(len(failures))
        self.failures = failures


def race(
    clock: IReactorTime, endpoints: Iterable[IStreamClientEndpoint], factory: IProtocolFactory
) -> Deferred[IProtocol]:
    """
    Connect the endpoints in order, the next one `STAGGER` after the last or as soon as one failed; the first that is
    connected wins, and the others are cancelled. At least one endpoint is needed.

    @return: fires with the winner's protocol, or fails with `AllFailed`. Cancelling it cancels them all.
    """
    return _Race(clock, factory, deque(endpoints)).begin()


@attrs.define(eq=False)
class _Race:
    """Starts, ends and cancellation come in any order; `_over` is set by the first of win, last loss, cancel."""

    _clock: IReactorTime
    _factory: IProtocolFactory
    _rest: deque[IStreamClientEndpoint]
    _running: list[Deferred[IProtocol]] = attrs.field(factory=list, init=False)
    _failures: list[Failure] = attrs.field(factory=list, init=False)
    _timer: IDelayedCall | None = attrs.field(default=None, init=False)
    _over: bool = attrs.field(default=False, init=False)
    _done: Deferred[IProtocol] = attrs.field(init=False)

    def begin(self) -> Deferred[IProtocol]:
        self._done = Deferred(lambda _: self._stop())
        self._next()
        return self._done

    def _next(self) -> None:
        self._timer = None
        endpoint = self._rest.popleft()
        if self._rest:
            self._timer = self._clock.callLater(STAGGER, self._next)
        attempt = endpoint.connect(self._factory)
        self._running.append(attempt)
        attempt.addCallbacks(self._won, self._lost, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _won(self, protocol: IProtocol, attempt: Deferred[IProtocol]) -> None:
        self._running.remove(attempt)
        self._stop()
        self._done.callback(protocol)

    def _lost(self, failure: Failure, attempt: Deferred[IProtocol]) -> None:
        if self._over:
            return
        self._running.remove(attempt)
        self._failures.append(failure)
        if self._rest:
            self._stopTimer()
            self._next()
        elif not self._running:
            self._over = True
            self._done.errback(AllFailed(self._failures))

    def _stop(self) -> None:
        self._over = True
        self._stopTimer()
        for attempt in self._running:
            attempt.cancel()

    def _stopTimer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
