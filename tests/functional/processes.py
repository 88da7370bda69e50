"""Child processes of the functional tests: pipsocks itself, scripted faults, real upstream proxies of Debian."""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import SkipTest
from urllib.parse import quote

import pipsocks

ROOT = Path(pipsocks.__file__).parent.parent
PATIENCE = 30.0
"""Seconds after which a test gives a child up. Nothing passes or fails by being faster than that."""

USER, PASSWORD = "parrot", "p@ss:w%rd/?#"
"""
A login whose password breaks every client that forgets to percent-encode.

It is ASCII: urllib3 sends Latin-1 (pip, requests), httpx UTF-8.
"""

HOP_USER, HOP_PASSWORD, PLAIN_PASSWORD = "hopper", "s3cr#t@hop", "s3cret.hop"
"""The login of upstream proxies; tinyproxy's configuration takes the plain password only."""


def cleanEnvironment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The machine's environment without anything that steers proxies, pip, uv, git, curl or pipsocks."""
    steering = re.compile(
        r"(?i)(PIP|UV|GIT|CURL|SSL|REQUESTS|PIPSOCKS|NOTIFY|LISTEN|PYTHON)_.*|(.*_)?proxy|PYTHON[A-Z]+"
    )
    kept = {name: value for name, value in os.environ.items() if not steering.fullmatch(name)}
    return {**kept, "LC_ALL": "C.UTF-8", **(extra or {})}


def requires(*programs: str) -> None:
    """Skip the running test when one of `programs` is not on this machine."""
    for program in programs:
        if find(program) is None:
            raise SkipTest(f"{program} not installed")


def find(program: str) -> str | None:
    """The path of a program; the daemons of Debian are in sbin, which users do not search."""
    return shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin")))


