"""What the tests of ssh hops share: a real sshd, a server of conch's whose every message is the test's, and keys."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import SSHServerTransport
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pipsocks.model import Destination, Login, Secret
from pipsocks.upstream.dial import Network
from pipsocks.upstream.names import Names
from pipsocks.upstream.settings import SSHSettings
from pipsocks.upstream.ssh import SSHHop
from pipsocks.upstream.sshdata import Fields, number, string
from tests.functional.processes import Child, find, requires, unusedPort
from tests.loopback import PATIENCE, listen
from tests.upstream.rig import Standing, UpstreamCase, answers

DIRECT = string(b"direct-tcpip")


class Unix(Standing):
    """Time that stands still, with Unix sockets for the agent."""

    connectUNIX = staticmethod(reactor.connectUNIX)  # type: ignore[attr-defined]


def generate(kind: str, path: Path, passphrase: str = "", bits: str = "") -> Path:
    """A private key at `path`, and its public half beside it."""
    requires("ssh-keygen")
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command + (["-b", bits] if bits else []), check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return path


class Server(Child):
    """
    OpenSSH's sshd on a loopback port, which lets the holders of `keys` in.

    `known` is what a client's ``known_hosts`` says of it.
    """

    def __init__(self, directory: Path, *settings: str, keys: tuple[Path, ...] = (), host: str = "host") -> None:
        requires("sshd", "ssh-keygen")
        self.port = unusedPort()
        self._directory = directory
        hostKey = directory / host
        if not hostKey.exists():
            generate("ed25519", hostKey)
        (directory / "authorized").write_text("".join(Path(f"{key}.pub").read_text() for key in keys))
        file = directory / "sshd_config"
        file.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {hostKey}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {directory}/authorized\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
            + "".join(f"{line}\n" for line in settings)
        )
        if os.geteuid() == 0:  # Debian makes the directory that it separates privileges in when the service starts
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._start(host)

    def _start(self, host: str) -> None:
        self.known = f"[127.0.0.1]:{self.port} {(self._directory / f'{host}.pub').read_text()}"
        super().__init__([find("sshd") or "", "-D", "-e", "-f", self._directory / "sshd_config"])
        self.expect("Server listening")

    def drop(self) -> None:
        """End it and the sessions that it serves, as a machine that goes down does."""
        self.send(signal.SIGSTOP)  # it would have a word about each, and take the next client in
        for session in _descendants(self.pid):
            with suppress(ProcessLookupError):
                os.kill(session, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def restart(self, host: str = "host") -> None:
        """The same server again, on the same port, with another host key if it is told so."""
        self.drop()
        if host != "host":
            generate("ed25519", self._directory / host)
            file = self._directory / "sshd_config"
            file.write_text(
                file.read_text().replace(f"HostKey {self._directory}/host\n", f"HostKey {self._directory}/{host}\n")
            )
        self._start(host)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(child) for child in children.read_text().split()] if children.exists() else []
    return [each for child in found for each in (child, *_descendants(child))]


class SSHCase(UpstreamCase):
    """Ssh hops, with a directory for their files."""

    def setUp(self) -> None:
        """Begin with an empty directory."""
        super().setUp()
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-ssh-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.known = self.directory / "known_hosts"
        self.known.write_text("")
        self.patch(os, "environ", {**os.environ, "HOME": str(self.directory), "SSH_AUTH_SOCK": ""})

    def makeNetwork(self, **changes: Any) -> Network:
        """A network whose connections end with the test."""
        clock: Any = changes.pop("clock", None) or Unix()
        self.clock = clock
        network = Network(clock, names=Names(clock, answers(self.knownNames)), **changes)
        self.addCleanup(self._end, network)
        return network

    def _end(self, network: Network) -> Deferred[None]:
        closing = network.shared.close()
        if isinstance(self.clock, Standing):
            self.clock.advance(2)  # what does not take leave by itself
        return closing

    def real(self) -> Network:
        """A network in real time."""
        return self.makeNetwork(clock=reactor)

    def sshd(self, *settings: str, keys: tuple[Path, ...] = ()) -> Server:
        """A running sshd, which this test's ``known_hosts`` knows and its `key` opens."""
        self.key = generate("ed25519", self.directory / "key")
        server = Server(self.directory, *settings, keys=(self.key, *keys))
        self.addCleanup(server.drop)
        self.known.write_text(server.known)
        return server

    def hop(self, port: int, login: Login | None = None, **settings: Any) -> SSHHop:
        """The hop that listens on `port`."""
        settings = {"known_hosts": str(self.known), "agent": False, **settings}
        return SSHHop(Destination("127.0.0.1", port), login, SSHSettings(**settings))

    async def turns(self, ready: Callable[[], Any]) -> None:
        """Let the reactor go round until `ready` says so, and our own clock with it."""
        deadline = reactor.seconds() + PATIENCE  # type: ignore[attr-defined]
        while not ready():
            if reactor.seconds() > deadline:  # type: ignore[attr-defined]
                raise AssertionError("waited in vain")
            if isinstance(self.clock, Standing):
                self.clock.advance(0)
            await deferLater(reactor, 0.001)  # type: ignore[arg-type]

    async def within(self, waiting: Deferred[Any]) -> Any:
        """What `waiting` comes to, while our own clock takes its turns."""
        outcome: list[Any] = []
        waiting.addBoth(outcome.append)
        await self.turns(lambda: outcome)
        if hasattr(outcome[0], "raiseException"):
            outcome[0].raiseException()
        return outcome[0]

    async def bastion(self, **attributes: Any) -> Bastion:
        """A scripted server that this test's ``known_hosts`` knows."""
        bastion = Bastion()
        for name, value in attributes.items():
            setattr(bastion, name, value)
        bastion.port = await listen(self, bastion)
        self.known.write_text(bastion.known())
        self.addCleanup(bastion.drop)
        return bastion


