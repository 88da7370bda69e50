"""The systemd unit that is shipped: systemd takes it, and its command starts pipsocks and tells when it is ready."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent
UNIT = ROOT / "contrib" / "systemd" / "pipsocks.service"
TWISTD = Path(sys.executable).with_name("twistd")


def readUnit() -> configparser.ConfigParser:
    """Read the unit; a setting that is repeated, which systemd allows, would be an error here."""
    unit = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    return unit


class UnitTests(SynchronousTestCase):
    """You copy one file, and systemd knows when pipsocks is ready, keeps it in a box and stops it gently."""

    def setUp(self) -> None:
        """Make a directory."""
        self.path = Path(tempfile.mkdtemp(prefix="pipsocks-unit-"))
        self.addCleanup(shutil.rmtree, self.path, ignore_errors=True)

    def copy(self) -> Path:
        """Write the unit with a command that exists on this machine."""
        copy = self.path / UNIT.name
        copy.write_text(UNIT.read_text().replace("/opt/pipsocks/bin/twistd", str(TWISTD)))
        return copy

    def analyze(self, *arguments: str) -> str:
        """Ask systemd-analyze, which needs no running systemd for this."""
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd is not installed")
        done = subprocess.run(
            [program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_verify(self) -> None:
        """systemd understands every line of it."""
        output = self.analyze("verify", "--man=no", str(self.copy()))
        self.assertNotIn(UNIT.name, output)

    def test_hardening(self) -> None:
        """systemd rates what the unit takes away as safe: an exposure of at most 2.0 of 10."""
        self.analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(self.copy()))

    def test_box(self) -> None:
        """The unit takes away what a proxy does not need, and leaves what pyOpenSSL's callbacks need."""
        service = readUnit()["Service"]
        self.assertEqual(service["Type"], "notify")
        self.assertEqual(service["ProtectSystem"], "strict")
        self.assertEqual(service["CapabilityBoundingSet"], "")
        for name in ("DynamicUser", "NoNewPrivileges", "PrivateDevices", "RestrictSUIDSGID"):
            self.assertEqual(service[name], "yes", name)
        self.assertNotIn("MemoryDenyWriteExecute", service)

    def test_command(self) -> None:
        """The unit's command starts, says READY once both ports are open, and ends with status 0 on SIGTERM."""
        words = shlex.split(readUnit()["Service"]["ExecStart"])
        self.assertEqual(words[0], "/opt/pipsocks/bin/twistd")
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(notify.close)
        notify.bind(str(self.path / "notify"))
        notify.settimeout(0.5)
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PIPSOCKS_")}
        environ |= {"NOTIFY_SOCKET": str(self.path / "notify")}
        environ |= {"PYTHONPATH": str(ROOT)}
        environ |= {"PIPSOCKS_SOCKS": "127.0.0.1:0", "PIPSOCKS_HTTP": "127.0.0.1:0"}
        process = subprocess.Popen(
            [str(TWISTD), *words[1:]], cwd=self.path, env=environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
        try:
            states = self.receiveUntil(notify, process, "READY=1")
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.assertIn("READY=1", states)
        self.assertEqual(process.returncode, 0, output)
        self.assertNotIn("Traceback", output)
        self.assertNotIn("Unhandled", output)

    def receiveUntil(self, notify: socket.socket, process: subprocess.Popen[str], wanted: str) -> list[str]:
        """Collect what is told to systemd until one state comes."""
        states: list[str] = []
        for _ in range(60):
            try:
                states += notify.recv(4096).decode().split("\n")
            except TimeoutError:
                if process.poll() is not None:
                    break
            if wanted in states:
                return states
        process.kill()
        raise AssertionError(f"{wanted} was not told: {process.communicate()[0]}")
