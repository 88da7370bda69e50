"""The load: an origin and clients on raw sockets, in a process of their own so that their time is not the proxy's."""

from __future__ import annotations

import contextlib
import hashlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator

import attrs

PATTERN = bytes(range(256)) * 4096
"""1 MiB, sent over and over: every byte's place can be checked."""

PATIENCE = 60.0


class BytesDiffer(Exception):
    """What came out of a proxy is not what went in."""


def requests(protocol: str, port: int) -> list[bytes]:
    """
    What a client sends to reach 127.0.0.1:`port`, one after each answer.

    Some proxies take one read for one message, so that a greeting and a request in one segment hang.
    """
    if protocol == "socks5":
        return [b"\x05\x01\x00", b"\x05\x01\x00\x01\x7f\x00\x00\x01" + struct.pack("!H", port)]
    return [f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()]


def _answers(protocol: str) -> int:
    """Octets of the first answer, where a second request follows; else 0."""
    return 2 if protocol == "socks5" else 0


def isAnswered(protocol: str, answer: bytes) -> bool:
    """Whether a proxy's answer is there and says yes; raises `BytesDiffer` where it says no."""
    if protocol == "socks5":
        if len(answer) < 12:
            return False
        if answer[:4] != b"\x05\x00\x05\x00":
            raise BytesDiffer(f"SOCKS answer {answer!r}")
        return True
    if b"\r\n\r\n" not in answer:
        return False
    if answer.split()[1] != b"200":
        raise BytesDiffer(f"HTTP answer {answer[:200]!r}")
    return True


def tunnel(protocol: str, proxy: int, origin: int) -> socket.socket:
    """A tunnel through the proxy at loopback port `proxy` to the one at `origin`."""
    client = socket.create_connection(("127.0.0.1", proxy), PATIENCE)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    setup = _Setup(client, requests(protocol, origin))
    setup.ask()
    while not setup.answered(protocol):
        pass
    return client


@attrs.define(eq=False)
class _Setup:
    """One tunnel on its way: asked, answered, asked again."""

    socket: socket.socket
    asks: list[bytes]
    answer: bytes = b""

    def ask(self) -> None:
        """Send the next request."""
        self.socket.sendall(self.asks.pop(0))

    def answered(self, protocol: str) -> bool:
        """Read once, ask on, and tell whether the tunnel stands; raises `BytesDiffer` where it never will."""
        data = self.socket.recv(4096)
        if not data:
            raise BytesDiffer(f"the proxy closed behind {self.answer!r}")
        self.answer += data
        if self.asks:
            if len(self.answer) >= _answers(protocol):
                self.ask()
            return False
        return isAnswered(protocol, self.answer)


@contextlib.contextmanager
def origin(serve: object) -> Iterator[int]:
    """Accept on a loopback port, and give each connection to `serve` in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()  # type: ignore[arg-type]

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def checkBytes(protocol: str, proxy: int, megabytes: int) -> None:
    """
    Send that much through the proxy, then fetch as much, and compare by SHA-256; raises `BytesDiffer`.

    One direction after the other: a proxy that writes without looking at what comes hangs when both are full.
    """
    pieces = [PATTERN[turn:] + PATTERN[:turn] for turn in range(megabytes)]
    expected = hashlib.sha256(b"".join(pieces)).digest()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(_digest(connection, megabytes << 20))
            for piece in pieces:
                connection.sendall(piece)

    with origin(serve) as port, tunnel(protocol, proxy, port) as client:
        for piece in pieces:
            client.sendall(piece)
        uploaded = b""
        while len(uploaded) < len(expected) and (data := client.recv(len(expected) - len(uploaded))):
            uploaded += data
        if uploaded != expected or _digest(client, megabytes << 20) != expected:
            raise BytesDiffer("SHA-256 differs")


def _digest(connection: socket.socket, count: int) -> bytes:
    digest = hashlib.sha256()
    while count and (data := connection.recv(min(count, 1 << 18))):
        digest.update(data)
        count -= len(data)
    return digest.digest()


def bulkSeconds(protocol: str, proxy: int, megabytes: int) -> float:
    """Seconds to download that much through one tunnel."""

    def send(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(1)
            for _ in range(megabytes):
                connection.sendall(PATTERN)

    with origin(send) as port, tunnel(protocol, proxy, port) as client:
        buffer = bytearray(1 << 20)
        began = time.perf_counter()
        client.sendall(b"!")
        left = megabytes << 20
        while left:
            count = client.recv_into(buffer)
            if not count:
                raise BytesDiffer(f"cut {left} bytes short")
            left -= count
        return time.perf_counter() - began


def setupSeconds(protocol: str, proxy: int, count: int, atOnce: int) -> float:
    """Seconds to set up and close `count` tunnels, `atOnce` of them at a time, from one thread."""
    selector = selectors.EpollSelector()
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ, listener)
        target = listener.getsockname()[1]
        began, started, done = time.perf_counter(), 0, 0
        accepted: list[socket.socket] = []

        def start() -> None:
            client = socket.create_connection(("127.0.0.1", proxy), PATIENCE)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            setup = _Setup(client, requests(protocol, target))
            setup.ask()
            selector.register(client, selectors.EVENT_READ, setup)

        while started < min(atOnce, count):
            start()
            started += 1
        while done < count:
            events = selector.select(PATIENCE)
            if not events:
                raise BytesDiffer(f"silent after {done} of {count} tunnels")
            for key, _ in events:
                if key.data is listener:
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            accepted.append(listener.accept()[0])
                    while len(accepted) > 2 * atOnce:
                        accepted.pop(0).close()
                    continue
                setup: _Setup = key.data
                if setup.answered(protocol):
                    selector.unregister(setup.socket)
                    setup.socket.close()
                    done += 1
                    if started < count:
                        start()
                        started += 1
        seconds = time.perf_counter() - began
        for connection in accepted:
            connection.close()
    selector.close()
    return seconds


@contextlib.contextmanager
def idleTunnels(protocol: str, proxy: int, count: int) -> Iterator[None]:
    """That many tunnels that stand and say nothing."""
    kept: list[socket.socket] = []
    with origin(kept.append) as port, contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(tunnel(protocol, proxy, port))
        yield
    for connection in kept:
        connection.close()
