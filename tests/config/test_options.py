"""The one table of options, and the command line that it makes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config.options import BY_KEY, TABLE, Option, describe, nearest, parse
from pipsocks.config.values import Text
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Problem, StartError
from pipsocks.observe.settings import JournalSettings

LATER = (
    "group", "route", "rule", "rules", "budget", "replay", "resume", "hedge", "probe", "admin", "metrics",
    "tls", "quota",
)  # fmt: skip


class TableTests(SynchronousTestCase):
    """The names of an option follow from its key."""

    def test_names(self) -> None:
        """Flags are kebab-case, twins upper case, keys snake_case."""
        option = BY_KEY["timeouts.tunnel_idle"]
        self.assertEqual(
            (option.flag, option.twin, BY_KEY["via"].off),
            ("--timeouts-tunnel-idle", "PIPSOCKS_TIMEOUTS_TUNNEL_IDLE", "--no-via"),
        )
        self.assertEqual(len({option.flag for option in TABLE}), len(TABLE))

    def test_tablesAreWhole(self) -> None:
        """Every setting of the [retry] and [timeouts] tables has an option."""
        for table, settings in (("retry", RetrySettings), ("timeouts", TimeoutSettings)):
            self.assertEqual(
                {f"{table}.{field.name}" for field in settings.__attrs_attrs__},
                {key for key in BY_KEY if key.startswith(table + ".")},
            )

    def test_help(self) -> None:
        """The help shows each option with its twin and its default, in lines that fit."""
        text = describe(width=80)
        for option in TABLE:
            self.assertIn(f"  {option.flag}", text)
            self.assertIn(f"[${option.twin}]", text)
        for shown in (
            "--no-via",
            "Default: 8.",
            "Default: 3600.",
            f"Default: {JournalSettings().form}.",
            "May be repeated",
        ):
            self.assertIn(shown, text)
        self.assertLessEqual(max(len(line) for line in text.splitlines()), 80)

    def test_helpOfAnOptionWithoutDefault(self) -> None:
        """None is shown then."""
        self.assertNotIn("Default", describe([Option("x", Text, "X", "About.")]))


class ParseTests(SynchronousTestCase):
    """A command line."""

    def problems(self, *words: str, rest: int = 0) -> list[Problem]:
        """What is wrong with it."""
        return list(self.assertRaises(StartError, parse, words, rest=rest).problems)

    def test_values(self) -> None:
        """With = or without, repeated, in their order; also ones that look like flags."""
        arguments = parse(
            ["--socks", "1", "--socks=2", "--via", "--no-via", "--auth=", "--journal", "-", "--http", "--x"]
        )
        self.assertEqual(
            arguments.values,
            {"socks": ("1", "2"), "via": ("true", "false"), "auth": ("",), "journal": ("-",), "http": ("--x",)},
        )
        self.assertEqual((arguments.rest, arguments.help, arguments.version), ((), False, False))

    def test_rules(self) -> None:
        """What --allow and --deny say is one list, in the order in which it is said."""
        arguments = parse(["--deny", "10.0.0.0/8", "--allow=*.a.example:443", "--deny", "*"])
        self.assertEqual(arguments.values, {"rules": ("deny:10.0.0.0/8", "allow:*.a.example:443", "deny:*")})

    def test_rest(self) -> None:
        """Other words are taken where they are expected; behind -- all are."""
        self.assertEqual(parse(["a", "-", "--via", "--", "--b"], rest=3).rest, ("a", "-", "--b"))
        self.assertEqual(self.problems("a", "hunter2", rest=1)[0].where, "word 2 beside the options")
        self.assertEqual(self.problems("hunter2")[0].where, "command line")

    def test_helpAndVersion(self) -> None:
        """They go before all else."""
        self.assertTrue(parse(["--help", "--nonsense"]).help)
        self.assertTrue(parse(["--via", "-h"]).help)
        self.assertTrue(parse(["--version"]).version)

    def test_unknown(self) -> None:
        """The nearest known name is offered."""
        (problem,) = self.problems("--upstrem", "direct")
        self.assertEqual((problem.where, problem.hint), ("--upstrem", "did you mean --upstream?"))
        (problem,) = self.problems("--zzz=1")
        self.assertEqual(problem.hint, "--help lists the options")

    def test_never_abbreviated(self) -> None:
        """A later option would change what an abbreviation means."""
        self.assertEqual(self.problems("--upst", "direct")[0].where, "--upst")

    def test_whatIsNotBuiltDoesNotExist(self) -> None:
        """Options of later versions are unknown ones."""
        for name in LATER:
            self.assertEqual(len(self.problems(f"--{name}", "x")), 1, name)

    def test_missingAndSuperfluousValues(self) -> None:
        """All errors are told at once."""
        problems = self.problems("--via=yes", "--nope", "--socks")
        self.assertEqual([problem.where for problem in problems], ["--via", "--nope", "--socks"])
        self.assertTrue(all(problem.hint for problem in problems))

    def test_noSecretIsRepeated(self) -> None:
        """A chain in a wrong place is not shown."""
        for words in (
            ["socks5://u:hunter2@h:1"], ["--upstrem=socks5://u:hunter2@h:1"], ["--upstrem", "socks5://u:hunter2@h:1"],
            ["-socks5://u:hunter2@h:1"], ["\x1b[2J"],
        ):  # fmt: skip
            for problem in self.problems(*words):
                self.assertNotIn("hunter2", str(problem))
                self.assertNotIn("\x1b", str(problem))

    def test_noSecretInRepr(self) -> None:
        """Nor in a repr, which might be logged."""
        self.assertNotIn("hunter2", repr(parse(["--upstream", "socks5://u:hunter2@h:1"])))


class NearestTests(SynchronousTestCase):
    """Did you mean."""

    def test_nearest(self) -> None:
        """Only what is near."""
        self.assertEqual(nearest("jornal", ["journal", "via"]), "journal")
        self.assertEqual(nearest("xyz", ["journal", "via"]), "")
