"""The htpasswd checker, as twisted.cred asks it."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.strcred import makeChecker
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from pipsocks.model import StartError
from pipsocks.policy import htpasswd
from pipsocks.policy.htpasswd import HtpasswdChecker
from tests.policy.test_passwords import Folder, cheap
from tests.policy.threads import Threads


class HtpasswdCheckerTests(Folder):
    """`HtpasswdChecker`."""

    def setUp(self) -> None:
        super().setUp()
        self.changes = 0
        self.store(me="pw", you="other")
        self.threads = Threads()
        self.checker = HtpasswdChecker(self.path)
        self.checker.reactor = self.threads

    def store(self, **users: str) -> None:
        self.store_text("".join(f"{user}:{cheap(password.encode())}\n" for user, password in users.items()))

    def store_text(self, text: str) -> None:
        self.write(text)
        self.changes += 1
        # Two writes within one tick of the file system's clock are to differ too.
        os.utime(self.path, (time.time(), 1_000_000_000 + self.changes))

    def ask(self, user: bytes, password: bytes) -> Deferred[Any]:
        return self.checker.requestAvatarId(UsernamePassword(user, password))

    def allowed(self, user: bytes, password: bytes) -> bool:
        asked = self.ask(user, password)
        self.threads.run()
        answers: list[Any] = []
        asked.addBoth(answers.append)
        if answers == [user]:
            return True
        answers[0].trap(UnauthorizedLogin)
        return False

    def test_interface(self) -> None:
        """It is what twisted.cred calls a checker, and ``htpasswd:FILE`` makes one."""
        verifyObject(ICredentialsChecker, self.checker)
        self.assertIsInstance(makeChecker(f"htpasswd:{self.path}"), HtpasswdChecker)

    def test_logins(self) -> None:
        """Who knows the password gets in; nobody else does."""
        self.assertTrue(self.allowed(b"me", b"pw"))
        self.assertTrue(self.allowed(b"you", b"other"))
        for user, password in (
            (b"me", b"other"),
            (b"me", b""),
            (b"", b""),
            (b"", b"pw"),
            (b"ME", b"pw"),
            (b"me", b"pw\x00"),
            (b"\xff", b"\xff" * 255),
            (b"mep", b"w"),
        ):
            self.assertFalse(self.allowed(user, password), (user, password))

    def test_emptyPassword(self) -> None:
        """An empty password can be a user's."""
        self.store(me="")
        self.assertTrue(self.allowed(b"me", b""))
        self.assertFalse(self.allowed(b"me", b"x"))

    def test_longPassword(self) -> None:
        """Of a long password the first 72 octets count, as with Apache."""
        self.store(me="x" * 100)
        self.assertTrue(self.allowed(b"me", b"x" * 255))

    def test_offTheReactorThread(self) -> None:
        """Nothing is computed before a thread of the pool runs."""
        asked = self.ask(b"me", b"pw")
        self.assertNoResult(asked)
        self.threads.run()
        self.assertEqual(b"me", self.successResultOf(asked))

    async def test_realThreads(self) -> None:
        """The reactor's own pool will do."""
        self.checker.reactor = reactor
        self.assertEqual(b"me", await self.ask(b"me", b"pw"))
        with self.assertRaises(UnauthorizedLogin):
            await self.ask(b"me", b"no")

    def test_noReactor(self) -> None:
        """In a program that hands no reactor over, it works all the same."""
        self.checker.reactor = None
        self.assertEqual(b"me", self.successResultOf(self.ask(b"me", b"pw")))

    def test_remembered(self) -> None:
        """The second connection of one login costs no bcrypt; a wrong password does, each time."""
        self.allowed(b"me", b"pw")
        self.assertEqual(b"me", self.successResultOf(self.ask(b"me", b"pw")))
        self.assertEqual(1, self.threads.asked)
        for _ in range(2):
            self.assertFalse(self.allowed(b"me", b"no"))
        self.assertEqual(3, self.threads.asked)

    def test_rememberedFew(self) -> None:
        """The table of remembered logins is bounded; the oldest go."""
        self.patch(htpasswd, "REMEMBERED", 1)
        self.allowed(b"me", b"pw")
        self.allowed(b"you", b"other")
        self.allowed(b"you", b"other")
        self.assertEqual(2, self.threads.asked)
        self.allowed(b"me", b"pw")
        self.assertEqual(3, self.threads.asked)

    def test_noPasswordKept(self) -> None:
        """Once a login is verified, no object of the checker has the password in it."""
        self.store(me="hunter2secret")
        self.assertTrue(self.allowed(b"me", b"hunter2secret"))
        found = gc.get_referents(self.checker)
        for _ in range(4):
            found += [each for known in found if not isinstance(known, type) for each in gc.get_referents(known)]
            self.assertFalse([each for each in found if isinstance(each, bytes) and b"hunter2secret" in each])
            found = list({id(each): each for each in found}.values())[:5000]

    def test_joined(self) -> None:
        """Concurrent connections with one login pay for one bcrypt."""
        asked = [self.ask(b"me", b"pw") for _ in range(6)]
        self.threads.run()
        self.assertEqual([b"me"] * 6, [self.successResultOf(each) for each in asked])
        self.assertEqual(1, self.threads.asked)

    def test_unknownUser(self) -> None:
        """An unknown user costs one bcrypt too, and gets in with no password."""
        self.assertFalse(self.allowed(b"nobody", b"pw"))
        self.assertEqual(1, self.threads.asked)

    def test_fileChanges(self) -> None:
        """A new file counts at the next login, and nothing that was remembered does."""
        self.assertTrue(self.allowed(b"me", b"pw"))
        self.store(me="new", third="3")
        self.assertFalse(self.allowed(b"me", b"pw"))
        self.assertTrue(self.allowed(b"me", b"new"))
        self.assertTrue(self.allowed(b"third", b"3"))
        self.assertFalse(self.allowed(b"you", b"other"))

    def test_changeDuringCheck(self) -> None:
        """Who asks after a change does not share the answer of a check that began before, queued or running."""
        before = [self.ask(b"me", b"pw"), self.ask(b"you", b"x"), self.ask(b"you", b"other")]
        self.store(me="new", you="new")
        after = [self.ask(b"me", b"pw"), self.ask(b"you", b"other")]
        self.threads.run()
        self.assertEqual(b"me", self.successResultOf(before[0]))
        self.failureResultOf(before[1], UnauthorizedLogin)
        self.assertEqual(b"you", self.successResultOf(before[2]))
        for each in after:
            self.failureResultOf(each, UnauthorizedLogin)
        self.assertFalse(self.allowed(b"me", b"pw"))

    def test_badNewFile(self) -> None:
        """A new file that is no good keeps the users as they were, with one line in the log, until it is mended."""
        for spoil in (lambda: self.store_text("me:hunter2\n"), lambda: os.remove(self.path)):
            with capturedLogs() as events:
                spoil()
                for _ in range(3):
                    self.assertTrue(self.allowed(b"me", b"pw"))
            self.assertEqual(1, len(events))
            text = events[0]["log_format"].format(**events[0])
            self.assertIn(self.path, text)
            self.assertNotIn("hunter2", text)
        self.store(me="mended")
        self.assertTrue(self.allowed(b"me", b"mended"))

    def test_badFile(self) -> None:
        """A file that is no good from the start is an error at the start."""
        self.store_text("me:hunter2\n")
        self.assertRaises(StartError, HtpasswdChecker, self.path)
        self.assertRaises(StartError, HtpasswdChecker, "")

    def test_otherDirectory(self) -> None:
        """A relative path goes on meaning the same file when a daemon changes its directory."""
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        self.checker = HtpasswdChecker("users")
        self.checker.reactor = self.threads
        os.chdir("/")
        self.store(me="new")
        self.assertTrue(self.allowed(b"me", b"new"))
