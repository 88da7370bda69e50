"""Files of users."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from unittest import mock

import bcrypt
from twisted.trial.unittest import SkipTest, TestCase

from pipsocks.model import StartError
from pipsocks.policy import passwords
from pipsocks.policy.passwords import hashed, load, matches, signOf, store

PW = "$2y$04$lvzRvhHdQr7IHD9iY9SB3.1L2O7ZwzrvPqMWV5CAYo6.lOMiP.e8m"


def cheap(password: bytes, prefix: str = "2y") -> str:
    """A bcrypt hash of the lowest cost."""
    return "$" + prefix + bcrypt.hashpw(password[:72], bcrypt.gensalt(4)).decode()[3:]


class Folder(TestCase):
    """A test with a directory of its own."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = str(self.folder / "users")

    def write(self, text: str | bytes) -> None:
        Path(self.path).write_bytes(text.encode() if isinstance(text, str) else text)

    def problems(self, path: str | None = None) -> list[tuple[str, str, str]]:
        error = self.assertRaises(StartError, load, self.path if path is None else path)
        return [(problem.what, problem.where, problem.hint) for problem in error.problems]


class LoadTests(Folder):
    """`load`."""

    def test_lines(self) -> None:
        """Every kind of bcrypt line, comments, blank lines, any line ending, names in any encoding."""
        lines = [b"# people", b"", b"a:" + PW.encode(), b"b:" + PW.replace("2y", "2b").encode() + b"\r", b"  "]
        lines += [b"\xfc \xff:" + PW.replace("2y", "2a").encode() + b" "]
        self.write(b"\n".join(lines))
        users = load(self.path)
        self.assertEqual({b"a", b"b", b"\xfc \xff"}, set(users.hashes))
        self.assertEqual(PW.encode(), users.hashes[b"a"])

    def test_empty(self) -> None:
        """A file without users lets nobody in, and is no error."""
        self.write("")
        self.assertEqual({}, load(self.path).hashes)

    def test_dummyCost(self) -> None:
        """The hash for unknown users costs what the dearest of the file does, and is nobody's."""
        self.write(f"a:{PW}\nb:{PW.replace('$04$', '$06$')}\n")
        dummy = load(self.path).dummy
        self.assertTrue(dummy.startswith(b"$2b$06$"))
        self.assertFalse(matches(b"", dummy))

    def test_badLines(self) -> None:
        """Each bad line is told with its number and a hint, and nothing of its text."""
        for line, what in (
            ("hunter2", "this is no USER:HASH"),
            (f":{PW}", "this is no USER:HASH"),
            ("me:hunter2", "not a bcrypt hash"),
            ("me:$apr1$abcdefgh$hunter2hunter2hunter22", "not a bcrypt hash"),
            ("me:{SHA}hunter2", "not a bcrypt hash"),
            ("me:$6$hunter2$hunter2", "not a bcrypt hash"),
            (f"me:{PW}:extra", "not a bcrypt hash"),
            (f"me:{PW[:-1]}", "not a bcrypt hash"),
            (f"me:{PW.replace('2y', '2x')}", "not a bcrypt hash"),
            (f"me:{PW.replace('$04$', '$31$')}", "not a bcrypt hash"),
            (f"me:{PW[:28]}z{PW[29:]}", "not a bcrypt hash"),
            (f"good:{PW}", "twice"),
        ):
            self.write(f"good:{PW}\n\n{line}\n")
            ((told, where, hint),) = self.problems()
            self.assertIn(what, told)
            self.assertEqual(f"{self.path}, line 3", where)
            self.assertIn("htpasswd -B", hint)
            self.assertIn("pipsocks passwd", hint)
            self.assertNotIn("hunter2", told + where + hint)

    def test_manyBadLines(self) -> None:
        """All bad lines are told at once, up to ten."""
        self.write("x\ny\n")
        self.assertEqual([f"{self.path}, line 1", f"{self.path}, line 2"], [where for _, where, _ in self.problems()])
        self.write("x\n" * 1000)
        self.assertEqual(10, len(self.problems()))

    def test_unreadable(self) -> None:
        """What is no readable file is told with what to do, and a pipe does not hang."""
        os.mkfifo(self.path)
        for path, what in (
            (self.path, "not a regular file"),
            (str(self.folder / "none"), "No such file"),
            (str(self.folder), "Is a directory"),
            ("/dev/null", "not a regular file"),
            ("a\x00b", "no path"),
            ("", "no file is named"),
        ):
            ((told, _, hint),) = self.problems(path)
            self.assertIn(what, told)
            self.assertTrue(hint)

    def test_tooLarge(self) -> None:
        """A file without an end is not read to it."""
        with open(self.path, "wb") as file:
            file.truncate(passwords.FILE_LIMIT + 1)
        self.assertIn("16 MiB", self.problems()[0][0])

    def test_sign(self) -> None:
        """The file's sign is that of what was read; there is none of a file that is not there."""
        self.write(f"a:{PW}\n")
        self.assertEqual(signOf(self.path), load(self.path).sign)
        self.assertIsNone(signOf(str(self.folder / "none")))
        self.assertIsNone(signOf("a\x00b"))


