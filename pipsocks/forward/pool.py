"""The idle connections of one client: they wait a little for its next request, and are nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pipsocks.forward.origin import Origin
from pipsocks.gateway.seam import Chain
from pipsocks.model import Destination

IDLE_LIMIT: Final = 4
IDLE_SECONDS: Final = 15.0


@attrs.frozen(eq=False)
class Way:
    """
    A connection, and where it leads: over `chain` to `destination`, or to the HTTP hop that is asked for it.

    `fresh` is False once it has carried a request.
    """

    chain: Chain
    destination: Destination
    origin: Origin
    fresh: bool = True

    def leadsTo(self, destination: Destination) -> bool:
        """Whether a request for `destination` may be sent this way."""
        return self.chain.endsInHTTP or self.destination == destination


class Pool:
    """At most four idle connections, for 15 s each. The oldest goes for one more."""

    def __init__(self) -> None:
        self._idle: dict[Way, IDelayedCall] = {}

    def put(self, way: Way, clock: IReactorTime) -> None:
        """Keep a connection that may carry another request."""
        if len(self._idle) >= IDLE_LIMIT:
            self._drop(next(iter(self._idle)))
        way = attrs.evolve(way, fresh=False)
        self._idle[way] = clock.callLater(IDLE_SECONDS, self._drop, way)
        way.origin.rest(lambda: self._forget(way))

    def take(self, chains: Sequence[Chain], destination: Destination, repeatable: bool) -> Way | None:
        """
        The connection that was used last of those that lead to `destination` over one of `chains`.

        For a request that is not `repeatable` an HTTP hop must have promised to keep it: some (tinyproxy) close behind
        each response without a word, and who sends into that close gets no second try.
        """
        for way in reversed(self._idle):
            if not repeatable and way.chain.endsInHTTP and not way.origin.promised:
                continue
            if way.leadsTo(destination) and any(way.chain is chain for chain in chains):
                self._forget(way)
                return way
        return None

    def close(self) -> None:
        """Close all of them."""
        for way in list(self._idle):
            self._drop(way)

    def _forget(self, way: Way) -> None:
        timer = self._idle.pop(way, None)
        if timer is not None and timer.active():
            timer.cancel()

    def _drop(self, way: Way) -> None:
        self._forget(way)
        way.origin.transport.loseConnection()
