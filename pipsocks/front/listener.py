"""What the clients of one listening port share, and the factory that makes them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import attrs
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from pipsocks.front.client import Client
from pipsocks.front.descriptors import Descriptors
from pipsocks.front.settings import Network
from pipsocks.gateway.session import Gateway
from pipsocks.model import Ended

HANDSHAKES: Final = 4096


class Logins(Protocol):
    """Who may use the listener."""

    async def check(self, user: bytes, password: bytes) -> str:
        """The user's name; raises `Refusal` (PS-AU02)."""


@attrs.define
class Clients:
    """
    Every client connection that is open, for the drain, and those still in their handshake, which are bounded.

    @ivar limit: how many may be in their handshake; the oldest is closed for one more.
    @ivar descriptors: what is told of each new socket.
    """

    limit: int = HANDSHAKES
    descriptors: Descriptors | None = None
    open: set[Client] = attrs.field(factory=set, init=False)
    shaking: dict[Client, None] = attrs.field(factory=dict, init=False)
    stopping: bool = attrs.field(default=False, init=False)
    whenEmpty: Callable[[], None] | None = attrs.field(default=None, init=False)

    def add(self, client: Client) -> None:
        """A client connected."""
        self.open.add(client)
        fileno = getattr(client.transport, "fileno", None)
        if self.descriptors is not None and fileno is not None:
            self.descriptors.taken(fileno())
        if len(self.shaking) >= self.limit:
            next(iter(self.shaking)).expire()
        self.shaking[client] = None

    def settled(self, client: Client) -> None:
        """It has said what it wants."""
        self.shaking.pop(client, None)

    def stop(self) -> None:
        """No new sessions from now on; clients that wait for nothing are closed."""
        self.stopping = True
        for client in list(self.open):
            client.stop()

    def abort(self) -> None:
        """Close all of them at once."""
        for client in list(self.open):
            client.transport.abortConnection()

    def isShaking(self, client: Client) -> bool:
        """Whether it has yet to say what it wants."""
        return client in self.shaking

    def remove(self, client: Client) -> None:
        """It is gone."""
        self.shaking.pop(client, None)
        self.open.discard(client)
        if not self.open and self.whenEmpty is not None:
            self.whenEmpty()


@attrs.define(eq=False)
class Listener:
    """
    One listening port.

    @ivar name: what the journal calls it.
    @ivar protocol: its own: ``socks`` or ``http``.
    @ivar forward: what forwarded HTTP requests are handed to (`pipsocks.forward`).
    @ivar associations: what carries UDP ASSOCIATE out (`pipsocks.udp`).
    """

    name: str
    protocol: str
    gateway: Gateway
    clock: IReactorTime
    clients: Clients
    forward: Any
    associations: Any
    logins: Logins | None = None
    networks: Sequence[Network] = ()
    strict: bool = False

    def admits(self, host: str) -> bool:
        """Whether a client at `host` may speak at all. A unix socket's client has no address and may."""
        if not self.networks:
            return True
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.networks)


@attrs.define(eq=False)
class ListenerFactory(Factory):
    """Makes a `Client` for each connection that may speak."""

    noisy = False
    listener: Listener

    def buildProtocol(self, addr: IAddress | None) -> Client | None:
        """A client, or None (the connection is closed) for one outside the client networks."""
        host = getattr(addr, "host", None)
        listener = self.listener
        if host is not None and not listener.admits(host):
            listener.gateway.open(listener.name, f"{host}:{getattr(addr, 'port', 0)}").close(Ended("client_network"))
            return None
        return Client(listener)
