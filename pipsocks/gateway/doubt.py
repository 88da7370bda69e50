"""
Doubt: when a failure is the destination's own, and what the client is told at the end of a search.

The rules are those of behaviour, section 5, "Doubt".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import attrs

from pipsocks.gateway.memory import Memory
from pipsocks.gateway.seam import Chain
from pipsocks.model import Destination
from pipsocks.refusal import Refusal, clip
from pipsocks.slugs import About

LIST_LIMIT: Final = 82
"""Characters for the list of failures that fit into a reason phrase."""

MORE_REPORTS: Final = 3
"""Further reports that one upstream, asked alone, must give: a rotating gateway fails one time in five."""

REPORTS: Final = frozenset({About.PLAIN, About.VAGUE})
_SPENT: Final = frozenset({About.RULES, About.ABILITY, About.LOGIN})
"""What a chain says of itself and will say again: asking once more in the same search is no use."""

_SHUT: Final = frozenset({About.PLAIN, About.RULES})
"""What shuts a direct way in a lower tier: it must not get what the exits refused."""

_UNCARRIED: Final = frozenset({"PS-UP25"})
"""And so does what an exit can't carry, datagrams above all: nobody who uses exits wants those to go around them."""

_PLAINEST: Final = ("PS-DE01", "PS-UP21", "PS-DE02", "PS-DE03", "PS-UP20", "PS-UP19", "PS-DE04", "PS-UP18", "PS-DE05")


@attrs.define
class Findings:
    """
    What the chains have said of one destination in one search.

    @ivar tiers: the chains of the search.
    @ivar destination: what is searched for.
    """

    tiers: Sequence[Sequence[Chain]]
    destination: Destination
    memory: Memory
    _said: dict[Chain, Refusal] = attrs.field(factory=dict, init=False)
    _reports: dict[Chain, Refusal] = attrs.field(factory=dict, init=False)  # the plainest of each
    _count: int = attrs.field(default=0, init=False)
    _shut: bool = attrs.field(default=False, init=False)

    def add(self, chain: Chain, refusal: Refusal) -> None:
        """Note what `chain` said. An attempt cut by the deadline says nothing where the chain has said anything."""
        if refusal.about is not About.NOTHING or chain not in self._said:
            self._said[chain] = refusal
        self._shut = self._shut or refusal.about in _SHUT or refusal.slug.code in _UNCARRIED
        if refusal.about in REPORTS:
            self._reports[chain] = min(self._reports.get(chain, refusal), refusal, key=_plainness)
            self._count += 1

    def isUsable(self, chain: Chain) -> bool:
        """Whether `chain` may be asked (again) in this search."""
        return (
            chain.health.askable
            and (chain not in self._said or self._said[chain].about not in _SPENT)
            and not self._isShut(chain)
        )

    def _isShut(self, chain: Chain) -> bool:
        return self._shut and chain.direct and not any(chain is each for each in self.tiers[0])

    @property
    def live(self) -> list[Chain]:
        """The live chains; where none is, those that may still be asked count as live."""
        every = [chain for tier in self.tiers for chain in tier if not self._isShut(chain)]
        return [chain for chain in every if chain.health.live] or [chain for chain in every if chain.health.askable]

    @property
    def reported(self) -> bool:
        """Whether every live chain has reported the destination, but for those that would not or could not ask."""
        return bool(self._reports) and all(chain in self._reports for chain in self.live if self.isUsable(chain))

    @property
    def settled(self) -> bool:
        """Whether it is known already what to answer."""
        live = self.live
        if not any(self.isUsable(chain) for tier in self.tiers for chain in tier):
            return True
        if self._reports and self._isFailing:
            return True
        if not self.reported:
            return False
        if len(live) > 1:
            healths = [chain.health for chain in live]
            return self._allPlain(live) or not self.memory.reachedLately(self.destination, healths)
        own = self._reports.get(live[0])
        if own is not None and own.slug.code == "PS-DE02":  # our own resolver's word, and the one that counts here
            return True
        return self._count > (1 if live[0].direct else MORE_REPORTS)

    @property
    def _isFailing(self) -> bool:
        return self.memory.isFailing(self.destination)

    def _allPlain(self, chains: Sequence[Chain]) -> bool:
        return all(self._reports[chain].about is About.PLAIN for chain in chains if chain in self._reports)

    def answer(self) -> Refusal:
        """What the client is told: the destination's failure, the one that all share, or a list of all."""
        if self._reports and (self._isFailing or self.reported):
            return min(self._reports.values(), key=_plainness)
        every = [chain for tier in self.tiers for chain in tier]
        said = {chain: refusal for chain in every if (refusal := self._said.get(chain) or chain.health.reason)}
        if not said:
            return Refusal("PS-UP34")
        codes = {refusal.slug.code for refusal in said.values()}
        if len(codes) == 1:
            return next(iter(said.values()))
        return noneWorked([(chain.name, refusal) for chain, refusal in said.items()])


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
