"""
Thousands of random and mutated inputs on real sockets: the process lives, answers, and leaks nothing.

The seeds are fixed, so a failure can be had again; `tests.fuzz` looks for new ones for as long as you like.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable

from tests.functional.case import FunctionalTestCase
from tests.functional.processes import PATIENCE, Pipsocks
from tests.functional.talk import askSocks, readExactly

INPUTS = 2_000
WARM = 100
"""Inputs before descriptors are counted: the relay's pool of pipes fills once."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOGIN = b"\x01\x06parrot\x05perch"
SOCKS = (
    b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50hello",
    b"\x05\x02\x00\x02\x05\x01\x00\x03\x0eorigin.example\x01\xbbhello",
    b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01\x00\x50hello",
    b"\x05\x01\x02" + LOGIN + b"\x05\x01\x00\x03\x09127.0.0.1\x00\x50hello",
    b"\x05\x01\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00",
    b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
    b"\x05\x03\x00\x01\x80\x05\x01\x00\x03\xff" + b"a" * 63 + b"." + b"b" * 191 + b"\x00\x50",
    b"\x04\x01\x00\x50\x7f\x00\x00\x01parrot\x00hello",
    b"\x04\x01\x01\xbb\x00\x00\x00\x01parrot\x00origin.example\x00hello",
    b"\x04\x02\x00\x50\x7f\x00\x00\x01\x00",
)
GET = b"GET http://origin.example/a?b=c HTTP/1.1\r\nHost: origin.example\r\n"
POST = b"POST http://127.0.0.1:80/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
HTTP = (
    b"CONNECT origin.example:443 HTTP/1.1\r\nHost: origin.example:443\r\n\r\n\x16\x03\x01\x00\x05hello",
    b"CONNECT [::1]:443 HTTP/1.0\r\n\r\nhello",
    GET + b"\r\n",
    GET + b"Connection: keep-alive, X-Y\r\nX-Y: z\r\nProxy-Authorization: Basic YTpi\r\n\r\n",
    GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n\x81\x05hello",
    POST + b"Content-Length: 5\r\n\r\nhello",
    POST + b"Transfer-Encoding: chunked\r\nTE: trailers\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    GET + b"\r\n" + POST + b"Content-Length: 5\r\n\r\nhello" + GET.replace(b"GET", b"HEAD") + b"\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nMax-Forwards: 0\r\n\r\n",
    b"TRACE http://origin.example/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: 5\r\n\r\n",
)  # fmt: skip
PIECES = (
    b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b";", b"\"", b"/", b"@", b"#", b"%00", b"%", b"[", b"]",
    b"0", b"-1", b"+1", b"_", b"65536", b"99999999999999999999", b"\xff", b"\x80", b"\xc2\x85", b"\xe2\x84\xaa",
    b"\x05", b"\x04", b"\x01\x00", b"\x16\x03\x01", b"chunked", b"Content-Length: 5\r\n", b"Host: b\r\n", b"HTTP/1.1",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"0\r\n\r\n", b"A" * 300, b"X: y\r\n" * 210,
    b"z" * 70_000,
)  # fmt: skip


def hop(connection: socket.socket) -> None:
    """A SOCKS5 upstream that grants everything and is the origin itself, so that no name is ever looked up."""
    with contextlib.suppress(EOFError):  # the client left
        grant(connection)


def grant(connection: socket.socket) -> None:
    """Serve one connection."""
    _, count = readExactly(connection, 2)
    readExactly(connection, count)
    connection.sendall(b"\x05\x00")
    kind = readExactly(connection, 4)[3]
    readExactly(connection, readExactly(connection, 1)[0] if kind == 3 else {1: 4, 4: 16}[kind])
    readExactly(connection, 2)
    connection.sendall(b"\x05\x00\x00\x01" + bytes(6))
    while connection.recv(65_536):
        connection.sendall(OK)


