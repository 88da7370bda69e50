"""The answer to one request: whom to ask, when to ask another, whose answer counts (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
import h11
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.python.failure import Failure

from pipsocks.forward.fields import requestFields, responseFields
from pipsocks.forward.origin import Origin, OriginFactory
from pipsocks.forward.patience import Patience
from pipsocks.forward.pool import Pool, Way
from pipsocks.forward.probe import SILENCE_SECONDS, Ears
from pipsocks.forward.seam import Exchange
from pipsocks.forward.sending import Sending
from pipsocks.gateway.doubt import noneWorked
from pipsocks.gateway.found import Found
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.search import SHARE_LEAST
from pipsocks.gateway.seam import Chain, Plan
from pipsocks.gateway.session import Session
from pipsocks.model import Attempt
from pipsocks.refusal import Refusal
from pipsocks.wire.connect import offersOnly
from pipsocks.wire.gate import ResponseHead
from pipsocks.wire.target import AbsoluteTarget

AGAIN_SECONDS: Final = 3.0
"""How long another way is searched for."""

LATEST: Final = 10.0
"""Seconds after the client's request, from which on no other way is searched for."""

SENDINGS: Final = 2
"""How often a request is sent, at most, not counting hops that can't have carried it out."""

_DOUBTFUL: Final = frozenset({403, 407, 502, 503, 504})
"""Statuses that an HTTP hop may have made itself."""

_PASSING: Final = frozenset({502, 503, 504})
"""Those of them that another hop may not have."""


@attrs.frozen(eq=False)
class Answer:
    """A response's head, and the way that it came, with its content still there. `patience` watches over it."""

    way: Way
    head: ResponseHead
    patience: Patience


