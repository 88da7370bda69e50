"""From all layers to settings."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from pipsocks.config.chains import holdsSecret
from pipsocks.config.load import Loaded, load
from pipsocks.config.options import BY_KEY, parse
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Destination, Login, Problem, Secret, StartError
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import RouteSettings
from pipsocks.settings import Settings
from pipsocks.upstream.settings import ChainSettings, HopSettings
from tests.config.chains import fromEnvironment, parseChain
from tests.config.test_file import FileCase


def hop(scheme: str, host: str, port: int, login: Login | None = None) -> HopSettings:
    """A hop without TLS."""
    return HopSettings(scheme, Destination(host, port), login)


def upstream(settings: Settings) -> tuple[ChainSettings, ...]:
    """The chains of the default group."""
    return {group.name: group.chains for group in settings.groups}["default"]


class LoadCase(FileCase):
    """Loads."""

    def loaded(self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
        """All layers; the file's is named by the flag."""
        named = [] if file is None else ["--config", self.write(file)]
        return load(parse([*named, *words]), environ or {}, parseChain, fromEnvironment)

    def load(self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings alone."""
        return self.loaded(*words, file=file, environ=environ).settings

    def problems(self, *words: str, file: str | None = None, environ: Mapping[str, str] | None = None) -> list[Problem]:
        """Why nothing can be loaded."""
        error = self.assertRaises(StartError, self.loaded, *words, file=file, environ=environ)
        self.assertTrue(all(problem.hint for problem in error.problems), error.problems)
        return list(error.problems)


EFFECTS: list[tuple[list[str], dict[str, str], str, Any]] = [
    (["--journal", "x"], {"PIPSOCKS_JOURNAL": "x"}, "journal = 'x'", lambda s: s.journal.target == "x"),
    (["--journal-format=json"], {"PIPSOCKS_JOURNAL_FORMAT": "json"}, "journal_format = 'json'",
     lambda s: s.journal.form == "json"),
    (["--no-via"], {"PIPSOCKS_VIA": "off"}, "via = false", lambda s: s.via is False),
    (["--via"], {"PIPSOCKS_VIA": "1"}, "via = true", lambda s: s.via is True),
    (["--strict"], {"PIPSOCKS_STRICT": "yes"}, "strict = true", lambda s: all(each.strict for each in s.listeners)),
    (["--no-strict"], {"PIPSOCKS_STRICT": "no"}, "strict = false", lambda s: not any(e.strict for e in s.listeners)),
    (["--auth", "a", "--auth=b:c"], {"PIPSOCKS_AUTH": "a b:c"}, "auth = ['a', 'b:c']",
     lambda s: {each.auth for each in s.listeners} == {("a", "b:c")}),
    (["--clients=10.0.0.0/8", "--clients=::1"], {"PIPSOCKS_CLIENTS": "10.0.0.0/8 ::1"},
     "clients = ['10.0.0.0/8', '::1']",
     lambda s: [str(each) for each in s.listeners[1].clients] == ["10.0.0.0/8", "::1/128"]),
    (["--upstream=http://a:1", "--upstream=direct"], {"PIPSOCKS_UPSTREAM": "http://a:1 direct"},
     "upstream = ['http://a:1', 'direct']",
     lambda s: upstream(s) == (ChainSettings((hop("http", "a", 1),)), ChainSettings())),
    (["--deny=10.0.0.0/8", "--allow=*.A.example:443", "--deny=*"],
     {"PIPSOCKS_RULES": "deny:10.0.0.0/8 allow:*.a.example:443 deny:*"},
     "[[rule]]\ndeny = ['10.0.0.0/8']\n[[rule]]\nallow = ['*.a.example']\nport = [443]\n[[rule]]\ndeny = ['*']",
     lambda s: list(map(str, s.rules)) == ["deny 10.0.0.0/8", "allow *.a.example port 443", "deny *"]),
    (["--no-proxy=localhost, .Corp.example,,10.0.0.0/8", "--no-proxy=[::1]"],
     {"PIPSOCKS_NO_PROXY": "localhost,.corp.example 10.0.0.0/8 , ::1"},
     "no_proxy = ['localhost', '.corp.example', '10.0.0.0/8', '::1']",
     lambda s: s.routes[0] == RouteSettings(
         "direct", "no_proxy", hosts=("localhost", ".corp.example"), networks=("10.0.0.0/8", "::1/128"))),
    (["--no-retry-replay"], {"PIPSOCKS_RETRY_REPLAY": "no"}, "[retry]\nreplay = false",
     lambda s: s.retry.replay is False and s.retry.resume is True),
    (["--retry-replay"], {"PIPSOCKS_RETRY_REPLAY": "1"}, "[retry]\nreplay = true", lambda s: s.retry.replay is True),
    (["--no-retry-resume"], {"PIPSOCKS_RETRY_RESUME": "off"}, "[retry]\nresume = false",
     lambda s: s.retry.resume is False and s.groups[0].retry.resume is False),
    (["--retry-resume"], {"PIPSOCKS_RETRY_RESUME": "on"}, "[retry]\nresume = true", lambda s: s.retry.resume is True),
    (["--udp-advertise=192.0.2.7"], {"PIPSOCKS_UDP_ADVERTISE": "192.0.2.7"}, "udp_advertise = '192.0.2.7'",
     lambda s: {each.udpAdvertise for each in s.listeners} == {"192.0.2.7"}),
    (["--udp-ports=40000-40100"], {"PIPSOCKS_UDP_PORTS": "40000-40100"}, "udp_ports = '40000-40100'",
     lambda s: {each.udpPorts for each in s.listeners} == {range(40000, 40101)}),
    (["--socks=1", "--http=off"], {"PIPSOCKS_SOCKS": "1", "PIPSOCKS_HTTP": "off"}, "[[listener]]\nsocks = '1'",
     lambda s: [e.endpoint for e in s.listeners] == ["tcp:1:interface=127.0.0.1"]),
    (["--socks=off", "--http=[::1]:2"], {"PIPSOCKS_SOCKS": "off", "PIPSOCKS_HTTP": "[::1]:2"},
     "[[listener]]\nhttp = '[::1]:2'", lambda s: [e.endpoint for e in s.listeners] == [r"tcp:2:interface=\:\:1"]),
    *((
        [f"--{table}-{key.replace('_', '-')}={value}"], {f"PIPSOCKS_{table}_{key}".upper(): str(value)},
        f"[{table}]\n{key} = {value}", lambda s, t=table, k=key, v=value: getattr(getattr(s, t), k) == v,
    ) for table, key, value in (
        ("retry", "total", 1.5), ("retry", "attempts", 3), ("retry", "connect", 2), ("retry", "handshake", 0.25),
        ("retry", "budget", 0), ("retry", "budget", 0.5),
        ("timeouts", "handshake", 4), ("timeouts", "tunnel_idle", 60.5), ("timeouts", "drain", 7),
    )),
]  # fmt: skip
"""The same thing said by flags, by variables and by a file, and what it comes to."""


def comparable(settings: Settings) -> object:
    """The settings without where they came from."""
    listeners = [attrs.evolve(each, source="", authSource="") for each in settings.listeners]
    return (
        listeners,
        settings.rules,
        settings.groups,
        settings.routes,
        settings.retry,
        settings.timeouts,
        settings.journal,
        settings.via,
    )


class SettingsTests(LoadCase):
    """What each option does to the settings."""

    def test_defaults(self) -> None:
        """No configuration at all."""
        settings = self.load()
        self.assertEqual(upstream(settings), (ChainSettings(),))
        self.assertEqual([group.name for group in settings.groups], ["default"])
        self.assertEqual(settings.routes, (RouteSettings("default", "upstream"),))
        self.assertEqual((settings.retry, settings.timeouts), (RetrySettings(), TimeoutSettings()))
        self.assertEqual((settings.journal, settings.via, settings.notices), (JournalSettings(), True, ()))
        self.assertEqual([each.protocol for each in settings.listeners], ["socks", "http"])

    def test_effects(self) -> None:
        """By flag, variable and file alike."""
        for words, environ, file, isSo in EFFECTS:
            byFlag, byVariable, byFile = self.load(*words), self.load(environ=environ), self.load(file=file)
            self.assertTrue(isSo(byFlag), words)
            self.assertEqual(comparable(byFlag), comparable(byVariable), words)
            self.assertEqual(comparable(byFlag), comparable(byFile), words)

    def test_everyOptionHasAnEffect(self) -> None:
        """None is missing above."""
        said = {word.partition("=")[0] for words, *_ in EFFECTS for word in words if word.startswith("--")}
        switches = {option.off for option in BY_KEY.values() if not option.metavar}
        self.assertEqual(said | {"--config"}, {option.flag for option in BY_KEY.values()} | switches)

    @given(
        st.sampled_from(["retry.total", "retry.connect", "retry.budget", "timeouts.drain", "timeouts.tunnel_idle"]),
        st.decimals("0.001", 10**6, places=3) | st.integers(-3, 10**10),
    )
    def test_sameNumbers(self, key: str, number: object) -> None:
        """A number means the same everywhere, or is refused everywhere."""
        option = BY_KEY[key]
        table, name = key.split(".")
        outcomes = {
            self.outcome(key, file=f"[{table}]\n{name} = {number}"),
            self.outcome(key, environ={option.twin: str(number)}),
            self.outcome(key, f"{option.flag}={number}"),
        }
        self.assertEqual(len(outcomes), 1, outcomes)

    def outcome(self, key: str, *words: str, **layers: Any) -> object:
        """The setting that this comes to; None where it is refused."""
        table, name = key.split(".")
        try:
            return getattr(getattr(self.load(*words, **layers), table), name)
        except StartError:
            return None


class RuleTests(LoadCase):
    """Who may go where."""

    def rules(self, *words: str, **layers: Any) -> list[str]:
        """The rules, as one reads them."""
        return list(map(str, self.load(*words, **layers).rules))

    def test_whole(self) -> None:
        """What is said above replaces the file's list whole."""
        file = "[[rule]]\ndeny = ['a.example', 'b.example']\nport = [1, 2]\n"
        self.assertEqual(self.rules(file=file), ["deny a.example port 1,2", "deny b.example port 1,2"])
        self.assertEqual(self.rules(file=file, environ={"PIPSOCKS_RULES": "deny:*"}), ["deny *"])
        self.assertEqual(self.rules("--allow", "*", file=file, environ={"PIPSOCKS_RULES": "deny:*"}), ["allow *"])

    def test_patterns(self) -> None:
        """Each kind, in one spelling."""
        for said, read in (
            ("*", "*"), ("A.Example.", "a.example"), (".x.", ".x"), ("*.foo_bar.x", "*.foo_bar.x"), ("host", "host"),
            ("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("::1", "::1/128"), ("[::1]", "::1/128"),
            ("FD00:0::/8", "fd00::/8"), ("link-local", "link-local"), ("private.", "private"),
            ("[fd00::/8]:22", "fd00::/8 port 22"), ("10.0.0.0/8:22", "10.0.0.0/8 port 22"), ("*:25", "* port 25"),
            ("xn--bcher-kva.example:443", "xn--bcher-kva.example port 443"),
            ("*.b\u00fccher.example:443", "*.xn--bcher-kva.example port 443"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("[::ffff:10.0.0.1]:22", "10.0.0.1/32 port 22"),
        ):  # fmt: skip
            self.assertEqual(self.rules("--deny", said), [f"deny {read}"], said)

    def test_wrong(self) -> None:
        """What might be meant otherwise is refused, with what to write."""
        for said in (
            "", "a b", "127.1", "0x7f.1", "1.2.3", "300.1.1.1", "10.0.0.1/8", "fd00::1/8", "b\u00fc cher.example",
            "a..b", "**.x", "x.*", "a.example:0", "a.example:65536", "a.example:http", "[::1", "://x", "-.1", ".", "*.",
            "a" * 64 + ".x", "::ffff:300.0.0.1", "1.2.3.4.5", "a.5",
        ):  # fmt: skip
            (problem,) = self.problems("--allow", said)
            self.assertEqual(problem.where, "--allow", said)
        for said in ("privat", "linklocal", "link_local", "Loopbak"):
            self.assertIn("did you mean", self.problems("--deny", said)[0].hint, said)
        (problem,) = self.problems(environ={"PIPSOCKS_RULES": "10.0.0.0/8"})
        self.assertEqual((problem.where, "deny:10.0.0.0/8" in problem.hint), ("PIPSOCKS_RULES", True))

    def test_wrongUDP(self) -> None:
        """An address is one, and a range has its ends in order."""
        for said in ("a.example", "1", "127.1", "192.0.2.7:5", "::1%lo", "300.0.0.1"):
            self.assertEqual(self.problems("--udp-advertise", said)[0].where, "--udp-advertise", said)
        for said in ("5", "5-", "0-5", "9-5", "1-65536", "a-b", "1-2-3"):
            self.assertEqual(self.problems("--udp-ports", said)[0].where, "--udp-ports", said)
        self.assertEqual(self.problems(file="udp_ports = 5")[0].what, "5 is not a range of ports")


class ChainTests(LoadCase):
    """Chains, their names and their secrets."""

    def test_names(self) -> None:
        """A table in the file may name its chain."""
        settings = self.load(file="upstream = [{ chain = 'http://a:1', name = 'office' }, 'http://b:1']")
        self.assertEqual([chain.name for chain in upstream(settings)], ["office", ""])

    def test_secrets(self) -> None:
        """They are looked up in the environment that was given, and a variable that is named may be called as ours."""
        settings = self.load("--upstream", "http://u:${env:PIPSOCKS_HK1}@a:1", environ={"PIPSOCKS_HK1": "hunter2"})
        self.assertEqual(upstream(settings)[0].hops[0].login, Login("u", Secret("hunter2")))
        self.assertNotIn("hunter2", repr(settings))

    def test_wrongChains(self) -> None:
        """Each is told, with where it stands."""
        problems = self.problems(file="upstream = [\n'x',\n'direct',\n'http://u:${env:X}@a:1']\n")
        self.assertEqual([p.where.partition(": line ")[2] for p in problems], ["2: upstream[0]", "4: upstream[2]"])
        self.assertIn("set X", problems[1].hint)

    def test_emptyList(self) -> None:
        """No chain at all would refuse everything, which nobody means."""
        self.assertIn("direct", self.problems(file="upstream = []")[0].hint)
        self.assertEqual(len(self.problems(file="upstream = [5]")), 1)

    def test_strangeVariables(self) -> None:
        """A variable that looks like ours is refused."""
        self.assertEqual([p.where for p in self.problems(environ={"PIPSOCKS_GROUP": "*"})], ["PIPSOCKS_GROUP"])

    def test_twinsElsewhere(self) -> None:
        """Who judges a file alone has secrets looked up, and twins ignored."""
        environ = {"PIPSOCKS_VIA": "nonsense", "X": "hunter2"}
        arguments = parse(["--upstream", "http://u:${env:X}@a:1"])
        settings = load(arguments, environ, parseChain, fromEnvironment, twins={}).settings
        self.assertEqual((settings.via, len(upstream(settings))), (True, 1))


class EnvironmentTests(LoadCase):
    """HTTPS_PROXY and its kin."""

    def test_ignored(self) -> None:
        """They are not heeded, and a line says so, without what they hold."""
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
            settings = self.load(environ={name: "http://u:hunter2@a:1"})
            (notice,) = settings.notices
            self.assertIn(f"{name} in our environment", notice)
            self.assertNotIn("hunter2", notice)
            self.assertEqual(upstream(settings), (ChainSettings(),))
        self.assertEqual(self.load(environ={"HTTPS_PROXY": ""}).notices, ())

    def test_env(self) -> None:
        """``--upstream env`` takes the hop from them, in the file too."""
        environ = {"HTTPS_PROXY": "http://u:p@a:1"}
        for settings in (
            self.load("--upstream", "env", environ=environ),
            self.load(file="upstream = ['env']", environ=environ),
        ):
            self.assertEqual(upstream(settings), (ChainSettings((hop("http", "a", 1, Login("u", Secret("p"))),)),))
            self.assertEqual(settings.notices, ())

    def test_envWithout(self) -> None:
        """It needs one."""
        self.assertEqual(self.problems("--upstream", "env")[0].where, "--upstream")

    def test_ourselves(self) -> None:
        """A proxy that is one of our own listeners would send each session to us again."""
        for proxy, words in (
            ("127.0.0.1:3128", ()), ("localhost:3128", ()), ("127.0.0.1:1080", ()), ("::1:7", ("--http", "[::1]:7")),
            ("127.0.0.1:7", ("--http", "0.0.0.0:7", "--clients", "10.0.0.0/8")),
            ("localhost:7", ("--http", "tcp:7:interface=localhost")),
            ("0.0.0.0:3128", ()), ("::ffff:127.0.0.1:3128", ()), ("0.0.0.0:7", ("--http", "[::1]:7")),
            (f"{socket.gethostname()}:7", ("--http", "0.0.0.0:7", "--clients", "10.0.0.0/8")),
        ):  # fmt: skip
            problems = self.problems("--upstream", "env", *words, environ={"HTTPS_PROXY": f"http://{proxy}"})
            self.assertEqual([problem.where for problem in problems], ["--upstream"], proxy)
            self.assertIn("our own", problems[0].what)
        self.assertEqual(len(self.problems("--upstream", "http://127.0.0.1:3128")), 1)

    def test_notOurselves(self) -> None:
        """Others on this machine are fine."""
        for proxy, words in (
            ("127.0.0.1:3129", ()), ("127.0.0.2:3128", ()), ("a:3128", ()), ("127.0.0.1:3128", ("--http", "unix:/x")),
            ("192.0.2.1:7", ("--http", "0.0.0.0:7", "--clients", "10.0.0.0/8")), ("127.0.0.1:0", ("--http", "0")),
        ):  # fmt: skip
            self.load("--upstream", f"http://{proxy}", *words)


class NoticeTests(LoadCase):
    """What is allowed, and worth a line."""

    def test_typedSecret(self) -> None:
        """A password on the command line is warned of once, with its twins, and not repeated."""
        (notice,) = self.load("--upstream=http://u:hunter2@a:1", "--upstream=http://u:hunter2@b:1").notices
        for twin in ("PIPSOCKS_UPSTREAM", "${file:", "${env:", "${credential:"):
            self.assertIn(twin, notice)
        self.assertNotIn("hunter2", notice)

    def test_otherSecrets(self) -> None:
        """In the environment, in a file or by reference it is no matter."""
        chain = "http://u:hunter2@a:1"
        self.assertEqual(self.load(environ={"PIPSOCKS_UPSTREAM": chain}).notices, ())
        self.assertEqual(self.load(file=f"upstream = ['{chain}']").notices, ())
        self.assertEqual(self.load("--upstream", "http://u:${env:X}@a:1", environ={"X": "1"}).notices, ())

    def test_typedLogin(self) -> None:
        """Twisted's checker in memory has its passwords in the option."""
        (notice,) = self.load("--auth", "memory:u:hunter2").notices
        self.assertNotIn("hunter2", notice)
        self.assertIn("PIPSOCKS_AUTH", notice)
        self.assertEqual(self.load(environ={"PIPSOCKS_AUTH": "memory:u:hunter2"}).notices, ())

    def test_unverified(self) -> None:
        """TLS without verification."""
        (notice,) = self.load("--upstream", "https://a:1?off").notices
        self.assertIn("verify=off", notice)

    def test_holdsSecret(self) -> None:
        """In any hop; a user alone is none."""
        self.assertTrue(holdsSecret("http://a:1,socks5://u:p@b:2"))
        self.assertTrue(holdsSecret("http://u:x${env:P}@a:1"))
        self.assertTrue(holdsSecret("ssh://u@a?key=/k&passphrase=p"))
        for chain in (
            "direct",
            "http://u@a:1",
            "http://u:@a:1",
            "http://u:${env:P}@a:1",
            "http://${env:A@}:${file:/x}@b",
            "ssh://u@a?key=/k&passphrase=${env:P}",
        ):
            self.assertFalse(holdsSecret(chain), chain)