def mutated(source: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """A good start with a few changes; one in four is nothing but noise behind its first octet."""
    data = bytearray(source.choice(seeds))
    if source.random() < 0.25:
        return bytes(data[:1]) + source.randbytes(source.choice((0, 1, 3, 9, 40, 300)))
    for _ in range(source.choice((1, 1, 2, 3, 8))):
        at, size = source.randrange(len(data) + 1), source.choice((0, 1, 1, 2, 5))
        change = source.randrange(6)
        if change == 0:
            data[at : at + size] = source.choice(PIECES)
        elif change == 1 and at < len(data):
            data[at] ^= 1 << source.randrange(8)
        elif change == 2:
            data[at : at + size] = source.randbytes(size)
        elif change == 3:
            del data[at : at + size]
        elif change == 4:
            del data[at:]
        else:
            data[at:at] = data[at : at + source.randrange(40)]
    return bytes(data)


class FuzzTests(FunctionalTestCase):
    """Two thousand inputs for each protocol."""

    def feed(self, port: int, data: bytes, source: random.Random) -> bytes:
        """Send it, whole or in two pieces, end or reset the connection, and take all that comes back to its end."""
        reset = source.random() < 0.1
        cut = source.randrange(len(data) + 1) if source.random() < 0.3 else len(data)
        pieces = []
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data[:cut])
                connection.sendall(data[cut:])
                if reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return b""
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65_536):
                    pieces.append(piece)
        return b"".join(pieces)

    def descriptors(self, pipsocks: Pipsocks) -> list[str]:
        """What the process has open: by kind, since numbers change."""
        found = []
        for name in os.listdir(f"/proc/{pipsocks.pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pipsocks.pid}/fd/{name}").partition(":")[0])
        return sorted(found)

    def run_(self, seed: int, seeds: tuple[bytes, ...], port: Callable[[Pipsocks], int], starts: bytes) -> None:
        """Feed a process; what it answers begins with one of the octets `starts`."""
        peer = self.peer(hop)
        # What is about clients that leave, or dribble, is tested elsewhere; here nothing is to be waited for.
        pipsocks = self.pipsocks("--timeouts-handshake", "5", upstreams=(f"socks5h://127.0.0.1:{peer.port}",))
        source = random.Random(seed)
        answered, open_ = 0, list[str]()
        for number in range(INPUTS + WARM):
            if number == WARM:
                open_ = self.settled(pipsocks, None)
            data = mutated(source, seeds)
            said = self.feed(port(pipsocks), data, source)
            self.assertIn(said[:1], (b"", *(bytes([octet]) for octet in starts)), data)
            answered += bool(said)
            if number % 500 == 0:
                self.assertServes(pipsocks)
        self.assertGreater(answered, INPUTS // 3)
        self.assertServes(pipsocks)
        self.assertEqual(self.settled(pipsocks, open_), open_)

    def settled(self, pipsocks: Pipsocks, expected: list[str] | None) -> list[str]:
        """What is open once the last connections are gone: what is expected, or what no longer changes."""
        deadline = time.monotonic() + PATIENCE
        former: list[str] = []
        while (now := self.descriptors(pipsocks)) != (former if expected is None else expected):
            if time.monotonic() > deadline:
                break
            former = now
            time.sleep(0.5 if expected is None else 0.05)
        return now

    def assertServes(self, pipsocks: Pipsocks) -> None:
        """The next client of either protocol is served."""
        with socket.create_connection(("127.0.0.1", pipsocks.socks()), PATIENCE) as connection:
            self.assertEqual(askSocks(connection, "origin.example", 80)[0], 0)
            connection.sendall(b"hello")
            self.assertEqual(readExactly(connection, len(OK)), OK)
        with socket.create_connection(("127.0.0.1", pipsocks.http()), PATIENCE) as connection:
            connection.sendall(GET + b"\r\n")
            self.assertTrue(readExactly(connection, 40).startswith(b"HTTP/1.1 200 OK\r\n"))

    def test_socks(self) -> None:
        """SOCKS: each input gets a reply of its protocol, or the end."""
        self.run_(1928, SOCKS, Pipsocks.socks, b"\x05\x00H")

    def test_http(self) -> None:
        """HTTP: each input gets an answer, or the end."""
        self.run_(9112, HTTP, Pipsocks.http, b"H\x05\x00")