class MatchTests(TestCase):
    """`matches` and `hashed`."""

    def test_matches(self) -> None:
        """Passwords of any octets, of which the first 72 count, as with Apache."""
        for password in (b"pw", b"", b"\xff\xfe", b"x" * 72):
            known = cheap(password).encode()
            self.assertTrue(matches(password, known))
            self.assertFalse(matches(password[:71] + b"!", known))
        self.assertTrue(matches(b"x" * 255, cheap(b"x" * 72).encode()))
        self.assertFalse(matches(b"pw\x00more", cheap(b"pw").encode()))

    def test_hashed(self) -> None:
        """A hash that is made here is one that Apache takes, different each time."""
        first, second = hashed(b"pw"), hashed(b"pw")
        self.assertTrue(first.startswith("$2y$10$"))
        self.assertNotEqual(first, second)
        self.assertTrue(matches(b"pw", first.encode()))

    def test_refused(self) -> None:
        """A password that bcrypt would not see all of is refused, and not repeated."""
        for password in (b"hunter2" * 11, b"hunter2\x00"):
            self.assertNotIn("hunter2", str(self.assertRaises(ValueError, hashed, password)))
        hashed(b"x" * 72)


class StoreTests(Folder):
    """`store`."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(passwords, "COST", 4)

    def test_newFile(self) -> None:
        """A new file is its owner's alone and lets the user in; nothing else is left in the directory."""
        store(self.path, "me", "pw")
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))
        self.assertTrue(matches(b"pw", load(self.path).hashes[b"me"]))
        self.assertEqual(["users"], os.listdir(self.folder))

    def test_update(self) -> None:
        """The user's line is replaced where it stands; others, comments and the mode stay."""
        self.write(f"# people\na:{PW}\nme:{PW}\nb:{PW}\n\n")
        os.chmod(self.path, 0o640)
        store(self.path, "me", "new")
        text = Path(self.path).read_text().split("\n")
        self.assertEqual(["# people", f"a:{PW}"], text[:2])
        self.assertEqual([f"b:{PW}", ""], text[3:])
        self.assertTrue(matches(b"new", load(self.path).hashes[b"me"]))
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.path).st_mode))

    def test_append(self) -> None:
        """A new user stands behind the others, in a file without a last line ending, or in an empty one, too."""
        for before in (f"a:{PW}", f"a:{PW}\n", f"a:{PW}\r\n", "", "\n"):
            self.write(before)
            store(self.path, "é", "")
            users = load(self.path)
            self.assertEqual([*([b"a"] if before.strip() else []), "é".encode()], list(users.hashes))
            self.assertTrue(matches(b"", users.hashes["é".encode()]))

    def test_link(self) -> None:
        """A link goes on pointing to the file."""
        link = self.folder / "link"
        link.symlink_to(self.path)
        store(str(link), "me", "pw")
        self.assertTrue(link.is_symlink())
        self.assertIn(b"me", load(self.path).hashes)

    def test_refused(self) -> None:
        """Names that the file cannot hold, and passwords that bcrypt cannot, leave everything as it was."""
        for user in ("", "a:b", "a\nb", "#a", " a", "a ", "a\x7f", "x" * 256):
            self.assertRaises(ValueError, store, self.path, user, "pw")
        for password in ("x" * 73, "é" * 37, "a\x00"):
            self.assertRaises(ValueError, store, self.path, "me", password)
        self.assertEqual([], os.listdir(self.folder))

    def test_badFile(self) -> None:
        """A file that could not be used is not written to."""
        self.write("me:plain\n")
        self.assertRaises(StartError, store, self.path, "me", "pw")
        self.assertEqual("me:plain\n", Path(self.path).read_text())

    def test_noDirectory(self) -> None:
        """A directory that is not there is a problem with a hint."""
        error = self.assertRaises(StartError, store, str(self.folder / "none" / "users"), "me", "pw")
        self.assertIn("cannot be written", error.problems[0].what)
        self.assertTrue(error.problems[0].hint)

    def test_interrupted(self) -> None:
        """When the last step fails the old file is there, whole, and nothing else."""
        self.write(f"me:{PW}\n")
        with mock.patch("os.replace", side_effect=PermissionError(1, "no")):
            self.assertRaises(StartError, store, self.path, "me", "pw")
        self.assertEqual(f"me:{PW}\n", Path(self.path).read_text())
        self.assertEqual(["users"], os.listdir(self.folder))

    def test_otherOwner(self) -> None:
        """Where the owner cannot be kept the file is written all the same."""
        self.write(f"me:{PW}\n")
        with mock.patch("os.fchown", side_effect=PermissionError(1, "no")):
            store(self.path, "me", "pw")
        self.assertTrue(matches(b"pw", load(self.path).hashes[b"me"]))


