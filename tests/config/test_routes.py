"""Routes: ``[[route]]``, ``no_proxy``, ``upstream``."""

from __future__ import annotations

from typing import Any

from pipsocks.policy.settings import RouteSettings
from tests.config.test_load import LoadCase

GROUPS = "[groups.exits]\nchains = ['http://a:1']\n[groups.office]\nchains = ['http://b:1', 'direct']\n"


class RoutesCase(LoadCase):
    """Loads routes."""

    def routes(self, *words: str, **layers: Any) -> list[RouteSettings]:
        """The routes."""
        return list(self.load(*words, **layers).routes)

    def labels(self, *words: str, **layers: Any) -> list[tuple[str, str]]:
        """Their labels and where they lead."""
        return [(route.label, route.to) for route in self.routes(*words, **layers)]


class RouteTests(RoutesCase):
    """What the tables come to."""

    def test_whole(self) -> None:
        """Every condition, in the spelling that the policy room knows."""
        file = GROUPS + (
            "[[route]]\nhost = ['*.Corp.example', 'a.example.']\nnetwork = ['10.0.0.0/8', '::1']\nport = [80, 443]\n"
            "user = ['bob']\nlistener = ['socks', '127.0.0.1:3128']\nto = 'office'\n[[route]]\nto = 'exits'\n"
        )
        self.assertEqual(
            self.routes(file=file),
            [
                RouteSettings(
                    "office", "route[0]", ("*.corp.example", "a.example"), ("10.0.0.0/8", "::1/128"), (80, 443),
                    ("bob",), ("socks", "127.0.0.1:3128"),
                ),
                RouteSettings("exits", "route[1]"),
            ],
        )  # fmt: skip

    def test_empty(self) -> None:
        """A condition without values holds for all."""
        file = "[[route]]\nhost = []\nnetwork = []\nport = []\nuser = []\nlistener = []\nto = 'direct'\n"
        self.assertEqual(self.routes(file=file), [RouteSettings("direct", "route[0]")])

    def test_noGroups(self) -> None:
        """Routes need no group."""
        file = "[[route]]\nport = [443]\nto = 'direct'\n[[route]]\nto = 'deny'\n"
        settings = self.load(file=file)
        self.assertEqual((settings.groups, len(settings.routes), settings.notices), ((), 2, ()))

    def test_order(self) -> None:
        """no_proxy goes before all, upstream behind all."""
        file = "no_proxy = ['a.example']\nupstream = ['http://a:1']\n" + GROUPS + (
            "[[route]]\nport = [1]\nto = 'exits'\n[[route]]\nport = [2]\nto = 'office'\n"
        )  # fmt: skip
        self.assertEqual(self.labels(file=file), [
            ("no_proxy", "direct"), ("route[0]", "exits"), ("route[1]", "office"), ("upstream", "default"),
        ])  # fmt: skip

    def test_toDefault(self) -> None:
        """A route may lead to what upstream is short for."""
        file = "upstream = ['http://a:1']\n[[route]]\nport = [1]\nto = 'default'\n[[route]]\nto = 'deny'\n"
        self.assertEqual(self.labels(file=file)[0], ("route[0]", "default"))


class FailClosedTests(RoutesCase):
    """What matches no route."""

    def test_nothingSaid(self) -> None:
        """Without groups and routes everything goes straight; no_proxy alone changes nothing of that."""
        for file in ("", "no_proxy = []", "route = []", "groups = {}"):
            self.assertEqual(self.labels(file=file), [("upstream", "default")], file)
        self.assertEqual(
            self.labels(file="no_proxy = ['a.example']"), [("no_proxy", "direct"), ("upstream", "default")]
        )

    def test_routesSaid(self) -> None:
        """With routes, there is no way for what none of them is about."""
        self.assertEqual(self.labels(file="[[route]]\nport = [443]\nto = 'direct'\n"), [("route[0]", "direct")])
        self.assertEqual(self.labels(file=GROUPS + "[[route]]\nport = [443]\nto = 'exits'\n"), [("route[0]", "exits")])

    def test_groupsWithoutRoutes(self) -> None:
        """Groups that nothing leads to are a mistake, and the hint shows what to write."""
        for before in ("", "no_proxy = ['a.example']\n"):
            (problem,) = self.problems(file=before + GROUPS)
            self.assertIn("[[route]]", problem.hint)
            self.assertIn('to = "exits"', problem.hint)
            self.assertIn("groups", problem.where)

    def test_groupsAndUpstream(self) -> None:
        """With upstream the rest has its way, and each unused group is named."""
        settings = self.load(file="upstream = ['direct']\n" + GROUPS)
        self.assertEqual([group.name for group in settings.groups], ["exits", "office", "default"])
        self.assertEqual(len(settings.notices), 2)
        self.assertIn("the group exits", settings.notices[0])

    def test_brokenRoutes(self) -> None:
        """A route that is wrong is the one error."""
        self.assertEqual(len(self.problems(file="route = 5\n" + GROUPS)), 1)
        self.assertEqual(len(self.problems(file=GROUPS + "[[route]]\nto = 5\n")), 1)


