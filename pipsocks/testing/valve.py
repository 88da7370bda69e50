"""The way of an answer to the client: how fast it goes, and behind which byte it ends."""

from __future__ import annotations

from typing import Any, Final

from pipsocks.testing.turn import Turn

TICK: Final = 0.05
"""Seconds between two portions of a throttled answer, or more where a portion would be less than a byte."""

HELD: Final = 65_536
"""Bytes of a throttled answer that wait here before its source is paused."""


def limit(turn: Turn) -> tuple[str, int] | None:
    """How a connection is to end (``silent``, ``close``, ``reset``), and behind how many bytes of the answer."""
    for how in ("silent", "close", "reset"):
        if (value := turn.faults.get(f"{how}-after")) is not None:
            return how, int(value)
    return None


def portion(rate: int) -> tuple[int, float]:
    """How many bytes go at once at so many in a second, and how many seconds lie between."""
    octets = max(1, int(rate * TICK))
    return octets, octets / rate


class Valve:
    """
    Passes `write` on to the client, as the faults ``throttle`` and ``-after`` of `turn` say.

    It is the client's producer, and pauses `source` for it.

    @ivar sent: the bytes that went through.
    """

    def __init__(self, turn: Turn, source: Any) -> None:
        self.sent = 0
        self._turn = turn
        self._source = source
        self._limit = limit(turn)
        self._rate = int(turn.faults.get("throttle", 0))
        self._room = max(HELD, self._rate // 2)
        self._held = bytearray()
        self._ticking = False
        self._choked = False
        self._ended: Any = None
        self._struck = False
        turn.produce(self)
        if self._limit is not None and not self._limit[1]:
            self._strike()

    def write(self, data: bytes) -> None:
        """Pass on, now or in portions; nothing any more behind the last byte."""
        if self._struck:
            return
        if not self._rate:
            self._pass(data)
            return
        self._held += data
        if len(self._held) >= self._room:
            self._source.pauseProducing()
        if not self._ticking:
            self._tick()

    def end(self, then: Any) -> None:
        """Call `then` once all that was written has been passed on, unless the connection ends here before."""
        if self._held or self._struck:
            self._ended = then
        else:
            then()

    def pauseProducing(self) -> None:
        """The client is slower than that."""
        self._choked = True
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """It has caught up."""
        self._choked = False
        if not self._struck and len(self._held) < self._room:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        """The client is gone: its protocol hears of that too."""

    def _tick(self) -> None:
        octets, wait = portion(self._rate)
        self._ticking = bool(self._held)
        if not self._held:
            return
        if not self._choked:
            full = len(self._held) >= self._room
            data = bytes(self._held[:octets])
            del self._held[:octets]
            self._pass(data)
            if self._struck:
                return
            if full and len(self._held) < self._room:
                self._source.resumeProducing()
        if not self._held and self._ended is not None:
            self._ended()
        self._turn.later(wait, self._tick)

    def _pass(self, data: bytes) -> None:
        if self._limit is not None:
            data = data[: self._limit[1] - self.sent]
        self.sent += len(data)
        self._turn.transport.write(data)
        if self._limit is not None and self.sent == self._limit[1]:
            self._strike()

    def _strike(self) -> None:
        assert self._limit is not None
        how = self._limit[0]
        self._struck = True
        self._held.clear()
        # An echo's source is the client, of whose end one wants to hear.
        if self._source is not self._turn.transport:
            self._source.pauseProducing()
        self._turn.tell("struck", how=how, down=self.sent)
        self._turn.end(how)
