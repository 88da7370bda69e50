"""The search: which chain next, and when to stop."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pipsocks.gateway.doubt import Chain, Failing, Findings
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Attempt, Destination
from pipsocks.refusal import Refusal
from pipsocks.slugs import About

BACKOFF_BASE: Final = 0.1
BACKOFF_LIMIT: Final = 2.0

C = TypeVar("C", bound=Chain)
T = TypeVar("T")


class Record(Protocol):
    """Where attempts are told: the session's entry."""

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt."""


async def search(
    clock: IReactorTime,
    chains: Sequence[C],
    destination: Destination,
    retry: RetrySettings,
    failing: Failing,
    record: Record,
    reach: Callable[[C], Deferred[T]],
    total: float | None = None,
) -> tuple[C, T]:
    """
    Ask one chain after the other until one has what `reach` gets, by the retry policy (behaviour, section 5).

    Each chain is asked once, in order, at once after a failure; then those that may be asked again, with full-jitter
    back-off. The destination's own failure ends the search early (`Findings.settled`).

    @raise Refusal: what the client is to be told, within `total` seconds (`retry.total` by default).
    """
    total = retry.total if total is None else total
    end = clock.seconds() + total
    findings = Findings(chains, destination in failing)
    for chain, pause in _order(chains, findings, retry.attempts):
        left = end - clock.seconds()
        if pause >= left:
            break
        if pause:
            await deferLater(clock, pause)
        try:
            return chain, await _attempt(clock, chain, record, reach, end, total)
        except Refusal as refusal:
            if refusal.about is About.CLIENT:
                raise
            findings.add(chain, refusal)
        if findings.settled:
            break
    if findings.reported:
        failing.remember(destination)
    raise findings.answer()


def _order(chains: Sequence[C], findings: Findings, attempts: int) -> Iterator[tuple[C, float]]:
    """Chains to ask, each with the pause before it: all of them in order, then again with back-off."""
    yield from ((chain, 0.0) for chain in chains[:attempts])
    attempts -= len(chains)
    backoff = BACKOFF_BASE
    while attempts > 0:
        for chain in [chain for chain in chains if findings.isUsable(chain)][:attempts]:
            # Alone and direct, the next dial tells a restarting service from a dead one: a fixed, short wait.
            alone = len(chains) == 1 and chain.direct
            yield chain, BACKOFF_BASE if alone else random.uniform(0, backoff)
            backoff = min(backoff * 2, BACKOFF_LIMIT)
            attempts -= 1


async def _attempt(
    clock: IReactorTime,
    chain: C,
    record: Record,
    reach: Callable[[C], Deferred[T]],
    end: float,
    total: float,
) -> T:
    """Ask one chain, until the deadline at most, and tell the record."""
    started = clock.seconds()
    reaching = reach(chain)
    timer = clock.callLater(end - started, reaching.cancel)
    hop, outcome = "", "ok"
    try:
        return await reaching
    except (Refusal, CancelledError) as failure:
        if not timer.active():
            outcome = "deadline"
            raise Refusal("PS-UP22", chain=chain.name, detail=f"{total:g} s") from None
        if isinstance(failure, Refusal):
            hop, outcome = failure.hop, failure.token
        else:
            outcome = "cancelled"
        raise
    finally:
        if timer.active():
            timer.cancel()
        record.attempted(Attempt(chain.name, hop, outcome, (clock.seconds() - started) * 1000))
