"""The proxies that are asked: how each is started by itself, with a configuration of its own that allows loopback."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs

import pipsocks
from conformance.behaviour import HASTE, HASTY, LOGIN, PASSWORD, USER, Address

START_SECONDS: Final = 30.0
ROOT: Final = Path(__file__).parent.parent
SOCKS: Final = ("socks5", "socks4", "socks4a")
HTTP: Final = ("connect", "forward")

Command = Callable[[str, str, int, int, Path], list[str]]
"""Program, variant, port for SOCKS, port for HTTP and folder in; the command line out."""


@attrs.frozen
class Peer:
    """
    One proxy.

    `protocols` are those that it speaks at all. `find` gives its program, or None where it is not installed. `without`
    says for each variant that it has not got why; what is said of `HASTY` also stands for a time that cannot be set,
    and then it is asked as it is.
    """

    name: str
    protocols: tuple[str, ...]
    find: Callable[[], str | None]
    version: Callable[[str], str]
    command: Command
    without: dict[str, str] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Running:
    """A peer that runs."""

    peer: Peer
    process: subprocess.Popen[bytes]
    socks: int
    http: int
    output: Path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def address(self, protocol: str) -> Address:
        """Where it speaks that."""
        return Address(protocol, "127.0.0.1", self.socks if protocol in SOCKS else self.http)


def _freePort() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(peer: Peer, variant: str) -> Iterator[Running]:
    """Start `peer` afresh, wait until it accepts, and end it by its process group afterwards."""
    program = peer.find()
    assert program is not None, f"{peer.name} is not there"
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # some leave root, and must still read their configuration
        socks, http = _freePort(), _freePort()
        output = folder / "output"
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        with output.open("wb") as file:
            process = subprocess.Popen(
                peer.command(program, variant, socks, http, folder),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=folder,
                env={**kept, "HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
                start_new_session=True,
            )
        proxy = Running(peer, process, socks, http, output)
        try:
            for protocols, port in ((SOCKS, socks), (HTTP, http)):
                if set(protocols) & set(peer.protocols):
                    _awaitPort(proxy, port)
            yield proxy
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(3)
    with contextlib.suppress(ProcessLookupError):  # children of some outlive their parent
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _awaitPort(proxy: Running, port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and proxy.alive:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    said = proxy.output.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{proxy.peer.name} does not listen: {said}")


def _which(name: str) -> Callable[[], str | None]:
    return lambda: shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def _module(name: str) -> Callable[[], str | None]:
    return lambda: sys.executable if importlib.util.find_spec(name) is not None else None


def _package(name: str) -> Callable[[str], str]:
    """The version of Debian's package; what the program says of itself where there is none."""

    def version(program: str) -> str:
        with contextlib.suppress(OSError):
            done = subprocess.run(
                ["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False
            )
            if done.returncode == 0 and done.stdout:
                return f"{done.stdout} (Debian)"
        done = subprocess.run([program, "-v"], capture_output=True, text=True, check=False, timeout=10)
        return (done.stdout + done.stderr).partition("\n")[0][:60] or "unknown"

    return version


def _distribution(name: str) -> Callable[[str], str]:
    return lambda _: importlib.metadata.version(name)


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o644)
    return str(path)


