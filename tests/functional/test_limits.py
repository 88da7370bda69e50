"""Slow, many and greedy clients, and a process that runs out of descriptors: others go on as before."""

from __future__ import annotations

import contextlib
import itertools
import re
import resource
import select
import signal
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import SkipTest

import bcrypt

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import echo
from tests.functional.processes import PASSWORD, PATIENCE, USER, Pipsocks, requires
from tests.functional.talk import askConnect, askSocks, blackHole, dial, readHead

MANY = 2_000
MEBIBYTE = 1 << 20

GREETED = b"\x05\x00"
CHALLENGED = b"\x05\x02"

STALLS: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "nothing at all": ((b"", b""),),
    "the version": ((b"\x05", b""),),
    "half a greeting": ((b"\x05\xff\x00", b""),),
    "a greeting": ((b"\x05\x01\x00", GREETED),),
    "half a request": ((b"\x05\x01\x00", GREETED), (b"\x05\x01\x00\x03\xffa", b"")),
    "SOCKS4 without an end of the user": ((b"\x04\x01\x00\x50\x7f\x00\x00\x01", b""),),
    "SOCKS4a without an end of the name": ((b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00a", b""),),
    "a method": ((b"G", b""),),
    "half a request line": ((b"CONNECT a.example:", b""),),
    "half a head": ((b"GET http://a.example/ HTTP/1.1\r\nHost: ", b""),),
}
"""Where a client stops: what it has sent by then, and what it was told."""

STALLS_AT_LOGIN: dict[str, tuple[tuple[bytes, bytes], ...]] = {
    "a chosen login": ((b"\x05\x01\x02", CHALLENGED),),
    "half a login": ((b"\x05\x01\x02", CHALLENGED), (b"\x01\xffparrot", b"")),
    "half a password": ((b"\x05\x01\x02", CHALLENGED), (b"\x01\x06parrot\xffp", b"")),
}
"""The same on a port that requires a login."""

DROPS = {"a greeting": b"\x05\x01\x00\x03\xff", "a chosen login": b"\x01\xff"}
"""How a client goes on drop by drop where a letter would be an error; letters follow."""


def _cpuSeconds(pid: int) -> float:
    """What a process has computed so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # USER_HZ is 100 wherever Linux is


def _residentBytes(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def readable(sockets: Iterable[socket.socket], seconds: float = 0) -> list[socket.socket]:
    """Those that have something to read, or are gone, now or within that time."""
    return _polled(sockets, select.POLLIN, seconds)


def writable(sockets: Iterable[socket.socket], seconds: float = 0) -> list[socket.socket]:
    """Those that are connected, or are gone, now or within that time."""
    return _polled(sockets, select.POLLOUT, seconds)


def _polled(sockets: Iterable[socket.socket], event: int, seconds: float) -> list[socket.socket]:
    # Not select(): it knows no descriptor from 1024 on.
    named = {each.fileno(): each for each in sockets}
    poll = select.poll()
    for descriptor in named:
        poll.register(descriptor, event)
    return [named[descriptor] for descriptor, _ in poll.poll(seconds * 1000)]


class LimitsTestCase(FunctionalTestCase):
    """How clients are made, many at a time."""

    def users(self) -> str:
        """A login checker with our user."""
        file = self.directory() / "users"
        file.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
        return f"htpasswd:{file}"

    def descriptors(self, count: int) -> None:
        """Let this process open so many connections while the test runs."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < count:
            if hard != resource.RLIM_INFINITY and hard < count:
                raise SkipTest(f"this machine allows {hard} descriptors, the test needs {count}")
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def limited(self, count: int, *options: str) -> Pipsocks:
        """A pipsocks that may have so many descriptors."""
        requires("prlimit")
        return self.pipsocks(*options, prefix=("prlimit", f"--nofile={count}:{count}"))

    def crowd(self, port: int, count: int, said: bytes) -> list[socket.socket]:
        """So many connections that say the same and no more."""
        crowd = []
        for _ in range(count):
            connection = dial(port)
            crowd.append(connection)
            connection.sendall(said)
        self.addCleanup(self.leave, crowd)
        return crowd

    def leave(self, crowd: Iterable[socket.socket]) -> None:
        """All of them go."""
        for connection in crowd:
            connection.close()

    def assertEchoes(self, connection: socket.socket) -> None:
        """A tunnel works, and stays open."""
        connection.sendall(b"ping")
        self.assertEqual(connection.recv(4), b"ping")

    def assertServes(self, pipsocks: Pipsocks, port: int) -> None:
        """The next client of each port gets a tunnel to an echo."""
        through = self.dial(pipsocks.http())
        self.assertEqual(askConnect(through, "127.0.0.1", port).status, 200)
        self.assertEchoes(through)
        through = self.dial(pipsocks.socks())
        self.assertEqual(askSocks(through, "127.0.0.1", port)[0], 0)
        self.assertEchoes(through)


class SlowTests(LimitsTestCase):
    """Handshakes that stop, or drip."""

    def checkReaped(self, pipsocks: Pipsocks, stalls: dict[str, tuple[tuple[bytes, bytes], ...]]) -> None:
        """Each of these clients is let go on either port, half of them dripping on, before their drops run out."""
        waiting: dict[socket.socket, str] = {}
        dripping: dict[socket.socket, Iterator[int]] = {}
        for name, steps in stalls.items():
            for port in (pipsocks.socks(), pipsocks.http()):
                for drips in (False, True):
                    connection = self.dial(port)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for sent, told in steps:
                        connection.sendall(sent)
                        self.assertEqual(connection.recv(len(told)) if told else b"", told, name)
                    waiting[connection] = f"{name}, {'dripping' if drips else 'silent'}, port {port}"
                    if drips:
                        dripping[connection] = itertools.chain(DROPS.get(name, b""), itertools.repeat(ord("a")))
        count = len(waiting)
        for _ in range(int(PATIENCE / 0.1)):
            for connection in readable(waiting, 0.1):
                with contextlib.suppress(ConnectionError):
                    said = connection.recv(65_536)
                    # An end, or an HTTP client's 408, behind which comes the end.
                    self.assertTrue(said == b"" or said.startswith(b"HTTP/1.1 408 PS-RQ06 "), said)
                del waiting[connection]
            if not waiting:
                break
            for connection in dripping.keys() & waiting.keys():
                with contextlib.suppress(ConnectionError):
                    connection.send(bytes([next(dripping[connection])]))
        self.assertEqual(list(waiting.values()), [])
        pipsocks.stop()
        self.assertEqual([entry["outcome"] for entry in pipsocks.journal(0)], ["handshake_timeout"] * count)

    def test_reaped(self) -> None:
        """Whoever stops at any stage of a handshake is let go, and drops do not put that off."""
        self.checkReaped(self.pipsocks("--timeouts-handshake", "1"), STALLS)

    def test_reapedAtLogin(self) -> None:
        """The same while a login is awaited."""
        pipsocks = self.pipsocks("--timeouts-handshake", "1", "--auth", self.users())
        self.checkReaped(pipsocks, STALLS_AT_LOGIN)

    def test_secondHead(self) -> None:
        """The head behind a 407, on a connection that is kept, has its own time, and no more."""
        pipsocks = self.pipsocks("--timeouts-handshake", "1", "--auth", self.users())
        connection = self.dial(pipsocks.http())
        self.assertEqual(askConnect(connection, "a.example", 443).status, 407)
        connection.sendall(b"CONNECT a.example:443 HT")
        answer = readHead(connection)
        self.assertEqual(answer.status, 408)
        self.assertReasonPhrase(answer.reason)

    def assertReasonPhrase(self, reason: str) -> None:
        """The phrase of a head that was too slow."""
        self.assertTrue(reason.startswith("PS-RQ06 "), reason)


class ManyTests(LimitsTestCase):
    """Clients by the thousand that do not say what they want."""

    def test_halfOpen(self) -> None:
        """Others are served while two thousand clients are stuck in the middle of their handshakes."""
        self.descriptors(2 * MANY + 500)
        origin = self.peer(echo)
        pipsocks = self.pipsocks("--timeouts-handshake", "60")
        stuck = self.crowd(pipsocks.http(), MANY // 2, b"CONNECT a.exam")
        stuck += self.crowd(pipsocks.socks(), MANY // 2, b"\x05\x01")
        for _ in range(10):
            self.assertServes(pipsocks, origin.port)
        # All of them were there all the time.
        self.assertEqual(readable(stuck), [])
        self.assertFalse(pipsocks.journalFile.exists() and "timeout" in pipsocks.journalFile.read_text())

    def test_burst(self) -> None:
        """Hundreds that come before pipsocks looks are connected at once, not after a second of their system's."""
        pipsocks = self.pipsocks()
        port = pipsocks.http()
        pipsocks.send(signal.SIGSTOP)
        crowd = [socket.socket() for _ in range(300)]
        self.addCleanup(self.leave, crowd)
        for connection in crowd:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        connected = writable(crowd)
        pipsocks.send(signal.SIGCONT)
        self.assertEqual(len(connected), 300)

    def test_oldestFirst(self) -> None:
        """When more are stuck than may be the oldest are let go, and the next client is served."""
        origin = self.peer(echo)
        pipsocks = self.limited(256, "--timeouts-handshake", "60")  # a quarter of them may be stuck
        stuck = self.crowd(pipsocks.http(), 100, b"CONNECT a.exam")
        self.assertServes(pipsocks, origin.port)
        for connection in stuck[:36]:
            with contextlib.suppress(ConnectionError):
                self.assertEqual(connection.recv(100), b"")
        self.assertEqual(readable(stuck[37:]), [])
        self.assertEqual(
            [(e["client"], e["outcome"]) for e in pipsocks.journal(37, protocol="")],
            [(f"127.0.0.1:{connection.getsockname()[1]}", "handshake_timeout") for connection in stuck[:37]],
        )

    def test_hangingNames(self) -> None:
        """Names whose server never answers delay neither other names nor addresses, and nobody waits for them."""
        self.descriptors(1_000)
        hang = (
            "import socket, time; real = socket.getaddrinfo\n"
            "def ask(host, *more, **named):\n"
            "    while bytes(host).endswith(b'.hang.example') if isinstance(host, bytes) else False: time.sleep(1)\n"
            "    return real(host, *more, **named)\n"
            "socket.getaddrinfo = ask\n"
            "from twisted.scripts.twistd import run; run()"
        )
        origin = self.peer(echo)
        pipsocks = self.pipsocks(start=hang)
        asking = []
        for number in range(200):
            connection = self.dial(pipsocks.http())
            connection.sendall(b"CONNECT %d.hang.example:443 HTTP/1.1\r\n\r\n" % number)
            asking.append(connection)
        self.assertServes(pipsocks, origin.port)
        through = self.dial(pipsocks.http())
        self.assertEqual(askConnect(through, "localhost", origin.port).status, 200)
        self.assertEchoes(through)
        # Not one of the 200 has been told anything yet.
        self.assertEqual(readable(asking), [])
        self.leave([*asking, through])
        self.assertEqual(pipsocks.stop(), 0)


class GreedyTests(LimitsTestCase):
    """Clients that send more than anybody takes."""

    def test_held(self) -> None:
        """What comes behind a request that is still pending is held up to a bound; then the client is not read."""
        pipsocks = self.pipsocks("--retry-total", "60", "--retry-connect", "60")
        with blackHole() as port:
            target = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port
            socks = b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big")
            crowd = self.crowd(pipsocks.http(), 20, target) + self.crowd(pipsocks.socks(), 20, socks)
            before = _residentBytes(pipsocks.pid)
            self.flood(crowd, b"x" * 65_536)
            self.assertLess(_residentBytes(pipsocks.pid) - before, 20 * MEBIBYTE)
            self.leave(crowd)
        # They are not read, so that they left is known only when the search ends: now that the port refuses.
        pipsocks.journal(40)

    def test_heads(self) -> None:
        """Heads without an end are read up to 64 KiB each."""
        pipsocks = self.pipsocks()
        before = _residentBytes(pipsocks.pid)
        crowd = self.crowd(pipsocks.http(), 100, b"GET http://a.example/ HTTP/1.1\r\nA: ")
        self.flood(crowd, b"x" * 60_000, once=True)
        self.assertLess(_residentBytes(pipsocks.pid) - before, 40 * MEBIBYTE)
        for connection in crowd:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x" * 10_000)
                self.assertEqual(readHead(connection).status, 431)

    def flood(self, crowd: list[socket.socket], data: bytes, once: bool = False) -> None:
        """Send until none of them can send any more, which 64 MiB each must be enough for; or once."""
        for connection in crowd:
            connection.settimeout(PATIENCE)
            if once:
                connection.sendall(data)
                continue
            connection.setblocking(False)
        sent = dict.fromkeys(crowd, 0)
        while not once and (ready := writable(crowd, 0.5)):
            for connection in ready:
                with contextlib.suppress(BlockingIOError):
                    sent[connection] += connection.send(data)
                self.assertLess(sent[connection], 64 * MEBIBYTE)


class DescriptorsTests(LimitsTestCase):
    """A process that may open 256 descriptors."""

    def test_outOfDescriptors(self) -> None:
        """New clients wait without costing anything, running tunnels go on, and who leaves makes room."""
        origin = self.peer(echo)
        pipsocks = self.limited(256)
        head = b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % origin.port
        running = self.crowd(pipsocks.http(), 50, head)
        for connection in running:
            self.assertEqual(readHead(connection).status, 200)
        # There is no room for these: some get a tunnel, some may hear of the limit, the others wait to be accepted.
        waiting = self.crowd(pipsocks.http(), 150, head)
        pipsocks.expect("out of file descriptors")
        first = self.answered(waiting)
        self.assertLess(len(first), 150)
        before = _cpuSeconds(pipsocks.pid)
        for _ in range(10):
            time.sleep(0.1)
            for connection in running:
                self.assertEchoes(connection)
        # A busy loop would take more than a second of this one.
        self.assertLess(_cpuSeconds(pipsocks.pid) - before, 0.5)
        self.leave(running)
        while waiting:
            answered = self.answered(waiting)
            self.assertTrue(answered or first, f"{len(waiting)} clients are never served")
            self.leave([*first, *answered])
            first = []
            waiting = [connection for connection in waiting if connection.fileno() != -1]
        self.assertServes(pipsocks, origin.port)
        self.assertEqual(len(re.findall("out of file descriptors", pipsocks.output)), 1, pipsocks.output)
        entries = pipsocks.journal(200, destination=f"127.0.0.1:{origin.port}")
        refused = [entry for entry in entries if entry["outcome"] == "out_of_descriptors"]
        self.assertLess(len(refused), 64)
        for entry in entries:
            self.assertIn(entry["outcome"], ("ok", "reset_client", "reset_origin", "out_of_descriptors"), entry)

    def test_burst(self) -> None:
        """More clients at once than there are descriptors: each is answered, and none is closed without a word."""
        origin = self.peer(echo)
        pipsocks = self.limited(256)
        port = pipsocks.http()
        pipsocks.send(signal.SIGSTOP)
        crowd = self.crowd(port, 300, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % origin.port)
        pipsocks.send(signal.SIGCONT)
        while crowd:
            answered = self.answered(crowd)
            self.assertTrue(answered, f"{len(crowd)} clients are never answered")
            self.leave(answered)
            crowd = [connection for connection in crowd if connection.fileno() != -1]

    def answered(self, crowd: list[socket.socket]) -> list[socket.socket]:
        """Those who are answered by and by, until for a second nobody is."""
        answered: list[socket.socket] = []
        while ready := readable([each for each in crowd if each not in answered], 1):
            for connection in ready:
                self.assertIn(readHead(connection).status, (200, 429))
            answered += ready
        return answered
