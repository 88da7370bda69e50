"""The connection to an ssh hop: its handshake, its life, its end, and what each of them is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.conch.ssh import transport
from twisted.conch.ssh.common import getNS
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream import sshtunnels
from pipsocks.upstream.dial import Dial
from pipsocks.upstream.sshdata import number, string
from pipsocks.upstream.sshline import ALIVE, IDLE, UNANSWERED, Line
from pipsocks.upstream.sshtunnels import OWED
from tests.upstream.rig import A, Inner
from tests.upstream.sshrig import Bastion, Connection, SSHCase, newKey


class LineCase(SSHCase):
    """Tunnels to A by a hop that the test scripts, in time that stands still. `lines` are our connections to it."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[Line] = []
        made = Line.connectionMade

        def noted(line: Line) -> None:
            self.lines.append(line)
            made(line)

        self.patch(Line, "connectionMade", noted)

    async def heard(self, act: Callable[[], Any]) -> None:
        """Do something, and wait until what the hop sends for it has come."""
        line = self.lines[-1]
        before = line.heard
        act()
        await self.turns(lambda: line.heard > before)

    async def answered(self, bastion: Bastion, count: int = 1) -> None:
        """Wait until the hop has answered so many keep-alives, and the answer to the last has come."""
        await self.turns(lambda: bastion.keepalives == count)
        await self.heard(lambda: bastion.connections[-1].send(80, string(b"x") + b"\0"))

    def ask(self, port: int, where: Destination = A, protocol: type = Inner) -> Deferred[Any]:
        """Ask for a tunnel."""
        hop = self.hop(port)
        return self.open(hop.over(Dial(self.network, hop.address, isHop=True), where, self.network), protocol)

    async def asked(self, bastion: Bastion, count: int = 1) -> Connection:
        """The scripted side of the connection, once so many tunnels were asked for."""
        await self.turns(lambda: bastion.connections and len(bastion.connections[-1].of(90)) == count)
        return bastion.connections[-1]

    async def tunnel(self, **attributes: Any) -> tuple[Any, Connection, Bastion]:
        """A tunnel: the protocol, the scripted side, and its server."""
        bastion = await self.bastion(**attributes)
        opening = self.ask(bastion.port)
        connection = await self.asked(bastion)
        connection.confirm(0)
        return await self.within(opening), connection, bastion


