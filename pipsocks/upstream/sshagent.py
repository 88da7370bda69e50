"""The ssh agent's client (draft-ietf-sshm-ssh-agent): what keys it has, and signatures by them."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from pipsocks.upstream.sshdata import Fields, Malformed, number, string

LIMIT: Final = 262_144
"""Octets of one message, as OpenSSH's agent has it."""

REQUEST_IDENTITIES: Final = 11
IDENTITIES_ANSWER: Final = 12
SIGN_REQUEST: Final = 13
SIGN_RESPONSE: Final = 14

FLAGS: Final = {b"rsa-sha2-256": 2, b"rsa-sha2-512": 4}
"""What asks for another hash than an RSA key's first one, SHA-1 (section 3.6.1)."""


class AgentFailed(Exception):
    """The agent is not there, is gone, or does not do what it is asked for."""


class Agent(Protocol):
    """A connection to the agent. It is asked one thing at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._asked: Deferred[Fields] | None = None

    async def identities(self) -> list[bytes]:
        """
        Its public keys.

        @raise AgentFailed: see there.
        """
        answer = await self._ask(REQUEST_IDENTITIES, b"", IDENTITIES_ANSWER)
        try:
            return [_pair(answer) for _ in range(answer.number())]
        except Malformed:
            raise AgentFailed from None

    async def sign(self, blob: bytes, data: bytes, algorithm: bytes) -> bytes:
        """
        The signature of `data` by the key whose public half is `blob`.

        @raise AgentFailed: it does not sign.
        """
        flags = FLAGS.get(algorithm.removesuffix(b"-cert-v01@openssh.com"), 0)
        answer = await self._ask(SIGN_REQUEST, string(blob) + string(data) + number(flags), SIGN_RESPONSE)
        try:
            return answer.string()
        except Malformed:
            raise AgentFailed from None

    def close(self) -> None:
        """It is needed no more."""
        if self.transport is not None:
            self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        """Part of an answer."""
        self._buffer += data
        size = int.from_bytes(self._buffer[:4], "big")
        if len(self._buffer) < 4:
            return
        if not 0 < size <= LIMIT:
            self.close()
        elif len(self._buffer) >= 4 + size:
            message, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
            self._tell(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self._tell(b"")
        self.transport = None

    async def _ask(self, kind: int, data: bytes, expected: int) -> Fields:
        if self.transport is None:
            raise AgentFailed
        self.transport.write(number(len(data) + 1) + bytes((kind,)) + data)
        self._asked = Deferred()
        answer = await self._asked
        try:
            if answer.take(1) == bytes((expected,)):
                return answer
        except Malformed:
            pass
        raise AgentFailed

    def _tell(self, message: bytes) -> None:
        asked, self._asked = self._asked, None
        if asked is not None and not asked.called:
            asked.callback(Fields(message))


def _pair(answer: Fields) -> bytes:
    blob = answer.string()
    answer.string()  # its comment
    return blob


async def connectAgent(reactor: Any, path: str) -> Agent | None:
    """The agent that listens at `path`; None where none does."""
    factory = Factory.forProtocol(Agent)
    factory.noisy = False
    try:
        agent: Any = await UNIXClientEndpoint(reactor, path).connect(factory)
    except CancelledError:
        raise
    except Exception:  # not there, not ours, or no path at all
        return None
    return agent  # type: ignore[no-any-return]
