"""One connection's share of a plan, and what it opened meanwhile: all of it ends with the connection or the server."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pipsocks.testing import ending
from pipsocks.testing.events import Log
from pipsocks.testing.plan import Faults, Plan, shown


class Turn:
    """
    One connection: its number and its faults.

    @ivar faults: the value of each fault that it has, by name.
    @ivar random: what is random about it; the same for the same seed and number.
    """

    def __init__(
        self, reactor: Any, number: int, plan: Plan, seed: int, log: Log, gone: Callable[[Turn], None]
    ) -> None:
        self.reactor = reactor
        self.number = number
        self.random = random.Random(seed + number)
        self.transport: Any = None
        self._plan = plan
        self._log = log
        self._gone = gone
        self._open: list[Any] = []
        self._timers: list[Any] = []
        self._dials: list[Deferred[Any]] = []
        self._over = False
        self._produced = False
        self._take(plan.next())

    def _take(self, faults: Faults) -> None:
        self.shown = shown(faults)
        self.faults: Mapping[str, str] = {fault.name: fault.value for fault in faults}

    def next(self) -> None:
        """Take the next turn: the connection has a further request."""
        self._take(self._plan.next())

    def asked(self, *targets: str) -> None:
        """The request is known: the first of `targets` that has turns of its own has the next of them."""
        faults = self._plan.asked(*targets)
        if faults is not None:
            self._take(faults)
            self.tell("fault", fault=self.shown)

    def tell(self, event: str, **values: Any) -> None:
        """Log an event of this connection."""
        self._log(event, {"connection": self.number, **values})

    def begin(self, transport: Any) -> None:
        """The connection is made; where it is slow, it is not read from yet."""
        self.transport = transport
        self.opened(transport)
        if wait := self.faults.get("slow-connect"):
            transport.pauseProducing()
            self.later(float(wait), transport.resumeProducing)

    def over(self, reason: Failure, **values: Any) -> None:
        """The connection is gone, and with it whatever was to come."""
        self._over = True
        self.tell("lost", reason=type(reason.value).__name__, **values)
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        for dial in self._dials:
            dial.cancel()
        self.closed(self.transport)

    def end(self, how: str) -> None:
        """``close``, ``reset`` or leave in silence (``silent``), behind what was written."""
        # A transport with a producer waits for that to say that it is done.
        if how != "silent":
            self.release()
        ending.end(self.transport, how, self.later, self.reactor)

    def produce(self, producer: Any) -> None:
        """Let the client's pace pause `producer`."""
        self._produced = True
        self.transport.registerProducer(producer, True)

    def release(self) -> None:
        """Nothing more comes from that producer."""
        if self._produced:
            self._produced = False
            self.transport.unregisterProducer()

    def opened(self, transport: Any) -> None:
        """`transport` is to end with the server."""
        self._open.append(transport)

    def closed(self, transport: Any) -> None:
        """`transport` has ended."""
        self._open.remove(transport)
        if self._over and not self._open:
            self._gone(self)

    def later(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> None:
        """Call this in so many seconds, unless the connection is gone by then."""
        if self._over:
            return
        self._timers = [timer for timer in self._timers if timer.active()]
        self._timers.append(self.reactor.callLater(seconds, call, *arguments))

    def dialling(self, dial: Deferred[Any]) -> None:
        """Cancel `dial` when the connection is gone."""
        self._dials.append(dial)

    def abort(self) -> None:
        """Reset everything at once; `over` comes of it."""
        for transport in list(self._open):
            transport.abortConnection()
