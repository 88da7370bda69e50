"""Which way a request takes, and which it takes next: each chain once (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pipsocks.forward.origin import Origin, OriginFactory
from pipsocks.forward.pool import Pool, Way
from pipsocks.forward.probe import Ears
from pipsocks.gateway.attempt import Terms
from pipsocks.gateway.doubt import noneWorked
from pipsocks.gateway.found import Found
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.order import stages
from pipsocks.gateway.seam import Chain
from pipsocks.gateway.session import Session
from pipsocks.model import Attempt
from pipsocks.refusal import Refusal
from pipsocks.slugs import About

AGAIN_SECONDS: Final = 3.0
"""How long another way is searched for, at most."""

LEAST_SECONDS: Final = 0.5
"""And at least, where the time for a search is over: a client whose hops are all dead is to hear it then."""

LATEST: Final = 10.0
"""Seconds after the client's request, from which on no other way is searched for."""


class Ways:
    """
    The ways of one request, one after the other.

    @ivar asked: the chains that were asked.
    """

    def __init__(self, session: Session, judge: Judge, ears: Ears, further: bool = False) -> None:
        """
        @param further: the first search is not the session's first, so that all of it is paid for.
        """
        self.asked: list[Chain] = []
        self._session = session
        self._judge = judge
        self._ears = ears
        self._further = further
        self._destination = session.request.destination
        self._unreached: list[Chain] = []  # overtaken ones too
        self._said: dict[Chain, Refusal] = {}  # of the destination
        self._failures: dict[Chain, Refusal] = {}

    @property
    def chains(self) -> list[Chain]:
        """All of them."""
        return [chain for tier in self._session.plan for chain in tier]

    def resting(self, pool: Pool, repeatable: bool) -> tuple[Way, Found[Origin]] | None:
        """A connection that waits in `pool`, over a chain of the tier that one would ask first as well."""
        session, destination = self._session, self._destination
        memory = session.gateway.memory
        # A connection that waits was judged for its destination; but one to an HTTP hop leads anywhere.
        afar = self._judge.afar(destination)
        first = next((live for tier in session.plan if (live := [each for each in tier if each.health.live])), [])
        chains = [
            chain
            for chain in first
            if (afar is None or not chain.endsInHTTP) and not memory.isLast(chain.health, destination)
        ]
        way = pool.take(chains, destination, repeatable)
        if way is None:
            return None
        self.asked.append(way.chain)
        session.entry.attempted(Attempt(way.chain.name, "", "reused", 0.0))
        return way, Found(way.chain, way.origin, way.chain.health.begin(), destination, memory)

    async def first(self) -> tuple[Way, Found[Origin]]:
        """
        Search for a way.

        @raise Refusal: there is none.
        """
        return self._take(await self._session.search(self._reach, Terms(further=self._further)))

    async def another(self, chains: Sequence[Chain]) -> tuple[Way, Found[Origin]]:
        """
        Search for another way, over one of `chains`, in less time.

        @raise Refusal: there is none.
        """
        session = self._session
        out = [chain for chain in self.chains if not any(chain is each for each in chains)]
        order = stages(session.plan, self._destination, session.gateway.memory, out, session.lost)
        left = session.began + session.group.retry.total - session.gateway.clock.seconds()
        total = min(AGAIN_SECONDS, max(LEAST_SECONDS, left))
        said = list(self._said.items())
        attempts = session.group.retry.attempts - session.attempts
        return self._take(await session.search(self._reach, Terms(total, attempts, order, said, further=True)))

    def left(self, kept: bool) -> list[Chain]:
        """
        The chains that are left, if it is not too late for another way.

        @param kept: an answer is in hand: nobody is made to wait for a chain that could not be reached a moment ago.
        """
        session = self._session
        late = session.gateway.clock.seconds() - session.began > LATEST
        if late or session.attempts >= session.group.retry.attempts:
            return []
        out = [*self.asked, *(self._unreached if kept else ())]
        return [chain for chain in self.chains if not any(chain is each for each in out)]

    def failed(self, chain: Chain, refusal: Refusal) -> None:
        """The request came to nothing over `chain`, as the client may be told."""
        self._failures[chain] = refusal

    def reported(self, chain: Chain, refusal: Refusal) -> None:
        """What that says of the destination."""
        self._said[chain] = refusal

    def forget(self, chain: Chain) -> None:
        """It may be asked anew."""
        self.asked.remove(chain)

    def told(self, failure: Refusal) -> Refusal:
        """What to say when several chains failed, of which one at least had taken the request."""
        if len({each.slug.code for each in self._failures.values()}) <= 1:
            return failure
        return noneWorked([(chain.name, refusal) for chain, refusal in self._failures.items()])

    def _take(self, found: Found[Origin]) -> tuple[Way, Found[Origin]]:
        self.asked.append(found.chain)
        return Way(found.chain, self._destination, found.reached), found

    def _forbidden(self, chain: Chain) -> Refusal | None:
        """The 403 of a hop that shuts a direct `chain` in a lower tier: it may come while a search is under way."""
        if any(chain is each for each in self._session.plan[0]):
            return None
        return next((refusal for refusal in self._said.values() if refusal.about is About.RULES), None)

    def _reach(self, chain: Chain) -> Deferred[Origin]:
        if chain.endsInHTTP and (refusal := self._judge.afar(self._destination)) is not None:
            return fail(refusal)
        if chain.direct and (refusal := self._forbidden(chain)) is not None:
            return fail(refusal)
        judge = self._session.confined(self._judge)
        endpoint = chain.reachLast() if chain.endsInHTTP else chain.connect(self._destination, judge)
        connecting: Deferred[Origin] = endpoint.connect(  # type: ignore[assignment]
            OriginFactory(self._ears.listen(chain, self._session.gateway.clock))
        )

        def failed(failure: Failure) -> Failure:
            self._unreached.append(chain)
            if isinstance(failure.value, Refusal):
                self._said[chain] = self._failures[chain] = failure.value
            return failure

        return connecting.addErrback(failed)
