"""The checker that ``--auth htpasswd:FILE`` names: bcrypt off the reactor's thread, and not twice for one login."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from pipsocks.model import StartError
from pipsocks.policy.checks import Checks
from pipsocks.policy.passwords import Sign, Users, load, matches, signOf

REMEMBERED: Final = 10_000
"""Logins that need no bcrypt for a while; the oldest go."""

_log = Logger()


@implementer(ICredentialsChecker)
class HtpasswdChecker:
    """
    Checks users and passwords against a file of bcrypt hashes.

    The file is read again when it changes; one that is no good by then is told of once, and the users stay as
    they were. A login that was verified is remembered by a hash under a key that nobody else has, until the file
    changes: pip opens a connection for each file, and bcrypt is slow on purpose. An unknown user takes as long as
    a wrong password.

    @ivar reactor: whose thread pool checks passwords. Whoever builds the checker from a string has no place for
        it, so it is set afterwards, before the first login; without it the check blocks.
    """

    credentialInterfaces = (IUsernamePassword,)
    reactor: Any = None

    def __init__(self, path: str) -> None:
        """
        Read the file.

        @raise StartError: it cannot be read, or has bad lines.
        """
        # A daemon's working directory is another one.
        self._path = os.path.abspath(path) if path else path
        self._users: Users = load(self._path)
        self._seen: Sign | None = self._users.sign
        self._key = os.urandom(32)
        self._remembered: dict[bytes, None] = {}
        self._checks = Checks()

    def requestAvatarId(self, credentials: IUsernamePassword) -> Deferred[bytes | tuple[()]]:
        """The user's name; fails with `UnauthorizedLogin`."""
        return Deferred.fromCoroutine(self._check(credentials.username, credentials.password))

    async def _check(self, user: bytes, password: bytes) -> bytes | tuple[()]:
        users = self._current()
        proof = self._proof(user, password)
        if proof in self._remembered:
            return user
        known = users.hashes.get(user)
        matched = await self._checks.ask(self.reactor, proof, lambda: matches(password, known or users.dummy))
        if known is None or not matched:
            raise UnauthorizedLogin
        self._remember(proof)
        return user

    def _proof(self, user: bytes, password: bytes) -> bytes:
        said = b"%d:%b%b" % (len(user), user, password)
        return hashlib.blake2b(said, key=self._key, digest_size=32).digest()

    def _remember(self, proof: bytes) -> None:
        self._remembered[proof] = None
        if len(self._remembered) > REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _current(self) -> Users:
        sign = signOf(self._path)
        if sign == self._seen:
            return self._users
        self._seen = sign
        try:
            self._users = load(self._path)
        except StartError as error:
            problem = error.problems[0]
            _log.warn("{where}: {what}; the users stay as they were", where=problem.where, what=problem.what)
        else:
            # As it was when it was read: what was written since is seen at the next login.
            self._seen = self._users.sign
            self._remembered.clear()
            # No check that began before is shared, and none of its proofs is good any more.
            self._key = os.urandom(32)
        return self._users
