"""How much the hop may send into one tunnel (RFC 4254, section 5.2), and what of it nobody has taken yet."""

from __future__ import annotations

from typing import Final

import attrs

from pipsocks.upstream.sshdata import Malformed

WINDOW: Final = 131_072
"""Octets that the hop may send before a reader has taken any: what a slow reader's tunnel holds at most."""

WINDOW_LIMIT: Final = 2_097_152
"""The same for a reader who keeps up, as OpenSSH has it: a far hop needs that much on the way to be fast."""

PORTION: Final = 65_536
"""Octets that a reader is given at once of what was held, as Twisted's own transports do."""


@attrs.define(eq=False)
class Window:
    """
    The room that the hop has, which grows while the reader keeps up, and shrinks when much is held.

    @ivar held: what has come and waits for the reader.
    """

    held: bytearray = attrs.field(factory=bytearray, init=False)
    _left: int = attrs.field(default=WINDOW, init=False)
    _target: int = attrs.field(default=WINDOW, init=False)
    _most: int = attrs.field(default=0, init=False)  # of what was held since the last grant

    def take(self, count: int) -> None:
        """
        Octets have come.

        @raise Malformed: more than there was room for.
        """
        if count > self._left:
            raise Malformed("more data than the window has room for")
        self._left -= count

    def hold(self, data: bytes) -> None:
        """Keep them for the reader."""
        self.held += data
        self._most = max(self._most, len(self.held))

    def portion(self) -> bytes:
        """The next of what is held, to be given to the reader."""
        data = bytes(self.held[:PORTION])
        del self.held[:PORTION]
        return data

    def grant(self) -> int:
        """How many octets more the hop may send, now that the reader has all: none before half of the room is used."""
        if self._left > self._target // 2:
            return 0
        if self._most <= WINDOW // 2:
            self._target = min(self._target * 2, WINDOW_LIMIT)
        elif self._most > WINDOW:
            self._target = WINDOW
        self._most = 0
        # It may have become smaller than what may still come.
        count = max(0, self._target - self._left)
        self._left += count
        return count
