"""
The splice relay: bytes go from socket to socket inside the Linux kernel.

It replaces what two Twisted transports do when they can read or write, and nothing else: `doRead`, `doWrite` and
`connectionLost` become a `Channel`'s, by the same assignment with which Twisted's own `abortConnection` replaces
the first two. A selectable of ours on the same descriptor would collide with the transport's own, since reactors
know selectables by their descriptor. So what is left in a transport's write buffer leaves first and in order, and
whatever others do to the transport (a drain that aborts it, a reactor that stops) works as ever.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Final

import attrs
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from pipsocks.relay.leg import Leg
from pipsocks.relay.pipes import PIPE_SIZE, Pipe, Pipes
from pipsocks.relay.sockets import isSecure

SPLICE: Final = "splice"

COPIED: Final = 65_536
"""The most that is copied at once."""

BULK: Final = 32_768
"""A direction that brings this much at once is spliced from then on: copying costs less up to about half of it."""

TRICKLE: Final = 16_384
"""A direction that brings less than this at once goes back to copying."""

# One for all: it is empty again whenever control goes back to the reactor.
_buffer: Final = memoryview(bytearray(COPIED))

_HOOKS: Final = ("doRead", "doWrite", "connectionLost")


def canSplice(near: Any, far: Any) -> bool:
    """Whether both are Twisted's own connected TCP transports without TLS, and the system has splice()."""
    return hasattr(os, "splice") and all(
        isinstance(transport, Connection)
        and not isSecure(transport)
        and bool(transport.connected)
        and not transport.disconnecting
        and transport.socket.family in (socket.AF_INET, socket.AF_INET6)
        and IReactorFDSet.providedBy(transport.reactor)
        for transport in (near, far)
    )


def plug(near: Leg, far: Leg, pipes: Pipes) -> None:
    """Make channels do the work of both transports, for which `canSplice` holds, until they are lost."""
    up, down = Channel(near, far, pipes), Channel(far, near, pipes)
    up.back, down.back = down, up
    for channel in (up, down):
        transport = channel.source.transport
        transport.doRead = channel.doRead
        transport.doWrite = channel.back.doWrite
        transport.connectionLost = channel.sourceLost


@attrs.define(eq=False)
class Channel:
    """
    One direction: what `source` sends goes to `sink`.

    Bytes that `sink` does not take at once wait in a pipe or, if they were copied, in `_rest`; `sink.parked` counts
    them, and `source` is not read meanwhile. So a direction holds one pipe or `COPIED` bytes at most. `_broken` says
    that writing to `source` has failed: what it had sent before is still read, then it is lost.
    """

    source: Leg
    sink: Leg
    _pipes: Pipes
    back: Channel = attrs.field(init=False)
    _pipe: Pipe | None = attrs.field(init=False, default=None)
    _rest: bytes = attrs.field(init=False, default=b"")
    _bulk: bool = attrs.field(init=False, default=False)
    _broken: bool = attrs.field(init=False, default=False)

    def doRead(self) -> Exception | None:
        """`source` is readable: move one portion, so that a bulk stream leaves the others their turn."""
        if self.sink.gone or self._isBlocked():
            self._block()
            return None
        return self._splice() if self._bulk else self._copy()

    def doWrite(self) -> Exception | None:
        """`sink` is writable: Twisted's own buffer first, which is older than anything that is parked."""
        transport = self.sink.transport
        if self.back._broken:
            transport.stopWriting()
            return CONNECTION_LOST if transport.disconnecting else None
        if transport.dataBuffer or transport._tempDataLen:
            outcome: Exception | None = Connection.doWrite(transport)
            if outcome is None and not self._isBlocked():
                self._resume()
            return outcome
        if self._pipe is not None:
            self._pour()
        elif self._rest:
            self._send(memoryview(self._rest))
        if self.sink.parked or self.sink.gone or self.back._broken:
            return None
        if transport.disconnecting or transport._writeDisconnecting:
            return Connection.doWrite(transport)  # type: ignore[no-any-return]
        transport.stopWriting()
        self._resume()
        return None

    def sourceLost(self, reason: Failure) -> None:
        """
        The socket of `source` is gone, or about to be: stands for its transport's `connectionLost`.

        A peer's reset is found out by a write, too, or by the reactor while we are not reading. What had come before
        it is still in the kernel: that is read first.
        """
        transport = self.source.transport
        self.back._drop()
        if reason.type is ConnectionLost and self._hasMore():
            self._broken = True
            transport.stopWriting()
            if not self._isBlocked():
                transport.startReading()
            return
        for hook in _HOOKS:
            vars(transport).pop(hook, None)
        transport.connectionLost(reason)

    def _isBlocked(self) -> bool:
        transport = self.sink.transport
        return bool(self.sink.parked or transport.dataBuffer or transport._tempDataLen or self.back._broken)

    def _hasMore(self) -> bool:
        if self._broken or self.source.ended or self.sink.gone:
            return False
        try:
            self.source.transport.socket.getpeername()
        except OSError:
            return True  # reset by the peer, and not read to the end
        return False

    def _block(self) -> None:
        self.source.transport.stopReading()
        if not self.sink.gone and not self.back._broken:
            self.sink.transport.startWriting()

    def _resume(self) -> None:
        if not self.source.ended and not self.source.gone:
            self.source.transport.resumeProducing()

    def _end(self) -> Exception:
        return CONNECTION_LOST if self._broken else CONNECTION_DONE

    def _copy(self) -> Exception | None:
        try:
            count = self.source.transport.socket.recv_into(_buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        if not count:
            return self._end()
        self.source.moved(count)
        self._bulk = count >= BULK
        self._send(_buffer[:count])
        if self.sink.parked:
            self._block()
        return None

    def _splice(self) -> Exception | None:
        pipe = self._pipes.take()
        if pipe is None:
            return self._copy()
        try:
            count = os.splice(
                self.source.transport.fileno(), pipe[1], PIPE_SIZE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
            )
        except (BlockingIOError, InterruptedError):
            # Readable, and yet nothing to splice: an urgent mark, which stays until it is read in the plain way.
            self._pipes.give(pipe)
            self._bulk = False
            return self._copy()
        except OSError:
            self._pipes.give(pipe)
            return CONNECTION_LOST
        if not count:
            self._pipes.give(pipe)
            return self._end()
        self.source.moved(count)
        self._bulk = count >= TRICKLE
        self._pipe, self.sink.parked = pipe, count
        self._pour()
        if self.sink.parked:
            self._block()
        return None

    def _pour(self) -> None:
        assert self._pipe is not None
        try:
            count = os.splice(
                self._pipe[0],
                self.sink.transport.fileno(),
                self.sink.parked,
                flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE,
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._sinkLost()
            return
        self.sink.parked -= count
        if not self.sink.parked:
            self._pipes.give(self._pipe)
            self._pipe = None

    def _send(self, data: memoryview) -> None:
        try:
            count = self.sink.transport.socket.send(data)
        except (BlockingIOError, InterruptedError):
            count = 0
        except OSError:
            self._sinkLost()
            return
        self._rest = bytes(data[count:])
        self.sink.parked = len(self._rest)

    def _sinkLost(self) -> None:
        self.source.transport.stopReading()
        self.sink.transport.connectionLost(Failure(CONNECTION_LOST))

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipes.spoil(self._pipe)
            self._pipe = None
        self._rest = b""
        self.sink.parked = 0
