"""A scripted chain and a record, for the gateway's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pipsocks.gateway.budget import Budget
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Attempt, Choice, Login, Request
from pipsocks.upstream.health import Health


def health(name: str = "chain", clock: Any = None) -> Health:
    """A healthy chain's."""
    return Health(name, (clock or Clock()).seconds)


@attrs.define(eq=False)
class FakeChain:
    """A chain with a name; tests script what reaching it gives."""

    name: str
    direct: bool = False
    endsInHTTP: bool = False
    login: Login | None = None
    tier: int = 1
    health: Health = attrs.field(factory=lambda: health())

    def describe(self) -> str:
        return self.name

    def connect(self, destination: Any) -> Any:
        raise NotImplementedError

    reachLast = connect


@attrs.define
class Record:
    """Collects attempts."""

    attempts: list[Attempt] = attrs.field(factory=list)

    def attempted(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        return [(attempt.chain, attempt.outcome) for attempt in self.attempts]


@attrs.define
class Scripted:
    """`reach` for a search: each chain gives its list's next outcome (an exception, a value, or a Deferred)."""

    script: dict[str, list[Any]]
    asked: list[str] = attrs.field(factory=list)
    whenAsked: Callable[[], None] = lambda: None

    def __call__(self, chain: FakeChain) -> Deferred[Any]:
        self.asked.append(chain.name)
        self.whenAsked()
        outcomes = self.script[chain.name]
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if callable(outcome):
            outcome = outcome()
        if isinstance(outcome, Deferred):
            return outcome
        done: Deferred[Any] = Deferred()
        if isinstance(outcome, Exception):
            done.errback(outcome)
        else:
            done.callback(outcome)
        return done


@attrs.define(eq=False)
class FakeGroup:
    """A group whose chains are asked as they are listed, tier by tier."""

    chains: Any
    clock: Any
    retry: RetrySettings = RetrySettings()
    hedge: bool = False
    name: str = "default"
    budget: Budget = attrs.field()

    @budget.default
    def _newBudget(self) -> Budget:
        return Budget(self.clock.seconds, self.retry.budget)

    def plan(self, destination: Any) -> Any:
        tiers = sorted({getattr(chain, "tier", 1) for chain in self.chains})
        return [[chain for chain in self.chains if getattr(chain, "tier", 1) == tier] for tier in tiers]


class OneRoute:
    """Everything goes to one group."""

    async def choose(self, request: Request) -> Choice:
        return self.known(request)

    def known(self, request: Request, anywhere: bool = False) -> Choice:
        return Choice("default", "route[0]")


def ways(clock: Any, chains: Any, **settings: Any) -> dict[str, Any]:
    """The arguments of a gateway whose one group has those chains."""
    return {"groups": {"default": FakeGroup(chains, clock, **settings)}, "routes": OneRoute()}
