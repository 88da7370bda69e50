"""
The server's side of SOCKS 5 (RFC 1928, 1929), 4 and 4a: a client's octets in, what it wants out.

The rules: the first octet tells the version. SOCKS 5: with a login required only method 2 is taken; without one
method 0 if it is offered, else 2 with whatever credentials, since clients with a password in their URL offer nothing
else. SOCKS 4 has no login (a user id is no password), so it is refused where one is required. Each message is judged as
soon as its octets are there, and none of them is waited for beyond its limit. What comes behind the request is the
tunnel's: it is kept and not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs

from pipsocks.wire import socks
from pipsocks.wire.names import NAME_LIMIT, NameInvalid, parseHost

USERID_LIMIT: Final = 255
"""Octets of a SOCKS 4 user id; the memo names no limit."""

_ACCEPTED: Final = bytes([socks.LOGIN_VERSION, 0])
_REJECTED: Final = bytes([socks.LOGIN_VERSION, 1])
_NO_METHOD: Final = bytes([socks.VERSION_5, socks.METHOD_REFUSED])
_COMMANDS: Final = {
    socks.VERSION_5: frozenset({socks.CONNECT, socks.BIND, socks.UDP_ASSOCIATE}),
    socks.VERSION_4: frozenset({socks.CONNECT, socks.BIND}),
}


class SocksError(Exception):
    """
    The client's request is refused by the codec itself.

    @ivar code: the slug that says why.
    @ivar detail: what the slug's phrase asks for: ASCII, nothing of the client's octets but numbers.
    @ivar reply: what to write before closing; empty where the protocol has no word for it.
    """

    def __init__(self, code: str, detail: str, reply: bytes) -> None:
        super().__init__(code, detail, reply)
        self.code = code
        self.detail = detail
        self.reply = reply


@attrs.frozen
class Send:
    """Write this to the client now."""

    data: bytes


@attrs.frozen
class Credentials:
    """Who the client says it is, in whatever encoding (RFC 1929). Answer with `SocksServer.accept` or `reject`."""

    user: bytes
    password: bytes = attrs.field(repr=False)


@attrs.frozen
class SocksRequest:
    """
    The request, whole.

    `host` is canonical (see `pipsocks.wire.names`), `port` 0 only where `command` is not CONNECT, `userid` only what
    SOCKS 4 carries.
    """

    version: int
    command: int
    host: str
    port: int
    userid: bytes = b""


Event = Send | Credentials | SocksRequest


class SocksServer:
    """
    One client's handshake.

    Between `Credentials` and its answer, and behind the request, `receive` keeps what comes without a limit of its
    own: mind `held`, and stop reading. In all other states at most one message that is not whole is held.
    """

    __slots__ = ("_buffer", "_loginRequired", "_state")

    def __init__(self, loginRequired: bool) -> None:
        self._loginRequired = loginRequired
        self._buffer = bytearray()
        # The plain function: a bound method would make each handshake a cycle for the garbage collector.
        self._state: Callable[[SocksServer], Event | None] = SocksServer._version

    @property
    def held(self) -> int:
        """Octets that were received and not yet read."""
        return len(self._buffer)

    def receive(self, data: bytes) -> None:
        """Take what the client sent."""
        self._buffer += data

    def next(self) -> Event | None:
        """
        The next event; None means: more octets, an answer to `Credentials`, or (behind the request) nothing at all.

        @raise SocksError: the client is refused; the codec is of no further use.
        """
        return self._state(self)

    def accept(self) -> bytes:
        """The credentials are good: the octets that say so. The request comes next."""
        self._answer()
        self._state = SocksServer._request5
        return _ACCEPTED

    def reject(self) -> bytes:
        """The credentials are not good: the octets that say so. Close behind them (RFC 1929, section 2)."""
        self._answer()
        self._state = SocksServer._done
        return _REJECTED

    def leftover(self) -> bytes:
        """Give up what was not read: once the request is complete, what belongs to the tunnel."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def _answer(self) -> None:
        if self._state is not SocksServer._waiting:
            raise RuntimeError("no credentials wait for an answer")

    def _version(self) -> Event | None:
        if not self._buffer:
            return None
        version = self._buffer[0]
        if version == socks.VERSION_5:
            self._state = SocksServer._greeting
        elif version != socks.VERSION_4:
            raise SocksError("PS-RQ01", f"first octet {version} is no SOCKS version", b"")
        elif self._loginRequired:
            raise SocksError("PS-AU01", "SOCKS 4 has no login", replyBytes(socks.VERSION_4, socks.NOT_ALLOWED))
        else:
            self._state = SocksServer._request4
        return self._state(self)

    def _greeting(self) -> Event | None:
        buffer = self._buffer
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return None
        methods = bytes(buffer[2 : 2 + buffer[1]])
        del buffer[: 2 + len(methods)]
        if socks.METHOD_NONE in methods and not self._loginRequired:
            self._state = SocksServer._request5
            return Send(bytes([socks.VERSION_5, socks.METHOD_NONE]))
        if socks.METHOD_LOGIN in methods:
            self._state = SocksServer._login
            return Send(bytes([socks.VERSION_5, socks.METHOD_LOGIN]))
        if self._loginRequired:
            raise SocksError("PS-AU01", "the client offers no login", _NO_METHOD)
        raise SocksError("PS-RQ01", "no SOCKS method that is spoken here", _NO_METHOD)

    def _login(self) -> Event | None:
        buffer = self._buffer
        if buffer and buffer[0] != socks.LOGIN_VERSION:
            raise SocksError("PS-RQ01", f"login of version {buffer[0]}", _REJECTED)
        if len(buffer) < 2:
            return None
        passwordAt = 3 + buffer[1]
        if len(buffer) < passwordAt or len(buffer) < passwordAt + buffer[passwordAt - 1]:
            return None
        end = passwordAt + buffer[passwordAt - 1]
        credentials = Credentials(bytes(buffer[2 : passwordAt - 1]), bytes(buffer[passwordAt:end]))
        del buffer[:end]
        if self._loginRequired:
            self._state = SocksServer._waiting
            return credentials
        self._state = SocksServer._request5
        return Send(_ACCEPTED)

    def _waiting(self) -> Event | None:
        return None

    def _request5(self) -> Event | None:
        buffer = self._buffer
        if buffer and buffer[0] != socks.VERSION_5:
            raise _failure5("PS-RQ01", f"request of version {buffer[0]}")
        if len(buffer) < 2:
            return None
        command = buffer[1]
        if command not in _COMMANDS[socks.VERSION_5]:
            raise _failure5("PS-RQ08", f"SOCKS command {command}", socks.COMMAND_UNSUPPORTED)
        try:
            # The reserved octet is not judged: RFC 1928 has no reply for it, and no peer minds it.
            address = socks.decodeAddress(buffer, 3)
        except socks.AddressTypeUnknown as unknown:
            raise _failure5("PS-RQ09", str(unknown), socks.ATYP_UNSUPPORTED) from None
        if address is None:
            return None
        del buffer[: address.end]
        try:
            host = address.host
        except NameInvalid as invalid:
            raise _failure5("PS-RQ10", str(invalid)) from None
        if command == socks.CONNECT and not address.port:
            raise _failure5("PS-RQ10", "port 0")
        self._state = SocksServer._done
        return SocksRequest(socks.VERSION_5, command, host, address.port)

    def _request4(self) -> Event | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        command = buffer[1]
        if command not in _COMMANDS[socks.VERSION_4]:
            raise _failure4("PS-RQ08", f"SOCKS 4 command {command}")
        if len(buffer) < 8:
            return None
        userEnd = self._findNUL(8, USERID_LIMIT, "PS-RQ01", "SOCKS 4 user id too long")
        if userEnd < 0:
            return None
        port = int.from_bytes(buffer[2:4], "big")
        packed = bytes(buffer[4:8])
        end = userEnd
        # SOCKS 4a: an address 0.0.0.x, x not 0, says that a name follows.
        named = packed[:3] == bytes(3) and packed[3] != 0
        if named:
            end = self._findNUL(userEnd + 1, NAME_LIMIT, "PS-RQ10", "host name too long")
            if end < 0:
                return None
        try:
            host = parseHost(bytes(buffer[userEnd + 1 : end])) if named else ".".join(map(str, packed))
        except NameInvalid as invalid:
            raise _failure4("PS-RQ10", str(invalid)) from None
        if command == socks.CONNECT and not port:
            raise _failure4("PS-RQ10", "port 0")
        userid = bytes(buffer[8:userEnd])
        del buffer[: end + 1]
        self._state = SocksServer._done
        return SocksRequest(socks.VERSION_4, command, host, port, userid)

    def _findNUL(self, start: int, limit: int, code: str, detail: str) -> int:
        """The offset of the NUL that ends the text at `start`; -1 while it may still come."""
        at = self._buffer.find(0, start, start + limit + 1)
        if at < 0 and len(self._buffer) > start + limit:
            raise _failure4(code, detail)
        return at

    def _done(self) -> Event | None:
        return None


