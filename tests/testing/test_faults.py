"""Tests for `pipsocks.testing.faults`."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing.faults import TABLE, Fault, FaultUnknown, describe, parseFault, parseFaults, written


class ParseFaultTests(SynchronousTestCase):
    """What a fault is called."""

    def test_plain(self) -> None:
        """Every fault without a value is known by its name."""
        for name, row in TABLE.items():
            if not row.value:
                self.assertEqual(parseFault(name), Fault(name))

    def test_values(self) -> None:
        """Those with a value take one, and say it again."""
        for text in (
            "say=00ff", "say-reset=0A", "reply=0", "reply=255", "status=407", "status=502 Bad", "slow=1.5",
            "slow-connect=3", "flap=10/0.5", "throttle=1", "reset-after=0",
        ):  # fmt: skip
            self.assertEqual(str(parseFault(text)), text)

    def test_refused(self) -> None:
        """An unknown name, a value that is missing, superfluous or of another form is an error that says so."""
        for text in (
            "", "nothing", "silent=1", "none=", "say", "say=", "say=0", "say=zz", "reply", "reply=256", "reply=-1",
            "reply=\u00b2", "status=99", "status=1000", "status=200 a\r\nb", "slow=", "slow=fast", "slow=1.",
            "flap=1", "flap=0/1", "flap=1/0", "throttle=0", "reset-after=-1",
        ):  # fmt: skip
            error = self.assertRaises(FaultUnknown, parseFault, text)
            self.assertTrue(error.hint, text)

    def test_hints(self) -> None:
        """You read what you may have meant, and how it is written."""
        for text, hint in (
            ("rset", "did you mean reset?"),
            ("replay=1", "did you mean reply=CODE?"),
            ("status", "write status=STATUS [REASON]"),
        ):
            self.assertEqual(self.assertRaises(FaultUnknown, parseFault, text).hint, hint)

    def test_joined(self) -> None:
        """Several faults of one connection are joined by a plus sign between blanks."""
        self.assertEqual(parseFaults("slow=2 + status=503 a+b"), (Fault("slow", "2"), Fault("status", "503 a+b")))
        for text in ("slow=1 + slow=2", "none + slow=1", "slow=1 + refuse", "flap=1/1 + slow=1", "slow=1 +", "+"):
            self.assertRaises(FaultUnknown, parseFaults, text)

    def test_described(self) -> None:
        """The help has every fault, with its meaning."""
        text = describe()
        for name in TABLE:
            self.assertIn(f"\n  {written(name)}", f"\n{text}")
        self.assertIn("  cut (upstream)\n        Close in the middle", text)
        self.assertLess(max(map(len, text.splitlines())), 101)

    def test_counted(self) -> None:
        """The help says at each fault that counts bytes which ones, for each kind of listener."""
        rows = re.split(r"^  (\S.*)\n", describe(), flags=re.MULTILINE)
        told = dict(zip(rows[1::2], rows[2::2], strict=True))
        for how in ("silent", "close", "reset"):
            about = " ".join(told[f"{how}-after=BYTES"].split())
            for words in (
                "an origin's content without the head",
                "everything that comes back through an upstream",
                "is echoed",
            ):
                self.assertIn(words, about)
