"""The tables ``[groups.NAME]``."""

from __future__ import annotations

from pipsocks.gateway.settings import RetrySettings
from pipsocks.model import Destination, Login, Secret
from pipsocks.policy.settings import RouteSettings
from pipsocks.settings import GroupSettings
from pipsocks.upstream.settings import STRATEGIES, ChainSettings
from tests.config.test_load import LoadCase, hop

ROUTE = "[[route]]\nto = 'exits'\n"
EXITS = ROUTE + "[groups.exits]\nchains = ['http://a:1']\n"


class GroupTests(LoadCase):
    """What a group comes to."""

    def test_defaults(self) -> None:
        """Chains are all that a group needs."""
        settings = self.load(file=EXITS)
        self.assertEqual(settings.groups, (GroupSettings("exits", (ChainSettings((hop("http", "a", 1),)),)),))
        self.assertEqual(settings.routes, (RouteSettings("exits", "route[0]"),))
        self.assertEqual(settings.notices, ())

    def test_whole(self) -> None:
        """Every key that there is."""
        (group,) = self.load(
            file=ROUTE + "[groups.exits]\nstrategy = 'fastest'\nhedge = 'auto'\nprobe = 'Index.example:443'\n"
            "chains = [{ chain = 'http://a:1', name = 'x', tier = 2 }, 'direct']\n"
            "retry = { total = 4, attempts = 2, connect = 1, handshake = 0.5, budget = 0.2, replay = false,"
            " resume = false }\n"
        ).groups
        self.assertEqual(
            group,
            GroupSettings(
                "exits",
                (ChainSettings((hop("http", "a", 1),), "x", 2), ChainSettings()),
                "fastest",
                True,
                Destination("index.example", 443),
                RetrySettings(4.0, 2, 1.0, 0.5, 0.2, False, False),
            ),
        )

    def test_strategies(self) -> None:
        """By their names."""
        for name in STRATEGIES:
            self.assertEqual(self.load(file=EXITS + f"strategy = '{name}'").groups[0].strategy, name)

    def test_none(self) -> None:
        """What is off by default can be said to be."""
        self.assertEqual(self.load(file=EXITS + "hedge = 'off'\nprobe = ''").groups, self.load(file=EXITS).groups)

    def test_retry(self) -> None:
        """What a group leaves out of its retry policy is what holds for all, wherever that was said."""
        for form in ("retry = { attempts = 2 }", "[groups.exits.retry]\nattempts = 2"):
            settings = self.load("--retry-connect=2", file=f"retry.handshake = 1.5\n{EXITS}{form}\n",
                                 environ={"PIPSOCKS_RETRY_TOTAL": "5"})  # fmt: skip
            self.assertEqual(settings.groups[0].retry, RetrySettings(5.0, 2, 2.0, 1.5))
            self.assertEqual(settings.retry, RetrySettings(5.0, 8, 2.0, 1.5))

    def test_ownRetryStays(self) -> None:
        """A group's own word is not overridden by what is said for all."""
        settings = self.load("--retry-total=5", file=EXITS + "retry = { total = 3 }")
        self.assertEqual((settings.groups[0].retry.total, settings.retry.total), (3.0, 5.0))

    def test_order(self) -> None:
        """Groups stand as in the file."""
        names = ["c", "a", "a.b", "b"]
        file = "".join(f"[[route]]\nto = '{n}'\nport = [1]\n[groups.'{n}']\nchains = ['direct']\n" for n in names)
        self.assertEqual([group.name for group in self.load(file=file).groups], names)

    def test_secrets(self) -> None:
        """References are looked up in groups too, and ``env`` is a chain there."""
        file = "[[route]]\nto = 'exits'\n[groups.exits]\nchains = ['http://u:${env:PIPSOCKS_HK1}@a:1', 'env']\n"
        environ = {"PIPSOCKS_HK1": "hunter2", "HTTPS_PROXY": "http://b:1"}
        settings = self.load(file=file, environ=environ)
        one, two = settings.groups[0].chains
        self.assertEqual(one.hops[0].login, Login("u", Secret("hunter2")))
        self.assertEqual(two, ChainSettings((hop("http", "b", 1),)))
        self.assertEqual(settings.notices, ())
        self.assertNotIn("hunter2", repr(settings))
        problems = self.problems(file=file, environ={})
        self.assertEqual(
            [problem.where.partition(": line ")[2] for problem in problems],
            ["4: groups.exits.chains[0]", "4: groups.exits.chains[1]"],
        )

    def test_unverified(self) -> None:
        """TLS without verification is warned of in groups too, once for each place."""
        (notice,) = self.load(file=ROUTE + "[groups.exits]\nchains = ['https://a:1?off', 'https://a:1?off']\n").notices
        self.assertIn("verify=off", notice)

    def test_passwordInAFile(self) -> None:
        """Which is where it belongs."""
        self.assertEqual(self.load(file=ROUTE + "[groups.exits]\nchains = ['http://u:hunter2@a:1']\n").notices, ())


