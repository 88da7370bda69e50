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
from pipsocks.forward.probe import Ears
from pipsocks.forward.seam import Exchange
from pipsocks.forward.sending import Sending
from pipsocks.gateway.doubt import noneWorked
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Chain, Gateway
from pipsocks.model import Attempt, Destination, Entry
from pipsocks.refusal import Refusal
from pipsocks.wire.connect import offersOnly
from pipsocks.wire.gate import ResponseHead
from pipsocks.wire.target import AbsoluteTarget

AGAIN_SECONDS: Final = 3.0
"""How long another way is searched for."""

SENDINGS: Final = 2
"""How often a request is sent, at most."""

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
    4 s of silence                          another chain is asked beside; an HTTP hop is probed
    a probe says nothing for 4 s            that sending has failed
    nothing is awaited any more             what was kept wins, else the first failure is told
    ======================================  =========================================================

    Another chain is asked only for a GET or HEAD without content (but after a 407), within 3 s; the request is sent at
    most twice, and each chain asked once.
    """

    def __init__(
        self,
        gateway: Gateway,
        judge: Judge,
        target: AbsoluteTarget,
        entry: Entry,
        exchange: Exchange,
        pool: Pool,
        ears: Ears,
    ) -> None:
        self._gateway = gateway
        self._judge = judge
        self._target = target
        self._entry = entry
        self._exchange = exchange
        self._pool = pool
        self._ears = ears
        self._destination = Destination(target.host, target.port)
        head = exchange.head
        self._repeatable = head.method in (b"GET", b"HEAD") and not head.hasBody and head.get(b"upgrade") is None
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
        destination = self._destination
        if (refusal := self._judge.before(destination)) is not None:
            raise refusal
        if self._exchange.head.method == b"TRACE" and any(
            each.endsInHTTP and each.login for each in self._gateway.chains
        ):
            raise Refusal(
                "PS-RQ08", detail="TRACE through an upstream with a login"
            )  # the answer could show that login
        # A connection that waits was judged for its destination; but one to an HTTP hop leads anywhere.
        afar = self._judge.afar(destination)
        chains = [chain for chain in self._gateway.chains if afar is None or not chain.endsInHTTP]
        way = self._pool.take(chains, destination, self._repeatable)
        if way is None:
            self._search(self._gateway.chains, None)
        else:
            self._asked.append(way.chain)
            self._entry.route = way.route
            self._entry.attempted(Attempt(way.chain.name, "", "reused", 0.0))
            self._send(way)
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
                sending.drop()

    @property
    def sent(self) -> int:
        """The bytes that went out, on all ways."""
        return sum(sending.way.origin.sent for sending in self._sendings)

    # a way

    def _search(self, chains: Sequence[Chain], total: float | None) -> None:
        searching = Deferred.fromCoroutine(self._find(chains, total))
        if not searching.called:
            self._searching = searching
        searching.addErrback(self.broken)

    async def _find(self, chains: Sequence[Chain], total: float | None) -> None:
        try:
            chain, origin = await self._gateway.search(self._destination, self._entry, self._reach, chains, total)
        except Refusal as refusal:
            self._searching = None
            self._failure = self._failure or refusal
            self._conclude()
        else:
            self._searching = None
            self._asked.append(chain)
            self._send(Way(chain, self._destination, origin, self._entry.route))

    def _reach(self, chain: Chain) -> Deferred[Origin]:
        if chain.endsInHTTP and (refusal := self._judge.afar(self._destination)) is not None:
            return fail(refusal)
        endpoint = chain.reachLast() if chain.endsInHTTP else chain.connect(self._destination, self._judge)
        connecting: Deferred[Origin] = endpoint.connect(  # type: ignore[assignment]
            OriginFactory(self._ears.listen(chain, self._gateway.clock))
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
        others = [chain for chain in self._gateway.chains if not any(chain is each for each in out)]
        sent = sum(sending.counts for sending in self._sendings)
        if self._searching is None and sent < SENDINGS and others and not self._answer.called:
            self._search(others, AGAIN_SECONDS)

    # a sending

    def _send(self, way: Way) -> None:
        gateway = self._gateway
        sending = Sending(way, self._target, str(self._destination), gateway.clock, self._ears, self)
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
            self._win(answer)
        elif head.status == 407:
            sending.counts = False
            said = f"407 {head.reason.decode('latin-1')}"
            again = not self._exchange.head.hasBody
            refusal = Refusal("PS-UP10", chain=chain.name, detail=offersOnly(head.fields), said=said)
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
        self.failed(sending, refusal, self._repeatable)

    def garbled(self, sending: Sending, text: str) -> None:
        """See `Told`."""
        chain = sending.way.chain
        if chain.endsInHTTP:
            self.failed(sending, Refusal("PS-UP07", chain=chain.name, detail="HTTP"), self._repeatable)
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
