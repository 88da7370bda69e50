"""Loopback origins in threads: a package index, files of random bytes, git repositories, and what they were asked."""

from __future__ import annotations

import atexit
import base64
import contextlib
import errno
import functools
import hashlib
import http.server
import io
import json
import random
import socket
import socketserver
import ssl
import subprocess
import tarfile
import tempfile
import threading
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

from tests.functional.processes import address, cleanEnvironment

PACKAGES = {"parrot": "perch", "perch": ""}
"""The packages of the index, each with what it requires."""

VERSION = "1.0"

NPM_VERSION = "1.0.0"
NPM_SONG = b"module.exports = 'parrot'\n"

DEBS = ("parrot", "perch", "plumage")
"""The packages of the apt repository."""

DEB_SIZE = 50_000

PAGE = b"<!DOCTYPE html><title>parrot</title><p id=song></p><script src=/song.js></script>"
"""A page whose song only a browser that runs its script gets to see."""

PAGE_SONG = "pretty parrot"
SCRIPT = b"document.getElementById('song').textContent = ['pretty', 'parrot'].join(' ')"


@functools.cache
def authority() -> trustme.CA:
    """The certificate authority of this test run."""
    return trustme.CA()


@functools.cache
def scratch() -> Path:
    """A directory for this test run, gone at its end."""
    directory = tempfile.TemporaryDirectory(prefix="pipsocks-origins-")
    atexit.register(directory.cleanup)
    return Path(directory.name)


@functools.cache
def authorityFile() -> Path:
    """Its certificate, as clients take it."""
    path = scratch() / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    return path


@functools.cache
def certificateFile() -> Path:
    """Key and certificate for all of loopback, in one file."""
    path = scratch() / "server.pem"
    certificate = authority().issue_cert("127.0.0.1", "::1", "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
    path.chmod(0o644)
    return path


@functools.cache
def wheel(name: str) -> bytes:
    """A wheel that holds one module with a ``SONG``."""
    requirement = f"Requires-Dist: {PACKAGES[name]}\n" if PACKAGES[name] else ""
    info = f"{name}-{VERSION}.dist-info"
    files = {
        f"{name}.py": f"SONG = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n{requirement}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"])
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return target.getvalue()


def wheelName(name: str) -> str:
    """The file name of a wheel."""
    return f"{name}-{VERSION}-py3-none-any.whl"


@functools.cache
def noise(size: int) -> bytes:
    """`size` bytes that no relay could make up, the same in each run."""
    return random.Random(size).randbytes(size)


@functools.cache
def tarball() -> bytes:
    """The package of the npm registry: one module that exports a song."""
    manifest = {"name": "parrot", "version": NPM_VERSION, "main": "index.js"}
    files = {"package.json": json.dumps(manifest).encode(), "index.js": NPM_SONG}
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(f"package/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def _packument(base: str) -> bytes:
    """What an npm registry at the URL `base` says of its package."""
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball()).digest()).decode()
    dist = {"tarball": f"{base}/parrot/-/parrot-{NPM_VERSION}.tgz", "integrity": integrity}
    version = {"name": "parrot", "version": NPM_VERSION, "dist": dist}
    whole = {"name": "parrot", "dist-tags": {"latest": NPM_VERSION}, "versions": {NPM_VERSION: version}}
    return json.dumps(whole).encode()


@functools.cache
def debs() -> dict[str, bytes]:
    """A flat apt repository by file name: an index of three packages, its Release, and what apt takes for packages."""
    files, stanzas = {}, []
    for number, name in enumerate(DEBS):
        deb = noise(DEB_SIZE + number)
        files[f"{name}_1.0_all.deb"] = deb
        stanzas.append(
            f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: Tests <tests@example.com>\n"
            f"Filename: ./{name}_1.0_all.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
            f"Description: a song\n"
        )
    index = "\n".join(stanzas).encode()
    files["Packages"] = index
    day = "Date: Thu, 01 Jan 2026 00:00:00 UTC\n"
    files["Release"] = f"{day}SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n".encode()
    return files


@functools.cache
def repositories() -> Path:
    """The parent of a bare git repository ``parrot.git`` with one commit."""
    work, bare = scratch() / "work", scratch() / "git"
    bare.mkdir()
    environment = cleanEnvironment({
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Tests", "GIT_AUTHOR_EMAIL": "tests@example.com",
        "GIT_COMMITTER_NAME": "Tests", "GIT_COMMITTER_EMAIL": "tests@example.com",
    })  # fmt: skip

    def git(*arguments: str | Path) -> None:
        subprocess.run(["git", *map(str, arguments)], check=True, env=environment, capture_output=True)

    git("init", "--initial-branch=main", work)
    (work / "song").write_bytes(noise(100_000))
    git("-C", work, "add", "song")
    git("-C", work, "commit", "-m", "A song")
    git("clone", "--bare", work, bare / "parrot.git")
    return bare


