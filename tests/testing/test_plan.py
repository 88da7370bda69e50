"""Tests for `pipsocks.testing.plan`."""

from __future__ import annotations

import contextlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing.faults import FaultUnknown
from pipsocks.testing.plan import Plan, parseEntry, shown


def take(plan: Plan, count: int) -> list[str]:
    """The next turns."""
    return [shown(plan.next()) for _ in range(count)]


class PlanTests(SynchronousTestCase):
    """Which connection has which fault."""

    def test_inTurn(self) -> None:
        """One after the other; the last one stays. Without any all is well."""
        self.assertEqual(
            take(Plan(["silent", "reply=1", "close"], "upstream", 0), 5), ["silent", "reply=1"] + ["close"] * 3
        )
        self.assertEqual(take(Plan([], "upstream", 0), 2), ["none", "none"])

    def test_seeded(self) -> None:
        """The same seed draws the same faults, another one others, in about the share that you wrote."""
        texts = ["10% reset", "5.5% reply=1", "20% slow=1 + reply=4"]
        first, same, other = (take(Plan(texts, "upstream", seed), 4000) for seed in (7, 7, 8))
        self.assertEqual(first, same)
        self.assertNotEqual(first, other)
        counted = Counter(first)
        for name, share in (("reset", 400), ("reply=1", 220), ("slow=1 + reply=4", 800), ("none", 2580)):
            self.assertLess(abs(counted[name] - share), 100, counted)

    def test_mixed(self) -> None:
        """Neighbours with percentages are one turn among others; a last one stays."""
        plan = Plan(["silent", "100% close", "0% reset", "none", "50% reset", "50% close"], "upstream", 1)
        self.assertEqual(take(plan, 3), ["silent", "close", "none"])
        self.assertEqual(set(take(plan, 100)), {"reset", "close"})

    def test_targets(self) -> None:
        """A target has turns and chances of its own, and the others are none the wiser."""
        texts = ["30% reset", "for=a.example:443 reply=4", "for=a.example:443 none", "50% for=B.example reply=5"]
        plan, alone = Plan(texts, "upstream", 3), Plan(texts[:1], "upstream", 3)
        told = [shown(faults) for faults in (plan.asked("a.example:443", "a.example") for _ in range(3)) if faults]
        self.assertEqual(told, ["reply=4", "none", "none"])
        self.assertIsNone(plan.asked("a.example:80", "a.example"))
        self.assertEqual({shown(plan.asked("b.example:1", "b.example") or ()) for _ in range(50)}, {"none", "reply=5"})
        self.assertEqual(take(plan, 50), take(alone, 50))

    def test_port(self) -> None:
        """What is about the port itself is no turn."""
        plan = Plan(["flap=2/1.5", "silent"], "echo", 0)
        self.assertEqual((plan.flap, plan.closed), ((2.0, 1.5), False))
        self.assertEqual(take(plan, 2), ["silent", "silent"])
        self.assertTrue(Plan(["refuse"], "echo", 0).closed)
        self.assertFalse(Plan(["refuse", "none"], "echo", 0).closed)
        self.assertFalse(Plan(["5% refuse"], "echo", 0).closed)

    def test_wrong(self) -> None:
        """What makes no list is refused, with a hint."""
        for kind, *texts in (
            ("upstream", "101% reset"), ("upstream", "x% reset"), ("upstream", "60% reset", "60% close"),
            ("upstream", "30%"), ("upstream", "for=a.example"), ("upstream", "for=a.example reset"),
            ("upstream", "for=/a reply=1"), ("upstream", "for=a.example flap=1/1"), ("upstream", "5% flap=1/1"),
            ("upstream", "flap=1/1", "flap=2/2"), ("upstream", "no-range"), ("origin", "reply=1"),
            ("origin", "for=a.example status=500"), ("echo", "for=a reset-after=1"), ("echo", "status=500"),
        ):  # fmt: skip
            error = self.assertRaises(FaultUnknown, Plan, texts, kind, 0)
            self.assertTrue(error.hint, texts)

    @given(st.text(max_size=40), st.sampled_from(["upstream", "origin", "echo"]))
    def test_anyText(self, text: str, kind: str) -> None:
        """Whatever you write is read, or refused as a fault that is unknown."""
        with contextlib.suppress(FaultUnknown):
            parseEntry(text, kind)
