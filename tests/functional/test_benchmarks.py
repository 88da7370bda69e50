"""The benchmark's command: that it measures, and that it fails where it must."""

from __future__ import annotations

import contextlib
import io
import re
import socket
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as command
from benchmarks import load
from benchmarks.peers import Peer
from tests.functional.processes import ROOT, cleanEnvironment, requires


def corrupting(connection: socket.socket) -> None:
    """A proxy that answers CONNECT itself, and sends back what was sent with one bit turned."""
    with connection, contextlib.suppress(OSError):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while data := connection.recv(65536):
            connection.sendall(bytes([data[0] ^ 1]) + data[1:])


class BenchmarkTests(SynchronousTestCase):
    """``python -m benchmarks``."""

    def test_quick(self) -> None:
        """One small round measures pipsocks and a peer on the same protocol, and prints the ratios."""
        requires("microsocks")
        result = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--quick", "--only", "(socks)", "--only", "microsocks"],
            cwd=ROOT,
            env=cleanEnvironment(),
            capture_output=True,
            text=True,
            timeout=240,
        )
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        for peer in ("pipsocks (socks)", "microsocks"):
            self.assertRegex(result.stdout, rf"(?m)^{re.escape(peer)} +\d")

    def test_table(self) -> None:
        """Medians over the rounds, and their ratio to ours on the same protocol."""
        ours, other = (Peer(name, "socks5", lambda: "", lambda *_: []) for name in ("pipsocks (socks)", "other"))
        rounds = [dict.fromkeys(command.FIGURES, value) for value in (1.0, 4.0, 2.0)]
        doubled = [{figure: 2 * value for figure, value in turn.items()} for turn in rounds]
        rows = command.table({ours: rounds, other: doubled}).splitlines()
        self.assertEqual(rows[2].split()[2:], ["2.00", "1.00x"] * 5)
        self.assertEqual(rows[3].split()[1:], ["4.00", "2.00x"] * 5)

    def test_bytesDiffer(self) -> None:
        """A proxy that changes a byte is caught."""
        with load.origin(corrupting) as port:
            self.assertRaises(load.BytesDiffer, load.checkBytes, "connect", port, 1)

    def test_refused(self) -> None:
        """So is one that says no, or closes."""

        def refuse(connection: socket.socket) -> None:
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 403 No\r\n\r\n")

        def close(connection: socket.socket) -> None:
            with connection:
                connection.recv(4096)

        for serve in (refuse, close):
            with load.origin(serve) as port:
                self.assertRaises(load.BytesDiffer, load.bulkSeconds, "connect", port, 1)

    def test_notMeasured(self) -> None:
        """A peer that is there and cannot be started makes the command fail, and is named."""
        broken = Peer("broken", "connect", lambda: sys.executable, lambda program, port, folder: [program, "-c", "0"])
        results, failures = command.run([broken], command.QUICK, lambda line: None)
        self.assertEqual(results, {broken: []})
        self.assertIn("broken: ", failures[0])
        self.patch(command, "PEERS", (broken,))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(command.main(["--quick"]), 1)
        self.assertIn("FAILED broken", printed.getvalue())
