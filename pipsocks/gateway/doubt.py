"""
Doubt: when a failure is the destination's own, and what the client is told at the end of a search.

The rules are those of behaviour, section 5, "Doubt". Every function here is pure but for `Failing`, a bounded table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs

from pipsocks.model import Destination
from pipsocks.refusal import Refusal, clip
from pipsocks.slugs import About

FAILING_SECONDS: Final = 2.0
FAILING_LIMIT: Final = 10_000
LIST_LIMIT: Final = 82
"""Characters for the list of failures that fit into a reason phrase."""

MORE_REPORTS: Final = 3
"""Further reports that one upstream, asked alone, must give: a rotating gateway fails one time in five."""

_REPORTS: Final = frozenset({About.PLAIN, About.VAGUE})
_SPENT: Final = frozenset({About.RULES, About.ABILITY, About.LOGIN})
"""What a chain says of itself and will say again: asking once more in the same search is no use."""

_PLAINEST: Final = ("PS-DE01", "PS-UP21", "PS-DE02", "PS-DE03", "PS-UP20", "PS-UP19", "PS-DE04", "PS-UP18", "PS-DE05")


class Chain(Protocol):
    """What doubt needs of a chain. It is told from others by identity: names need not be unique."""

    @property
    def name(self) -> str:
        """Its label."""

    @property
    def direct(self) -> bool:
        """It has no hops."""


@attrs.define
class Failing:
    """Destinations that failed a moment ago: for 2 s one report about them is enough."""

    _seconds: Callable[[], float]
    _until: dict[Destination, float] = attrs.field(factory=dict, init=False)

    def remember(self, destination: Destination) -> None:
        """Remember it; one that is remembered already is not prolonged."""
        if destination in self:
            return
        self._until.pop(destination, None)
        if len(self._until) >= FAILING_LIMIT:
            del self._until[next(iter(self._until))]
        self._until[destination] = self._seconds() + FAILING_SECONDS

    def __contains__(self, destination: Destination) -> bool:
        return self._until.get(destination, 0.0) > self._seconds()


@attrs.define
class Findings:
    """
    What the chains have said of one destination in one search.

    @ivar chains: the live chains, in order.
    @ivar failing: whether the destination failed a moment ago.
    """

    chains: Sequence[Chain]
    failing: bool
    _said: dict[Chain, Refusal] = attrs.field(factory=dict, init=False)
    _reports: dict[Chain, Refusal] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)

    def add(self, chain: Chain, refusal: Refusal) -> None:
        """Note what `chain` said. An attempt cut by the deadline says nothing where the chain has said anything."""
        if refusal.about is not About.NOTHING or chain not in self._said:
            self._said[chain] = refusal
        if refusal.about in _REPORTS:
            self._reports[chain] = refusal
            self._count += 1

    def isUsable(self, chain: Chain) -> bool:
        """Whether `chain` may be asked (again) in this search."""
        return chain not in self._said or self._said[chain].about not in _SPENT

    @property
    def reported(self) -> bool:
        """Whether every live chain has reported the destination, but for those that would not or could not ask."""
        return bool(self._reports) and all(chain in self._reports for chain in self.chains if self.isUsable(chain))

    @property
    def settled(self) -> bool:
        """Whether it is known already what to answer."""
        if not any(map(self.isUsable, self.chains)):
            return True
        if self._reports and self.failing:
            return True
        if not self.reported:
            return False
        if len(self.chains) > 1:
            return True
        (report,) = self._reports.values()
        if self.chains[0].direct:
            return report.slug.code == "PS-DE02" or self._count > 1
        return self._count > MORE_REPORTS

    def answer(self) -> Refusal:
        """What the client is told: the destination's failure, the one that all share, or a list of all."""
        if self._reports and (self.failing or self.reported):
            return min(self._reports.values(), key=_plainness)
        codes = {refusal.slug.code for refusal in self._said.values()}
        if len(codes) == 1:
            return next(iter(self._said.values()))
        return noneWorked([(chain.name, refusal) for chain, refusal in self._said.items()])


def noneWorked(failures: Sequence[tuple[str, Refusal]]) -> Refusal:
    """One phrase for chains, by their names, that failed in different ways. Long names are cut so that all are told."""
    listed = [f"{name} {refusal.slug.brief}" for name, refusal in failures]
    if len(", ".join(listed)) > LIST_LIMIT:
        room = LIST_LIMIT // len(failures) - 2
        listed = [f"{clip(name, max(6, room - len(r.slug.brief) - 1))} {r.slug.brief}" for name, r in failures]
    return Refusal("PS-UP09", detail=f"{len(failures)} upstreams worked: {', '.join(listed)}")


def _plainness(refusal: Refusal) -> int:
    code = refusal.slug.code
    return _PLAINEST.index(code) if code in _PLAINEST else len(_PLAINEST)
