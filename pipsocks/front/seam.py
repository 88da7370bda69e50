"""What the HTTP conversation needs of others: the client's connection, logins, and what forwards its requests."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IReactorTime

from pipsocks.front.exchange import Exchange
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Conversation, Gateway, Session
from pipsocks.gateway.stream import Held, Stream
from pipsocks.model import Request
from pipsocks.wire.target import AbsoluteTarget


class Logins(Protocol):
    """Who may use the listener."""

    async def check(self, user: bytes, password: bytes) -> str:
        """The user's name; raises `Refusal` (PS-AU02)."""


class Origins(Protocol):
    """The way to origins for one client's forwarded requests (`pipsocks.forward`)."""

    async def forward(self, session: Session, target: AbsoluteTarget, exchange: Exchange) -> None:
        """Get the answer for `exchange`, or refuse it or cut it, and close the session's entry."""

    def close(self) -> None:
        """Let go of every connection: the client is gone."""


class Forward(Protocol):
    """What forwards plain requests."""

    def origins(self, judge: Judge) -> Origins:
        """For one client, which may go where `judge` says."""


class Client(Stream, Protocol):
    """What the conversation needs of the client's connection (`pipsocks.front.client.Client`)."""

    clock: IReactorTime
    gateway: Gateway
    judge: Judge
    forward: Forward
    held: Held
    peer: str

    @property
    def logins(self) -> Logins | None:
        """Who may use the listener; None for everybody."""

    @property
    def listener(self) -> Any:
        """Its port; `name` is what the journal calls it."""

    def startClock(self, seconds: float) -> None:
        """Call `late` after that time."""

    def stopClock(self) -> None:
        """Don't."""

    def settle(self) -> None:
        """A request is complete."""

    def tunnel(self, conversation: Conversation, request: Request, early: bytes) -> None:
        """Let the gateway find a way."""

    def part(self) -> None:
        """Close, lingering."""

    def note(self, token: str, reason: str = "") -> None:
        """A journal line for a connection without a session."""
