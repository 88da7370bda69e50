"""UDP ASSOCIATE on the direct route, on real sockets."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP6ClientEndpoint, TCP6ServerEndpoint, UNIXClientEndpoint, UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

import pipsocks.upstream.datagrams
import tests.front.proxy
from pipsocks.policy.settings import RuleSettings
from pipsocks.udp import Associations
from pipsocks.wire.datagram import Datagram
from tests.front.proxy import Users, tick
from tests.loopback import Talk
from tests.udp.case import UDPCase, freePorts


class AssociationTests(UDPCase):
    """What a client sees."""

    async def test_thereAndBack(self) -> None:
        """A datagram reaches its peer, and the answer comes back with the peer's address; the journal counts both."""
        client, peer = await self.associated(), await self.post()
        self.assertEqual(client.relay[0], "127.0.0.1")
        client.send("127.0.0.1", peer.port, b"question")
        data, addr = await peer.next()
        self.assertEqual(data, b"question")
        peer.transport.write(b"an answer", addr)
        self.assertEqual(await client.next(), Datagram("127.0.0.1", peer.port, b"an answer"))
        client.talk.transport.loseConnection()
        line = await self.line()
        self.assertEqual(
            [line[key] for key in ("protocol", "destination", "relay", "up", "down", "dropped", "outcome")],
            ["udp", "", "udp", 8, 9, 0, "ok"],
        )
        self.assertEqual([attempt["outcome"] for attempt in line["attempts"]], ["ok"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_sizes(self) -> None:
        """Empty datagrams, and the largest that fit."""
        client, peer = await self.associated(), await self.echo()
        for size in (0, 1, 1500, 65_000):
            client.send("127.0.0.1", peer.port, bytes(size))
            self.assertEqual((await client.next()).data, bytes(size))

    async def test_names(self) -> None:
        """A name is looked up here; the answer comes from its address. Odd spellings are addresses."""
        self.knownNames["peer.example"] = ["127.0.0.1"]
        client, peer = await self.associated(), await self.echo()
        client.send("peer.example", peer.port, b"by name")
        self.assertEqual(await client.next(), Datagram("127.0.0.1", peer.port, b"by name"))
        client.raw(b"\x00\x00\x00\x03\x05127.1" + peer.port.to_bytes(2, "big") + b"odd")
        self.assertEqual((await client.next()).data, b"odd")

    async def test_ipv6Peer(self) -> None:
        """A client on IPv4 talks with a peer on IPv6, by literal and by name."""
        client, peer = await self.associated(), await self.echo("::1")
        client.send("::1", peer.port, b"six")
        self.assertEqual(await client.next(), Datagram("::1", peer.port, b"six"))
        self.knownNames["six.example"] = ["::1"]
        client.send("six.example", peer.port, b"six")
        self.assertEqual((await client.next()).host, "::1")

    async def test_twoAtOnce(self) -> None:
        """Two clients' associations have nothing to do with each other."""
        one, other, peer = await self.associated(), await self.associated(), await self.echo()
        self.assertNotEqual(one.relay, other.relay)
        one.send("127.0.0.1", peer.port, b"one")
        other.send("127.0.0.1", peer.port, b"other")
        self.assertEqual(((await one.next()).data, (await other.next()).data), (b"one", b"other"))
        one.talk.transport.loseConnection()
        await self.line()
        other.send("127.0.0.1", peer.port, b"still")
        self.assertEqual((await other.next()).data, b"still")

    async def test_severalPeers(self) -> None:
        """One association reaches as many peers as it likes."""
        client = await self.associated()
        for _ in range(3):
            peer = await self.echo()
            client.send("127.0.0.1", peer.port, b"x")
            self.assertEqual((await client.next()).port, peer.port)

    async def test_login(self) -> None:
        """A listener with a login asks for it before an association as well."""
        talk = await self.client(logins=Users())
        talk.write(b"\x05\x01\x02\x01\x03ann\x06secret")
        self.assertEqual(await talk.read(4), b"\x05\x02\x01\x00")
        talk.write(b"\x05\x03\x00\x01" + bytes(6))
        self.assertEqual((await talk.read(10))[:2], b"\x05\x00")
        talk.transport.abortConnection()
        self.assertEqual((await self.line())["user"], "ann")


class StrangerTests(UDPCase):
    """Whose datagrams are dropped."""

    async def test_otherPort(self) -> None:
        """Once the client has spoken, nobody else on its machine is heard."""
        client, stranger, peer = await self.associated(), await self.post(), await self.echo()
        client.send("127.0.0.1", peer.port, b"mine")
        await client.next()
        await self.dropped(client, stranger, peer.port)

    async def test_beforeADeclaredPort(self) -> None:
        """Where the port was declared, the first stranger is dropped like any other."""
        client, stranger, peer = await self.associated(declare=True), await self.post(), await self.echo()
        await self.dropped(client, stranger, peer.port)

    async def dropped(self, client: Any, stranger: Any, port: int) -> None:
        """The stranger hears nothing, and the client is served after it."""
        stranger.transport.write(
            b"\x00\x00\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big") + b"not me", client.relay
        )
        client.send("127.0.0.1", port, b"me")
        self.assertEqual((await client.next()).data, b"me")
        self.assertEqual((stranger.received, client.post.received), ([], []))
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 1)

    async def test_otherAddress(self) -> None:
        """A stranger from another address is dropped, even as the first of all, and with the declared port."""
        client, stranger, peer = await self.associated(), await self.post("127.0.0.2"), await self.echo()
        await self.dropped(client, stranger, peer.port)

    async def test_unsoundFirst(self) -> None:
        """A first datagram without a sound header does not make its sender the client."""
        client, stranger, peer = await self.associated(), await self.post(), await self.echo()
        stranger.transport.write(b"\x00\x00\x01 not one", client.relay)
        client.send("127.0.0.1", peer.port, b"me")
        self.assertEqual((await client.next()).data, b"me")

    async def test_foreignDeclaration(self) -> None:
        """A client that declares an address which is not its own is taken by its first datagram."""
        talk, post, peer = await self.client(), await self.post(), await self.echo()
        _, relay = await self.ask(talk, "192.0.2.1", 4711)
        post.transport.write(b"\x00\x00\x00\x01\x7f\x00\x00\x01" + peer.port.to_bytes(2, "big") + b"me", relay)
        self.assertTrue((await post.next())[0].endswith(b"me"))

    async def test_uninvitedAnswer(self) -> None:
        """Only who was written to may answer: neither another peer, nor another port of the same."""
        client, peer, other = await self.associated(), await self.post(), await self.post()
        client.send("127.0.0.1", peer.port, b"question")
        _, addr = await peer.next()
        other.transport.write(b"uninvited", addr)
        peer.transport.write(b"answer", addr)
        self.assertEqual((await client.next()).data, b"answer")
        self.assertEqual(client.post.received, [])


