"""The configuration file, with all of its errors at once."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config.document import Document
from pipsocks.config.file import LIMIT, LISTENER, read
from pipsocks.config.options import BY_KEY, TABLE
from pipsocks.model import Problem, StartError

WHOLE = """\
journal = "-"
journal_format = "text"
via = true
upstream = ["direct", { chain = "http://a:1", name = "office", tier = 2 }]
no_proxy = ["localhost", "10.0.0.0/8"]
auth = ""
clients = []
strict = false
udp_advertise = ""
udp_ports = ""

[[listener]]
socks = "127.0.0.1:1080"
auth = ["htpasswd:a", "htpasswd:b"]
clients = ["10.0.0.0/8"]
strict = true
udp_advertise = "192.0.2.7"
udp_ports = "40000-40100"
[[listener]]
http = "127.0.0.1:3128"

[[rule]]
allow = ["a.example", "private"]
port = [80, 443]
[[rule]]
deny = ["*"]

[groups.exits]
strategy = "order"
hedge = "off"
probe = "index.example:443"
chains = ["direct"]
retry = { total = 8 }

[[route]]
host = ["*.corp.example"]
network = ["10.0.0.0/8"]
port = [443]
user = ["bob"]
listener = ["socks", "127.0.0.1:1080"]
to = "exits"

[retry]
total = 8
attempts = 8
connect = 3
handshake = 0.5
budget = 1.0
replay = true
resume = true

