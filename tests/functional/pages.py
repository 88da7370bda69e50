"""
The how-tos of docs/ and how they are run: what stands on a page, and what a test puts in its place.

What stands on a page is taken from the page itself. Only what no test can have is put in its place: the host and port
of an upstream gives way to a port of loopback where one listens that fails as the test says (`Page.places`), and
``/etc/pipsocks/`` to a directory with the passwords in it. Destinations keep their names: upstreams know where they
are, and so does the name server that pipsocks asks.
"""

from __future__ import annotations

import functools
import re
import shlex
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from pipsocks.observe.journal import textLine
from tests.functional.case import FunctionalTestCase
from tests.functional.clients import Fetched, environment, run
from tests.functional.origins import (
    PACKAGES,
    VERSION,
    Origin,
    authority,
    authorityFile,
    scratch,
    wheelName,
)
from tests.functional.processes import PATIENCE, ROOT, Child, Pipsocks, cleanEnvironment, find, requires, unusedPort
from tests.functional.talk import askConnect

DOCS = ROOT / "docs"
NAMES = ("index.example", "files.example", "index.corp.example", "www.corp.example", "parrot.onion")
"""The destinations of the pages."""

NAME_SERVER = """
import socket, sys
ask = socket.getaddrinfo
def answer(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else str(host)
    if name.strip(".0123456789"):
        print("looked up", name, file=sys.stderr, flush=True)
    return ask("127.0.0.1" if name.endswith(".example") else host, *rest, **named)
socket.getaddrinfo = answer
"""
"""Says which names it was asked for; all below ``.example`` are this machine."""

TWISTD = "from twisted.scripts.twistd import run; run()"
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
TUNNEL_FAILED = "Tunnel connection failed: "
"""What Python's HTTP client, and so pip, writes before status and reason of a refused CONNECT."""


@functools.cache
def certificateFile() -> Path:
    """Key and certificate of every destination, in one file."""
    path = scratch() / "names.pem"
    authority().issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


@functools.cache
def _loopbackCertificate() -> Path:
    path = scratch() / "loopback.pem"
    authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


class Site(Origin):
    """The destinations, all of them on one port: a package index, and files."""

    def __init__(self) -> None:
        super().__init__(tls=True)

    def _serve(self, host: str, context: ssl.SSLContext | None) -> Any:
        assert context is not None
        context.load_cert_chain(certificateFile())
        return super()._serve(host, context)


@attrs.define
class Page:
    """
    A page of docs/.

    @ivar places: what stands on it, and what a test puts there instead.
    """

    text: str
    places: dict[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, name: str) -> Page:
        """The page of that name."""
        return cls((DOCS / f"{name}.rst").read_text())

    def there(self, text: str) -> str:
        """`text` of the page, as the test has it."""
        for name, place in self.places.items():
            text = text.replace(name, place)
        return text

    def back(self, text: str) -> str:
        """`text` of the test, as the page has it."""
        for name, place in self.places.items():
            text = text.replace(place, name)
        return text

    def _blocks(self, before: str) -> list[str]:
        found = re.findall(rf"^{before}\n\n((?:[ ]{{3,}}.*\n|\n)+)", self.text, re.MULTILINE)
        return [textwrap.dedent(block).strip("\n") for block in found]

    @property
    def files(self) -> list[str]:
        """The configurations, in their order."""
        return self._blocks(r"\.\. code-block:: toml")

    @property
    def lines(self) -> list[str]:
        """The lines of journals, logs and clients that it shows."""
        return [line for block in self._blocks(r"\.\. code-block:: text") for line in block.splitlines()]

    @property
    def commands(self) -> list[list[str]]:
        """The commands of ours, in words."""
        blocks = self._blocks(r"(?:.*[^.]|)::")
        return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("pipsocks ")]

    def line(self, *pieces: str) -> str:
        """The one line that has these pieces."""
        (found,) = [line for line in self.lines if all(piece in line for piece in pieces)]
        return found


def _timeless(text: str) -> str:
    return re.sub(r"seconds=[\d.]+", "seconds=_", re.sub(r"\d+(\.\d+)?ms", "_ms", text))