class UpstreamTests(RoutesCase):
    """``--upstream`` above a file."""

    FILE = GROUPS + "[[route]]\nport = [1]\nto = 'exits'\n[[route]]\nport = [2]\nto = 'office'\n"

    def test_lastRoute(self) -> None:
        """It takes what no route of the file is about, and a line at the start says so."""
        for words, environ, name in (
            (("--upstream", "http://c:1"), {}, "--upstream"),
            ((), {"PIPSOCKS_UPSTREAM": "http://c:1"}, "PIPSOCKS_UPSTREAM"),
        ):
            settings = self.load(*words, file=self.FILE, environ=environ)
            self.assertEqual([route.label for route in settings.routes], ["route[0]", "route[1]", "upstream"])
            (notice,) = settings.notices
            self.assertIn(f"{name} is the last route", notice)

    def test_replacesUpstreamOnly(self) -> None:
        """Of the file, it replaces the list of the same name."""
        settings = self.load("--upstream", "http://c:1", file="upstream = ['http://d:1', 'direct']\n" + self.FILE)
        self.assertEqual([len(group.chains) for group in settings.groups], [1, 2, 1])
        self.assertEqual(str(settings.groups[-1].chains[0].hops[0].address), "c:1")

    def test_neverReached(self) -> None:
        """Behind a route for everything it is never asked, nor is any other route."""
        for first in ("[[route]]\nto = 'exits'\n", "[[route]]\nhost = ['b.example', '*']\nto = 'exits'\n"):
            notices = self.load("--upstream", "http://c:1", file=first + self.FILE).notices
            self.assertIn("warning: route[1], route[2], upstream are never reached: route[0] before", notices[-1])
        notices = self.load("--upstream", "http://c:1", "--no-proxy", "*").notices
        self.assertEqual(notices, ("warning: upstream is never reached: no_proxy before matches everything",))

    def test_fileAlone(self) -> None:
        """Written in the file it needs no notice."""
        self.assertEqual(self.load(file="upstream = ['http://d:1']\n" + self.FILE).notices, ())


