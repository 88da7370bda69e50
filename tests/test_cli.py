"""The ``pipsocks`` command."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import bcrypt
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from pipsocks import __version__
from pipsocks.cli import COMMANDS, main
from pipsocks.config.load import PROXIES
from pipsocks.config.options import TABLE
from pipsocks.slugs import SLUGS
from pipsocks.upstream import parse
from tests.functional.processes import ROOT, Child, cleanEnvironment

ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


class Terminal(io.StringIO):
    """Standard input where somebody sits."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class CommandCase(SynchronousTestCase):
    """Runs commands in this process."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.environment: dict[str, str] = {}
        self.stdin: type[io.StringIO] = io.StringIO

    def write(self, text: str) -> str:
        """A configuration file."""
        path = self.directory / "pipsocks.toml"
        path.write_text(text)
        return str(path)

    def command(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        """Exit status, standard output and standard error of ``pipsocks WORDS``."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch("sys.stdin", self.stdin(typed)),
        ):
            error = self.assertRaises(SystemExit, main, list(words))
        assert isinstance(error.code, int)
        return error.code, out.getvalue(), err.getvalue()

    def told(self, *words: str, typed: str = "") -> str:
        """What a command that succeeds prints."""
        status, out, err = self.command(*words, typed=typed)
        self.assertEqual((status, err), (0, ""))
        return out

    def refused(self, *words: str, typed: str = "") -> str:
        """What a command that fails says, on standard error only, with a hint."""
        status, out, err = self.command(*words, typed=typed)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("\nhint: ", err)
        return err


class HelpTests(CommandCase):
    """Help for everything."""

    def test_help(self) -> None:
        """All commands, however it is asked for."""
        for words in ([], ["--help"], ["-h"], ["help"]):
            text = self.told(*words)
            for name in COMMANDS:
                self.assertIn(f"\n  {name} ", text)

    def test_helpOfCommands(self) -> None:
        """Each says what it takes; those with options list them with their twins."""
        for name, command in COMMANDS.items():
            text = self.told(name, "--help")
            self.assertIn(f"Usage: pipsocks {name} {command.synopsis}\n", text)
            for option in TABLE if command.options else ():
                self.assertIn(option.twin, text)

    def test_version(self) -> None:
        """Of the package."""
        self.assertEqual(self.told("--version"), f"pipsocks {__version__}\n")
        self.assertEqual(self.told("run", "--version"), f"pipsocks {__version__}\n")

    def test_unknownCommand(self) -> None:
        """The nearest is offered, and commands of later versions do not exist."""
        self.assertIn("did you mean pipsocks explain?", self.refused("explian"))
        for name in ("setup", "doctor", "why", "status", "top", "systemd"):
            self.assertIn("no such command", self.refused(name))

    def test_plainText(self) -> None:
        """No colours, and nothing else for terminals only."""
        for words in ([], ["run", "--help"], ["explain"], ["config", "--show"], ["env"]):
            self.assertNotIn("\x1b", self.told(*words))


class CheckTests(CommandCase):
    """``pipsocks check FILE``."""

    def test_right(self) -> None:
        """It says so, with its warnings; what overrides the file in the environment does not matter."""
        self.environment = {"PIPSOCKS_SOCKS": "nonsense", "X": "hunter2"}
        name = self.write(
            "upstream = ['https://u:${env:X}@a?verify=off']\n[[listener]]\nhttp = 'systemd:domain=INET:name=x'\n"
        )
        text = self.told("check", name)
        self.assertIn("verify=off", text)
        self.assertTrue(text.endswith(f"{name}: ok\n"))
        self.assertNotIn("hunter2", text)

    def test_wrong(self) -> None:
        """Every error at once: keys, types, chains, endpoints, checkers, the open proxy."""
        name = self.write(
            "jurnal = '-'\nvia = 'off'\nupstream = ['sock5://a']\nauth = 'htpasswd:/nope'\n[[listener]]\n"
            "http = '0.0.0.0:1'\nauth = []\n[[listener]]\nsocks = 'tcpp:1'\n[[listener]]\nsocks = 'tcp:x'\n"
        )
        text = self.refused("check", name)
        for line, words in (
            (1, "did you mean journal?"), (2, "via"), (3, "did you mean socks5://?"), (4, "/nope"), (6, "open proxy"),
            (9, "tcpp"), (11, "tcp:x"),
        ):  # fmt: skip
            self.assertIn(f"{name}: line {line}: ", text)
            self.assertIn(words, text)
        self.assertEqual(text.count("\nhint: "), 7)

    def test_noLogins(self) -> None:
        """A chain in the place of a listener is told without its login."""
        for endpoint in ("socks5://u:hunter2@a:1080", "hunter2@a:1080"):
            text = self.refused("check", self.write(f"[[listener]]\nhttp = '{endpoint}'\n"))
            self.assertIn("cannot listen on '***@a:1080'", text)
            self.assertNotIn("hunter2", text)

    def test_sameAddress(self) -> None:
        """Two listeners of a file that could not both be bound."""
        text = self.refused("check", self.write("[[listener]]\nhttp = '3128'\n[[listener]]\nhttp = '3128'\n"))
        self.assertIn("line 4: listener[1].http: 127.0.0.1:3128 is the address of another listener", text)
        self.assertIn("line 2: listener[0].http", text)

        twice = "[[listener]]\nhttp = 'tcp:3128:interface=hunter2@h'\n" * 2
        self.assertNotIn("hunter2", self.refused("check", self.write(twice)))

    def test_words(self) -> None:
        """One file, no more and no less."""
        self.assertIn("pipsocks check FILE", self.refused("check"))
        self.refused("check", "a", "b")
        self.assertIn("cannot read", self.refused("check", "/nope"))