class ApacheTests(Folder):
    """Apache's own program."""

    def setUp(self) -> None:
        super().setUp()
        if shutil.which("htpasswd") is None:
            raise SkipTest("htpasswd is not installed (apache2-utils)")

    def htpasswd(self, *words: str) -> int:
        return subprocess.run(["htpasswd", *words], capture_output=True, check=False, timeout=30).returncode

    def test_read(self) -> None:
        """We let in whom htpasswd -B writes, long passwords and empty ones among them."""
        logins = {"me": "pw", "é": "p:é", "long": "x" * 100, "none": ""}
        for user, password in logins.items():
            self.assertEqual(
                0, self.htpasswd("-bB", "-C", "4", *([] if user != "me" else ["-c"]), self.path, user, password)
            )
        users = load(self.path)
        for user, password in logins.items():
            self.assertTrue(matches(password.encode(), users.hashes[user.encode()]), user)
        self.assertFalse(matches(b"x" * 71, users.hashes[b"long"]))

    def test_otherHashes(self) -> None:
        """What htpasswd writes without -B is refused with the hint to use it."""
        self.assertEqual(0, self.htpasswd("-bmc", self.path, "me", "pw"))
        self.assertIn("htpasswd -B", self.problems()[0][2])

    def test_written(self) -> None:
        """Apache's program verifies what we write, and changes it."""
        store(self.path, "me", "pw")
        self.assertEqual(0, self.htpasswd("-vb", self.path, "me", "pw"))
        self.assertNotEqual(0, self.htpasswd("-vb", self.path, "me", "no"))
        self.assertEqual(0, self.htpasswd("-bB", "-C", "4", self.path, "me", "other"))
        self.assertTrue(matches(b"other", load(self.path).hashes[b"me"]))
