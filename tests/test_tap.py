"""``twistd pipsocks``, in the foreground, as a daemon and under twist: how it starts, and how it does not."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase, TestCase

from pipsocks import __version__, tap
from tests.functional.processes import ROOT, Child

TWISTD = "from twisted.scripts.twistd import run; run()"
TWIST = "from twisted.application.twist._twist import Twist; Twist.main()"
ANY = ("--socks", "127.0.0.1:0", "--http", "127.0.0.1:0")
FORMS = {"foreground": (TWISTD, ("-n", "--pidfile=")), "daemon": (TWISTD, ()), "twist": (TWIST, ())}


class ProcessCase(SynchronousTestCase):
    """Starts processes in a directory of their own."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-"))
        self.left: list[str] = []  # what a start leaves behind: what the test itself laid down
        self.addCleanup(shutil.rmtree, self.directory, True)

    def start(
        self, form: str, *words: str, flags: tuple[str, ...] = (), environment: dict[str, str] | None = None
    ) -> Child:
        """A pipsocks in one of the three forms."""
        code, own = FORMS[form]
        child = Child(
            [sys.executable, "-c", code, *own, *flags, "pipsocks", *words],
            environment={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
            directory=self.directory,
            strict=True,
        )
        self.addCleanup(child.judge)
        self.addCleanup(child.stop)
        return child


class WrongStartTests(ProcessCase):
    """Exit status 1, and on standard error what, where and a hint; never a traceback."""

    def refused(self, *words: str, where: str, what: str, environment: dict[str, str] | None = None) -> None:
        """It does not start in any form."""
        for form in FORMS:
            child = self.start(form, *words, environment=environment)
            self.assertEqual(child.wait(), 1, (form, child.output))
            self.assertEqual(child.stdout, [], form)
            self.assertIn(where, child.output, form)
            self.assertIn(what, child.output, form)
            self.assertIn("\nhint: ", child.output, form)
            self.assertEqual(os.listdir(self.directory), self.left, form)

    def test_busyPort(self) -> None:
        """A port that is taken."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.refused("--http", str(port), "--socks", "0", where="--http", what=f"tcp:{port}:interface=127.0.0.1")

    def test_badOption(self) -> None:
        """An option that does not exist."""
        self.refused("--upstrem", "direct", where="--upstrem", what="did you mean --upstream?")

    def test_badEndpoint(self) -> None:
        """A description that Twisted does not know."""
        self.refused("--socks", "tcpp:1", where="--socks", what="tcpp")

    def test_openProxy(self) -> None:
        """A listener that would serve everybody."""
        self.refused("--socks", "0.0.0.0:0", where="--socks", what="open proxy")

    def test_badAuth(self) -> None:
        """A file of users that is not there."""
        self.refused(*ANY, "--auth", "htpasswd:/nope", where="/nope", what="No such file")

    def test_unreadableFile(self) -> None:
        """A configuration that is not there, named by the environment."""
        self.refused(where="/nope", what="cannot read", environment={"PIPSOCKS_CONFIG": "/nope"})

    def test_invalidFile(self) -> None:
        """A configuration with two errors, both told with their lines."""
        (self.directory / "p.toml").write_text("via = 'off'\n[retry]\ntotel = 1\n")
        self.left = ["p.toml"]
        self.refused("--config", "p.toml", where="p.toml: line 1: via", what="p.toml: line 3: retry.totel")

    def test_journal(self) -> None:
        """A journal that cannot be opened."""
        self.refused(*ANY, "--journal", "/nope/x", where="/nope/x", what="cannot open")


class StartTests(ProcessCase):
    """Where the lines go."""

    def test_foreground(self) -> None:
        """Only ours are printed: one for each listener, one for the chains, how to set a shell up."""
        child = self.start("foreground", *ANY)
        child.expect("pipsocks env --http")
        self.assertEqual(child.stop(), 0)
        self.assertEqual(len(child.lines), 4, child.output)
        for line, words in zip(
            child.stdout, ("SOCKS5 on 127", "HTTP on 127", "upstream direct", 'eval "$('), strict=True
        ):
            self.assertIn(words, line)
        self.assertEqual(os.listdir(self.directory), [])

    def test_logfile(self) -> None:
        """Who asks for twistd's log gets it."""
        child = self.start("foreground", *ANY, flags=("--logfile", "-"))
        child.expect("pipsocks env --http")
        child.expect("reactor class")
        child.stop()

    def test_daemon(self) -> None:
        """A daemon's lines and journal are in twistd's log; it has detached and serves."""
        child = self.start("daemon", *ANY)
        self.assertEqual(child.wait(), 0, child.output)
        self.assertEqual(child.output, "")
        log, pidfile = self.directory / "twistd.log", self.directory / "twistd.pid"
        self.addCleanup(self.end, pidfile)
        self.wait(lambda: log.exists() and "pipsocks env" in log.read_text())
        port = int(log.read_text().partition("HTTP on 127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"400", client.recv(1000))
        self.wait(lambda: "not_a_proxy_request" in log.read_text())
        self.assertNotIn("Traceback", log.read_text())

    def end(self, pidfile: Path) -> None:
        """End the daemon, and wait until it has taken its file away."""
        if pidfile.exists():
            os.kill(int(pidfile.read_text()), signal.SIGTERM)
            self.wait(lambda: not pidfile.exists())

    def wait(self, isSo: Any) -> None:
        """Until a file says so: a daemon tells nobody."""
        deadline = time.monotonic() + 30
        while not isSo():
            if time.monotonic() > deadline:
                self.fail("it never did")
            time.sleep(0.02)

    def test_twist(self) -> None:
        """Under Twisted's other runner."""
        child = self.start("twist", *ANY)
        child.expect("pipsocks env --http")
        child.stop()

    def test_helpAndVersion(self) -> None:
        """On standard output, with status 0."""
        child = self.start("foreground", "--help")
        self.assertEqual(child.wait(), 0)
        self.assertIn("PIPSOCKS_UPSTREAM", "\n".join(child.stdout))
        child = self.start("foreground", "--version")
        self.assertEqual((child.wait(), child.stdout), (0, [f"pipsocks {__version__}"]))


class OptionsTests(SynchronousTestCase):
    """The options, in this process."""

    def setUp(self) -> None:
        self.patch(os, "environ", {})
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def options(self, parent: usage.Options | None, *words: str) -> tap.Options:
        """What the words come to, under a parent's options."""
        options = tap.Options()
        options.parent = parent
        options.parseOptions(list(words))
        return options

    def parent(self, **values: Any) -> usage.Options:
        """Twistd's options."""
        parent = usage.Options()
        parent.update({"nodaemon": 1, "debug": False, "logger": None, "logfile": None, "syslog": 0, **values})
        return parent

    def test_settings(self) -> None:
        """They are read at once, and can be read again."""
        options = self.options(None, "--no-via")
        self.assertFalse(options.settings.via)
        self.assertEqual(options.load(), options.settings)

    def test_commandLine(self) -> None:
        """Without words, the process's own are read."""
        self.patch(sys, "argv", ["x", "--no-via"])
        options = tap.Options()
        options.parseOptions()
        self.assertFalse(options.settings.via)

    def test_exits(self) -> None:
        """Help and version end the process, and so does what is wrong."""
        for words, status, out, err in (
            (["--help"], 0, "--upstream CHAIN", ""), (["--version"], 0, __version__, ""), (["--nope"], 1, "", "--nope"),
        ):  # fmt: skip
            error = self.assertRaises(SystemExit, self.options, None, *words)
            self.assertEqual(error.code, status)
            self.assertIn(out, self.out.getvalue())
            self.assertIn(err, self.err.getvalue())
        self.assertNotIn("Usage", self.err.getvalue())

    def test_unexpectedError(self) -> None:
        """What the system refuses unforeseen is told in the same way."""
        with mock.patch("pipsocks.tap.load", side_effect=OSError(24, "Too many open files", "x")):
            self.assertEqual(self.assertRaises(SystemExit, self.options, None).code, 1)
        self.assertIn("pipsocks: x: Too many open files\nhint: ", self.err.getvalue())

    def test_quiet(self) -> None:
        """In the foreground twistd's own lines are kept back, unless they were asked for."""
        quiet = f"{tap.__name__}.errorsOnly"
        for values, logger in (
            ({}, quiet), ({"nodaemon": 0}, None), ({"nodaemon": 0, "debug": True}, quiet), ({"logfile": "-"}, None),
            ({"syslog": 1}, None), ({"logger": "mine"}, "mine"),
        ):  # fmt: skip
            parent = self.parent(**values)
            self.options(parent)
            self.assertEqual(parent["logger"], logger, values)
        twist = usage.Options()
        self.assertTrue(self.options(twist).isForeground())
        self.assertEqual(twist, {})

    def test_observer(self) -> None:
        """Warnings and errors are seen, on standard error; nothing else is."""
        observer = tap.errorsOnly()
        for level in (LogLevel.info, LogLevel.warn, LogLevel.critical):
            event = {"log_level": level, "log_format": f"this is {level.name}", "log_time": 0.0, "log_namespace": "x"}
            observer(event)
        self.assertNotIn("this is info", self.err.getvalue())
        self.assertIn("this is warn", self.err.getvalue())
        self.assertIn("this is critical", self.err.getvalue())


class ServiceTests(TestCase):
    """The service, in this process."""

    def make(self, *words: str) -> IService:
        """What the words come to."""
        with mock.patch.dict(os.environ, clear=True):
            options = tap.Options()
            options.parseOptions(list(words))
            return tap.makeService(options)

    def test_service(self) -> Deferred[None]:
        """It listens as soon as it is made."""
        self.patch(sys, "stdout", io.StringIO())
        service = self.make(*ANY)
        service.startService()
        return service.stopService()  # type: ignore[no-any-return]

    def test_failures(self) -> None:
        """Where it cannot, the process ends."""
        for failure, said in ((OSError(1, "Nope"), "pipsocks: Nope"), (OSError("odd"), "pipsocks: odd")):
            self.patch(sys, "stderr", err := io.StringIO())
            with mock.patch("pipsocks.service.makeService", side_effect=failure):
                self.assertEqual(self.assertRaises(SystemExit, self.make).code, 1)
            self.assertIn(said, err.getvalue())

    def test_busy(self) -> None:
        """A busy port is a problem like any other."""
        self.patch(sys, "stderr", err := io.StringIO())
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertEqual(self.assertRaises(SystemExit, self.make, "--socks", str(port), "--http", "0").code, 1)
        self.assertIn("pipsocks: --socks: cannot listen", err.getvalue())

    def test_says(self) -> None:
        """Lines go to standard output as it was; a reader that left is no error."""
        out = io.StringIO()
        say = tap._printer(out)
        say("one")
        self.assertEqual(out.getvalue(), "one\n")
        out.close()
        say("two")