def replyBytes(version: int, reply: int, host: str = "", port: int = 0, family6: bool = False) -> bytes:
    """
    The reply that ends a handshake, with the bound address.

    @param version: 5 or 4, as the request had it.
    @param reply: a reply of RFC 1928, section 6; SOCKS 4 knows granted (for 0) and rejected (for all else).
    @param host: the bound address, or the name that a hop called it; without one, and where it is none that
        fits, all zeros, as RFC 1928 leaves no octet of it out.
    @param family6: whether those zeros are IPv6's.
    """
    try:
        # A socket's own IPv6 address may carry a zone, which means nothing elsewhere.
        kind, raw = socks.packHost(host.partition("%")[0])
    except NameInvalid:
        kind, raw, port = (socks.ATYP_IPV6, bytes(16), 0) if family6 else (socks.ATYP_IPV4, bytes(4), 0)
    if version == socks.VERSION_4:
        if kind != socks.ATYP_IPV4:
            raw, port = bytes(4), 0
        said = socks.REJECTED_4 if reply else socks.GRANTED_4
        return bytes([0, said]) + port.to_bytes(2, "big") + raw
    length = bytes([len(raw)]) if kind == socks.ATYP_NAME else b""
    return bytes([socks.VERSION_5, reply, 0, kind]) + length + raw + port.to_bytes(2, "big")


def _failure5(code: str, detail: str, reply: int = socks.GENERAL_FAILURE) -> SocksError:
    return SocksError(code, detail, replyBytes(socks.VERSION_5, reply))


def _failure4(code: str, detail: str) -> SocksError:
    return SocksError(code, detail, replyBytes(socks.VERSION_4, socks.GENERAL_FAILURE))
