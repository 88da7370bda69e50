"""A listener with a scripted way out, on loopback: what the tests of both conversations talk to."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from pipsocks.front.listener import Clients, Listener, ListenerFactory
from pipsocks.gateway.session import Gateway
from pipsocks.gateway.settings import TimeoutSettings
from pipsocks.model import Destination, Login
from pipsocks.observe.journal import Journal, jsonLine
from pipsocks.policy.rules import Guard
from pipsocks.policy.settings import RuleSettings
from pipsocks.refusal import Refusal
from pipsocks.relay import Relays
from pipsocks.udp import Associations
from pipsocks.upstream.health import Health
from tests.gateway.fakes import health, ways
from tests.loopback import Talk, TalkFactory, connect, listen


@attrs.define(eq=False)
class ScriptedChain:
    """Direct, to a port of the test's; or an outcome: a refusal's code, or a Deferred that the test fires."""

    port: int = 0
    outcome: Any = None
    name: str = "direct"
    direct: bool = True
    endsInHTTP: bool = False
    login: Login | None = None
    asked: list[Destination] = attrs.field(factory=list)
    health: Health = attrs.field(factory=health)

    def describe(self) -> str:
        return self.name

    def connect(self, destination: Destination, judge: Any = None) -> Any:
        self.asked.append(destination)
        return self

    endpoint = property(lambda self: TCP4ClientEndpoint(reactor, "127.0.0.1", self.port))

    def reachLast(self) -> Any:
        raise AssertionError("no HTTP hop here")


class ScriptedEndpoint(ScriptedChain):
    """The chain and its endpoint in one."""

    def connect(self, destination: Any, judge: Any = None) -> Any:
        if isinstance(destination, Destination):
            self.asked.append(destination)
            return self
        factory = destination
        if isinstance(self.outcome, str):
            return fail(Refusal(self.outcome, where="there"))
        if isinstance(self.outcome, Deferred):
            return self.outcome.addCallback(lambda _: self.endpoint.connect(factory))
        return self.endpoint.connect(factory)


@attrs.define
class Users:
    """One user."""

    user: bytes = b"ann"
    password: bytes = b"secret"
    wait: Any = None

    async def check(self, user: bytes, password: bytes) -> str:
        if self.wait is not None:
            await self.wait
        if (user, password) != (self.user, self.password):
            raise Refusal("PS-AU02")
        return user.decode()


class ProxyTestCase(TestCase):
    """A test with a listener, an origin behind it, and the journal's lines."""

    rules: tuple[RuleSettings, ...] = ()

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.origin = TalkFactory()
        self.originPort = await listen(self, self.origin)
        self.chain = ScriptedEndpoint(self.originPort)
        self.clients = Clients()

    async def proxy(self, protocol: str, **settings: Any) -> int:
        """Start a listener; returns its port."""
        journal = Journal(self.lines.append, jsonLine, self.clock.seconds, lambda: 0.0)
        gateway = Gateway(
            clock=self.clock,  # type: ignore[arg-type]
            **ways(self.clock, (self.chain,)),
            relays=Relays(reactor),
            journal=journal,
            guard=self.guard(),
            timeouts=TimeoutSettings(),
        )
        networks = [ipaddress.ip_network(text) for text in settings.pop("networks", [])]
        listener = Listener(
            name=protocol,
            protocol=protocol,
            gateway=gateway,
            clock=self.clock,  # type: ignore[arg-type]
            clients=self.clients,
            forward=settings.pop("forward", None),
            associations=settings.pop("associations", None) or Associations(reactor),
            networks=networks,
            **settings,
        )
        return await listen(self, ListenerFactory(listener))

    def guard(self) -> Guard:
        """Who may go where: by `rules`, and as if every port 9 were ours."""
        return Guard(self.rules, lambda host, port: port == 9)

    async def client(self, protocol: str = "socks", **settings: Any) -> Talk:
        """A client that is connected to a new listener."""
        return await connect(self, await self.proxy(protocol, **settings))

    @property
    def journal(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    async def written(self, count: int = 1) -> list[dict[str, Any]]:
        """The journal, once it has `count` lines."""
        while len(self.lines) < count:
            await tick()
        return self.journal


def tick(seconds: float = 0.005) -> Deferred[None]:
    """Let the reactor turn."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(seconds, turned.callback, None)  # type: ignore[attr-defined]
    return turned
