"""Starting and stopping, as an operator sees it: exit statuses, hints, readiness, the drain."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import authorityFile, certificateFile, echo
from tests.functional.processes import PATIENCE, ROOT, Child, Pipsocks, cleanEnvironment
from tests.functional.talk import askConnect, askSocks, readAll, readExactly

START = "from twisted.scripts.twistd import run; run()"


class WrongStartTests(FunctionalTestCase):
    """What cannot be started ends with status 1 and says what to do, in the foreground and as a daemon."""

    def start(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run twistd until it ends."""
        directory = self.directory()
        return subprocess.run(
            [sys.executable, "-c", START, "--pidfile", str(directory / "pid"), *arguments],
            cwd=directory,
            env=cleanEnvironment({"PYTHONPATH": str(ROOT)}),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def check(self, *options: str, names: str) -> None:
        """The same words both ways."""
        for arguments in (("-n", "pipsocks", *options), ("pipsocks", *options)):
            ended = self.start(*arguments)
            self.assertEqual(ended.returncode, 1, ended)
            self.assertIn("hint: ", ended.stderr)
            self.assertIn(names, ended.stderr)
            self.assertNotIn("Traceback", ended.stdout + ended.stderr)

    def test_busyPort(self) -> None:
        """A port that somebody else listens on, the second one: the first is let go."""
        with socket.create_server(("127.0.0.1", 0)) as busy:
            port = busy.getsockname()[1]
            self.check("--socks", "127.0.0.1:0", "--http", f"127.0.0.1:{port}", names=str(port))

    def test_openProxy(self) -> None:
        """A listener for everybody."""
        self.check("--socks", "0.0.0.0:0", "--http", "off", names="--clients")

    def test_unknownOption(self) -> None:
        """An option that does not exist."""
        self.check("--sokcs", "1080", names="--socks")

    def test_badChain(self) -> None:
        """An upstream that is none; its password is not printed."""
        chain = "sock5://me:pa55word@h:1"
        self.check("--upstream", chain, names="socks5")
        self.assertNotIn("pa55word", self.start("-n", "pipsocks", "--upstream", chain).stderr)

    def test_chainAsListener(self) -> None:
        """A chain in the place of a listener; its password is not printed."""
        ended = self.start("-n", "pipsocks", "--socks", "socks5://me:pa55word@h:1")
        self.assertIn("cannot listen on '***@h:1'", ended.stderr)
        self.assertNotIn("pa55word", ended.stdout + ended.stderr)


class ReadyTests(FunctionalTestCase):
    """What systemd is told."""

    def test_notify(self) -> None:
        """READY comes once, and both ports accept from then on; STOPPING comes at the end."""
        path = self.directory() / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(os.fspath(path))
            told.settimeout(PATIENCE)
            pipsocks = self.keep(Pipsocks(environment={"NOTIFY_SOCKET": os.fspath(path)}))
            self.assertIn(b"READY=1", told.recv(4096).split(b"\n"))
            for port in (pipsocks.socks(), pipsocks.http()):
                self.dial(port)
            pipsocks.send(signal.SIGTERM)
            self.assertIn(b"STOPPING=1", told.recv(4096).split(b"\n"))

    def test_notReady(self) -> None:
        """A start that fails is never ready."""
        path = self.directory() / "notify"
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
            socket.create_server(("127.0.0.1", 0)) as busy,
        ):
            told.bind(os.fspath(path))
            told.settimeout(0.1)
            pipsocks = self.keep(
                Pipsocks(
                    listeners=("--socks", "127.0.0.1:0", "--http", f"127.0.0.1:{busy.getsockname()[1]}"),
                    environment={"NOTIFY_SOCKET": os.fspath(path)},
                )
            )
            self.assertEqual(pipsocks.wait(), 1)
            self.assertRaises(TimeoutError, told.recv, 4096)


