"""
A proxy that fails as it is told: SOCKS 5, 4 and 4a, CONNECT and plain HTTP requests on one port.

Where its fault leaves it healthy it does what it was asked for. It is made for tests: it keeps no limits, and believes
what it reads.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IHalfCloseableProtocol, ISSLTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.testing.faults import HEALTHY, Fault
from pipsocks.wire.socks import COMMAND_UNSUPPORTED, CONNECT
from pipsocks.wire.socksserver import Credentials, Send, SocksError, SocksRequest, SocksServer, replyBytes
from pipsocks.wire.target import parseAbsolute, parseAuthority

Log = Callable[[str, dict[str, Any]], None]
"""Takes an event's name and its values."""

_CHALLENGES: Final = {"method-refused": b"NTLM", "login-refused": b'Basic realm="faulty"'}


def _failure(status: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *fields, b"Content-Length: 0", b"Connection: close", b"", b""])


@implementer(IHalfCloseableProtocol)
class _Leg(Protocol):
    """The far side of a granted request: its bytes and its end go to `near`, and theirs come here."""

    transport: Any

    def __init__(self, near: FaultyConnection) -> None:
        self.near = near
        self.ended = False

    def connectionMade(self) -> None:
        """Let each side's write buffer pause the other side."""
        if self.near.lost:
            return
        self.transport.registerProducer(self.near.transport, True)
        self.near.transport.registerProducer(self.transport, True)

    def dataReceived(self, data: bytes) -> None:
        """Pass on."""
        self.near.transport.write(data)

    def readConnectionLost(self) -> None:
        """Pass the end on; TLS has no such end of one direction, so there it is the end of both."""
        self.ended = True
        if ISSLTransport.providedBy(self.near.transport):
            self.transport.loseConnection()
            return
        self.near.transport.loseWriteConnection()
        self.near.closeWhenBothEnded()

    def writeConnectionLost(self) -> None:
        """Wait for the other direction."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """Both directions are done, or the origin broke off."""
        # A transport inside TLS that is gone must not be touched again.
        if not self.near.lost:
            self.near.transport.unregisterProducer()
            self.near.transport.loseConnection()


@implementer(IHalfCloseableProtocol)
class FaultyConnection(Protocol):
    """One connection, with one fault."""

    transport: Any

    def __init__(self, reactor: Any, number: int, fault: Fault, seed: int, log: Log) -> None:
        self._reactor = reactor
        self._number = number
        self._fault = fault
        self._random = random.Random(seed + number)
        self._log = log
        self._codec = SocksServer(loginRequired=fault.name == "login-refused")
        self._buffer = bytearray()
        self._read: Callable[[], None] = self._firstByte
        self._far: _Leg | None = None
        self._ended = False
        self.lost = False

    def _tell(self, event: str, **values: Any) -> None:
        self._log(event, {"connection": self._number, **values})

    def connectionMade(self) -> None:
        """Strike at once, where the fault says so."""
        self._tell("accepted", fault=str(self._fault))
        if self._fault.name in ("close", "reset", "silent"):
            self._read = self._ignore
            self._break(self._fault.name)

    def dataReceived(self, data: bytes) -> None:
        """Read the request, or pass on."""
        if self._far is not None:
            self._far.transport.write(data)
            return
        self._buffer += data
        self._read()

    def readConnectionLost(self) -> None:
        """The client ended its side: so does ours, towards the origin or towards the client."""
        self._tell("ended")
        self._ended = True
        if self._far is None:
            self.transport.loseConnection()
        else:
            self._far.transport.loseWriteConnection()
            self.closeWhenBothEnded()

    def closeWhenBothEnded(self) -> None:
        """Close both sides once each has ended: Twisted itself leaves two shut directions open."""
        if self._ended and self._far is not None and self._far.ended:
            self.transport.loseConnection()
            self._far.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Wait for the other direction."""

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The client is gone."""
        self.lost = True
        self._read = self._ignore
        self._tell("lost", reason=type(reason.value).__name__)
        if self._far is not None:
            self._far.transport.unregisterProducer()
            self._far.transport.loseConnection()

    def _ignore(self) -> None:
        self._buffer.clear()

    def _break(self, how: str) -> None:
        """``close``, ``reset``, or stay ``silent``."""
        if how == "close":
            self.transport.loseConnection()
        elif how == "reset":
            self.transport.abortConnection()

    def _firstByte(self) -> None:
        fault = self._fault
        if fault.name in ("say", "say-reset", "nonsense"):
            self._read = self._ignore
            # Never the first byte of an answer that somebody could take for one.
            said = bytes.fromhex(fault.value) or bytes([0xEE]) + self._random.randbytes(63)
            self.transport.write(said)
            self._tell("said", octets=said.hex())
            self._break("close" if fault.name != "say-reset" else "reset")
            return
        self._read = self._socks if self._buffer[0] in (4, 5) else self._http
        self._read()

    def _socks(self) -> None:
        if self._fault.name == "method-refused":
            self._read = self._ignore
            self.transport.write(b"\x05\xff")
            self.transport.loseConnection()
            return
        self._codec.receive(bytes(self._buffer))
        self._buffer.clear()
        try:
            while (event := self._codec.next()) is not None:
                match event:
                    case Send(data):
                        self.transport.write(data)
                    case Credentials(user, _):
                        self._tell("login", user=user.decode("utf-8", "backslashreplace"))
                        self.transport.write(self._codec.reject())
                        self.transport.loseConnection()
                    case SocksRequest():
                        self._buffer += self._codec.leftover()
                        self._socksAsked(event)
                        return
        except SocksError as error:
            self._read = self._ignore
            self.transport.write(error.reply)
            self.transport.loseConnection()

    def _socksAsked(self, request: SocksRequest) -> None:
        def answer(reply: int) -> bytes:
            return replyBytes(request.version, reply)

        self._tell("request", protocol=f"socks{request.version}", host=request.host, port=request.port)
        if request.command != CONNECT:
            self._read = self._ignore
            self.transport.write(answer(COMMAND_UNSUPPORTED))
            self.transport.loseConnection()
            return
        if self._fault.name == "reply":
            self._read = self._ignore
            self.transport.write(answer(int(self._fault.value)))
            self.transport.loseConnection()
            return
        self._asked(request.host, request.port, answer(0), answer(5), b"")

    def _http(self) -> None:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return
        self._read = self._ignore
        self._buffer = bytearray(rest)
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
            self.transport.write(_failure(b"400 Bad Request"))
            self.transport.loseConnection()
            return
        words = head.decode("latin-1")
        self._tell("request", protocol="http" if plain else "connect", host=host, port=port, head=words)
        challenge = _CHALLENGES.get(self._fault.name)
        if self._fault.name == "status" or challenge is not None:
            status = self._fault.value.encode() if challenge is None else b"407 Proxy Authentication Required"
            fields = [] if challenge is None else [b"Proxy-Authenticate: " + challenge]
            self.transport.write(_failure(status, *fields))
            self.transport.loseConnection()
            return
        first = b""
        if plain:
            # One request for each connection: the origin is asked to close, so nobody has to count bodies here.
            kept = [f for f in fields if not f.lower().startswith((b"proxy-", b"connection:"))]
            start = b"%b %b HTTP/1.1" % (method, url.path)
            first = b"\r\n".join([start, *kept, b"Connection: close", b"", b""])
        granted = b"" if plain else b"HTTP/1.1 200 Connection established\r\n\r\n"
        self._asked(host, port, granted, _failure(b"502 Bad Gateway"), first)

    def _asked(self, host: str, port: int, granted: bytes, refused: bytes, first: bytes) -> None:
        """Strike behind the request, or carry it out."""
        name = self._fault.name
        self._read = self._ignore
        if name == "cut":
            self.transport.write(granted[: len(granted) // 2])
            self.transport.loseConnection()
        elif name.startswith("asked-"):
            self._break(name.removeprefix("asked-"))
        elif name.startswith("then-"):
            self.transport.write(granted)
            self._break(name.removeprefix("then-"))
        else:
            self.transport.pauseProducing()
            wait = float(self._fault.value) if name == "slow" else 0.0
            self._reactor.callLater(wait, self._connect, host, port, granted, refused, first)

    def _connect(self, host: str, port: int, granted: bytes, refused: bytes, first: bytes) -> None:
        def connected(far: _Leg) -> None:
            if self.lost:
                far.transport.loseConnection()
                return
            self._far = far
            self.transport.write(granted)
            far.transport.write(first + bytes(self._buffer))
            self.transport.resumeProducing()

        def failed(reason: Failure) -> None:
            self._tell("failed", reason=type(reason.value).__name__)
            if not self.lost:
                self.transport.write(refused)
                self.transport.resumeProducing()
                self.transport.loseConnection()

        factory = Factory.forProtocol(lambda: _Leg(self))
        HostnameEndpoint(self._reactor, host, port).connect(factory).addCallbacks(connected, failed)


class FaultyFactory(Factory):
    """
    The nth connection has the nth of `faults`, all behind them the last one; without any all are healthy.

    `seed` decides what is random. `log` is told of everything that happens.
    """

    noisy = False

    def __init__(self, reactor: Any, faults: tuple[Fault, ...], seed: int, log: Log) -> None:
        self._reactor = reactor
        self._faults = faults or (HEALTHY,)
        self._seed = seed
        self._log = log
        self._made = 0

    def buildProtocol(self, address: Any) -> FaultyConnection:
        """The next connection."""
        fault = self._faults[min(self._made, len(self._faults) - 1)]
        self._made += 1
        return FaultyConnection(self._reactor, self._made, fault, self._seed, self._log)
