"""
The how-tos of docs/: each configuration and command on the pages is run, and each line that they show is seen.

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
    noise,
    origin,
    scratch,
    wheelName,
)
from tests.functional.processes import PATIENCE, ROOT, Child, Pipsocks, cleanEnvironment, find, requires, unusedPort
from tests.functional.talk import askConnect, askGet, readExactly

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


@functools.cache
def _loopbackCertificate() -> Path:
    path = scratch() / "loopback.pem"
    authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


class PoolTests(HowToTestCase):
    """docs/pool.rst."""

    name = "pool"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:1080", "hk3": "hk3.example:3128"}

    def test_pip(self) -> None:
        """A dead exit and one with a login page are found out by the probes; pip installs over the third."""
        self.upstreams(hk1=["refuse"], hk2=["portal"])
        self.write(*self.page.files)
        pipsocks = self.start()
        for name in ("hk1", "hk2"):
            self.assertLogged(self.page.line(f"upstream {name} is out"), pipsocks)
        fetched = self.pip(pipsocks)
        self.assertEqual(fetched.status, 0, fetched.output)
        self.assertNotIn("Retrying", fetched.output)
        line = self.page.line("hk3 ok", "because=route[0]")
        for entry in pipsocks.journal(1):
            self.assertShown(line, entry)

    def test_dies(self) -> None:
        """An exit that says yes and dies, after it passed its probe: the client notices nothing."""
        self.upstreams(hk1=["for=files.example flight-close"])
        self.write(*self.page.files)
        entry = self.fetch(self.start(), "files.example")
        self.assertShown(self.page.line("hk1 died"), entry)

    def test_failures(self) -> None:
        """Whatever an exit does before the first byte, the client gets its file."""
        faults = ("reset", "close", "silent", "nonsense", "reply=1", "cut", "asked-reset", "then-close", "flight-reset")
        self.upstreams(hk1=[f"for=files.example {fault}" for fault in ("reply=4", "cut", "asked-close", "then-reset")])
        self.write(self.page.files[0].replace('probe = "index.example:443"\n', ""))
        pipsocks = self.start()
        for _ in range(9):
            self.fetch(pipsocks, "files.example")
        self.upstreams(hk1=list(faults))
        self.write(self.page.files[0].replace('probe = "index.example:443"\n', "").replace("round-robin", "order"))
        pipsocks = self.start()
        for _ in faults:
            entry = self.fetch(pipsocks, "files.example")
            self.assertIn(("hk2", "ok"), self.seen(entry))

    def test_noneWorks(self) -> None:
        """pip prints which exits there are, and what each of them did; nothing goes out directly."""
        self.upstreams(hk1=["refuse"], hk2=["close"], hk3=["login-refused"])
        self.write(*self.page.files)
        pipsocks = self.start()
        for name in ("hk1", "hk2", "hk3"):
            pipsocks.expect(f"upstream {name} is out")
        fetched = self.pip(pipsocks, "--retries", "1")
        self.assertEqual(fetched.status, 1, fetched.output)
        self.assertIn(self.page.line("PS-UP09"), self.page.back(fetched.output))
        for entry in pipsocks.journal(2):
            self.assertEqual({chain for chain, _ in self.seen(entry)}, {"hk1", "hk2", "hk3"})
        self.assertEqual(self.site.connections, 0)

    def test_siteDown(self) -> None:
        """All exits say that the site refuses: each is asked once, and the answer is theirs."""
        self.upstreams(**{name: ["for=files.example reply=5"] for name in self.hops})
        self.write(*self.page.files)
        pipsocks = self.start()
        told = self.refused(pipsocks, "files.example")
        self.assertIn(self.page.line("PS-UP21"), told)
        self.assertEqual([chain for chain, _ in self.seen(pipsocks.session())], ["hk1", "hk2", "hk3"])


class GatewayTests(HowToTestCase):
    """docs/gateway.rst."""

    name = "gateway"
    hops = {"gate": "gate.example:7000"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's command, before a gateway with these faults."""
        self.upstreams(gate=list(faults))
        return self.start(*self.command("--upstream"))

    def test_fails(self) -> None:
        """502 and 503 from a gateway that can do better are not the answer."""
        pipsocks = self.begin("status=502 Bad Gateway", "status=503 No Peer", "none")
        entry = self.fetch(pipsocks, "index.example")
        self.assertShown(self.page.line("hop_bad_gateway"), entry)

    def test_file(self) -> None:
        """The file says the same as the command."""
        self.upstreams(gate=["asked-close", "none"])
        self.write(self.page.files[0])
        entry = self.fetch(self.start(), "index.example")
        self.assertEqual([outcome for _, outcome in self.seen(entry)], ["hop_closed_after", "ok"])

    def test_dies(self) -> None:
        """A yes that is followed by nothing: the same gateway is asked again."""
        entry = self.fetch(self.begin("flight-close", "none"), "index.example")
        self.assertShown(self.page.line("died"), entry)

    def test_diesTwice(self) -> None:
        """It is asked again twice."""
        entry = self.fetch(self.begin("flight-close", "flight-reset", "none"), "index.example")
        self.assertEqual(entry["replays"], 2)

    def test_fourReports(self) -> None:
        """The fourth report is the answer; the client's next try costs one."""
        pipsocks = self.begin("status=502 Bad Gateway")
        told = [self.refused(pipsocks, "index.example") for _ in range(2)]
        self.assertEqual(told, [self.page.line("PS-UP20")] * 2)
        self.assertEqual([len(entry["attempts"]) for entry in pipsocks.journal(2)], [4, 1])

    def test_login(self) -> None:
        """A login that is refused is told at once, and the gateway is left alone then."""
        self.upstreams(gate=["login-refused"])
        pipsocks = self.start(*self.command("--upstream"))
        told = {self.refused(pipsocks, "index.example") for _ in range(3)}
        self.assertEqual(len(told), 1)
        self.assertIn("502 PS-UP10 upstream gate.example:7000 refused our login", told.pop())
        self.assertEqual([len(entry["attempts"]) for entry in pipsocks.journal(3)], [1, 0, 0])

    def test_plainHTTP(self) -> None:
        """The gateway's answer to a plain request is passed on."""
        answer = askGet(self.dial(self.begin("status=503 No Peer").http()), "http://index.example/")
        self.assertEqual((answer.status, answer.reason), (503, "No Peer"))

    def test_sessions(self) -> None:
        """One host stays with one session, whose name the gateway reads in the user; others spread."""
        asked: list[tuple[str, str]] = []

        def gateway(connection: Any) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += readExactly(connection, 1)
            lines = head.decode().split("\r\n")
            asked.append((lines[0].split()[1], next(line for line in lines if line.startswith("Proxy-Auth"))))
            connection.sendall(b"HTTP/1.1 403 Enough\r\nContent-Length: 0\r\n\r\n")

        self.page.places[self.hops["gate"]] = self.peer(gateway).address
        self.write(self.page.files[1])
        pipsocks = self.start()
        hosts = [f"host{number}.example" for number in range(12)]
        for host in hosts + hosts:
            askConnect(self.dial(pipsocks.http()), host, 443)
        first: dict[str, list[str]] = {}
        for host, login in asked:
            first.setdefault(host, []).append(login)
        orders = list(first.values())
        self.assertEqual(len(orders), 12)
        for logins in orders:
            self.assertEqual(logins[:3], logins[3:], "the same order of sessions both times")
            self.assertEqual(len(set(logins)), 3, "each session has a user of its own")
        self.assertEqual(len({logins[0] for logins in orders}), 3)


