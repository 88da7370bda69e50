"""The HTTP conversation: heads, login, CONNECT, and the hand-over of requests that are forwarded (RFC 9110, 9112)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.front.answer import ALLOW, answerBytes
from pipsocks.front.basic import basicCredentials
from pipsocks.front.ending import passedOn
from pipsocks.front.exchange import Exchange, gateRefusal
from pipsocks.front.seam import Client, Origins
from pipsocks.front.target import absoluteTarget, connectTarget
from pipsocks.gateway.session import Session
from pipsocks.gateway.stream import HELD_LIMIT, Stream
from pipsocks.model import Destination, Ended, Entry, Request
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import Body, End, GateError, RequestGate, RequestHead
from pipsocks.wire.target import AbsoluteTarget

IDLE_SECONDS: Final = 60.0
"""How long a client may say nothing between two requests."""

STALL_SECONDS: Final = 3600.0
"""How long a client may leave an answer unread before the next request, or the close."""

_log = Logger()


class HTTPSpeaker:
    """
    Speaks HTTP with one client: one request after the other, until a tunnel, a close, or the client's end.

    One task runs the conversation and is cancelled when the client leaves. Whatever arrives goes to the gate, which
    holds what is not wanted yet; from 64 KiB on the client is not read.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._gate = RequestGate()
        self._arrived: Deferred[None] | None = None  # while a head is waited for
        self._read: Deferred[None] | None = None  # while the client must read first
        self._exchange: Exchange | None = None
        self._origins: Origins | None = None
        self._paused = False
        self._congested = False
        self._ended = False
        self._later = False
        self._left = False
        self._stopping = False
        client.transport.registerProducer(self, True)
        self._task: Deferred[None] = Deferred.fromCoroutine(self._converse())
        self._task.addErrback(self._failed)

    # what comes from the client's connection

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a head, of content, or of the requests behind."""
        self._gate.receive(data)
        if self._arrived is not None:
            self._wake()
        elif self._exchange is not None:
            self._exchange.pump()
        self._regulate()

    def readConnectionLost(self) -> None:
        """The client ended its output: it left, unless an answer or more of its requests are on their way."""
        self._ended = True
        if self._arrived is not None:
            self._wake()
        elif self._exchange is None:
            if not self._gate.held:
                self._quit(self._client.transport.loseConnection)
        elif not self._exchange.received or not (self._exchange.begun or self._gate.held):
            self._quit(self._client.transport.loseConnection)

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone: nothing that is pending is needed any more."""
        if self._arrived is not None and self._gate.partial:
            self._client.note("no_request")
        self._quit(lambda: None)

    def late(self) -> None:
        """Too slow with a head, idle for too long, or an answer left unread."""
        if self._arrived is not None and self._gate.partial:
            self._wake(Refusal("PS-RQ06"))
        else:
            transport = self._client.transport
            self._quit(transport.abortConnection if self._congested else transport.loseConnection)

    def stop(self) -> None:
        """The proxy stops: a request that is under way is answered, and none after it."""
        self._stopping = True
        if self._exchange is not None:
            self._exchange.retire()
        elif self._arrived is not None and self._gate.partial:
            self._wake(Refusal("PS-SV01"))
        elif self._arrived is not None:
            self._quit(self._client.transport.loseConnection)

    # the fill of the client's write buffer: the methods of a producer

    def pauseProducing(self) -> None:
        """The client reads more slowly than it is written to."""
        self._congested = True
        if self._exchange is not None:
            self._exchange.hold()

    def resumeProducing(self) -> None:
        """It has read."""
        self._congested = False
        if self._exchange is not None:
            self._exchange.release()
        read, self._read = self._read, None
        if read is not None:
            read.callback(None)

    def stopProducing(self) -> None:
        """It is gone; `connectionLost` follows."""

    # the conversation

    async def _converse(self) -> None:
        try:
            while (head := await self._nextHead()) is not None:
                if not await (self._connect(head) if head.method == b"CONNECT" else self._forward(head)):
                    return
                self._later = True
                await self._untilRead()
                self._client.startClock(IDLE_SECONDS)
        except Refusal as refusal:  # what came is no request
            self._client.note(refusal.token, refusal.cause)
            self._client.transport.write(answerBytes(refusal))
            self._leave()
            self._client.part()
        else:
            await self._part(received=True)

    async def _nextHead(self) -> RequestHead | None:
        """The next request's head; None at the client's end, or ours. Raises `Refusal` for what is none, or late."""
        began = False
        while True:
            if self._stopping:
                return None
            if (event := self._nextEvent()) is not None:
                break
            if self._ended:
                if self._gate.partial:
                    raise Refusal("PS-RQ01", detail="it ended early")
                return None
            if self._gate.partial and not began:
                began = True
                if self._later:  # the first head's clock began with the connection
                    self._client.startClock(self._client.gateway.timeouts.handshake)
            self._arrived = Deferred()
            self._regulate()
            await self._arrived
        assert isinstance(event, RequestHead), "the gate begins each request with its head"
        self._client.settle()
        return event

    def _nextEvent(self) -> RequestHead | Body | End | None:
        try:
            return self._gate.next()
        except GateError as error:
            raise gateRefusal(error) from None

    async def _connect(self, head: RequestHead) -> bool:
        """Hand a tunnel over to the gateway. Whether another request may follow: only behind a clean 407."""
        try:
            destination = connectTarget(head)
            user = await self._login(head)
        except Refusal as refusal:
            early = self._gate.leftover()
            # Bytes behind a refused CONNECT are a tunnel's, and must not be taken for requests (RFC 9931).
            keep = refusal.slug.status == 407 and head.keepAlive and not early
            self._open("connect").close(Ended(refusal.token, reason=refusal.cause))
            self._client.transport.write(answerBytes(refusal, keep))
            if not keep:
                self._leave()
                self._client.part()
            return keep
        except CancelledError:
            self._open("connect").close(Ended("client_left"))
            raise
        early = self._gate.leftover()
        self._leave()
        self._client.held.ended = self._ended
        self._client.tunnel(self, Request(destination, "connect", user, self._client.listener.name), early)
        return False

    async def _forward(self, head: RequestHead) -> bool:
        """Have a request forwarded. Whether another one may follow."""
        self._exchange = exchange = Exchange(self._client.transport, self._gate, head, self._regulate, self._handOver)
        if self._congested:
            exchange.hold()
        entry = self._open("http")
        try:
            passed = passedOn(head)
            if passed is not None:
                exchange.head = passed
                target = absoluteTarget(passed)
                entry.destination = Destination(target.host, target.port)
            entry.user = await self._login(head)
        except Refusal as refusal:
            entry.close(Ended(refusal.token, reason=refusal.cause))
            exchange.refuse(refusal)
        except CancelledError:
            entry.close(Ended("client_left"))
            raise
        else:
            if passed is None:
                exchange.answer(200, b"OK", ((b"Allow", ALLOW), (b"Content-Length", b"0")))
                exchange.finish(())
                entry.close(Ended("ok", down=exchange.sent))
            else:
                await self._sendOn(target, entry, exchange)
                if self._left:  # a tunnel now
                    return False
        if not exchange.received:
            self._client.startClock(self._client.gateway.timeouts.handshake)
        keep = await exchange.over()
        self._client.stopClock()
        self._exchange = None
        if not keep:
            await self._part(exchange.received)
        return keep

    async def _sendOn(self, target: AbsoluteTarget, entry: Entry, exchange: Exchange) -> None:
        if self._origins is None:
            self._origins = self._client.forward.origins(self._client.judge)
        request = Request(Destination(target.host, target.port), "http", entry.user, self._client.listener.name)
        await self._origins.forward(Session(self._client.gateway, request, entry), target, exchange)

    def _handOver(self) -> Stream:
        """Step aside for a tunnel: the client's connection, and what has come behind the request."""
        early = self._gate.leftover()
        self._leave()
        self._client.held.ended = self._ended
        if early:
            self._client.held.add(early, self._client.transport)
        return self._client

    async def _login(self, head: RequestHead) -> str:
        """Who asks, by this request's own credentials; empty where nobody has to say. Raises `Refusal`."""
        logins = self._client.logins
        return "" if logins is None else await logins.check(*basicCredentials(head.all(b"proxy-authorization")))

    def _open(self, protocol: str) -> Entry:
        entry = self._client.gateway.open(self._client.listener.name, self._client.peer)
        entry.protocol = protocol
        return entry

    # the gateway's `Conversation`, for a tunnel

    @property
    def stream(self) -> Stream:
        """The client's connection."""
        return self._client

    def accept(self, bound: tuple[str, int] | None) -> None:
        """Say that the tunnel stands: a head and nothing else, or clients take it for the tunnel's first bytes."""
        self._client.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def refuse(self, refusal: Refusal) -> None:
        """Say why not, and close."""
        self._client.transport.write(answerBytes(refusal))
        self._client.part()

    # reading, and the end

    def _wake(self, refusal: Refusal | None = None) -> None:
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            arrived.callback(None) if refusal is None else arrived.errback(refusal)

    def _regulate(self) -> None:
        """Read the client only while somebody takes what it sends, or there is room to hold it."""
        full = self._exchange is not None and self._exchange.full
        pause = full or (self._arrived is None and self._gate.held >= HELD_LIMIT)
        if pause != self._paused and not self._left:
            self._paused = pause
            (self._client.transport.pauseProducing if pause else self._client.transport.resumeProducing)()

    async def _untilRead(self) -> None:
        """Wait until the client has taken what was written, so that requests don't pile up answers."""
        if self._congested:
            self._client.startClock(STALL_SECONDS)
            self._read = Deferred()
            await self._read
            self._client.stopClock()

    async def _part(self, received: bool) -> None:
        """Close behind an answer: lingering where more of the client's bytes are to come, or were not read."""
        await self._untilRead()
        whole = received and not self._gate.held
        self._leave()
        (self._client.transport.loseConnection if whole else self._client.part)()

    def _leave(self) -> None:
        """Let go of the client's connection, and of those to origins."""
        self._exchange = None
        self._left = True
        self._client.transport.unregisterProducer()
        if self._paused:
            self._paused = False
            self._client.transport.resumeProducing()
        origins, self._origins = self._origins, None
        if origins is not None:
            origins.close()

    def _quit(self, close: Callable[[], None]) -> None:
        self._arrived = self._read = None
        self._task.cancel()
        self._leave()
        self._client.stopClock()
        close()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        _log.failure("an HTTP conversation failed", failure)
        begun = self._exchange is not None and self._exchange.begun
        self._leave()
        if begun:
            self._client.transport.abortConnection()
        else:
            self._client.transport.write(answerBytes(Refusal("PS-SV02")))
            self._client.part()
