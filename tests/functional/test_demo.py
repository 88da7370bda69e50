"""The demonstrations: what a person sees on a bad network, with real clients, real proxies and a real process."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import signal
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.functional.case import FunctionalTestCase
from tests.functional.clients import Fetched, Proxy, environment, run
from tests.functional.origins import VERSION, Origin, authorityFile, echo, noise, origin, wheelName
from tests.functional.processes import PATIENCE, Child, Pipsocks, microsocks, requires, tinyproxy
from tests.functional.talk import askConnect, askGet, askSocks, blackHole, readAll, readAnswer, readExactly, readHead

MEBIBYTE = 1 << 20
VOLUME = 256
"""MiB that go each way."""

TRANSPORT_RELAY = (
    "import functools, pipsocks.service as s; s.Relays = functools.partial(s.Relays, splice=False); "
    "from twisted.scripts.twistd import run; run()"
)
"""Starts a pipsocks as it runs where there is no splice."""


def _block(number: int) -> bytes:
    """The nth MiB of what is sent: no two are alike, so that none can be lost, doubled or moved unseen."""
    return struct.pack(">Q", number) + noise(MEBIBYTE)[8:]


def _expected(count: int) -> str:
    digest = hashlib.sha256()
    for number in range(count):
        digest.update(_block(number))
    return digest.hexdigest()


def _receive(connection: socket.socket) -> str:
    """The SHA-256 of everything up to the end."""
    digest = hashlib.sha256()
    while data := connection.recv(MEBIBYTE):
        digest.update(data)
    return digest.hexdigest()


def _residentKiB(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


def _descriptors(pid: int) -> list[str]:
    """What each descriptor of a process is, without the numbers of sockets and pipes."""
    kinds = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            kinds.append(re.sub(r"\d+", "N", os.readlink(entry.path)))
    return sorted(kinds)


class DemonstrationTestCase(FunctionalTestCase):
    """Tunnels through either port."""

    def tunnel(self, pipsocks: Pipsocks, protocol: str, port: int) -> socket.socket:
        """A connection to `port` of 127.0.0.1 through pipsocks."""
        if protocol == "http":
            connection = self.dial(pipsocks.http())
            self.assertEqual(askConnect(connection, "127.0.0.1", port).status, 200)
        else:
            connection = self.dial(pipsocks.socks())
            self.assertEqual(askSocks(connection, "127.0.0.1", port)[0], 0)
        return connection


class BadUpstreamsTests(DemonstrationTestCase):
    """Three chains: one refuses, one is silent, one works."""

    def download(self, proxy: Proxy, server: Origin, *options: str) -> tuple[Fetched, bytes]:
        """What pip says, and the wheel that it got."""
        directory = self.directory()
        fetched = run(
            [environment("pip") / "bin/python", "-m", "pip", "download", "--no-deps", "--cert", authorityFile(),
             "--proxy", proxy.url("http" if proxy.kind == "http" else "socks5h"), "--index-url",
             server.url("/simple/"), *options, f"parrot=={VERSION}"],
            directory,
        )  # fmt: skip
        file = directory / wheelName("parrot")
        return fetched, file.read_bytes() if file.exists() else b""

    def test_pip(self) -> None:
        """
        pip succeeds on both ports without a retry of its own, and the journal shows why it took a while.

        Once the last chain stops as well, pip's user reads what is wrong, soon, and nothing goes out directly.
        """
        server = Origin(tls=True)
        self.addCleanup(server.stop)
        refusing = f"127.0.0.1:{self.refusing()}"
        silent, near, last = (self.keep(make()) for make in (microsocks, tinyproxy, microsocks))
        chains = (f"http://{refusing}", silent.url, f"{near.url},{last.url}")
        pipsocks = self.pipsocks(upstreams=chains)
        silent.send(signal.SIGSTOP)
        ports = {"http": pipsocks.http(), "socks": pipsocks.socks()}
        for kind, port in ports.items():
            before = len(pipsocks.journalFile.read_text().splitlines()) if pipsocks.journalFile.exists() else 0
            fetched, data = self.download(Proxy(kind, "127.0.0.1", port), server)
            self.assertEqual(fetched.status, 0, fetched.output)
            self.assertEqual(data[:2], b"PK")
            self.assertNotIn("Retrying", fetched.output)
            for entry in pipsocks.journal(before + 1)[before:]:
                told = [(a["chain"], a["hop"], a["outcome"]) for a in entry["attempts"]]
                self.assertEqual(
                    told,
                    [
                        (refusing, refusing, "hop_refused"),
                        (silent.address, silent.address, "hop_silent"),
                        (last.address, "", "ok"),
                    ],
                    entry,
                )
                self.assertTrue(all(a["ms"] >= 0 for a in entry["attempts"]), entry)
                self.assertGreater(entry["attempts"][1]["ms"], 2500)
                self.assertLess(entry["attempts"][1]["ms"], 4500)
        near.stop()
        before, connections = len(pipsocks.journal()), server.connections
        # pip shows the reason phrase where it says that it tries again, and nowhere else.
        fetched, _ = self.download(Proxy("http", "127.0.0.1", ports["http"]), server, "--retries", "1")
        self.assertEqual(fetched.status, 1, fetched.output)
        self.assertRegex(fetched.output, r"Tunnel connection failed: 503 PS-UP09 none of 3 upstreams worked: ")
        fetched, _ = self.download(Proxy("socks", "127.0.0.1", ports["socks"]), server, "--retries", "0")
        self.assertEqual(fetched.status, 1, fetched.output)
        failed = pipsocks.journal(before + 3)[before:]
        for entry in failed:
            self.assertEqual(entry["outcome"], "none_worked", entry)
            self.assertLess(entry["seconds"], 8.5, entry)
            self.assertEqual({a["chain"] for a in entry["attempts"]}, {refusing, silent.address, last.address}, entry)
        self.assertEqual(server.connections, connections)


class WaitingTests(DemonstrationTestCase):
    """What the default route adds to a failure."""

    def fastest(self, *destinations: tuple[str, int]) -> float:
        """The least time that a failing CONNECT takes, in seconds: the machine may be busy for some of them."""
        pipsocks, times = self.pipsocks(), []
        for host, port in destinations:
            connection = self.dial(pipsocks.http())
            began = time.monotonic()
            self.assertEqual(askConnect(connection, host, port).status, 502)
            times.append(time.monotonic() - began)
        return min(times)

    def test_misspelt(self) -> None:
        """A misspelt host name takes what the resolver takes."""
        names, resolving = [f"no-such-host-{number}.invalid" for number in range(5)], []
        for name in names:
            began = time.monotonic()
            with contextlib.suppress(OSError):
                socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)
            resolving.append(time.monotonic() - began)
        self.assertLess(self.fastest(*((name, 443) for name in names)), max(resolving) + 0.1)

    def test_refused(self) -> None:
        """A refused port takes a tenth of a second, for one more dial."""
        # 50 ms are for the dials, for this test, and for whatever else the machine does.
        self.assertLess(self.fastest(*(("127.0.0.1", self.refusing()) for _ in range(5))), 0.15)


class VolumeTests(DemonstrationTestCase):
    """256 MiB each way through each port and each relay, with a half-close each way; a reader that sleeps."""

    def start(self, relay: str) -> Pipsocks:
        """A pipsocks with that relay."""
        return self.pipsocks() if relay == "splice" else self.pipsocks(start=TRANSPORT_RELAY)

    def checkVolume(self, relay: str, protocol: str) -> None:
        """Down after the client's end, up after the origin's."""
        expected = _expected(VOLUME)
        got: queue.Queue[str] = queue.Queue()

        def down(connection: socket.socket) -> None:
            if readAll(connection) != b"go":
                return
            for number in range(VOLUME):
                connection.sendall(_block(number))

        def up(connection: socket.socket) -> None:
            connection.sendall(b"go")
            connection.shutdown(socket.SHUT_WR)
            got.put(_receive(connection))

        pipsocks = self.start(relay)
        downloading = self.tunnel(pipsocks, protocol, self.peer(down).port)
        downloading.sendall(b"go")
        downloading.shutdown(socket.SHUT_WR)
        self.assertEqual(_receive(downloading), expected)
        uploading = self.tunnel(pipsocks, protocol, self.peer(up).port)
        self.assertEqual(readAll(uploading), b"go")
        for number in range(VOLUME):
            uploading.sendall(_block(number))
        uploading.close()
        entries = pipsocks.journal(2, outcome="ok", relay=relay)
        self.assertEqual(got.get(timeout=PATIENCE), expected)
        sizes = sorted((entry["up"], entry["down"]) for entry in entries)
        self.assertEqual(sizes, [(2, VOLUME * MEBIBYTE), (VOLUME * MEBIBYTE, 2)])

    def test_spliceSOCKS(self) -> None:
        """Through the SOCKS port and the splice relay."""
        self.checkVolume("splice", "socks")

    def test_spliceHTTP(self) -> None:
        """Through the HTTP port and the splice relay."""
        self.checkVolume("splice", "http")

    def test_transportSOCKS(self) -> None:
        """Through the SOCKS port and the transport relay."""
        self.checkVolume("transport", "socks")

    def test_transportHTTP(self) -> None:
        """Through the HTTP port and the transport relay."""
        self.checkVolume("transport", "http")

    def awaitStandstill(self, sent: dict[str, int]) -> None:
        """Wait until nothing has been sent for a second."""
        seen, quiet = dict(sent), 0
        while quiet < 10:
            time.sleep(0.1)
            quiet = quiet + 1 if sent == seen else 0
            seen = dict(sent)

    def checkSleeper(self, relay: str) -> None:
        """Both readers sleep, the client's and the origin's, while the other side sends all it can."""
        sent = {"down": 0, "up": 0}
        awake = threading.Event()
        self.addCleanup(awake.set)

        def pour(connection: socket.socket, direction: str) -> None:
            for number in range(VOLUME):
                connection.sendall(_block(number))
                sent[direction] += 1

        def serve(connection: socket.socket) -> None:
            with ThreadPoolExecutor(1) as pool:
                pouring = pool.submit(pour, connection, "down")
                awake.wait()
                _receive(connection)
                pouring.result()

        pipsocks = self.start(relay)
        warm = self.tunnel(pipsocks, "socks", self.peer(echo).port)
        warm.sendall(bytes(MEBIBYTE))
        self.assertEqual(len(readExactly(warm, MEBIBYTE)), MEBIBYTE)
        warm.close()
        before = _residentKiB(pipsocks.pid)
        connection = self.tunnel(pipsocks, "http", self.peer(serve).port)
        with ThreadPoolExecutor(1) as pool:
            pouring = pool.submit(pour, connection, "up")
            self.awaitStandstill(sent)
            self.assertLess(max(sent.values()), VOLUME, "nobody was held back")
            self.assertLess(_residentKiB(pipsocks.pid) - before, 20 * 1024)
            awake.set()
            digest = hashlib.sha256(readExactly(connection, 4 * MEBIBYTE)).hexdigest()
            self.assertEqual(digest, _expected(4))
            connection.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                pouring.result(PATIENCE)

    def test_spliceSleeper(self) -> None:
        """The splice relay does not grow."""
        self.checkSleeper("splice")

    def test_transportSleeper(self) -> None:
        """The transport relay does not grow."""
        self.checkSleeper("transport")

    def test_forwarded(self) -> None:
        """A plain request with 256 MiB each way: bytes are kept back as in a tunnel, and none is lost."""
        sent = {"down": 0, "up": 0}
        awake = threading.Event()
        self.addCleanup(awake.set)
        length = f"Content-Length: {VOLUME * MEBIBYTE}\r\n"

        def pour(connection: socket.socket, direction: str) -> None:
            for number in range(VOLUME):
                connection.sendall(_block(number))
                sent[direction] += 1

        def serve(connection: socket.socket) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += readExactly(connection, 1)
            if head.startswith(b"GET"):
                connection.sendall(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
                pour(connection, "down")
                return
            awake.wait()
            digest, left = hashlib.sha256(), VOLUME * MEBIBYTE
            while left:
                data = connection.recv(min(MEBIBYTE, left))
                digest.update(data)
                left -= len(data)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n{digest.hexdigest()}".encode())

        pipsocks, server, expected = self.pipsocks(), self.peer(serve), _expected(VOLUME)
        askGet(self.dial(pipsocks.http()), origin().url("/noise/1000000"))
        before = _residentKiB(pipsocks.pid)
        url = f"http://{server.address}/"
        downloading, uploading = self.dial(pipsocks.http()), self.dial(pipsocks.http())
        downloading.sendall(f"GET {url} HTTP/1.1\r\nHost: {server.address}\r\n\r\n".encode())
        uploading.sendall(f"PUT {url} HTTP/1.1\r\nHost: {server.address}\r\n{length}\r\n".encode())
        with ThreadPoolExecutor(1) as pool:
            pouring = pool.submit(pour, uploading, "up")
            self.awaitStandstill(sent)
            self.assertLess(max(sent.values()), VOLUME, "nobody was held back")
            self.assertLess(_residentKiB(pipsocks.pid) - before, 20 * 1024)
            awake.set()
            pouring.result()
        self.assertEqual(readAnswer(uploading).body.decode(), expected)
        self.assertEqual(readHead(downloading).status, 200)
        digest, left = hashlib.sha256(), VOLUME * MEBIBYTE
        while left:
            data = downloading.recv(min(MEBIBYTE, left))
            self.assertTrue(data, "cut")
            digest.update(data)
            left -= len(data)
        self.assertEqual(digest.hexdigest(), expected)

    def test_systemCalls(self) -> None:
        """Under strace the splice relay moves the bytes by splice, and next to none of them through our memory."""
        requires("strace")
        trace = self.directory() / "trace"
        probe = self.keep(Child(["strace", "-o", "/dev/null", "true"]))
        if probe.wait() != 0:
            self.skipTest(f"strace may not trace here: {probe.output}")
        prefix = (
            "strace",
            "-D",
            "-f",
            "-qq",
            "-e",
            "trace=splice,recvfrom,sendto,recvmsg,sendmsg,read,write",
            "-o",
            trace,
        )
        pipsocks = self.pipsocks(prefix=prefix)

        def serve(connection: socket.socket) -> None:
            for number in range(64):
                connection.sendall(_block(number))

        with self.tunnel(pipsocks, "socks", self.peer(serve).port) as connection:
            self.assertEqual(_receive(connection), _expected(64))
        self.assertEqual(pipsocks.session()["relay"], "splice")
        pipsocks.stop()
        moved = {"splice": 0, "copied": 0}
        for name, result in re.findall(r"\b(\w+)\(.*\) += (\d+)$", trace.read_text(), re.MULTILINE):
            moved["splice" if name == "splice" else "copied"] += int(result)
        # Into a pipe and out of it.
        self.assertGreater(moved["splice"], 2 * 60 * MEBIBYTE)
        self.assertLess(moved["copied"], moved["splice"] / 8)


class DescriptorsTests(DemonstrationTestCase):
    """2,000 short tunnels leave nothing behind."""

    def test_descriptors(self) -> None:
        """Tunnels that work, that fail, whose client leaves early, and requests: the descriptors are the same after."""
        upstream = self.keep(microsocks())
        for chain in ((), (upstream.url,)):
            self.checkDescriptors(chain)

    def checkDescriptors(self, chain: tuple[str, ...]) -> None:
        """2,000 of them, by one route."""
        pipsocks = self.pipsocks("--retry-connect", "0.5", upstreams=chain)
        echoing, refused, ports = self.peer(echo), self.refusing(), (pipsocks.http(), pipsocks.socks())
        server = Origin()
        self.addCleanup(server.stop)

        def one(number: int, hole: int) -> None:
            with contextlib.suppress(OSError, EOFError), socket.socket() as connection:
                connection.settimeout(PATIENCE)
                http, kind = number % 2 == 0, number // 2 % 10
                connection.connect(("127.0.0.1", ports[0 if http else 1]))
                port = refused if kind in (5, 6) else hole if kind == 7 else echoing.port
                if kind in (7, 8):  # leaves with a reset, while a way is searched for or just found
                    connection.sendall(
                        f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode()
                        if http
                        else b"\x05\x01\x00\x05\x01\x00\x01\x7f\0\0\x01" + struct.pack(">H", port)
                    )
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if kind == 9:
                    askGet(connection, server.url("/noise/1000"))
                    return
                worked = (
                    askConnect(connection, "127.0.0.1", port).status == 200
                    if http
                    else askSocks(connection, "127.0.0.1", port)[0] == 0
                )
                if worked:
                    connection.sendall(b"hello")
                    connection.shutdown(socket.SHUT_WR)
                    readAll(connection)

        def many(count: int) -> None:
            with blackHole() as hole, ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda number: one(number, hole), range(count)))

        many(100)
        before, since = _descriptors(pipsocks.pid), time.monotonic()
        while time.monotonic() < since + 2:  # until nothing has changed for so long
            time.sleep(0.1)
            if (now := _descriptors(pipsocks.pid)) != before:
                before, since = now, time.monotonic()
        many(2000)
        deadline = time.monotonic() + PATIENCE
        while _descriptors(pipsocks.pid) != before and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(_descriptors(pipsocks.pid), before)
        outcomes = {entry["outcome"] for entry in pipsocks.journal(1900)}
        self.assertLessEqual({"ok", "client_left"}, outcomes)
