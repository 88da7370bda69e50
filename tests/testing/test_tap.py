"""``twistd pipsocks-faults``: how it starts, and how it does not."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceMaker
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.plugin import getPlugins
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pipsocks.model import StartError
from pipsocks.testing import tap
from pipsocks.testing.config import read
from pipsocks.testing.faults import TABLE, written
from tests.functional.processes import ROOT, Child
from tests.functional.talk import readAll

TWISTD = "from twisted.scripts.twistd import run; run()"
FILE = '[upstream.hk1]\nfaults = ["close"]\n[echo.back]\nlisten = "[::1]:0"\n'


class ProcessCase(SynchronousTestCase):
    """Starts processes in a directory of their own."""

    def setUp(self) -> None:
        """Make the directory, and the file in it."""
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        (self.directory / "faults.toml").write_text(FILE)

    def start(self, *words: str, flags: tuple[str, ...] = ("-n", "--pidfile=")) -> Child:
        """A twistd."""
        child = Child(
            [sys.executable, "-c", TWISTD, *flags, "pipsocks-faults", *words],
            environment={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            directory=self.directory,
            strict=True,
        )
        self.addCleanup(child.judge)
        self.addCleanup(child.stop)
        return child


class StartTests(ProcessCase):
    """As a user does it."""

    def test_foreground(self) -> None:
        """It says where each listener is, then one JSON object for each event, and nothing of twistd's own."""
        child = self.start("--config", "faults.toml")
        port = int(child.expect(r"^hk1: upstream on 127\.0\.0\.1:(\d+): close$")[1])
        echo = int(child.expect(r"^back: echo on \[::1\]:(\d+): none$")[1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            self.assertEqual(readAll(connection), b"")
        with socket.create_connection(("::1", echo)) as connection:
            connection.sendall(b"song")
            connection.shutdown(socket.SHUT_WR)
            self.assertEqual(readAll(connection), b"song")
        child.expect('"listener": "back", "connection": 1, "reason"')
        self.assertIn(child.stop(), (0, -signal.SIGTERM))  # as twistd of that version has it
        events = [json.loads(line) for line in child.lines[2:]]
        self.assertEqual([each["event"] for each in events], ["accepted", "lost", "accepted", "ended", "lost"])
        self.assertEqual({each["listener"] for each in events}, {"hk1", "back"})

    def test_daemon(self) -> None:
        """As a daemon the lines go into twistd's log, it serves, and SIGTERM ends it with its pidfile."""
        child = self.start("--config", "faults.toml", flags=())
        self.assertEqual(child.wait(), 0)
        log, pid = self.directory / "twistd.log", int((self.directory / "twistd.pid").read_text())
        self.watched = os.pidfd_open(pid)
        self.addCleanup(os.close, self.watched)
        self.addCleanup(self.end)
        said = log.read_text()
        self.assertIn("hk1: upstream on 127.0.0.1:", said)
        # twistd reports success before its reactor runs, and until then a SIGTERM kills it without a word.
        port = int(said.partition("hk1: upstream on 127.0.0.1:")[2].partition(":")[0])
        with socket.create_connection(("127.0.0.1", port), 60) as connection:
            self.assertEqual(readAll(connection), b"")
        self.end()
        self.assertFalse((self.directory / "twistd.pid").exists())

    def end(self) -> None:
        """End the daemon, which is no child of ours, and wait for that."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.watched, signal.SIGTERM)
        self.assertEqual(select.select([self.watched], [], [], 60)[0], [self.watched], "it does not end")

    def test_help(self) -> None:
        """The help lists every fault with its meaning."""
        child = self.start("--help")
        self.assertEqual(child.wait(), 0)
        for name, row in TABLE.items():
            self.assertIn(f"\n  {written(name)}", child.output)
            self.assertIn(row.about[1:40], " ".join(child.output.split()))


class WrongStartTests(ProcessCase):
    """Exit status 1, and on standard error what, where and a hint; never a traceback."""

    def refused(self, *words: str, where: str = "", what: str = "") -> None:
        """It does not start."""
        for flags in (("-n", "--pidfile="), ()):
            child = self.start(*words, flags=flags)
            self.assertEqual(child.wait(), 1, child.output)
            self.assertEqual(child.stdout, [])
            self.assertRegex(child.output, f"^pipsocks-faults: {where}")
            self.assertIn(what, child.output)
            self.assertIn("\nhint: ", child.output)

    def test_options(self) -> None:
        """No file, one that is not there, an option that is not there, a word too many."""
        self.refused(where="--config: ", what="no file of faults")
        self.refused("--config", "none.toml", where="none.toml: ", what="No such file")
        self.refused("--conf", what="--conf")
        self.refused("--config", "faults.toml", "more", what="'more'")

    def test_file(self) -> None:
        """All that is wrong with the file, at once."""
        (self.directory / "wrong.toml").write_text('[echo.a]\nfaults = ["rset"]\n[echo.b]\nsize = 1\n')
        self.refused("--config", "wrong.toml", where=r"wrong\.toml: echo\.a\.faults\[0\]: ", what="did you mean reset?")

    def test_taken(self) -> None:
        """A port that somebody has."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            (self.directory / "taken.toml").write_text(f'[echo.a]\n[echo.b]\nlisten = "{address}"\n')
            self.refused(
                "--config", "taken.toml", where="b: ", what=f"cannot listen on {address}: Address already in use"
            )

    def test_log(self) -> None:
        """A log that cannot be written."""
        (self.directory / "log.toml").write_text('log = "none/events"\n[echo.a]\n')
        self.refused("--config", "log.toml", where="none/events: ", what="cannot write the log")


class TapTests(TestCase):
    """The same in this process."""

    def setUp(self) -> None:
        """A file."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "faults.toml"

    def test_plugin(self) -> None:
        """twistd finds it."""
        [maker] = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "pipsocks-faults"]
        self.assertIs(maker.options, tap.Options)

    async def test_logFile(self) -> None:
        """Events go to the file that you name, and to nowhere without one."""
        for log in (str(self.directory / "events"), ""):
            self.file.write_text(f'log = "{log}"\n[echo.a]\nfaults = ["close"]\n')
            said: list[str] = []
            service: Any = tap.build(reactor, read(str(self.file)), said.append)
            service.startService()
            port = int(said[0].rpartition(": ")[0].rpartition(":")[2])
            connection = socket.create_connection(("127.0.0.1", port))
            self.addCleanup(connection.close)
            self.assertEqual(await deferToThread(readAll, connection), b"")  # it has been closed, which is an event
            await service.stopService()
            self.assertEqual(len(said), 1)
        self.assertIn('"listener": "a", "connection": 1', (self.directory / "events").read_text())

    async def test_noneIsLeft(self) -> None:
        """Where one listener cannot be had, the others are given up again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            self.file.write_text(f'[echo.a]\n[echo.b]\nlisten = "{address}"\n')
            self.assertRaises(StartError, tap.build, reactor, read(str(self.file)), print)

    def test_options(self) -> None:
        """In the foreground twistd's own lines are left out, unless somebody asked where they go."""
        self.file.write_text(FILE)
        for parent, expected in (
            ({"nodaemon": True, "logger": None, "logfile": None}, "pipsocks.testing.tap.errorsOnly"),
            ({"nodaemon": True, "logger": None, "logfile": "log"}, None),
            ({"nodaemon": False, "logger": None, "logfile": None}, None),
        ):
            options: Any = tap.Options()
            options.parent = parent
            options.parseOptions(["--config", str(self.file)])
            self.assertEqual(parent["logger"], expected)
            self.assertIsInstance(options, usage.Options)
        self.assertTrue(callable(tap.errorsOnly()))

    def test_readerLeft(self) -> None:
        """A reader of standard output that left is no error."""
        read_, write = os.pipe()
        os.close(read_)
        out = os.fdopen(write, "w")
        tap._printer(out)("a line")
        with self.assertRaises(OSError):
            out.close()
