"""What hops share between sessions: one connection to each, which the first session that needs it opens."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable
from typing import Any
from typing import Protocol as Seam

import attrs
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.python.failure import Failure

from pipsocks.refusal import Refusal


class Connection(Seam):
    """
    A connection that many sessions use.

    @ivar usable: another session may use it.
    @ivar gone: fires with None when it is lost.
    """

    usable: bool
    gone: Deferred[None]

    def close(self) -> None:
        """End it, whoever uses it."""


Begin = Callable[[], Deferred[Any]]


@attrs.define(eq=False)
class Shared:
    """
    The connections, each under a key of its own: the text of the chain up to its hop.

    Whoever asks while one is being opened waits for that one. Who is cancelled leaves the others waiting; with the
    last of them the opening is cancelled. A connection that is lost is forgotten, so that the next to ask opens
    another.
    """

    _places: dict[Hashable, _Place] = attrs.field(factory=dict, init=False)

    def use(self, key: Hashable, begin: Begin) -> Deferred[Any]:
        """
        Give the connection under `key`, which `begin` opens where there is none.

        @return: fires with the connection, or fails as `begin` does, with a `Refusal` of one's own for each.
        """
        place = self._places.get(key)
        if place is None or not place.usable:
            place = self._places[key] = _Place(self, key)
            return place.open(begin)
        return place.join()

    def close(self) -> Deferred[None]:
        """
        End all connections, and the opening of others.

        @return: fires once they are lost.
        """
        places, self._places = list(self._places.values()), {}
        ended: Deferred[Any] = DeferredList([place.close() for place in places])
        return ended.addCallback(lambda _: None)

    def forget(self, place: _Place) -> None:
        """Open another one for the next who asks."""
        if self._places.get(place.key) is place:
            del self._places[place.key]


@attrs.define(eq=False)
class _Place:
    """One connection: being opened, with those who wait for it, or open."""

    _shared: Shared
    key: Hashable
    _waiters: list[Deferred[Any]] = attrs.field(factory=list, init=False)
    _opening: Deferred[Any] | None = attrs.field(default=None, init=False)
    _connection: Connection | None = attrs.field(default=None, init=False)

    @property
    def usable(self) -> bool:
        return self._connection is None or self._connection.usable

    def open(self, begin: Begin) -> Deferred[Any]:
        waiter = self.join()
        self._opening = begin()
        self._opening.addCallbacks(self._opened, self._failed)
        return waiter

    def join(self) -> Deferred[Any]:
        if self._connection is not None:
            return succeed(self._connection)
        waiter: Deferred[Any] = Deferred(self._left)
        self._waiters.append(waiter)
        return waiter

    def close(self) -> Deferred[None]:
        if self._connection is None:
            if self._opening is not None:
                self._opening.cancel()
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self._connection.gone.addCallback(lambda _: gone.callback(None))
        self._connection.close()
        return gone

    def _left(self, waiter: Deferred[Any]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters and self._opening is not None:
            self._shared.forget(self)
            self._opening.cancel()

    def _opened(self, connection: Connection) -> None:
        self._opening, self._connection = None, connection
        connection.gone.addCallback(lambda _: self._shared.forget(self))
        self._tell(lambda waiter: waiter.callback(connection))

    def _failed(self, failure: Failure) -> None:
        self._opening = None
        self._shared.forget(self)
        self._tell(lambda waiter: waiter.errback(_ownCopy(failure)))

    def _tell(self, tell: Callable[[Deferred[Any]], None]) -> None:
        while self._waiters:  # one that is told may cancel another
            tell(self._waiters.pop(0))


def _ownCopy(failure: Failure) -> Failure:
    """The failure for one of several: each chain writes its name into the refusal that it gets."""
    return Failure(copy.copy(failure.value)) if isinstance(failure.value, Refusal) else failure