class DroppedTests(UDPCase):
    """Which of the client's own datagrams are dropped."""

    async def test_unsound(self) -> None:
        """Fragments, port 0, half a header, unknown types and names that are none; the next one passes."""
        client, peer = await self.associated(), await self.echo()
        port = peer.port.to_bytes(2, "big")
        bad = [
            b"\x00\x00\x01\x01\x7f\x00\x00\x01" + port + b"fragment",
            b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x00port",
            b"\x00\x00\x00\x01\x7f",
            b"",
            b"\x00\x00\x00\x09\x7f\x00\x00\x01" + port,
            b"\x00\x00\x00\x03\x03a b" + port,
        ]
        for raw in bad:
            client.raw(raw)
        client.send("127.0.0.1", peer.port, b"good")
        self.assertEqual((await client.next()).data, b"good")
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], len(bad))

    async def test_unknownName(self) -> None:
        """A name that nobody knows, and an address that nothing can be sent to."""
        client, peer = await self.associated(), await self.echo()
        client.send("nobody.example", peer.port, b"lost")
        client.send("255.255.255.255", peer.port, b"lost")
        client.send("127.0.0.1", peer.port, b"good")
        await client.next()
        while self.network.names._waiting:  # noqa: SLF001
            await tick()
        client.talk.transport.loseConnection()
        line = await self.line()
        self.assertEqual((line["dropped"], line["up"]), (2, 4))

    async def test_hangingNames(self) -> None:
        """Names that hang hold up nobody; so many of them wait, and so much data, and no more."""
        gate = threading.Event()
        self.addCleanup(gate.set)

        def hang(*_: Any, **__: Any) -> Any:
            gate.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "hung")

        self.network.names._lookUp = hang  # noqa: SLF001
        client, peer = await self.associated(), await self.echo()
        for number in range(20):
            client.send(f"n{number}.example", peer.port, b"waits")
        for _ in range(10):
            client.send("n0.example", peer.port, bytes(60_000))
            client.send("127.0.0.1", peer.port, b"at once")
            self.assertEqual((await client.next()).data, b"at once")
        client.talk.transport.loseConnection()
        line = await self.line()
        self.assertEqual((line["dropped"], line["up"]), (30, 70))

    async def test_nameLookUpFails(self) -> None:
        """An error of our own in a look-up costs the datagram, and is logged."""

        def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

        self.network.names._lookUp = broken  # noqa: SLF001
        client = await self.associated()
        client.send("a.example", 53, b"lost")
        client.send("a.example", 53, b"lost too")
        while not (logged := self.flushLoggedErrors(ZeroDivisionError)):
            await tick()
        self.assertEqual(len(logged), 1)
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 2)

    async def test_tooLargeAnAnswer(self) -> None:
        """An answer that is too large with its header is dropped."""
        client, peer = await self.associated(), await self.post()
        client.send("127.0.0.1", peer.port, b"question")
        _, addr = await peer.next()
        peer.transport.write(bytes(65_507), addr)
        peer.transport.write(b"answer", addr)
        self.assertEqual((await client.next()).data, b"answer")
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 1)

    async def test_manyPeers(self) -> None:
        """Of very many peers the first are forgotten: their answers are then a stranger's."""
        self.patch(pipsocks.upstream.datagrams, "PEERS_LIMIT", 1)
        client, one, other = await self.associated(), await self.post(), await self.post()
        client.send("127.0.0.1", one.port, b"x")
        _, addr = await one.next()
        client.send("127.0.0.1", other.port, b"x")
        await other.next()
        one.transport.write(b"forgotten", addr)
        other.transport.write(b"known", addr)
        self.assertEqual((await client.next()).data, b"known")

    async def test_noSocket(self) -> None:
        """Without a socket for what goes out, it does not go out."""
        client, peer = await self.associated(), await self.echo()
        listenUDP = reactor.listenUDP  # type: ignore[attr-defined]
        self.patch(reactor, "listenUDP", outOfDescriptors)
        client.send("127.0.0.1", peer.port, b"lost")
        client.send("127.0.0.1", 9, b"denied: the mark that the first was read")
        await tick(0.02)
        self.patch(reactor, "listenUDP", listenUDP)
        client.send("127.0.0.1", peer.port, b"good")
        self.assertEqual((await client.next()).data, b"good")

    async def test_closedPort(self) -> None:
        """A peer that is not there costs nothing but the datagram."""
        client, peer = await self.associated(), await self.echo()
        gone = await self.post()
        port = gone.port
        await gone.transport.stopListening()
        for _ in range(3):
            client.send("127.0.0.1", port, b"lost")
            await tick()
        client.send("127.0.0.1", peer.port, b"good")
        self.assertEqual((await client.next()).data, b"good")


