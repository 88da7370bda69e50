"""Which chain a search asks next: stage by stage, each once, and then those that may be asked again."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipsocks.gateway.doubt import Findings
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.seam import Chain, Plan
from pipsocks.model import Destination

BACKOFF_BASE: Final = 0.1
BACKOFF_LIMIT: Final = 2.0

Stages = Iterator[list[Chain]]


def stages(
    plan: Plan, destination: Destination, memory: Memory, without: Iterable[Chain] = (), lost: Iterable[Chain] = ()
) -> Stages:
    """
    The chains to ask, stage by stage: the live ones of each tier, those last that could not reach the destination when
    others could, or failed again and again where others did not; then the ejected ones, soonest due first; then those
    out by a probe. Each stage is made when it is wanted.

    @param without: chains that are not asked.
    @param lost: those that have failed the session before, or were too slow for it: the last of each tier.
    """
    given, behind = set(map(id, without)), set(map(id, lost))
    for tier in plan:
        live = [chain for chain in tier if chain.health.live and id(chain) not in given]
        given.update(map(id, live))

        def doubtful(chain: Chain) -> tuple[bool, bool, bool]:
            return memory.isLast(chain.health, destination), chain.health.outdone, id(chain) in behind

        yield sorted(live, key=doubtful) if len(live) > 1 else live
    rest = [chain for tier in plan for chain in tier if id(chain) not in given]
    yield sorted((chain for chain in rest if chain.health.askable), key=lambda chain: chain.health.lateness)


class Order:
    """The order of one search."""

    def __init__(self, findings: Findings, stages: Stages, everyone: bool, allowed: Callable[[Chain], bool]) -> None:
        """
        @param findings: what is found out in the search.
        @param everyone: any live chain may be asked again, and not only those that were asked.
        @param allowed: whether that holds for a chain.
        """
        self._findings = findings
        self._stages = stages
        self._everyone = everyone
        self._allowed = allowed
        self._untried: deque[Chain] = deque()
        self._again: deque[Chain] = deque()
        self._asked: list[Chain] = []
        self._backoff = BACKOFF_BASE

    def next(self, running: bool) -> Chain | None:
        """
        The next chain of the stage, or of the next one, once all of this one have failed; None when there is none.

        @param running: some of this stage have not failed yet.
        """
        while True:
            while self._untried:
                chain = self._untried.popleft()
                if self._isOpen(chain):
                    return chain
            stage = None if running else next(self._stages, None)
            if stage is None:
                return None
            self._untried = deque(stage)

    @property
    def left(self) -> int:
        """How many of the stage are still to be asked."""
        return sum(map(self._isOpen, self._untried))

    def asked(self, chain: Chain) -> None:
        """`chain` is being asked."""
        self._asked.append(chain)

    def again(self) -> Chain | None:
        """The next chain to ask once more: the live ones take turns."""
        while self._again and not self.mayAgain(self._again[0]):
            self._again.popleft()
        if not self._again:
            self._again = deque(filter(self.mayAgain, self._findings.live))
        return self._again.popleft() if self._again else None

    def mayAgain(self, chain: Chain) -> bool:
        """Whether `chain` may be asked once more."""
        return (
            any(chain is each for each in self._findings.live)
            and self._findings.isUsable(chain)
            and (self._everyone or any(chain is each for each in self._asked))
            and self._allowed(chain)
        )

    def pause(self) -> float:
        """Seconds to wait before that: with full jitter, and twice as long the next time."""
        live = self._findings.live
        # Alone and direct, the next dial tells a restarting service from a dead one: a fixed, short wait.
        alone = len(live) == 1 and live[0].direct
        pause = BACKOFF_BASE if alone else random.uniform(0, self._backoff)
        self._backoff = min(self._backoff * 2, BACKOFF_LIMIT)
        return pause

    def _isOpen(self, chain: Chain) -> bool:
        return not any(chain is each for each in self._asked) and self._findings.isUsable(chain)
