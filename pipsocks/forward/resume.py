"""A download that is cut goes on where it stopped, over another chain if needed (behaviour, section 5, "Resume")."""

from __future__ import annotations

from typing import Final

import attrs

from pipsocks.forward.again import Answer, Asking, isHopsFailure
from pipsocks.forward.content import Passing
from pipsocks.forward.pool import Pool
from pipsocks.forward.probe import Ears
from pipsocks.forward.question import Question
from pipsocks.forward.seam import Exchange, Fields
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.seam import Chain
from pipsocks.gateway.session import Session
from pipsocks.model import Attempt
from pipsocks.refusal import Refusal
from pipsocks.slugs import About
from pipsocks.wire.gate import Cut, ResponseHead
from pipsocks.wire.http import listed
from pipsocks.wire.ranges import Unfit, continuation, strongValidator

FRUITLESS: Final = 3
"""Continuations in a row that bring no new byte; then it is over."""

CONTINUATIONS: Final = 1000
"""Continuations of one answer, whatever they bring: the journal's line tells of each, and has to have an end."""

_OWN: Final = frozenset({b"range", b"if-range"})

_LEFT_OUT: Final = _OWN | {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"te"}
"""
What a continuation doesn't repeat of the client's request.

Its conditions were judged when the answer began. Asked of the rest they could only bring a 304 or 412 for what is half
there; that it is still the same content is If-Range's to see. Trailers would be those of a part.
"""


class Download:
    """
    The content of one answer on its way to the client, over one connection after the other.

    ==========================================  =====================================================================
    what happens                                then
    ==========================================  =====================================================================
    the content is complete                     so is the client's answer
    it is malformed                             the answer is cut
    the connection is lost within it            the rest is asked for, if the content can be known again; else cut
    nothing comes for 120 s                     the same
    the client does not read for an hour        cut
    a 206 that is the next part                 its content is joined
    the part ends before the whole does         the rest is asked for
    a hop's own 502, 503, 504; no answer        the rest is asked for anew
    any other answer                            cut
    three such, or cuts, without a new byte     cut
    a thousand of them                          cut
    our rules forbid it by now                  cut
    the client leaves                           everything is let go
    ==========================================  =====================================================================

    Each time is a search of its own, of which nothing is free. A chain that has brought something since the last cut
    keeps its place in the plan: why it was cut nobody knows. One that has not is asked last of its tier.

    @ivar answer: the one whose content comes now, or came last.
    @ivar sent: the bytes that continuations sent.
    @ivar reason: why it does not go on, once it does not.
    """

    def __init__(self, session: Session, judge: Judge, question: Question, exchange: Exchange, ears: Ears) -> None:
        self.answer: Answer | None = None
        self.sent = 0
        self.reason = ""
        self._session = session
        self._clock = session.gateway.clock
        self._judge = judge
        self._question = question
        self._exchange = exchange
        self._ears = ears
        self._at = 0  # the bytes of content that were passed on
        self._total: int | None = None
        self._late: list[Chain] = []

    async def deliver(self, answer: Answer) -> Fields:
        """
        Pass the content on, as fast as the client takes it.

        @return: the trailers. Those of a content in parts are nobody's.
        @raise Cut: the rest of it can't be had.
        @raise GateError: it is malformed.
        """
        self.answer, self._total = answer, answer.head.length
        try:
            return await self._pass(answer)
        except Cut:
            validator = strongValidator(answer.head.fields)
            if answer.patience.stalled or validator is None or not self._mayResume(answer.head):
                raise
        fruitless = count = 0
        while fruitless < FRUITLESS and count < CONTINUATIONS:
            count += 1
            before = self._at
            goesOn = await self._goOn(answer.head, validator)
            if self._at == self._total:
                return ()
            if not goesOn:
                break
            fruitless = 0 if self._at > before else fruitless + 1
        raise Cut(self.reason)

    def _mayResume(self, head: ResponseHead) -> bool:
        """Whether the request may be sent again for a part, and the answer is of a size that will be known."""
        asked = self._question.head
        return (
            self._session.group.retry.resume
            and asked.method == b"GET"
            and self._question.repeatable
            and asked.get(b"range") is None
            # What Connection names would be dropped on the way.
            and _OWN.isdisjoint(listed(asked.all(b"connection")))
            and head.status == 200
            and (head.chunked or head.length is not None)
            and listed(head.all(b"accept-ranges")) != [b"none"]
        )

    def _rest(self, validator: bytes) -> Question:
        """What asks for the rest of the content that `validator` belongs to."""
        asked = self._question.head
        kept = tuple([field for field in asked.fields if field[0].lower() not in _LEFT_OUT])
        own = ((b"Range", b"bytes=%d-" % self._at), (b"If-Range", validator))
        head = attrs.evolve(asked, fields=kept + own)
        return attrs.evolve(self._question, head=head, inform=_unheard)

    async def _goOn(self, first: ResponseHead, validator: bytes) -> bool:
        """One continuation. Whether another may follow it."""
        session = self._session
        own = Session(session.gateway, session.request, session.entry)  # with a beginning of its own
        own.choice, own.group, own.plan, own.lost = session.choice, session.group, session.plan, list(self._late)
        asking = Asking(own, self._judge, self._rest(validator), Pool(), self._ears, further=True)
        answer = None
        try:
            answer = await asking.answer()
            asking.end(answer)
            if isHopsFailure(answer.way.chain, answer.head):
                self.reason = f"not resumed: {answer.way.chain.name} answered {answer.head.status}"
                self._order(answer.way.chain, late=True)
                return True
            part = continuation(first, self._at, self._total, answer.head)
            self.answer, self._total = answer, part.total
            session.entry.resumes += 1
            session.gateway.counts.resumes += 1
            await self._pass(answer, part.size)
        except Refusal as refusal:
            self.reason = f"not resumed: {refusal.cause}"
            for chain in asking.asked:
                self._order(chain, late=True)
            return bool(asking.asked) or refusal.about is not About.CLIENT
        except Unfit as unfit:
            self.reason = f"not resumed: {unfit.text}"
            return False
        except Cut as cut:
            self.reason = f"not resumed: {cut}"
            return answer is not None and not answer.patience.stalled
        finally:
            self.sent += asking.sent
            asking.end(self.answer if self._at == self._total else None)
            asking.over()
        return True

    async def _pass(self, answer: Answer, size: int | None = None) -> Fields:
        """Pass on what comes over one connection: with a `size`, so much."""
        chain, origin, began = answer.way.chain, answer.way.origin, self._clock.seconds()
        passing = Passing(origin, self._exchange, answer.patience, size)
        self._exchange.drain(passing)
        try:
            trailers = await origin.deliver(passing)
            if size is not None and passing.came < size:
                raise Cut("ended before its Content-Range")
        except Cut:
            self._session.entry.attempted(Attempt(chain.name, "", "cut", (self._clock.seconds() - began) * 1000))
            self._exchange.drain(None)
            answer.patience.stop()
            answer.found.close()
            origin.abort()
            self._order(chain, late=answer.patience.lapsed or not passing.came)
            raise
        finally:
            self._at += passing.came
        return trailers

    def _order(self, chain: Chain, late: bool) -> None:
        """Whether `chain` is to be asked last."""
        self._late = [each for each in self._late if each is not chain]
        if late:
            self._late.append(chain)


def _unheard(head: ResponseHead) -> None:
    """An interim head of a continuation is no news to the client, whose answer has begun."""
