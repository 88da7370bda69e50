"""Secrets by reference."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config.expand import LIMIT, SecretMissing, Secrets


class ExpandTests(SynchronousTestCase):
    """``${file:…}``, ``${env:…}`` and ``${credential:…}``."""

    def file(self, data: bytes) -> str:
        """A file with these octets."""
        path = Path(self.mktemp())
        path.write_bytes(data)
        return str(path)

    def missing(self, text: str, **environ: str) -> SecretMissing:
        """Why a reference fails."""
        error = self.assertRaises(SecretMissing, Secrets(environ).expand, text)
        self.assertTrue(error.hint)
        return error

    def test_plainText(self) -> None:
        """Text without references stays, dollar signs too."""
        self.assertEqual(Secrets({}).expand("a$b{c}"), "a$b{c}")

    def test_file(self) -> None:
        """One newline at its end is left away, whichever it is, and the rest is taken literally."""
        for data, text in (
            (b"p@s:s,%40${env:X}", "p@s:s,%40${env:X}"), (b"p\n", "p"), (b"p\r\n", "p"), (b"p\n\n", "p\n"), (b"", ""),
            (b" p ", " p "), (b"p\r", "p\r"),
        ):  # fmt: skip
            self.assertEqual(Secrets({}).expand("<${file:" + self.file(data) + "}>"), f"<{text}>")

    def test_environment(self) -> None:
        """A variable, even an empty one, without one newline at its end; which ones were asked for is known."""
        secrets = Secrets({"A": "1", "B": "", "C": "2\n", "D": "3\r\n", "E": "4\n\n"})
        self.assertEqual(secrets.expand("${env:A}-${env:B}"), "1-")
        self.assertEqual(secrets.named, {"A", "B"})
        self.assertEqual(secrets.expand("${env:C}${env:D}${env:E}"), "234\n")
        self.assertNotIn("'1'", repr(secrets))

    def test_credential(self) -> None:
        """What systemd laid down."""
        directory = self.mktemp()
        os.mkdir(directory)
        Path(directory, "hk1").write_text("s3cret\n")
        self.assertEqual(Secrets({"CREDENTIALS_DIRECTORY": directory}).expand("${credential:hk1}"), "s3cret")

    def test_missing(self) -> None:
        """The error names the file, the variable or the credential."""
        self.assertIn("/nope/x: No such file", str(self.missing("${file:/nope/x}")))
        self.assertIn("no X", str(self.missing("${env:X}")))
        self.assertIn("CREDENTIALS_DIRECTORY", str(self.missing("${credential:x}")))
        self.assertIn("credential x", str(self.missing("${credential:x}", CREDENTIALS_DIRECTORY="/nope")))

    def test_noReference(self) -> None:
        """Anything else in ``${}`` is refused, and no credential's name leads elsewhere."""
        for text in ("${}", "${x}", "${file:}", "${env:}", "${vault:x}", "${credential:../x}", "${credential:..}"):
            self.missing(text, CREDENTIALS_DIRECTORY="/")
        self.missing("${file:a\0b}")

    def test_badFiles(self) -> None:
        """Too large, or no text."""
        self.assertIn("too large", str(self.missing("${file:" + self.file(b"x" * (LIMIT + 1)) + "}")))
        self.assertIn("UTF-8", str(self.missing("${file:" + self.file(b"\xff") + "}")))
