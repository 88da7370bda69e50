"""One sending of a request: out on one way, and watched until the head of its response comes."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pipsocks.forward.content import Upload
from pipsocks.forward.origin import Closed, Origin
from pipsocks.forward.patience import Patience
from pipsocks.forward.pool import Way
from pipsocks.forward.probe import FORGOTTEN_SECONDS, SILENCE_SECONDS, Ears
from pipsocks.forward.question import Question
from pipsocks.gateway.found import Found
from pipsocks.gateway.search import SHARE_LEAST
from pipsocks.gateway.session import Session
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import GateError, ResponseHead


class Told(Protocol):
    """Who is told what becomes of a sending."""

    def headed(self, sending: Sending, head: ResponseHead) -> None:
        """The response's head has come; its content is held unread."""

    def closed(self, sending: Sending, spoke: bool) -> None:
        """The connection closed without one; `spoke`: something had come."""

    def garbled(self, sending: Sending, text: str) -> None:
        """What came is no response."""

    def silent(self, sending: Sending) -> None:
        """Nothing has come for as long as it is waited for alone."""

    def failed(self, sending: Sending, refusal: Refusal) -> None:
        """It has failed in another way."""

    def broken(self, failure: Failure) -> None:
        """An error of ours, or a cancellation, which is none."""


class Sending:
    """
    One sending of the request.

    @ivar found: the way's chain, as its health is told of what becomes of the request.
    @ivar awaited: whether its response's head may still come.
    @ivar counts: False where the hop can't have carried the request out, as far as anybody knows.
    @ivar patience: over the head, and after it over the content.
    """

    def __init__(
        self,
        way: Way,
        found: Found[Origin],
        question: Question,
        session: Session,
        ears: Ears,
        told: Told,
        patience: float,
        until: float,
    ) -> None:
        """
        @param patience: how long it is silent before that is told.
        @param until: when the client is to have an answer, if it is only a silent hop that it waits for; never, for a
            session's first sending.
        """
        clock = session.gateway.clock
        self.way = way
        self.found = found
        self.began = clock.seconds()
        self.awaited = True
        self.counts = True
        self.patience = Patience(clock, self._lapsed)
        self._question = question
        self._where = str(found.destination)
        self._clock = clock
        self._session = session
        self._ears = ears
        self._told = told
        self._until = until
        self._silence = clock.callLater(patience, self._silent)
        wait = max(0.0, session.began + SILENCE_SECONDS - self.began)
        self._doubt = clock.callLater(wait, self._doubted) if way.chain.endsInHTTP else None
        self._probing: Deferred[Any] | None = None

    def send(self) -> None:
        """Send the head, and the content as it comes. Whatever becomes of it is told."""
        question, origin = self._question, self.way.origin
        headed = origin.ask(question.to(self.way.chain), question.inform)
        if question.head.hasBody:
            origin.transport.registerProducer(question.content, True)
            question.content.pour(Upload(origin, self.patience, self._spoilt))
        else:
            origin.finish(())
        headed.addCallbacks(self._headed, self._headless)
        headed.addErrback(self._told.broken)

    @property
    def milliseconds(self) -> float:
        """How long it has been under way."""
        return (self._clock.seconds() - self.began) * 1000

    def excuse(self) -> None:
        """It does not count where the hop has said nothing for a minute, and nothing here."""
        chain, since = self.way.chain, self._clock.seconds() - FORGOTTEN_SECONDS
        if chain.endsInHTTP and not self.way.origin.spoke and not self._ears.heardAfter(chain, since):
            self.counts = False

    def drop(self) -> None:
        """Have nothing more to do with it."""
        self._settle()
        self.patience.stop()
        self.way.origin.abort()

    def _settle(self) -> None:
        self.awaited = False
        for timer in (self._silence, self._doubt):
            if timer is not None and timer.active():
                timer.cancel()
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()

    # what happens

    def _headed(self, head: ResponseHead) -> None:
        self._settle()
        self._told.headed(self, head)

    def _headless(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, Closed):
            self._told.closed(self, error.spoke)
        elif isinstance(error, GateError):
            self._told.garbled(self, error.text)
        else:
            self._told.broken(failure)

    def _lapsed(self) -> None:
        """Nothing has happened for too long."""
        if self.awaited:
            self._told.failed(self, Refusal("PS-DE09", where=self._where))
        else:
            self.way.origin.giveUp()

    def _spoilt(self, refusal: Refusal) -> None:
        """The request's content can't be read to its end."""
        if self.awaited:
            self._told.failed(self, refusal)
        else:
            self.way.origin.giveUp()

    def _doubted(self) -> None:
        """Nothing has come from the hop since the client asked: is it alive?"""
        if not self._ears.heardAfter(self.way.chain, self._session.began):
            self._probing = Deferred.fromCoroutine(self._probe())
            self._probing.addErrback(self._told.broken)

    def _silent(self) -> None:
        self.excuse()
        self._told.silent(self)

    async def _probe(self) -> None:
        chain, clock = self.way.chain, self._clock
        limit = max(SHARE_LEAST, min(SILENCE_SECONDS, self._until - clock.seconds()))
        # What a session's first hop is worth is always found out, or few attempts would make a slow page a dead one.
        mayDial = partial(self._session.mayAttempt, anyway=self._until == float("inf"))
        alive = await self._ears.isAlive(clock, chain, self._question.target.authority, limit, mayDial)
        if not alive:
            self._probing = None
            refusal = Refusal("PS-UP15", chain=chain.name)
            # One that had less than its time, or was not asked, is not blamed for it.
            whole = limit == SILENCE_SECONDS and alive is False
            (self.found.blamed if whole else self.found.failed)(refusal)
            self._told.failed(self, refusal)
