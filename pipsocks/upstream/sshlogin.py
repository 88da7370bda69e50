"""The service ssh-userauth (RFC 4252): the login at a hop, by its keys and then by a password."""

from __future__ import annotations

from typing import Any, Final
from typing import Protocol as Seam

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from pipsocks.model import Secret
from pipsocks.upstream.sshagent import AgentFailed
from pipsocks.upstream.sshdata import Fields, string
from pipsocks.upstream.sshkeys import FileKey, Identity, PublicKey, algorithmOf, identities

REQUEST: Final = 50
FAILURE: Final = 51
SUCCESS: Final = 52
BANNER: Final = 53
PK_OK: Final = 60  # and, to a password, that it has expired

CONNECTION: Final = b"ssh-connection"


class LoginRefused(Exception):
    """
    Nothing that we have is taken.

    @ivar takes: the methods that the hop takes.
    @ivar offered: what it was offered, in words.
    """

    def __init__(self, takes: str, offered: str) -> None:
        super().__init__(takes)
        self.takes = takes
        self.offered = offered


@attrs.frozen
class Credentials:
    """Who logs in, with what. `agent` is the path of the agent's socket, empty for none."""

    user: str
    password: Secret | None
    key: FileKey | PublicKey | None
    agent: str


class Line(Seam):
    """The connection, as this service sees it."""

    sessionID: bytes
    peerExtensions: dict[bytes, bytes]

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send one message."""

    def sendUnimplemented(self) -> None:
        """Say that the last message was not understood."""


class Userauth:
    """
    Logs in once.

    @ivar done: fires with None, or fails with `LoginRefused`, or with `Malformed` where the hop's words make no sense.
    """

    name: Final = b"ssh-userauth"
    transport: Line

    def __init__(self, reactor: Any, credentials: Credentials) -> None:
        self._reactor = reactor
        self._credentials = credentials
        self._reply: Deferred[tuple[int, Fields]] | None = None
        self._takes: list[bytes] = []
        self._running: Deferred[None] | None = None
        self.done: Deferred[None] = Deferred()

    # what conch asks of a service

    def serviceStarted(self) -> None:
        """The hop lets us log in."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addCallbacks(self.done.callback, self._failed)

    def serviceStopped(self) -> None:
        """It is done, or the connection is lost."""
        if self._running is not None:
            self._running.cancel()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Take one message."""
        reply, self._reply = self._reply, None
        if messageNum == BANNER:
            self._reply = reply
        elif reply is None or messageNum not in (FAILURE, SUCCESS, PK_OK):
            self._reply = reply
            self.transport.sendUnimplemented()
        else:
            reply.callback((messageNum, Fields(packet)))

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.done.errback(failure)

    # the login

    async def _run(self) -> None:
        if await self._isIn(b"none", b""):
            return
        own = self._credentials
        keys: list[Identity] = []
        if b"publickey" in self._takes:
            keys, agent = await identities(self._reactor, own.key, own.agent)
            try:
                for key in keys:
                    if b"publickey" in self._takes and await self._isInBy(key):
                        return
            finally:
                if agent is not None:
                    agent.close()
        if own.password is not None and b"password" in self._takes:
            password = own.password.reveal().encode()
            if await self._isIn(b"password", b"\0" + string(password)):
                return
        offered = [f"{len(keys)} key{'' if len(keys) == 1 else 's'}"] if keys else []
        offered += ["a password"] if own.password is not None else []
        raise LoginRefused(b",".join(self._takes).decode("ascii", "replace"), " and ".join(offered) or "nothing")

    async def _isInBy(self, key: Identity) -> bool:
        """Ask whether the key would be taken, then sign by it: a key of the agent's may want to be touched for that."""
        algorithm = algorithmOf(key.blob, self.transport.peerExtensions.get(b"server-sig-algs", b""))
        claim = string(algorithm) + string(key.blob)
        kind, fields = await self._ask(b"publickey", b"\0" + claim)
        if kind != PK_OK:
            return self._outcome(kind, fields)
        claim = b"\1" + claim
        signed = string(self.transport.sessionID) + bytes((REQUEST,)) + self._request(b"publickey") + claim
        try:
            signature = await key.sign(signed, algorithm)
        except AgentFailed:
            return False
        return await self._isIn(b"publickey", claim + string(signature))

    async def _isIn(self, method: bytes, data: bytes) -> bool:
        return self._outcome(*await self._ask(method, data))

    def _outcome(self, kind: int, fields: Fields) -> bool:
        if kind == FAILURE:
            self._takes = fields.string().split(b",")
        return kind == SUCCESS

    def _request(self, method: bytes) -> bytes:
        return string(self._credentials.user.encode()) + string(CONNECTION) + string(method)

    def _ask(self, method: bytes, data: bytes) -> Deferred[tuple[int, Fields]]:
        self.transport.sendPacket(REQUEST, self._request(method) + data)
        self._reply = Deferred()
        return self._reply