[timeouts]
handshake = 10
tunnel_idle = 3600
drain = 30
"""

LATER = ("limits = {}", "[admin]\nlisten = '8080'", "[[limit]]\nuser = ['bob']")
LATER_LISTENER = ('tls = ""', "proxy_protocol = true")


class FileCase(SynchronousTestCase):
    """Writes files and reads them."""

    def write(self, data: str | bytes) -> str:
        """A file with this text."""
        path = Path(self.mktemp())
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return str(path)

    def read(self, text: str) -> Document:
        """What a file of this text comes to."""
        return read(self.write(text))

    def only(self, text: str) -> Problem:
        """The one thing that is wrong with it."""
        (problem,) = self.read(text).problems
        self.assertTrue(problem.hint)
        return problem


class ReadTests(FileCase):
    """What is right."""

    def test_whole(self) -> None:
        """Every key that there is."""
        document = self.read(WHOLE)
        self.assertEqual(document.problems, [])
        self.assertEqual(set(document.given), set(BY_KEY) - {"socks", "http", "config", "allow", "deny"} | {"rules"})
        self.assertEqual([value.value for value in document.given["retry.handshake"].values], [0.5])
        assert document.listeners is not None
        self.assertEqual([set(each) for each in document.listeners], [set(LISTENER) - {"http"}, {"http"}])
        self.assertEqual(document.given["timeouts.drain"].where, f"{document.name}: line 55: timeouts.drain")

    def test_empty(self) -> None:
        """An empty file says nothing."""
        document = self.read("")
        self.assertEqual((document.given, document.listeners, document.problems), ({}, None, []))

    def test_auth(self) -> None:
        """A text, an empty one for none, or a list."""
        for text, expected in (('"a:b"', ["a:b"]), ('""', []), ('["a", "b"]', ["a", "b"]), ("[]", [])):
            given = self.read(f"auth = {text}").given["auth"]
            self.assertEqual([value.value for value in given.values], expected)


class WrongTests(FileCase):
    """What is wrong, and where."""

    def test_allAtOnce(self) -> None:
        """Each error has its line and path, and what is right is kept."""
        document = self.read('via = "off"\nstrict = true\n[retry]\ntotal = "8"\nattempts = 8.9\nconnect = true\n')
        where = [problem.where.removeprefix(document.name) for problem in document.problems]
        self.assertEqual(
            where, [": line 1: via", ": line 4: retry.total", ": line 5: retry.attempts", ": line 6: retry.connect"]
        )
        self.assertEqual(set(document.given), {"strict"})

    def test_everyKeyHasAType(self) -> None:
        """A date is of no key's type."""
        for option in TABLE:
            if option.key in ("config", "socks", "http") or option.among:
                continue
            table, _, key = option.key.rpartition(".")
            problem = self.only((f"[{table}]\n" if table else "") + f"{key} = 2020-01-01\n")
            self.assertIn(option.key, problem.where)
            if option.many:
                value = "[2020-01-01]"
                self.assertIn(f"{key}[0]", self.only(f"{key} = {value}").where)
                self.assertIn("list", self.only(f"{key} = 5").what)

    def test_bareUpstream(self) -> None:
        """Lists are lists: one text is not taken for one of its letters."""
        self.assertIn('upstream = ["', self.only('upstream = "direct"').hint)

    def test_unknownKeys(self) -> None:
        """The nearest known name is offered; without one, all of that table."""
        self.assertEqual(self.only("upstreem = []").hint, "did you mean upstream?")
        self.assertEqual(self.only("[retry]\ntotel = 1").hint, "did you mean total?")
        self.assertEqual(self.only("[retri]\ntotal = 1").hint, "did you mean retry?")
        self.assertEqual(self.only("[[listener]]\nhtpp = '1'\nsocks='1'").hint, "did you mean http?")
        self.assertEqual(
            self.only("[retry]\nzzz = 1").hint,
            "known here: attempts, budget, connect, handshake, replay, resume, total",
        )

    def test_flagsAreNoKeys(self) -> None:
        """What only a command line says is no key of the file."""
        for key in ("socks", "http", "config"):
            self.assertEqual(self.only(f'{key} = "1080"').what, "there is no such key")

    def test_laterKeysDoNotExist(self) -> None:
        """Nor does what a later version will know."""
        for text in LATER:
            self.assertEqual(self.only(text).what, "there is no such key", text)
        for text in LATER_LISTENER:
            self.assertEqual(self.only("[[listener]]\nhttp = '1'\n" + text).what, "there is no such key", text)

    def test_noTables(self) -> None:
        """Where a table belongs."""
        self.assertEqual(self.only("retry = 5").hint, "write [retry], and its keys below")
        for text in ("listener = 5", "listener = ['a']", "[listener]\nsocks = '1'"):
            self.assertIn("[[listener]]", self.only(text).hint)

    def test_rules(self) -> None:
        """Each [[rule]] has one verdict on something."""
        for text, path, word in (
            ("[[rule]]\nport = [5]", "rule[0]", "one verdict"),
            ("[[rule]]\nallow = ['a']\ndeny = ['b']", "rule[0]", "one verdict"),
            ("[[rule]]\nallow = ['a']\n[[rule]]\ndney = ['b']\ndeny = ['b']", "rule[1].dney", "no such key"),
            ("[[rule]]\ndeny = []", "rule[0].deny", "without patterns"),
            ("[[rule]]\ndeny = 'a'", "rule[0].deny", "not a list"),
            ("[[rule]]\ndeny = ['a', 5]", "rule[0].deny[1]", "not a host"),
            ("[[rule]]\ndeny = ['a']\nport = 5", "rule[0].port", "not a list"),
            ("[[rule]]\ndeny = ['a']\nport = [5, '6']", "rule[0].port[1]", "not a port"),
            ("[[rule]]\ndeny = ['a']\nport = [true]", "rule[0].port[0]", "not a port"),
            ("[rule]\ndeny = ['a']", "rule", "list of tables"),
            ("[[rules]]\ndeny = ['a']", "rules", "no such key"),
        ):
            problem = self.only(text)
            self.assertTrue(problem.where.endswith(f": {path}"), problem)
            self.assertIn(word, problem.what)
        self.assertEqual(self.only("[[rule]]\ndney = ['b']\nallow = ['b']").hint, "did you mean deny?")

    def test_oneProtocolEach(self) -> None:
        """A listener has a port of one protocol."""
        for text in ("[[listener]]\nstrict = true", "[[listener]]\nsocks = '1'\nhttp = '2'"):
            self.assertEqual(self.only(text).what, "a listener has one protocol")

    def test_listenersValues(self) -> None:
        """The keys of a listener are as exact, and one wrong one does not hide another."""
        document = self.read("[[listener]]\nsocks = 1080\nauth = 5\nclients = ['x', 'y']\nstrict = 1\n")
        self.assertEqual(
            [problem.where.partition(": line ")[2] for problem in document.problems],
            ["2: listener[0].socks", "3: listener[0].auth", "4: listener[0].clients[0]", "4: listener[0].clients[1]",
             "5: listener[0].strict"],
        )  # fmt: skip

    def test_controlsInKeys(self) -> None:
        """A key's control characters do not reach the terminal."""
        self.assertNotIn("\x1b", str(self.only('"\\u001b[2J" = 1')))

    def test_noSecrets(self) -> None:
        """Values that may hold secrets are not repeated."""
        for text in (
            "upstream = 'http://u:hunter2@h'", "upstream = [['http://u:hunter2@h']]", "auth = { a = 'hunter2' }",
            "upstream = [{ chain = 'http://u:hunter2@h', nam = 'x' }]",
        ):  # fmt: skip
            self.assertNotIn("hunter2", str(self.only(text)))

    def test_noLogins(self) -> None:
        """Nor is the login of a URL in a wrong place: a value, a key, a table's name."""
        url = "socks5://u:hunter2@a"
        for text in (
            f"no_proxy = ['{url}']", f"clients = ['{url}']", f"udp_ports = '{url}'", f"[retry]\ntotal = '{url}'",
            f"via = ['{url}', 5]", f"'{url}' = 5", f"[groups.'{url}']\nchains = ['direct']", f"'{url}'.x = 5",
            f"[groups.x]\nchains = ['direct']\nprobe = '{url}'", f"[[rule]]\ndeny = ['{url}']",
            f"[[route]]\nto = 'direct'\nhost = ['{url}']", f"[[listener]]\nsocks = '7'\n'{url}' = 1",
        ):  # fmt: skip
            problem = self.only(text)
            self.assertNotIn("hunter2", str(problem))
            self.assertIn("***@a", str(problem))