class HandshakeTests(LineCase):
    """Peers that are no ssh hops, or do not want to be."""

    async def assertRefused(self, code: str, act: Callable[[Any], Any], **fields: str) -> Refusal:
        """With a peer that does so, one is told so."""
        peers, there = await self.peer()
        opening = self.ask(there.port)
        talk = await peers.accepted()
        await talk.readUntil(b"SSH-2.0-")
        act(talk)
        outcome: list[Any] = []
        opening.addBoth(outcome.append)
        await self.turns(lambda: outcome)
        refused: Deferred[Any] = Deferred()
        refused.callback(outcome[0])
        return await self.refused(refused, code, hop=f"127.0.0.1:{there.port}", **fields)

    async def test_silent(self) -> None:
        """One that says nothing, and one that says something else, for the time of a handshake."""
        await self.assertRefused("PS-UP06", lambda talk: self.clock.advance(3.1))

        peers, there = await self.peer()
        opening = self.ask(there.port)
        talk = await peers.accepted()
        await talk.readUntil(b"SSH-2.0-")
        await self.heard(lambda: talk.write(b"220 mail.example ESMTP\r\n"))
        self.clock.advance(2.9)
        self.assertFalse(opening.called)
        self.clock.advance(0.2)
        await self.refused(opening, "PS-UP07", detail="SSH", said="220 mail.example ESMTP")
        await talk.gone()

    async def test_hangs(self) -> None:
        """One that begins as ssh and then says nothing."""

        peers, there = await self.peer()
        opening = self.ask(there.port)
        talk = await peers.accepted()
        await talk.readUntil(b"SSH-2.0-")
        await self.heard(lambda: talk.write(b"SSH-2.0-x\r\n"))
        self.clock.advance(3.1)
        await self.refused(opening, "PS-UP06")

    async def test_closes(self) -> None:
        """One that closes, with a word of farewell or without."""
        await self.assertRefused("PS-UP05", lambda talk: talk.transport.loseConnection())
        await self.assertRefused("PS-UP05", lambda talk: talk.transport.abortConnection())
        full = b"Exceeded MaxStartups\r\n"
        await self.assertRefused(
            "PS-UP05", lambda talk: (talk.write(full), talk.transport.loseConnection()), said="Exceeded MaxStartups"
        )
        await self.assertRefused(
            "PS-UP05", lambda talk: (talk.write(b"SSH-2.0-x\r\n"), talk.transport.loseConnection()), said=""
        )

    async def test_nonsense(self) -> None:
        """One that speaks something else."""
        for words in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x46"):
            await self.assertRefused(
                "PS-UP07", lambda talk, words=words: (talk.write(words), talk.transport.loseConnection()), detail="SSH"
            )
        for words in (b"SSH-1.5-old\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 64, b"SSH-\r\n", b"x" * 5000):
            await self.assertRefused("PS-UP07", lambda talk, words=words: talk.write(words), detail="SSH")

    async def test_lines(self) -> None:
        """One that has something to say before its version."""
        bastion = await self.bastion()
        made = bastion.buildProtocol

        def talkative(addr: Any) -> Any:
            transport = made(addr)
            begin = transport.connectionMade

            def connectionMade() -> None:
                transport.transport.write(b"all that you do here is recorded\r\n")
                transport.transport.pauseProducing()
                reactor.callLater(0.05, later)  # type: ignore[attr-defined]

            def later() -> None:
                begin()
                transport.transport.resumeProducing()

            transport.connectionMade = connectionMade
            return transport

        bastion.buildProtocol = talkative  # type: ignore[method-assign]
        self.ask(bastion.port)
        await self.asked(bastion)

    async def test_groupExchange(self) -> None:
        """One that wants a group of its own: to see whether it is one takes minutes, and comes before its key."""
        peers, there = await self.peer()
        self.ask(there.port)
        offer = await (await peers.accepted()).readUntil(b"none")
        self.assertIn(b"curve25519-sha256", offer)
        self.assertNotIn(b"group-exchange", offer)

    async def test_nothingInCommon(self) -> None:
        """One that speaks only what is broken."""
        bastion = await self.bastion()
        made = bastion.buildProtocol

        def old(addr: Any) -> Any:
            transport = made(addr)
            transport.supportedCiphers = [b"aes128-cbc"]
            return transport

        bastion.buildProtocol = old  # type: ignore[method-assign]
        await self.refused(self.ask(bastion.port), "PS-UP07", said="couldn't match all kex parts")

    async def test_forged(self) -> None:
        """One that shows a key that it does not have."""
        bastion = await self.bastion()
        bastion.privateKeys = {b"ssh-ed25519": newKey()}
        await self.refused(self.ask(bastion.port), "PS-UP07", said="bad signature")
        self.assertEqual([], bastion.logins)

    async def test_disconnects(self) -> None:
        """One that takes leave during the login, in its own words."""

        def admit(*_: Any) -> bytes:
            return b"\x01" + number(2) + string(b"go away") + string(b"")

        bastion = await self.bastion(admit=admit)
        await self.refused(self.ask(bastion.port), "PS-UP10", said="go away")

    async def test_cancelled(self) -> None:
        """Who leaves closes it, at whatever point."""
        peers, there = await self.peer()
        opening = self.ask(there.port)
        talk = await peers.accepted()
        await talk.readUntil(b"SSH-2.0-")
        opening.cancel()
        await self.assertFailure(opening, CancelledError)
        await self.turns(lambda: talk.lost)
        opening = self.ask(there.port)
        opening.cancel()
        await self.assertFailure(opening, CancelledError)

    async def test_closed(self) -> None:
        """The end of the process ends a login."""
        peers, there = await self.peer()
        opening = self.ask(there.port)
        talk = await peers.accepted()
        await talk.readUntil(b"SSH-2.0-")
        self.network.shared.close()
        await self.assertFailure(opening, CancelledError)
        await self.turns(lambda: talk.lost)


class OpeningTests(LineCase):
    """A tunnel that does not open."""

    async def test_codes(self) -> None:
        """The hop's reasons, and its words where it gives one for all."""
        bastion = await self.bastion()
        for count, (reason, text, code) in enumerate((
            (1, "open failed", "PS-UP11"),
            (2, "Connection refused", "PS-UP21"),
            (2, "dial tcp 127.0.0.1:1: connect: connection refused", "PS-UP21"),
            (2, "Connection timed out", "PS-UP19"),
            (2, "Network is unreachable", "PS-UP18"),
            (2, "No route to host", "PS-UP20"),
            (2, "Name or service not known", "PS-UP20"),
            (2, "Temporary failure in name resolution", "PS-UP14"),
            (2, "open failed", "PS-UP14"),
            (3, "unknown channel type", "PS-UP12"),
            (4, "", "PS-UP14"),
            (77, "\x00\n\xff", "PS-UP14"),
        )):  # fmt: skip
            opening = self.ask(bastion.port)
            connection = await self.asked(bastion, count + 1)
            connection.send(92, number(count) + number(reason) + string(text.encode()) + string(b""))
            await self.turns(lambda opening=opening: opening.called)
            refusal = await self.refused(opening, code, where="a.example:443", said=text)
            self.assertTrue(refusal.text.isascii())
        self.assertEqual(1, len(bastion.connections))

    async def test_asked(self) -> None:
        """What the hop is asked for."""
        bastion = await self.bastion()
        self.ask(bastion.port)
        connection = await self.asked(bastion)
        (asked,) = connection.of(90)
        head = string(b"direct-tcpip") + number(0) + number(131_072) + number(32_768)
        self.assertEqual(head + string(b"a.example") + number(443) + string(b"127.0.0.1") + number(0), asked)
        self.assertEqual(1, bastion.keepalives)

    async def test_destinationSilent(self) -> None:
        """A hop that lives and does not answer: the destination may be dead. The connection stays."""
        bastion = await self.bastion()
        opening = self.ask(bastion.port)
        connection = await self.asked(bastion)
        await self.answered(bastion)
        self.clock.advance(3.1)
        await self.refused(opening, "PS-UP15", where="a.example:443")
        connection.confirm(0)  # nobody waits for it any more
        await self.turns(lambda: connection.of(97))
        self.ask(bastion.port)
        await self.asked(bastion, 2)

    async def test_hopSilent(self) -> None:
        """A hop from which nothing comes at all: it is the hop, and the next session logs in anew."""
        bastion = await self.bastion(lives=False)
        opening = self.ask(bastion.port)
        await self.asked(bastion)
        self.clock.advance(3.1)
        await self.refused(opening, "PS-UP06", hop=f"127.0.0.1:{bastion.port}")
        self.ask(bastion.port)
        await self.turns(lambda: len(bastion.connections) == 2)

    async def test_lost(self) -> None:
        """A connection that is lost while a tunnel is asked for."""
        bastion = await self.bastion()
        opening = self.ask(bastion.port)
        await self.asked(bastion)
        await bastion.drop()
        await self.turns(lambda: opening.called)
        await self.refused(opening, "PS-UP05")

    async def test_cancelled(self) -> None:
        """Who leaves leaves the connection; what the hop opens then is closed."""
        bastion = await self.bastion()
        first, second = self.ask(bastion.port), self.ask(bastion.port)
        connection = await self.asked(bastion, 2)
        first.cancel()
        await self.assertFailure(first, CancelledError)
        connection.confirm(0)
        connection.confirm(1)
        await self.within(second)
        await self.turns(lambda: connection.of(97))
        self.assertEqual([number(100)], connection.of(97))
        connection.send(97, number(0))

    async def test_limit(self) -> None:
        """There is an end to how many tunnels one connection has."""
        self.patch(sshtunnels, "CHANNELS", 1)
        bastion = await self.bastion()
        self.ask(bastion.port)
        await self.asked(bastion)
        await self.refused(self.ask(bastion.port), "PS-UP14", said="no channel is free")
        self.ask(bastion.port)  # one that answers no CLOSE would hold a full connection for good
        await self.turns(lambda: len(bastion.connections) == 2)

    async def test_judged(self) -> None:
        """What the rules forbid at the hop is not asked for."""

        class No:
            def afar(self, destination: Destination) -> Refusal:
                return Refusal("PS-RU01")

        hop = self.hop(1)
        way: Any = hop.over(Dial(self.network, hop.address, isHop=True), A, self.network, No())  # type: ignore[arg-type]
        await self.refused(self.open(way), "PS-RU01")


class LifeTests(LineCase):
    """An open connection."""

    async def test_dead(self) -> None:
        """One from which nothing comes during three keep-alives is dead, with its tunnels, and the log says so."""
        inner, connection, bastion = await self.tunnel()
        await self.answered(bastion)
        bastion.lives = False
        self.clock.advance(ALIVE)
        with capturedLogs() as logged:
            for _ in range(UNANSWERED):
                self.assertIsNone(inner.lost)
                self.clock.advance(ALIVE)
            await self.turns(lambda: inner.lost)
        inner.lost.trap(ConnectionLost)
        (line,) = [formatEvent(event) for event in logged if "is given up" in event.get("log_format", "")]
        self.assertIn(f"to 127.0.0.1:{bastion.port} is given up: upstream 127.0.0.1:{bastion.port} accepted and", line)
        self.ask(bastion.port)
        await self.turns(lambda: len(bastion.connections) == 2)

    async def test_alive(self) -> None:
        """One that answers keep-alives stays, and is asked every 15 seconds."""
        inner, _, bastion = await self.tunnel()
        await self.answered(bastion)
        for count in range(2, 8):
            await self.heard(lambda: self.clock.advance(ALIVE))
            self.assertEqual(count, bastion.keepalives)
        self.assertIsNone(inner.lost)

    async def test_idle(self) -> None:
        """Without tunnels it is kept for ten minutes, then it takes leave; the next session logs in anew."""
        inner, connection, bastion = await self.tunnel()
        inner.transport.loseConnection()
        await self.turns(lambda: connection.of(97))
        await self.heard(lambda: connection.send(97, number(0)))
        for _ in range(int(IDLE / ALIVE) - 1):
            await self.heard(lambda: self.clock.advance(ALIVE))
        self.assertIsNone(self.ended(bastion))
        self.clock.advance(ALIVE)
        await self.turns(lambda: self.ended(bastion))
        self.assertEqual((11, b"done"), self.ended(bastion))
        self.ask(bastion.port)
        await self.turns(lambda: len(bastion.connections) == 2)

    async def test_retired(self) -> None:
        """One that was given up stays for its tunnels, and closes behind the last."""
        inner, connection, bastion = await self.tunnel()
        await self.answered(bastion)
        bastion.lives = False
        opening = self.ask(bastion.port)
        await self.asked(bastion, 2)
        self.clock.advance(3.1)
        await self.refused(opening, "PS-UP06")
        connection.data(0, b"still here")
        await self.turns(lambda: inner.received == b"still here")
        connection.send(97, number(0))
        await self.turns(lambda: inner.lost)
        await self.heard(lambda: connection.send(92, number(1) + number(2) + string(b"") + string(b"")))
        self.clock.advance(ALIVE)
        await self.turns(lambda: self.ended(bastion))

    async def test_closeHangs(self) -> None:
        """A hop that does not take leave is left."""
        inner, _, bastion = await self.tunnel()
        bastion.transports[0].transport.pauseProducing()
        bastion.transports[0].transport.doRead = lambda: None
        inner.write(b"x" * 2_000_000)
        closing = self.network.shared.close()
        self.clock.advance(1.1)
        await self.turns(lambda: closing.called)
        await self.turns(lambda: inner.lost)

    async def test_nonsense(self) -> None:
        """What makes no sense ends the connection, without a traceback."""
        for message, payload in (
            (91, number(7) + number(1) + number(1) + number(1)),  # not asked for
            (94, number(55) + string(b"x")),  # no such channel
            (94, number(0) + number(5)),  # shorter than it says
            (94, number(0) + string(b"x" * 131_073)),  # more than the window
            (95, number(0) + number(1) + string(b"x" * 131_073)),
            (80, b""),
        ):  # fmt: skip
            inner, connection, bastion = await self.tunnel()
            connection.send(message, payload)
            await self.turns(lambda inner=inner: inner.lost)
            inner.lost.trap(ConnectionLost)
            await bastion.drop()

    async def test_tooLong(self) -> None:
        """A message longer than OpenSSH would read ends the connection."""
        inner, connection, _ = await self.tunnel()
        connection.send(2, string(b"x" * 300_000))
        await self.turns(lambda: inner.lost)

    async def test_extensions(self) -> None:
        """Thousands of extensions cost no more than other octets do, and the connection goes on."""
        copied: list[int] = []
        self.patch(transport, "getNS", lambda data, count=1: (copied.append(len(data)), getNS(data, count))[1])
        inner, connection, bastion = await self.tunnel()
        copied.clear()
        connection.send(7, number(20_000) + (string(b"") + string(b"")) * 20_000)
        connection.data(0, b"on")
        await self.turns(lambda: inner.received == b"on")
        self.assertLess(sum(copied), 1_000_000)
        connection.send(7, number(2) + string(b"x"))
        await self.turns(lambda: inner.lost)

    async def test_asksForMoreThanItTakes(self) -> None:
        """A hop that goes on asking while nothing can be sent to it is left: what answers it would get piles up."""
        for message, payload in (
            (80, string(b"x") + b"\1"), (90, string(b"x11") + number(9) + number(1) + number(1)),
            (98, number(0) + string(b"x") + b"\1"), (199, b""), (40, b""),
        ):  # fmt: skip
            inner, connection, bastion = await self.tunnel()
            there = bastion.transports[0]
            # It begins to exchange keys anew, and goes no further.
            there.ssh_KEXINIT = there.ssh_KEX_DH_GEX_REQUEST_OLD = lambda packet: None
            there.sendKexInit()
            there._keyExchangeState = there._KEY_EXCHANGE_NONE
            for _ in range(OWED):
                connection.send(message, payload)
            await self.heard(lambda connection=connection: connection.data(0, b"here"))
            await self.turns(lambda inner=inner: inner.received == b"here" or inner.lost)
            self.assertIsNone(inner.lost)
            connection.send(message, payload)
            await self.turns(lambda inner=inner: inner.lost)
            await bastion.drop()

    async def test_servesAgain(self) -> None:
        """A hop that accepts a login which nobody asked for once more is left, and the next session logs in anew."""
        inner, connection, bastion = await self.tunnel()
        connection.send(6, string(b"ssh-userauth"))
        await self.turns(lambda: inner.lost)
        self.ask(bastion.port)
        await self.turns(lambda: len(bastion.connections) == 2)

    async def test_packetOfNothing(self) -> None:
        """A tunnel whose messages may have no octets is none."""
        bastion = await self.bastion()
        opening = self.ask(bastion.port)
        connection = await self.asked(bastion)
        connection.confirm(0, packet=0)
        await self.turns(lambda: opening.called)
        await self.refused(opening, "PS-UP05")

    async def test_asksUs(self) -> None:
        """Whatever the hop asks of us it does not get, and the connection goes on."""
        inner, connection, _ = await self.tunnel()
        connection.send(80, string(b"hostkeys-00@openssh.com") + b"\0")
        connection.send(80, string(b"keepalive@openssh.com") + b"\1")
        await self.turns(lambda: connection.of(82))
        connection.send(90, string(b"x11") + number(9) + number(1) + number(1))
        await self.turns(lambda: connection.of(92))
        self.assertEqual(number(9) + number(1), connection.of(92)[0][:8])
        connection.send(98, number(0) + string(b"exit-status") + b"\0" + number(0))
        connection.send(98, number(0) + string(b"keepalive@openssh.com") + b"\1")
        await self.turns(lambda: connection.of(100))
        self.assertEqual([number(100)], connection.of(100))
        connection.send(199, b"?")
        connection.send(93, number(55) + number(1))  # for a channel that is closed
        connection.data(0, b"on")
        await self.turns(lambda: inner.received == b"on")

    def ended(self, bastion: Bastion) -> Any:
        """How the client took leave of the first connection: code and words; None while it has not."""
        return bastion.transports[0].__dict__.get("left")

    async def bastion(self, **attributes: Any) -> Bastion:
        """A server that notes how a client takes leave."""
        bastion = await super().bastion(**attributes)
        made = bastion.buildProtocol

        def noting(addr: Any) -> Any:
            transport: SSHServerTransport = made(addr)
            transport.receiveError = lambda code, words: setattr(transport, "left", (code, words))  # type: ignore[method-assign]
            return transport

        bastion.buildProtocol = noting  # type: ignore[method-assign]
        return bastion