def address(host: str, port: int) -> str:
    """``host:port`` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unusedPort(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now, for programs that cannot choose one themselves."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


class Child:
    """
    A running program whose output is collected while it runs.

    `lines` are those of standard output and standard error as they came. `strict` children are ours: they must
    never write a traceback.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: str | Path | None = None,
        strict: bool = False,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.strict = strict
        self.lines: list[str] = []
        self.stdout: list[str] = []
        self._grown = threading.Condition()
        self._open = 2
        # A test run that is killed takes its children with it, but for those that change their user (dante, squid).
        guard = ["setpriv", "--pdeathsig", "KILL", "--"] if find("setpriv") else []
        self.process = subprocess.Popen(
            [*guard, *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=cleanEnvironment(environment),
            cwd=directory,
            text=True,
            errors="backslashreplace",
        )
        self._readers = [
            threading.Thread(target=self._collect, args=(stream, own), daemon=True)
            for stream, own in ((self.process.stdout, self.stdout), (self.process.stderr, None))
        ]
        for reader in self._readers:
            reader.start()

    def _collect(self, stream: Any, own: list[str] | None) -> None:
        for line in stream:
            with self._grown:
                self.lines.append(line.rstrip("\n"))
                if own is not None:
                    own.append(line.rstrip("\n"))
                self._grown.notify_all()
        with self._grown:
            self._open -= 1
            self._grown.notify_all()
        stream.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def output(self) -> str:
        """All it has written so far."""
        with self._grown:
            return "\n".join(self.lines)

    def expect(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """The first line, now or later, in which `pattern` is found; its end or `seconds` of waiting fail the test."""
        expression, seen = re.compile(pattern), 0
        deadline = time.monotonic() + seconds
        with self._grown:
            while True:
                for line in self.lines[seen:]:
                    if match := expression.search(line):
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._open == 0 or left <= 0:
                    break
                self._grown.wait(left)
        raise AssertionError(f"{self.arguments[0]}: nothing like {pattern!r} in its output:\n{self.output}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it (to nothing else)."""
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit status, once it has ended by itself and all it wrote is in `lines`."""
        status = self.process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return status

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; one that does not heed it is killed, and the test fails."""
        if self.process.poll() is not None:
            return self.wait()
        self.process.send_signal(by)
        self.process.send_signal(signal.SIGCONT)
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait()
            raise AssertionError(f"{self.arguments}: {by.name} did not end it:\n{self.output}") from None

    def clean(self) -> None:
        """Take its files away."""

    def judge(self) -> None:
        """Fail the test if this is ours and wrote a traceback."""
        if self.strict:
            for word in ("Traceback", "Unhandled", "Exception ignored"):
                if word in self.output:
                    raise AssertionError(f"{self.arguments} wrote {word}:\n{self.output}")


class Pipsocks(Child):
    """
    pipsocks as a user starts it, on ports that the system chooses: SOCKS and HTTP on 127.0.0.1 and on ::1.

    `socks` and `http` give the port of a family (4 or 6). `journal` reads its journal.
    """

    def __init__(
        self,
        *options: str | Path,
        listeners: Sequence[str] = ("--socks", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str | Path] = (),
        start: str = "from twisted.scripts.twistd import run; run()",
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-"))
        self.journalFile = self.directory / "journal"
        arguments = [
            *prefix, sys.executable, "-c", start, "-n", "--pidfile=", "pipsocks", *listeners,
            "--timeouts-drain", "1", "--journal", self.journalFile, "--journal-format", "json", *options,
        ]  # fmt: skip
        path = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        super().__init__(arguments, environment={**path, **(environment or {})}, directory=self.directory, strict=True)

    def port(self, protocol: str, family: int = 4) -> int:
        """The port of a listener, ``SOCKS5`` or ``HTTP``, from the lines that it prints at its start."""
        host = r"\[::1\]" if family == 6 else r"127\.0\.0\.1"
        return int(self.expect(rf"(?i){protocol}\S* on {host}:(\d+)")[1])

    def socks(self, family: int = 4) -> int:
        """The SOCKS port."""
        return self.port("SOCKS5", family)

    def http(self, family: int = 4) -> int:
        """The HTTP port."""
        return self.port("HTTP", family)

    def journal(self, count: int = 1, seconds: float = PATIENCE, **fields: Any) -> list[dict[str, Any]]:
        """The sessions whose line has these `fields`, once there are at least `count` of them."""
        deadline = time.monotonic() + seconds
        while True:
            lines = self.journalFile.read_text().splitlines() if self.journalFile.exists() else []
            # A line that is still being written has no end yet.
            entries = [json.loads(line) for line in lines if line.endswith("}")]
            found = [entry for entry in entries if all(entry.get(name) == fields[name] for name in fields)]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"the journal has {len(found)} lines with {fields}, not {count}: {entries}")
            time.sleep(0.02)  # a file tells nobody that it grew

    def session(self, seconds: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """The one session with these `fields`."""
        found = self.journal(1, seconds, **fields)
        if len(found) != 1:
            raise AssertionError(f"{len(found)} sessions with {fields}: {found}")
        return found[0]

    def clean(self) -> None:
        """Take its directory away."""
        shutil.rmtree(self.directory, ignore_errors=True)


class Faulty(Child):
    """``python -m pipsocks.testing``: scripted faults in a process of their own, on `port`; `events` is its log."""

    def __init__(self, *options: str | Path, host: str = "127.0.0.1") -> None:
        arguments = [sys.executable, "-m", "pipsocks.testing", "--listen", address(host, 0), *options]
        super().__init__(arguments, environment={"PYTHONPATH": str(ROOT)}, strict=True)
        self.host = host
        self.port = int(self.expect(r"^(\d+)$")[1])
        self.address = address(host, self.port)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What has happened there so far."""
        with self._grown:
            lines = self.stdout[1:]
        events = [json.loads(line) for line in lines]
        return [event for event in events if name is None or event["event"] == name]

    def dials(self, expected: int) -> int:
        """How often it was connected to; waited for until it is as often as `expected`."""
        deadline = time.monotonic() + PATIENCE
        while (count := len(self.events("accepted"))) < expected and time.monotonic() < deadline:
            with self._grown:
                self._grown.wait(0.1)
        return count


class Upstream(Child):
    """A real upstream proxy that listens on `host` and `port`; `url` is it as a hop."""

    def __init__(
        self,
        scheme: str,
        host: str,
        port: int,
        arguments: Sequence[str | Path],
        *,
        password: str = "",
        directory: Path | None = None,
    ) -> None:
        self.host, self.port, self.directory = host, port, directory
        self.address = address(host, port)
        userinfo = f"{HOP_USER}:{quote(password, safe='')}@" if password else ""
        self.url = f"{scheme}://{userinfo}{self.address}"
        super().__init__(arguments, directory=directory)
        self._awaitListener()

    def _awaitListener(self) -> None:
        # None of the real proxies says portably when it listens: ask until it does.
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"{self.arguments} does not listen:\n{self.output}") from None
                time.sleep(0.02)

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it."""
        # squid takes two seconds to heed a SIGTERM; what it leaves behind, clean() takes away.
        return super().stop(signal.SIGKILL if "squid" in self.arguments[0] else by)

    def clean(self) -> None:
        """Take its configuration away."""
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
        for shared in Path("/dev/shm").glob(f"pipsocks{self.port}-*"):
            shared.unlink(missing_ok=True)


def _directory(kind: str) -> Path:
    # squid and dante leave root: their user must be able to read what is in here.
    path = Path(tempfile.mkdtemp(prefix=f"pipsocks-{kind}-"))
    path.chmod(0o755)
    return path


def microsocks(host: str = "127.0.0.1", login: bool = False, scheme: str = "socks5h") -> Upstream:
    """A running microsocks."""
    requires("microsocks")
    port = unusedPort(host)
    credentials = ["-u", HOP_USER, "-P", HOP_PASSWORD] if login else []
    arguments = [find("microsocks") or "", "-i", host, "-p", str(port), *credentials]
    return Upstream(scheme, host, port, arguments, password=HOP_PASSWORD if login else "")


def dante(host: str = "127.0.0.1", login: bool = False, rules: str = "", scheme: str = "socks5h") -> Upstream:
    """A running dante; `rules` stand before its rule that lets everything pass. It knows only system users."""
    requires("danted")
    if login:
        raise ValueError("dante knows only the users of the system")
    directory, port = _directory("dante"), unusedPort(host)
    everybody = "from: ::/0 to: ::/0" if ":" in host else "from: 0.0.0.0/0 to: 0.0.0.0/0"
    owner = "user.privileged: root\nuser.unprivileged: nobody\n" if os.geteuid() == 0 else ""
    file = directory / "danted.conf"
    file.write_text(
        f"logoutput: stderr\ninternal: {host} port = {port}\nexternal: {host}\n"
        f"clientmethod: none\nsocksmethod: none\n{owner}"
        f"client pass {{ {everybody} }}\n{rules}\nsocks pass {{ {everybody} }}\n"
    )
    return Upstream(scheme, host, port, [find("danted") or "", "-f", file], directory=directory)


def tinyproxy(host: str = "127.0.0.1", login: bool = False, settings: str = "") -> Upstream:
    """A running tinyproxy with further `settings`."""
    requires("tinyproxy")
    directory, port = _directory("tinyproxy"), unusedPort(host)
    credentials = f"BasicAuth {HOP_USER} {PLAIN_PASSWORD}\n" if login else ""
    file = directory / "tinyproxy.conf"
    file.write_text(
        f"Port {port}\nListen {host}\nTimeout 600\nMaxClients 200\nAllow 127.0.0.1\nAllow ::1\n"
        f"LogLevel Info\n{credentials}{settings}\n"
    )
    arguments = [find("tinyproxy") or "", "-d", "-c", file]
    return Upstream("http", host, port, arguments, password=PLAIN_PASSWORD if login else "", directory=directory)


def squid(host: str = "127.0.0.1", login: bool = False, settings: str = "", tls: Path | None = None) -> Upstream:
    """A running squid without a cache, with further `settings` before its last rule; `tls` makes it an https hop."""
    requires("squid")
    directory, port = _directory("squid"), unusedPort(host)
    rule = "http_access allow all"
    if login:
        users = directory / "users"
        hashed = subprocess.run(
            ["openssl", "passwd", "-apr1", HOP_PASSWORD], capture_output=True, text=True, check=True
        ).stdout
        users.write_text(f"{HOP_USER}:{hashed}")
        rule = (
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {users}\n"
            "auth_param basic children 1 startup=1 idle=1\n"
            "acl users proxy_auth REQUIRED\nhttp_access allow users\nhttp_access deny all"
        )
    secure = f" tls-cert={tls}" if tls is not None else ""
    file = directory / "squid.conf"
    file.write_text(
        f"{'https_port' if tls else 'http_port'} {address(host, port)}{secure}\n"
        f"pid_filename none\naccess_log none\ncache_log stdio:/dev/stderr\ncoredump_dir {directory}\n"
        "cache deny all\ncache_mem 4 MB\nmax_filedescriptors 4096\npinger_enable off\nnetdb_filename none\n"
        "shutdown_lifetime 0 seconds\nvisible_hostname squid.example\nconnect_timeout 2 seconds\n"
        f"{settings}\n{rule}\n"
    )
    scheme = "https" if tls else "http"
    # By its name squid calls its shared memory: two of one name, or one after another user's, would clash.
    arguments = [find("squid") or "", "-N", "-n", f"pipsocks{port}", "-f", file]
    return Upstream(scheme, host, port, arguments, password=HOP_PASSWORD if login else "", directory=directory)


class Sshd(Child):
    """
    An OpenSSH server on a loopback port that lets one key in, and then says only what is in `song`.

    `known` is its line for a client's ``known_hosts``, `key` the client's private key.
    """

    def __init__(self, song: bytes) -> None:
        requires("sshd", "ssh-keygen")
        self.directory = _directory("sshd")
        self.directory.chmod(0o700)
        self.port, self.key = unusedPort(), self.directory / "key"
        for name in ("host", "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.directory / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        (self.directory / "song").write_bytes(song)
        (self.directory / "authorized").write_bytes((self.directory / "key.pub").read_bytes())
        self.known = f"[127.0.0.1]:{self.port} {(self.directory / 'host.pub').read_text()}"
        file = self.directory / "sshd_config"
        file.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.directory}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.directory}/authorized\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"ForceCommand cat {self.directory}/song\n"
        )
        if os.geteuid() == 0:  # Debian makes the directory that it separates privileges in when the service starts
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        super().__init__([find("sshd") or "", "-D", "-e", "-f", file])
        self.expect("Server listening")

    def clean(self) -> None:
        """Take its keys away."""
        shutil.rmtree(self.directory, ignore_errors=True)


KINDS: dict[str, Callable[..., Upstream]] = {
    "microsocks": microsocks,
    "dante": dante,
    "tinyproxy": tinyproxy,
    "squid": squid,
}


@functools.cache
def shared(kind: str, host: str = "127.0.0.1", login: bool = False) -> Upstream:
    """An upstream that many tests use as it is; it ends with the test run."""
    upstream = KINDS[kind](host=host, login=login)
    atexit.register(upstream.clean)
    atexit.register(upstream.stop)
    return upstream
