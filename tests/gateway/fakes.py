"""A scripted chain and a record, for the gateway's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred

from pipsocks.model import Attempt, Login


@attrs.define(eq=False)
class FakeChain:
    """A chain with a name; tests script what reaching it gives."""

    name: str
    direct: bool = False
    endsInHTTP: bool = False
    login: Login | None = None

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
