"""Tests for `pipsocks.testing.faults`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing.faults import NAMES, Fault, FaultUnknown, parseFault


class ParseFaultTests(SynchronousTestCase):
    """What a fault is called."""

    def test_plain(self) -> None:
        """Every fault without a value is known by its name."""
        for name in set(NAMES) - {"say", "say-reset", "reply", "status", "slow"}:
            self.assertEqual(parseFault(name), Fault(name))

    def test_values(self) -> None:
        """Those with a value take one, and say it again."""
        for text in ("say=00ff", "say-reset=0A", "reply=0", "reply=255", "status=407", "status=502 Bad", "slow=1.5"):
            self.assertEqual(str(parseFault(text)), text)

    def test_refused(self) -> None:
        """An unknown name, a value that is missing, superfluous or of another form is an error that says so."""
        for text in (
            "", "nothing", "silent=1", "none=", "say", "say=", "say=0", "say=zz", "reply", "reply=256", "reply=-1",
            "reply=\u00b2", "status=99", "status=1000", "status=200 a\r\nb", "slow=", "slow=fast", "slow=1.",
        ):  # fmt: skip
            self.assertRaises(FaultUnknown, parseFault, text)
