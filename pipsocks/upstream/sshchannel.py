"""One tunnel inside an ssh connection (RFC 4254, section 5), as the transport of the protocol that wants it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.upstream.sshdata import number
from pipsocks.upstream.sshoutput import Output, Service
from pipsocks.upstream.sshwindow import Window

_log: Final = Logger()

WINDOW_ADJUST: Final = 93
EOF: Final = 96
CLOSE: Final = 97
FAILURE: Final = 100


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Channel:
    """
    A channel. What it is asked for as a transport it does as Twisted's TCP transport does.

    Both ways have back-pressure: octets that the protocol does not take stay within the window, which grows while it
    does; octets that the hop does not take stay in `output`, whose fill pauses the producer. An end of output is an
    EOF, both ways. A close by the hop is a clean end, with an EOF before it or not: whether the destination has reset
    its connection is not told by ssh.

    @ivar protocol: whose transport it is; None before there is one, and when it has been told of the end.
    @ivar disconnecting: `loseConnection` was called.
    @ivar output: what goes.
    """

    __slots__ = (
        "_closed", "_endTold", "_ended", "_finished", "_finishing", "_lost", "_paused", "_remote", "_service", "_turn",
        "_window", "disconnecting", "output", "protocol",
    )  # fmt: skip

    def __init__(self, service: Service) -> None:
        self.protocol: IProtocol | None = None
        self.disconnecting = False
        self.output = Output(service, self._drained)
        self._service = service
        self._remote = 0  # the hop's number for it
        self._window = Window()
        self._paused = False
        self._turn: IDelayedCall | None = None
        self._ended = False  # the hop's EOF has come
        self._endTold = False
        self._lost: Failure | None = None  # to be told when all that was held is
        self._finishing = False  # loseWriteConnection was called
        self._finished = False  # our EOF is sent
        self._closed = False  # our CLOSE is sent

    # what the hop says

    def confirmed(self, remote: int, room: int, packet: int) -> None:
        """
        The hop has opened it: `remote` is its number there.

        @raise Malformed: it takes no octet in a message.
        """
        self.output.confirmed(remote, room, packet)
        self._remote = remote

    def received(self, data: bytes) -> None:
        """
        Octets came. Behind the hop's end there are none.

        @raise Malformed: more than we had asked for.
        """
        self._window.take(len(data))
        # Nothing at all, told, would pass for the destination's first byte.
        if self._closed or self._ended or not data:
            return
        if self._window.held or self._paused or self._turn is not None or self.protocol is None:
            self._window.hold(data)
        else:
            self._call(self.protocol.dataReceived, data)
            self._deliver()

    def discarded(self, count: int) -> None:
        """
        Octets came that are not the tunnel's (extended data), and are dropped.

        @raise Malformed: more than we had asked for.
        """
        self._window.take(count)
        self._deliver()

    def refuseRequest(self) -> None:
        """
        The hop asked for something else than a tunnel.

        @raise Malformed: too often.
        """
        if not self._closed:
            self._service.answer(FAILURE, number(self._remote))

    def ended(self) -> None:
        """The hop has no more to send."""
        self._ended = True
        self._deliver()

    def closed(self) -> None:
        """The hop has closed it."""
        self._ended = True
        self._close()
        if self._lost is None:
            self._lost = Failure(ConnectionDone())
        self._deliver()

    def lost(self, reason: Failure) -> None:
        """The connection is gone. What was not taken yet is lost with it, as in a reset."""
        self._closed = True
        self._window.held.clear()
        self.output.stop()
        self._tell(self._lost or reason)

    # what the hop sends, in the order in which it came

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self._paused = True

    def resumeProducing(self) -> None:
        """See `IPushProducer`; what was held comes in the reactor's next turn."""
        self._paused = False
        if self._turn is None and self.protocol is not None:
            self._turn = self._service.clock.callLater(0, self._resumed)

    def stopProducing(self) -> None:
        """See `IPushProducer`."""
        self.loseConnection()

    def _resumed(self) -> None:
        self._turn = None
        self._deliver()

    def _deliver(self) -> None:
        if self._turn is not None:  # what is held comes before
            return
        held = self._window.held
        while held and not self._paused and self.protocol is not None:
            self._call(self.protocol.dataReceived, self._window.portion())
        if held or self._paused or self.protocol is None:
            return
        if not self._ended:
            self._grant()
        elif not self._endTold and not self._closed:
            self._endTold = True
            self._tellEnd()
        if self._lost is not None:
            if not self._endTold and self._ended and IHalfCloseableProtocol.providedBy(self.protocol):
                self._endTold = True
                self._call(self.protocol.readConnectionLost)
            self._tell(self._lost)

    def _tellEnd(self) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self._call(self.protocol.readConnectionLost)
        else:
            self.loseConnection()

    def _grant(self) -> None:
        if not self._closed and (count := self._window.grant()):
            self._service.send(WINDOW_ADJUST, number(self._remote) + number(count))

    def _tell(self, reason: Failure) -> None:
        """It is over; tell so once."""
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self._call(protocol.connectionLost, reason)

    def _tellSoon(self, reason: Failure) -> None:
        """The same in the reactor's next turn, as of any transport: nobody is called back by what he calls."""
        self._window.held.clear()
        self._lost = reason
        if self._turn is not None:
            self._turn.cancel()
        self._turn = self._service.clock.callLater(0, self._over)

    def _over(self) -> None:
        self._turn = None
        assert self._lost is not None
        self._tell(self._lost)

    def _call(self, event: Any, *arguments: Any) -> None:
        """Tell the protocol; what it raises ends its channel and no other."""
        try:
            event(*arguments)
        except Exception:
            _log.failure("a protocol failed on an ssh channel")
            self.abortConnection()

    # what we send

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self._closed or self._finishing:
            return
        self.output.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    @property
    def dataBuffer(self) -> bytearray:
        """What is still to be sent, by the name that Twisted's transports have for it."""
        return self.output.buffer

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `IConsumer`."""
        self.output.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.output.unregisterProducer()
        if self.disconnecting or self._finishing:
            self.output.go()

    def loseWriteConnection(self) -> None:
        """An EOF, behind all that was written."""
        self._finishing = True
        self.output.go()

    def loseConnection(self) -> None:
        """See `ITransport`: an EOF and a CLOSE, behind all that was written."""
        if not self.disconnecting:
            self.disconnecting = True
            self.output.go()

    def abortConnection(self) -> None:
        """A CLOSE at once."""
        if not self._closed:
            self.disconnecting = True
            self._close()
            self._tellSoon(Failure(ConnectionAborted()))

    def _drained(self) -> None:
        """All is sent: the turn of an end that waited for this."""
        if self.disconnecting:
            self._finish()
            self._close()
            self._tellSoon(Failure(ConnectionDone()))
        elif self._finishing and not self._finished:
            self._finish()
            if IHalfCloseableProtocol.providedBy(self.protocol):
                self._call(self.protocol.writeConnectionLost)

    def _finish(self) -> None:
        if not self._finished:
            self._finished = True
            self._service.send(EOF, number(self._remote))

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._service.send(CLOSE, number(self._remote))
            self.output.stop()

    # what it has in common with all tunnels of its connection

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`: nothing is held back to make larger messages."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`: that is the connection's own affair. Twisted's HTTP client sets it, inside TLS too."""

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`: the connection is kept alive by messages of its own."""
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`; of no effect."""

    def getHost(self) -> Any:
        """See `ITransport`: our side's of the connection to the hop."""
        return self._service.addresses()[0]

    def getPeer(self) -> Any:
        """See `ITransport`: the hop's."""
        return self._service.addresses()[1]
