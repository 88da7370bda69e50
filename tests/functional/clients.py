"""Real clients, each in an environment of its own that is made once, and what each of them fetches through a proxy."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import attrs

from tests.functional.origins import VERSION, Origin, authorityFile, noise, repositories
from tests.functional.processes import PASSWORD, USER, address, cleanEnvironment, requires

ENVIRONMENTS: dict[str, Sequence[str]] = {
    "pip": ("pip", "pysocks==1.7.1"),
    "pip23": ("pip==23.3.2", "pysocks==1.7.1"),
    "uv": ("uv",),
    "poetry": ("poetry", "pysocks==1.7.1"),
    "libraries": ("pysocks==1.7.1", "httpx[socks]", "aiohttp", "requests"),
}
"""What each environment holds."""

STALE = 7 * 24 * 3600
"""Seconds after which an environment is made anew, so that the newest pip stays the newest."""

NOISE = 300_000
"""The size of the file that clients without packages fetch."""


@functools.cache
def environment(name: str) -> Path:
    """
    The directory of an environment, made by the first test that asks for it and kept in the user's cache.

    The packages come from wherever this machine's pip is configured to take them.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    parent = Path(base, "pipsocks-tests", f"{sys.implementation.cache_tag}")
    parent.mkdir(parents=True, exist_ok=True)
    directory, stamp = parent / name, parent / f"{name}.stamp"
    wanted = "\n".join((sys.version, sys.executable, *ENVIRONMENTS[name]))
    with open(parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fresh = stamp.exists() and stamp.read_text() == wanted and time.time() - stamp.stat().st_mtime < STALE
        if not fresh:
            stamp.unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
            venv.create(directory, with_pip=True)
            command = [directory / "bin/python", "-m", "pip", "install", "--quiet", "--upgrade", *ENVIRONMENTS[name]]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                raise AssertionError(f"the client {name} cannot be installed here:\n{result.stdout}{result.stderr}")
            stamp.write_text(wanted)
    return directory


@attrs.frozen
class Fetched:
    """What a client got: its exit status, what it printed, the SHA-256 of the file or "" when there is none."""

    status: int
    output: str
    digest: str = ""


@attrs.frozen
class Proxy:
    """How a client is told of pipsocks: which port, and as whom."""

    kind: str  # "socks" or "http"
    host: str
    port: int
    login: bool = False

    def url(self, scheme: str) -> str:
        """The proxy's URL, special characters percent-encoded as our texts tell users to."""
        userinfo = f"{USER}:{quote(PASSWORD, safe='')}@" if self.login else ""
        return f"{scheme}://{userinfo}{address(self.host, self.port)}"


def run(
    arguments: Sequence[str | Path], directory: Path, extra: Mapping[str, str] | None = None, seconds: float = 60
) -> Fetched:
    """Run a client in `directory` with nothing of this machine's configuration."""
    steady = {
        "HOME": str(directory), "XDG_CONFIG_HOME": str(directory), "XDG_CACHE_HOME": str(directory / "cache"),
        "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1", "UV_NO_CONFIG": "1", "UV_NO_CACHE": "1", "UV_NO_PROGRESS": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
        "no_proxy": "", "NO_PROXY": "",
    }  # fmt: skip
    result = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=directory,
        env=cleanEnvironment({**steady, **(extra or {})}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=seconds,
    )
    return Fetched(result.returncode, result.stdout.decode(errors="backslashreplace"))


def digested(fetched: Fetched, file: Path) -> Fetched:
    """`fetched` with the SHA-256 of the file, if there is one."""
    if not file.exists():
        return fetched
    return attrs.evolve(fetched, digest=hashlib.sha256(file.read_bytes()).hexdigest())


def sung(fetched: Fetched, directory: Path) -> Fetched:
    """`fetched` with the songs of both packages, if they were installed and can be imported, for a digest."""
    if fetched.status != 0:
        return fetched
    program = "import parrot, perch; print(parrot.SONG, perch.SONG)"
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(directory)!r}); {program}"],
        capture_output=True,
        text=True,
    )
    return attrs.evolve(fetched, digest=result.stdout.strip())


Client = Callable[[Proxy, Origin, str, Path], Fetched]
"""Fetches through a proxy from an origin, by the host it is told, into an empty directory."""


