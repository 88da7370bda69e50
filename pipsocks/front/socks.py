"""The SOCKS conversation: greeting, login, request, and the replies (RFC 1928, 1929; SOCKS4 and 4a)."""

from __future__ import annotations

from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.gateway.bind import bind
from pipsocks.gateway.session import Carry, Conversation, connect
from pipsocks.gateway.stream import HELD_LIMIT, Stream
from pipsocks.model import Destination, Request
from pipsocks.refusal import Refusal
from pipsocks.wire.socks import BIND, CONNECT, SUCCEEDED, UDP_ASSOCIATE
from pipsocks.wire.socksserver import Credentials, Send, SocksError, SocksRequest, SocksServer, replyBytes

_log = Logger()
_PROTOCOLS: Final = {4: "socks4", 5: "socks5"}


class Associations(Protocol):
    """What carries UDP ASSOCIATE out (`pipsocks.udp`)."""

    @property
    def carry(self) -> Carry:
        """See `pipsocks.gateway.session.Gateway.run`."""


class Logins(Protocol):
    """Who may use the listener."""

    async def check(self, user: bytes, password: bytes) -> str:
        """The user's name; raises `Refusal` (PS-AU02)."""


class Client(Stream, Protocol):
    """What the conversation needs of the client's connection (`pipsocks.front.client.Client`)."""

    clock: IReactorTime
    deadline: float

    @property
    def listener(self) -> Any:
        """Its port; `name` is what the journal calls it."""

    @property
    def logins(self) -> Logins | None:
        """Who may use the listener; None for everybody."""

    @property
    def associations(self) -> Associations:
        """The listener's."""

    def startClock(self, seconds: float) -> None:
        """Call `late` after that time."""

    def stopClock(self) -> None:
        """Don't."""

    def tunnel(self, conversation: Conversation, request: Request, early: bytes, carry: Carry) -> None:
        """Let the gateway carry the request out."""

    def part(self) -> None:
        """Close, lingering."""

    def note(self, token: str, reason: str = "") -> None:
        """A journal line for a connection without a session."""

    def expire(self) -> None:
        """Close at once: the time is over."""


class SocksSpeaker:
    """
    Speaks SOCKS with one client until its request is complete, then tells it yes or no.

    The clock of the whole handshake runs on however the bytes drip; only the check of a password stops it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._codec = SocksServer(loginRequired=client.logins is not None)
        self._checking: Deferred[Any] | None = None
        self._paused = False
        self._ended = False
        self._user = ""
        self._version = 5
        self._family6 = False

    # before the request is complete

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the handshake, or of what the client sends behind it."""
        self._codec.receive(data)
        if self._checking is None:
            self._proceed()
        elif self._codec.held > HELD_LIMIT and not self._paused:
            self._paused = True
            self._client.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client ended before its request was complete; while its password is checked it may have said all."""
        self._ended = True
        if self._checking is None:
            self._client.note("no_request")
            self._client.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        if self._checking is not None:
            self._checking.cancel()
        elif not self._ended:
            self._client.note("no_request")

    def late(self) -> None:
        """The handshake took too long. SOCKS has no word for that."""
        self._client.expire()

    def stop(self) -> None:
        """The proxy stops. SOCKS has no word for that, and its clients try again."""
        self._client.note(Refusal("PS-SV01").token)
        self._client.part()

    def _proceed(self) -> None:
        try:
            self._takeEvents()
        except SocksError as error:
            self._client.transport.write(error.reply)
            refusal = Refusal(error.code, detail=error.detail)
            self._client.note(refusal.token, refusal.cause)
            self._client.part()

    def _takeEvents(self) -> None:
        while (event := self._codec.next()) is not None:
            if isinstance(event, Send):
                self._client.transport.write(event.data)
            elif isinstance(event, Credentials):
                self._check(event)
                return
            else:
                self._begin(event)
                return

    def _check(self, credentials: Credentials) -> None:
        logins = self._client.logins
        assert logins is not None, "the codec asks for a login where one is required"
        client, began = self._client, self._client.clock.seconds()
        client.stopClock()
        self._checking = Deferred.fromCoroutine(logins.check(credentials.user, credentials.password))

        def checked(user: str) -> None:
            self._checking = None
            self._user = user
            client.deadline += client.clock.seconds() - began
            client.startClock(max(0.0, client.deadline - client.clock.seconds()))
            client.transport.write(self._codec.accept())
            if self._paused:
                self._paused = False
                client.transport.resumeProducing()
            self._proceed()

        def failed(failure: Failure) -> None:
            self._checking = None
            if failure.check(CancelledError):
                return
            if not failure.check(Refusal):
                _log.failure("a login could not be checked", failure)
            client.transport.write(self._codec.reject())
            client.note(Refusal("PS-AU02").token)
            client.part()

        self._checking.addCallbacks(checked, failed)

    def _begin(self, asked: SocksRequest) -> None:
        self._version = asked.version
        destination = Destination(asked.host, asked.port)
        self._family6 = destination.address is not None and destination.address.version == 6
        carries: dict[int, tuple[str, Carry]] = {
            CONNECT: (_PROTOCOLS[asked.version], connect),
            BIND: ("bind", bind),
            UDP_ASSOCIATE: ("udp", self._client.associations.carry),
        }
        protocol, carry = carries[asked.command]
        request = Request(destination, protocol, self._user, self._client.listener.name)
        self._client.tunnel(self, request, self._codec.leftover(), carry)

    # once it is complete: the gateway's `Conversation`

    @property
    def stream(self) -> Stream:
        """The client's connection."""
        return self._client

    def accept(self, bound: tuple[str, int] | None) -> None:
        """Reply that the tunnel, or the association, stands; a BIND is told this twice."""
        host, port = bound or ("", 0)
        self._client.transport.write(replyBytes(self._version, SUCCEEDED, host, port, self._family6))

    def refuse(self, refusal: Refusal) -> None:
        """Reply why not, and close."""
        self._client.transport.write(replyBytes(self._version, refusal.slug.reply, "", 0, self._family6))
        self._client.part()
