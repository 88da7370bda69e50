"""Which chains have had a session's first flight, and which are to have it next (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from pipsocks.gateway.attempt import Terms
from pipsocks.gateway.found import Found
from pipsocks.gateway.memory import FLIGHTS
from pipsocks.gateway.order import Stages, stages
from pipsocks.gateway.seam import Chain
from pipsocks.gateway.stream import FarStream
from pipsocks.model import Attempt
from pipsocks.refusal import Refusal

if TYPE_CHECKING:
    from pipsocks.gateway.session import Session

REPLAY_SECONDS: Final = 3.0
"""How long another way is searched for, each time."""

ITSELF: Final = 2
"""How often a chain is asked again that is the only live one: a rotating gateway gives another exit."""

Reach = Callable[[Chain], Deferred[FarStream]]


class Losses:
    """The chains that a flight came to nothing on, as one session has them."""

    def __init__(self, session: Session, every: Sequence[Chain], first: Chain) -> None:
        """
        @param every: all chains of the session.
        @param first: the one that has the flight.
        """
        self._session = session
        self._every = every
        self._had = [first]
        self._said: dict[Chain, Refusal] = {}
        self._deaths = self._itself = 0
        self._suspected = False

    def took(self, chain: Chain) -> None:
        """`chain` has the flight now."""
        if not any(chain is each for each in self._had):
            self._had.append(chain)

    def lost(self, found: Found[FarStream], refusal: Refusal, milliseconds: float, once: bool) -> None:
        """
        The flight came to nothing on the way that was `found`, after so long.

        @param once: it goes again once only.
        """
        session = self._session
        session.entry.attempted(Attempt(found.chain.name, "", refusal.token, milliseconds))
        found.failed(refusal)
        self._said[found.chain] = refusal
        self._deaths += 1
        live = self._live
        # Where one alone is live, a rotating gateway gives another exit each time: that is as many chains.
        least = 1
        if len(live) == 1 and not live[0].direct:
            least = 2 if once else 1 + ITSELF
        everywhere = self._deaths >= least and all(chain in self._said for chain in live)
        if not self._suspected and (everywhere or self._deaths >= FLIGHTS):
            self._suspected = True
            session.gateway.memory.lostFlight(session.request.destination, session.began)

    def search(self, reach: Reach, last: Chain) -> Deferred[Found[FarStream]]:
        """
        Search for another way.

        @param last: the chain that has the flight, or had it last.
        """

        def counted(chain: Chain) -> Deferred[FarStream]:
            self._itself += chain is last
            return reach(chain)

        terms = Terms(
            REPLAY_SECONDS,
            chains=self._others(last),
            said=list(self._said.items()),
            further=True,
            again=lambda chain: chain is not last or self._itself < ITSELF,
        )
        return self._session.search(counted, terms)

    @property
    def _live(self) -> list[Chain]:
        """The live chains; where none is, those that may still be asked count as live."""
        live = [chain for chain in self._every if chain.health.live]
        return live or [chain for chain in self._every if chain.health.askable]

    def _others(self, last: Chain) -> Stages:
        """
        The chains for the flight: live ones that have not had it, then ejected ones, else others than the last; where
        one alone is live, that one itself, unless it is direct.
        """
        session = self._session
        yield from stages(session.plan, session.request.destination, session.gateway.memory, self._had, session.lost)
        yield sorted(
            (chain for chain in self._every if chain is not last and chain.health.askable),
            key=lambda chain: not chain.health.live,
        )
        live = self._live
        if len(live) == 1 and live[0] is last and not last.direct and self._itself < ITSELF:
            yield live
