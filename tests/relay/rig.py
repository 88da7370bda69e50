"""A tunnel on real loopback sockets: client - near | relay | far - origin, with all four ends in the test's hands."""

from __future__ import annotations

import gc
import hashlib
import os
import resource
import socket
from collections.abc import Callable
from functools import cache
from typing import Any

import trustme
from twisted.internet import reactor as globalReactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from pipsocks.gateway.stream import FarStream
from pipsocks.model import Ended
from pipsocks.relay import Relays

reactor: Any = globalReactor


class Waiting:
    """Lets a coroutine wait for a condition that is looked at again after every event."""

    def __init__(self) -> None:
        self._waiters: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def changed(self) -> None:
        """Look at the conditions."""
        for waiter in list(self._waiters):
            if waiter[0]():
                self._waiters.remove(waiter)
                waiter[1].callback(None)

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire when `condition` holds."""
        done: Deferred[None] = Deferred()
        self._waiters.append((condition, done))
        self.changed()
        return done


@implementer(IHalfCloseableProtocol)
class Peer(Protocol):
    """The client, or the origin: remembers what came and how it ended. With `keep` off it only hashes."""

    transport: Any

    def __init__(self) -> None:
        self.keep = True
        self.data = bytearray()
        self.size = 0
        self.hash = hashlib.sha256()
        self.ended = False
        self.lost: Failure | None = None
        self.waiting = Waiting()
        self.until = self.waiting.until
        self.onData: Callable[[bytes], None] | None = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        self.size += len(data)
        self.hash.update(data)
        if self.keep:
            self.data += data
        if self.onData is not None:
            self.onData(data)
        self.waiting.changed()

    def readConnectionLost(self) -> None:
        self.ended = True
        self.waiting.changed()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        self.lost = reason
        self.waiting.changed()

    @property
    def over(self) -> bool:
        """No more will come."""
        return self.ended or self.lost is not None


class Feed:
    """Sends `total` random-looking bytes through a peer, as fast as they are taken, then calls `after`."""

    def __init__(self, peer: Peer, total: int, after: Callable[[], None]) -> None:
        self.peer, self.left, self.after = peer, total, after
        self.hash = hashlib.sha256()
        self.sent = 0
        self._block = os.urandom(65_521)  # a prime: no boundary repeats
        peer.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        if self.left <= 0:
            self.peer.transport.unregisterProducer()
            self.after()
            return
        piece = self._block[: self.left]
        self.left -= len(piece)
        self.sent += len(piece)
        self.hash.update(piece)
        self.peer.transport.write(piece)

    def stopProducing(self) -> None:
        self.left = 0


class Collecting(Factory):
    """Builds one kind of protocol, and hands out the first."""

    noisy = False

    def __init__(self, build: Callable[[], Any]) -> None:
        self._build = build
        self.first: Deferred[Any] = Deferred()

    def buildProtocol(self, addr: object) -> Any:
        protocol = self._build()
        made = protocol.makeConnection

        def makeConnection(transport: Any) -> None:
            made(transport)
            reactor.callLater(0, self.first.callback, protocol)

        protocol.makeConnection = makeConnection
        return protocol


@cache
def _certificates() -> tuple[Any, Any]:
    authority = trustme.CA()
    leaf = authority.issue_cert("pipsocks.example")
    pem = leaf.private_key_pem.bytes() + b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    options = PrivateCertificate.loadPEM(pem).options()
    root = Certificate.loadPEM(authority.cert_pem.bytes())
    return options, root


class Tunnelled:
    """The four ends and the relay's verdict."""

    def __init__(self, client: Peer, near: FarStream, far: FarStream, origin: Peer) -> None:
        self.client, self.near, self.far, self.origin = client, near, far, origin
        self.results: list[Ended] = []
        self.hearings = 0
        self.waiting = Waiting()
        self.kind = ""

    def join(self, relays: Relays) -> None:
        """Hand the two middle ends to `relays`."""
        self.kind = relays.join(self.near, self.far, self.done, self.heard)

    def heard(self) -> None:
        """Count the calls: there is one at the first far byte."""
        self.hearings += 1

    def done(self, ended: Ended) -> None:
        """Remember the verdict."""
        self.results.append(ended)
        self.waiting.changed()

    async def ended(self) -> Ended:
        """Wait for the verdict."""
        await self.waiting.until(lambda: bool(self.results))
        return self.results[0]


class RigCase(TestCase):
    """Builds tunnels and takes them away again."""

    timeout = 15
    splice = True
    kind = "splice"

    def setUp(self) -> None:
        self.relays = Relays(reactor, splice=self.splice)
        self._rigs: list[Tunnelled] = []

    async def _pair(self, server: Any, client: Any, tls: bool) -> tuple[Any, Any]:
        listening: Any = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        if tls:
            listening = SSL4ServerEndpoint(reactor, 0, _certificates()[0], interface="127.0.0.1")
        servers, clients = Collecting(server), Collecting(client)
        port = await listening.listen(servers)
        endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        if tls:
            endpoint = wrapClientTLS(optionsForClientTLS("pipsocks.example", _certificates()[1]), endpoint)
        await endpoint.connect(clients)
        there, here = await servers.first, await clients.first
        await port.stopListening()
        while tls and not (there.transport._handshakeDone and here.transport._handshakeDone):
            await self.turns(1)
        return there, here

    async def connect(self, tlsNear: bool = False, tlsFar: bool = False) -> Tunnelled:
        """Connect all four ends; nothing is joined yet."""
        near, client = await self._pair(FarStream, Peer, tlsNear)
        origin, far = await self._pair(Peer, FarStream, tlsFar)
        rig = Tunnelled(client, near, far, origin)
        self._rigs.append(rig)
        return rig

    async def tunnel(self, relays: Relays | None = None, **tls: bool) -> Tunnelled:
        """Connect and join."""
        rig = await self.connect(**tls)
        rig.join(relays or self.relays)
        self.assertEqual(rig.kind, "transport" if tls else self.kind)
        return rig

    async def tearDown(self) -> None:
        for rig in self._rigs:
            for end in (rig.client, rig.near, rig.far, rig.origin):
                if end.transport is not None and not getattr(end.transport, "disconnected", False):
                    end.transport.abortConnection()
        await self.turns(3)
        for rig in self._rigs:
            if rig.kind:
                self.assertEqual(len(rig.results), 1, "done was not called once")

    async def turns(self, count: int) -> None:
        """Let the reactor go round."""
        for _ in range(count):
            await deferLater(reactor, 0)


def small(*transports: Any) -> None:
    """Make the kernel's buffers of these sockets small."""
    for transport in transports:
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


def descriptors() -> int:
    """Count the open descriptors, without those that earlier tests left to the garbage collector."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def noMoreDescriptors() -> tuple[int, int]:
    """Make the next descriptor too many. Returns the limits that were."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    return limits
