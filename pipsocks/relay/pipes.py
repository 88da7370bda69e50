"""Pipes for the splice relay: a handful, lent while bytes are in flight."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

import attrs

try:
    import fcntl
except ImportError:  # pragma: no cover (not a POSIX system)
    fcntl = None  # type: ignore[assignment]

PIPE_SIZE: Final = 262_144
"""What is asked for. An unprivileged user who has used up the quota of pipe pages gets less, and that is fine."""

KEPT: Final = 4
"""Idle pipes kept for the next loan."""

Pipe = tuple[int, int]
"""The descriptors to read from and to write to."""


@attrs.define(eq=False)
class Pipes:
    """Lends non-blocking pipes, all of them empty. Linux only, like what they are for."""

    _idle: list[Pipe] = attrs.field(init=False, factory=list)

    def take(self) -> Pipe | None:
        """Lend a pipe; None when there are no descriptors or no memory for one."""
        if self._idle:
            return self._idle.pop()
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with suppress(OSError):
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        return pipe

    def give(self, pipe: Pipe) -> None:
        """Take an empty pipe back."""
        if len(self._idle) < KEPT:
            self._idle.append(pipe)
        else:
            self.spoil(pipe)

    def spoil(self, pipe: Pipe) -> None:
        """Close a pipe that is not wanted any more, whatever is in it."""
        for descriptor in pipe:
            os.close(descriptor)
