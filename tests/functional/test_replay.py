"""First-flight replay as a client sees it: exits that say yes and die, on both ports, with real TLS clients."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import Origin, authorityFile, certificateFile, count, noise, origin
from tests.functional.processes import PATIENCE, Child, Faulty, Pipsocks, cleanEnvironment, requires, unusedPort
from tests.functional.talk import askConnect, askSocks, readAll, readExactly
from tests.wire.hellos import ZERO_RTT

GET = b"GET /simple/ HTTP/1.1\r\nHost: index.example\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: index.example\r\n\r\n"
POST = b"POST /order HTTP/1.1\r\nHost: index.example\r\nContent-Length: 3\r\n\r\none"
MEBIBYTE = 1 << 20
YES = ("then-reset", "then-close", "flight-reset", "flight-close")
"""Ways to say yes and die."""


class ReplayTestCase(FunctionalTestCase):
    """pipsocks before exits that fail as they are told."""

    def exits(self, *plans: tuple[str, ...] | str) -> list[Faulty]:
        """An exit for each plan; the seed of each is its number."""
        return [
            self.faulty(*([plan] if isinstance(plan, str) else plan), options=("--seed", str(number)))
            for number, plan in enumerate(plans)
        ]

    def through(self, exits: list[Faulty], *options: str) -> Pipsocks:
        """pipsocks over these exits; SOCKS5 and CONNECT in turn."""
        schemes = ("socks5h", "http")
        chains = tuple(f"{schemes[number % 2]}://{each.address}" for number, each in enumerate(exits))
        return self.pipsocks(*options, upstreams=chains)

    def tunnel(self, pipsocks: Pipsocks, protocol: str, host: str, port: int) -> socket.socket:
        """A tunnel that was granted."""
        connection = self.dial(pipsocks.socks() if protocol == "socks5" else pipsocks.http())
        if protocol == "socks5":
            self.assertEqual(askSocks(connection, host, port)[0], 0)
        else:
            self.assertEqual(askConnect(connection, host, port).status, 200)
        return connection

    def fetch(self, pipsocks: Pipsocks, protocol: str, site: Origin, size: int) -> None:
        """GET over TLS with Python's own ssl, compared octet by octet."""
        context = ssl.create_default_context(cafile=str(authorityFile()))
        plain = self.tunnel(pipsocks, protocol, "127.0.0.1", site.port)
        with context.wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(f"GET /noise/{size} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            head, _, body = readAll(connection).partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head[:80])
        self.assertEqual(body, noise(size))

    def flights(self, exits: list[Faulty], expected: int) -> int:
        """How often they swallowed a client's first bytes."""
        return self.told("flight", exits, expected)

    def requests(self, exits: list[Faulty], expected: int) -> int:
        """How often they were asked for a destination."""
        return self.told("request", exits, expected)

    def told(self, event: str, exits: list[Faulty], expected: int) -> int:
        """How often their logs say so; waited for until it is as often as `expected`."""
        deadline = time.monotonic() + PATIENCE
        while (found := sum(len(each.events(event)) for each in exits)) < expected and time.monotonic() < deadline:
            time.sleep(0.02)  # a log tells nobody that it grew
        return found


class RescueTests(ReplayTestCase):
    """What succeeds that would have failed."""

    def test_thirtyPercent(self) -> None:
        """
        Four exits that die behind their yes three times in ten: every page comes, whole, on both ports, but for one
        that has died five times, the most that a flight may.
        """
        site = origin(tls=True)
        exits = self.exits(*[tuple(f"7.5% {fault}" for fault in YES)] * 4)
        pipsocks = self.through(exits)
        lost = 0
        for number in range(60):
            try:
                self.fetch(pipsocks, ("socks5", "connect")[number % 2], site, 1000 + number * 997)
            except (OSError, ssl.SSLError):
                lost += 1
        lines = pipsocks.journal(60)
        failed = [line for line in lines if line["outcome"] != "ok"]
        self.assertEqual(len(failed), lost)
        self.assertLessEqual(lost, 1)  # by chance 0.3 ** 5 of them
        for line in failed:
            died = [attempt for attempt in line["attempts"] if attempt["outcome"] == "died"]
            self.assertEqual((line["replays"], len(died)), (4, 5), line)
        self.assertEqual({line["sni"] for line in lines}, {"localhost"})
        self.assertGreater(sum(line.get("replays", 0) for line in lines), 10)
        self.assertNotIn("ejected", pipsocks.output)

    def test_silentOnes(self) -> None:
        """Exits that swallow the ClientHello: after 4 s each another one is asked."""
        site = origin(tls=True)
        exits = self.exits("then-silent", "flight-silent", "none")
        pipsocks = self.through(exits)
        self.fetch(pipsocks, "connect", site, 100_000)
        line = pipsocks.session()
        self.assertEqual(line["replays"], 2)
        self.assertEqual(
            [each["outcome"] for each in line["attempts"]], ["ok", "ok", "unanswered"] + ["ok", "unanswered"]
        )
        self.assertEqual([len(each.events("request")) for each in exits], [1, 1, 1])

    def test_silentAndDead(self) -> None:
        """Three in ten of every kind."""
        site = origin(tls=True)
        faults = (*YES, "then-silent", "flight-silent")
        exits = self.exits(*[tuple(f"5% {fault}" for fault in faults)] * 4)
        pipsocks = self.through(exits)
        for number in range(20):
            self.fetch(pipsocks, ("socks5", "connect")[number % 2], site, 50_000)
        self.assertEqual({line["outcome"] for line in pipsocks.journal(20)}, {"ok"})

    def test_rotatingGateway(self) -> None:
        """One exit alone, which dies the first two times, is asked again itself."""
        site = origin(tls=True)
        exits = self.exits(("then-reset", "flight-close", "none"))
        pipsocks = self.through(exits)
        self.fetch(pipsocks, "socks5", site, 10_000)
        self.assertEqual(pipsocks.session()["replays"], 2)
        self.assertEqual(len(exits[0].events("request")), 3)

    def test_tlsToTheHops(self) -> None:
        """Hops that are reached over TLS, which die in each way: rescued where it may go again, told where not."""
        site = origin(tls=True)
        for faults in (("then-reset", "flight-close"), ("then-close", "flight-reset"), ("flight-silent", "then-close")):
            exits = [self.faulty(fault, "none", options=("--tls", certificateFile())) for fault in (*faults, "none")]
            chains = tuple(f"https://{each.address}?ca={authorityFile()}" for each in exits)
            pipsocks = self.pipsocks(upstreams=chains)
            self.fetch(pipsocks, "connect", site, 30_000)
            self.assertEqual(pipsocks.session()["replays"], 2)
        for fault in ("flight-reset", "flight-close"):
            for request in (POST, GET):
                exits = [self.faulty(fault, options=("--tls", certificateFile())) for _ in range(2)]
                chains = tuple(f"https://{each.address}?ca={authorityFile()}" for each in exits)
                pipsocks = self.pipsocks(upstreams=chains)
                connection = self.tunnel(pipsocks, "socks5", "127.0.0.1", 9)
                connection.sendall(request)
                with contextlib.suppress(ConnectionError):
                    self.assertEqual(readAll(connection), b"")
                connection.close()
                pipsocks.session()
                times = 1 if request is POST else 2
                self.assertEqual(self.flights(exits, times), times)

    def test_curl(self) -> None:
        """curl, by either protocol."""
        requires("curl")
        site = origin(tls=True)
        for scheme, protocol in (("http", "http"), ("socks5h", "socks")):
            pipsocks = self.through(self.exits("then-reset", "flight-reset", "none"))
            proxy = f"{scheme}://127.0.0.1:{getattr(pipsocks, protocol)()}"
            command = ["curl", "-sS", "--max-time", "30", "--cacert", authorityFile(), "-x", proxy]
            done = subprocess.run([*command, site.url("/noise/70000")], capture_output=True, env=cleanEnvironment())
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(done.stdout, noise(70_000))
            self.assertEqual(pipsocks.session()["replays"], 2)

    def test_plainPage(self) -> None:
        """A GET in a plain tunnel comes as well, though the first exit swallowed it."""
        site = origin()
        exits = self.exits("flight-close", "none")
        pipsocks = self.through(exits)
        connection = self.tunnel(pipsocks, "socks5", "127.0.0.1", site.port)
        connection.sendall(b"GET /noise/5000 HTTP/1.0\r\n\r\n")
        self.assertTrue(readAll(connection).endswith(noise(5000)))

    def test_serverSpeaksFirst(self) -> None:
        """A greeting comes over whichever exit lives, and what the client says behind it is heard once."""
        for banner, word in (
            (b"220 mail.example ESMTP\r\n", b"EHLO a.example\r\n"),
            (b"SSH-2.0-x\r\n", b"SSH-2.0-y\r\n"),
        ):
            heard: list[bytes] = []

            def greet(connection: socket.socket) -> None:
                connection.sendall(banner)  # noqa: B023
                heard.append(readExactly(connection, len(word)))  # noqa: B023
                connection.sendall(b"250 ok\r\n")

            peer = self.peer(greet)
            exits = self.exits("then-reset", "then-close", "none")
            pipsocks = self.through(exits)
            for protocol in ("socks5", "connect"):
                connection = self.tunnel(pipsocks, protocol, "127.0.0.1", peer.port)
                self.assertEqual(readExactly(connection, len(banner)), banner)
                connection.sendall(word)
                self.assertEqual(readAll(connection), b"250 ok\r\n")
            self.assertEqual(heard, [word, word])


class NeverTwiceTests(ReplayTestCase):
    """What might do something when it arrives twice."""

    def lost(self, exits: list[Faulty], pipsocks: Pipsocks, protocol: str, *pieces: bytes) -> None:
        """The client's tunnel ends without a byte."""
        connection = self.tunnel(pipsocks, protocol, "127.0.0.1", 9)
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(0.05)
            with contextlib.suppress(ConnectionError):  # the exit may be quicker
                connection.sendall(piece)
        got = b""
        with contextlib.suppress(ConnectionError):
            got = readAll(connection)
        self.assertEqual(got, b"")
        connection.close()

    def test_post(self) -> None:
        """A POST is sent once, whole or in pieces, and so is all that is not understood."""
        flights = (
            (POST,),
            (POST[:4], POST[4:]),
            (POST[:60], POST[60:]),
            (GET + GET,),
            (b"\x00\x01hello",),
            (ZERO_RTT,),
        )
        for protocol in ("socks5", "connect"):
            exits = self.exits("flight-reset", "flight-reset", "flight-close", "none")
            pipsocks = self.through(exits)
            for number, pieces in enumerate(flights, 1):
                self.lost(exits, pipsocks, protocol, *pieces)
                pipsocks.journal(number)
                self.assertEqual((self.flights(exits, number), self.requests(exits, number)), (number, number), pieces)
            self.assertFalse([line for line in pipsocks.journal(len(flights)) if line.get("replays")])

    def test_get(self) -> None:
        """A GET or HEAD is sent twice at most, a ClientHello five times."""
        hello = (
            b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x01\x00" + b"\x00\x00"
        )
        for flight, times in ((GET, 2), (HEAD, 2), (hello, 5)):
            exits = self.exits(*["flight-close"] * 4)
            pipsocks = self.through(exits)
            self.lost(exits, pipsocks, "socks5", flight)
            self.assertEqual(pipsocks.session().get("replays"), times - 1)
            self.assertEqual(self.flights(exits, times), times)

    def test_earlyData(self) -> None:
        """openssl's own early data: the exit that swallows it is the only one that gets it."""
        requires("openssl")
        session, data, port = self.directory() / "session", self.directory() / "data", unusedPort()
        data.write_bytes(POST)
        server = self.talker(
            *("s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificateFile(), "-tls1_3", "-quiet"),
            *("-early_data", "-max_early_data", "16384"),
        )
        while True:
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
                break
        options = ("s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-quiet", "-no_ign_eof")
        # The ticket comes behind the handshake: this one waits for a word.
        first = self.talker(*options, "-sess_out", session)
        server.stdin.write(b"song\n")
        server.stdin.flush()
        self.assertEqual(first.stdout.readline(), b"song\n")
        first.communicate(timeout=60)

        def client(*more: str | Path) -> subprocess.CompletedProcess[bytes]:
            command = ["openssl", *map(str, (*options, *more))]
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, env=cleanEnvironment(), timeout=60
            )

        exits = self.exits("flight-reset", "none", "none")
        pipsocks = self.through(exits)
        proxy = ("-proxy", f"127.0.0.1:{pipsocks.http()}", "-sess_in", session)
        done = client(*proxy, "-early_data", data)
        self.assertNotEqual(done.returncode, 0, done)
        line = pipsocks.session()
        self.assertNotIn("replays", line)
        self.assertEqual([len(each.events("request")) for each in exits], [1, 0, 0])
        # The same without early data is rescued, ticket and all.
        done = client(*proxy)
        self.assertEqual(done.returncode, 0, done)
        self.assertEqual(pipsocks.journal(2)[1]["replays"], 1)
        self.assertEqual([len(each.events("request")) for each in exits], [2, 1, 0])

    def talker(self, *arguments: str | Path) -> Any:
        """An openssl that is talked to, until this test ends."""
        process = subprocess.Popen(
            ["openssl", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=cleanEnvironment(),
        )

        def end() -> None:
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def test_directNeverAgain(self) -> None:
        """The direct route is not asked twice: what the destination itself ends is ended."""
        peer = self.peer(lambda connection: None)
        pipsocks = self.pipsocks()
        connection = self.tunnel(pipsocks, "socks5", "127.0.0.1", peer.port)
        self.assertEqual(readAll(connection), b"")
        connection.close()
        self.assertEqual(pipsocks.session()["outcome"], "ok")
        self.assertEqual(peer.accepted, 1)


class EndsTests(ReplayTestCase):
    """Ends, floods and stops while a flight is under way."""

    def test_halfClose(self) -> None:
        """A client that ends its side right behind its request, as nc does: the end is passed on, the answer whole."""

        def serve(connection: socket.socket) -> None:
            asked = readAll(connection)
            connection.sendall(hashlib.sha256(asked).hexdigest().encode() + noise(MEBIBYTE))

        peer = self.peer(serve)
        pipsocks = self.through(self.exits("none", "none"))
        for protocol in ("socks5", "connect"):
            for request in (GET, POST, b""):
                connection = self.tunnel(pipsocks, protocol, "127.0.0.1", peer.port)
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                expected = hashlib.sha256(request).hexdigest().encode() + noise(MEBIBYTE)
                self.assertEqual(readAll(connection), expected)
                connection.close()
        for line in pipsocks.journal(6):
            self.assertEqual((line["outcome"], line["down"]), ("ok", MEBIBYTE + 64), line)

    def test_upload(self) -> None:
        """50 MB before the first byte comes back: nothing is lost, and no more is kept than a tunnel may."""
        go = threading.Event()

        def serve(connection: socket.socket) -> None:
            go.wait(60)
            count(connection)

        peer = self.peer(serve)
        pipsocks = self.through(self.exits("none", "none"))
        connection = self.tunnel(pipsocks, "connect", "127.0.0.1", peer.port)
        connection.sendall(b"first ")
        before = self.memory(pipsocks)
        data = noise(50_000_000)
        sent = [0]

        def upload() -> None:
            view = memoryview(data)
            while sent[0] < len(data):
                sent[0] += connection.send(view[sent[0] : sent[0] + 262_144])
            connection.shutdown(socket.SHUT_WR)

        uploading = threading.Thread(target=upload)
        uploading.start()
        stood = -1
        while stood != sent[0]:
            stood = sent[0]
            time.sleep(0.5)
        self.assertLess(stood, len(data))  # the client is held back while nobody reads
        go.set()
        self.assertEqual(readAll(connection), f"50000006 {hashlib.sha256(b'first ' + data).hexdigest()}\n".encode())
        uploading.join(30)
        self.assertLess(self.memory(pipsocks) - before, 8 * MEBIBYTE)
        self.assertEqual(pipsocks.session()["up"], 50_000_006)

    def memory(self, child: Child) -> int:
        """The most that it has had resident, in octets."""
        match = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{child.pid}/status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def test_clientResets(self) -> None:
        """A client that is gone while another exit is asked: the asking is over at once, and the tunnels let go."""
        exits = self.exits("flight-close", "silent")
        self.resets(exits, self.through(exits))

    def test_clientResetsBehindTLS(self) -> None:
        """The same where the exit that died was reached over TLS."""
        for fault in ("flight-close", "flight-reset"):
            exits = [self.faulty(fault, options=("--tls", certificateFile())), self.faulty("silent")]
            chains = (f"https://{exits[0].address}?ca={authorityFile()}", f"socks5h://{exits[1].address}")
            self.resets(exits, self.pipsocks(upstreams=chains))

    def resets(self, exits: list[Faulty], pipsocks: Pipsocks) -> None:
        """A client whose first exit dies, and which resets while the second is silent."""
        connection = self.tunnel(pipsocks, "connect", "127.0.0.1", 9)
        connection.sendall(GET)
        self.assertEqual(exits[1].dials(1), 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        line = pipsocks.session()
        self.assertEqual(line["outcome"], "reset_client")
        self.assertEqual([each["outcome"] for each in line["attempts"]], ["ok", "died", "cancelled"])
        deadline = time.monotonic() + 30
        while not exits[1].events("lost"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_stop(self) -> None:
        """A SIGTERM with flights in every state: all are aborted at the end of the drain, and nothing is logged."""
        exits = self.exits(("flight-silent", "flight-silent", "flight-close"), "silent")
        pipsocks = self.through(exits)
        connections = []
        for flight in (b"", GET, GET):
            connection = self.tunnel(pipsocks, "connect", "127.0.0.1", 9)
            connection.sendall(flight)
            connections.append(connection)
        self.assertEqual(exits[1].dials(1), 1)
        self.assertEqual(pipsocks.stop(), 0)
        self.assertEqual({line["outcome"] for line in pipsocks.journal(3)}, {"aborted"})
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                self.assertEqual(connection.recv(1), b"")

    def test_rescuedInTheDrain(self) -> None:
        """What is under way at a SIGTERM is still rescued within the drain."""
        site = origin(tls=True)
        exits = self.exits("then-silent", "none")
        pipsocks = self.through(exits, "--timeouts-drain", "20")
        result: list[Any] = []

        def fetch() -> None:
            try:
                self.fetch(pipsocks, "socks5", site, 20_000)
                result.append("whole")
            except BaseException as error:
                result.append(error)

        fetching = threading.Thread(target=fetch)
        fetching.start()
        self.assertEqual(exits[0].dials(1), 1)
        deadline = time.monotonic() + 30
        while not exits[0].events("granted"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        os.kill(pipsocks.pid, signal.SIGTERM)
        fetching.join(30)
        self.assertEqual(result, ["whole"])
        self.assertEqual(pipsocks.wait(), 0)
        self.assertEqual(pipsocks.session()["replays"], 1)
