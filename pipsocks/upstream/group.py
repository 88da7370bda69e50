"""Groups: named sets of chains, and the order in which a session asks them (behaviour, section 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final

import attrs

from pipsocks.model import Destination
from pipsocks.upstream.chain import Chain

BETTER: Final = 0.8
BETTER_SECONDS: Final = 0.03
"""``fastest`` changes for a chain that takes less than 80 % of the time of the one in use, and 30 ms less."""


@attrs.define(eq=False)
class Group:
    """
    A named set of chains.

    @ivar strategy: a key of `pipsocks.upstream.settings.STRATEGIES`.
    @ivar retry: the retry policy, and `hedge` and `budget` what belongs to it: they are `pipsocks.gateway`'s to read.
    """

    name: str
    chains: tuple[Chain, ...]
    retry: Any
    budget: Any
    strategy: str = "order"
    hedge: bool = False
    _tiers: tuple[tuple[Chain, ...], ...] = attrs.field(init=False)
    _turn: int = attrs.field(default=0, init=False)
    _fastest: dict[int, Chain] = attrs.field(factory=dict, init=False)  # the one in use, by tier
    _texts: dict[Chain, str] = attrs.field(init=False)  # what a chain is known by where it is stuck to

    @_tiers.default
    def _sorted(self) -> tuple[tuple[Chain, ...], ...]:
        def tier(chain: Chain) -> int:
            return chain.settings.tier

        return tuple(tuple(chains) for _, chains in groupby(sorted(self.chains, key=tier), tier))

    @_texts.default
    def _described(self) -> dict[Chain, str]:
        seen: Counter[str] = Counter()
        texts = {}
        for chain in self.chains:  # the same gateway may be there several times, with another session's login each
            text = chain.describe() + chain.name
            seen[text] += 1
            texts[chain] = f"{text}#{seen[text]}"
        return texts

    def plan(self, destination: Destination) -> Sequence[Sequence[Chain]]:
        """The chains for one session, tier by tier, each in the order of the strategy. `round-robin` moves on."""
        if self.strategy == "order":
            return self._tiers
        turn, self._turn = self._turn, self._turn + 1
        arrange = _ARRANGEMENTS[self.strategy]
        return [arrange(self, tier, turn, destination) if len(tier) > 1 else tier for tier in self._tiers]

    # the strategies

    def _roundRobin(self, tier: Sequence[Chain], turn: int, destination: Destination) -> Sequence[Chain]:
        # Among live ones only: the one behind a dead one would have two turns.
        live = [chain for chain in tier if chain.health.live]
        begin = turn % len(live) if live else 0
        return live[begin:] + live[:begin] + [chain for chain in tier if not any(chain is each for each in live)]

    def _leastTunnels(self, tier: Sequence[Chain], turn: int, destination: Destination) -> Sequence[Chain]:
        return sorted(tier, key=lambda chain: chain.health.tunnels)

    def _byPace(self, tier: Sequence[Chain], turn: int, destination: Destination) -> Sequence[Chain]:
        """One that was never measured goes first, once; then the one in use, and behind it by what they took."""
        times = {chain: chain.health.pace.typical for chain in tier}
        live = [chain for chain in tier if chain.health.live] or tier
        place = next(index for index, each in enumerate(self._tiers) if each is tier)
        known = {chain: time for chain in live if (time := times[chain]) is not None}
        if known:
            best = min(known, key=known.__getitem__)
            current = self._fastest.get(place, best)
            if current not in known or (
                known[best] < known[current] * BETTER and known[current] - known[best] > BETTER_SECONDS
            ):
                current = best
            self._fastest[place] = current
        first = next((chain for chain in live if chain not in known), None) or self._fastest[place]
        return [first, *sorted((chain for chain in tier if chain is not first), key=lambda chain: times[chain] or -1.0)]

    def _sticky(self, tier: Sequence[Chain], turn: int, destination: Destination) -> Sequence[Chain]:
        """By the highest hash of destination and chain, so that a chain that comes or goes moves no others' share."""
        return sorted(tier, key=lambda chain: _weight(self._texts[chain], destination), reverse=True)


def _weight(chain: str, destination: Destination) -> bytes:
    return blake2b(f"{destination.host}\0{destination.port}\0{chain}".encode(), digest_size=8).digest()


Arrange = Callable[[Group, Sequence[Chain], int, Destination], Sequence[Chain]]
_ARRANGEMENTS: Final[Mapping[str, Arrange]] = {
    "round-robin": Group._roundRobin,
    "least-tunnels": Group._leastTunnels,
    "fastest": Group._byPace,
    "sticky": Group._sticky,
}
