"""
What chains have told of destinations, and destinations of chains (behaviour, section 5, "Doubt", "Health").

A failure at a destination speaks of the destination or of the chain, and which of them is known only once another
chain has reached the destination, or none. So reports are kept for a minute. Chains are known by their health, which
outlives a reload. Every table is bounded, and the oldest entries go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import attrs

from pipsocks.model import Destination
from pipsocks.refusal import Refusal

LIMIT: Final = 10_000
"""Entries of each table."""

FAILING_SECONDS: Final = 2.0
"""How long a destination's failure is believed after one report."""

MEMORY_SECONDS: Final = 60.0
"""How long it is remembered who reached a destination, and who did not."""

FLIGHTS: Final = 5
"""Deaths of one flight after which its destination is suspected, on however many chains."""

SESSIONS: Final = 2
"""Sessions running whose flights died so, after which a destination gets no replay for a moment."""


class Try(Protocol):
    """The attempt that a report came from."""

    def blamed(self, failure: Refusal, /) -> None:
        """It failed by the chain's own fault, as it turns out."""

    def outdone(self, times: int, /) -> None:
        """So many like it failed where another chain did not."""


@attrs.define(eq=False)
class _Report:
    """
    What a chain has said of a destination.

    @ivar tried: the attempt it came from; None for a refusal by the chain's own rules, which is no report.
    @ivar times: how often it has said so since anybody reached the destination.
    @ivar belied: another chain reached the destination afterwards; until then it is believed.
    @ivar last: until when the chain is asked last for it.
    """

    at: float
    tried: Try | None
    failure: Refusal
    times: int = 1
    belied: bool = False
    last: float = 0.0


@attrs.define(eq=False)
class _Reports:
    """
    What a chain has said of destinations.

    @ivar by: its last word on each, the newest last.
    @ivar pending: reports that were belied, and are not counted yet since no other destination has failed there.
    """

    by: OrderedDict[Destination, _Report] = attrs.field(factory=OrderedDict)
    pending: dict[Destination, _Report] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Memory:
    """See the module's docstring."""

    seconds: Callable[[], float]
    _failing: OrderedDict[Destination, float] = attrs.field(factory=OrderedDict, init=False)
    _reached: OrderedDict[Destination, dict[object, float]] = attrs.field(factory=OrderedDict, init=False)
    _reports: dict[object, _Reports] = attrs.field(factory=dict, init=False)
    _flights: OrderedDict[Destination, tuple[int, float]] = attrs.field(factory=OrderedDict, init=False)

    # destinations that failed a moment ago

    def fail(self, destination: Destination) -> None:
        """The destination failed; one that is remembered already is not prolonged."""
        if not self.isFailing(destination):
            self._failing[destination] = self.seconds() + FAILING_SECONDS
            _bound(self._failing, destination)

    def isFailing(self, destination: Destination) -> bool:
        """Whether one report about it is enough."""
        return self._failing.get(destination, 0.0) > self.seconds()

    # who reached what

    def reached(self, chain: object, destination: Destination) -> None:
        """The first byte of `destination` came back over `chain`: other chains' reports of it speak of them."""
        now = self.seconds()
        self._reached.setdefault(destination, {})[chain] = now
        _bound(self._reached, destination)
        self._failing.pop(destination, None)
        self._flights.pop(destination, None)
        for other, reports in self._reports.items():
            report = reports.by.get(destination)
            if other is chain:
                reports.by.pop(destination, None)
                reports.pending.pop(destination, None)
            elif report is not None and now - report.at < MEMORY_SECONDS and not report.belied:
                report.belied = True
                report.last = now + MEMORY_SECONDS
                if report.tried is not None:
                    report.tried.outdone(report.times)
                    reports.pending[destination] = report
                    self._blame(reports)

    def reachedLately(self, destination: Destination, chains: Iterable[object]) -> bool:
        """Whether one of `chains` reached it in the last minute."""
        known = self._reached.get(destination, {})
        since = self.seconds() - MEMORY_SECONDS
        return any(known.get(chain, float("-inf")) > since for chain in chains)

    def reported(self, chain: object, destination: Destination, tried: Try | None, failure: Refusal) -> None:
        """
        `chain` reported `destination`, plainly or vaguely; without `tried`, it refused it by its own rules.

        It is asked last for it where another chain has reached it in the last minute, or comes to.
        """
        now = self.seconds()
        reports = self._reports.setdefault(chain, _Reports())
        known = self._reached.get(destination, {})
        others = [at for other, at in known.items() if other is not chain and now - at < MEMORY_SECONDS]
        former = reports.by.get(destination)
        times = former.times + 1 if former is not None and not former.belied else 1
        if others and tried is not None:
            tried.outdone(1)
        reports.by[destination] = _Report(now, tried, failure, times, last=now + MEMORY_SECONDS if others else 0.0)
        _bound(reports.by, destination)
        self._blame(reports)

    def isLast(self, chain: object, destination: Destination) -> bool:
        """Whether `chain` is to be asked last for it."""
        reports = self._reports.get(chain)
        report = reports.by.get(destination) if reports is not None else None
        return report is not None and report.last > self.seconds()

    def _blame(self, reports: _Reports) -> None:
        """A report counts once two destinations failed there within a minute and another chain reached one of them."""
        since = self.seconds() - MEMORY_SECONDS
        if not reports.pending:
            return
        reports.pending = {each: report for each, report in reports.pending.items() if report.at > since}
        if not _twoSince(reports, since):
            return
        pending, reports.pending = reports.pending, {}
        for report in pending.values():
            if report.tried is not None:
                report.tried.blamed(report.failure)

    # flights that died

    def lostFlight(self, destination: Destination, began: float) -> None:
        """
        The flight to it, of a session that began then, died on every live chain, or too often.

        Where somebody has reached it since then, it is not the destination that kills flights.
        """
        if any(at > began for at in self._reached.get(destination, {}).values()):
            return
        count, until = self._flights.get(destination, (0, 0.0))
        count += 1
        if count >= SESSIONS:
            until = self.seconds() + FAILING_SECONDS
        self._flights[destination] = count, until
        _bound(self._flights, destination)

    def mayReplay(self, destination: Destination) -> bool:
        """Whether a flight that died there goes again."""
        return self._flights.get(destination, (0, 0.0))[1] <= self.seconds()


def _twoSince(reports: _Reports, since: float) -> bool:
    """Whether two destinations have been reported after that."""
    count = 0
    for report in reversed(reports.by.values()):
        if report.at <= since:
            break
        count += report.tried is not None
        if count == 2:
            return True
    return False


def _bound(table: OrderedDict[Destination, Any], newest: Destination) -> None:
    table.move_to_end(newest)
    if len(table) > LIMIT:
        table.popitem(last=False)
