"""
The journal: one line per session, and one for each connection that never got that far.

An entry keeps values while its session lives; text is made once, when it closes. Nothing that a client sent reaches the
line unescaped.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs

from pipsocks.model import Attempt, Destination, Ended
from pipsocks.refusal import printable

Line = dict[str, Any]
"""A session as the JSON form shows it."""


@attrs.define(eq=False)
class SessionEntry:
    """One session's line, being filled; see `pipsocks.model.Entry`."""

    _journal: Journal
    listener: str
    client: str
    _began: float
    _wall: float
    protocol: str = ""
    user: str = ""
    route: str = ""
    because: str = ""
    relay: str = ""
    sni: str = ""
    replays: int = 0
    resumes: int = 0
    destination: Destination | None = None
    attempts: list[Attempt] = attrs.field(factory=list)

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt."""
        self.attempts.append(attempt)

    def close(self, ended: Ended) -> None:
        """Write the line."""
        self._journal.closed(self, ended)


@attrs.define(eq=False)
class Journal:
    """
    Opens entries and writes their lines.

    @ivar write: takes one finished line without its end, and never raises; with None nothing is even formatted.
    @ivar form: a line from a session: `textLine` or `jsonLine`.
    @ivar seconds: a monotonic clock; `wall` the time of day, in seconds since the epoch.
    """

    write: Callable[[str], None] | None
    form: Callable[[Line], str]
    seconds: Callable[[], float]
    wall: Callable[[], float]

    def open(self, listener: str, client: str, ago: float = 0.0) -> SessionEntry:
        """Begin a line for what began `ago` seconds before."""
        return SessionEntry(self, listener, client, self.seconds() - ago, self.wall() - ago)

    def closed(self, entry: SessionEntry, ended: Ended) -> None:
        """Write a line."""
        if self.write is None:
            return
        destination = entry.destination
        self.write(
            self.form(
                {
                    "time": datetime.fromtimestamp(entry._wall, UTC).isoformat(timespec="milliseconds"),
                    "id": secrets.token_hex(4),
                    "listener": entry.listener,
                    "client": entry.client,
                    "user": entry.user,
                    "protocol": entry.protocol,
                    "destination": "" if destination is None else str(destination),
                    "sni": entry.sni,
                    "route": entry.route,
                    "because": entry.because,
                    "attempts": [
                        {"chain": a.chain, "hop": a.hop, "outcome": a.outcome, "ms": round(a.milliseconds, 1)}
                        for a in entry.attempts
                    ],
                    "relay": entry.relay,
                    **({"replays": entry.replays} if entry.replays else {}),
                    **({"resumes": entry.resumes} if entry.resumes else {}),
                    "up": ended.up,
                    "down": ended.down,
                    **({"dropped": ended.dropped} if entry.protocol == "udp" else {}),
                    "seconds": round(self.seconds() - entry._began, 3),
                    "outcome": ended.token,
                    **({"reason": ended.reason} if ended.reason else {}),
                }
            )
        )


def jsonLine(line: Line) -> str:
    """One JSON object, in ASCII."""
    return json.dumps(line, separators=(",", ":"))


def textLine(line: Line) -> str:
    """
    ``key=value`` pairs; a value with spaces or quotes is quoted, an empty one is left out.

    An attempt reads ``CHAIN OUTCOME 12.3ms``, with ``(at HOP)`` where the failing hop is not the chain's name.
    """
    parts = []
    for key, value in line.items():
        text = "; ".join(map(_attemptText, value)) if key == "attempts" else str(value)
        if text:
            parts.append(f"{key}={_quoted(text)}")
    return " ".join(parts)


def _attemptText(attempt: dict[str, Any]) -> str:
    hop = attempt["hop"]
    at = f" (at {hop})" if hop and hop != attempt["chain"] else ""
    return f"{attempt['chain']}{at} {attempt['outcome']} {attempt['ms']}ms"


def _quoted(text: str) -> str:
    text = printable(text)
    if any(c in text for c in ' "='):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text
