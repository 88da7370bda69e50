"""
A proxy that fails as it is told: SOCKS 5, 4 and 4a, CONNECT and plain HTTP requests on one port.

Where its faults leave it healthy it does what it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.testing.far import Far, farEndpoint
from pipsocks.testing.turn import Turn
from pipsocks.testing.valve import Valve
from pipsocks.testing.words import PORTAL, Words, failure, httpWords, socksWords
from pipsocks.wire.socks import COMMAND_UNSUPPORTED, CONNECT
from pipsocks.wire.socksserver import Credentials, Send, SocksError, SocksRequest, SocksServer
from pipsocks.wire.target import parseAbsolute, parseAuthority

HEAD_LIMIT: Final = 65_536
"""Octets of a request's head; a client that sends more gets a 431."""

_SECRET: Final = (b"proxy-authorization:", b"authorization:", b"cookie:")
_CHALLENGES: Final = {"method-refused": b"NTLM", "login-refused": b'Basic realm="faulty"'}
_ASKED: Final = ("asked-silent", "asked-close", "asked-reset")
_THEN: Final = ("then-silent", "then-close", "then-reset")
_FLIGHT: Final = ("flight-silent", "flight-close", "flight-reset")


@attrs.frozen
class Upstream:
    """
    The kind of listener that is a proxy (see `pipsocks.testing.server.Server`).

    @ivar hosts: where some destinations are really to be found, so that a test can ask for names without a network:
        ``HOST:PORT``, in small letters, to (host, port).
    """

    hosts: Mapping[str, tuple[str, int]] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """As the table of faults has it."""
        return "upstream"

    def serve(self, turn: Turn) -> IProtocol:
        """One connection."""
        return _Near(turn, self.hosts)


