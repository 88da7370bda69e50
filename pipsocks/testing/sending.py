"""The body of one response: as fast as the client takes it, or as slow as a fault says, whole or cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pipsocks.testing.content import BLOCK, Content
from pipsocks.testing.turn import Turn
from pipsocks.testing.valve import limit, portion

_LAST_CHUNK: Final = b"0\r\n\r\n"


class Sending:
    """
    The transport's producer for one body.

    @param first: the first byte of `content` that is sent; `stop` is the one behind the last.
    @param count: is told how many bytes went.
    @param done: is called when all of it was written, unless a fault ended it.
    """

    def __init__(
        self,
        turn: Turn,
        content: Content,
        first: int,
        stop: int,
        chunked: bool,
        count: Callable[[int], None],
        done: Callable[[], None],
    ) -> None:
        self._turn = turn
        self._content = content
        self._at = first
        self._stop = max(first, stop)
        self._chunked = chunked
        self._count = count
        self._done = done
        self._rate = int(turn.faults.get("throttle", 0))
        self._paused = False
        self._running = False
        self._how = ""
        found = limit(turn)
        if found is not None and first + found[1] <= self._stop:
            self._how, self._stop = found[0], first + found[1]
        self._first = first

    def start(self) -> None:
        """Begin."""
        self._turn.produce(self)
        self._run()

    def pauseProducing(self) -> None:
        """The client is slower than that."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._paused = False
        if not self._rate:
            self._run()

    def stopProducing(self) -> None:
        """The client is gone: its protocol hears of that too."""

    def _run(self) -> None:
        """Write until the client is behind; throttled, write one portion."""
        if self._running:
            return
        if self._rate:
            octets, wait = portion(self._rate)
            if not self._paused and self._at < self._stop:
                self._write(octets)
            if self._at < self._stop:
                self._turn.later(wait, self._run)
        else:
            # A write may pause and resume us before it returns.
            self._running = True
            while self._at < self._stop and not self._paused:
                self._write(BLOCK)
            self._running = False
        if self._at == self._stop:
            self._finish()

    def _write(self, most: int) -> None:
        data = self._content.read(self._at, min(self._stop, self._at + most))
        self._at += len(data)
        self._count(len(data))
        self._turn.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _finish(self) -> None:
        self._at += 1  # once
        self._turn.release()
        if self._how:
            self._turn.tell("struck", how=self._how, down=self._stop - self._first)
            self._turn.end(self._how)
            return
        if self._chunked:
            self._turn.transport.write(_LAST_CHUNK)
        self._done()
