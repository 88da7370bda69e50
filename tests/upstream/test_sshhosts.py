"""Which host keys are known: OpenSSH's files, read as ssh reads them."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination
from pipsocks.upstream.sshdata import string
from pipsocks.upstream.sshhosts import HostKeyChanged, HostKeyUnknown, KnownKeys, fingerprint, knownKeys
from tests.functional.processes import requires
from tests.upstream.sshrig import generate, newKey

BASTION = Destination("bastion.example", 22)


class KnownHostsTests(SynchronousTestCase):
    """One file."""

    def setUp(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-hosts-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.file = self.directory / "known_hosts"
        self.key, self.other = newKey().public(), newKey().public()

    def line(self, hosts: str, key: object = None, marker: str = "") -> str:
        """A line of the file."""
        return f"{marker}{hosts} {(key or self.key).toString('openssh').decode()} a comment\n"  # type: ignore[attr-defined]

    def known(self, text: str, host: Destination = BASTION) -> KnownKeys:
        """What the file says, with this text."""
        self.file.write_text(text)
        return knownKeys([str(self.file)], host)

    def assertKnown(self, text: str, host: Destination = BASTION) -> None:
        """The key is taken."""
        self.known(text, host).check(self.key.blob())

    def assertUnknown(self, text: str, host: Destination = BASTION) -> None:
        """The file has no key for the host."""
        error = self.assertRaises(HostKeyUnknown, self.known(text, host).check, self.key.blob())
        self.assertEqual(str(self.file), error.file)
        self.assertIn("ssh-ed25519 SHA256:", error.key)

    def test_hosts(self) -> None:
        """A host stands there by its name or address, alone, in a list, by a pattern; without regard to case."""
        for hosts in ("bastion.example", "a,bastion.example", "*.example", "bastion.exampl?", "Bastion.Example", "*"):
            self.assertKnown(self.line(hosts))
        for hosts in ("bastion", "example", "[bastion.example]:2222", "*,!bastion.example", "bastion?example.x"):
            self.assertUnknown(self.line(hosts))
        self.assertKnown(self.line("192.0.2.7"), Destination("192.0.2.7", 22))
        self.assertKnown(self.line("2001:db8::1"), Destination("2001:db8::1", 22))

    def test_ports(self) -> None:
        """Another port than 22 stands in the name; a host that is known without one is the same host."""
        there = Destination("bastion.example", 2222)
        self.assertKnown(self.line("[bastion.example]:2222"), there)
        self.assertKnown(self.line("[*.example]:2222"), there)
        self.assertKnown(self.line("bastion.example"), there)
        self.assertUnknown(self.line("[bastion.example]:22222"), there)
        self.assertKnown(self.line("[2001:db8::1]:2222"), Destination("2001:db8::1", 2222))
        error = self.assertRaises(
            HostKeyChanged,
            self.known(self.line("[bastion.example]:2222", self.other) + self.line("bastion.example"), there).check,
            self.key.blob(),
        )
        self.assertEqual(f"another stands in {self.file}:1", error.how)

    def test_hashed(self) -> None:
        """Names that ``ssh-keygen -H`` has hashed."""
        requires("ssh-keygen")
        self.file.write_text(self.line("bastion.example") + self.line("[bastion.example]:2222", self.other))
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(self.file)], check=True, capture_output=True)
        text = self.file.read_text()
        self.assertNotIn("bastion", text)
        self.assertKnown(text)
        self.known(text, Destination("bastion.example", 2222)).check(self.other.blob())
        self.assertUnknown(text, Destination("b.example", 22))

    def test_several(self) -> None:
        """Any of a host's keys will do, wherever it stands; the types of all are told."""
        rsa = generate("rsa", self.directory / "rsa", bits="2048")
        text = self.line("bastion.example", self.other) + f"bastion.example {Path(f'{rsa}.pub').read_text()}"
        known = self.known(text + self.line("bastion.example"))
        known.check(self.key.blob())
        self.assertEqual({b"ssh-ed25519", b"ssh-rsa"}, known.kinds)

    def test_changed(self) -> None:
        """Another key than those that are there: the line with the one of its type is told."""
        rsa = generate("rsa", self.directory / "rsa", bits="2048")
        text = f"# mine\n\nbastion.example {Path(f'{rsa}.pub').read_text()}" + self.line("bastion.example", self.other)
        error = self.assertRaises(HostKeyChanged, self.known(text).check, self.key.blob())
        self.assertEqual(f"another stands in {self.file}:4", error.how)
        self.assertEqual(fingerprint(self.key.blob()), error.key)

    def test_revoked(self) -> None:
        """A revoked key is not taken, even where it stands on another line too, or under the other port."""
        text = self.line("bastion.example") + self.line("*", marker="@revoked ")
        for host in (BASTION, Destination("bastion.example", 2222)):
            error = self.assertRaises(HostKeyChanged, self.known(text, host).check, self.key.blob())
            self.assertEqual(f"revoked in {self.file}:2", error.how)

    def test_nonsense(self) -> None:
        """What is no entry vouches for nothing."""
        good = self.line("bastion.example")
        for text in (
            "", "bastion.example\n", "bastion.example ssh-ed25519\n", "bastion.example ssh-ed25519 !!!!\n",
            "bastion.example ssh-ed25519 AAAA\n", "bastion.example ssh-ed25519 AAA\n", f"#{good}",
            good.replace("ssh-ed25519", "ssh-rsa"), f"@cert-authority {good}", "|1|zzz bastion.example x\n",
            "|1|AAAA|AAAA ssh-ed25519 AAAA\n", "\xff\xfe\n", "@revoked\n",
        ):  # fmt: skip
            self.assertUnknown(text)
        self.assertKnown(f"junk\n{good}")

    def test_files(self) -> None:
        """Files that are not there are empty; all are read."""
        second = self.directory / "second"
        second.write_text(self.line("bastion.example"))
        knownKeys([str(self.file), str(second)], BASTION).check(self.key.blob())
        self.assertRaises(HostKeyUnknown, knownKeys(["/nowhere/known_hosts"], BASTION).check, self.key.blob())

    def test_longKind(self) -> None:
        """A host may call its key what it likes, but not on pages of a log."""
        self.assertLess(len(fingerprint(string(b"x" * 100_000))), 200)

    def test_fingerprint(self) -> None:
        """It is the one that ``ssh-keygen -l`` prints; of no key it is told all the same."""
        path = generate("ed25519", self.directory / "key")
        told = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True).stdout
        kind, blob = Path(f"{path}.pub").read_text().split()[:2]
        self.assertEqual(f"{kind} {told.split()[1]}", fingerprint(base64.b64decode(blob)))
        self.assertTrue(fingerprint(b"x").startswith("? SHA256:"))
