"""Plain sockets that speak to pipsocks as scripted clients do, octet by octet."""

from __future__ import annotations

import base64
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from tests.functional.processes import PATIENCE, address


def dial(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A connection; nothing on it waits for ever."""
    return socket.create_connection((host, port), PATIENCE)


def readExactly(connection: socket.socket, size: int) -> bytes:
    """`size` octets; what the end of the connection leaves of them raises EOFError."""
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError(f"{size} octets were expected, there came {data!r}")
        data += piece
    return data


def readAll(connection: socket.socket) -> bytes:
    """Everything up to the end; a reset is no end and raises."""
    pieces = []
    while piece := connection.recv(1 << 18):
        pieces.append(piece)
    return b"".join(pieces)


@attrs.frozen
class Answer:
    """An HTTP head, and the body that its Content-Length announces."""

    status: int
    reason: str
    fields: dict[str, str]
    body: bytes = b""


def readHead(connection: socket.socket) -> Answer:
    """The head of an answer, and not an octet behind it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += readExactly(connection, 1)
    start, *lines = data[:-4].decode("ascii").split("\r\n")
    _, status, reason = start.split(" ", 2)
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(status), reason, fields)


def readAnswer(connection: socket.socket) -> Answer:
    """An answer with its body."""
    head = readHead(connection)
    return attrs.evolve(head, body=readExactly(connection, int(head.fields.get("content-length", 0))))


def authorization(user: str, password: str) -> str:
    """The credentials of an HTTP client, as a field line with its end."""
    encoded = base64.b64encode(f"{user}:{password}".encode()).decode()
    return f"Proxy-Authorization: Basic {encoded}\r\n"


def askConnect(connection: socket.socket, host: str, port: int, fields: str = "") -> Answer:
    """Send CONNECT and read the answer; of a 200 no octet behind its head."""
    target = address(host, port)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{fields}\r\n".encode())
    head = readHead(connection)
    if head.status == 200:
        return head
    return attrs.evolve(head, body=readExactly(connection, int(head.fields.get("content-length", 0))))


def askGet(connection: socket.socket, url: str, fields: str = "") -> Answer:
    """Send one plain request in absolute-form and read the answer."""
    host = url.split("/")[2]
    connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode())
    return readAnswer(connection)


def socksAddress(host: str, port: int) -> bytes:
    """The address field of a SOCKS5 request."""
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        try:
            return bytes([kind]) + socket.inet_pton(family, host) + struct.pack(">H", port)
        except OSError:
            continue
    raw = host.encode()
    return bytes([3, len(raw)]) + raw + struct.pack(">H", port)


def askSocks(
    connection: socket.socket, host: str, port: int, login: tuple[str, str] | None = None
) -> tuple[int, tuple[str, int]]:
    """A SOCKS5 handshake: the reply code, and the bound address."""
    connection.sendall(b"\x05\x01\x02" if login else b"\x05\x01\x00")
    method = readExactly(connection, 2)
    if method != (b"\x05\x02" if login else b"\x05\x00"):
        raise AssertionError(f"pipsocks chose {method!r}")
    if login is not None:
        user, password = (text.encode() for text in login)
        connection.sendall(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
        status = readExactly(connection, 2)
        if status != b"\x01\x00":
            raise AssertionError(f"login refused: {status!r}")
    connection.sendall(b"\x05\x01\x00" + socksAddress(host, port))
    return readReply(connection)


def readReply(connection: socket.socket) -> tuple[int, tuple[str, int]]:
    """A SOCKS5 reply: its code, and the bound address."""
    version, reply, _, kind = readExactly(connection, 4)
    if version != 5:
        raise AssertionError(f"a reply of version {version}")
    if kind == 3:
        host = readExactly(connection, readExactly(connection, 1)[0]).decode()
    else:
        family, width = {1: (socket.AF_INET, 4), 4: (socket.AF_INET6, 16)}[kind]
        host = socket.inet_ntop(family, readExactly(connection, width))
    return reply, (host, struct.unpack(">H", readExactly(connection, 2))[0])


@contextmanager
def blackHole() -> Iterator[int]:
    """A port of 127.0.0.1 at which connections are neither made nor refused, as behind a firewall that drops."""
    # Linux drops a SYN while the queue of connections that nobody has accepted is full.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        full: list[socket.socket] = []
        try:
            for _ in range(4):
                waiting = socket.socket()
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
                full.append(waiting)
            yield listener.getsockname()[1]
        finally:
            for waiting in full:
                waiting.close()
