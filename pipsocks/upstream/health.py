"""
A chain's health, from what becomes of its attempts, and of its probes (behaviour, section 5, "Health").

It is a chain's and not a hop's: a hop may work in one chain and not in another. What is logged names the hop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import attrs
from twisted.logger import Logger

from pipsocks.refusal import Refusal
from pipsocks.upstream.pace import Pace

IN_A_ROW: Final = 5
"""Blamed failures, one after the other, that eject a chain."""

EJECTED_SECONDS: Final = 30.0
EJECTED_LIMIT: Final = 300.0
JITTER: Final = 0.1
"""An ejection lasts 30 s for the first, 60 s for the second in a row, and so on, ± 10 %, at most 300 s."""

BARRED_SECONDS: Final = 300.0
"""How long a chain is out whose hop refused our login: nobody mends a configuration within seconds."""

SUSPECT_SECONDS: Final = 60.0
"""How long five failures in a row, that are no blame, are held against a chain after the last of them."""

TRIAL_LIMIT: Final = 30.0
"""A trial that has told nothing for so long is lent to another session: a tunnel may idle for an hour."""

_log = Logger()


class State(Enum):
    """Where a chain stands; see `Health`."""

    LIVE = "live"
    EJECTED = "ejected"
    BARRED = "barred"
    EJECTED_TRIAL = "on trial after an ejection"
    BARRED_TRIAL = "on trial after a refused login"
    OUT = "out"


class Event(Enum):
    """What happens to a chain; see `Health`."""

    SUCCESS = "the destination's first byte came back"
    BLAME = "a failure that is the chain's own"
    FIFTH = "the fifth of those in a row"
    LOGIN = "a hop refused our login"
    TRIED = "its time is over, and an attempt begins: the trial"
    UNTOLD = "the trial ends without success and without blame"
    PROBED = "a probe came through"
    UNPROBED = "a probe did not"


_S, _E = State, Event
TABLE: Final[Mapping[tuple[State, Event], State]] = {
    (_S.LIVE, _E.FIFTH): _S.EJECTED,
    (_S.LIVE, _E.LOGIN): _S.BARRED,
    (_S.LIVE, _E.UNPROBED): _S.OUT,
    (_S.EJECTED, _E.SUCCESS): _S.LIVE,
    (_S.EJECTED, _E.BLAME): _S.EJECTED,
    (_S.EJECTED, _E.LOGIN): _S.BARRED,
    (_S.EJECTED, _E.TRIED): _S.EJECTED_TRIAL,
    (_S.EJECTED, _E.PROBED): _S.LIVE,
    (_S.EJECTED, _E.UNPROBED): _S.OUT,
    (_S.EJECTED_TRIAL, _E.SUCCESS): _S.LIVE,
    (_S.EJECTED_TRIAL, _E.BLAME): _S.EJECTED,
    (_S.EJECTED_TRIAL, _E.LOGIN): _S.BARRED,
    (_S.EJECTED_TRIAL, _E.UNTOLD): _S.EJECTED,
    (_S.EJECTED_TRIAL, _E.PROBED): _S.LIVE,
    (_S.EJECTED_TRIAL, _E.UNPROBED): _S.OUT,
    (_S.BARRED, _E.SUCCESS): _S.LIVE,
    (_S.BARRED, _E.BLAME): _S.EJECTED,
    (_S.BARRED, _E.TRIED): _S.BARRED_TRIAL,
    (_S.BARRED, _E.PROBED): _S.LIVE,
    (_S.BARRED, _E.UNPROBED): _S.OUT,
    (_S.BARRED_TRIAL, _E.SUCCESS): _S.LIVE,
    (_S.BARRED_TRIAL, _E.BLAME): _S.EJECTED,
    (_S.BARRED_TRIAL, _E.LOGIN): _S.BARRED,
    (_S.BARRED_TRIAL, _E.UNTOLD): _S.BARRED,
    (_S.BARRED_TRIAL, _E.PROBED): _S.LIVE,
    (_S.BARRED_TRIAL, _E.UNPROBED): _S.OUT,
    (_S.OUT, _E.PROBED): _S.LIVE,
}
"""What a chain becomes. What is not listed changes nothing."""

_TRIALS: Final = frozenset({State.EJECTED_TRIAL, State.BARRED_TRIAL})


@attrs.define(eq=False)
class _Row:
    """Failures in a row, and when the last of them was."""

    _count: int = attrs.field(default=0, init=False)
    _last: float = attrs.field(default=float("-inf"), init=False)

    def add(self, times: int, now: float) -> None:
        self._count += times
        self._last = now

    def end(self) -> None:
        self._count = 0

    def many(self, now: float) -> bool:
        return self._count >= IN_A_ROW and now - self._last < SUSPECT_SECONDS


@attrs.define(eq=False)
class Health:
    """
    One chain's health. The transitions are `TABLE`; in words:

    - A live chain is ejected at the fifth blamed failure in a row, and barred at once when a hop refuses our login.
    - When the time of either is up, the next attempt is its trial. Success makes it live again, blame ejects it for
      longer, and a trial that says neither is given to the next session. The blame may come late: a trial's report
      counts once another chain has reached the destination.
    - An attempt that is no trial, on a chain that is not live, changes nothing unless it succeeds; but a hop that
      refuses our login bars an ejected chain too.
    - Whatever it was, a probe that fails puts it out, and only a probe that comes through brings it back then: behind a
      captive portal every attempt succeeds.

    @ivar name: what the log calls the chain.
    @ivar seconds: a monotonic clock.
    @ivar pace: how long its connects take.
    @ivar tunnels: how many sessions go over it now.
    @ivar reason: why it is not live, as the log said it.
    """

    name: str
    seconds: Callable[[], float]
    pace: Pace = attrs.field(factory=Pace)
    tunnels: int = attrs.field(default=0, init=False)
    state: State = attrs.field(default=State.LIVE, init=False)
    due: float = attrs.field(default=0.0, init=False)
    reason: Refusal | None = attrs.field(default=None, init=False)
    _row: int = attrs.field(default=0, init=False)
    _failures: _Row = attrs.field(factory=_Row, init=False)
    _losses: _Row = attrs.field(factory=_Row, init=False)
    _ejections: int = attrs.field(default=0, init=False)
    _spell: int = attrs.field(default=0, init=False)  # how often it has come to live, or left it
    _sentence: int = attrs.field(default=0, init=False)  # how often it has been told what it is
    _trial: Try | None = attrs.field(default=None, init=False)

    @property
    def live(self) -> bool:
        """Whether the next session may take it as any other: it is live, or its trial is due."""
        return self.state is State.LIVE or (self.state is not State.OUT and self.seconds() >= self.due)

    @property
    def askable(self) -> bool:
        """Whether it may be asked at all, were it as the last: not while a hop there refuses our login."""
        return self.live or self.state not in (State.BARRED, State.BARRED_TRIAL)

    @property
    def suspect(self) -> bool:
        """
        Whether only failures have come of it lately, blamed or vague.

        They may all be their destinations' fault. But to go on to it is no longer free: what bounds that otherwise is
        ejection.
        """
        return self._failures.many(self.seconds())

    @property
    def outdone(self) -> bool:
        """
        Whether it has failed again and again lately where others did not: they are asked before it.

        A trial that is due has its place among the others.
        """
        return self._losses.many(self.seconds())

    @property
    def lateness(self) -> tuple[bool, float]:
        """By what those that are not live are sorted: ejected ones, soonest due first; then those out by a probe."""
        return self.state is State.OUT, self.due

    def begin(self) -> Try:
        """An attempt begins: the trial, where one is due."""
        tried = Try(self, self._spell if self.state is State.LIVE else -1)
        if self.state is not State.LIVE and self.live:
            if self.state not in _TRIALS:
                self._happened(Event.TRIED)
            self._trial = tried
            tried.sentence = self._sentence
            self.due = self.seconds() + TRIAL_LIMIT
        return tried

    def probed(self, failure: Refusal | None) -> None:
        """A probe came through, or did not."""
        if failure is None:
            self._happened(Event.PROBED)
        else:
            self._happened(Event.UNPROBED, failure)

    # what an attempt tells

    def succeeded(self) -> None:
        """A destination's first byte came back over it."""
        self._row = 0
        self._failures.end()
        self._losses.end()
        if self.state is not State.LIVE:
            self._happened(Event.SUCCESS)

    def blamed(self, tried: Try, failure: Refusal) -> None:
        """A failure is the chain's own. It counts where it was live all along, or this was a trial since it is not."""
        if tried.sentence == self._sentence:
            self._happened(Event.BLAME, failure)
        elif tried.spell == self._spell and self.state is State.LIVE:
            self._row += 1
            self._happened(Event.BLAME if self._row < IN_A_ROW else Event.FIFTH, failure)

    def barred(self, tried: Try, failure: Refusal) -> None:
        """A hop refused our login."""
        if tried is self._trial or self.state is State.LIVE or self.state is State.EJECTED:
            self._happened(Event.LOGIN, failure)

    def doubted(self) -> None:
        """A failure may be the chain's own, or its destination's."""
        if self.state is State.LIVE:
            self._failures.add(1, self.seconds())

    def wasOutdone(self, times: int) -> None:
        """So many failures where another chain did not fail."""
        if self.state is State.LIVE:
            self._losses.add(times, self.seconds())

    def untold(self, tried: Try) -> None:
        """An attempt ended, and told neither."""
        if tried is self._trial:
            self._happened(Event.UNTOLD)

    def _happened(self, event: Event, failure: Refusal | None = None) -> None:
        before, after = self.state, TABLE.get((self.state, event))
        if after is None:
            return
        self.state = after
        if after not in _TRIALS:
            self._trial = None
        if (after is State.LIVE) != (before is State.LIVE):
            self._spell += 1
            self._failures.end()
            self._losses.end()
        if event not in (Event.TRIED, Event.UNTOLD):
            self._sentence += 1
        if event is Event.UNTOLD:
            self.due = self.seconds()
        elif after is State.LIVE:
            self._row = self._ejections = 0
            self.reason = None
            _log.warn("upstream {name} is back", name=self.name)
        elif after is State.OUT:
            self._tell(failure, "out until a probe comes through")
        elif after is State.EJECTED:
            self._ejections += 1
            length = min(EJECTED_SECONDS * self._ejections, EJECTED_LIMIT) * random.uniform(1 - JITTER, 1 + JITTER)
            length = min(length, EJECTED_LIMIT)
            self.due = self.seconds() + length
            self._tell(failure, f"ejected for {length:.0f} s")
        elif after is State.BARRED:
            self.due = self.seconds() + BARRED_SECONDS
            self._tell(failure, f"out for {BARRED_SECONDS:.0f} s")

    def _tell(self, failure: Refusal | None, what: str) -> None:
        self.reason = failure
        _log.warn("upstream {name} is {what}: {why}", name=self.name, what=what, why=str(failure))


@attrs.define(eq=False)
class Try:
    """
    One attempt, as the chain's health sees it. Each of its words may come late, and more than once.

    @ivar spell: which time of being live it began in; -1 where the chain was not.
    @ivar sentence: which of the chain's it was a trial in; -1 where it was none.
    """

    health: Health
    spell: int
    sentence: int = attrs.field(default=-1, init=False)

    def succeeded(self) -> None:
        """The destination's first byte came back."""
        self.health.succeeded()

    def blamed(self, failure: Refusal) -> None:
        """It failed by the chain's own fault."""
        self.health.blamed(self, failure)

    def barred(self, failure: Refusal) -> None:
        """It failed since a hop refused our login."""
        self.health.barred(self, failure)

    def doubted(self) -> None:
        """It failed, and who knows by whose fault."""
        self.health.doubted()

    def outdone(self, times: int) -> None:
        """So many like it failed where another chain did not."""
        self.health.wasOutdone(times)

    def untold(self) -> None:
        """It ended, and told neither success nor blame."""
        self.health.untold(self)
