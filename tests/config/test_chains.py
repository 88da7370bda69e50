"""Lists of chains, at the top and in groups."""

from __future__ import annotations

from pipsocks.config.values import Upstream
from tests.config.test_file import FileCase

PLACES = (("upstream = [\n{}]", "upstream"), ("[groups.exits]\nchains = [{}]", "groups.exits.chains"))


class ChainsCase(FileCase):
    """Reads lists of chains."""

    def chains(self, text: str) -> list[object]:
        """The entries of a list with this text, which is right."""
        document = self.read(f"upstream = [{text}]")
        self.assertEqual(document.problems, [])
        return [value.value for value in document.given["upstream"].values]


class ReadTests(ChainsCase):
    """What may stand in a list."""

    def test_forms(self) -> None:
        """A text, or a table with a text, a name and a tier."""
        self.assertEqual(
            self.chains('"direct", { chain = "http://a:1" }, { tier = 2, name = "b-1", chain = "http://b:1" }'),
            [Upstream("direct"), Upstream("http://a:1"), Upstream("http://b:1", "b-1", 2)],
        )

    def test_wrong(self) -> None:
        """Each mistake has its own path, in every place where chains are listed."""
        for text, path, words in (
            ("5", "[0]", "not a chain"),
            ('"direct", [""]', "[1]", "not a chain"),
            ('""', "[0]", "not a chain"),
            ("{}", "[0]", "needs the text"),
            ('{ name = "x" }', "[0]", "needs the text"),
            ("{ chain = 5 }", "[0].chain", "not a chain"),
            ('{ chain = "" }', "[0].chain", "not a chain"),
            ('{ chain = "direct", name = "" }', "[0].name", "cannot be a name"),
            ('{ chain = "direct", name = 5 }', "[0].name", "cannot be a name"),
            ('{ chain = "direct", name = "a b" }', "[0].name", "cannot be a name"),
            ('"direct", { chain = "direct", tier = 1.5 }', "[1].tier", "not a count"),
            ('{ chain = "direct", tier = 0 }', "[0].tier", "not a count"),
            ('{ chain = "direct", tier = "1" }', "[0].tier", "not a count"),
            ('{ chain = "direct", teir = 1 }', "[0].teir", "no such key"),
        ):
            for form, prefix in PLACES:
                problem = self.only(form.replace("{}", text, 1))
                self.assertTrue(problem.where.endswith(f": line 2: {prefix}{path}"), problem)
                self.assertIn(words, problem.what)
        self.assertEqual(self.only('upstream = [{ chain = "direct", teir = 1 }]').hint, "did you mean tier?")

    def test_allAtOnce(self) -> None:
        """One table's mistakes do not hide each other, nor those of the next."""
        document = self.read('upstream = [{ chian = "a", tier = "x" },\n{ chain = "direct", name = "a b", y = 1 }]')
        self.assertEqual(
            [problem.where.partition(": line ")[2] for problem in document.problems],
            [
                "1: upstream[0].chian",
                "1: upstream[0].tier",
                "1: upstream[0]",
                "2: upstream[1].name",
                "2: upstream[1].y",
            ],
        )

    def test_noList(self) -> None:
        """One text is not a list."""
        self.assertIn('upstream = ["', self.only('upstream = "direct"').hint)
        self.assertIn('chains = ["', self.only('[groups.exits]\nchains = "direct"').hint)

    def test_sameName(self) -> None:
        """Two chains of a list cannot have the same name; chains of two groups can."""
        twice = '{ chain = "http://a:1", name = "x" }, "http://b:1", { chain = "http://c:1", name = "x" }'
        for form, path in PLACES:
            problem = self.only(form.replace("{}", twice, 1))
            self.assertTrue(problem.where.endswith(f": {path}[2].name"), problem)
            self.assertIn("called x", problem.what)
        one = 'chains = [{ chain = "direct", name = "x" }]'
        self.assertEqual(self.read(f"[groups.a]\n{one}\n[groups.b]\n{one}\n").problems, [])

    def test_noSecrets(self) -> None:
        """A text that stands in a wrong place is not repeated."""
        for text in (
            'upstream = [{ chain = ["http://u:hunter2@h"] }]', 'upstream = [["http://u:hunter2@h"]]',
            '[groups.a]\nchains = "http://u:hunter2@h"', '[groups.a]\nchains = [{ chain = { x = "hunter2" } }]',
        ):  # fmt: skip
            self.assertNotIn("hunter2", str(self.only(text)))
