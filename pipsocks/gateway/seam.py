"""What the gateway needs of `pipsocks.upstream`: chains, their health, and groups of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint

from pipsocks.gateway.budget import Budget
from pipsocks.gateway.datagrams import Inlet, Outlet
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination, Login
from pipsocks.refusal import Refusal


class Try(Protocol):
    """One attempt on a chain, as its health sees it. Each word may come late, and more than once."""

    def succeeded(self) -> None:
        """The destination's first byte came back."""

    def blamed(self, failure: Refusal, /) -> None:
        """It failed by the chain's own fault."""

    def barred(self, failure: Refusal, /) -> None:
        """It failed since a hop refused our login."""

    def doubted(self) -> None:
        """It failed, and who knows by whose fault."""

    def outdone(self, times: int, /) -> None:
        """So many like it failed where another chain did not."""

    def untold(self) -> None:
        """It ended, and told neither success nor blame."""


class Pace(Protocol):
    """How long a chain's connects take, in seconds."""

    @property
    def slow(self) -> float | None:
        """The 90th percentile; None while too few are known."""

    def add(self, seconds: float, /) -> None:
        """A connect took so long, or was cancelled after that time."""


class Health(Protocol):
    """A chain's health. It is the key under which others remember the chain: it outlives a reload."""

    tunnels: int

    @property
    def live(self) -> bool:
        """Whether a session may take it as any other."""

    @property
    def askable(self) -> bool:
        """Whether it may be asked at all, were it as the last."""

    @property
    def suspect(self) -> bool:
        """Whether only failures have come of it lately, whosever they were: to go on to it is not free."""

    @property
    def outdone(self) -> bool:
        """Whether it has failed again and again where others did not: they are asked before it."""

    @property
    def lateness(self) -> tuple[bool, float]:
        """By what those that are not live are sorted."""

    @property
    def reason(self) -> Refusal | None:
        """Why it is not live."""

    @property
    def pace(self) -> Pace:
        """Its connects."""

    def begin(self) -> Try:
        """An attempt begins."""


class Arrival(Protocol):
    """A port that waits for one connection."""

    @property
    def bound(self) -> tuple[str, int]:
        """Where."""

    def close(self) -> None:
        """Wait no longer."""


class Chain(Protocol):
    """One way out: hops, left to right; none is direct. It is told from others by identity: names need not differ."""

    @property
    def name(self) -> str:
        """What errors and the journal call it."""

    @property
    def direct(self) -> bool:
        """It has no hops."""

    @property
    def endsInHTTP(self) -> bool:
        """The last hop takes absolute-form requests."""

    @property
    def login(self) -> Login | None:
        """The last hop's."""

    @property
    def health(self) -> Health:
        """Its health."""

    def describe(self) -> str:
        """The hops, without secrets."""

    def connect(self, destination: Destination, judge: Judge) -> IStreamClientEndpoint:
        """The whole way, as far as `judge` lets it. Its Deferred fails with `Refusal` or `CancelledError` alone."""

    def reachLast(self) -> IStreamClientEndpoint:
        """The way to the last hop, which is not asked for a tunnel."""

    def datagrams(self, judge: Judge, inlet: Inlet) -> Deferred[Outlet]:
        """A way out for datagrams, as far as `judge` lets them. Fails as `connect` does; PS-UP25 if there is none."""

    def awaitArrival(self, expected: Destination, judge: Judge, protocolFactory: IProtocolFactory) -> Deferred[Arrival]:
        """Wait for a connection from `expected`, which gets the factory's protocol. Fails as `datagrams` does."""


Plan = Sequence[Sequence[Chain]]
"""A group's chains for one session: tier by tier, each in the order of the strategy."""


class Group(Protocol):
    """A named set of chains."""

    @property
    def name(self) -> str:
        """What routes and the journal call it."""

    @property
    def chains(self) -> Sequence[Chain]:
        """All of them, as they are listed."""

    @property
    def retry(self) -> RetrySettings:
        """Its policy."""

    @property
    def hedge(self) -> bool:
        """Whether a slow connect has another begun beside it."""

    @property
    def budget(self) -> Budget:
        """What it may spend on further attempts."""

    def plan(self, destination: Destination) -> Plan:
        """The order for one session."""
