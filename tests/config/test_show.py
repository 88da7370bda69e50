"""``pipsocks config --show``."""

from __future__ import annotations

import os
import shutil
import tomllib
from urllib.parse import quote

import attrs
import trustme

from pipsocks.config.load import Loaded, load
from pipsocks.config.options import parse
from pipsocks.config.show import show
from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination, Login, Secret
from pipsocks.settings import Settings
from pipsocks.upstream.parse import fromEnvironment, parseChain
from pipsocks.upstream.settings import ChainSettings, HopSettings, SSHSettings
from tests.config.test_load import LoadCase


class ShowTests(LoadCase):
    """The effective settings."""

    def lines(self, text: str) -> dict[str, str]:
        """Each line's source, by its key and value."""
        return dict(line.split(" # ") for line in text.splitlines() if " # " in line)  # type: ignore[misc]

    def test_defaults(self) -> None:
        """All keys, as a file would say them, in a file that says the same."""
        text = show(self.loaded())
        tree = tomllib.loads(text)
        self.assertEqual(tree["retry"], attrs.asdict(RetrySettings()))
        self.assertEqual(set(self.lines(text).values()), {"default"})
        self.assertEqual(show(self.loaded(file=text)).split("#")[0], text.split("#")[0])
        self.assertEqual(self.load(file=text).listeners[0].endpoint, self.load().listeners[0].endpoint)

    def test_sources(self) -> None:
        """Where each came from."""
        text = show(self.loaded(
            "--retry-total", "2.5", environ={"PIPSOCKS_VIA": "no"},
            file="journal = 'off'\nstrict = true\n[[listener]]\nsocks = '1'\nauth = 'htpasswd:x'\n",
        ))  # fmt: skip
        sources = {key.split(" = ")[0]: source for key, source in self.lines(text).items()}
        self.assertEqual(
            (sources["total"], sources["via"], sources["attempts"]), ("--retry-total", "PIPSOCKS_VIA", "default")
        )
        for key, place in (
            ("journal", "line 1: journal"), ("strict", "line 2: strict"), ("socks", "line 4: listener[0].socks"),
            ("auth", "line 5: listener[0].auth"),
        ):  # fmt: skip
            self.assertTrue(sources[key].endswith(place), (key, sources[key]))
        self.assertIn("total = 2.5 ", text)

    def test_rules(self) -> None:
        """Rules and the keys of datagrams stand as in a file, which says the same."""
        text = show(self.loaded(
            "--deny", "10.0.0.0/8", "--allow", "a.example:443", "--udp-ports", "5-6", "--udp-advertise", "::1",
        ))  # fmt: skip
        tree = tomllib.loads(text)
        self.assertEqual(tree["rule"], [{"deny": ["10.0.0.0/8"]}, {"allow": ["a.example"], "port": [443]}])
        self.assertEqual({(e["udp_ports"], e["udp_advertise"]) for e in tree["listener"]}, {("5-6", "::1")})
        self.assertIn("--allow", self.lines(text)[next(key for key in self.lines(text) if key.startswith("allow"))])
        again = self.load(file=text)
        self.assertEqual(list(map(str, again.rules)), ["deny 10.0.0.0/8", "allow a.example port 443"])

    def test_secrets(self) -> None:
        """Logins of chains and arguments of checkers are masked."""
        text = show(self.loaded(
            "--upstream", "https://token:hunter2@a:1?off", "--upstream", "direct",
            "--auth", "memory:bob:hunter2", "--auth", "htpasswd:/etc/users", "--auth", "anonymous",
        ))  # fmt: skip
        for secret in ("hunter2", "token", "bob"):
            self.assertNotIn(secret, text)
        self.assertIn('["https://***@a:1?sni=x&verify=off", "direct"]', text)
        self.assertIn('["memory:***", "htpasswd:/etc/users", "anonymous"]', text)

    def test_listeners(self) -> None:
        """A URL with a login, which only Twisted will know to be no endpoint, is masked as well."""
        text = show(self.loaded("--http", "http://u:hunter2@127.0.0.1:3128"))
        self.assertNotIn("hunter2", text)
        self.assertIn('http = "***@127.0.0.1:3128"', text)

    def test_journal(self) -> None:
        """So is one in the journal's place."""
        self.assertIn('journal = "***@a:1"', show(self.loaded("--journal", "socks5://u:hunter2@a:1")))

    def test_names(self) -> None:
        """A named chain keeps its name."""
        text = show(self.loaded(file="upstream = [{ chain = 'http://a:1', name = 'office' }]"))
        self.assertEqual(tomllib.loads(text)["upstream"], [{"chain": "http://a:1", "name": "office"}])