class OfficeTests(HowToTestCase):
    """docs/office.rst."""

    name = "office"
    hops = {"office": "proxy.corp.example:8080"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's file, before an office proxy with these faults."""
        self.upstreams(office=list(faults))
        self.write(*self.page.files)
        return self.start()

    def test_office(self) -> None:
        """In the office everything goes over the proxy, but for what is inside."""
        pipsocks = self.begin()
        self.assertShown(self.page.line("office ok"), self.fetch(pipsocks, "index.example"))
        self.assertShown(self.page.line("no_proxy"), self.fetchDirectly(pipsocks, "index.corp.example"))

    def test_home(self) -> None:
        """At home it is not there, and direct is taken; after five failures nobody tries it."""
        pipsocks = self.begin("refuse")
        for _ in range(5):
            entry = self.fetchDirectly(pipsocks, "files.example")
            self.assertShown(self.page.line("office (at", "direct ok"), entry)
        entry = self.fetchDirectly(pipsocks, "files.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])

    def test_directIsTaken(self) -> None:
        """Each way to fail that says nothing of the site; the last one puts the proxy out, which the log says."""
        faults = {
            "silent": "hop_silent",
            "status=500 Oh": "hop_failed",
            "status=503 No": "hop_failed",
            "asked-close": "hop_closed_after",
            "asked-silent": "hop_silent_after",
            "method-refused": "hop_login",
        }
        pipsocks = self.begin(*faults)
        for outcome in faults.values():
            entry = self.fetchDirectly(pipsocks, "files.example")
            expected = "hop_silent_after" if outcome == "hop_silent" else outcome  # HTTP is asked first of all
            self.assertEqual(self.seen(entry), [("office", expected), ("direct", "ok")])
        pipsocks.expect("upstream office is out for 300 s: PS-UP10 .* it offers only NTLM; put px or cntlm before it")
        entry = self.fetchDirectly(pipsocks, "files.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])

    def test_directIsNotTaken(self) -> None:
        """What the proxy forbids, or says is down, is not got around it."""
        pipsocks = self.begin("status=403 Forbidden")
        self.assertIn(self.page.line("PS-UP11"), self.refused(pipsocks, "index.example"))
        for status, slug in (("502", "502 PS-UP20"), ("504", "504 PS-UP19")):
            pipsocks = self.begin(f"status={status} Bad")
            self.assertIn(slug, self.refused(pipsocks, "files.example", self.site.port))
            self.assertEqual({chain for chain, _ in self.seen(pipsocks.session())}, {"office"})
        self.assertEqual(self.site.connections, 0)

    def test_plainHTTP(self) -> None:
        """A plain request's 403 is passed on; a 504 of the proxy's own sends it once more, directly."""
        pipsocks = self.begin("status=403 Not You", "status=504 Too Late")
        connection = self.dial(pipsocks.http())
        answers = [askGet(connection, origin().url("/noise/10", "files.example")) for _ in range(2)]
        self.assertEqual([(answer.status, answer.reason) for answer in answers], [(403, "Not You"), (200, "OK")])
        self.assertEqual(answers[1].body, noise(10))

    def test_command(self) -> None:
        """Without a fallback an office proxy that wants NTLM is an error that says what to do."""
        self.upstreams(office=["method-refused"])
        pipsocks = self.start(*self.command("--upstream"))
        self.assertEqual(self.refused(pipsocks, "index.example"), self.page.line("PS-UP10"))
        self.assertEqual(self.site.connections, 0)
        entry = self.fetchDirectly(pipsocks, "index.corp.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])


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


class TorTests(HowToTestCase):
    """docs/tor.rst."""

    name = "tor"
    hops = {"tor": "127.0.0.1:9050"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's file, before a stand-in for tor with these faults."""
        self.upstreams(tor=list(faults))
        self.write(self.page.files[0])
        return self.start()

    def beginReal(self) -> tuple[Pipsocks, Tor]:
        """By the page's file, before the real one."""
        tor = self.keep(Tor(self.directory(), self.refusing()))
        self.page.places[self.hops["tor"]] = f"127.0.0.1:{tor.port}"
        self.write(self.page.files[0])
        return self.start(), tor

    def test_works(self) -> None:
        """Everything goes over Tor, and no name is looked up here."""
        pipsocks = self.begin()
        self.assertShown(self.page.line("circuit1 ok"), self.fetch(pipsocks, "index.example"))
        self.assertNotIn("looked up", pipsocks.output)

    def test_nextCircuit(self) -> None:
        """What one circuit can't reach goes to the next; so does what one has lost after its yes."""
        pipsocks = self.begin("reply=1", "reply=6", "flight-close", "none")
        entry = self.fetch(pipsocks, "index.example")
        outcomes = [outcome for _, outcome in self.seen(entry)]
        self.assertEqual(outcomes[:4], ["hop_failed", "hop_ttl", "ok", "died"])
        self.assertEqual(outcomes[-1], "ok")
        self.assertNotIn("looked up", pipsocks.output)

    def test_slow(self) -> None:
        """A slow circuit is not cut off; after its share the next one is tried beside it."""
        entry = self.fetch(self.begin("slow=5", "none"), "index.example")
        self.assertEqual(self.seen(entry), [("circuit2", "ok"), ("circuit1", "overtaken")])

    def test_oneCircuit(self) -> None:
        """One circuit that takes longer than the usual 3 seconds, by the page's command."""
        self.upstreams(tor=["slow=4"])
        entry = self.fetch(self.start(*self.command("--retry-total")), "index.example")
        self.assertEqual([outcome for _, outcome in self.seen(entry)], ["ok"])

    def test_replies(self) -> None:
        """What Tor says, as the page's table has it, when all circuits say so."""
        table = {
            "reply=5": "502 PS-UP21", "reply=4": "502 PS-UP20", "reply=2": "403 PS-UP11", "reply=6": "504 PS-UP17",
            "reply=1": "502 PS-UP14", "reply=3": "502 PS-UP18", "reply=240": "502 PS-UP14", "reply=247": "502 PS-UP14",
        }  # fmt: skip
        pipsocks = self.begin(*(fault for fault in table for _ in range(3)))
        for number, (fault, told) in enumerate(table.items()):
            self.assertIn(told, self.refused(pipsocks, f"host{number}.example"), fault)
        self.assertNotIn("looked up", pipsocks.output)

    def test_doesNotRun(self) -> None:
        """Tor is not there."""
        told = self.refused(self.begin("refuse"), "index.example")
        self.assertIn(self.page.line("PS-UP02"), told)

    def test_realOnion(self) -> None:
        """The real Tor takes our login, for a circuit of its own, and its extended error arrives."""
        pipsocks, tor = self.beginReal()
        answer = askConnect(self.dial(pipsocks.http()), "parrot.onion", 443)
        self.assertEqual(answer.status, 502)
        self.assertReason(answer, "PS-UP14")
        self.assertIn('said "SOCKS5 reply 246, unassigned"', answer.body.decode())
        tor.expect(r"accepted method 2 \(username/password\)")
        self.assertEqual([chain for chain, _ in self.seen(pipsocks.session())], ["circuit1", "circuit2", "circuit3"])

    def test_realNotConnected(self) -> None:
        """The real Tor without a network takes requests and is silent; the client has its answer in time."""
        pipsocks, _ = self.beginReal()
        self.assertEqual(self.refused(pipsocks, "index.example"), self.page.line("PS-UP22"))
        attempts = [(f"circuit{number}", "deadline") for number in (1, 2, 3)]
        self.assertEqual(self.seen(pipsocks.session()), attempts)

    def test_onionOnly(self) -> None:
        """Onion services over Tor, whose names are not looked up here; everything else straight."""
        self.upstreams()
        self.write(self.page.files[1])
        pipsocks = self.start()
        entry = self.fetch(pipsocks, "parrot.onion")
        self.assertEqual((entry["route"], entry["because"]), ("tor", "route[0] host .onion"))
        self.assertNotIn("looked up", pipsocks.output)
        entry = self.fetchDirectly(pipsocks, "index.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])


class RoutesTests(HowToTestCase):
    """docs/routes.rst, its how-to."""

    name = "routes"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:443", "office": "proxy.corp.example:8080"}
    tls = "hk2"

    def test_split(self) -> None:
        """The private index goes straight, the public one over the exits, and nothing else goes anywhere."""
        self.upstreams()
        self.write(self.page.files[0])
        pipsocks = self.start()
        public, private = (line for line in self.page.lines if line.startswith("destination="))
        entry = self.fetch(pipsocks, "index.example")
        self.assertShown(public, entry)
        self.assertIn(self.seen(entry)[-1], [("hk1.example:1080", "ok"), ("hk2.example:443", "ok")])
        self.assertShown(private, self.fetchDirectly(pipsocks, "index.corp.example"))
        self.assertIn("403 PS-RU03 no route leads to files.example:443", self.refused(pipsocks, "files.example"))

    def test_pip(self) -> None:
        """pip takes two indexes, each of them its own way, without being told of it."""
        self.upstreams()
        self.write(self.page.files[0])
        pipsocks = self.start()
        private = f"https://index.corp.example:{self.site.port}/simple/"
        fetched = self.pip(pipsocks, "--extra-index-url", "https://index.example/simple/", index=private)
        self.assertEqual(fetched.status, 0, fetched.output)
        ways = {(entry["destination"].partition(":")[0], entry["route"]) for entry in pipsocks.journal(2)}
        self.assertEqual(ways, {("index.corp.example", "direct"), ("index.example", "exits")})

    def test_tiers(self) -> None:
        """The office's proxy is for when neither of the others works."""
        self.upstreams(hk1=["refuse"], hk2=["close"])
        self.write(self.page.files[0])
        pipsocks = self.start()
        for name in ("hk1", "hk2"):
            pipsocks.expect(f"upstream {re.escape(self.page.places[self.hops[name]])} is out")
        self.assertEqual(self.seen(self.fetch(pipsocks, "index.example")), [("office", "ok")])

    def test_lastRoute(self) -> None:
        """A last route opens the rest."""
        self.upstreams()
        self.write(*self.page.files[:2])
        entry = self.fetch(self.start(), "files.example")
        self.assertEqual((entry["route"], entry["because"]), ("exits", "route[1]"))

    def test_inside(self) -> None:
        """The company's index over the office's proxy, nothing else of the company's, and the rest over the exits."""
        self.upstreams()
        self.write(self.page.files[2])
        pipsocks = self.start()
        entry = self.fetch(pipsocks, "index.corp.example")
        told = (entry["route"], entry["because"], self.seen(entry))
        self.assertEqual(told, ("inside", "route[0] host index.corp.example", [("proxy.corp.example:8080", "ok")]))
        self.assertEqual(self.refused(pipsocks, "www.corp.example"), self.page.line("PS-RU01"))
        self.assertIn("403 PS-RU01", self.refused(pipsocks, "index.corp.example", 80))
        entry = self.fetch(pipsocks, "index.example")
        self.assertEqual((entry["route"], self.seen(entry)), ("exits", [("hk1.example:1080", "ok")]))
        self.assertNotIn("looked up", pipsocks.output)

    def test_command(self) -> None:
        """``--no-proxy`` without a file."""
        self.upstreams()
        pipsocks = self.start(*self.command("--no-proxy"))
        self.assertEqual(self.fetchDirectly(pipsocks, "index.corp.example")["route"], "direct")
        self.assertEqual(self.seen(self.fetch(pipsocks, "files.example")), [("hk1.example:1080", "ok")])


class RetriesTests(HowToTestCase):
    """docs/retries.rst, and a word in the journal for each thing that it tells."""

    name = "retries"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:1080", "hk3": "hk3.example:1080"}

    def begin(self, **faults: list[str]) -> Pipsocks:
        """By the page's command."""
        self.upstreams(**faults)
        return self.start(*self.command("--upstream"))

    def test_line(self) -> None:
        """The page's example."""
        entry = self.fetch(self.begin(hk1=["refuse"], hk2=["then-close"]), "index.example")
        self.assertShown(self.page.line("replays=1"), entry)

    def test_ejected(self) -> None:
        """Five failures in a row, and a line that says so."""
        pipsocks = self.begin(hk1=["refuse"])
        for _ in range(5):
            self.fetch(pipsocks, "index.example")
        self.assertLogged(self.page.line("is ejected"), pipsocks)
        self.assertEqual(self.seen(self.fetch(pipsocks, "index.example")), [("hk2.example:1080", "ok")])

    def test_silentAfterYes(self) -> None:
        """A ClientHello without an answer goes again after 4 seconds."""
        entry = self.fetch(self.begin(hk1=["flight-silent"]), "index.example")
        told = [("hk1.example:1080", "ok"), ("hk2.example:1080", "ok"), ("hk1.example:1080", "unanswered")]
        self.assertEqual(self.seen(entry), told)

    def test_resume(self) -> None:
        """A plain download that is cut again and again is whole, and the journal counts."""
        files = self.faulty(options=("--kind", "origin", "--size", "300000"))
        pipsocks = self.begin(hk1=["reset-after=100000"], hk2=["close-after=100000"])
        fetched = self.curl(pipsocks, f"http://{files.address}/parrot", "--output", "parrot")
        self.assertEqual((fetched.status, fetched.output), (0, ""))
        entry = pipsocks.session()
        self.assertEqual((entry["outcome"], entry["resumes"] > 0), ("ok", True))
        self.assertGreater(entry["down"], 300_000)

    def test_words(self) -> None:
        """Each word of the table that is no failure's own is one that the journal knows."""
        table = self.page.text[self.page.text.index(":header: word, meaning") :]
        words = re.findall(r"^   ``(\w+)``(?:, ``(\w+)``)? \|", table, re.MULTILINE)
        flat = {word for pair in words for word in pair if word}
        self.assertEqual(flat, {"ok", "reused", "overtaken", "cancelled", "deadline", "died", "unanswered"})
