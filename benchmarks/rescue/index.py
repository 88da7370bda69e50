"""A package index of small wheels on loopback, by HTTP and by HTTPS, under names that only exits know."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import http.server
import io
import socketserver
import ssl
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

INDEX, FILES = "index.example", "files.example"
"""Pages and wheels are on two hosts, as at the public index."""

SIZE = 20_000


@functools.cache
def wheel(name: str) -> bytes:
    """A wheel that holds one module, and some bytes that do not compress."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": f"SONG = {name!r}\n".encode(),
        f"{name}.bin": hashlib.shake_128(name.encode()).digest(SIZE),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: benchmarks\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return target.getvalue()


def names(count: int) -> list[str]:
    """The packages."""
    return [f"song{number:02}" for number in range(count)]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the figures' output clean."""

    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["simple", name]:
                digest = hashlib.sha256(wheel(name)).hexdigest()
                file = f"{name}-1.0-py3-none-any.whl"
                link = f'<a href="{self.server.scheme}://{FILES}/files/{file}#sha256={digest}">{file}</a>'
                self._answer(f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html")
            case ["files", file]:
                self._answer(wheel(file.partition("-")[0]), "application/octet-stream")
            case _:
                self.send_error(404)

    do_HEAD = do_GET

    def _answer(self, content: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 256
    scheme = "http"
    context: ssl.SSLContext | None = None

    def get_request(self) -> Any:
        connection, peer = super().get_request()
        if self.context is not None:
            # The handshake comes with the first read, in the connection's own thread.
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, peer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news."""


@attrs.frozen
class Index:
    """
    What exits have to know.

    @ivar hosts: ``HOST:PORT`` to the loopback port where it is.
    """

    hosts: dict[str, int]


@contextlib.contextmanager
def indexed(certificate: Path) -> Iterator[Index]:
    """Serve both."""
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(certificate)
    hosts: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        for scheme, context, port in (("http", None, 80), ("https", secure, 443)):
            server = stack.enter_context(_Server(("127.0.0.1", 0), _Handler))
            server.scheme, server.context = scheme, context
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
            stack.callback(server.shutdown)
            hosts |= {f"{name}:{port}": server.server_address[1] for name in (INDEX, FILES)}
        yield Index(hosts)
