"""The tester's own ends: raw sockets towards the proxy, raw origins behind it. On loopback, and bounded in time."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final

import attrs

from conformance.behaviour import PATIENCE, Ended, Missing, Unlike

PATTERN: Final = bytes(range(256)) * 256
FILL_LIMIT: Final = 48 << 20
"""More than every kernel buffer between two ends that do not read."""


@attrs.frozen
class Head:
    """The head of an HTTP message: its start line, and its fields with lower-case names."""

    start: bytes
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def status(self) -> int:
        """The status of a response."""
        match = re.match(rb"HTTP/1\.[01] ([0-9]{3})(?: |\Z)", self.start)
        if match is None:
            raise Unlike(f"answered {self.start[:40].decode('latin-1')!r}, which is no status line")
        return int(match[1])

    @property
    def asked(self) -> bytes:
        """Method and target of a request."""
        return self.start.rpartition(b" ")[0]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a field."""
        return [value for each, value in self.fields if each == name]

    def get(self, name: bytes) -> bytes:
        """Its values, joined."""
        return b", ".join(self.all(name))


def readHeadBytes(raw: bytes) -> Head:
    """Take a head apart, leniently."""
    start, *lines = raw.rstrip(b"\r\n").split(b"\r\n")
    fields = [line.partition(b":") for line in lines]
    return Head(start, tuple((name.strip().lower(), value.strip()) for name, _, value in fields))


@attrs.define(eq=False)
class Talk:
    """One connection of the tester's: to the proxy, or from it."""

    socket: socket.socket
    _ahead: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """All of it."""
        self.socket.sendall(data)

    def drip(self, data: bytes, pause: float = 0.004) -> None:
        """One octet in each segment, as far as the other end lets us."""
        for octet in data:
            self.socket.sendall(bytes([octet]))
            time.sleep(pause)  # else they travel together: this is what the question is about

    def end(self) -> None:
        """No more comes from here (FIN)."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection (RST)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Close both directions."""
        self.socket.close()

    def some(self) -> bytes:
        """What comes next; nothing is the end."""
        ahead, self._ahead = self._ahead, b""
        return ahead or self.socket.recv(1 << 16)

    def unread(self, data: bytes) -> None:
        """Put back what was read too early."""
        self._ahead = data + self._ahead

    def read(self, count: int) -> bytes:
        """Exactly that many octets. Raises `Ended`."""
        data = b""
        while len(data) < count:
            try:
                piece = self.some()
            except TimeoutError:
                raise Unlike(f"{len(data)} of {count} octets came, and no more") from None
            if not piece:
                raise Ended
            data += piece
        self.unread(data[count:])
        return data[:count]

    def rest(self, limit: int = 1 << 26) -> bytes:
        """Everything up to a clean end. A reset raises ConnectionResetError."""
        pieces, size = [], 0
        while piece := self.some():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Unlike(f"sent more than {limit} octets")
        return b"".join(pieces)

    def head(self) -> Head:
        """An HTTP head, and nothing behind it."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.some()
            if not piece:
                raise Ended
            data += piece
        head, _, behind = data.partition(b"\r\n\r\n")
        self.unread(behind)
        return readHeadBytes(head)

    def within(self, seconds: float) -> bytes | None:
        """What comes within that time, nothing at the end; None when silent."""
        if self._ahead:
            return self.some()
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1 << 16)
        except TimeoutError:
            return None
        finally:
            self.socket.settimeout(PATIENCE)

    def isOver(self, seconds: float = PATIENCE) -> bool:
        """Whether the other end closes, or resets, within that time; what it still says is read away."""
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                if self.within(left) == b"":
                    return True
        except ConnectionError:
            return True
        return False

    def fill(self, limit: int = FILL_LIMIT, pause: float = 0.8) -> int:
        """How much the other way takes while its end does not read: at most `limit`, until nothing moves."""
        sent = 0
        self.socket.settimeout(pause)
        with contextlib.suppress(TimeoutError):
            while sent < limit:
                sent += self.socket.send(PATTERN)
        self.socket.settimeout(PATIENCE)
        return sent


class Origin:
    """A listening port of the tester's; `accept` gives the connections that come, one after the other."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, 0), family=family, backlog=64)
        except OSError:
            raise Missing(f"this machine has no {host}") from None
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.talks: list[Talk] = []

    @property
    def name(self) -> bytes:
        """``host:port`` as it stands in a URL."""
        return (f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}").encode()

    @property
    def listener(self) -> socket.socket:
        """The listening socket."""
        return self._listener

    def __enter__(self) -> Origin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for talk in self.talks:
            talk.close()

    def accept(self, seconds: float = PATIENCE) -> Talk:
        """The next connection. Raises `Unlike` when there is none."""
        self._listener.settimeout(seconds)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            raise Unlike("nothing reached the origin") from None
        talk = Talk(connection)
        self.talks.append(talk)
        return talk

    def isAlone(self, seconds: float = 0.5) -> bool:
        """Whether nobody connects within that time."""
        try:
            self.accept(seconds)
        except Unlike:
            return True
        return False


def dial(host: str, port: int, receive: int = 0) -> Talk:
    """A connection, with a receive buffer of that size where one is given."""
    connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    connection.settimeout(PATIENCE)
    if receive:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    try:
        connection.connect((host, port))
    except BaseException:
        connection.close()
        raise
    return Talk(connection)


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port that refuses, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def blackHole() -> Iterator[int]:
    """A port at which connections are neither made nor refused: its queue is full, so Linux drops further SYNs."""
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def megabytes(count: int) -> bytes:
    """Octets of which every part is different."""
    return b"".join(hashlib.sha256(b"%d" % block).digest() * 128 for block in range(count << 8))


def sendBeside(talk: Talk, data: bytes, close: bool = False) -> threading.Thread:
    """Send in a thread, and close behind it where wanted."""

    def run() -> None:
        with contextlib.suppress(OSError):
            talk.send(data)
            if close:
                talk.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
