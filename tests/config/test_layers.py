"""The command line over the environment over the file over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from pipsocks.config.layers import Gathered, gather, strangers
from pipsocks.config.options import parse
from pipsocks.model import Problem
from tests.config.test_file import FileCase

SOCKS, HTTP = ("socks", "tcp:1080:interface=127.0.0.1"), ("http", "tcp:3128:interface=127.0.0.1")


class LayersCase(FileCase):
    """Gathers."""

    def gather(self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None) -> Gathered:
        """All layers; the file's is named by the flag."""
        named = [] if file is None else ["--config", self.write(file)]
        return gather(parse([*named, *words]), environ or {})

    def listeners(
        self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Where that listens."""
        gathered = self.gather(*words, file=file, environ=environ)
        self.assertEqual(gathered.problems, [])
        return [(listener.protocol, listener.endpoint) for listener in gathered.listeners]

    def problem(self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None) -> Problem:
        """The one thing that is wrong with it."""
        (problem,) = self.gather(*words, file=file, environ=environ).problems
        self.assertTrue(problem.hint)
        return problem


class PrecedenceTests(LayersCase):
    """Who is heard."""

    def test_order(self) -> None:
        """Each layer goes before those below it."""
        file = "[retry]\ntotal = 1\n"
        environ = {"PIPSOCKS_RETRY_TOTAL": "2"}
        self.assertEqual(self.gather(file=file).values("retry.total"), (1.0,))
        self.assertEqual(self.gather(file=file, environ=environ).values("retry.total"), (2.0,))
        gathered = self.gather("--retry-total", "3", file=file, environ=environ)
        self.assertEqual((gathered.values("retry.total"), gathered.source("retry.total")), ((3.0,), "--retry-total"))
        self.assertEqual((self.gather().values("retry.total"), self.gather().source("retry.total")), ((), "default"))

    def test_listsReplaceWhole(self) -> None:
        """A list higher up leaves nothing of the lower one; in a variable white space separates."""
        file, environ = 'clients = ["10.0.0.0/8"]', {"PIPSOCKS_CLIENTS": " 10.1.0.0/16\t10.2.0.0/16\n"}
        self.assertEqual(
            self.gather(file=file, environ=environ).values("clients"),
            (ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")),
        )
        self.assertEqual(
            self.gather("--clients", "::1", file=file, environ=environ).values("clients"), (ip_network("::1/128"),)
        )

    def test_emptyVariable(self) -> None:
        """An empty variable, or one of white space alone, is one that is not set."""
        for text in ("", " \t"):
            self.assertEqual(self.gather(file="via = false", environ={"PIPSOCKS_VIA": text}).values("via"), (False,))

    def test_noAuth(self) -> None:
        """An empty login on the command line is none at all, as in the file."""
        gathered = self.gather("--auth", "", file='auth = "htpasswd:x"')
        self.assertEqual((gathered.values("auth"), gathered.source("auth")), ((), "--auth"))

    def test_lastCounts(self) -> None:
        """Of an option that is no list, the last."""
        self.assertEqual(self.gather("--via", "--no-via").values("via"), (False,))
        self.assertEqual(self.gather("--journal=a", "--journal=b").values("journal"), ("b",))

    def test_config(self) -> None:
        """The file is named by flag or variable, and the flag goes before."""
        one, two = self.write("via = false"), self.write("strict = true")
        environ = {"PIPSOCKS_CONFIG": one}
        self.assertEqual(self.gather(environ=environ).values("via"), (False,))
        gathered = self.gather("--config", two, environ=environ)
        self.assertEqual((gathered.values("via"), gathered.values("strict")), ((), (True,)))

    def test_problemsOfAllLayers(self) -> None:
        """All are told, each with where it was written."""
        gathered = self.gather(
            "--retry-total", "x", "--clients", "y", file="via = 5", environ={"PIPSOCKS_STRICT": "maybe"}
        )
        where = [problem.where.rpartition(": ")[2] for problem in gathered.problems]
        self.assertEqual(where, ["--clients", "PIPSOCKS_STRICT", "--retry-total", "via"])

    def test_unreadableFile(self) -> None:
        """It does not hide what else is wrong."""
        gathered = self.gather("--config", "/nope", "--retry-total", "x")
        self.assertEqual([problem.where for problem in gathered.problems], ["--retry-total", "/nope"])


class ListenerTests(LayersCase):
    """Who listens where."""

    def test_defaults(self) -> None:
        """Both ports, on loopback."""
        self.assertEqual(self.listeners(), [SOCKS, HTTP])

    def test_oneProtocolReplaced(self) -> None:
        """A flag, or its twin, replaces the listeners of its protocol only."""
        self.assertEqual(self.listeners("--socks", "1", "--socks", "unix:/x"), [
            ("socks", "tcp:1:interface=127.0.0.1"), ("socks", "unix:/x"), HTTP,
        ])  # fmt: skip
        self.assertEqual(self.listeners(environ={"PIPSOCKS_HTTP": "1 2"}), [
            SOCKS, ("http", "tcp:1:interface=127.0.0.1"), ("http", "tcp:2:interface=127.0.0.1"),
        ])  # fmt: skip
        file = "[[listener]]\nhttp = '3'\n[[listener]]\nsocks = '4'\n[[listener]]\nsocks = '5'\n"
        self.assertEqual(self.listeners("--http", "6", file=file), [
            ("socks", "tcp:4:interface=127.0.0.1"), ("socks", "tcp:5:interface=127.0.0.1"),
            ("http", "tcp:6:interface=127.0.0.1"),
        ])  # fmt: skip

    def test_fileReplacesDefaults(self) -> None:
        """A file that lists listeners lists all of them."""
        self.assertEqual(self.listeners(file="[[listener]]\nhttp = '3128'"), [HTTP])
        self.assertEqual(self.listeners("--socks", "1080", file="[[listener]]\nhttp = '3128'"), [SOCKS, HTTP])

    def test_off(self) -> None:
        """Off is none of that protocol."""
        self.assertEqual(self.listeners("--socks", "off"), [HTTP])
        self.assertEqual(
            self.listeners("--http", "off", file="[[listener]]\nsocks='1080'\n[[listener]]\nhttp='1'"), [SOCKS]
        )
        self.assertEqual(self.listeners(file="[[listener]]\nsocks='off'\n[[listener]]\nhttp='3128'"), [HTTP])

    def test_offBesideOthers(self) -> None:
        """Off and a port contradict each other."""
        self.assertEqual(self.problem("--socks", "off", "--socks", "1").where, "--socks")

    def test_noLoginsInErrors(self) -> None:
        """A URL with a login in a wrong option, variable or place of the file is told without the login."""
        url = "socks5://u:hunter2@a"
        for environ in (
            {"PIPSOCKS_NO_PROXY": url}, {"PIPSOCKS_CONFIG": url}, {"PIPSOCKS_RULES": url}, {"PIPSOCKS_CLIENTS": url},
        ):  # fmt: skip
            problem = self.problem(environ=environ)
            self.assertNotIn("hunter2", str(problem))
            self.assertIn("***@a", str(problem))
        for words in (("--deny", url), ("--no-proxy", f"{url}:80"), ("--udp-ports", url), ("--retry-total", url)):
            self.assertNotIn("hunter2", str(self.problem(*words)))

    def test_nothingToListenOn(self) -> None:
        """All off is no proxy."""
        self.assertEqual(self.problem("--socks", "off", "--http", "off").what, "there is nothing to listen on")
        self.assertIn("listener", self.problem(file="listener = []").where)

    def test_ownKeysReplaceTopOnes(self) -> None:
        """A listener of the file takes the top-level keys that it does not have itself."""
        gathered = self.gather(
            file="auth = 'a'\nclients = ['10.0.0.0/8']\nstrict = true\n"
            "[[listener]]\nsocks = '1'\nauth = ['b', 'c']\nstrict = false\n[[listener]]\nhttp = '2'\nclients = []\n"
        )
        socks, http = gathered.listeners
        ten = (ip_network("10.0.0.0/8"),)
        self.assertEqual((socks.auth, socks.clients, socks.strict), (("b", "c"), ten, False))
        self.assertEqual((http.auth, http.clients, http.strict), (("a",), (), True))
        self.assertIn("line 6: listener[0].auth", socks.authSource)
        self.assertIn("line 1: auth", http.authSource)
        self.assertIn("line 5: listener[0].socks", socks.source)

    def test_flagsTakeTopOnes(self) -> None:
        """What a flag opens takes the effective top-level keys."""
        gathered = self.gather("--socks", "1", "--auth", "b", file="auth = 'a'\nstrict = true\n")
        self.assertEqual([(each.auth, each.strict) for each in gathered.listeners], [(("b",), True), (("b",), True)])
        self.assertEqual([each.source for each in gathered.listeners], ["--socks", "default"])

    def test_loginIsNotReplaced(self) -> None:
        """A listener of the file with a login of its own is not replaced by one that has none."""
        file = "[[listener]]\nsocks = '1'\nauth = 'b'\n"
        problem = self.problem("--socks", "2", file=file)
        self.assertEqual(problem.where, "--socks")
        self.assertIn("line 3: listener[0].auth", problem.what)
        self.assertEqual(self.problem(file=file, environ={"PIPSOCKS_SOCKS": "2"}).where, "PIPSOCKS_SOCKS")
        self.assertEqual(self.listeners("--http", "3128", file=file), [("socks", "tcp:1:interface=127.0.0.1"), HTTP])
        self.assertEqual(self.listeners("--socks", "1080", file="[[listener]]\nsocks = '1'\nauth = ''\n"), [SOCKS])

    def test_openProxy(self) -> None:
        """Nobody becomes an open proxy by accident; a login or networks are both enough."""
        for where in ("0.0.0.0:1", "[::]:1", "192.0.2.1:1", "tcp:1", "tcp6:1", "ssl:1"):
            problem = self.problem("--http", where)
            self.assertEqual(problem.where, "--http")
            self.assertIn("open proxy", problem.what)
            self.assertIn("--auth", problem.hint)
            self.assertIn("--clients", problem.hint)
            self.assertEqual(self.gather("--http", where, "--auth", "htpasswd:x").problems, [])
            self.assertEqual(self.gather("--http", where, "--clients", "10.0.0.0/8").problems, [])
        for where in ("unix:/x", "[::1]:1", "127.9.9.9:1", "tcp:1:interface=localhost", "systemd:domain=INET:name=x"):
            self.assertEqual(self.gather("--http", where).problems, [])

    def test_openProxyIsNotGuessed(self) -> None:
        """Where the networks are misspelt, that is the error, and not that there are none."""
        self.assertEqual(self.problem("--http", "0.0.0.0:1", "--clients", "x").where, "--clients")
        self.assertIn("clients", self.problem(file="clients = 5\n[[listener]]\nhttp = '0.0.0.0:1'\n").where)

    def test_sameAddress(self) -> None:
        """Two listeners on one address are told before anything is bound, with where both stand."""
        for words, file, where, other in (
            (("--socks", "7", "--http", "127.0.0.1:7"), None, "--http", "--socks"),
            (("--socks", "7", "--socks", "tcp:7:interface=127.0.0.1"), None, "--socks", "--socks"),
            (("--socks", "3128"), None, "the default of --http", "--socks"),
            (("--http", "1080"), None, "--http", "the default of --socks"),
            (
                (), "[[listener]]\nhttp = '7'\n[[listener]]\nsocks = '7'\n",
                "2: listener[0].http", "4: listener[1].socks",
            ),
            (
                (), "[[listener]]\nsocks = '[::1]:7'\n[[listener]]\nsocks = '[0:0::1]:7'\n",
                "4: listener[1].socks", "2: listener[0].socks",
            ),
            (("--http", "7"), "[[listener]]\nsocks = '7'\n", "--http", "2: listener[0].socks"),
        ):  # fmt: skip
            problem = self.problem(*words, file=file)
            self.assertTrue(problem.where.endswith(where), problem)
            self.assertTrue(problem.what.endswith(other), problem)

    def test_otherAddress(self) -> None:
        """Another port, another address, any port and what is known only once it is bound are no matter."""
        for words in (
            ("--socks", "0", "--http", "0"), ("--socks", "127.0.0.2:7", "--http", "7"),
            ("--socks", "unix:/x", "--http", "systemd:domain=INET:name=x"), ("--socks", "[::1]:7", "--http", "7"),
        ):  # fmt: skip
            self.assertEqual(self.gather(*words).problems, [])

    def test_openProxyInTheFile(self) -> None:
        """A listener that lays the top-level login down is one too."""
        problem = self.problem(file="auth = 'x'\n[[listener]]\nhttp = '0.0.0.0:1'\nauth = ''\n")
        self.assertIn("line 3: listener[0].http", problem.where)


class StrangersTests(LayersCase):
    """Variables that look like ours."""

    def test_unknown(self) -> None:
        """They are refused, with the nearest known name."""
        ours = {"PIPSOCKS_RULES": "deny:*", "PIPSOCKS_VIA": "1"}
        problems = strangers({"PIPSOCKS_UPSTREEM": "x", "PIPSOCKS_GROUP": "a", "PATH": "/", **ours}, set())
        self.assertEqual([problem.where for problem in problems], ["PIPSOCKS_GROUP", "PIPSOCKS_UPSTREEM"])
        self.assertEqual(problems[1].hint, "did you mean PIPSOCKS_UPSTREAM?")
        self.assertTrue(problems[0].hint)

    def test_named(self) -> None:
        """One that the configuration names itself, for a secret, is known."""
        self.assertEqual(strangers({"PIPSOCKS_HK1": "x"}, {"PIPSOCKS_HK1"}), [])

    def test_kubernetes(self) -> None:
        """What Kubernetes sets beside a service called pipsocks is nobody's option."""
        names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_3128_TCP", "PORT_3128_TCP_ADDR")
        self.assertEqual(strangers({f"PIPSOCKS_{name}": "x" for name in names}, set()), [])
