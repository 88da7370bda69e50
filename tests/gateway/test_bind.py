"""BIND, on real sockets: the connection comes from the other side."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from pipsocks.policy.settings import RuleSettings
from pipsocks.wire.socks import decodeAddress, encodeAddress
from tests.front.proxy import tick
from tests.loopback import Talk, connect
from tests.udp.case import GREETING, UDPCase


class BindCase(UDPCase):
    """Clients that expect somebody."""

    async def bound(self, host: str = "127.0.0.1", behind: bytes = b"") -> tuple[Talk, int]:
        """A client that was told its port."""
        client = await self.client()
        client.write(GREETING + b"\x05\x02\x00" + encodeAddress(host, 0) + behind)
        self.assertEqual(await client.read(5), b"\x05\x00\x05\x00\x00")
        address = decodeAddress(await client.read(7))
        assert address is not None
        self.assertEqual(address.host, "127.0.0.1")
        return client, address.port

    async def refusal(self, request: bytes) -> tuple[int, str]:
        """The reply to a BIND, and the journal's word."""
        client = await self.client()
        client.write(GREETING + request)
        while len(client.received) < 4:
            await tick()
            self.clock.advance(0.1)
        reply = (await client.readAll())[3]
        return reply, (await self.line(len(self.lines) or 1))["outcome"]


class BindTests(BindCase):
    """What client and peer see."""

    async def test_twoReplies(self) -> None:
        """The first reply says where, the second who came; then bytes pass both ways, early ones too."""
        client, port = await self.bound(behind=b"early ")
        self.assertEqual(client.received, b"")
        peer = await connect(self, port)
        reply = await client.read(10)
        self.assertEqual(reply[:8], b"\x05\x00\x00\x01\x7f\x00\x00\x01")
        self.assertEqual(int.from_bytes(reply[8:], "big"), peer.transport.getHost().port)
        client.write(b"late")
        self.assertEqual(await peer.read(10), b"early late")
        peer.write(b"answer")
        peer.transport.loseConnection()
        self.assertEqual(await client.readAll(), b"answer")
        client.transport.loseConnection()
        line = await self.line()
        self.assertEqual(
            [line[key] for key in ("protocol", "destination", "up", "down", "outcome")],
            ["bind", "127.0.0.1:0", 10, 6, "ok"],
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_socks4(self) -> None:
        """SOCKS 4 has the same, in its words."""
        client = await self.client()
        client.write(b"\x04\x02\x00\x00\x7f\x00\x00\x01\x00")
        first = await client.read(8)
        self.assertEqual((first[:2], first[4:]), (b"\x00\x5a", b"\x7f\x00\x00\x01"))
        peer = await connect(self, int.from_bytes(first[2:4], "big"))
        self.assertEqual((await client.read(8))[:2], b"\x00\x5a")
        peer.write(b"hello")
        self.assertEqual(await client.read(5), b"hello")

    async def test_strangers(self) -> None:
        """Who is not expected is turned away, and the wait goes on; behind the peer nobody gets in."""
        client, port = await self.bound()
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=("127.0.0.2", 0))
        stranger: Any = await endpoint.connect(Factory.forProtocol(Talk))
        self.assertEqual(await stranger.readAll(), b"")
        stranger.transport.loseConnection()
        await stranger.gone()
        self.assertEqual(client.received, b"")
        peer = await connect(self, port)
        await client.read(10)
        peer.write(b"x")
        self.assertEqual(await client.read(1), b"x")
        with self.assertRaises(Exception):  # noqa: B017
            await connect(self, port)

    async def test_name(self) -> None:
        """The peer may be named."""
        self.knownNames["peer.example"] = ["127.0.0.1"]
        client, port = await self.bound("peer.example")
        await connect(self, port)
        self.assertEqual((await client.read(10))[:2], b"\x05\x00")

    async def test_nobodyComes(self) -> None:
        """After a minute the second reply says no."""
        client, port = await self.bound()
        self.clock.advance(60)
        self.assertEqual((await client.readAll())[:2], b"\x05\x04")
        self.assertEqual((await self.line())["outcome"], "timeout")
        await tick()
        with self.assertRaises(Exception):  # noqa: B017
            await connect(self, port)

    async def test_clientLeaves(self) -> None:
        """A client that goes is waited for no longer."""
        client, port = await self.bound()
        client.transport.abortConnection()
        self.assertEqual((await self.line())["outcome"], "client_left")
        await tick()
        with self.assertRaises(Exception):  # noqa: B017
            await connect(self, port)

    async def test_refused(self) -> None:
        """Nobody in particular, a name that is none, an address without a way, and a route that is not direct."""
        self.assertEqual(await self.refusal(b"\x05\x02\x00\x01" + bytes(6)), (1, "bad_destination"))
        self.assertEqual(await self.refusal(b"\x05\x02\x00" + encodeAddress("no.example", 0)), (4, "no_such_name"))
        self.assertEqual(await self.refusal(b"\x05\x02\x00" + encodeAddress("127.0.0.1", 9)), (2, "loop"))
        self.useChain("socks5h://127.0.0.1:1")
        self.assertEqual(await self.refusal(b"\x05\x02\x00" + encodeAddress("127.0.0.1", 0)), (7, "not_carried"))


class FailureTests(BindCase):
    """What our own machine lacks."""

    async def test_noPort(self) -> None:
        """No descriptor, or no route."""

        def outOfDescriptors(*_: Any, **__: Any) -> Any:
            raise CannotListenError("127.0.0.1", 0, OSError(errno.EMFILE, "Too many open files"))

        request = b"\x05\x02\x00" + encodeAddress("127.0.0.1", 0)
        client = await self.client()
        with patched(reactor, "listenTCP", outOfDescriptors):
            client.write(GREETING + request)
            await client.readAll()
        self.assertEqual((await self.line())["outcome"], "out_of_descriptors")
        self.assertEqual(
            await self.refusal(b"\x05\x02\x00" + encodeAddress("255.255.255.255", 0)), (3, "network_unreachable")
        )


@contextmanager
def patched(thing: object, name: str, value: object) -> Iterator[None]:
    """Another attribute for a while."""
    before = getattr(thing, name)
    setattr(thing, name, value)
    try:
        yield
    finally:
        setattr(thing, name, before)


class RulesTests(BindCase):
    """Rules hold for whom one waits for as for whom one goes to."""

    rules = (RuleSettings(False, "127.0.0.0/8"),)

    async def test_denied(self) -> None:
        """By address, and by what a name comes to."""
        self.knownNames["sly.example"] = ["127.0.0.1"]
        for host in ("127.0.0.1", "sly.example", "::ffff:127.0.0.1"):
            self.assertEqual(await self.refusal(b"\x05\x02\x00" + encodeAddress(host, 0)), (2, "denied"), host)
