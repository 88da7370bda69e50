"""The fields of ssh messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.upstream.sshdata import Fields, Malformed, number, string


class FieldsTests(SynchronousTestCase):
    """Written and read."""

    def test_read(self) -> None:
        """What was written is read, field by field."""
        fields = Fields(number(7) + string(b"seven") + b"\0\2" + string(b""))
        self.assertEqual((7, b"seven", False, True, b""), (
            fields.number(), fields.string(), fields.flag(), fields.flag(), fields.string(),
        ))  # fmt: skip

    def test_short(self) -> None:
        """A message that ends too early is none."""
        for data, read in (
            (b"\0\0\0", Fields.number), (b"", Fields.flag), (number(3) + b"ab", Fields.string),
            (b"\xff", Fields.string), (b"", Fields.string),
        ):  # fmt: skip
            self.assertRaises(Malformed, read, Fields(data))
