"""pipsocks with a real sshd as its upstream, as curl sees it; and the commands of docs/ssh.rst."""

from __future__ import annotations

import getpass
import hashlib
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

from tests.functional.case import FunctionalTestCase
from tests.functional.clients import Fetched, digested, run
from tests.functional.origins import noise, origin
from tests.functional.processes import ROOT, Pipsocks, cleanEnvironment, requires, tinyproxy
from tests.upstream.sshrig import Server, generate

PAGE = Path(ROOT) / "docs" / "ssh.rst"
SIZE = 2_000_000


class SSHTestCase(FunctionalTestCase):
    """A running sshd that knows one key, and a home directory with that key and the host's."""

    def setUp(self) -> None:
        """Start it."""
        requires("curl", "sshd", "ssh-keygen")
        self.home = self.directory()
        self.key = generate("ed25519", self.home / "id")
        self.server = Server(self.home, keys=(self.key,))
        self.addCleanup(self.server.drop)
        self.known = self.home / "known"
        self.known.write_text(self.server.known)
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.server.port}?key={self.key}&known_hosts={self.known}"

    def curl(self, pipsocks: Pipsocks, scheme: str, host: str = "127.0.0.1", tunnel: bool = True) -> Fetched:
        """What curl fetches from an origin on loopback, by CONNECT unless `tunnel` says otherwise."""
        port = pipsocks.http() if scheme == "http" else pipsocks.socks()
        directory = self.directory()
        url = origin().url(f"/noise/{SIZE}", host)
        proxy = f"{scheme}://127.0.0.1:{port}"
        fetched = run(
            ["curl", "-sSfpv" if tunnel else "-sSfv", "-o", "file", "--max-time", "30", "-x", proxy, url], directory
        )
        return digested(fetched, directory / "file")

    def assertFetched(self, fetched: Fetched) -> None:
        """All of it came."""
        self.assertEqual(hashlib.sha256(noise(SIZE)).hexdigest(), fetched.digest, fetched)

    def refusedBy(self, pipsocks: Pipsocks) -> str:
        """What curl prints of a request that is refused."""
        fetched = self.curl(pipsocks, "http")
        self.assertNotEqual(0, fetched.status)
        return fetched.output

    def logins(self) -> int:
        """How often somebody has logged in."""
        return self.server.output.count("Accepted publickey")


class UpstreamTests(SSHTestCase):
    """curl through pipsocks through ssh."""

    def test_both(self) -> None:
        """SOCKS and HTTP clients share one login; the journal tells the hop."""
        pipsocks = self.pipsocks(upstreams=(self.url,))
        self.assertIn(f"ssh://127.0.0.1:{self.server.port}", pipsocks.output)
        for scheme in ("http", "socks5h", "http", "socks5h"):
            self.assertFetched(self.curl(pipsocks, scheme))
        self.assertFetched(self.curl(pipsocks, "http", tunnel=False))
        self.assertEqual(1, self.logins())
        self.assertEqual("ok", pipsocks.session(protocol="http")["outcome"])
        for protocol in ("connect", "socks5"):
            for session in pipsocks.journal(2, protocol=protocol):
                self.assertEqual(("ok", "transport"), (session["outcome"], session["relay"]), session)
                self.assertGreaterEqual(session["down"], SIZE)
                (attempt,) = session["attempts"]
                self.assertEqual(f"127.0.0.1:{self.server.port}", attempt["chain"])
        self.assertEqual(0, pipsocks.stop())

    def test_restarted(self) -> None:
        """When the hop was down and is up again, the next request logs in anew."""
        pipsocks = self.pipsocks(upstreams=(self.url,))
        self.assertFetched(self.curl(pipsocks, "socks5h"))
        self.server.restart()
        self.assertFetched(self.curl(pipsocks, "http"))
        self.assertEqual(1, self.logins())
        self.server.drop()
        self.assertIn("PS-UP02", self.refusedBy(pipsocks))

    def test_hostKeyChanged(self) -> None:
        """A hop with another host key is not logged in to, and curl says why."""
        pipsocks = self.pipsocks(upstreams=(self.url,))
        self.assertFetched(self.curl(pipsocks, "http"))
        self.server.restart("host2")
        output = self.refusedBy(pipsocks)
        self.assertRegex(output, r"502 PS-UP27 upstream \S+ has another host key: another stands in")
        self.assertEqual(0, self.logins())
        self.assertEqual("hop_key_changed", pipsocks.journal(1, outcome="hop_key_changed")[0]["outcome"])
        self.known.write_text(self.server.known)
        self.assertFetched(self.curl(pipsocks, "http"))

    def test_hostKeyUnknown(self) -> None:
        """Nor is one that is in no file."""
        self.known.write_text("")
        pipsocks = self.pipsocks(upstreams=(self.url,))
        self.assertIn(
            f"502 PS-UP26 the host key of upstream 127.0.0.1:{self.server.port} is not", self.refusedBy(pipsocks)
        )

    def test_wrongKey(self) -> None:
        """A key that is not authorized is a login that is refused."""
        other = generate("ed25519", self.home / "other")
        pipsocks = self.pipsocks(upstreams=(self.url.replace(f"key={self.key}", f"key={other}"),))
        output = self.refusedBy(pipsocks)
        self.assertIn("502 PS-UP10", output)
        self.assertIn("offered 1 key; it takes publickey", output)

    def test_badFile(self) -> None:
        """A key that cannot be read keeps pipsocks from starting."""
        child = self.keep(Pipsocks("--upstream", "ssh://me@bastion.example?key=/nowhere/id"))
        self.assertEqual(1, child.wait())
        self.assertIn("names a file that cannot be read: /nowhere/id", child.output)

    def test_between(self) -> None:
        """Hops before it and after it."""
        before, after = self.keep(tinyproxy()), self.keep(tinyproxy())
        pipsocks = self.pipsocks(upstreams=(f"{before.url},{self.url},{after.url}",))
        for scheme in ("http", "socks5h"):
            self.assertFetched(self.curl(pipsocks, scheme))
        self.assertEqual(1, self.logins())


