"""
A TLS ClientHello, read strictly and to its last octet.

Strictly, because the question is whether it may be sent twice: what isn't a ClientHello for every reader is none here.
The message is that of RFC 8446, section 4.1.2 (RFC 5246, section 7.4.1.2, for clients before TLS 1.3), in handshake
records as in RFC 8446, section 5.1, cut up in any way. SSLv2's form of it (RFC 5246, appendix E.2) isn't read. The
contents of extensions aren't looked at, but for the server's name: early_data is enough by being there, and no other
lets anything of the application go before the server's answer (RFC 8446, section 2.3).
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from pipsocks.wire.inbox import Inbox

HELLO_LIMIT: Final = 16 * 1024
"""Octets of a ClientHello with its records' headers. Browsers' post-quantum ones have about 2,000."""

HANDSHAKE: Final = 0x16
"""The type of a handshake record: the first octet of every ClientHello (RFC 8446, section 5.1)."""

_RECORD_LIMIT: Final = 1 << 14
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_EARLY_DATA: Final = 42
_HOST_NAME: Final = 0

# TLS 1.0 to 1.2; TLS 1.3 calls itself 1.2 here (RFC 8446, section 4.1.2). What a record says is of no matter (5.1).
_VERSIONS: Final = (b"\x03\x01", b"\x03\x02", b"\x03\x03")
_HEADER: Final = re.compile(rb"(?:\x16(?:\x03.{0,3})?)?", re.DOTALL)
_NAME: Final = re.compile(rb"(?!.{254})(?:[a-z0-9_-]{1,63}\.)*(?![0-9]+\Z)[a-z0-9_-]{1,63}", re.IGNORECASE | re.DOTALL)


class HelloInvalid(Exception):
    """What came is no ClientHello, or one that is too long. The text is short and has nothing of the bytes in it."""


@attrs.frozen
class ClientHello:
    """
    A whole ClientHello.

    @ivar sni: the name of the server that the client wants, in lower case; empty where there is none, or where it isn't
        a plausible one in ASCII. With Encrypted ClientHello it is the name that anybody may see. For people to read.
    @ivar earlyData: whether the client announces application data in front of the server's answer (RFC 8446, 4.2.10).
        With Encrypted ClientHello too: an early_data in the encrypted hello must stand in the outer one as well
        (RFC 9849, section 6.1).
    @ivar size: how many octets it took, the headers of its records included.
    """

    sni: str
    earlyData: bool
    size: int


class HelloReader:
    """
    Reads one ClientHello from what a client says first.

    `next` gives it once, as soon as its last octet is there; what came behind it is `leftover`.
    """

    __slots__ = ("_failure", "_inbox", "_left", "_message", "_read", "_whole")

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._message = bytearray()
        self._left = 0
        self._read = 0
        self._whole = False
        self._failure = ""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; after an error they are thrown away."""
        if not self._failure:
            self._inbox.add(data)

    def next(self) -> ClientHello | None:
        """
        The ClientHello, or None when more bytes are needed, or once it was given.

        @raise HelloInvalid: now and each time after.
        """
        if self._failure:
            raise HelloInvalid(self._failure)
        if self._whole:
            return None
        try:
            return self._readRecords()
        except HelloInvalid as error:
            self._failure = str(error)
            self._message = bytearray()
            self._inbox.drain()
            raise

    def leftover(self) -> bytes:
        """Take what is behind the ClientHello, or behind what was understood of it so far."""
        return self._inbox.drain()

    def _readRecords(self) -> ClientHello | None:
        inbox, message = self._inbox, self._message
        while self._left or self._readHeader():
            fragment = inbox.take(self._left)
            if not fragment:
                break
            message += fragment
            self._left -= len(fragment)
            self._read += len(fragment)
            if message[0] != _CLIENT_HELLO:
                raise HelloInvalid("another handshake message")
            if len(message) < 4:
                continue
            missing = 4 + int.from_bytes(message[1:4], "big") - len(message)
            if missing < self._left:
                raise HelloInvalid("something behind the ClientHello in its record")
            if self._read + missing > HELLO_LIMIT:
                raise HelloInvalid("ClientHello too long")
            if not missing:
                sni, earlyData = _understand(bytes(message))
                self._whole = True
                self._message = bytearray()
                return ClientHello(sni, earlyData, self._read)
        return None

    def _readHeader(self) -> bool:
        """Whether the next record's header is there: never waits for the rest of one that is already wrong."""
        inbox = self._inbox
        header = bytes(inbox.data[inbox.at : inbox.at + 5])
        if not _HEADER.fullmatch(header):
            raise HelloInvalid("not a handshake record")
        if len(header) < 5:
            return False
        inbox.consume(inbox.at + 5)
        self._left = int.from_bytes(header[3:], "big")
        self._read += 5
        if not 1 <= self._left <= _RECORD_LIMIT:  # an empty fragment of a handshake is forbidden (RFC 8446, 5.1)
            raise HelloInvalid("a record of an impossible length")
        if self._read + self._left > HELLO_LIMIT:
            raise HelloInvalid("ClientHello too long")
        return True


class _Fields:
    """What is left of a structure in TLS's presentation language (RFC 8446, section 3)."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """Exactly `count` octets."""
        taken = self._data[self._at : self._at + count]
        if len(taken) < count:
            raise HelloInvalid("a length beyond its structure")
        self._at += count
        return taken

    def number(self, width: int) -> int:
        """A number of `width` octets."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Octets behind their length, which takes `width`."""
        return self.take(self.number(width))


def _understand(message: bytes) -> tuple[str, bool]:
    """The server's name in a whole ClientHello, and whether there is early data."""
    fields = _Fields(message)
    fields.take(4)
    if fields.take(2) not in _VERSIONS:
        raise HelloInvalid("an unknown version")
    fields.take(32)  # random
    if len(fields.vector(1)) > 32:
        raise HelloInvalid("a session's id that is too long")
    suites = fields.vector(2)
    if not suites or len(suites) % 2:
        raise HelloInvalid("malformed cipher suites")
    if 0 not in fields.vector(1):
        raise HelloInvalid("no null compression")  # which every client must offer (RFC 5246, section 7.4.1.2)
    if not fields:
        return "", False  # before TLS 1.3 there need be no extensions
    extensions = _Fields(fields.vector(2))
    if fields:
        raise HelloInvalid("octets behind the extensions")
    sni, seen = "", set()
    while extensions:
        kind = extensions.number(2)
        if kind in seen:  # RFC 8446, section 4.2
            raise HelloInvalid("a repeated extension")
        seen.add(kind)
        content = extensions.vector(2)
        if kind == _SERVER_NAME:
            sni = _serverName(content)
    return sni, _EARLY_DATA in seen


def _serverName(content: bytes) -> str:
    """RFC 6066, section 3: a list of one host name, since no other type of name exists."""
    fields = _Fields(content)
    names = _Fields(fields.vector(2))
    kind, name = names.number(1), names.vector(2)
    if fields or names or kind != _HOST_NAME:
        raise HelloInvalid("malformed server name")
    return name.decode("ascii").lower() if _NAME.fullmatch(name) else ""
