"""The client's side of HTTP CONNECT (RFC 9110, section 9.3.6): what a hop is asked, and what it answers."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final

import attrs

from pipsocks.wire.fields import TEXT, FieldSection
from pipsocks.wire.http import HEAD_LIMIT, Fields, GateError, findAll
from pipsocks.wire.inbox import Inbox
from pipsocks.wire.socks import packHost
from pipsocks.wire.socksclient import HopNonsense

_SCHEME: Final = re.compile(rb"(?:^|,)[ \t]*([A-Za-z][A-Za-z0-9-]*)(?=[ \t,]|$)")

INTERIM_LIMIT: Final = 16
"""Interim responses (1xx) that are skipped before the answer."""

_STATUS: Final = re.compile(rb"HTTP/1\.[0-9] +([1-9][0-9][0-9])(?:[ \t](%b))?\r?\n" % TEXT)
_BEGINNING: Final = b"HTTP/1."


class ConnectRefused(Exception):
    """
    The hop answered with a status that opens no tunnel.

    @ivar status: 200 to 299 never.
    @ivar reason: its reason phrase, raw, in Latin-1.
    @ivar fields: the fields of its head.
    """

    def __init__(self, status: int, reason: str, fields: Fields) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.fields = fields


@attrs.frozen
class Opened:
    """The tunnel is open."""


def basic(login: tuple[bytes, bytes]) -> bytes:
    """
    The credentials that a Basic challenge asks for (RFC 7617).

    @raise ValueError: the user has a colon, which nobody could tell from the one in the middle.
    """
    user, password = login
    if b":" in user:
        raise ValueError("a colon in a user")
    return b"Basic " + b64encode(user + b":" + password)


class ConnectClient:
    """
    Asks one HTTP proxy for one tunnel.

    `start` gives the request; after each `receive`, `next` says whether it is open, and `leftover` is the tunnel's.
    Its fields and framing mean nothing in a 2xx answer (RFC 9110, section 9.3.6); a bare LF, a folded line and interim
    responses are put up with. At most one head is held.

    @param host: a canonical host (see `pipsocks.wire.names`).
    @param login: user and password for Basic.
    @raise NameInvalid: the host is not canonical.
    @raise ValueError: see `basic`.
    """

    def __init__(self, host: str, port: int, login: tuple[bytes, bytes] | None) -> None:
        packHost(host)
        authority = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("ascii")
        self._request = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (authority, authority)
        if login is not None:
            self._request += b"Proxy-Authorization: " + basic(login) + b"\r\n"
        self._inbox = Inbox()
        self._status: tuple[int, str] | None = None
        self._fields = FieldSection(self._inbox, strict=False)
        self._interim = 0
        self._open = False
        self.asked = False
        """Whether the hop was told the destination: the first thing that it is told."""

    def start(self) -> bytes:
        """The request."""
        self.asked = True
        return self._request + b"\r\n"

    def receive(self, data: bytes) -> None:
        """Take bytes that came."""
        self._inbox.add(data)

    def next(self) -> Opened | None:
        """
        `Opened` once, when a 2xx head is whole; else None.

        @raise ConnectRefused: the hop said no.
        @raise HopNonsense: that is not HTTP/1, or its head is over 64 KiB.
        """
        if self._open:
            return None
        while (answer := self._status or self._readStatus()) is not None:
            self._status = answer
            try:
                fields = self._fields.read()
            except GateError as error:
                raise HopNonsense(error.text) from None
            if fields is None:
                return None
            status, reason = answer
            if 200 <= status < 300:
                self._open = True
                return Opened()
            # 101 answers an Upgrade, and none was asked for.
            if status >= 200 or status == 101:
                raise ConnectRefused(status, reason, fields)
            self._interim += 1
            if self._interim > INTERIM_LIMIT:
                raise HopNonsense("too many interim responses")
            self._status = None
            self._fields = FieldSection(self._inbox, strict=False)
        return None

    def leftover(self) -> bytes:
        """The bytes behind the hop's answer, taken."""
        return self._inbox.drain()

    def _readStatus(self) -> tuple[int, str] | None:
        inbox = self._inbox
        end = inbox.lineEnd()
        if not end:
            # What is no HTTP may never send a line feed: tell it by its first bytes.
            first = bytes(inbox.data[inbox.at : inbox.at + len(_BEGINNING)])
            if not _BEGINNING.startswith(first):
                raise HopNonsense("the answer is not HTTP/1")
            if inbox.held > HEAD_LIMIT:
                raise HopNonsense("head too large")
            return None
        match = _STATUS.fullmatch(inbox.data, inbox.at, end) if end - inbox.at <= HEAD_LIMIT else None
        if match is None:
            raise HopNonsense("the answer is not HTTP/1")
        inbox.consume(end)
        return int(match[1]), (match[2] or b"").decode("latin-1").strip(" \t")


def offersOnly(fields: Fields) -> str:
    """What a 407 asks for, where that is nothing that we can give: ``: it offers only NTLM; …``; else an empty text."""
    schemes = [
        match.decode("ascii") for value in findAll(fields, b"proxy-authenticate") for match in _SCHEME.findall(value)
    ]
    lower = {scheme.lower() for scheme in schemes}
    if not lower or "basic" in lower:
        return ""
    hint = "; put px or cntlm before it" if lower <= {"ntlm", "negotiate", "kerberos"} else ""
    return f": it offers only {' and '.join(dict.fromkeys(schemes))}{hint}"
