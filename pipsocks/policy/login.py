"""Who may use a listener: checkers of twisted.cred, one after the other, the first that accepts wins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from traceback import extract_tb
from typing import Any

from twisted.cred.checkers import ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.strcred import ICheckerFactory, InvalidAuthType, findCheckerFactories, findCheckerFactory
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.logger import Logger

from pipsocks.model import Problem, StartError
from pipsocks.refusal import Refusal, printable

_log = Logger()


class Logins:
    """
    The checkers of one listener.

    A `twisted.cred.portal.Portal` has one checker for each kind of credentials and makes avatars, which a proxy
    has no use for; this asks the same checkers.
    """

    def __init__(self, checkers: Sequence[ICredentialsChecker]) -> None:
        self._checkers = tuple(checkers)

    @classmethod
    def fromStrings(cls, descriptions: Iterable[str], reactor: Any, where: str = "--auth") -> Logins:
        """
        Build the checkers from what ``--auth`` was given, each ``TYPE`` or ``TYPE:ARGUMENT``.

        @param reactor: handed to each checker that has a place for it: an attribute ``reactor`` that is None.
        @param where: what to name in errors.
        @raise StartError: with a problem for each checker that cannot be had.
        """
        checkers: list[ICredentialsChecker] = []
        problems: list[Problem] = []
        for description in descriptions:
            try:
                checkers.append(_checker(description, reactor, where))
            except StartError as error:
                problems += error.problems
        if problems:
            raise StartError(*problems)
        return cls(checkers)

    async def check(self, user: bytes, password: bytes) -> str:
        """
        Who this is, for the journal.

        @raise Refusal: PS-AU02, no checker accepts; also when one cannot check, which the log says.
        """
        credentials = UsernamePassword(user, password)
        for checker in self._checkers:
            try:
                avatar = await maybeDeferred(checker.requestAvatarId, credentials)
            except LoginFailed:
                continue
            except CancelledError:
                raise
            except Exception as error:
                _log.error("{checker} could not check a login: {error}", checker=_name(checker), error=_told(error))
                continue
            if avatar and isinstance(avatar, bytes | str):
                return avatar if isinstance(avatar, str) else avatar.decode("utf-8", "backslashreplace")
        raise Refusal("PS-AU02")


def _checker(description: str, reactor: Any, where: str) -> ICredentialsChecker:
    kind, _, argument = description.partition(":")
    factory = _factory(kind, argument, where)
    # Twisted's own checker for plain files only warns of it, and then lets nobody in.
    if kind == "file" and argument and not os.path.isfile(argument):
        hint = "write file:PATH, or htpasswd:PATH for a file with hashes"
        raise StartError(Problem(f"there is no file {argument}", where, hint))
    try:
        checker: ICredentialsChecker = factory.generateChecker(argument)
    except StartError as error:
        raise StartError(*(_in(problem, where) for problem in error.problems)) from None
    except Exception as error:
        # A checker's argument may be a password, as that of "memory" is.
        text = printable(str(error).replace(argument, "***") if argument else str(error))
        hint = f"its argument is: {factory.argStringFormat}"
        raise StartError(Problem(f"auth type {kind}: {text or type(error).__name__}", where, hint)) from None
    if isinstance(checker, InMemoryUsernamePasswordDatabaseDontUse):
        # Twisted's plugin fills it with text, though it is asked for octets: nobody would get in.
        checker.users = {_octets(user): _octets(password) for user, password in checker.users.items()}
    if getattr(checker, "reactor", reactor) is None:
        checker.reactor = reactor  # type: ignore[attr-defined]
    return checker


def _factory(kind: str, argument: str, where: str) -> ICheckerFactory:
    try:
        factory: ICheckerFactory = findCheckerFactory(kind)
    except InvalidAuthType:
        known = ", ".join(sorted({each.authType for each in findCheckerFactories() if _checksPasswords(each)}))
        hint = f"write TYPE:ARGUMENT, for a file of users htpasswd:FILE; known types: {known}"
        raise StartError(Problem(f"there is no auth type {kind!a}", where, hint)) from None
    if not _checksPasswords(factory):
        hint = "use one that does, for a file of users htpasswd:FILE"
        raise StartError(Problem(f"auth type {kind} does not check user and password", where, hint))
    return factory


def _checksPasswords(factory: ICheckerFactory) -> bool:
    return any(interface.isOrExtends(IUsernamePassword) for interface in factory.credentialInterfaces)


def _octets(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _in(problem: Problem, where: str) -> Problem:
    return Problem(problem.what, f"{where}, {problem.where}", problem.hint)


def _name(checker: ICredentialsChecker) -> str:
    return type(checker).__qualname__


def _told(error: Exception) -> str:
    """The kind of the error and its place: its text may have the password in it."""
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {place.filename}, line {place.lineno}"
