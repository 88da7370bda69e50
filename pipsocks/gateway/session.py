"""One session's life, on one screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pipsocks.gateway.doubt import Failing
from pipsocks.gateway.judge import Guard, Judge
from pipsocks.gateway.search import search
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.gateway.stream import FarStream, Stream
from pipsocks.model import Destination, Ended, Entry, Login, Request
from pipsocks.refusal import Refusal

T = TypeVar("T")
_log = Logger()


class Chain(Protocol):
    """One way out: hops, left to right; none is direct."""

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

    def describe(self) -> str:
        """The hops, without secrets."""

    def connect(self, destination: Destination, judge: Judge) -> IStreamClientEndpoint:
        """The whole way, as far as `judge` lets it. Its Deferred fails with `Refusal` or `CancelledError` alone."""

    def reachLast(self) -> IStreamClientEndpoint:
        """The way to the last hop, which is not asked for a tunnel."""


class Conversation(Protocol):
    """The client's side while it waits."""

    @property
    def stream(self) -> Stream:
        """The client's socket for the relay."""

    def accept(self, bound: tuple[str, int] | None) -> None:
        """Tell the client yes; `bound` is the address that the last SOCKS hop bound, or ours."""

    def refuse(self, refusal: Refusal) -> None:
        """Tell the client no, in its protocol's words, and close."""


class Relays(Protocol):
    """What joins two streams."""

    def kind(self, near: Stream, far: Stream) -> str:
        """What the journal calls the relay that would join them."""

    def join(self, near: Stream, far: Stream, done: Callable[[Ended], None]) -> str:
        """Join them, and return the kind; `done` is called once, when both are over, which may be during the call."""


class Journal(Protocol):
    """Where sessions are written down."""

    def open(self, listener: str, client: str) -> Entry:
        """Begin a line."""


@attrs.frozen
class Gateway:
    """
    What every session shares. Immutable: a reload makes a new one, and running tunnels keep theirs.

    @ivar guard: who may go where.
    """

    clock: IReactorTime
    chains: Sequence[Chain]
    relays: Relays
    journal: Journal
    guard: Guard
    retry: RetrySettings = RetrySettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    via: bool = True
    failing: Failing = attrs.field()

    @failing.default
    def _newFailing(self) -> Failing:
        return Failing(self.clock.seconds)

    def open(self, listener: str, client: str) -> Entry:
        """Begin a session's line in the journal."""
        return self.journal.open(listener, client)

    async def run(self, conversation: Conversation, request: Request, entry: Entry, judge: Judge) -> None:
        """
        Find a way for `request` where `judge` allows it, tell the client, and hand both streams to the relay.

        The entry is closed here where no tunnel comes to be, else by the relay.

        @raise CancelledError: the client left, and its task was cancelled.
        """
        entry.destination, entry.protocol, entry.user = request.destination, request.protocol, request.user
        try:
            if (refusal := judge.before(request.destination)) is not None:
                raise refusal
            chain, far = await self.search(
                request.destination, entry, lambda chain: _connected(chain.connect(request.destination, judge))
            )
        except CancelledError:
            entry.close(Ended("client_left"))
            raise
        except Refusal as refusal:
            conversation.refuse(refusal)
            entry.close(Ended(refusal.token))
        except Exception:
            _log.failure("a session failed")
            conversation.refuse(Refusal("PS-SV02"))
            entry.close(Ended("internal"))
        else:
            conversation.accept(_ours(far) if chain.direct else far.bound)
            entry.relay = self.relays.kind(conversation.stream, far)
            self.relays.join(conversation.stream, far, entry.close)

    async def search(
        self,
        destination: Destination,
        entry: Entry,
        reach: Callable[[Chain], Deferred[T]],
        chains: Sequence[Chain] | None = None,
        total: float | None = None,
    ) -> tuple[Chain, T]:
        """
        Chain after chain, by the retry policy, until `reach` gets there.

        @raise Refusal: no chain did.
        """
        entry.route = "default"
        chosen = self.chains if chains is None else chains
        return await search(self.clock, chosen, destination, self.retry, self.failing, entry, reach, total)


def _connected(endpoint: IStreamClientEndpoint) -> Deferred[FarStream]:
    connecting: Deferred[FarStream] = endpoint.connect(_farFactory)  # type: ignore[assignment]
    return connecting


def _ours(far: FarStream) -> tuple[str, int]:
    host = far.transport.getHost()
    return host.host, host.port


class _FarFactory(Factory):
    noisy = False
    protocol = FarStream


_farFactory = _FarFactory()
