"""The host keys that ``known_hosts`` files vouch for (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

from pipsocks.model import Destination
from pipsocks.upstream.sshdata import Fields, Malformed

PORT: Final = 22
"""The port that stands in no entry: another one's host is written ``[HOST]:PORT``."""

KIND: Final = 64
"""Octets that the name of a key's type has at most (RFC 4251, section 6): more of it are not shown."""

_HASHED: Final = b"|1|"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class HostKeyUnknown(Exception):
    """
    No file has a key of the host.

    @ivar key: what the host showed: its type and its fingerprint, as ``ssh-keygen -l`` prints it.
    @ivar file: where it was looked for first.
    """

    def __init__(self, key: str, file: str) -> None:
        super().__init__(key)
        self.key = key
        self.file = file


class HostKeyChanged(Exception):
    """
    A file has another key of the host, or revokes this one.

    @ivar key: what the host showed: its type and its fingerprint.
    @ivar how: which line says otherwise.
    """

    def __init__(self, key: str, how: str) -> None:
        super().__init__(key)
        self.key = key
        self.how = how


@attrs.frozen
class _Key:
    kind: bytes
    blob: bytes
    place: str


@attrs.frozen
class KnownKeys:
    """What the files say of one host."""

    files: tuple[str, ...]
    keys: tuple[_Key, ...]
    revoked: tuple[_Key, ...]

    @property
    def kinds(self) -> frozenset[bytes]:
        """The types of its keys: the ones to ask it for."""
        return frozenset(key.kind for key in self.keys)

    def check(self, blob: bytes) -> None:
        """
        Take the key that the host shows, or do not.

        @raise HostKeyUnknown: the host is not in the files.
        @raise HostKeyChanged: it is there with other keys, or this one is revoked.
        """
        shown = fingerprint(blob)
        for key in self.revoked:
            if key.blob == blob:
                raise HostKeyChanged(shown, f"revoked in {key.place}")
        if not self.keys:
            raise HostKeyUnknown(shown, self.files[0])
        if all(key.blob != blob for key in self.keys):
            kind = _kind(blob)
            alike = next((key for key in self.keys if key.kind == kind), self.keys[0])
            raise HostKeyChanged(shown, f"another stands in {alike.place}")


def knownKeys(files: Sequence[str], host: Destination) -> KnownKeys:
    """
    Look a host up in `files`, those of which that cannot be read are as good as empty.

    A host on another port than 22 that is not there under its port is taken as the same host on port 22, as OpenSSH
    does. Certificate authorities are not heeded.
    """
    lines = [line for file in files for line in _read(file)]
    name = host.host.encode().lower()
    found = _KeysOf(lines, name if host.port == PORT else b"[%s]:%d" % (name, host.port))
    if not found.keys and host.port != PORT:
        found = _KeysOf(lines, name, found.revoked)
    return KnownKeys(tuple(files), tuple(found.keys), tuple(found.revoked))


def fingerprint(blob: bytes) -> str:
    """A key's type and SHA-256 fingerprint."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=")
    return f"{_kind(blob)[:KIND].decode('ascii', 'replace')} SHA256:{digest.decode()}"


def _kind(blob: bytes) -> bytes:
    try:
        return Fields(blob).string()
    except Malformed:
        return b"?"


def _read(file: str) -> list[tuple[str, bytes]]:
    try:
        with open(file, "rb") as stream:
            return [(f"{file}:{number}", line) for number, line in enumerate(stream, 1)]
    except OSError:
        return []


class _KeysOf:
    """The entries that are about `name`; those of which are revoked are kept apart."""

    def __init__(self, lines: Iterable[tuple[str, bytes]], name: bytes, revoked: Iterable[_Key] = ()) -> None:
        self.keys: list[_Key] = []
        self.revoked: list[_Key] = list(revoked)
        for place, line in lines:
            words = line.split()
            marker = words.pop(0) if words and words[0].startswith(b"@") else b""
            if len(words) < 3 or words[0].startswith(b"#") or not _matches(words[0], name):
                continue
            blob = _decoded(words[2])
            if _kind(blob) != words[1]:
                continue
            if marker == b"@revoked":
                self.revoked.append(_Key(words[1], blob, place))
            elif not marker:
                self.keys.append(_Key(words[1], blob, place))


def _matches(pattern: bytes, name: bytes) -> bool:
    if pattern.startswith(_HASHED):
        salt, _, digest = pattern[len(_HASHED) :].partition(b"|")
        return hmac.compare_digest(hmac.digest(_decoded(salt), name, "sha1"), _decoded(digest))
    matched = False
    for each in pattern.lower().split(b","):
        if _glob(each.removeprefix(b"!"), name):
            if each.startswith(b"!"):
                return False
            matched = True
    return matched


def _glob(pattern: bytes, name: bytes) -> bool:
    """OpenSSH's patterns: ``*`` and ``?``, and no sets in brackets, which stand around a host here."""
    expression = re.escape(pattern).replace(rb"\*", b".*").replace(rb"\?", b".")
    return re.fullmatch(expression, name) is not None


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text) if _BASE64.fullmatch(text) else b""
    except binascii.Error:
        return b""
