"""The answer to one request: whom to ask, when to ask another, whose answer counts (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pipsocks.forward.origin import Origin
from pipsocks.forward.patience import Patience
from pipsocks.forward.pool import Pool, Way
from pipsocks.forward.probe import SILENCE_SECONDS, Ears
from pipsocks.forward.question import Question
from pipsocks.forward.sending import Sending
from pipsocks.forward.ways import Ways
from pipsocks.gateway.found import Found
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.seam import Chain
from pipsocks.gateway.search import SHARE_LEAST
from pipsocks.gateway.session import Session
from pipsocks.model import Attempt, withoutLogin
from pipsocks.refusal import Refusal
from pipsocks.wire.connect import offersOnly
from pipsocks.wire.gate import ResponseHead

SENDINGS: Final = 2
"""How often a request is sent, at most, not counting hops that can't have carried it out."""

_DOUBTFUL: Final = frozenset({403, 407, 502, 503, 504})
"""Statuses that an HTTP hop may have made itself."""

_PASSING: Final = frozenset({502, 503, 504})
"""Those of them that another hop may not have."""


@attrs.frozen(eq=False)
class Answer:
    """
    A response's head, and the way that it came, with its content still there.

    @ivar patience: watches over it.
    @ivar found: the way as its chain's health knows it.
    """

    way: Way
    head: ResponseHead
    patience: Patience
    found: Found[Origin]