class WrongTests(LoadCase):
    """What is wrong with a group, and where."""

    def test_wrong(self) -> None:
        """Each with its path, its line and what to write."""
        for text, path, words in (
            ("strategy = 'Order'", "5: groups.exits.strategy", "no strategy"),
            ("strategy = ['order']", "5: groups.exits.strategy", "no strategy"),
            ("hedge = true", "5: groups.exits.hedge", "hedging"),
            ("probe = 'index.example'", "5: groups.exits.probe", "host and a port"),
            ("probe = 5", "5: groups.exits.probe", "host and a port"),
            ("stratgy = 'order'", "5: groups.exits.stratgy", "no such key"),
            ("retry = 5", "5: groups.exits.retry", "not a table"),
            ("retry = { totl = 5 }", "5: groups.exits.retry.totl", "no such key"),
            ("retry = { total = '5' }", "5: groups.exits.retry.total", "number of seconds"),
            ("[groups.exits.retry]\nbudget = -1", "6: groups.exits.retry.budget", "not an amount"),
            ("[groups.exits.retry]\nreplay = 1", "6: groups.exits.retry.replay", "neither true nor false"),
            ("[groups.direct]\nchains = ['direct']", "5: groups.direct", "no name for a group"),
            ("[groups.deny]\nchains = ['direct']", "5: groups.deny", "no name for a group"),
            ("[groups.'a b']\nchains = ['direct']", "5: groups.a b", "cannot be a name"),
            ("[groups.'']\nchains = ['direct']", "5: groups.", "cannot be a name"),
            ("[groups.b]\nstrategy = 'order'", "5: groups.b", "needs chains"),
            ("[groups.b]\nchains = []", "6: groups.b.chains", "is empty"),
            ("[groups.b]\nchains = ['http://127.0.0.1:3128']", "6: groups.b.chains[0]", "our own listeners"),
            ("[groups.b]\nchains = ['x']", "6: groups.b.chains[0]", "no chain"),
            ("[groups]\nb = 5", "6: groups.b", "not a table"),
        ):
            (problem,) = self.problems(file=EXITS + text)
            self.assertEqual(problem.where.partition(": line ")[2], path, text)
            self.assertIn(words, problem.what)

    def test_hints(self) -> None:
        """The nearest known name is offered."""
        for text, meant in (
            ("stratgy = 'order'", "strategy"), ("strategy = 'round_robin'", "round-robin"), ("chain = []", "chains"),
            ("retry = { atempts = 5 }", "attempts"),
        ):  # fmt: skip
            self.assertIn(f"did you mean {meant}?", self.problems(file=EXITS + text)[0].hint)

    def test_noTable(self) -> None:
        """Where a table belongs, the routes are not blamed as well."""
        for text in ("groups = 5", "[[groups]]\nchains = []"):
            (problem,) = self.problems(file=f"{text}\n{ROUTE}")
            self.assertIn("[groups.NAME]", problem.hint)

    def test_controls(self) -> None:
        """A name's control characters do not reach the terminal."""
        (problem,) = self.problems(file=EXITS + '[groups."\\u001b[2J"]\nchains = ["direct"]')
        self.assertNotIn("\x1b", str(problem))

    def test_defaultTwice(self) -> None:
        """``upstream`` is short for the group "default", which is free otherwise."""
        file = "[[route]]\nto = 'default'\n[groups.default]\nchains = ['http://a:1']\n"
        self.assertEqual([group.name for group in self.load(file=file).groups], ["default"])
        (problem,) = self.problems("--upstream", "direct", file=file)
        self.assertTrue(problem.where.endswith("line 3: groups.default"), problem)
        self.assertIn("--upstream", problem.hint)
        (problem,) = self.problems(file="upstream = ['direct']\n" + file)
        self.assertIn("line 1: upstream", problem.hint)
