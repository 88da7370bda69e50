"""The bytes that have come and were not consumed, kept so that nothing is looked at twice or copied twice."""

from __future__ import annotations


class Inbox:
    """
    Bytes that came, with three places in them: what is before `at` was consumed, what is before `cursor` was
    understood but is kept, and before `_seen` there is no line feed from the cursor on.

    @ivar data: the buffer. What was received whole stays the very object; only what comes behind a rest is appended.
    """

    __slots__ = ("_seen", "at", "cursor", "data")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.at = self.cursor = self._seen = 0

    def add(self, data: bytes) -> None:
        """Append `data`."""
        if not self.data:
            self.data = data
            return
        if isinstance(self.data, bytearray):
            del self.data[: self.at]
        else:
            with memoryview(self.data) as view:
                self.data = bytearray(view[self.at :])
        self.cursor -= self.at
        self._seen -= self.at
        self.at = 0
        self.data += data

    @property
    def held(self) -> int:
        """How many bytes were not consumed."""
        return len(self.data) - self.at

    def lineEnd(self) -> int:
        """Where the line at the cursor ends, behind its line feed; 0 where it has none yet."""
        end = self.data.find(b"\n", self._seen) + 1
        if not end:
            self._seen = len(self.data)
        return end

    def passLine(self, end: int) -> None:
        """Move the cursor behind a line, which is kept."""
        self.cursor = self._seen = end

    def consume(self, end: int) -> None:
        """Let go of everything before `end`; an inbox without bytes keeps no buffer."""
        if end == len(self.data):
            self.data = b""
            end = 0
        self.at = self.cursor = self._seen = end

    def take(self, count: int) -> bytes:
        """At most `count` bytes, consumed; empty where there are none."""
        end = min(self.at + count, len(self.data))
        if self.at == 0 and end == len(self.data) and isinstance(self.data, bytes):
            taken = self.data
        else:
            with memoryview(self.data) as view:
                taken = bytes(view[self.at : end])
        self.consume(end)
        return taken

    def drain(self) -> bytes:
        """All that was not consumed."""
        return self.take(self.held)
