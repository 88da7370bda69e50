"""The service ssh-connection (RFC 4254): the channels of one connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Seam

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime
from twisted.python.failure import Failure

from pipsocks.model import Destination
from pipsocks.upstream.failures import RESOURCE_SHORTAGE, ofChannel, ofEnd, ofSilence
from pipsocks.upstream.sshchannel import CLOSE, EOF, WINDOW_ADJUST, Channel
from pipsocks.upstream.sshdata import Fields, Malformed, number, string
from pipsocks.upstream.sshopening import Opening
from pipsocks.upstream.sshoutput import DATA, PACKET, Output
from pipsocks.upstream.sshwindow import WINDOW

CHANNELS: Final = 4096
"""Channels of one connection, those included that are given up and that the hop has not answered yet."""

OWED: Final = 1024
"""Answers that may pile up because the hop does not take them; it is asking for nothing else then."""

GLOBAL_REQUEST: Final = 80
REQUEST_SUCCESS: Final = 81
REQUEST_FAILURE: Final = 82
OPEN: Final = 90
OPEN_CONFIRMATION: Final = 91
OPEN_FAILURE: Final = 92
EXTENDED_DATA: Final = 95
CHANNEL_REQUEST: Final = 98

_PROHIBITED: Final = 1  # RFC 4254, section 5.1


class Line(Seam):
    """The connection, as this service sees it. `heard` counts whatever has come from the hop."""

    heard: int

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Send one message."""

    def sendUnimplemented(self) -> None:
        """Say that the last message was not understood."""

    def addresses(self) -> tuple[Any, Any]:
        """Our side's, and the hop's."""

    def retire(self) -> None:
        """Let nobody else use the connection."""


