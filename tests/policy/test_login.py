"""The checkers of a listener, from what ``--auth`` says to who gets in."""

from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.cred.checkers import ANONYMOUS
from twisted.cred.credentials import IUsernameHashedPassword, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.logger import capturedLogs

from pipsocks.model import StartError
from pipsocks.policy import login
from pipsocks.policy.login import Logins
from pipsocks.refusal import Refusal
from tests.policy.test_passwords import Folder, cheap
from tests.policy.threads import Threads


class Checker:
    """A checker that gives one answer, and what it was asked."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[bytes, bytes]] = []

    def requestAvatarId(self, credentials: Any) -> Any:
        self.asked.append((credentials.username, credentials.password))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class LoginsTests(Folder):
    """`Logins`."""

    def setUp(self) -> None:
        super().setUp()
        self.threads = Threads()

    def check(self, logins: Logins, user: bytes = b"me", password: bytes = b"pw") -> Deferred[str]:
        return Deferred.fromCoroutine(logins.check(user, password))

    def refused(self, logins: Logins, user: bytes = b"me", password: bytes = b"pw") -> None:
        failure = self.failureResultOf(self.check(logins, user, password), Refusal)
        self.assertEqual("PS-AU02", failure.value.slug.code)

    def problem(self, *descriptions: str) -> tuple[str, str, str]:
        error = self.assertRaises(StartError, Logins.fromStrings, descriptions, self.threads, "--auth")
        (problem,) = error.problems
        self.assertTrue(problem.hint)
        return problem.what, problem.where, problem.hint

    def test_firstThatAccepts(self) -> None:
        """The checkers are asked in order, and the first that accepts says who it is."""
        checkers = [Checker(UnauthorizedLogin()), Checker(succeed(b"someone")), Checker(succeed(b"never"))]
        self.assertEqual("someone", self.successResultOf(self.check(Logins(checkers), b"\xff", b"")))  # type: ignore[arg-type]
        self.assertEqual([[(b"\xff", b"")], [(b"\xff", b"")], []], [checker.asked for checker in checkers])

    def test_nobodyAccepts(self) -> None:
        """Without one that accepts the login is refused, whatever way a checker says no."""
        self.refused(Logins([]))
        for no in (UnauthorizedLogin(), fail(UnauthorizedLogin()), None, ANONYMOUS, b"", 7):
            self.refused(Logins([Checker(no)]))  # type: ignore[list-item]

    def test_names(self) -> None:
        """A name of any octets is text for the journal, and two different ones stay different."""
        for avatar, name in ((b"me", "me"), ("me", "me"), ("é".encode(), "é"), (b"\xff", "\\xff")):
            self.assertEqual(name, self.successResultOf(self.check(Logins([Checker(succeed(avatar))]))))  # type: ignore[list-item]

    def test_brokenChecker(self) -> None:
        """A checker that fails is one line in the log, without the password; the next one is asked."""
        logins = Logins([Checker(ValueError("hunter2")), Checker(fail(KeyError("hunter2"))), Checker(b"me")])  # type: ignore[list-item]
        with capturedLogs() as events:
            self.assertEqual("me", self.successResultOf(self.check(logins, b"me", b"hunter2")))
        self.assertEqual(2, len(events))
        for event, kind in zip(events, ("ValueError", "KeyError"), strict=True):
            text = event["log_format"].format(**event)
            self.assertIn(kind, text)
            self.assertNotIn("hunter2", str(event))
            self.assertNotIn("\n", text)

    def test_cancelled(self) -> None:
        """A client that leaves ends the check."""
        pending: Deferred[bytes] = Deferred()
        check = self.check(Logins([Checker(pending), Checker(b"me")]))  # type: ignore[list-item]
        check.cancel()
        self.failureResultOf(check, CancelledError)

    def test_htpasswd(self) -> None:
        """``htpasswd:FILE`` checks in the threads of the reactor that is handed over."""
        self.write(f"me:{cheap(b'pw')}\n")
        logins = Logins.fromStrings([f"htpasswd:{self.path}"], self.threads)
        good, bad = self.check(logins), self.check(logins, b"me", b"no")
        self.threads.run()
        self.assertEqual("me", self.successResultOf(good))
        self.failureResultOf(bad, Refusal)

    def test_otherCheckers(self) -> None:
        """Twisted's own checkers work, several at once."""
        self.write("you:secret\n")
        logins = Logins.fromStrings(["memory:me:pw:é:p", f"file:{self.path}"], self.threads)
        for user, password in ((b"me", b"pw"), ("é".encode(), b"p"), (b"you", b"secret")):
            self.assertEqual(user.decode(), self.successResultOf(self.check(logins, user, password)))
        self.refused(logins, b"you", b"pw")

    def test_unknownType(self) -> None:
        """An unknown type is told with the known ones."""
        what, where, hint = self.problem("/etc/users")
        self.assertIn("'/etc/users'", what)
        self.assertEqual("--auth", where)
        for kind in ("htpasswd:FILE", "file", "memory"):
            self.assertIn(kind, hint)
        self.assertNotIn("anonymous", hint)

    def test_otherInterface(self) -> None:
        """A checker of something else than passwords would let nobody in, so it is refused."""
        self.assertIn("does not check user and password", self.problem("anonymous")[0])

    def test_missingFile(self) -> None:
        """A file that is not there is told at the start, with what to do."""
        for kind in ("htpasswd", "file"):
            what, where, _ = self.problem(f"{kind}:{self.path}")
            self.assertIn(self.path, what + where)
        self.assertIn("no file is named", self.problem("htpasswd")[0])
        self.assertIn("requires a filename", self.problem("file:")[0])

    def test_badLine(self) -> None:
        """A bad line of a file is told with the option, the file and the line."""
        self.write("me:plain\n")
        what, where, _ = self.problem(f"htpasswd:{self.path}")
        self.assertIn("bcrypt", what)
        self.assertEqual(f"--auth, {self.path}, line 1", where)

    def test_badArgument(self) -> None:
        """What a checker has against its argument is told without the argument, which may be a password."""
        what, _, hint = self.problem("memory:me:hunter2:x")
        self.assertIn("format", what)
        self.assertNotIn("hunter2", what + hint)

    def test_brokenFactory(self) -> None:
        """Whatever a checker's factory raises is a problem, in one line."""

        class Factory:
            authType = "odd"
            argStringFormat = "anything"
            credentialInterfaces = (IUsernameHashedPassword, IUsernamePassword)

            def __init__(self, error: Exception) -> None:
                self.error = error

            def generateChecker(self, argument: str) -> Any:
                raise self.error

        for error, text in ((RuntimeError(), "RuntimeError"), (OSError("no hunter2\nhere"), "no ***\\nhere")):
            with mock.patch.object(login, "findCheckerFactory", lambda kind, error=error: Factory(error)):
                what, _, hint = self.problem("odd:hunter2")
            self.assertEqual(f"auth type odd: {text}", what)
            self.assertIn("anything", hint)

    def test_allProblems(self) -> None:
        """Everything that is wrong is told at once."""
        descriptions = ["htpasswd:/nowhere/users", "odd", "memory:me:pw"]
        error = self.assertRaises(StartError, Logins.fromStrings, descriptions, self.threads)
        self.assertEqual(2, len(error.problems))
