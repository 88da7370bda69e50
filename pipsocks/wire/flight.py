"""
What a client says first in its tunnel, judged: may it be sent again, elsewhere, when nothing was heard?

Whether an upstream that died in silence had passed the bytes on, nobody knows. So only those may go again that do
nothing even when they arrive twice:

- Nothing at all.
- A whole TLS ClientHello without early data. Nothing of the application is in it: it asks for keys, and the server
  that reads it twice has begun two handshakes, of which one is never finished (RFC 8446, section 2). The same holds
  with a session's ticket in it (pre_shared_key): that proves who the client was, but what the client wants comes
  behind the server's answer, encrypted under keys to which the server's own random was mixed (section 7.1). Early data
  alone goes before and can be replayed by anybody (section 8), and it must be announced in the ClientHello (4.2.10),
  in the outer one too where that is encrypted (RFC 9849, section 6.1).
- The head of one GET or HEAD without content, which are safe and idempotent (RFC 9110, section 9.2.1). An automatic
  retry that failed should not be retried (9.2.2), so it may go again once, which is the caller's to count. Without
  Upgrade, since behind one another protocol may begin.

Everything else is `Kind.OTHER`, and so is all that one could doubt: a flight is OTHER unless every octet of it was
understood as part of the above. An octet behind a whole one makes it OTHER too. No such client has anything to say
before it is answered; the ChangeCipherSpec that middleboxes want comes this early only before early data (RFC 8446,
appendix D.4).
"""

from __future__ import annotations

import enum
import re
from typing import Final

from pipsocks.wire.gate import GateError, RequestGate, RequestHead
from pipsocks.wire.hello import HANDSHAKE, HelloInvalid, HelloReader
from pipsocks.wire.http import listed
from pipsocks.wire.inbox import Inbox

FLIGHT_LIMIT: Final = 16 * 1024
"""Octets that are kept; with one more the flight is OTHER."""

_STARTS: Final = (b"GET /", b"HEAD /")
_LINE: Final = re.compile(rb"(?:GET|HEAD) /[\x21-\x7e]*+ HTTP/1\.[01]\r\n")

_CONTENT: Final = frozenset((b"content-length", b"transfer-encoding"))

# Content that is to come; another protocol; and what makes some frameworks take a GET for another method.
_DOUBTFUL: Final = frozenset(
    (
        b"expect",
        b"upgrade",
        b"http2-settings",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
    )
)


class Kind(enum.Enum):
    """What a flight is, as far as it has come."""

    NOTHING = "nothing"
    PARTIAL_HELLO = "partial hello"
    HELLO = "hello"
    PARTIAL_REQUEST = "partial request"
    REQUEST = "request"
    OTHER = "other"


_WHOLE: Final = frozenset((Kind.HELLO, Kind.REQUEST))
_REPLAYABLE: Final = _WHOLE | {Kind.NOTHING}


class Flight:
    """
    A client's bytes from the moment it was told yes, kept as long as they might be sent again.

    Hand it every byte in order, however they are cut. OTHER is final, and nothing is kept then.

    @ivar sni: the name in a whole ClientHello, as `pipsocks.wire.hello.ClientHello.sni`; also when the flight turned
        out to be OTHER only with it or behind it.
    """

    __slots__ = ("_codec", "_kept", "_kind", "sni")

    def __init__(self) -> None:
        self._kept = Inbox()
        self._kind = Kind.NOTHING
        self._codec: HelloReader | RequestGate | None = None
        self.sni = ""

    def receive(self, data: bytes) -> Kind:
        """Take what the client sent, and say what the flight is now."""
        if data and self._kind is not Kind.OTHER:
            self._kept.add(data)
            self._kind = self._judge(data) if self.held <= FLIGHT_LIMIT else Kind.OTHER
            if self._kind is Kind.OTHER:
                self._kept = Inbox()
            if self._kind is Kind.OTHER or self._kind in _WHOLE:
                self._codec = None
        return self._kind

    @property
    def kind(self) -> Kind:
        """What the flight is now."""
        return self._kind

    @property
    def replayable(self) -> bool:
        """Whether it may be sent again if nothing more comes; a `Kind.REQUEST` once."""
        return self._kind in _REPLAYABLE

    @property
    def data(self) -> bytes:
        """All that came, as it came; empty in OTHER. Made anew at each look where it came in pieces."""
        return bytes(self._kept.data)

    @property
    def held(self) -> int:
        """How many octets are kept: at most `FLIGHT_LIMIT`."""
        return self._kept.held

    def _judge(self, data: bytes) -> Kind:
        if self._kind is Kind.NOTHING:
            self._codec = HelloReader() if data[0] == HANDSHAKE else RequestGate()
        try:
            match self._codec:
                case HelloReader() as reader:
                    return self._readHello(reader, data)
                case RequestGate() as gate:
                    return self._readRequest(gate, data)
        except (HelloInvalid, GateError):
            return Kind.OTHER
        return Kind.OTHER  # behind a whole one

    def _readHello(self, reader: HelloReader, data: bytes) -> Kind:
        reader.receive(data)
        hello = reader.next()
        if hello is None:
            return Kind.PARTIAL_HELLO
        self.sni = hello.sni
        return Kind.HELLO if hello.size == self.held and not hello.earlyData else Kind.OTHER

    def _readRequest(self, gate: RequestGate, data: bytes) -> Kind:
        start = bytes(self._kept.data[:6])
        if not any(each.startswith(start[: len(each)]) for each in _STARTS):
            return Kind.OTHER
        gate.receive(data)
        head = gate.next()
        if head is None:
            return Kind.PARTIAL_REQUEST
        # The gate takes a later HTTP/1.x for 1.1 and mends targets beyond ASCII, but these bytes go as they are.
        plain = _LINE.match(self._kept.data) is not None
        alone = isinstance(head, RequestHead) and _isAll(head) and not gate.held
        return Kind.REQUEST if plain and alone else Kind.OTHER


def isPlain(head: RequestHead) -> bool:
    """Whether no field in a GET's or HEAD's head makes one doubt that it does nothing, even when it arrives twice."""
    return _DOUBTFUL.isdisjoint(_names(head)) and b"upgrade" not in listed(head.all(b"connection"))


def _isAll(head: RequestHead) -> bool:
    """Whether nothing in a GET's or HEAD's head makes one doubt that it is the whole request."""
    return isPlain(head) and _CONTENT.isdisjoint(_names(head))


def _names(head: RequestHead) -> list[bytes]:
    # CGI and WSGI take an underscore for a hyphen.
    return [name.lower().replace(b"_", b"-") for name, _ in head.fields]