class Asking:
    """
    Gets the answer to one request. Inputs come in any order:

    ======================================  =========================================================
    what happens                            then
    ======================================  =========================================================
    a head, not of an HTTP hop's making     it wins, as the chain's success; a hop's own 500 wins without
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
    most twice, and each chain asked once. A further silence, and a further probe, of hops that do not count, are waited
    for as long as leaves each chain its share of the time, and the client its answer when the search would have ended.
    """

    def __init__(
        self, session: Session, judge: Judge, question: Question, pool: Pool, ears: Ears, further: bool = False
    ) -> None:
        """
        @param further: the session has asked for something before, so that all of this is paid for.
        """
        self._session = session
        self._clock = session.gateway.clock
        self._question = question
        self._entry = session.entry
        self._pool = pool
        self._ears = ears
        self._ways = Ways(session, judge, ears, further)
        self._destination = session.request.destination
        self._sendings: list[Sending] = []
        self._searching: Deferred[Any] | None = None
        self._kept: Answer | None = None
        self._failure: Refusal | None = None  # the last search's, or the first sending's
        self._answer: Deferred[Answer] = Deferred()

    async def answer(self) -> Answer:
        """
        The answer that counts. The session's route is known.

        @raise Refusal: there is none.
        """
        question = self._question
        if question.head.method == b"TRACE" and any(each.endsInHTTP and each.login for each in self._ways.chains):
            raise Refusal(
                "PS-RQ08", detail="TRACE through an upstream with a login"
            )  # the answer could show that login
        resting = self._ways.resting(self._pool, question.repeatable)
        if resting is None:
            self._search(None)
        else:
            self._send(*resting)
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
    def asked(self) -> Sequence[Chain]:
        """The chains that were asked."""
        return self._ways.asked

    @property
    def sent(self) -> int:
        """The bytes that went out, on all ways."""
        return sum(sending.way.origin.sent for sending in self._sendings)

    # a way

    def _search(self, left: Sequence[Chain] | None) -> None:
        """Search for a way; for another one, over a chain of those that are `left`."""
        searching = Deferred.fromCoroutine(self._find(left))
        if not searching.called:
            self._searching = searching
        searching.addErrback(self.broken)

    async def _find(self, left: Sequence[Chain] | None) -> None:
        try:
            way, found = await (self._ways.first() if left is None else self._ways.another(left))
        except Refusal as refusal:
            self._searching = None
            # That time for another way is over says nothing, where the first one will be heard of.
            if not self._sendings or refusal.slug.code != "PS-UP22":
                self._failure = self._failure or refusal
            self._conclude()
        else:
            self._searching = None
            if self._sendings:
                self._session.gateway.counts.repeats += 1
            self._send(way, found)

    def _goOn(self) -> None:
        """Ask another chain, where that is allowed and there is one."""
        sent = sum(sending.counts for sending in self._sendings)
        if (
            self._searching is None
            and sent < SENDINGS
            and not self._answer.called
            and (left := self._ways.left(kept=self._kept is not None))
        ):
            self._search(left)

    # a sending

    def _send(self, way: Way, found: Found[Origin]) -> None:
        session, now = self._session, self._clock.seconds()
        patience, until = SILENCE_SECONDS, float("inf")
        if self._sendings:
            until = session.began + session.group.retry.total
            share = (until - now) / (len(self._ways.left(kept=False)) + 1)
            patience = max(SHARE_LEAST, min(patience, share))
        sending = Sending(way, found, self._question, session, self._ears, self, patience, until)
        self._sendings.append(sending)
        sending.send()

    # what becomes of a sending

    def headed(self, sending: Sending, head: ResponseHead) -> None:
        """See `Told`."""
        chain = sending.way.chain
        answer = Answer(sending.way, head, sending.patience, sending.found)
        if not chain.endsInHTTP or head.status not in _DOUBTFUL:
            # Real hops say 500 of what they can't reach, and then nobody has been reached.
            if not (chain.endsInHTTP and head.status == 500 and _isOwn(head)):
                sending.found.spoke()
            self._win(answer)
        elif head.status == 407:
            sending.counts = False
            said = f"407 {withoutLogin(head.reason.decode('latin-1'), chain.login)}"
            again = not self._question.head.hasBody
            detail = withoutLogin(offersOnly(head.fields), chain.login)
            refusal = Refusal("PS-UP10", chain=chain.name, detail=detail, said=said)
            sending.found.tried.barred(refusal)
            self.failed(sending, refusal, again)
        elif self._kept is not None:
            sending.drop()
            self._conclude()
        else:
            self._kept = answer
            answer.patience.wait(True)
            if head.status == 403:
                self._ways.reported(chain, Refusal("PS-UP11", chain=chain.name, where=str(self._destination)))
            if self._question.repeatable and isHopsFailure(chain, head):
                self._goOn()
            self._conclude()

    def closed(self, sending: Sending, spoke: bool) -> None:
        """See `Told`."""
        chain = sending.way.chain
        refusal = Refusal("PS-DE10", where=str(self._destination))
        if not sending.way.fresh and not spoke:
            # It was being closed when the request was sent (RFC 9112, section 9.3.1): the same chain is asked anew.
            self._ways.forget(chain)
        else:
            sending.excuse()
            if chain.endsInHTTP:
                refusal = Refusal("PS-UP16", chain=chain.name)
            report = Refusal("PS-UP30", chain=chain.name, where=str(self._destination))
            sending.found.failed(report)
            self._ways.reported(chain, report)
        self.failed(sending, refusal, self._question.repeatable)

    def garbled(self, sending: Sending, text: str) -> None:
        """See `Told`."""
        chain = sending.way.chain
        if chain.endsInHTTP:
            nonsense = Refusal("PS-UP07", chain=chain.name, detail=f"HTTP: {text}")
            sending.found.blamed(nonsense)
            self.failed(sending, nonsense, self._question.repeatable)
        else:
            self.failed(sending, Refusal("PS-DE08", where=str(self._destination), detail=text))

    def silent(self, sending: Sending) -> None:
        """See `Told`."""
        if self._question.repeatable:
            self._goOn()

    def failed(self, sending: Sending, refusal: Refusal, again: bool = False) -> None:
        """See `Told`; with `again`, it is a reason to ask another chain."""
        self._entry.attempted(Attempt(sending.way.chain.name, "", refusal.token, sending.milliseconds))
        sending.drop()
        sending.found.close()
        self._failure = self._failure or refusal
        self._ways.failed(sending.way.chain, refusal)
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
            failure = self._ways.told(self._failure) if self._sendings else self._failure
            self._answer.errback(Failure(failure))

    def _win(self, answer: Answer) -> None:
        answer.patience.wait(False)
        if not self._answer.called:
            self._answer.callback(answer)


def isHopsFailure(chain: Chain, head: ResponseHead) -> bool:
    """Whether the HTTP hop at the end of `chain` made the response itself, for want of one that it could pass on."""
    return chain.endsInHTTP and head.status in _PASSING and _isOwn(head)


def _isOwn(head: ResponseHead) -> bool:
    """Whether a hop has made it: it came through no other proxy, or squid says so."""
    return head.get(b"via") is None or head.get(b"x-squid-error") is not None
