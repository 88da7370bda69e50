"""Faults that do not care what is spoken: they strike at once, or at the first bytes."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from pipsocks.testing.turn import Turn

_AT_ONCE: Final = {"silent": "silent", "close": "close", "reset": "reset", "refuse": "reset"}
_FIRST_BYTES: Final = ("say", "say-reset", "nonsense")


def isEarly(turn: Turn) -> bool:
    """Whether the connection has such a fault."""
    return any(name in turn.faults for name in (*_AT_ONCE, *_FIRST_BYTES))


def atOnce(turn: Turn) -> bool:
    """Strike without waiting for a byte, where that is the fault; whether it was."""
    for name, how in _AT_ONCE.items():
        if name in turn.faults:
            turn.end(how)
            return True
    return False


def atFirstBytes(turn: Turn) -> None:
    """Answer what came with octets of the script, or of chance, and end."""
    octets = turn.faults.get("say") or turn.faults.get("say-reset")
    # Never the first byte of an answer that somebody could take for one.
    said = bytes.fromhex(octets) if octets else bytes([0xEE]) + turn.random.randbytes(63)
    turn.transport.write(said)
    turn.tell("said", octets=said.hex())
    turn.end("reset" if "say-reset" in turn.faults else "close")


class Early(Protocol):
    """A connection with such a fault."""

    transport: Any

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._struck = False

    def connectionMade(self) -> None:
        """Strike at once, where the fault says so."""
        self._turn.begin(self.transport)
        self._struck = atOnce(self._turn)

    def dataReceived(self, data: bytes) -> None:
        """Strike at the first bytes."""
        if not self._struck:
            self._struck = True
            atFirstBytes(self._turn)

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The connection is gone."""
        self._turn.over(reason)
