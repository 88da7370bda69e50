"""What goes into one tunnel of an ssh connection: octets that the hop does not take yet, and whoever writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Seam

from twisted.internet.interfaces import IReactorTime

from pipsocks.upstream.sshdata import Malformed, number, string

PACKET: Final = 32_768
"""The most that one message carries: what every implementation takes (RFC 4253, section 6.1)."""

FILL: Final = 65_536
"""Octets in the buffer from which on its producer is paused, as Twisted's own transports do."""

DATA: Final = 94


class Service(Seam):
    """The connection, as its channels see it."""

    clock: IReactorTime

    @property
    def congested(self) -> bool:
        """No data may be sent now."""

    def send(self, message: int, payload: bytes) -> None:
        """Send one message."""

    def answer(self, message: int, payload: bytes) -> None:
        """Send what the hop has asked for, which raises `Malformed` where it asks too often."""

    def enrol(self, output: Output) -> None:
        """Let `output` send a portion when it may again, and say so in its `enrolled`."""

    def addresses(self) -> tuple[Any, Any]:
        """Our side's of the connection, and the hop's."""


class Output:
    """
    A channel's way out, within the room that the hop gives (RFC 4254, section 5.2).

    @ivar buffer: what is still to be sent. Its fill pauses the producer.
    @ivar enrolled: it will be asked to send a portion.
    """

    __slots__ = (
        "_drained", "_packet", "_paused", "_producer", "_pulling", "_remote", "_room", "_service", "_stopped",
        "_streaming", "buffer", "enrolled",
    )  # fmt: skip

    def __init__(self, service: Service, drained: Callable[[], None]) -> None:
        """
        @param drained: called when all is sent, and nobody is about to write more: the turn of an end that waited.
        """
        self.buffer = bytearray()
        self.enrolled = False
        self._service = service
        self._drained = drained
        self._remote = self._room = self._packet = 0
        self._stopped = False
        self._producer: Any = None
        self._streaming = False
        self._paused = False
        self._pulling = False

    def confirmed(self, remote: int, room: int, packet: int) -> None:
        """
        The hop has opened the channel: `remote` is its number there.

        @raise Malformed: it takes no octet in a message.
        """
        if not packet:
            raise Malformed("no message may have an octet")
        self._remote, self._room, self._packet = remote, room, min(packet, PACKET)

    def adjusted(self, count: int) -> None:
        """The hop takes more."""
        self._room += count
        self.go()

    def write(self, data: bytes) -> None:
        """Send `data` behind what waits."""
        self.buffer += data
        self.go()
        if len(self.buffer) > FILL and self._streaming and not self._paused:
            self._paused = True
            self._producer.pauseProducing()

    def go(self) -> None:
        """Send what may be sent now."""
        if self.enrolled or self._stopped:
            return
        while not self._service.congested:
            if not self.sendPortion():
                return
        if self.buffer and self._room:
            self._service.enrol(self)
        elif not self.buffer:
            self._emptied()

    def sendPortion(self) -> bool:
        """Send one message's worth; returns whether more is to be sent, for which there is room."""
        self.enrolled = False
        count = min(len(self.buffer), self._room, self._packet)
        if count:
            self._room -= count
            self._service.send(DATA, number(self._remote) + string(bytes(self.buffer[:count])))
            del self.buffer[:count]
        if not self.buffer:
            self._emptied()
        return bool(self.buffer and self._room) and not self._stopped

    def stop(self) -> None:
        """What is not sent never will be, and whoever waits to send may go on: into nothing."""
        self._stopped = True
        self._drained = lambda: None  # the channel's: nothing is to wait for the garbage collector
        self.buffer.clear()
        self._resume()

    def _emptied(self) -> None:
        """All is sent: the producer's turn, or that of an end that waited for this."""
        if self._producer is not None and not self._streaming:
            if not self._pulling:
                self._pulling = True
                self._service.clock.callLater(0, self._pull)
            return
        self._resume()
        if not self.buffer and not self._stopped:
            self._drained()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._producer.resumeProducing()

    def _pull(self) -> None:
        self._pulling = False
        if self._producer is not None and not self._streaming and not self.buffer:
            self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        if self._stopped:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._paused = producer, streaming, False
        if not streaming:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer, self._streaming, self._paused = None, False, False