class WrongTests(RoutesCase):
    """What is wrong with a route, and where."""

    def test_wrong(self) -> None:
        """Each with its path, its line and what to write."""
        for text, path, words in (
            ("", "5: route[0]", "leads somewhere"),
            ("to = 5", "6: route[0].to", "not a text"),
            ("to = ['exits']", "6: route[0].to", "not a text"),
            ("to = 'exit'", "6: route[0].to", "no group 'exit'"),
            ("to = 'Direct'", "6: route[0].to", "no group 'Direct'"),
            ("to = 'direct'\nhosts = []", "7: route[0].hosts", "no such key"),
            ("to = 'direct'\nhost = 'a.example'", "7: route[0].host", "not a list"),
            ("to = 'direct'\nhost = ['a.example', '10.0.0.0/8']", "7: route[0].host[1]", "not the name of a host"),
            ("to = 'direct'\nhost = ['private']", "7: route[0].host[0]", "for rules only"),
            ("to = 'direct'\nnetwork = ['a.example']", "7: route[0].network[0]", "not a network"),
            ("to = 'direct'\nnetwork = ['10.0.0.1/8']", "7: route[0].network[0]", "bits set"),
            ("to = 'direct'\nport = 443", "7: route[0].port", "not a list"),
            ("to = 'direct'\nport = ['443']", "7: route[0].port[0]", "not a port"),
            ("to = 'direct'\nuser = ['']", "7: route[0].user[0]", "not a text"),
            ("to = 'direct'\nlistener = ['https']", "7: route[0].listener[0]", "not a listener"),
            ("to = 'direct'\nlistener = ['127.0.0.1:8080']", "7: route[0].listener[0]", "nothing listens"),
        ):
            (problem,) = self.problems(file=GROUPS + "[[route]]\n" + text)
            self.assertEqual(problem.where.partition(": line ")[2], path, text)
            self.assertIn(words, problem.what)

    def test_hints(self) -> None:
        """The nearest known name is offered, or all there are."""
        for text, hint in (
            ("to = 'exit'", "did you mean exits?"), ("to = 'dirct'", "did you mean direct?"),
            ("to = 'zzz'", "there are exits, office, direct, deny"), ("to = 'deny'\nprot = []", "did you mean port?"),
            ("to = 'deny'\nlistener = ['[::1]:1']", "there are 127.0.0.1:1080, 127.0.0.1:3128"),
            ("to = 'deny'\nlistener = 'http'", 'write listener = ["http"]'),
        ):  # fmt: skip
            self.assertEqual(self.problems(file=GROUPS + "[[route]]\n" + text)[0].hint, hint)

    def test_noTables(self) -> None:
        """Where a list of tables belongs."""
        for text in ("route = 5", "[route]\nto = 'direct'"):
            (problem,) = self.problems(file=text)
            self.assertIn("[[route]]", problem.hint)

    def test_brokenGroup(self) -> None:
        """A group whose table is wrong is there all the same: its routes are not blamed."""
        (problem,) = self.problems(file="[groups.exits]\nchains = ['x']\n[[route]]\nto = 'exits'\n")
        self.assertIn("groups.exits.chains[0]", problem.where)

    def test_noSuchDefault(self) -> None:
        """The group that upstream is short for is there with it alone."""
        (problem,) = self.problems(file="[[route]]\nto = 'default'\n")
        self.assertIn("no group 'default'", problem.what)

    def test_noLogins(self) -> None:
        """A URL with a login in place of a group is told without the login, as one that is called so is."""
        url = "socks5://u:hunter2@a"
        (problem,) = self.problems(file=GROUPS + f"[[route]]\nto = '{url}'\n")
        self.assertEqual(problem.what, "there is no group '***@a'")
        for routes in ("", "[[route]]\nto = 'zzz'\n", "[[route]]\nto = 'socks5://u:hunter@a'\n"):
            problems = self.problems(file=f"[groups.'{url}']\nchains = ['direct']\n" + routes)
            self.assertEqual(len(problems), 2)
            self.assertNotIn("hunter2", " ".join(map(str, problems)))

    def test_noProxy(self) -> None:
        """What is no pattern is told, with where it was written."""
        (problem,) = self.problems(file="no_proxy = ['a.example',\n'10.0.0.1/8']")
        self.assertEqual(problem.where.partition(": line ")[2], "2: no_proxy[1]")
        (problem,) = self.problems("--no-proxy", "a.example,b.example:80")
        self.assertEqual((problem.where, "port = [80]" in problem.hint), ("--no-proxy", True))
        self.assertEqual(len(self.problems(file="no_proxy = 'a.example'")), 1)
        self.assertEqual(len(self.problems(file="no_proxy = ['a.example,b.example']")), 1)


class NoProxyTests(RoutesCase):
    """``no_proxy`` is a list as others are."""

    def test_replaced(self) -> None:
        """What is said above replaces it whole; an empty text on the command line is an empty list."""
        file = "no_proxy = ['a.example']"
        self.assertEqual(self.routes("--no-proxy", "b.example", file=file)[0].hosts, ("b.example",))
        self.assertEqual(
            self.routes("--no-proxy", "b.example", environ={"PIPSOCKS_NO_PROXY": "c.example"})[0].hosts, ("b.example",)
        )
        for words in (["--no-proxy="], ["--no-proxy", " , "]):
            self.assertEqual(self.labels(*words, file=file), [("upstream", "default")])

    def test_listed(self) -> None:
        """Repeated, or in one text."""
        self.assertEqual(self.routes("--no-proxy=a,b", "--no-proxy=c")[0].hosts, ("a", "b", "c"))


class ListenerTests(RoutesCase):
    """Listeners that routes name."""

    FILE = "[[route]]\nlistener = ['{}']\nto = 'direct'\n"

    def test_known(self) -> None:
        """By the address, in any spelling, or by the protocol, whether there is one of it or not."""
        for name, words in (
            ("127.0.0.1:1080", ()), ("http", ("--http", "off")), ("[0:0::1]:7", ("--http", "[::1]:7")),
            ("0.0.0.0:7", ("--http", "tcp:7", "--clients", "10.0.0.0/8")),
        ):  # fmt: skip
            self.load(*words, file=self.FILE.replace("{}", name))

    def test_unknown(self) -> None:
        """An address that nobody listens on would never match."""
        for name, words in (
            ("127.0.0.1:1080", ("--socks", "1081")), ("127.0.0.1:7", ("--http", "tcp:7", "--clients", "10.0.0.0/8")),
        ):  # fmt: skip
            (problem,) = self.problems(*words, file=self.FILE.replace("{}", name))
            self.assertIn(f"nothing listens on {name}", problem.what)

    def test_notToldYet(self) -> None:
        """What is known only once everything is bound is not judged."""
        for where in ("unix:/x", "systemd:domain=INET:name=x", "0", "tcp:7:interface=localhost"):
            self.load("--http", where, file=self.FILE.replace("{}", "192.0.2.7:7"))