@implementer(IHalfCloseableProtocol)
class _Near(Protocol):
    """One connection of a client."""

    transport: Any

    def __init__(self, turn: Turn, hosts: Mapping[str, tuple[str, int]]) -> None:
        self.turn = turn
        self.valve: Valve | None = None
        self._hosts = hosts
        self._codec = SocksServer(loginRequired="login-refused" in turn.faults)
        self._buffer = bytearray()
        self._read: Callable[[], None] = self._firstByte
        self._far: Far | None = None
        self._up = 0
        self._ended = False
        self._lost = False

    def connectionMade(self) -> None:
        """Wait for the first byte."""
        self.turn.begin(self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Read the request, or pass on."""
        if self._far is not None:
            self._up += len(data)
            self._far.transport.write(data)
            return
        self._buffer += data
        self._read()

    def readConnectionLost(self) -> None:
        """The client ended its side: so does ours, towards the origin or towards the client."""
        self.turn.tell("ended")
        self._ended = True
        if self._far is None:
            self.turn.end("close")
        else:
            self._far.transport.loseWriteConnection()
            self._closeWhenBothEnded()

    def writeConnectionLost(self) -> None:
        """Wait for the other direction."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The client is gone."""
        self._lost = True
        self._read = self._ignore
        if self._far is not None:
            self._far.transport.unregisterProducer()
            self._far.transport.loseConnection()
        self.turn.over(reason, up=self._up, down=self.valve.sent if self.valve is not None else 0)

    def answered(self) -> None:
        """The origin has ended its direction."""
        assert self.valve is not None
        self.valve.end(self._endAnswer)

    def lostFar(self) -> None:
        """The origin is gone."""
        # A transport inside TLS that is gone must not be touched again.
        if not self._lost:
            assert self.valve is not None
            self.valve.end(lambda: self.turn.end("close"))

    def _endAnswer(self) -> None:
        assert self._far is not None
        if ISSLTransport.providedBy(self.transport):
            self._far.transport.loseConnection()
            return
        self.transport.loseWriteConnection()
        self._closeWhenBothEnded()

    def _closeWhenBothEnded(self) -> None:
        """Close both sides once each has ended: Twisted itself leaves two shut directions open."""
        if self._ended and self._far is not None and self._far.ended:
            self.transport.loseConnection()
            self._far.transport.loseConnection()

    def _ignore(self) -> None:
        self._buffer.clear()

    def _keep(self) -> None:
        """What comes behind the request is the tunnel's; little does while reading is paused, but TLS has some left."""

    def _refuse(self, answer: bytes) -> None:
        self._read = self._ignore
        self.transport.write(answer)
        self.turn.end("close")

    def _firstByte(self) -> None:
        self._read = self._socks if self._buffer[0] in (4, 5) else self._http
        self._read()

    def _socks(self) -> None:
        if "method-refused" in self.turn.faults:
            self._refuse(b"\x05\xff")
            return
        self._codec.receive(bytes(self._buffer))
        self._buffer.clear()
        try:
            while (event := self._codec.next()) is not None:
                match event:
                    case Send(data):
                        self.transport.write(data)
                    case Credentials(user, _):
                        self.turn.tell("login", user=user.decode("utf-8", "backslashreplace"))
                        self._refuse(self._codec.reject())
                    case SocksRequest(version, command, host, port):
                        self._buffer += self._codec.leftover()
                        self.turn.tell("request", protocol=f"socks{version}", host=host, port=port)
                        words = socksWords(version)
                        if command == CONNECT:
                            self._asked(host, port, words, b"")
                        else:
                            self._refuse(words.reply(COMMAND_UNSUPPORTED))
                        return
        except SocksError as error:
            self._refuse(error.reply)

    def _http(self) -> None:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            if len(head) > HEAD_LIMIT:
                self._refuse(failure(b"431 Request Header Fields Too Large"))
            return
        line, *fields = head.split(b"\r\n")
        plain = not line.startswith(b"CONNECT ")
        try:
            method, target, _ = line.split(b" ")
            if plain:
                url = parseAbsolute(target, method)
                host, port = url.host, url.port
            else:
                host, port = parseAuthority(target)
        except ValueError:
            self._refuse(failure(b"400 Bad Request"))
            return
        self._buffer = bytearray(rest)
        # A login has no business in a log.
        shown = b"\n".join(each for each in (line, *fields) if not each.lower().startswith(_SECRET)).decode("latin-1")
        self.turn.tell("request", protocol="http" if plain else "connect", host=host, port=port, head=shown)
        for name, challenge in _CHALLENGES.items():
            if name in self.turn.faults:
                self._refuse(failure(b"407 Proxy Authentication Required", b"Proxy-Authenticate: " + challenge))
                return
        first = b""
        if plain:
            # One request for each connection: the origin is asked to close, so nobody has to count bodies here.
            kept = [f for f in fields if not f.lower().startswith((b"proxy-", b"connection:"))]
            start = b"%b %b HTTP/1.1" % (method, url.path)
            first = b"\r\n".join([start, *kept, b"Connection: close", b"", b""])
        self._asked(host, port, httpWords(b"" if plain else b"HTTP/1.1 200 Connection established\r\n\r\n"), first)

    def _asked(self, host: str, port: int, words: Words, first: bytes) -> None:
        """The request is known: its destination may have faults of its own."""
        self._read = self._keep
        named = f"[{host}]" if ":" in host else host.lower()
        self.turn.asked(f"{named}:{port}", named)
        self._buffer[:0] = first
        wait = self.turn.faults.get("slow")
        if wait is None:
            self._strike(f"{named}:{port}", host, port, words)
        else:
            self.transport.pauseProducing()
            self.turn.later(float(wait), self._strike, f"{named}:{port}", host, port, words)

    def _strike(self, address: str, host: str, port: int, words: Words) -> None:
        """Do what the faults say of the request, or carry it out."""
        faults = self.turn.faults
        self.transport.resumeProducing()
        if "reply" in faults:
            self._refuse(words.reply(int(faults["reply"])))
        elif "status" in faults:
            self._refuse(words.status(faults["status"]))
        elif "cut" in faults:
            self._refuse(words.granted[: len(words.granted) // 2])
        elif struck := _among(_ASKED, faults):
            self._read = self._ignore
            self.turn.end(struck)
        elif struck := _among(_THEN, faults):
            self._read = self._ignore
            self._grant(words)
            self.turn.end(struck)
        elif "portal" in faults or _among(_FLIGHT, faults):
            self._grant(words)
            self._read = self._flight
            if self._buffer:
                self._flight()
        else:
            self._connect(address, host, port, words)

    def _grant(self, words: Words) -> None:
        self.transport.write(words.granted)
        self.turn.tell("granted")

    def _flight(self) -> None:
        """The client's first bytes in a tunnel that leads nowhere."""
        self._read = self._ignore
        self.turn.tell("flight", octets=len(self._buffer))
        self._buffer.clear()
        if "portal" in self.turn.faults:
            self.transport.write(PORTAL)
        self.turn.end(_among(_FLIGHT, self.turn.faults) or "close")

    def _connect(self, address: str, host: str, port: int, words: Words) -> None:
        def connected(far: Far) -> None:
            self._far = far
            self._grant(words)
            far.transport.registerProducer(self.transport, True)
            self.valve = Valve(self.turn, far.transport)
            self._up += len(self._buffer)
            far.transport.write(bytes(self._buffer))
            self._buffer.clear()
            self.transport.resumeProducing()

        def failed(reason: Failure) -> None:
            if not self._lost:
                self.turn.tell("failed", reason=type(reason.value).__name__)
                self._refuse(words.unreached)
                self.transport.resumeProducing()

        self.transport.pauseProducing()
        host, port = self._hosts.get(address, (host, port))
        dial = farEndpoint(self.turn.reactor, host, port).connect(Factory.forProtocol(lambda: Far(self)))
        self.turn.dialling(dial)
        dial.addCallbacks(connected, failed)


def _among(names: tuple[str, ...], faults: Mapping[str, str]) -> str:
    """How the one of `names` that is in `faults` ends a connection; empty where none is."""
    return next((name.partition("-")[2] for name in names if name in faults), "")