class EndTests(UDPCase):
    """When it is over."""

    async def test_withTheConnection(self) -> None:
        """With its TCP connection, however that ends, the relay's port is closed."""
        for end in ("loseConnection", "loseWriteConnection", "abortConnection"):
            client, peer = await self.associated(), await self.echo()
            client.send("127.0.0.1", peer.port, b"x")
            await client.next()
            getattr(client.talk.transport, end)()
            while self.clients.open:
                await tick()
            await tick()
            await self.isFree(client.relay[1])

    async def isFree(self, port: int) -> None:
        """Somebody else may have that port."""
        probe = await self.post()
        again: Any = reactor.listenUDP(port, type(probe)(), interface="127.0.0.1")  # type: ignore[attr-defined]
        await again.stopListening()

    async def test_idle(self) -> None:
        """After a minute without a datagram it ends, with its TCP connection; strangers' don't count."""
        client, peer, stranger = await self.associated(), await self.echo(), await self.post()
        client.send("127.0.0.1", peer.port, b"x")
        await client.next()
        self.clock.advance(59)
        client.send("127.0.0.1", peer.port, b"x")
        await client.next()
        self.clock.advance(59)
        stranger.transport.write(b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x35x", client.relay)
        await tick(0.02)
        self.assertFalse(client.talk.ended)
        self.clock.advance(1.1)
        self.assertEqual(await client.talk.readAll(), b"")
        line = await self.line()
        self.assertEqual((line["outcome"], line["dropped"]), ("idle", 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def test_chatter(self) -> None:
        """What is said on the TCP connection is nobody's business, and read away."""
        client, peer = await self.associated(), await self.echo()
        client.talk.write(bytes(200_000))
        client.send("127.0.0.1", peer.port, b"x")
        self.assertEqual((await client.next()).data, b"x")
        self.assertEqual(client.talk.received, b"")


def outOfDescriptors(*_: Any, **__: Any) -> Any:
    """In place of listenUDP."""
    raise CannotListenError("127.0.0.1", 0, OSError(errno.EMFILE, "Too many open files"))


class AddressTests(UDPCase):
    """Where the client is told to send."""

    async def begin(self) -> None:
        await super().begin()
        self.associations = Associations(reactor)

    async def proxy(self, protocol: str, **settings: Any) -> int:
        return await super().proxy(protocol, associations=self.associations, **settings)

    async def test_advertised(self) -> None:
        """An advertised address is told in place of the socket's; one of the other family is of no use."""
        self.associations = Associations(reactor, "192.0.2.7")
        client = await self.client()
        reply, (host, port) = await self.ask(client)
        self.assertEqual((reply, host), (0, "192.0.2.7"))
        self.assertTrue(port)
        self.associations = Associations(reactor, "2001:db8::7")
        self.assertEqual((await self.ask(await self.client()))[1][0], "127.0.0.1")

    async def test_ports(self) -> None:
        """The ports of the range are used, and when all are in use the client is told so."""
        ports = freePorts(2)
        self.associations = Associations(reactor, "", range(ports[0], ports[-1] + 1))
        one, other = await self.associated(), await self.associated()
        self.assertEqual(sorted((one.relay[1], other.relay[1])), ports)
        reply, _ = await self.ask(await self.client())
        self.assertEqual((reply, (await self.line())["outcome"]), (1, "no_udp_port"))
        one.talk.transport.loseConnection()
        await self.line(2)
        await tick()
        self.assertEqual((await self.associated()).relay[1], one.relay[1])

    async def test_outOfDescriptors(self) -> None:
        """Without a descriptor the client is told so, and no port after port is tried."""
        self.associations = Associations(reactor, "", range(40000, 50000))
        client = await self.client()
        self.patch(reactor, "listenUDP", outOfDescriptors)
        reply, _ = await self.ask(client)
        self.assertEqual((reply, (await self.line())["outcome"]), (1, "out_of_descriptors"))

    async def test_unix(self) -> None:
        """Over a unix socket there is no address to take datagrams from."""

        async def listenUNIX(case: Any, factory: Factory) -> int:
            self.path = os.path.join(tempfile.mkdtemp(), "s")
            self.addCleanup(os.rmdir, os.path.dirname(self.path))
            port: Any = await UNIXServerEndpoint(reactor, self.path).listen(factory)
            self.addCleanup(port.stopListening)
            return 0

        self.patch(tests.front.proxy, "listen", listenUNIX)
        await self.proxy("socks")
        talk: Any = await UNIXClientEndpoint(reactor, self.path).connect(Factory.forProtocol(Talk))
        talk.write(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        self.assertEqual((await talk.readAll())[:4], b"\x05\x00\x05\x07")
        talk.transport.loseConnection()
        await talk.gone()
        self.assertEqual((await self.line())["outcome"], "command_unsupported")

    async def test_ipv6Client(self) -> None:
        """A client on IPv6 gets a socket of its family."""

        async def listen6(case: Any, factory: Factory) -> int:
            try:
                port: Any = await TCP6ServerEndpoint(reactor, 0, interface="::1").listen(factory)
            except Exception:
                self.skipTest("no ::1 here")
            self.addCleanup(port.stopListening)
            return port.getHost().port  # type: ignore[no-any-return]

        self.patch(tests.front.proxy, "listen", listen6)
        number = await self.proxy("socks")
        talk: Any = await TCP6ClientEndpoint(reactor, "::1", number).connect(Factory.forProtocol(Talk))
        reply, relay = await self.ask(talk)
        self.assertEqual((reply, relay[0]), (0, "::1"))
        post, peer = await self.post("::1"), await self.echo()
        post.transport.write(b"\x00\x00\x00\x01\x7f\x00\x00\x01" + peer.port.to_bytes(2, "big") + b"x", relay)
        self.assertTrue((await post.next())[0].endswith(b"x"))
        talk.transport.abortConnection()
        await talk.gone()


class RulesTests(UDPCase):
    """Each datagram's destination passes the rules, and the guard."""

    rules = (
        RuleSettings(False, "127.0.0.2/32"),
        RuleSettings(False, ".denied.example"),
        RuleSettings(False, "*", (7,)),
    )

    async def sent(self, *raws: bytes) -> int:
        """How many of them are dropped."""
        client, peer = await self.associated(), await self.echo()
        for raw in raws:
            client.raw(raw)
        client.send("127.0.0.1", peer.port, b"last")
        self.assertEqual((await client.next()).data, b"last")
        while self.network.names._waiting:  # noqa: SLF001
            await tick()
        client.talk.transport.loseConnection()
        line = await self.line()
        self.assertEqual(line["up"], 4)
        return int(line["dropped"])

    async def test_denied(self) -> None:
        """In every spelling, by name, and by what a name comes to."""
        self.knownNames["innocent.example"] = ["127.0.0.2"]
        spelt = [b"127.0.0.2", b"127.2", b"0x7f.2", b"2130706434", b"::ffff:127.0.0.2", b"64:ff9b::7f00:2",
                 b"x.denied.example", b"innocent.example"]  # fmt: skip
        raws = [b"\x00\x00\x00\x03" + bytes([len(name)]) + name + b"\x00\x35x" for name in spelt]
        raws.append(b"\x00\x00\x00\x01\x7f\x00\x00\x02\x00\x35x")
        raws.append(b"\x00\x00\x00\x04" + bytes(10) + b"\xff\xff\x7f\x00\x00\x02\x00\x35x")
        raws.append(b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x07x")
        raws.append(b"\x00\x00\x00\x01\x7f\x00\x00\x01\x00\x09ours")
        self.assertEqual(await self.sent(*raws), len(raws))

    async def test_rebinding(self) -> None:
        """The address that is sent to is the one that was judged, whatever the name server says the next time."""
        told = iter([["127.0.0.2"], ["127.0.0.1"]])

        def lookUp(*_: Any, **__: Any) -> Any:
            return [(0, 0, 0, "", (address, 0)) for address in next(told)]

        self.network.names._lookUp = lookUp  # noqa: SLF001
        client, peer = await self.associated(), await self.echo()
        client.send("rebinding.example", peer.port, b"no")
        client.send("127.0.0.1", peer.port, b"good")
        self.assertEqual((await client.next()).data, b"good")


class GuardedTests(UDPCase):
    """A client from elsewhere."""

    far = True
    rules = (RuleSettings(True, "127.0.0.1/32"),)

    async def test_guarded(self) -> None:
        """Reaches by datagrams what it reaches by connections: public addresses, and what a rule allows."""
        self.knownNames["sly.example"] = ["127.0.0.2", "10.0.0.1"]
        client, peer = await self.associated(), await self.echo()
        for host in ("127.0.0.2", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.2", "sly.example"):
            client.send(host, peer.port, b"x")
        client.send("127.0.0.1", peer.port, b"good")
        self.assertEqual((await client.next()).data, b"good")
        while self.network.names._waiting:  # noqa: SLF001
            await tick()
        client.talk.transport.loseConnection()
        self.assertEqual((await self.line())["dropped"], 6)
