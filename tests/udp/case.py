"""What the tests of associations share: a proxy with a real way out, clients, and peers who talk in datagrams."""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol

from pipsocks.policy.rules import Guard, Judge
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.names import Names
from pipsocks.upstream.parse import parseChain
from pipsocks.wire.datagram import Datagram, decodeDatagram, encodeDatagram
from pipsocks.wire.socks import decodeAddress, encodeAddress
from tests.front.proxy import ProxyTestCase
from tests.loopback import PATIENCE, Talk
from tests.upstream.rig import answers

GREETING = b"\x05\x01\x00"


class Post(DatagramProtocol):
    """A UDP socket whose datagrams a coroutine awaits."""

    noisy = False
    transport: Any

    def __init__(self) -> None:
        self.received: list[tuple[bytes, tuple[str, int]]] = []
        self._waiting: list[Deferred[tuple[bytes, tuple[str, int]]]] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if self._waiting:
            self._waiting.pop(0).callback((datagram, addr))
        else:
            self.received.append((datagram, addr))

    async def next(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram, and who sent it."""
        if self.received:
            return self.received.pop(0)
        waiting: Deferred[tuple[bytes, tuple[str, int]]] = Deferred()
        waiting.addTimeout(PATIENCE, reactor)  # type: ignore[arg-type]
        self._waiting.append(waiting)
        return await waiting

    @property
    def port(self) -> int:
        return self.transport.getHost().port  # type: ignore[no-any-return]


@attrs.define(eq=False)
class Associated:
    """A client with an association: its TCP connection, its UDP socket, and where its datagrams go."""

    talk: Talk
    post: Post
    relay: tuple[str, int]

    def send(self, host: str, port: int, data: bytes) -> None:
        """Send a datagram through the association."""
        self.raw(encodeDatagram(host, port, data))

    def raw(self, raw: bytes) -> None:
        """Send anything to the relay."""
        self.post.transport.write(raw, self.relay)

    async def next(self) -> Datagram:
        """The next answer."""
        return decodeDatagram((await self.post.next())[0])


class FarGuard(Guard):
    """Takes everybody for a client from elsewhere."""

    def judge(self, client: str) -> Judge:
        return super().judge("192.0.2.77")


class UDPCase(ProxyTestCase):
    """A proxy on loopback, with a chain of its own and names that the test knows."""

    timeout = 60
    far = False

    async def begin(self) -> None:
        await super().begin()
        self.knownNames: dict[str, list[str]] = {}
        self.network = Network(reactor, names=Names(reactor, answers(self.knownNames)))
        self.useChain("direct")

    def useChain(self, text: str) -> None:
        """Let the proxy's only chain be this one."""
        self.chain: Any = Chain(parseChain(text), self.network)

    def guard(self) -> Guard:
        kind = FarGuard if self.far else Guard
        return kind(self.rules, lambda host, port: port == 9)

    async def post(self, host: str = "127.0.0.1") -> Post:
        """A UDP socket of somebody's, closed at the end."""
        post = Post()
        try:
            port = reactor.listenUDP(0, post, interface=host, maxPacketSize=65536)  # type: ignore[attr-defined]
        except Exception:
            self.skipTest(f"no {host} here")
        self.addCleanup(port.stopListening)
        return post

    async def echo(self, host: str = "127.0.0.1") -> Post:
        """A peer that says everything back."""
        post = await self.post(host)
        post.datagramReceived = lambda data, addr: post.transport.write(data, addr)  # type: ignore[method-assign]
        return post

    async def ask(self, talk: Talk, host: str = "0.0.0.0", port: int = 0) -> tuple[int, tuple[str, int]]:
        """Ask for an association; the reply, and the address in it."""
        talk.write(GREETING + b"\x05\x03\x00" + encodeAddress(host, port))
        await talk.read(2)
        head = await talk.read(4)
        rest = await talk.read(6 if head[3] == 1 else 18)
        address = decodeAddress(head + rest, 3)
        assert address is not None
        return head[1], (address.host, address.port)

    async def associated(self, declare: bool = False, talk: Talk | None = None) -> Associated:
        """A client with an association."""
        talk = talk or await self.client()
        post = await self.post()
        reply, relay = await self.ask(talk, *(("127.0.0.1", post.port) if declare else ()))
        self.assertEqual(reply, 0)
        return Associated(talk, post, relay)

    async def line(self, count: int = 1) -> dict[str, Any]:
        """The journal's last line, once it has so many."""
        return (await self.written(count))[-1]


def freePorts(count: int) -> list[int]:
    """UDP ports on 127.0.0.1 that nobody uses, side by side."""
    for first in range(42000, 60000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sockets.append(probe)
                probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise AssertionError("no free ports")
