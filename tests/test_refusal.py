"""What a client may be told."""

from __future__ import annotations

import pickle
import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from pipsocks.model import Destination, Login, Problem, Secret, StartError
from pipsocks.refusal import Refusal, clip, printable
from pipsocks.slugs import SLUGS


class RefusalTests(TestCase):
    """The reason phrase and the text."""

    def test_reason(self) -> None:
        """Slug, cause, next step."""
        self.assertEqual(
            Refusal("PS-UP02", chain="hk1", hop="hk1").reason,
            "PS-UP02 upstream hk1 refused the connection; run: pipsocks explain PS-UP02",
        )

    def test_hopOfAChain(self) -> None:
        """In a chain of several hops the one that failed is named with it."""
        self.assertIn("upstream office (at b:3128) refused", Refusal("PS-UP02", chain="office", hop="b:3128").reason)

    def test_everyRow(self) -> None:
        """Each row makes an ASCII phrase of at most 120 characters, whatever is put in, and a text with its remedy."""
        for code, row in SLUGS.items():
            refusal = Refusal(
                code, chain="c" * 300, hop="h" * 300, where="w\n\xe9" * 100, detail="d" * 300, said="s\x00"
            )
            self.assertTrue(refusal.reason.isascii() and refusal.reason.isprintable(), code)
            self.assertLessEqual(len(refusal.reason), 120)
            self.assertTrue(refusal.reason.startswith(code + " "))
            self.assertTrue(refusal.reason.endswith((f"pipsocks explain {code}", "...")), refusal.reason)
            self.assertIn(row.remedy, refusal.text)
            self.assertTrue(refusal.text.isascii())

    def test_causeFirst(self) -> None:
        """A cause that leaves no room for the next step stands whole in its place."""
        refusal = Refusal(
            "PS-UP09", detail="3 upstreams worked: 127.0.0.1:6099 refused, 127.0.0.1:6020 silent, c:1 login"
        )
        self.assertEqual(
            refusal.reason,
            "PS-UP09 none of 3 upstreams worked: 127.0.0.1:6099 refused, 127.0.0.1:6020 silent, c:1 login",
        )

    def test_saidByTheHop(self) -> None:
        """The hop's own words stand in the text, escaped and cut."""
        text = Refusal("PS-UP14", chain="hk1", hop="hk1", said="407 quota\r\n" + "x" * 100).text
        self.assertIn('hk1 said "407 quota\\r\\n' + "x" * 64 + '..."', text)

    def test_table(self) -> None:
        """Slugs and tokens are unique, and of one form."""
        self.assertEqual(len({row.token for row in SLUGS.values()}), len(SLUGS))
        for code, row in SLUGS.items():
            self.assertEqual(code, row.code)
            self.assertTrue(re.fullmatch(r"PS-[A-Z]{2}\d\d", code))
            self.assertTrue(re.fullmatch(r"[a-z_0-9]+", row.token))
            self.assertIn(row.status, {400, 403, 405, 407, 408, 429, 431, 500, 502, 503, 504, 505, 508})
            self.assertIn(row.reply, range(1, 9))

    @given(st.text())
    def test_printable(self, text: str) -> None:
        """Whatever goes in, printable ASCII comes out."""
        self.assertTrue(printable(text).isascii())
        self.assertTrue(printable(text).isprintable())

    def test_clip(self) -> None:
        """Long text is cut, and says so."""
        self.assertEqual((clip("abcdef", 6), clip("abcdefg", 6)), ("abcdef", "abc..."))


class SecretTests(TestCase):
    """A secret."""

    def test_neverPrinted(self) -> None:
        """No way of printing shows it."""
        secret = Secret("hunter2")
        login = Login("ann", secret)
        for text in (str(secret), repr(secret), f"{secret:>20}", f"{secret!r}", repr(login), "%s" % secret):  # noqa: UP031
            self.assertNotIn("hunter2", text)
        self.assertRaises(TypeError, pickle.dumps, secret)

    def test_value(self) -> None:
        """It compares as a value, and gives its text when asked."""
        self.assertEqual(Secret("a"), Secret("a"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertEqual(len({Secret("a"), Secret("a")}), 1)
        self.assertEqual(Secret("a").reveal(), "a")


class DestinationTests(TestCase):
    """A destination."""

    def test_text(self) -> None:
        """IPv6 stands in brackets."""
        self.assertEqual(str(Destination("::1", 80)), "[::1]:80")
        self.assertEqual(str(Destination("index.example", 443)), "index.example:443")

    def test_address(self) -> None:
        """A literal is known as such."""
        self.assertIsNone(Destination("index.example", 1).address)
        self.assertEqual(str(Destination("::1", 1).address), "::1")


class ProblemTests(TestCase):
    """What is wrong with a start."""

    def test_text(self) -> None:
        """Where, what, and a hint on a line of its own."""
        error = StartError(Problem("busy", "--socks", "choose another"), Problem("plain"))
        self.assertEqual(str(error.problems[0]), "--socks: busy\nhint: choose another")
        self.assertEqual(str(error), "--socks: busy\nhint: choose another; plain")
