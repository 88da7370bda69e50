"""One session's life, on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pipsocks.gateway.datagrams import Inlet, Outlet
from pipsocks.gateway.doubt import Failing
from pipsocks.gateway.judge import Guard, Judge
from pipsocks.gateway.search import search
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.gateway.stream import FarStream, Stream
from pipsocks.model import Destination, Ended, Entry, Login, Request
from pipsocks.refusal import Refusal

T = TypeVar("T")
_log = Logger()


class Arrival(Protocol):
    """A port that waits for one connection."""

    @property
    def bound(self) -> tuple[str, int]:
        """Where."""

    def close(self) -> None:
        """Wait no longer."""


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

    def datagrams(self, judge: Judge, inlet: Inlet) -> Deferred[Outlet]:
        """A way out for datagrams, as far as `judge` lets them. Fails as `connect` does; PS-UP25 if there is none."""

    def awaitArrival(self, expected: Destination, judge: Judge, protocolFactory: IProtocolFactory) -> Deferred[Arrival]:
        """Wait for a connection from `expected`, which gets the factory's protocol. Fails as `datagrams` does."""


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

    def open(self, listener: str, client: str, ago: float = 0.0) -> Entry:
        """Begin a line for what began `ago` seconds before."""


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

    def open(self, listener: str, client: str, ago: float = 0.0) -> Entry:
        """Begin the line in the journal of a session that began `ago` seconds before."""
        return self.journal.open(listener, client, ago)

    async def run(self, carry: Carry, conversation: Conversation, request: Request, entry: Entry, judge: Judge) -> None:
        """
        Carry a `request` out where `judge` allows it, or tell the client why not.

        The entry is closed here where nothing comes of it, else by the relay.

        @param carry: finds the way, tells the client, and hands it to a relay: `connect`, `pipsocks.gateway.bind.bind`
            or `pipsocks.udp.Associations.carry`; raises `Refusal`.
        @raise CancelledError: the client left, and its task was cancelled.
        """
        entry.destination, entry.protocol, entry.user = request.destination, request.protocol, request.user
        try:
            await carry(self, conversation, request, entry, judge)
        except CancelledError:
            entry.close(Ended("client_left"))
            raise
        except Refusal as refusal:
            conversation.refuse(refusal)
            entry.close(Ended(refusal.token, reason=refusal.cause))
        except Exception:
            _log.failure("a session failed")
            conversation.refuse(Refusal("PS-SV02"))
            entry.close(Ended("internal"))

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


Carry = Callable[[Gateway, Conversation, Request, Entry, Judge], Awaitable[None]]


async def connect(gateway: Gateway, conversation: Conversation, request: Request, entry: Entry, judge: Judge) -> None:
    """
    Find a way to the destination, tell the client, and hand both streams to the relay.

    @raise Refusal: there is none, or the judge forbids it.
    """
    destination = request.destination
    if (refusal := judge.before(destination)) is not None:
        raise refusal
    chain, far = await gateway.search(destination, entry, lambda chain: _connected(chain.connect(destination, judge)))
    conversation.accept(_ours(far) if chain.direct else far.bound)
    entry.relay = gateway.relays.kind(conversation.stream, far)
    gateway.relays.join(conversation.stream, far, entry.close)


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
