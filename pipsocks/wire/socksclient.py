"""
The client's side of SOCKS 5, 4 and 4a: what a hop is asked, and what it answers.

Where servers in the field differ from RFC 1928 without leaving room for doubt, they are understood: a refusal counts
from its second octet on (several close behind it, or send no address), the login's answer may carry version 5, the
version of a SOCKS 4 reply may be 4, and a bound address that is no address is "unknown".
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import attrs

from pipsocks.wire.inbox import Inbox
from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socks import (
    ATYP_IPV4,
    ATYP_NAME,
    CONNECT,
    GRANTED_4,
    LOGIN_VERSION,
    METHOD_LOGIN,
    METHOD_NONE,
    METHOD_REFUSED,
    REJECTED_4,
    SUCCEEDED,
    VERSION_4,
    VERSION_5,
    AddressTypeUnknown,
    decodeAddress,
    encodeAddress,
    packHost,
)

LOGIN_LIMIT: Final = 255
"""Octets of a user and of a password (RFC 1929, section 2)."""

REJECTED_4_LAST: Final = 0x5D
"""The last of SOCKS 4's refusals; 0x5C and 0x5D speak of identd and the user id."""

_REPLY_4: Final = 8
_NAME_FOLLOWS_4A: Final = b"\x00\x00\x00\x01"


class HopRefused(Exception):
    """
    The hop was asked and said no.

    @ivar version: 5 or 4: whose code it is.
    @ivar reply: the code: RFC 1928, section 6, or 91 to 93 of SOCKS 4.
    """

    def __init__(self, version: int, reply: int) -> None:
        super().__init__(version, reply)
        self.version = version
        self.reply = reply


class HopLogin(Exception):
    """
    The hop does not let us in: it takes none of our methods, or not our login.

    @ivar text: what it said, in short.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class HopNonsense(Exception):
    """
    The hop's answer is not of the protocol.

    @ivar text: what is wrong with it: short, ASCII, nothing of the bytes but numbers.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@attrs.frozen
class Send:
    """Bytes that are to be sent now."""

    data: bytes = attrs.field(repr=False)  # a login may be in them


@attrs.frozen
class Bound:
    """The tunnel is open; the hop connects from here. ``0.0.0.0`` where it does not tell."""

    host: str
    port: int