class _Handler(http.server.BaseHTTPRequestHandler):
    """
    Answers by path.

    ``/simple/`` is the index, ``/files/`` its wheels, ``/noise/N`` is N random bytes, ``/git/`` smart HTTP,
    ``/npm/`` a registry of one package, ``/apt/`` a flat repository, ``/page`` is for browsers, ``/echo`` gives a body
    back, ``/digest`` the SHA-256 of a body.
    """

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep the test run's output clean."""

    def do_GET(self) -> None:
        """Serve one of the trees."""
        self.server.origin.requests.append((self.command, self.path, dict(self.headers.items())))
        parts = [
            part for part in urlsplit(self.path).path.split("/") if part not in ("", ".")
        ]  # apt asks for ./Packages
        match parts:
            case ["simple", name] if name in PACKAGES:
                digest = hashlib.sha256(wheel(name)).hexdigest()
                link = f'<a href="/files/{wheelName(name)}#sha256={digest}">{wheelName(name)}</a>'
                self._answer(200, f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html")
            case ["files", file] if file in map(wheelName, PACKAGES):
                self._answer(200, wheel(file.partition("-")[0]))
            case ["noise", size]:
                self._answer(200, noise(int(size)))
            case ["npm", "parrot"]:
                base = f"{self.server.origin.scheme}://{self.headers['Host']}/npm"
                self._answer(200, _packument(base), "application/json")
            case ["npm", "parrot", "-", _]:
                self._answer(200, tarball())
            case ["apt", file] if file in debs():
                self._answer(200, debs()[file])
            case ["page"]:
                self._answer(200, PAGE, "text/html")
            case ["song.js"]:
                self._answer(200, SCRIPT, "text/javascript")
            case ["git", *_]:
                self._git(b"")
            case _:
                self._answer(404, b"no such page\n", "text/plain")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Take a body."""
        self.server.origin.requests.append((self.command, self.path, dict(self.headers.items())))
        body = self._body()
        if self.path.startswith("/git/"):
            self._git(body)
        elif self.path == "/digest":
            self._answer(200, hashlib.sha256(body).hexdigest().encode(), "text/plain")
        else:
            self._answer(200, body)

    do_PUT = do_POST

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _git(self, body: bytes) -> None:
        target = urlsplit(self.path)
        result = subprocess.run(
            ["git", "http-backend"],
            input=body,
            capture_output=True,
            check=True,
            env=cleanEnvironment({
                "GIT_PROJECT_ROOT": str(repositories()), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command,
                "PATH_INFO": target.path.removeprefix("/git"), "QUERY_STRING": target.query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
                "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
            }),
        )  # fmt: skip
        head, _, content = result.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(fields.pop("Status", "200").split()[0])
        self._answer(status, content, fields.get("Content-Type", "text/plain"))


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256
    origin: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news."""


class Origin:
    """
    One HTTP origin on one port of 127.0.0.1 and of ::1, with TLS or without.

    `connections` counts what was accepted, `requests` keeps (method, path, fields).
    """

    def __init__(self, tls: bool = False) -> None:
        self.scheme = "https" if tls else "http"
        self.connections = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificateFile())
        self.port = 0
        self._servers = [self._serve("127.0.0.1", context)]
        while len(self._servers) < 2:
            try:
                self._servers.append(self._serve("::1", context))
            except OSError as error:  # somebody has that port there: it must be one that is free on both
                if error.errno != errno.EADDRINUSE:
                    raise
                self.stop()
                self.port = 0
                self._servers = [self._serve("127.0.0.1", context)]

    def _serve(self, host: str, context: ssl.SSLContext | None) -> _Server:
        origin = self

        class Server(_Server):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def get_request(self) -> Any:
                connection, peer = super().get_request()
                origin.connections += 1
                if context is not None:
                    # The handshake comes with the first read, in the connection's own thread.
                    connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                return connection, peer

        server = Server((host, self.port), _Handler)
        server.origin = self
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return server

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """A URL of this origin."""
        return f"{self.scheme}://{address(host, self.port)}{path}"

    def stop(self) -> None:
        """Close both ports."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


@functools.cache
def origin(tls: bool = False) -> Origin:
    """The origin that many tests share; tests that count make their own."""
    return Origin(tls)


class Peer:
    """
    A TCP origin that is a function: each connection is given to `serve` in a thread of its own.

    `accepted` counts them.
    """

    def __init__(self, serve: Any, host: str = "127.0.0.1") -> None:
        self.accepted = 0
        self._serve = serve
        self._socket = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
        self.host, self.port = host, self._socket.getsockname()[1]
        self.address = address(host, self.port)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client left
            self._serve(connection)

    def stop(self) -> None:
        """Close the port: connections to it are refused from now on."""
        # A close alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def echo(connection: socket.socket) -> None:
    """Give everything back, then the end of it."""
    while data := connection.recv(65_536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def count(connection: socket.socket) -> None:
    """Take everything until its end, then say its length and SHA-256, then end."""
    digest, size = hashlib.sha256(), 0
    while data := connection.recv(1 << 18):
        digest.update(data)
        size += len(data)
    connection.sendall(f"{size} {digest.hexdigest()}\n".encode())
    connection.shutdown(socket.SHUT_WR)
