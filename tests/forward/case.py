"""A proxy whose ways out the test scripts: raw sockets stand for origins and hops."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint

from pipsocks.forward import Forward
from pipsocks.front.listener import Listener, ListenerFactory
from pipsocks.gateway.session import Gateway
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination, Login
from pipsocks.observe.journal import Journal, jsonLine
from pipsocks.refusal import Refusal
from pipsocks.relay import Relays
from pipsocks.upstream.health import Health
from tests.front.proxy import ProxyTestCase, tick
from tests.gateway.fakes import health, ways
from tests.loopback import Talk, TalkFactory, connect, listen

URL = b"http://index.example/simple/"
GET = b"GET http://index.example/simple/ HTTP/1.1\r\nHost: index.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@attrs.define(eq=False, slots=False)
class Way:
    """
    A chain, and the endpoint of it, that leads to a port of the test's, where `factory` collects the connections.

    `code` is a refusal to fail with instead; `pending` a Deferred to wait for first.
    """

    factory: TalkFactory
    port: int
    name: str = "direct"
    direct: bool = True
    endsInHTTP: bool = False
    login: Login | None = None
    code: str = ""
    pending: Deferred[None] | None = None
    asked: list[Destination | None] = attrs.field(factory=list)
    health: Health = attrs.field(factory=health)
    tier: int = 1

    def describe(self) -> str:
        return self.name

    def connect(self, destination: Any, judge: Any = None) -> Any:
        if not isinstance(destination, Destination):
            return self._dial(destination)
        assert not self.endsInHTTP, "an HTTP hop is not asked for tunnels here"
        self.asked.append(destination)
        return self

    def reachLast(self) -> Any:
        assert self.endsInHTTP
        self.asked.append(None)
        return self

    def _dial(self, factory: Any) -> Any:
        if self.code:
            return fail(Refusal(self.code, chain="" if self.direct else self.name, where="there"))
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        if self.pending is not None:
            return self.pending.addCallback(lambda _: endpoint.connect(factory))
        return endpoint.connect(factory)


class ForwardTestCase(ProxyTestCase):
    """A test with a client, a proxy, and ways out."""

    via = True
    retry = RetrySettings()

    async def begin(self) -> None:
        await super().begin()
        self.forward = Forward()
        self.way = Way(self.origin, self.originPort)
        self.ways = [self.way]

    async def addWay(self, name: str, hop: bool = True, **settings: Any) -> Way:
        """One more way out, over an HTTP hop or a SOCKS hop."""
        factory = TalkFactory()
        way = Way(factory, await listen(self, factory), name, direct=False, endsInHTTP=hop, **settings)
        self.ways.append(way)
        return way

    async def proxy(self, protocol: str, **settings: Any) -> int:
        shared = ways(self.clock, tuple(self.ways), retry=self.retry)
        self.group = shared["groups"]["default"]
        self.gateway = gateway = Gateway(
            clock=self.clock,  # type: ignore[arg-type]
            **shared,
            relays=Relays(reactor),
            journal=Journal(self.lines.append, jsonLine, self.clock.seconds, lambda: 0.0),
            guard=self.guard(),
            via=self.via,
        )
        listener = Listener("http", "http", gateway, self.clock, self.clients, self.forward, None, **settings)  # type: ignore[arg-type]
        return await listen(self, ListenerFactory(listener))

    async def open(self) -> Talk:
        """A new client of a new proxy."""
        return await self.client("http")

    async def another(self) -> Talk:
        """A new client of the proxy that `open` made last."""
        return await connect(self, self.port)

    async def client(self, protocol: str = "http", **settings: Any) -> Talk:
        self.port = await self.proxy(protocol, **settings)
        return await connect(self, self.port)

    async def asked(self, client: Talk, request: bytes = GET, way: Way | None = None) -> tuple[Talk, bytes]:
        """Send a request, and return the connection on which it arrives, with its head."""
        client.write(request)
        talk = await (way or self.way).factory.accepted()
        return talk, await talk.readUntil(b"\r\n\r\n")

    async def quiet(self) -> None:
        """Wait until every client is gone, and see that no timer is left."""
        while self.clients.open:
            await tick()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def pass_(self, seconds: float) -> None:
        """Let the time pass, in steps, with the sockets being looked at between."""
        while seconds > 0:
            step = min(seconds, 0.5)
            self.clock.advance(step)
            seconds -= step
            await tick(0.002)


async def response(talk: Talk) -> tuple[bytes, bytes]:
    """A response with a Content-Length: its head and its content."""
    head = await talk.readUntil(b"\r\n\r\n")
    return head, await talk.read(contentLength(head))


def contentLength(head: bytes) -> int:
    """What the head says."""
    return int(fieldsOf(head).get(b"content-length", b"0"))


def fieldsOf(head: bytes) -> dict[bytes, bytes]:
    """The fields of a head, by lower-case name."""
    lines = head.split(b"\r\n")[1:]
    return {name.lower(): value.strip() for name, colon, value in (line.partition(b":") for line in lines) if colon}