class HowToTestCase(FunctionalTestCase):
    """
    A page, and what it needs.

    Each test calls `upstreams`, then `write` or `command`, then `start`.
    """

    name: str
    hops: Mapping[str, str]
    """The upstreams of the page, by what their listener is called in the test."""

    tls = ""
    """The one of them that is reached by TLS."""

    def setUp(self) -> None:
        """Read the page, and serve what its clients want."""
        requires("curl")
        self.page = Page.of(self.name)
        self.site = Site()
        self.addCleanup(self.site.stop)
        self.secrets = self.directory()
        for name in re.findall(r"\$\{file:/etc/pipsocks/(\w+)\}", self.page.text):
            (self.secrets / name).write_text("s3cret\n")
        self.page.places = {"/etc/pipsocks/": f"{self.secrets}/"}

    def upstreams(self, **faults: list[str]) -> Child:
        """An upstream for each of the page's: healthy, or with `faults`."""
        where = f'"127.0.0.1:{self.site.port}"'
        hosts = ", ".join(f'"{name}:{port}" = {where}' for name in NAMES for port in (443, self.site.port))
        tables = []
        for name in self.hops:
            table = f"[upstream.{name}]\nfaults = {faults.get(name, [])}\nhosts = {{ {hosts} }}\n"
            tables.append(table + (f'tls = "{_loopbackCertificate()}"\n' if name == self.tls else ""))
        file = self.directory() / "faults.toml"
        file.write_text("\n".join(tables))
        arguments = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "pipsocks-faults", "--config", str(file)]
        child = self.keep(Child(arguments, environment=ENVIRONMENT, strict=True))
        for name, place in self.hops.items():
            self.page.places[place] = child.expect(rf"^{name}: upstream(?:, TLS)? on (\S+): ")[1]
        return child

    def write(self, *blocks: str) -> Path:
        """The page's file, judged by ``pipsocks check`` as the page says."""
        file = self.directory() / "pipsocks.toml"
        file.write_text(self.page.there("\n\n".join(blocks)))
        self.page.places["pipsocks.toml"] = str(file)
        self.assertIn(["pipsocks", "check", "pipsocks.toml"], self.page.commands)
        checked = subprocess.run(
            [sys.executable, "-m", "pipsocks", "check", file],
            env=cleanEnvironment(ENVIRONMENT),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))
        self.assertTrue(checked.stdout.endswith(": ok\n"), checked.stdout)
        return file

    def start(self, *words: str) -> Pipsocks:
        """Carry out the page's command, ``pipsocks run`` with these words, or with the file."""
        command = ["pipsocks", "run", *(words or ("--config", "pipsocks.toml"))]
        self.assertIn(command, self.page.commands)
        child = self.pipsocks(
            *map(self.page.there, command[2:]),
            environment={"SSL_CERT_FILE": str(authorityFile())},
            start=NAME_SERVER + TWISTD,
        )
        self.addCleanup(lambda: self.assertNotIn("s3cret", child.output + child.journalFile.read_text()))
        return child

    def command(self, *pieces: str) -> list[str]:
        """The options of the page's command that has these pieces."""
        (found,) = [words for words in self.page.commands if all(piece in words for piece in pieces)]
        return found[2:]

    # what clients do

    def curl(self, pipsocks: Pipsocks, url: str, *options: str) -> Fetched:
        """What curl gets."""
        command = [
            "curl",
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--cacert",
            str(authorityFile()),
            "--proxy",
        ]
        return run([*command, f"http://127.0.0.1:{pipsocks.http()}", *options, url], self.directory())

    def fetch(self, pipsocks: Pipsocks, host: str, port: int = 443) -> dict[str, Any]:
        """Fetch some noise from there by TLS, and return the session that carried it."""
        before = len(pipsocks.journal(0))
        fetched = self.curl(pipsocks, f"https://{host}:{port}/noise/3000", "--output", "noise")
        self.assertEqual((fetched.status, fetched.output), (0, ""))
        return pipsocks.journal(before + 1)[before]

    def fetchDirectly(self, pipsocks: Pipsocks, host: str) -> dict[str, Any]:
        """The same of a host that is reached without an upstream: there the site's own port stands for 443."""
        return self.fetch(pipsocks, host, self.site.port)

    def pip(self, pipsocks: Pipsocks, *options: str, index: str = "https://index.example/simple/") -> Fetched:
        """Let pip download a package, and see that it is whole where pip says so."""
        directory = self.directory()
        fetched = run(
            [environment("pip") / "bin/python", "-m", "pip", "--proxy", f"http://127.0.0.1:{pipsocks.http()}",
             "--cert", authorityFile(), "download", "--index-url", index, *options, f"parrot=={VERSION}"],
            directory,
        )  # fmt: skip
        for name in PACKAGES if fetched.status == 0 else ():
            self.assertTrue((directory / wheelName(name)).exists(), fetched.output)
        return fetched

    def refused(self, pipsocks: Pipsocks, host: str, port: int = 443) -> str:
        """What pip would print of a CONNECT that is refused, in the page's words."""
        answer = askConnect(self.dial(pipsocks.http()), host, port)
        self.assertNotEqual(answer.status, 200)
        return self.page.back(f"{TUNNEL_FAILED}{answer.status} {answer.reason}")

    # what the page shows

    def assertShown(self, line: str, entry: dict[str, Any]) -> None:
        """The page's `line`, whose dots leave something out, is what the journal has of a session."""
        seen = _timeless(self.page.back(textLine(entry)).replace(f".example:{self.site.port}", ".example:443"))
        self.assertRegex(seen, ".* ".join(map(re.escape, _timeless(line).split(" ... "))))

    def assertLogged(self, line: str, child: Child) -> None:
        """The page's `line` is what pipsocks says, now or soon."""
        child.expect(re.sub(r"for \d+ s", r"for \\d+ s", re.escape(self.page.there(line)).replace(r"\ ", " ")))

    def seen(self, entry: dict[str, Any]) -> list[tuple[str, str]]:
        """The chains and outcomes of a session's attempts."""
        return [(self.page.back(each["chain"]), each["outcome"]) for each in entry["attempts"]]


class Tor(Child):
    """The real tor, which can reach nobody: its only way into the network is a bridge that refuses."""

    def __init__(self, directory: Path, refusing: int) -> None:
        requires("tor")
        self.port = unusedPort()
        file = directory / "torrc"
        file.write_text(
            f"DataDirectory {directory}/data\nSocksPort 127.0.0.1:{self.port} ExtendedErrors\n"
            f"UseBridges 1\nBridge 127.0.0.1:{refusing}\nLog notice stdout\nLog [app]debug stdout\n"
        )
        super().__init__([find("tor") or "", "-f", file, "--defaults-torrc", "/dev/null"])
        self.expect("Opened Socks listener connection")