class SocksClient:
    """
    Asks one SOCKS hop for one connection.

    `start` gives the first bytes to send; after each `receive`, `next` gives what there is to do, until `Bound`.
    At most a reply is ever held, and what came behind it is `leftover`.

    @param version: 5 or 4.
    @param host: a canonical host (see `pipsocks.wire.names`). SOCKS 4 takes an IPv4 address, and a name when `a4`.
    @param login: user and password for SOCKS 5; of SOCKS 4 the user id.
    @param a4: names may be sent as 4a has it.
    @param command: what SOCKS 5 is asked for in place of a connection.
    @raise NameInvalid: the version does not carry such a host.
    @raise ValueError: user or password has more than 255 octets, or a user id has NUL in it.
    """

    def __init__(
        self,
        version: int,
        host: str,
        port: int,
        login: tuple[bytes, bytes] | None,
        a4: bool = False,
        command: int = CONNECT,
    ) -> None:
        if login is not None and max(map(len, login)) > LOGIN_LIMIT:
            raise ValueError("user or password over 255 octets")
        self._login = login
        self._inbox = Inbox()
        self._read: Callable[[], Send | Bound | None]
        self.asked = False
        """Whether the hop was told the destination."""
        if version == VERSION_4:
            self._request = _request4(host, port, login[0] if login else b"", a4)
            self._read = self._readReply4
        else:
            self._request = bytes([VERSION_5, command, 0]) + encodeAddress(host, port)
            self._read = self._readMethod

    def start(self) -> bytes:
        """The first bytes to send."""
        if self._read == self._readReply4:
            self.asked = True
            return self._request
        if self._login is None:
            return bytes([VERSION_5, 1, METHOD_NONE])
        return bytes([VERSION_5, 2, METHOD_NONE, METHOD_LOGIN])

    def receive(self, data: bytes) -> None:
        """Take bytes that came."""
        self._inbox.add(data)

    def next(self) -> Send | Bound | None:
        """
        What is to be done now; None when more bytes are needed, and once the tunnel is open.

        @raise HopRefused: the hop said no.
        @raise HopLogin: it does not take our login.
        @raise HopNonsense: it does not speak SOCKS.
        """
        return self._read()

    def leftover(self) -> bytes:
        """The bytes behind the hop's answer, taken."""
        return self._inbox.drain()

    def _pair(self, versions: tuple[int, ...], what: str) -> int | None:
        """The second octet behind a first one that must be one of `versions`; nothing is consumed."""
        inbox = self._inbox
        if inbox.held and inbox.data[inbox.at] not in versions:
            raise HopNonsense(f"{what} begins with octet {inbox.data[inbox.at]:#04x}")
        return inbox.data[inbox.at + 1] if inbox.held > 1 else None

    def _readMethod(self) -> Send | Bound | None:
        method = self._pair((VERSION_5,), "the answer")
        if method is None:
            return None
        self._inbox.take(2)
        if method == METHOD_NONE:
            return self._ask()
        if method == METHOD_LOGIN and self._login is not None:
            user, password = self._login
            self._read = self._readLogin
            return Send(bytes([LOGIN_VERSION, len(user)]) + user + bytes([len(password)]) + password)
        if method == METHOD_REFUSED:
            raise HopLogin("no acceptable method")
        raise HopLogin("wants a user and a password" if method == METHOD_LOGIN else f"wants login method {method}")

    def _readLogin(self) -> Send | Bound | None:
        status = self._pair((LOGIN_VERSION, VERSION_5), "the login's answer")
        if status is None:
            return None
        self._inbox.take(2)
        if status != 0:
            raise HopLogin(f"login status {status}")
        return self._ask()

    def _ask(self) -> Send:
        self._read = self._readReply5
        self.asked = True
        return Send(self._request)

    def _readReply5(self) -> Send | Bound | None:
        reply = self._pair((VERSION_5,), "the reply")
        if reply is None:
            return None
        if reply != SUCCEEDED:
            raise HopRefused(VERSION_5, reply)
        inbox = self._inbox
        try:
            address = decodeAddress(inbox.data, inbox.at + 3)
        except AddressTypeUnknown as unknown:
            raise HopNonsense(f"the reply has {unknown}") from None
        if address is None:
            return None
        inbox.consume(address.end)
        self._read = _nothing
        try:
            return Bound(address.host, address.port)
        except NameInvalid:
            return Bound("0.0.0.0", address.port)

    def _readReply4(self) -> Send | Bound | None:
        reply = self._pair((0, VERSION_4), "the reply")
        if reply is None:
            return None
        if REJECTED_4 <= reply <= REJECTED_4_LAST:
            raise HopRefused(VERSION_4, reply)
        if reply != GRANTED_4:
            raise HopNonsense(f"the reply has code {reply}")
        if self._inbox.held < _REPLY_4:
            return None
        raw = self._inbox.take(_REPLY_4)
        self._read = _nothing
        return Bound(socket.inet_ntop(socket.AF_INET, raw[4:]), int.from_bytes(raw[2:4], "big"))


def _nothing() -> None:
    """What is to be done once the tunnel is open."""


def _request4(host: str, port: int, user: bytes, a4: bool) -> bytes:
    kind, raw = packHost(host)
    if b"\x00" in user:
        raise ValueError("NUL in a user id")
    head = bytes([VERSION_4, CONNECT]) + port.to_bytes(2, "big")
    if kind == ATYP_IPV4:
        return head + raw + user + b"\x00"
    if kind == ATYP_NAME and a4:
        return head + _NAME_FOLLOWS_4A + user + b"\x00" + raw + b"\x00"
    raise NameInvalid("SOCKS 4 takes IPv4 addresses")
