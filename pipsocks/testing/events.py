"""What happened at a listener: a name and a table of values, told to a callable."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

Log = Callable[[str, dict[str, Any]], None]
"""
Takes an event's name and its values; `connection` counts the connections of a listener, from 1.

- ``up`` and ``down`` (port): the port is open again, is closed.
- ``accepted`` (fault), ``ended`` (the client's side ended), ``lost`` (reason, and bytes `up` and `down` of the answer).
- ``request`` (protocol, host and port, or method, path and the request's number), ``login`` (user).
- ``fault``: another fault from here on, since the request has one of its own.
- ``granted``, ``failed`` (reason), ``said`` (octets, in hexadecimal), ``flight`` (octets swallowed).
- ``answered`` (status, and of the body the `first` byte and the number of `octets`).
- ``struck`` (how, and the bytes that went before), ``sent`` (number: all of that response was written).
"""


def nowhere(event: str, values: dict[str, Any]) -> None:
    """A log that keeps nothing."""


class Events:
    """
    A log for a test: the newest events, in order::

        events = Events(reactor)
        hop = Server(reactor, Upstream(), ["silent"], log=events)
        ...
        await events.until("accepted", 2)
        events.named("request")[0]["host"]
    """

    def __init__(self, reactor: Any, limit: int = 100_000) -> None:
        self._reactor = reactor
        self._all: deque[tuple[str, dict[str, Any]]] = deque(maxlen=limit)
        self._waiting: list[tuple[str, int, Deferred[None]]] = []

    def __call__(self, event: str, values: dict[str, Any]) -> None:
        """Keep an event."""
        self._all.append((event, values))
        for waiting in list(self._waiting):
            name, count, deferred = waiting
            if name == event and len(self.named(name)) >= count:
                self._waiting.remove(waiting)
                # Not from here: the listener is in the midst of what it tells.
                self._reactor.callLater(0, deferred.callback, None)

    @property
    def names(self) -> list[str]:
        """What happened, without the values."""
        return [name for name, _ in self._all]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The values of each event of that name."""
        return [values for event, values in self._all if event == name]

    async def until(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The values of each event of that name, once there are `count` or more. It waits for ever: mind a time-out."""
        if len(self.named(name)) < count:
            deferred: Deferred[None] = Deferred()
            self._waiting.append((name, count, deferred))
            await deferred
        return self.named(name)


def lines(write: Callable[[str], None], elapsed: Callable[[], float], **always: Any) -> Log:
    """
    A log of one JSON object a line: ``event``, ``ms`` from the seconds that have `elapsed`, `always`, and the values.

    Everything but ASCII is escaped, so that nothing of a client's reaches a terminal.
    """

    def log(event: str, values: dict[str, Any]) -> None:
        write(json.dumps({"event": event, "ms": round(elapsed() * 1000, 1), **always, **values}))

    return log
