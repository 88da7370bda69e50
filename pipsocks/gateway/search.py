"""The search: which chain next, what goes on beside what, and when to stop (behaviour, section 5)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.gateway.doubt import REPORTS, Findings
from pipsocks.gateway.found import Found
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.seam import Chain, Group, Plan, Try
from pipsocks.model import Attempt, Destination
from pipsocks.refusal import Refusal
from pipsocks.slugs import About

BACKOFF_BASE: Final = 0.1
BACKOFF_LIMIT: Final = 2.0

SHARE_LEAST: Final = 1.0
"""Seconds that an attempt is given before another goes on beside it, however many chains are left."""

T = TypeVar("T")
Stages = Iterator[list[Chain]]
_log = Logger()


class Record(Protocol):
    """Where attempts are told: the session's entry."""

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt."""


def stages(
    plan: Plan, destination: Destination, memory: Memory, without: Iterable[Chain] = (), lost: Iterable[Chain] = ()
) -> Stages:
    """
    The chains to ask, stage by stage: the live ones of each tier, those last that could not reach the destination when
    others could; then the ejected ones, soonest due first; then those out by a probe. Each stage is made when it is
    wanted.

    @param without: chains that are not asked.
    @param lost: those that have failed the session before, or were too slow for it: the last of each tier.
    """
    given, behind = set(map(id, without)), set(map(id, lost))
    for tier in plan:
        live = [chain for chain in tier if chain.health.live and id(chain) not in given]
        given.update(map(id, live))
        yield sorted(live, key=lambda chain: (memory.isLast(chain.health, destination), id(chain) in behind))
    rest = [chain for tier in plan for chain in tier if id(chain) not in given]
    yield sorted((chain for chain in rest if chain.health.askable), key=lambda chain: chain.health.lateness)


@attrs.define(eq=False)
class _Going:
    """
    An attempt that is under way.

    @ivar share: until when it goes on alone, while there is another to go on beside it.
    @ivar slow: from when on it is slow, by its chain's pace.
    @ivar followed: another has begun beside it.
    @ivar hedged: and that since it was slow: whoever wins, it is not blamed.
    """

    chain: Chain
    tried: Try
    began: float
    share: float
    slow: float
    asking: Deferred[object] | None = None
    followed: bool = False
    hedged: bool = False


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
        total: float | None = None,
        chains: Stages | None = None,
        said: Iterable[tuple[Chain, Refusal]] = (),
        further: bool = False,
        lost: list[Chain] | None = None,
        again: Callable[[Chain], bool] = lambda _: True,
        attempts: int | None = None,
    ) -> None:
        """
        @param total: seconds for the whole search; the group's, by default.
        @param chains: what to ask, if not all of `plan`; none but these is asked again either.
        @param said: what chains have told of the destination already.
        @param further: this is no session's first search, so that its first attempt is paid for like the others.
        @param lost: chains that failed the session, or were too slow for it, to which those of this search are added.
        @param again: whether a chain that was asked may be asked once more, behind all the others.
        @param attempts: how many there may be, if fewer than in any search of the group.
        """
        self._clock = clock
        self._group = group
        self._destination = destination
        self._memory = memory
        self._record = record
        self._reach = reach
        self._total = group.retry.total if total is None else total
        self._limit = group.retry.attempts if attempts is None else attempts
        self._end = clock.seconds() + self._total
        self._findings = Findings(plan, destination, memory)
        for chain, refusal in said:
            self._findings.add(chain, refusal)
        self._lostChains = [] if lost is None else lost
        self._stages = stages(plan, destination, memory, lost=self._lostChains) if chains is None else chains
        self._everyone = chains is None
        self._allowed = again
        self._untried: deque[Chain] = deque()
        self._again: deque[Chain] = deque()
        self._asked: list[Chain] = []
        self._running: list[_Going] = []
        self._attempts = 0
        self._backoff = BACKOFF_BASE
        self._paid = further
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
        self._proceed(paid=self._paid)
        return self._done

    # which chain next

    def _proceed(self, paid: bool) -> None:
        """
        Ask the next chain, or stop.

        @param paid: it is paid for, even if it is live and untried.
        """
        if self._broke or self._attempts >= self._limit:
            self._conclude()
            return
        chain = self._next()
        if chain is not None:
            if (paid or not chain.health.live) and self._attempts + self._paid > 0 and not self._group.budget.spend():
                self._broke = True
                self._conclude()
            else:
                self._attempt(chain)
        elif not self._running:
            self._rest()

    def _next(self) -> Chain | None:
        """The next chain of the stage, or of the next one, once all of this one have failed."""
        while True:
            while self._untried:
                chain = self._untried.popleft()
                if self._isOpen(chain):
                    return chain
            if self._running:
                return None
            stage = next(self._stages, None)
            if stage is None:
                return None
            self._untried = deque(stage)

    def _isOpen(self, chain: Chain) -> bool:
        return not any(chain is each for each in self._asked) and self._findings.isUsable(chain)

    def _rest(self) -> None:
        """Each has been asked: wait, with full jitter, before one is asked again."""
        while self._again and not self._mayAskAgain(self._again[0]):
            self._again.popleft()
        live = self._findings.live
        if not self._again:
            self._again = deque(filter(self._mayAskAgain, live))
        if not self._again:
            self._conclude()
            return
        # Alone and direct, the next dial tells a restarting service from a dead one: a fixed, short wait.
        alone = len(live) == 1 and live[0].direct
        pause = BACKOFF_BASE if alone else random.uniform(0, self._backoff)
        self._backoff = min(self._backoff * 2, BACKOFF_LIMIT)
        if self._clock.seconds() + pause >= self._end:
            self._conclude()
            return
        self._resting = self._again.popleft()
        self._wakeAt(self._clock.seconds() + pause)

    def _mayAskAgain(self, chain: Chain) -> bool:
        return (
            any(chain is each for each in self._findings.live)
            and self._findings.isUsable(chain)
            and (self._everyone or any(chain is each for each in self._asked))
            and self._allowed(chain)
        )

    # an attempt

    def _attempt(self, chain: Chain) -> None:
        now = self._clock.seconds()
        self._attempts += 1
        self._asked.append(chain)
        left = sum(map(self._isOpen, self._untried)) + 1
        slow = chain.health.pace.slow if self._group.hedge and not self._hedged else None
        going = _Going(
            chain,
            chain.health.begin(),
            now,
            share=now + max(SHARE_LEAST, (self._end - now) / left),
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

    def _won(self, reached: T, going: _Going) -> None:
        now = self._clock.seconds()
        self._running.remove(going)
        going.chain.health.pace.add(now - going.began)
        self._tell(going, "ok")
        running = self._stop("overtaken")
        self._lostChains += [other.chain for other in running]
        for other in running:
            if other.began <= going.began and not other.hedged:
                failure = Refusal("PS-UP32", chain=other.chain.name, where=str(self._destination))
                self._memory.reported(other.chain.health, self._destination, other.tried, failure)
        self._done.callback(Found(going.chain, reached, going.tried, self._destination, self._memory))

    def _lost(self, failure: Failure, going: _Going) -> None:
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

    def _tell(self, going: _Going, outcome: str, hop: str = "") -> None:
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
        return not self._broke and self._attempts < self._limit and any(map(self._isOpen, self._untried))

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
            if not self._mayAskAgain(resting):  # others found that out meanwhile
                self._rest()
            elif self._group.budget.spend():
                self._attempt(resting)
            else:
                self._broke = True
                self._conclude()
        else:
            self._goBeside(self._running[-1], now)

    def _goBeside(self, newest: _Going, now: float) -> None:
        """Ask the next chain of the stage beside the newest attempt, if the budget allows."""
        isSlow, isOut = now >= newest.slow, now >= newest.share
        if (isSlow or isOut) and not newest.followed and self._mayGoBeside:
            newest.slow = float("inf")
            if isOut:
                newest.share = float("inf")
            if self._group.budget.spend():
                newest.followed = True
                newest.hedged = self._hedged = not isOut
                chain = self._next()
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

    def _stop(self, outcome: str) -> list[_Going]:
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


def note(memory: Memory, chain: Chain, destination: Destination, tried: Try, refusal: Refusal) -> None:
    """Let the chain's health, and the memory, know of a failure, by what it speaks of."""
    about = refusal.about
    if about is About.HOP:
        tried.blamed(refusal)
    elif about is About.LOGIN:
        tried.barred(refusal)
    elif about in REPORTS or about is About.RULES:
        memory.reported(chain.health, destination, tried if about in REPORTS else None, refusal)
    tried.untold()
