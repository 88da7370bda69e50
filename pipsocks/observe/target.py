"""Where the journal's lines go: standard output, a file, systemd's journal, or nowhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final, TextIO

from pipsocks.model import Problem, StartError, maskedPath

JOURNALD: Final = "/run/systemd/journal/socket"

Write = Callable[[str], None]


def openTarget(target: str, standard: Write, journald: str = JOURNALD) -> Write | None:
    """
    What writes a line to `target` (``-``, ``off``, ``journald`` or a file's path).

    @param standard: what writes to standard output, or to twistd's log.
    @raise StartError: it cannot be opened.
    """
    if target == "off":
        return None
    if target == "-":
        return standard
    if target == "journald":
        return _journaldWriter(journald)
    try:
        file = open(target, "a", buffering=1, encoding="ascii", errors="backslashreplace")  # noqa: SIM115
    except OSError as error:
        hint = "give a path that pipsocks may write to, or --journal - for standard output"
        what, where = f"cannot open the journal: {error.strerror}", f"journal {maskedPath(target)}"
        raise StartError(Problem(what, where, hint)) from None
    return lineWriter(file)


def lineWriter(file: TextIO) -> Write:
    """Writes lines to `file`. A disk that is full or a reader that left costs the line, not the session."""

    def write(line: str) -> None:
        try:
            file.write(line + "\n")
            file.flush()
        except (OSError, ValueError):
            return

    return write


def _journaldWriter(path: str) -> Write:
    """Speaks journald's native protocol: ``KEY=value`` lines in one datagram."""
    if not os.path.exists(path):
        hint = "use --journal -, which systemd keeps as well"
        raise StartError(Problem("systemd's journal is not there", f"journal {path}", hint))
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.setblocking(False)

    def write(line: str) -> None:
        try:
            journal.sendto(f"MESSAGE={line}\nPRIORITY=6\nSYSLOG_IDENTIFIER=pipsocks\n".encode(), path)
        except OSError:
            return

    return write
