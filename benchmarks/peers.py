"""The proxies that are measured: how each is started on a loopback port, and where its processes are."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

START_SECONDS = 30.0


def freePort() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.frozen
class Peer:
    """
    A proxy: `protocol` is ``socks5`` or ``connect``; `find` gives its program, or None where it is not installed;
    `command` makes its command line from the program, a port and a folder for its configuration.
    """

    name: str
    protocol: str
    find: Callable[[], str | None]
    command: Callable[[str, int, Path], list[str]]


@attrs.define
class Running:
    """A peer that runs."""

    peer: Peer
    port: int
    process: subprocess.Popen[bytes]

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    children.setdefault(parent, []).append(int(entry.name))
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found

    def cpuSeconds(self) -> float:
        """User and system time of all its processes so far, the finished children's included."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memoryKiB(self) -> int:
        """The proportional set size of all its processes: what they share counts once."""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total


_running: set[int] = set()
"""The process groups that run."""


@atexit.register
def _endAll() -> None:
    """Who interrupts more than once does not wait for the threads that would end them."""
    for group in list(_running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def started(command: list[str], ports: Sequence[int], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """
    Run a command in `folder`, wait until it accepts on each of `ports`, and end it by its process group afterwards.

    What it prints goes into the file ``output`` there. Raises RuntimeError where it does not listen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    with open(folder / "output", "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            start_new_session=True,
        )
    _running.add(process.pid)
    try:
        for port in ports:
            _awaitPort(process, port, folder / "output")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        _running.discard(process.pid)


@contextlib.contextmanager
def running(peer: Peer, folder: Path) -> Iterator[Running]:
    """Start `peer`, wait until it accepts, and end it by its process group afterwards."""
    program = peer.find()
    assert program is not None, f"{peer.name} is not there"
    port = freePort()
    folder.mkdir(parents=True, exist_ok=True)
    with started(peer.command(program, port, folder), (port,), folder) as process:
        yield Running(peer, port, process)


def _awaitPort(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once: {output.read_text(errors='replace')[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not listen: {output.read_text(errors='replace')[-2000:]}")


def which(name: str) -> Callable[[], str | None]:
    """Looks for a program on the path, and where Debian keeps daemons."""
    return lambda: shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def besidePython(name: str) -> Callable[[], str | None]:
    """Looks for a program that pip has installed: beside this Python, or on the path."""

    def find() -> str | None:
        beside = Path(sys.executable).parent / name
        return str(beside) if beside.exists() else shutil.which(name)

    return find


def written(path: Path, text: str) -> str:
    """Write a file, and return its path as an argument."""
    path.write_text(text)
    return str(path)


def _pipsocks(protocol: str) -> Callable[[str, int, Path], list[str]]:
    def command(program: str, port: int, folder: Path) -> list[str]:
        listeners = {"socks": "off", "http": "off", protocol: f"127.0.0.1:{port}"}
        return [
            program, "-m", "pipsocks", "run", "--journal", "off",
            "--socks", listeners["socks"], "--http", listeners["http"],
        ]  # fmt: skip

    return command


def _dante(program: str, port: int, folder: Path) -> list[str]:
    text = f"""logoutput: /dev/null
internal: 127.0.0.1 port = {port}
external: lo
clientmethod: none
socksmethod: none
client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}
"""
    return [program, "-f", written(folder / "danted.conf", text), "-p", str(folder / "danted.pid")]


def _tinyproxy(program: str, port: int, folder: Path) -> list[str]:
    text = f"""Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 4000
LogLevel Critical
Allow 127.0.0.1
"""
    return [program, "-d", "-c", written(folder / "tinyproxy.conf", text)]


def _squid(program: str, port: int, folder: Path) -> list[str]:
    text = f"""http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log none
cache_log {folder}/cache.log
pid_filename {folder}/squid.pid
coredump_dir {folder}
shutdown_lifetime 0 seconds
pinger_enable off
max_filedescriptors 16384
"""
    return [program, "-N", "-f", written(folder / "squid.conf", text)]


PEERS = (
    Peer("pipsocks (socks)", "socks5", lambda: sys.executable, _pipsocks("socks")),
    Peer("microsocks", "socks5", which("microsocks"), lambda p, port, _: [p, "-i", "127.0.0.1", "-p", str(port)]),
    Peer("dante", "socks5", which("danted"), _dante),
    Peer(
        "pproxy (socks)",
        "socks5",
        besidePython("pproxy"),
        lambda p, port, _: [p, "-l", f"socks5://127.0.0.1:{port}"],
    ),
    Peer("pipsocks (http)", "connect", lambda: sys.executable, _pipsocks("http")),
    Peer("tinyproxy", "connect", which("tinyproxy"), _tinyproxy),
    Peer("squid", "connect", which("squid"), _squid),
    Peer("pproxy (http)", "connect", besidePython("pproxy"), lambda p, port, _: [p, "-l", f"http://127.0.0.1:{port}"]),
    Peer(
        "proxy.py",
        "connect",
        besidePython("proxy"),
        lambda p, port, _: [
            p,
            "--hostname",
            "127.0.0.1",
            "--port",
            str(port),
            "--log-level",
            "ERROR",
            "--num-workers",
            "1",
        ],
    ),
)
