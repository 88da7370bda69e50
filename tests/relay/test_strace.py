"""The system calls of a splice relay, looked at from outside."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

STRACE = shutil.which("strace")
ROOT = Path(__file__).parent.parent.parent


def reasonToSkip() -> str | None:
    """Why this machine can't look at system calls."""
    if not hasattr(os, "splice"):
        return "this system has no splice()"
    if STRACE is None:
        return "strace is not installed"
    if subprocess.run([STRACE, "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        return "strace may not trace here"
    return None


class SystemCallTests(TestCase):
    """Bulk is moved by splice(), a trickle by recv() and send()."""

    skip = reasonToSkip()

    def trace(self, test: str) -> list[tuple[str, int]]:
        """Run one test of the relay's in a process of its own: its calls, and what they returned."""
        log = self.mktemp()
        temporary = self.mktemp()
        assert STRACE is not None
        done = subprocess.run(
            [STRACE, "-f", "-o", os.path.abspath(log), "-e", "trace=splice,recvfrom"]
            + [sys.executable, "-m", "twisted.trial", "--temp-directory", os.path.abspath(temporary)]
            + [f"tests.relay.test_relay.SpliceRelayTests.{test}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        calls = re.findall(r"^\d+ +(splice|recvfrom)\(.*\) = (-?\d+)", Path(log).read_text(), re.MULTILINE)
        return [(name, int(result)) for name, result in calls]

    def test_bulk(self) -> None:
        """Of 16 MiB, nearly all goes through splice(): into a pipe and out again."""
        moved = sum(result for name, result in self.trace("test_bulk") if name == "splice" and result > 0)
        self.assertGreater(moved, 2 * 15 * (1 << 20))

    def test_trickle(self) -> None:
        """Single bytes are not worth a pipe."""
        self.assertEqual([call for call in self.trace("test_trickle") if call[0] == "splice"], [])
