"""What a shell is told."""

from __future__ import annotations

import subprocess

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config.shell import NO_PROXY, SHELLS, exports
from pipsocks.front.settings import ListenerSettings
from pipsocks.model import StartError

SOCKS = ListenerSettings("socks", "tcp:1080:interface=127.0.0.1")
HTTP = ListenerSettings("http", r"tcp:3128:interface=\:\:1")


class ExportTests(SynchronousTestCase):
    """The variables."""

    def evaluated(self, text: str, script: str = 'eval "$1"') -> dict[str, str]:
        """The proxy variables that a program of a shell has, once the shell has evaluated `text`."""
        words = ["sh", "-c", f"{script}; env", "sh", text]
        done = subprocess.run(words, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        pairs = (line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return {name: value for name, value in pairs if name.lower().endswith("_proxy")}

    def test_http(self) -> None:
        """Both cases of http_proxy and https_proxy; SOCKS is only spoken of, for pip would need PySocks."""
        text = exports([SOCKS, HTTP], "sh")
        expected = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"), "http://[::1]:3128")
        expected |= {"no_proxy": NO_PROXY, "NO_PROXY": NO_PROXY}
        self.assertEqual(self.evaluated(text), expected)
        self.assertIn("# For programs that want SOCKS: socks5h://127.0.0.1:1080", text)

    def test_unquotedEval(self) -> None:
        """Who forgets the quotes has one line of it all; the comment at its end harms nothing."""
        self.assertEqual(
            self.evaluated(exports([SOCKS, HTTP], "sh").replace("[::1]", "127.0.0.1"), script="eval $1")["no_proxy"],
            NO_PROXY,
        )

    def test_otherShells(self) -> None:
        """As each of them sets a variable."""
        self.assertIn("set -gx https_proxy 'http://[::1]:3128'\n", exports([HTTP], "fish"))
        self.assertIn("$env:https_proxy = 'http://[::1]:3128'\n", exports([HTTP], "powershell"))

    def test_quoting(self) -> None:
        """No text leaves its quotes."""
        assigned = {shell: assign("x", "a'b\\") for shell, assign in SHELLS.items()}
        self.assertEqual(
            assigned,
            {"sh": "export x='a'\"'\"'b\\'", "fish": "set -gx x 'a\\'b\\\\'", "powershell": "$env:x = 'a''b\\'"},
        )

    def test_socksAlone(self) -> None:
        """Without an HTTP port everything goes to the SOCKS port, which resolves names; a line speaks of PySocks."""
        text = exports([SOCKS], "sh")
        found = self.evaluated(text)
        self.assertEqual(
            {found[name] for name in ("http_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")},
            {"socks5h://127.0.0.1:1080"},
        )
        self.assertIn("# pip needs PySocks", text)
        self.assertNotIn("socks5://", text)

    def test_login(self) -> None:
        """A placeholder stands for it, and a line says what to do."""
        text = exports([ListenerSettings("http", "tcp:3128", auth=("htpasswd:x",))], "sh")
        self.assertIn("http://USER:PASSWORD@127.0.0.1:3128", text)
        self.assertIn("%40", text)

    def test_everywhere(self) -> None:
        """A listener on all addresses is reached on loopback; the first of several counts."""
        text = exports([ListenerSettings("http", "tcp:1"), ListenerSettings("http", "tcp:2")], "sh")
        self.assertIn("http://127.0.0.1:1\n", text)
        self.assertIn("http://[::1]:1\n", exports([ListenerSettings("http", "tcp6:1")], "fish").replace("'", ""))

    def test_nothingToTell(self) -> None:
        """Sockets without an address, or with one that nobody knows yet."""
        for endpoint in ("unix:/x", "systemd:domain=INET:name=x", "tcp:0:interface=127.0.0.1"):
            error = self.assertRaises(StartError, exports, [ListenerSettings("http", endpoint)], "sh")
            self.assertIn("--http", error.problems[0].hint)