class ConfigTests(CommandCase):
    """``pipsocks config --show``."""

    def test_show(self) -> None:
        """With options, environment and file; secrets are masked."""
        self.environment = {"PIPSOCKS_VIA": "no"}
        name = self.write("upstream = ['http://u:hunter2@a:1']")
        text = self.told("config", "--show", "--config", name, "--retry-total", "2")
        for words in (
            "via = false",
            "# PIPSOCKS_VIA",
            "total = 2 ",
            "# --retry-total",
            f"# {name}: line 1: upstream",
            "***@a:1",
        ):
            self.assertIn(words, text)
        self.assertNotIn("hunter2", text)

    def test_nothing(self) -> None:
        """It has one task."""
        self.assertIn("--show", self.refused("config"))
        self.assertIn("--nope", self.refused("config", "--show", "--nope"))


class EnvTests(CommandCase):
    """``pipsocks env``."""

    def test_env(self) -> None:
        """From options, environment and file."""
        self.assertIn("export https_proxy=http://127.0.0.1:3128\n", self.told("env"))
        self.assertIn("export https_proxy=http://127.0.0.1:1\n", self.told("env", "--http", "127.0.0.1:1"))
        name = self.write(
            "auth = 'htpasswd:/nope'\nupstream = ['http://u:${file:/nope}@a']\n[[listener]]\nhttp = '2'\n"
        )
        self.assertIn("http://USER:PASSWORD@127.0.0.1:2\n", self.told("env", "--config", name))
        self.environment = {"PIPSOCKS_HTTP": "3", "PIPSOCKS_SHELL": "powershell"}
        self.assertIn(" https_proxy 'http://127.0.0.1:3'\n", self.told("env", "--shell", "fish"))
        self.assertIn("$env:https_proxy = 'http://127.0.0.1:3'\n", self.told("env"))
        self.told("config", "--show")
        self.environment = {"PIPSOCKS_SHELL": "tcsh"}
        self.assertIn("PIPSOCKS_SHELL", self.refused("env"))

    def test_wrong(self) -> None:
        """An unknown shell, a bad option, nothing to tell: nothing is printed for the shell to evaluate."""
        self.assertIn("powershell", self.refused("env", "--shell", "tcsh"))
        self.refused("env", "--http", "nonsense")
        self.refused("env", "--http", "unix:/x", "--socks", "off")


class ExplainTests(CommandCase):
    """``pipsocks explain``."""

    def test_all(self) -> None:
        """Without a code all are listed; with one it is explained."""
        text = self.told("explain")
        for code, slug in SLUGS.items():
            self.assertIn(f"{code}  {slug.brief}\n", text)
            told = self.told("explain", code)
            for words in (slug.meaning, slug.remedy, slug.token, str(slug.status)):
                self.assertIn(words, told)

    def test_asPeopleTypeIt(self) -> None:
        """In lower case, with the colon it was copied with, or as the journal has it."""
        expected = self.told("explain", "PS-UP02")
        for word in ("ps-up02", "PS-UP02:", SLUGS["PS-UP02"].token):
            self.assertEqual(self.told("explain", word), expected)

    def test_unknown(self) -> None:
        """The nearest is offered."""
        self.assertIn("did you mean PS-", self.refused("explain", "PS-UP2"))
        self.assertIn("lists all", self.refused("explain", "nonsense"))