WHOLE = """\
no_proxy = ["localhost", ".corp.example", "10.0.0.0/8", "::1"]
upstream = ["direct", { chain = "http://a:1", name = "office", tier = 3 }]
journal = "\u00e9\U0001f600\\u007f"
[groups.exits]
strategy = "fastest"
hedge = "auto"
probe = "[2001:db8::1]:443"
chains = [
  "socks5h://[::1]:1,http://b:1", { chain = "https://c:1?sni=a.example&verify=off", tier = 2 },
  { chain = "https://d:1?ca={ca}", name = "d.1" },
]
retry = { total = 0.5, replay = false }
[groups."a.b"]
chains = ["direct"]
[[route]]
host = ["*"]
network = ["::1"]
port = [80, 443]
user = ["b\\"ob", "\U0001f600"]
listener = ["socks", "[::1]:1080"]
to = "exits"
[[route]]
to = "a.b"
port = [1]
[[rule]]
deny = ["10.0.0.0/8"]
[[listener]]
socks = "[::1]:1080"
[retry]
budget = 0.25
resume = false
"""


class RoundTripTests(LoadCase):
    """What is printed is a file that says the same."""

    def shown(self, file: str) -> Loaded:
        """What this file comes to, its chains read by the real parser."""
        return load(parse(["--config", self.write(file)]), {}, parseChain, fromEnvironment)

    def comparable(self, loaded: Loaded) -> Settings:
        """The settings without where they came from."""
        listeners = tuple(attrs.evolve(each, source="", authSource="") for each in loaded.settings.listeners)
        return attrs.evolve(loaded.settings, listeners=listeners)

    def test_whole(self) -> None:
        """Groups, tiers, routes, no_proxy, characters of all kinds."""
        authority = self.write(trustme.CA().cert_pem.bytes())
        directory = self.mktemp() + ",$%&@?=#\u00e9"
        os.mkdir(directory)
        path = os.path.join(directory, "ca.pem")
        shutil.copy(authority, path)
        for file in (
            WHOLE.replace("{ca}", quote(path)),
            "",
            "no_proxy = ['*']",
            "[[route]]\nto = 'deny'\n",
            "[groups.default]\nchains = ['direct']\n[[route]]\nto = 'default'\n",
            "[[route]]\nhost = []\nto = 'direct'\n",
        ):
            loaded = self.shown(file)
            again = self.shown(show(loaded))
            self.assertEqual(self.comparable(again), self.comparable(loaded))
            self.assertNotIn("\x7f", show(loaded))

    def test_sources(self) -> None:
        """A group's own retry policy has its source, and what it leaves out that of the one for all."""
        file = WHOLE.replace("ca={ca}", "verify=off")
        text = show(load(parse(["--config", self.write(file), "--retry-connect=2"]), {}, parseChain, fromEnvironment))
        part = text.partition("[groups.exits.retry]")[2].partition("[groups")[0]
        sources = {line.split(" = ")[0]: line.split(" # ")[1] for line in part.splitlines() if " # " in line}
        self.assertTrue(sources["total"].endswith("line 12: groups.exits.retry.total"), sources)
        self.assertTrue(sources["budget"].endswith(": retry.budget"), sources)
        self.assertEqual((sources["connect"], sources["attempts"]), ("--retry-connect", "default"))

    def test_secrets(self) -> None:
        """Logins in groups are masked."""
        loaded = self.shown("[[route]]\nto='a'\n[groups.a]\nchains=['http://token:hunter2@h:1', 'socks5://bob@h:1']\n")
        for secret in ("hunter2", "token", "bob"):
            self.assertNotIn(secret, show(loaded))

    def test_ssh(self) -> None:
        """The login at an ssh hop is masked, its files and switches are shown."""
        settings = SSHSettings("/a,b", Secret("hunter2"), "/k", agent=False)
        hop = HopSettings("ssh", Destination("a", 22), Login("bob", Secret("hunter2")), ssh=settings)
        loaded = self.shown("")
        group = attrs.evolve(loaded.settings.groups[0], chains=(ChainSettings((hop,)),))
        text = show(attrs.evolve(loaded, settings=attrs.evolve(loaded.settings, groups=(group,))))
        self.assertIn('["ssh://***@a:22?key=/a%2Cb&known_hosts=/k&agent=off&passphrase=***"]', text)
        self.assertNotIn("hunter2", text)