def _pipsocks(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    command = [program, "-m", "pipsocks", "run", "--journal", "off", "--timeouts-drain", "0.1"]
    command += ["--socks", f"127.0.0.1:{socks}", "--http", f"127.0.0.1:{http}"]
    if variant == LOGIN:
        command += ["--auth", f"htpasswd:{_written(folder / 'users', users())}"]
    if variant == HASTY:
        command += ["--timeouts-handshake", str(HASTE)]
    return command


def users() -> str:
    """An htpasswd file with the one user."""
    import bcrypt

    return f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n"


def _microsocks(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    login = ["-u", USER, "-P", PASSWORD] if variant == LOGIN else []
    return [program, "-i", "127.0.0.1", "-p", str(socks), *login]


def _dante(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    owner = "user.privileged: root\nuser.unprivileged: nobody\n" if os.geteuid() == 0 else ""
    haste = f"timeout.negotiate: {HASTE}\n" if variant == HASTY else ""
    text = f"""logoutput: stderr
internal: 127.0.0.1 port = {socks}
external: lo
clientmethod: none
socksmethod: none
{owner}{haste}client pass {{ from: 0/0 to: 0/0 }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
    return [program, "-f", _written(folder / "danted.conf", text), "-p", str(folder / "danted.pid")]


def _tinyproxy(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    login = f"BasicAuth {USER} {PASSWORD}\n" if variant == LOGIN else ""
    text = f"""Port {http}
Listen 127.0.0.1
Timeout {HASTE if variant == HASTY else 600}
MaxClients 400
LogLevel Critical
Allow 127.0.0.1
{login}"""
    return [program, "-d", "-c", _written(folder / "tinyproxy.conf", text)]


def _squid(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    rule = "http_access allow all"
    if variant == LOGIN:
        crypted = subprocess.run(
            ["openssl", "passwd", "-apr1", PASSWORD], capture_output=True, text=True, check=True
        ).stdout
        file = _written(folder / "users", f"{USER}:{crypted}")
        rule = (
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {file}\n"
            "auth_param basic children 1 startup=1 idle=1\n"
            "acl users proxy_auth REQUIRED\nhttp_access allow users\nhttp_access deny all"
        )
    haste = f"request_start_timeout {HASTE} seconds\nrequest_timeout {HASTE} seconds\n" if variant == HASTY else ""
    text = f"""http_port 127.0.0.1:{http}
pid_filename none
access_log none
cache_log stdio:/dev/stderr
coredump_dir {folder}
cache deny all
cache_mem 8 MB
max_filedescriptors 4096
pinger_enable off
netdb_filename none
shutdown_lifetime 0 seconds
visible_hostname squid.example
{haste}{rule}
"""
    # By its name squid calls its shared memory: two of one name would clash.
    return [program, "-N", "-n", f"conformance{http}", "-f", _written(folder / "squid.conf", text)]


def _pproxy(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    login = f"#{USER}:{PASSWORD}" if variant == LOGIN else ""
    return [
        program, "-m", "pproxy",
        "-l", f"socks4+socks5://127.0.0.1:{socks}{login}",
        "-l", f"http://127.0.0.1:{http}{login}",
    ]  # fmt: skip


def _proxyPy(program: str, variant: str, socks: int, http: int, folder: Path) -> list[str]:
    command = [program, "-m", "proxy", "--hostname", "127.0.0.1", "--port", str(http), "--num-workers", "1"]
    command += ["--num-acceptors", "1", "--log-level", "ERROR"]
    if variant == LOGIN:
        command += ["--basic-auth", f"{USER}:{PASSWORD}"]
    if variant == HASTY:
        command += ["--timeout", str(HASTE)]
    return command


OURS: Final = "pipsocks"
_UNSET: Final = {HASTY: "no time can be set for it"}
PEERS: Final = (
    Peer(OURS, SOCKS + HTTP, lambda: sys.executable, lambda _: pipsocks.__version__, _pipsocks),
    Peer(
        "dante", SOCKS[:2], _which("danted"), _package("dante-server"), _dante,
        {LOGIN: "its logins are those of the system's users"},
    ),
    Peer("microsocks", SOCKS[:1], _which("microsocks"), _package("microsocks"), _microsocks, _UNSET),
    Peer("squid", HTTP, _which("squid"), _package("squid"), _squid),
    Peer("tinyproxy", HTTP, _which("tinyproxy"), _package("tinyproxy-bin"), _tinyproxy),
    Peer("pproxy", SOCKS[:2] + HTTP, _module("pproxy"), _distribution("pproxy"), _pproxy, _UNSET),
    Peer("proxy.py", HTTP, _module("proxy"), _distribution("proxy.py"), _proxyPy),
)  # fmt: skip
"""Ours first."""