class Asking:
    """
    Gets the answer to one request. Inputs come in any order:

    ======================================  =========================================================
    what happens                            then
    ======================================  =========================================================
    a head, not of an HTTP hop's making     it wins
    a hop's 407                             dropped; another chain, if the request has no content
    a hop's 403                             kept; it counts when no other head is awaited
    a hop's own 502, 503, 504               kept likewise, and another chain is asked
    a connection closes without a head      another chain is asked; a reused one's request goes out anew
    an HTTP hop does not speak HTTP         another chain is asked
    4 s of silence                          another chain is asked beside
    a hop says nothing for 4 s at all       it is probed
    a probe says nothing for 4 s            that sending has failed
    nothing is awaited any more             what was kept wins, else the first failure is told
    ======================================  =========================================================

    Another chain is asked only for a GET or HEAD without content (but after a 407), within 3 s; the request is sent at
    most twice, and each chain asked once. A further silence, of hops that do not count, is waited for as long as leaves
    each chain its share of the time.
    """

    def __init__(
        self, session: Session, judge: Judge, target: AbsoluteTarget, exchange: Exchange, pool: Pool, ears: Ears
    ) -> None:
        self._session = session
        self._gateway = session.gateway
        self._clock = session.gateway.clock
        self._judge = judge
        self._target = target
        self._entry = session.entry
        self._exchange = exchange
        self._pool = pool
        self._ears = ears
        self._destination = session.request.destination
        head = exchange.head
        self._repeatable = head.method in (b"GET", b"HEAD") and not head.hasBody and head.get(b"upgrade") is None
        self._chains: list[Chain] = []
        self._asked: list[Chain] = []
        self._unreached: list[Chain] = []
        self._sendings: list[Sending] = []
        self._searching: Deferred[Any] | None = None
        self._kept: Answer | None = None
        self._failure: Refusal | None = None  # the last search's, or the first sending's
        self._failures: dict[str, Refusal] = {}
        self._answer: Deferred[Answer] = Deferred()

    async def answer(self) -> Answer:
        """
        The answer that counts.

        @raise Refusal: there is none.
        """
        session, destination = self._session, self._destination
        if (refusal := self._judge.before(destination)) is not None:
            raise refusal
        await session.route()
        self._chains = [chain for tier in session.plan for chain in tier]
        if self._exchange.head.method == b"TRACE" and any(each.endsInHTTP and each.login for each in self._chains):
            raise Refusal(
                "PS-RQ08", detail="TRACE through an upstream with a login"
            )  # the answer could show that login
        # A connection that waits was judged for its destination; but one to an HTTP hop leads anywhere.
        afar = self._judge.afar(destination)
        memory = self._gateway.memory
        chains = [
            chain
            for chain in self._chains
            if (afar is None or not chain.endsInHTTP)
            and chain.health.live
            and not memory.isLast(chain.health, destination)
        ]
        way = self._pool.take(chains, destination, self._repeatable)
        if way is None:
            self._search(None)
        else:
            self._asked.append(way.chain)
            self._entry.attempted(Attempt(way.chain.name, "", "reused", 0.0))
            self._send(way, Found(way.chain, way.origin, way.chain.health.begin(), destination, memory))
        return await self._answer

    def end(self, won: Answer | None) -> None:
        """Stop everything but what has won."""
        searching, self._searching = self._searching, None
        if searching is not None:
            searching.cancel()
        for sending in self._sendings:
            if won is None or sending.way is not won.way:
                if sending.awaited and won is not None:
                    name = sending.way.chain.name
                    self._entry.attempted(Attempt(name, "", "overtaken", sending.milliseconds))
                    if sending is self._sendings[0]:  # it began before the winner
                        sending.found.failed(Refusal("PS-UP32", chain=name, where=str(self._destination)))
                sending.drop()
                sending.found.close()

    def over(self) -> None:
        """The session is over."""
        for sending in self._sendings:
            sending.found.close()

    @property
    def sent(self) -> int:
        """The bytes that went out, on all ways."""
        return sum(sending.way.origin.sent for sending in self._sendings)

    # a way

    def _search(self, plan: Plan | None) -> None:
        """Search for a way; for another one, by a `plan` of what is left, in less time."""
        searching = Deferred.fromCoroutine(self._find(plan))
        if not searching.called:
            self._searching = searching
        searching.addErrback(self.broken)

    async def _find(self, plan: Plan | None) -> None:
        try:
            if plan is None:
                found = await self._session.search(self._reach)
            else:
                found = await self._session.search(self._reach, AGAIN_SECONDS, plan, further=True)
        except Refusal as refusal:
            self._searching = None
            self._failure = self._failure or refusal
            self._conclude()
        else:
            self._searching = None
            self._asked.append(found.chain)
            if self._sendings:
                self._gateway.counts.repeats += 1
            self._send(Way(found.chain, self._destination, found.reached), found)

    def _reach(self, chain: Chain) -> Deferred[Origin]:
        if chain.endsInHTTP and (refusal := self._judge.afar(self._destination)) is not None:
            return fail(refusal)
        endpoint = chain.reachLast() if chain.endsInHTTP else chain.connect(self._destination, self._judge)
        connecting: Deferred[Origin] = endpoint.connect(  # type: ignore[assignment]
            OriginFactory(self._ears.listen(chain, self._clock))
        )

        def failed(failure: Failure) -> Failure:
            self._unreached.append(chain)
            if isinstance(failure.value, Refusal):
                self._failures[chain.name] = failure.value
            return failure

        return connecting.addErrback(failed)

    def _goOn(self) -> None:
        """Ask another chain, where that is allowed and there is one."""
        # With an answer in hand nobody is made to wait for a chain that could not be reached a moment ago.
        out = self._asked if self._kept is None else self._asked + self._unreached
        sent = sum(sending.counts for sending in self._sendings)
        if (
            self._searching is None
            and sent < SENDINGS
            and not self._answer.called
            and self._clock.seconds() - self._session.began <= LATEST
            and (left := self._left(out))
        ):
            self._search(left)

    def _left(self, out: Sequence[Chain]) -> Plan:
        """What there is beside those, without tiers in which nothing is left."""
        left = [[chain for chain in tier if not any(chain is each for each in out)] for tier in self._session.plan]
        return [tier for tier in left if tier]

    # a sending

    def _send(self, way: Way, found: Found[Origin]) -> None:
        session, now = self._session, self._clock.seconds()
        patience = SILENCE_SECONDS
        if self._sendings:
            share = (session.began + session.group.retry.total - now) / (sum(map(len, self._left(self._asked))) + 1)
            patience = max(SHARE_LEAST, min(patience, share))
        sending = Sending(way, found, self._target, self._clock, self._ears, self, session.began, patience)
        self._sendings.append(sending)
        sending.send(self._request(way.chain), self._exchange, self._inform)

    def _request(self, chain: Chain) -> h11.Request:
        """In absolute-form for an HTTP proxy (RFC 9112, section 3.2.2), else in origin-form."""
        head, target = self._exchange.head, self._target
        path = target.path
        if chain.endsInHTTP:
            path = b"http://" + target.authority + (b"" if path == b"*" else path)
        hopLogin = chain.login if chain.endsInHTTP else None
        fields = requestFields(head, target, via=self._gateway.via, hopLogin=hopLogin)
        return h11.Request(method=head.method, target=path, headers=fields)

    def _inform(self, head: ResponseHead) -> None:
        self._exchange.inform(head.status, head.reason, responseFields(head, via=self._gateway.via))

    # what becomes of a sending

    def headed(self, sending: Sending, head: ResponseHead) -> None:
        """See `Told`."""
        chain = sending.way.chain
        answer = Answer(sending.way, head, sending.patience)
        if not chain.endsInHTTP or head.status not in _DOUBTFUL:
            sending.found.spoke()
            self._win(answer)
        elif head.status == 407:
            sending.counts = False
            said = f"407 {head.reason.decode('latin-1')}"
            again = not self._exchange.head.hasBody
            refusal = Refusal("PS-UP10", chain=chain.name, detail=offersOnly(head.fields), said=said)
            sending.found.tried.barred(refusal)
            self.failed(sending, refusal, again)
        elif self._kept is not None:
            sending.drop()
            self._conclude()
        else:
            self._kept = answer
            answer.patience.wait(True)
            if self._repeatable and head.status in _PASSING and _isHopsOwn(head):
                self._goOn()
            self._conclude()

    def closed(self, sending: Sending, spoke: bool) -> None:
        """See `Told`."""
        chain = sending.way.chain
        refusal = Refusal("PS-DE10", where=str(self._destination))
        if not sending.way.fresh and not spoke:
            # It was being closed when the request was sent (RFC 9112, section 9.3.1): the same chain is asked anew.
            self._asked.remove(chain)
        else:
            sending.excuse()
            if chain.endsInHTTP:
                refusal = Refusal("PS-UP16", chain=chain.name)
            sending.found.failed(Refusal("PS-UP30", chain=chain.name, where=str(self._destination)))
        self.failed(sending, refusal, self._repeatable)

    def garbled(self, sending: Sending, text: str) -> None:
        """See `Told`."""
        chain = sending.way.chain
        if chain.endsInHTTP:
            nonsense = Refusal("PS-UP07", chain=chain.name, detail="HTTP")
            sending.found.blamed(nonsense)
            self.failed(sending, nonsense, self._repeatable)
        else:
            self.failed(sending, Refusal("PS-DE08", where=str(self._destination), detail=text))

    def silent(self, sending: Sending) -> None:
        """See `Told`."""
        if self._repeatable:
            self._goOn()

    def failed(self, sending: Sending, refusal: Refusal, again: bool = False) -> None:
        """See `Told`; with `again`, it is a reason to ask another chain."""
        self._entry.attempted(Attempt(sending.way.chain.name, "", refusal.token, sending.milliseconds))
        sending.drop()
        sending.found.close()
        self._failure = self._failure or refusal
        self._failures[sending.way.chain.name] = refusal
        if again:
            self._goOn()
        self._conclude()

    def broken(self, failure: Failure) -> None:
        """See `Told`."""
        if not failure.check(CancelledError) and not self._answer.called:
            self._answer.errback(failure)

    def _conclude(self) -> None:
        """When nothing is awaited any more, what was kept is the answer, or the first failure."""
        if self._searching is not None or any(sending.awaited for sending in self._sendings):
            return
        if self._kept is not None:
            self._win(self._kept)
        elif self._failure is not None and not self._answer.called:
            self._answer.errback(Failure(self._told(self._failure)))

    def _told(self, failure: Refusal) -> Refusal:
        """What to say when several chains failed, of which one at least had taken the request."""
        if len(self._sendings) == 0 or len({each.slug.code for each in self._failures.values()}) <= 1:
            return failure
        return noneWorked(list(self._failures.items()))

    def _win(self, answer: Answer) -> None:
        answer.patience.wait(False)
        if not self._answer.called:
            self._answer.callback(answer)


def _isHopsOwn(head: ResponseHead) -> bool:
    """Whether the hop made the response itself: it came through no other proxy, or squid says that it is its own."""
    return head.get(b"via") is None or head.get(b"x-squid-error") is not None