class Tunnels:
    """
    What an open connection is for.

    It is the producer of the connection's own transport: while that is full, or keys are exchanged anew, no channel
    sends data; then each sends a message's worth in its turn.
    """

    name: Final = b"ssh-connection"
    transport: Line

    def __init__(self, hop: Destination, clock: IReactorTime, limit: float) -> None:
        self.clock = clock
        self._hop = hop
        self._limit = limit
        self._full = self._rekeying = False
        self._owed = 0  # answers that were given since nothing could be sent
        self._next = 0
        self._openings: dict[int, Opening] = {}
        self._channels: dict[int, Channel] = {}
        self._waiting: deque[Output] = deque()
        self._handlers: dict[int, Callable[[Fields], None]] = {
            GLOBAL_REQUEST: self._globalRequest,
            REQUEST_SUCCESS: lambda _: None,  # whatever comes is the sign of life that was asked for
            REQUEST_FAILURE: lambda _: None,
            OPEN: self._open,
            OPEN_CONFIRMATION: self._confirmed,
            OPEN_FAILURE: self._refused,
            WINDOW_ADJUST: self._adjusted,
            DATA: lambda fields: self._channel(fields.number()).received(fields.string()),
            EXTENDED_DATA: self._extended,
            EOF: lambda fields: self._channel(fields.number()).ended(),
            CLOSE: self._closed,
            CHANNEL_REQUEST: self._channelRequest,
        }

    @property
    def busy(self) -> bool:
        """There are channels."""
        return bool(self._channels or self._openings)

    def open(self, where: Destination, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        Ask for a tunnel (``direct-tcpip``, RFC 4254, section 7.2), and for a sign of life behind it.

        @return: fires with the protocol, or fails with `Refusal`. Cancelling it gives the channel up.
        """
        if len(self._channels) + len(self._openings) >= CHANNELS:
            self.transport.retire()  # a hop that answers no CLOSE would hold it for good
            return fail(ofChannel(RESOURCE_SHORTAGE, "no channel is free", self._hop, where))
        identity, self._next = self._next, (self._next + 1) & 0xFFFFFFFF
        timer = self.clock.callLater(self._limit, self._expired, identity)
        opening = self._openings[identity] = Opening(where, factory, self.transport.heard, timer)
        self.send(
            OPEN,
            string(b"direct-tcpip") + number(identity) + number(WINDOW) + number(PACKET)
            + string(where.host.encode()) + number(where.port) + string(b"127.0.0.1") + number(0),
        )  # fmt: skip
        self.askForLife()
        return opening.done

    def askForLife(self) -> None:
        """Send a keep-alive, which every implementation answers, if only by a failure."""
        self.send(GLOBAL_REQUEST, string(b"keepalive@openssh.com") + b"\1")

    def _expired(self, identity: int) -> None:
        opening = self._openings[identity]
        # A hop from which anything has come since it was asked lives: it is the destination that does not answer.
        alive = self.transport.heard != opening.heard
        if not alive:
            self.transport.retire()
        opening.refused(ofSilence(alive, self._hop, opening.where))

    # what conch asks of a service

    def serviceStarted(self) -> None:
        """Nothing is to be done: sessions ask for channels."""

    def serviceStopped(self) -> None:
        """The connection is lost."""
        openings, self._openings = self._openings, {}
        channels, self._channels = self._channels, {}
        self._waiting.clear()
        for opening in openings.values():
            opening.refused(ofEnd(False, None, False, self._hop, opening.where))
        for channel in channels.values():
            channel.lost(Failure(ConnectionLost()))

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """
        Take one message.

        @raise Malformed: it is none that a hop may send now.
        """
        handler = self._handlers.get(messageNum)
        if handler is None:
            self.transport.sendUnimplemented()
        else:
            handler(Fields(packet))

    # what channels ask for

    @property
    def congested(self) -> bool:
        """No data may be sent now."""
        return self._full or self._rekeying

    def send(self, message: int, payload: bytes) -> None:
        """Send one message."""
        self.transport.sendPacket(message, payload)

    def answer(self, message: int, payload: bytes) -> None:
        """
        Send what the hop has asked for.

        @raise Malformed: see `owe`.
        """
        self.owe()
        self.send(message, payload)

    def owe(self) -> None:
        """
        Count an answer: data wait while nothing can be sent, but answers are kept by the connection itself.

        @raise Malformed: the hop does not take what it asks for.
        """
        self._owed = self._owed + 1 if self.congested else 0
        if self._owed > OWED:
            raise Malformed("it asks, and does not take the answers")

    def enrol(self, output: Output) -> None:
        """Let `output` send a portion when it may again."""
        output.enrolled = True
        self._waiting.append(output)

    def addresses(self) -> tuple[Any, Any]:
        """Our side's of the connection, and the hop's."""
        return self.transport.addresses()

    # what paces the channels

    def pauseProducing(self) -> None:
        """The connection's transport is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """It is empty."""
        self._full = False
        self._go()

    def stopProducing(self) -> None:
        """It is gone, of which `serviceStopped` tells."""

    def rekey(self, begun: bool) -> None:
        """Keys are exchanged anew, or it is done."""
        self._rekeying = begun
        self._go()

    def _go(self) -> None:
        while self._waiting and not self.congested:
            output = self._waiting.popleft()
            if output.sendPortion():
                self.enrol(output)

    # what comes

    def _channel(self, identity: int) -> Channel:
        try:
            return self._channels[identity]
        except KeyError:
            raise Malformed(f"there is no channel {identity}") from None

    def _opening(self, identity: int) -> Opening:
        try:
            return self._openings.pop(identity)
        except KeyError:
            raise Malformed(f"channel {identity} was not asked for") from None

    def _confirmed(self, fields: Fields) -> None:
        identity, channel = fields.number(), Channel(self)
        channel.confirmed(fields.number(), fields.number(), fields.number())
        opening = self._opening(identity)
        self._channels[identity] = channel
        opening.opened(channel)

    def _refused(self, fields: Fields) -> None:
        identity, reason, text = fields.number(), fields.number(), fields.string().decode("utf-8", "backslashreplace")
        opening = self._opening(identity)
        opening.refused(ofChannel(reason, text, self._hop, opening.where))

    def _closed(self, fields: Fields) -> None:
        identity = fields.number()
        channel = self._channel(identity)
        # Both sides have closed it from here on: its number is free.
        channel.closed()
        self._channels.pop(identity, None)

    def _adjusted(self, fields: Fields) -> None:
        channel = self._channels.get(fields.number())
        if channel is not None:  # some hops, like OpenSSH's client, take one for a channel that is just closed
            channel.output.adjusted(fields.number())

    def _extended(self, fields: Fields) -> None:
        channel, _ = self._channel(fields.number()), fields.number()
        channel.discarded(len(fields.string()))

    def _globalRequest(self, fields: Fields) -> None:
        fields.string()
        if fields.flag():
            self.answer(REQUEST_FAILURE, b"")

    def _open(self, fields: Fields) -> None:
        fields.string()
        self.answer(OPEN_FAILURE, number(fields.number()) + number(_PROHIBITED) + string(b"") + string(b""))

    def _channelRequest(self, fields: Fields) -> None:
        channel = self._channel(fields.number())
        fields.string()
        if fields.flag():
            channel.refuseRequest()