class StopTests(FunctionalTestCase):
    """SIGTERM, with a tunnel that runs."""

    def tunnel(self, pipsocks: Pipsocks) -> socket.socket:
        """A tunnel to an echo, in use."""
        connection = self.dial(pipsocks.http())
        self.assertEqual(askConnect(connection, "127.0.0.1", self.peer(echo).port).status, 200)
        connection.sendall(b"before")
        self.assertEqual(readExactly(connection, 6), b"before")
        return connection

    def test_nothingToDrain(self) -> None:
        """Without a tunnel it ends at once, with status 0."""
        self.assertEqual(self.pipsocks("--timeouts-drain", "600").stop(), 0)

    def test_drain(self) -> None:
        """A tunnel goes on, no new client is served, and with the tunnel's end comes the process's."""
        pipsocks = self.pipsocks("--timeouts-drain", "600")
        connection = self.tunnel(pipsocks)
        socks = pipsocks.socks()
        pipsocks.send(signal.SIGTERM)
        pipsocks.expect("stopping")
        with contextlib.suppress(ConnectionError):  # as a rule it is refused
            late = self.dial(socks)
            late.sendall(b"\x05\x01\x00")
            self.assertEqual(readAll(late), b"")
        connection.sendall(b"after")
        self.assertEqual(readExactly(connection, 5), b"after")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(readAll(connection), b"")
        connection.close()
        self.assertEqual(pipsocks.wait(), 0)
        self.assertEqual(pipsocks.session()["outcome"], "ok")

    def checkAborted(self, pipsocks: Pipsocks) -> None:
        """A tunnel that does not end is aborted, its number said, and it has its line in the journal."""
        connection = self.tunnel(pipsocks)
        pipsocks.send(signal.SIGTERM)
        self.assertRaises(ConnectionResetError, connection.recv, 1)
        self.assertEqual(pipsocks.wait(), 0)
        self.assertIn("aborted 1 connection", pipsocks.output)
        entry = pipsocks.session(seconds=1)
        self.assertEqual((entry["outcome"], entry["up"], entry["down"]), ("aborted", 6, 6))

    def test_abort(self) -> None:
        """After the time for the drain."""
        self.checkAborted(self.pipsocks("--timeouts-drain", "0.1"))

    def test_abortTLS(self) -> None:
        """The same, with TLS to the hop."""
        hop = self.faulty(options=("--tls", certificateFile()))
        chain = f"https://{hop.address}?ca={authorityFile()}"
        self.checkAborted(self.pipsocks("--timeouts-drain", "0.1", upstreams=(chain,)))

    def test_secondSignal(self) -> None:
        """A second SIGTERM does not wait."""
        pipsocks = self.pipsocks("--timeouts-drain", "600")
        connection = self.tunnel(pipsocks)
        pipsocks.send(signal.SIGTERM)
        pipsocks.expect("stopping")
        pipsocks.send(signal.SIGTERM)
        self.assertRaises(ConnectionResetError, connection.recv, 1)
        self.assertEqual(pipsocks.wait(), 0)
        self.assertEqual(pipsocks.session(seconds=1)["outcome"], "aborted")


class DaemonTests(FunctionalTestCase):
    """twistd without -n."""

    def test_daemon(self) -> None:
        """It detaches, serves, keeps its journal in twistd's log, and ends by SIGTERM."""
        directory = self.directory()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        pidFile, log = directory / "pid", directory / "log"
        started = self.keep(
            Child(
                [sys.executable, "-c", START, "--pidfile", pidFile, "--logfile", log, "pipsocks",
                 "--socks", f"127.0.0.1:{port}", "--http", "off"],
                environment={"PYTHONPATH": str(ROOT)},
                directory=directory,
                strict=True,
            )
        )  # fmt: skip
        self.assertEqual(started.wait(), 0, started.output)
        pid = int(pidFile.read_text())
        watched = os.pidfd_open(pid)
        self.addCleanup(os.close, watched)
        try:
            connection = self.dial(port)
            self.assertEqual(askSocks(connection, "127.0.0.1", self.peer(echo).port)[0], 0)
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(readAll(connection), b"")
            connection.close()
        finally:
            signal.pidfd_send_signal(watched, signal.SIGTERM)
            self.waitFor(watched)
        text = Path(log).read_text()
        self.assertIn("protocol=socks5", text)
        self.assertNotIn("Traceback", text)

    def waitFor(self, watched: int) -> None:
        """Wait until a process that is not our child has ended."""
        ready, _, _ = select.select([watched], [], [], PATIENCE)
        self.assertEqual(ready, [watched], "SIGTERM did not end the daemon")
