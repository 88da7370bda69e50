"""The search: which chain next, what goes on beside what, and when to stop (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.gateway.attempt import TERMS, Going, Record, Terms
from pipsocks.gateway.doubt import Findings
from pipsocks.gateway.found import Found, note
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.order import Order, stages
from pipsocks.gateway.seam import Chain, Group, Plan
from pipsocks.model import Attempt, Destination
from pipsocks.refusal import Refusal
from pipsocks.slugs import About

SHARE_LEAST: Final = 1.0
"""Seconds that an attempt is given before another goes on beside it, however many chains are left."""

T = TypeVar("T")
_log = Logger()


class Search(Generic[T]):
    """
    Asks chains until one has what `reach` gets. Its inputs come in any order:

    ==============================  ==================================================================================
    what happens                    then
    ==============================  ==================================================================================
    it begins                       the first chain of the first stage is asked
    an attempt succeeds             it wins; all others are cancelled, and those begun before it are reported, vaguely
    an attempt fails                the failure is noted; at once the next chain, unless one went on beside it already
    the client's own failure        the end: that is the answer
    the failures settle it          the end: the destination's failure is the answer
    an attempt exceeds its share    the next chain of the stage is asked beside it, if the budget allows
    an attempt is slow, by pace     the same, once in a search, where the group hedges; nobody is blamed for it
    all of a stage have failed      the next stage; behind the last one live chains again, with back-off
    eight attempts, or no budget    the end, once what runs has ended
    the deadline                    the end: what runs is cancelled, and not blamed
    the client leaves               the end: what runs is cancelled, and nothing is told
    ==============================  ==================================================================================
    """

    def __init__(
        self,
        clock: IReactorTime,
        group: Group,
        plan: Plan,
        destination: Destination,
        memory: Memory,
        record: Record,
        reach: Callable[[Chain], Deferred[T]],
        terms: Terms = TERMS,
        lost: list[Chain] | None = None,
    ) -> None:
        """
        @param lost: chains that failed the session, or were too slow for it, to which those of this search are added.
        """
        self._clock = clock
        self._group = group
        self._destination = destination
        self._memory = memory
        self._record = record
        self._reach = reach
        self._lostChains = [] if lost is None else lost
        self._total = group.retry.total if terms.total is None else terms.total
        self._limit = group.retry.attempts if terms.attempts is None else terms.attempts
        self._end = clock.seconds() + self._total
        self._findings = Findings(plan, destination, memory)
        for chain, refusal in terms.said:
            self._findings.add(chain, refusal)
        order = stages(plan, destination, memory, lost=self._lostChains) if terms.chains is None else terms.chains
        self._order = Order(self._findings, order, terms.chains is None, terms.again)
        self._further = terms.further
        self._running: list[Going] = []
        self._attempts = 0
        self._broke = False
        self._hedged = False
        self._over = False
        self._timer: IDelayedCall | None = None
        self._resting: Chain | None = None
        self._done: Deferred[Found[T]] = Deferred(lambda _: self._leave())

    def begin(self) -> Deferred[Found[T]]:
        """
        Search.

        @return: fires with the way that was found; fails with `Refusal`: what the client is to be told, within the
            total time. Cancelling it cancels everything that runs.
        """
        self._proceed()
        return self._done

    # which chain next

    def _proceed(self, paid: bool = False) -> None:
        """
        Ask the next chain, or stop.

        @param paid: it is paid for, even if it is live and untried.
        """
        if self._broke or self._attempts >= self._limit:
            self._conclude()
            return
        chain = self._order.next(bool(self._running))
        if chain is not None and self._mayAsk(chain, paid):
            self._attempt(chain)
        elif chain is None and not self._running:
            self._rest()
        else:
            self._broke = chain is not None
            self._conclude()

    def _mayAsk(self, chain: Chain, paid: bool) -> bool:
        """Whether it is free, or can be paid for, which it is then."""
        if not self._attempts and not self._further:
            return True
        if self._attempts and not paid and chain.health.live and not chain.health.suspect:
            return True
        return self._group.budget.spend()

    def _rest(self) -> None:
        """Each has been asked: wait, with full jitter, before one is asked again."""
        chain = self._order.again()
        pause = self._order.pause()
        if chain is None or self._clock.seconds() + pause >= self._end:
            self._conclude()
            return
        self._resting = chain
        self._wakeAt(self._clock.seconds() + pause)

    # an attempt

    def _attempt(self, chain: Chain) -> None:
        now = self._clock.seconds()
        self._attempts += 1
        self._order.asked(chain)
        slow = chain.health.pace.slow if self._group.hedge and not self._hedged else None
        going = Going(
            chain,
            chain.health.begin(),
            now,
            share=now + max(SHARE_LEAST, (self._end - now) / (self._order.left + 1)),
            slow=float("inf") if slow is None else now + slow,
        )
        self._running.append(going)
        asking = maybeDeferred(self._reach, chain)
        going.asking = asking  # type: ignore[assignment]
        if self._over:  # the client left while it was being asked
            asking.cancel()
        asking.addCallbacks(self._won, self._lost, callbackArgs=(going,), errbackArgs=(going,))
        asking.addErrback(self._broken)
        self._schedule()

    def _won(self, reached: T, going: Going) -> None:
        now = self._clock.seconds()
        self._running.remove(going)
        going.chain.health.pace.add(now - going.began)
        self._tell(going, "ok")
        running = self._stop("overtaken")
        self._lostChains += [other.chain for other in running]
        for other in running:
            if other.began <= going.began and not other.hedged:
                failure = Refusal("PS-UP32", chain=other.chain.name, where=str(self._destination))
                note(self._memory, other.chain, self._destination, other.tried, failure)
        self._done.callback(Found(going.chain, reached, going.tried, self._destination, self._memory))

    def _lost(self, failure: Failure, going: Going) -> None:
        if self._over:
            if not failure.check(Refusal, CancelledError):
                _log.failure("an attempt that was cancelled failed", failure)
            return
        self._running.remove(going)
        if not isinstance(failure.value, Refusal):
            going.tried.untold()
            self._stop("cancelled")
            self._done.errback(failure)
            return
        refusal = failure.value
        self._tell(going, refusal.token, refusal.hop)
        if refusal.about is About.CLIENT:
            going.tried.untold()
            self._stop("cancelled")
            self._done.errback(failure)
            return
        note(self._memory, going.chain, self._destination, going.tried, refusal)
        self._lostChains.append(going.chain)
        self._findings.add(going.chain, refusal)
        if self._findings.settled:
            self._stop("cancelled")
            self._conclude()
        elif going.followed and self._running:
            self._schedule()
        else:
            self._proceed(paid=refusal.about is About.PLAIN)
            self._schedule()

    def _broken(self, failure: Failure) -> None:
        """An error of ours, in what is done about an attempt's end."""
        if not self._done.called:
            self._stop("cancelled")
            self._done.errback(failure)

    def _tell(self, going: Going, outcome: str, hop: str = "") -> None:
        milliseconds = (self._clock.seconds() - going.began) * 1000
        self._record.attempted(Attempt(going.chain.name, hop, outcome, milliseconds))

    # the clock: one timer, set to what is due first

    def _schedule(self) -> None:
        if self._over or not self._running:
            return
        due, newest = self._end, self._running[-1]
        if not newest.followed and self._mayGoBeside:
            due = min(due, newest.share, newest.slow)
        self._wakeAt(due)

    @property
    def _mayGoBeside(self) -> bool:
        return not self._broke and self._attempts < self._limit and self._order.left > 0

    def _wakeAt(self, due: float) -> None:
        delay = max(0.0, due - self._clock.seconds())
        if self._timer is not None:
            self._timer.reset(delay)
        else:
            self._timer = self._clock.callLater(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        resting, self._resting = self._resting, None
        now = self._clock.seconds() + 1e-6  # a timer may be early by a rounding
        if now >= self._end:
            self._expire()
        elif resting is not None:
            if not self._order.mayAgain(resting):  # others found that out meanwhile
                self._rest()
            elif self._group.budget.spend():
                self._attempt(resting)
            else:
                self._broke = True
                self._conclude()
        else:
            self._goBeside(self._running[-1], now)

    def _goBeside(self, newest: Going, now: float) -> None:
        """Ask the next chain of the stage beside the newest attempt, if the budget allows."""
        isSlow, isOut = now >= newest.slow, now >= newest.share
        if (isSlow or isOut) and not newest.followed and self._mayGoBeside:
            newest.slow = float("inf")
            if isOut:
                newest.share = float("inf")
            if self._group.budget.spend():
                newest.followed = True
                newest.hedged = self._hedged = not isOut
                chain = self._order.next(running=True)
                assert chain is not None, "one was open a moment ago"
                self._attempt(chain)
                return
        self._schedule()

    # the end

    def _expire(self) -> None:
        for going in self._running:
            refusal = Refusal("PS-UP22", chain=going.chain.name, detail=f"{self._total:g} s")
            self._findings.add(going.chain, refusal)
        self._stop("deadline")
        self._conclude()

    def _conclude(self) -> None:
        """The end, unless something runs."""
        if self._running or self._done.called:
            return
        self._stop("cancelled")
        if not self._attempts:
            self._recall()
        if self._findings.reported:
            self._memory.fail(self._destination)
        self._done.errback(self._findings.answer())

    def _recall(self) -> None:
        """Nobody may be asked: the journal is told what each said when it was."""
        for chain in (chain for tier in self._findings.tiers for chain in tier):
            if (reason := chain.health.reason) is not None:
                self._record.attempted(Attempt(chain.name, reason.hop, reason.token, 0.0))

    def _leave(self) -> None:
        self._stop("cancelled")

    def _stop(self, outcome: str) -> list[Going]:
        """Nothing is begun any more, and all that runs is cancelled."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running, self._running = self._running, []
        for going in running:
            going.chain.health.pace.add(self._clock.seconds() - going.began)
            going.tried.untold()
            self._tell(going, outcome)
            if going.asking is not None:
                going.asking.cancel()
        return running
