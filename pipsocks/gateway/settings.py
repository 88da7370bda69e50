"""What the configuration's [retry] table says."""

from __future__ import annotations

import attrs


@attrs.frozen
class RetrySettings:
    """The retry policy. Times are in seconds."""

    total: float = 8.0  # the whole search for a way
    attempts: int = 8
    connect: float = 3.0  # one TCP connect
    handshake: float = 3.0  # one hop's handshake
    budget: float = 1.0  # attempts beyond the first for each session, over 10 s
    replay: bool = True  # a tunnel's first flight goes again where the upstream dies before it answers
    resume: bool = True  # a forwarded download that is cut goes on where it stopped


@attrs.frozen
class TimeoutSettings:
    """Waits, in seconds."""

    handshake: float = 10.0  # a client's whole handshake
    tunnel_idle: float = 3600.0
    drain: float = 30.0