class PasswdTests(CommandCase):
    """``pipsocks passwd FILE USER``."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bcrypt, "gensalt", lambda rounds=4, prefix=b"2b", make=bcrypt.gensalt: make(4, prefix))
        self.users = str(self.directory / "users")

    def stored(self) -> dict[str, bytes]:
        """The file's users and hashes."""
        lines = Path(self.users).read_text().splitlines()
        return {name: digest.encode() for name, digest in (line.split(":") for line in lines)}

    def test_standardInput(self) -> None:
        """From a pipe one line is read."""
        self.assertEqual(self.told("passwd", self.users, "bob", typed="p w\nmore\n"), f"{self.users}: bob may log in\n")
        self.assertTrue(bcrypt.checkpw(b"p w", self.stored()["bob"]))

    def test_terminal(self) -> None:
        """From a terminal it is asked for twice, unseen."""
        self.stdin = Terminal
        for answers, said in ((["x", "y"], "differ"), (EOFError, "no password"), (["", ""], "no password")):
            with mock.patch("getpass.getpass", side_effect=answers):
                self.assertIn(said, self.refused("passwd", self.users, "bob"))
        with mock.patch("getpass.getpass", side_effect=["x", "x"]):
            self.told("passwd", self.users, "bob")
        self.assertEqual(set(self.stored()), {"bob"})

    def test_refused(self) -> None:
        """What bcrypt would cut, no password, a bad name, a missing word; a password is no word of the command."""
        self.assertIn("72 octets", self.refused("passwd", self.users, "bob", typed="x" * 73))
        self.refused("passwd", self.users, "bob", typed="")
        self.refused("passwd", self.users, "b:b", typed="x")
        self.assertIn("FILE USER", self.refused("passwd", self.users))
        self.assertNotIn("hunter2", self.refused("passwd", self.users, "bob", "hunter2"))
        self.refused("passwd", "/nope/users", "bob", typed="x")
        self.assertFalse(os.path.exists(self.users))


class RunTests(CommandCase):
    """``pipsocks run``, and how a process ends."""

    def start(self, *words: str) -> Child:
        """A process."""
        child = Child(
            [sys.executable, "-m", "pipsocks", *words], environment=ENVIRONMENT, directory=self.directory, strict=True
        )
        self.addCleanup(child.judge)
        self.addCleanup(child.stop)
        return child

    def test_run(self) -> None:
        """It prints its lines and nothing of twistd's, leaves no file, and Ctrl-C ends it quietly."""
        child = self.start("run", "--socks", "0", "--http", "0")
        child.expect("pipsocks env --http")
        child.stop(by=signal.SIGINT)
        self.assertEqual((len(child.stdout), len(child.lines)), (4, 4), child.output)
        self.assertEqual(os.listdir(self.directory), [])

    def test_wrongOptions(self) -> None:
        """They are told before anything runs."""
        self.assertIn("did you mean --socks?", self.refused("run", "--sokcs", "1"))
        child = self.start("run", "--http", "0.0.0.0:0")
        self.assertEqual((child.wait(), child.stdout), (1, []))
        self.assertIn("open proxy", child.output)

    def test_withoutPlugin(self) -> None:
        """Where twistd does not find the plugin, that is said."""
        failure = UsageError("Unknown command: pipsocks")
        with mock.patch("twisted.scripts.twistd.ServerOptions.parseOptions", side_effect=failure):
            self.assertIn("Unknown command", self.refused("run"))

    def test_runner(self) -> None:
        """The rest is twistd's."""
        with (
            mock.patch("twisted.scripts.twistd.ServerOptions.parseOptions") as parsed,
            mock.patch("twisted.scripts.twistd.runApp") as ran,
        ):
            self.told("run", "--socks", "0")
        parsed.assert_called_once_with(["--nodaemon", "--pidfile=", "pipsocks", "--socks", "0"])
        ran.assert_called_once()

    def test_brokenPipe(self) -> None:
        """A reader that has seen enough is no reason to complain."""
        process = subprocess.Popen(
            [sys.executable, "-m", "pipsocks", "explain"],
            env=cleanEnvironment(ENVIRONMENT), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.close()
        self.assertEqual(process.communicate()[1], b"")

    def test_interrupted(self) -> None:
        """Ctrl-C at a question is quiet, and what the system refuses is told as everything else."""
        with mock.patch("pipsocks.cli._dispatch", side_effect=KeyboardInterrupt):
            self.assertEqual(self.command("passwd"), (130, "", ""))
        with mock.patch("pipsocks.cli._dispatch", side_effect=PermissionError(13, "Permission denied", "x")):
            self.assertIn("x: Permission denied", self.refused("passwd"))

    def test_processWords(self) -> None:
        """Without words, the process's own are read."""
        self.patch(sys, "argv", ["pipsocks", "--version"])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(self.assertRaises(SystemExit, main).code, 0)
        self.assertIn(__version__, out.getvalue())


class SeamTests(SynchronousTestCase):
    """What two rooms that may not know each other agree on."""

    def test_proxyVariables(self) -> None:
        """The variables that are said to be ignored are those that ``--upstream env`` reads."""
        self.assertEqual(PROXIES, parse.PROXIES)