class PageTests(SSHTestCase):
    """docs/ssh.rst, with its examples' names and ports replaced by peers of ours."""

    def setUp(self) -> None:
        """Read the page, for a home directory of its own."""
        super().setUp()
        (self.home / ".ssh").mkdir(mode=0o700)
        (self.home / "etc").mkdir()
        self.proxy = self.keep(tinyproxy())

    def ours(self, text: str) -> str:
        """`text` with our names in it."""
        for theirs, mine in (
            ("me@", f"{getpass.getuser()}@"),
            ("[bastion.example]:2222", f"[127.0.0.1]:{self.server.port}"),
            ("bastion.example:2222", f"127.0.0.1:{self.server.port}"),
            ("-p 2222 bastion.example", f"-p {self.server.port} 127.0.0.1"),
            ("proxy.corp.example:8080", self.proxy.address),
            ("/etc/pipsocks", str(self.home / "etc")),
            ("*.corp.example", "localhost"),
        ):
            text = text.replace(theirs, mine)
        return text

    def commands(self, beginning: str) -> list[str]:
        """The page's commands that begin so, made ours."""
        found = re.findall(rf"^    ({re.escape(beginning)}.*)$", PAGE.read_text(), re.MULTILINE)
        self.assertTrue(found, beginning)
        return [self.ours(command) for command in found]

    def shell(self, command: str) -> str:
        """What a command prints."""
        # ssh-keygen looks its user's home up, and not $HOME.
        command = command.replace("-l -F", f"-l -f {self.home}/.ssh/known_hosts -F")
        command = command.replace("-R", f"-f {self.home}/.ssh/known_hosts -R")
        ran = subprocess.run(
            ["sh", "-ec", command], env=cleanEnvironment({"HOME": str(self.home)}), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
        self.assertEqual(0, ran.returncode, ran)
        return ran.stdout

    def started(self, command: str) -> Pipsocks:
        """pipsocks as a command of the page starts it."""
        words = self.shell(f"printf '%s\\n' {command.removeprefix('pipsocks run ')}").splitlines()
        environment: dict[str, str] = {"HOME": str(self.home), "SSH_AUTH_SOCK": ""}
        return self.pipsocks(*words, environment=environment)

    def test_commands(self) -> None:
        """The host's key is fetched, a key is made and authorized, and every command then leads through the bastion."""
        requires("ssh-keyscan")
        (scan,), (fingerprint,), (remove,) = map(self.commands, ("ssh-keyscan", "ssh-keygen -l", "ssh-keygen -R"))
        self.shell(scan)
        self.assertIn("ED25519 SHA256:", self.shell(fingerprint))
        self.shell(remove)
        self.assertNotIn("ed25519", (self.home / ".ssh/known_hosts").read_text())
        self.shell(scan)
        (make,) = self.commands("ssh-keygen -q")
        self.shell(make)
        (line,) = self.commands("restrict,port-forwarding")
        options = line.partition(" ")[0]
        public = (self.home / ".ssh/id_pipsocks.pub").read_text()
        with (self.home / "authorized").open("a") as authorized:
            authorized.write(f"{options} {public}")
        shutil.copy(self.key, self.home / ".ssh/id_ed25519")
        runs = self.commands("pipsocks run")
        self.assertEqual(4, len(runs))
        for command in runs:
            before = self.logins()
            pipsocks = self.started(command)
            self.assertFetched(self.curl(pipsocks, "socks5h"))
            self.assertEqual(before + 1, self.logins(), command)
            pipsocks.stop()

    def test_file(self) -> None:
        """The file of the page leads what it routes through the bastion."""
        (text,) = re.findall(r"\.\. code-block:: toml\n\n((?:   .*\n|\n)+)", PAGE.read_text())
        shutil.copy(self.key, self.home / "etc/id")
        shutil.copy(self.known, self.home / "etc/known_hosts")
        file = self.home / "pipsocks.toml"
        file.write_text(self.ours(textwrap.dedent(text)))
        pipsocks = self.pipsocks("--config", file)
        self.assertFetched(self.curl(pipsocks, "http"))
        self.assertEqual(0, self.logins())
        self.assertFetched(self.curl(pipsocks, "socks5h", "localhost"))
        self.assertEqual(1, self.logins())

    def test_unit(self) -> None:
        """The unit's variable is a chain, once systemd has put its directory in."""
        (variable,) = re.findall(r'Environment="PIPSOCKS_UPSTREAM=(.*)"', PAGE.read_text())
        shutil.copy(self.key, self.home / "bastion")
        shutil.copy(self.known, self.home / "etc/known_hosts")
        chain = self.ours(variable.replace("bastion.example", "bastion.example:2222").replace("%d", str(self.home)))
        pipsocks = self.pipsocks(environment={"PIPSOCKS_UPSTREAM": chain})
        self.assertFetched(self.curl(pipsocks, "http"))
        self.assertEqual(1, self.logins())