def _pip(name: str) -> Client:
    def fetch(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
        scheme = "http" if proxy.kind == "http" else "socks5h"
        command = [
            environment(name) / "bin/python", "-m", "pip", "--proxy", proxy.url(scheme), "install", "--target",
            directory / "site", "--index-url", origin.url("/simple/", host), "--trusted-host", host,
            f"parrot=={VERSION}",
        ]  # fmt: skip
        if origin.scheme == "https":
            command[-3:-1] = ["--cert", authorityFile()]
        return sung(run(command, directory), directory / "site")

    return fetch


def _uv(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    url = proxy.url("http" if proxy.kind == "http" else "socks5h")
    command = [
        environment("uv") / "bin/uv", "pip", "install", "--python", sys.executable, "--target", directory / "site",
        "--default-index", origin.url("/simple/", host), f"parrot=={VERSION}",
    ]  # fmt: skip
    extra = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "ALL_PROXY": url, "SSL_CERT_FILE": str(authorityFile())}
    return sung(run(command, directory, extra), directory / "site")


def _curl(scheme: str) -> Client:
    def fetch(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
        requires("curl")
        command = [
            "curl", "--disable", "--silent", "--show-error", "--fail", "--noproxy", "", "--cacert", authorityFile(),
            "--proxy", proxy.url(scheme), "--output", "file", origin.url(f"/noise/{NOISE}", host),
        ]  # fmt: skip
        return digested(run(command, directory), directory / "file")

    return fetch


def _curlEither(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    return _curl("http" if proxy.kind == "http" else "socks5h")(proxy, origin, host, directory)


def _git(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    requires("git")
    url = proxy.url("http" if proxy.kind == "http" else "socks5h")
    command = [
        "git", "-c", f"http.proxy={url}", "-c", f"http.sslCAInfo={authorityFile()}",
        "clone", "--quiet", origin.url("/git/parrot.git", host), "clone",
    ]  # fmt: skip
    repositories()
    return digested(run(command, directory), directory / "clone/song")


_LIBRARIES = {
    "pysocks": """
import socket, socks, ssl, sys
from urllib.parse import unquote, urlsplit
proxy, target, authority = urlsplit(sys.argv[1]), urlsplit(sys.argv[2]), sys.argv[3]
kind = {"http": socks.HTTP, "socks5h": socks.SOCKS5, "socks4a": socks.SOCKS4}[proxy.scheme]
user = unquote(proxy.username) if proxy.username else None
password = unquote(proxy.password) if proxy.password else None
s = socks.create_connection((target.hostname, target.port), proxy_type=kind, proxy_addr=proxy.hostname,
    proxy_port=proxy.port, proxy_username=user, proxy_password=password, timeout=30)
if target.scheme == "https":
    s = ssl.create_default_context(cafile=authority).wrap_socket(s, server_hostname=target.hostname)
s.sendall(f"GET {target.path} HTTP/1.0\\r\\nHost: {target.netloc}\\r\\n\\r\\n".encode())
data = b""
while piece := s.recv(65536):
    data += piece
head, _, body = data.partition(b"\\r\\n\\r\\n")
assert head.split()[1] == b"200", head
open("file", "wb").write(body)
""",
    "httpx": """
import httpx, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
with httpx.Client(proxy=sys.argv[1], verify=context, trust_env=False, timeout=30) as client:
    answer = client.get(sys.argv[2])
    answer.raise_for_status()
    open("file", "wb").write(answer.content)
""",
    "aiohttp": """
import aiohttp, asyncio, ssl, sys
async def main():
    context = ssl.create_default_context(cafile=sys.argv[3])
    async with aiohttp.ClientSession() as session:
        async with session.get(sys.argv[2], proxy=sys.argv[1], ssl=context) as answer:
            answer.raise_for_status()
            open("file", "wb").write(await answer.read())
asyncio.run(main())
""",
    "requests": """
import requests, sys
session = requests.Session()
session.trust_env = False
session.proxies = {"http": sys.argv[1], "https": sys.argv[1]}
answer = session.get(sys.argv[2], verify=sys.argv[3], timeout=30)
answer.raise_for_status()
open("file", "wb").write(answer.content)
""",
}


def _library(name: str, socks: str) -> Client:
    def fetch(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
        url = proxy.url("http" if proxy.kind == "http" else socks)
        command = [
            environment("libraries") / "bin/python", "-c", _LIBRARIES[name], url,
            origin.url(f"/noise/{NOISE}", host), authorityFile(),
        ]  # fmt: skip
        return digested(run(command, directory), directory / "file")

    return fetch


CLIENTS: dict[str, Client] = {
    "pip": _pip("pip"),
    "pip23": _pip("pip23"),
    "uv": _uv,
    "curl": _curlEither,
    "git": _git,
    "pysocks": _library("pysocks", "socks5h"),
    "httpx": _library("httpx", "socks5h"),
    # aiohttp sends CONNECT to a SOCKS port all the same: it is told http:// here, as its users find out.
    "aiohttp": _library("aiohttp", "http"),
    "requests": _library("requests", "socks5h"),
}
"""Every client by name."""

curlSocks4a = _curl("socks4a")
pysocksSocks4a = _library("pysocks", "socks4a")
curlSocks5 = _curl("socks5")


def goal(client: str) -> str:
    """What `Fetched.digest` is when a client got all it asked for."""
    if client in ("pip", "pip23", "uv"):
        return "parrot perch"
    return hashlib.sha256(noise(100_000 if client == "git" else NOISE)).hexdigest()


def emptyDirectory() -> Path:
    """A new directory; whoever asked for it removes it."""
    return Path(tempfile.mkdtemp(prefix="pipsocks-client-"))
