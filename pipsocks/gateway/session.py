"""One session's life, on one screen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from pipsocks.gateway.attempt import TERMS, Terms
from pipsocks.gateway.counts import Counts
from pipsocks.gateway.flight import fly
from pipsocks.gateway.found import Found
from pipsocks.gateway.joined import Relays
from pipsocks.gateway.judge import Confined, Guard, Judge
from pipsocks.gateway.memory import Memory
from pipsocks.gateway.seam import Chain, Group, Plan
from pipsocks.gateway.search import Search
from pipsocks.gateway.settings import TimeoutSettings
from pipsocks.gateway.stream import FarStream, Stream
from pipsocks.model import Choice, Ended, Entry, Request
from pipsocks.refusal import Refusal

T = TypeVar("T")
_log = Logger()


class Conversation(Protocol):
    """The client's side while it waits."""

    @property
    def stream(self) -> Stream:
        """The client's socket for the relay."""

    def accept(self, bound: tuple[str, int] | None) -> None:
        """Tell the client yes; `bound` is the address that the last SOCKS hop bound, or ours."""

    def refuse(self, refusal: Refusal) -> None:
        """Tell the client no, in its protocol's words, and close."""


class Journal(Protocol):
    """Where sessions are written down."""

    def open(self, listener: str, client: str, ago: float = 0.0) -> Entry:
        """Begin a line for what began `ago` seconds before."""


class Routes(Protocol):
    """Which group a session's destination leads to."""

    async def choose(self, request: Request) -> Choice:
        """The route of a request."""

    def known(self, request: Request, anywhere: bool = False) -> Choice:
        """The same without any look-up; `anywhere`: that of a destination which no condition names."""


@attrs.frozen
class Gateway:
    """
    What every session shares. Immutable: a reload makes a new one, and running tunnels keep theirs.

    @ivar groups: by their names; ``direct`` is one of them.
    @ivar guard: who may go where.
    @ivar memory: what was learnt of destinations, which outlives a reload.
    @ivar counts: what was done so that sessions succeed.
    """

    clock: IReactorTime
    groups: Mapping[str, Group]
    routes: Routes
    relays: Relays
    journal: Journal
    guard: Guard
    timeouts: TimeoutSettings = TimeoutSettings()
    via: bool = True
    memory: Memory = attrs.field()
    counts: Counts = attrs.field(factory=Counts)

    @memory.default
    def _newMemory(self) -> Memory:
        return Memory(self.clock.seconds)

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
            await carry(Session(self, request, entry), conversation, judge)
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


@attrs.define(eq=False)
class Session:
    """
    One SOCKS request, one CONNECT, or one forwarded HTTP request, on its way.

    @ivar choice: its route, once it is chosen; `group` where that leads, and `plan` the order of that group's chains
        for this session.
    @ivar began: when, on the gateway's clock.
    @ivar attempts: how many there were.
    @ivar lost: the chains that have failed it, or were too slow.
    """

    gateway: Gateway
    request: Request
    entry: Entry
    choice: Choice = attrs.field(init=False)
    group: Group = attrs.field(init=False)
    plan: Plan = attrs.field(init=False)
    began: float = attrs.field(init=False)
    attempts: int = attrs.field(default=0, init=False)
    lost: list[Chain] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self.gateway.clock.seconds()

    async def route(self) -> None:
        """
        Choose the route, and the order of its chains.

        @raise Refusal: there is none, or it says no.
        """
        self.take(await self.gateway.routes.choose(self.request))

    def take(self, choice: Choice) -> None:
        """
        Go where `choice` leads.

        @raise Refusal: that is nowhere.
        """
        self.entry.route, self.entry.because = choice.to, choice.because
        if choice.refusal is not None:
            raise choice.refusal
        self.choice, self.group = choice, self.gateway.groups[choice.to]
        self.plan = self.group.plan(self.request.destination)
        self.group.budget.earn()

    def confined(self, judge: Judge) -> Judge:
        """`judge`, within what the route is for."""
        return judge if self.choice.holdsAt is None else Confined(judge, self.choice.holdsAt)

    def mayAttempt(self, anyway: bool = False) -> bool:
        """Whether another connection may be made for it (`anyway`: it is made in any case); it is counted then."""
        if self.attempts >= self.group.retry.attempts and not anyway:
            return False
        self.attempts += 1
        return True

    def search(self, reach: Callable[[Chain], Deferred[T]], terms: Terms = TERMS) -> Deferred[Found[T]]:
        """
        Chain after chain, by the retry policy, until `reach` gets there; see `pipsocks.gateway.search.Search`.

        @return: fails with `Refusal`: no chain did.
        """
        gateway, destination = self.gateway, self.request.destination

        def counted(chain: Chain) -> Deferred[T]:
            self.attempts += 1
            return reach(chain)

        if terms.total is None:  # the look-up for a route is part of the client's time
            late = gateway.clock.seconds() - self.began
            terms = attrs.evolve(terms, total=max(1.0, self.group.retry.total - late)) if late > 0.01 else terms
        search = Search(
            gateway.clock, self.group, self.plan, destination, gateway.memory, self.entry, counted, terms, self.lost
        )
        return search.begin()


Carry = Callable[[Session, Conversation, Judge], Awaitable[None]]


async def connect(session: Session, conversation: Conversation, judge: Judge) -> None:
    """
    Find a way to the destination, tell the client, and keep its first flight until the destination has answered.

    @raise Refusal: there is none, or the judge forbids it.
    """
    destination = session.request.destination
    if (refusal := judge.before(destination)) is not None:
        raise refusal
    await session.route()
    judge = session.confined(judge)

    def reach(chain: Chain) -> Deferred[FarStream]:
        return _connected(chain.connect(destination, judge))

    found = await session.search(reach)
    try:
        conversation.accept(_ours(found.reached) if found.chain.direct else found.reached.bound)
    except BaseException:
        found.close()
        found.reached.transport.abortConnection()
        raise
    fly(session, conversation.stream, found, reach)


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