class UnreadableTests(FileCase):
    """Files that cannot be read at all."""

    def failure(self, name: str) -> Problem:
        """Why."""
        (problem,) = self.assertRaises(StartError, read, name).problems
        self.assertTrue(problem.hint)
        return problem

    def test_missing(self) -> None:
        """The system's words."""
        self.assertEqual(self.failure("/nope").what, "cannot read the configuration: No such file or directory")
        self.assertIn("Is a directory", self.failure("/").what)
        self.assertIn("no path", self.failure("a\0b").what)

    def test_syntax(self) -> None:
        """With the line, where tomllib tells one."""
        problem = self.failure(name := self.write("via = true\nx = = 5\n"))
        self.assertEqual(problem.where, f"{name}: line 2")
        self.assertEqual(self.failure(name := self.write("x = [")).where, name)
        twice = self.failure(self.write("['http://u:hunter2@a']\n['http://u:hunter2@a']\n"))
        self.assertNotIn("hunter2", str(twice))

    def test_noLogins(self) -> None:
        """A chain in place of the file's name is told without its login."""
        self.assertEqual(self.failure("socks5://u:hunter2@a").where, "***@a")

    def test_octets(self) -> None:
        """No UTF-8, too much, or too deep."""
        self.assertIn(": line 2", self.failure(self.write(b"via = true\nx = '\xff'")).where)
        self.assertIn("too large", self.failure(self.write(b"#" * (LIMIT + 1))).what)
        self.assertIn("deep", self.failure(self.write("x = " + "[" * 100_000)).what)
