"""Whose keys log in at an ssh hop: those of files, and those of the agent."""

from __future__ import annotations

import os
from typing import Any, Final, Protocol

import attrs
from twisted.conch.ssh.keys import EncryptedKeyError, Key
from twisted.internet.defer import Deferred, TimeoutError

from pipsocks.upstream.settings import SSHSettings
from pipsocks.upstream.sshagent import Agent, AgentFailed, connectAgent
from pipsocks.upstream.sshdata import Fields

DEFAULTS: Final = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")

AGENT_SECONDS: Final = 1.0
"""How long an agent may take to list its keys."""

SIZE: Final = 65_536
"""Octets of a key's file: a longer one is none."""


class Identity(Protocol):
    """A key that can sign."""

    @property
    def blob(self) -> bytes:
        """Its public half."""

    async def sign(self, data: bytes, algorithm: bytes) -> bytes:
        """The signature of `data`."""


@attrs.frozen
class FileKey:
    """A private key from a file."""

    blob: bytes
    _key: Key = attrs.field(repr=False)

    async def sign(self, data: bytes, algorithm: bytes) -> bytes:
        """The signature of `data`."""
        signature: bytes = self._key.sign(data, algorithm)
        return signature


@attrs.frozen
class PublicKey:
    """The public half of a key; the agent has to have the other one."""

    blob: bytes


@attrs.frozen
class AgentKey:
    """A key of the agent's."""

    blob: bytes
    _agent: Agent

    async def sign(self, data: bytes, algorithm: bytes) -> bytes:
        """The signature of `data`. Fails with `AgentFailed`."""
        return await self._agent.sign(self.blob, data, algorithm)


def readKey(settings: SSHSettings) -> FileKey | PublicKey:
    """
    The key that the settings name.

    @raise OSError: the file cannot be read.
    @raise ValueError: it is no key, or it is encrypted with another passphrase.
    """
    path = os.path.expanduser(settings.key)
    passphrase = settings.passphrase.reveal().encode() if settings.passphrase is not None else None
    data = _read(path)
    try:
        return _parsed(data, passphrase)
    except EncryptedKeyError:
        pass
    except Exception:  # conch trusts what it reads: of what is no key it raises whatever it may
        raise ValueError(f"no private key, or not with that passphrase: {path}") from None
    try:
        return PublicKey(_parsed(_read(f"{path}.pub"), None).blob)
    except OSError:
        pass
    raise ValueError(f"encrypted, and neither passphrase= nor {path}.pub, for the agent, is there: {path}")


async def identities(
    reactor: Any, own: FileKey | PublicKey | None, agentPath: str
) -> tuple[list[Identity], Agent | None]:
    """
    The keys to log in with, in the order to offer them, and the agent to close after that.

    With a key of one's `own` that alone, which may be one of the agent's; else the agent's, then OpenSSH's default
    files that are not encrypted. No path, no agent; one that does not answer within a second is none either, or it
    would pass for a silent hop.
    """
    if isinstance(own, FileKey):
        return [own], None
    agent = await connectAgent(reactor, agentPath) if agentPath else None
    try:
        blobs = await _listed(reactor, agent) if agent is not None else []
    except (AgentFailed, TimeoutError):
        blobs = []
    except BaseException:  # the login is over: nobody else knows of the agent yet
        if agent is not None:
            agent.close()
        raise
    found: list[Identity] = [
        AgentKey(blob, agent) for blob in blobs if agent is not None and (own is None or own.blob == blob)
    ]
    if own is None:
        found += [key for key in map(_default, DEFAULTS) if key is not None and key.blob not in blobs]
    return found, agent


async def _listed(reactor: Any, agent: Agent) -> list[bytes]:
    listing: list[bytes] = await Deferred.fromCoroutine(agent.identities()).addTimeout(AGENT_SECONDS, reactor)
    return listing


def algorithmOf(blob: bytes, offered: bytes) -> bytes:
    """
    What a key signs with, as far as the server takes it (RFC 8332, and RFC 8308, section 3.1).

    @param offered: the server's ``server-sig-algs``; empty where it sent none.
    """
    kind = Fields(blob).string()
    if not kind.startswith(b"ssh-rsa"):
        return kind
    taken = offered.split(b",")
    algorithm = b"rsa-sha2-256" if b"rsa-sha2-256" in taken and b"rsa-sha2-512" not in taken else b"rsa-sha2-512"
    return algorithm + kind.removeprefix(b"ssh-rsa")


def _default(path: str) -> FileKey | None:
    try:
        key = _parsed(_read(os.path.expanduser(path)), None)
    except Exception:  # not there, not ours to read, encrypted, or of a kind that conch does not know
        return None
    return key if isinstance(key, FileKey) else None


def _parsed(data: bytes, passphrase: bytes | None) -> FileKey | PublicKey:
    key = Key.fromString(data, passphrase=passphrase)
    blob: bytes = key.blob()
    # A security key's file holds a handle: the agent knows what to do with it.
    return PublicKey(blob) if key.isPublic() or blob[4:7] == b"sk-" else FileKey(blob, key)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(SIZE)