def newKey() -> Key:
    """A host key, or a user's."""
    return Key(ed25519.Ed25519PrivateKey.generate())


class Auth(SSHService):
    """Lets in whom the bastion's `admit` likes, by user, method and the rest of the message."""

    name = b"ssh-userauth"
    _log = Logger(observer=lambda _: None)

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        fields = Fields(packet)
        user, _, method = fields.string(), fields.string(), fields.string()
        bastion: Bastion = self.transport.factory  # type: ignore[union-attr,assignment]
        bastion.logins.append((user, method))
        answer = bastion.admit(user, method, fields)
        if isinstance(answer, bytes):
            self.transport.sendPacket(answer[0], answer[1:])  # type: ignore[union-attr]
        elif answer:
            self.transport.sendPacket(52, b"")  # type: ignore[union-attr]
            self.transport.setService(Connection())  # type: ignore[union-attr]
        else:
            self.transport.sendPacket(51, string(bastion.takes) + b"\0")  # type: ignore[union-attr]


class Connection(SSHService):
    """Remembers each message, which the test answers; keep-alives are answered while the bastion `lives`."""

    name = b"ssh-connection"

    def serviceStarted(self) -> None:
        self.got: list[tuple[int, bytes]] = []
        self._bastion.connections.append(self)

    @property
    def _bastion(self) -> Bastion:
        return self.transport.factory  # type: ignore[union-attr,return-value]

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        if messageNum == 80:
            self._bastion.keepalives += 1
            if self._bastion.lives:
                self.send(82, b"")
            return
        self.got.append((messageNum, packet))

    def send(self, message: int, payload: bytes) -> None:
        """Send one message."""
        self.transport.sendPacket(message, payload)  # type: ignore[union-attr]

    def of(self, message: int) -> list[bytes]:
        """The messages of one kind that came so far."""
        return [payload for kind, payload in self.got if kind == message]

    def confirm(self, channel: int, room: int = 1 << 21, packet: int = 32768) -> None:
        """Open the channel, under a number of our own that is greater by 100."""
        self.send(91, number(channel) + number(channel + 100) + number(room) + number(packet))

    def data(self, channel: int, data: bytes) -> None:
        """Send octets of the tunnel."""
        self.send(94, number(channel) + string(data))


class Bastion(SSHFactory):
    """An ssh server of conch's, all of whose answers the test gives."""

    noisy = False

    def __init__(self) -> None:
        self.port = 0
        self.key = newKey()
        self.takes = b"publickey,password"
        self.lives = True
        self.keepalives = 0
        self.logins: list[tuple[bytes, bytes]] = []
        self.connections: list[Connection] = []
        self.transports: list[Any] = []
        self.admit: Callable[[bytes, bytes, Fields], bool | bytes] = lambda user, method, fields: True

    def known(self) -> str:
        """What a client's ``known_hosts`` says of it."""
        return f"[127.0.0.1]:{self.port} {self.key.public().toString('openssh').decode()}\n"

    def getPublicKeys(self) -> dict[bytes, Key]:
        return {b"ssh-ed25519": self.key.public()}

    def getPrivateKeys(self) -> dict[bytes, Key]:
        return {b"ssh-ed25519": self.key}

    def getPrimes(self) -> None:
        return None

    def getService(self, transport: Any, service: bytes) -> Any:
        return {b"ssh-userauth": Auth, b"ssh-connection": Connection}.get(service)

    def buildProtocol(self, addr: Any) -> Any:
        transport: Any = SSHServerTransport()
        transport._log = Logger(observer=lambda _: None)
        transport.supportedPublicKeys = [b"ssh-ed25519"]
        transport.supportedKeyExchanges = [b"curve25519-sha256"]
        transport.factory = self
        self.transports.append(transport)
        return transport

    async def drop(self) -> None:
        """End every connection."""
        for transport in self.transports:
            if transport.transport is not None:
                transport.transport.abortConnection()
        await deferLater(reactor, 0)  # type: ignore[arg-type]


def login(user: str, password: str = "") -> Login:
    """A login."""
    return Login(user, Secret(password))


def nobodyListens() -> socket.socket:
    """A socket that is bound and refuses connections."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    return bound
