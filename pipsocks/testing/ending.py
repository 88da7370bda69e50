"""How a connection ends by a fault: closed, reset, or left in silence; always behind what was written to it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import ISSLTransport

PATIENCE: Final = 5.0
"""Seconds that a reset waits for what was written: a peer that does not read must not keep a connection for ever."""

_STEP: Final = 0.002
_UNSENT: Final = 0x894B  # SIOCOUTQNSD, <linux/sockios.h>

Later = Callable[..., Any]
"""As ``reactor.callLater``."""


def end(transport: Any, how: str, later: Later, reactor: Any) -> None:
    """
    End `transport`, which has no producer any more, behind what was written to it.

    @param how: ``close``, ``reset`` or ``silent``, which leaves it as it is.
    """
    if how == "close":
        # Twisted's TLS aborts where its handshake is not done. There is nothing of TLS to say goodbye to yet.
        (transport if _isReady(transport) else transport.transport).loseConnection()
    elif how == "reset":
        # Twisted's TLS gathers small writes until the reactor's next turn.
        later(0, _reset, transport, later, reactor, PATIENCE)


def _isReady(transport: Any) -> bool:
    """Whether `transport` has no TLS handshake to wait for: the client's part of one ends it, on this side."""
    isTLS = ISSLTransport.providedBy(transport)
    handle = transport.getHandle() if isTLS else None  # None as well once it is gone
    return handle is None or handle.get_peer_finished() is not None


def _reset(transport: Any, later: Later, reactor: Any, left: float) -> None:
    """
    Reset once the kernel has sent all that was written.

    An abort alone would drop that, in Twisted's buffer and in the kernel's: nobody could say behind which byte the
    reset comes.
    """
    if left > 0 and _unsent(transport, reactor):
        later(_STEP, _reset, transport, later, reactor, left - _STEP)
    else:
        transport.abortConnection()


def _unsent(transport: Any, reactor: Any) -> bool:
    """Whether some of what was written has not left this side yet; a transport without a socket has no such thing."""
    isTLS = ISSLTransport.providedBy(transport)
    lower: Any = transport.transport if isTLS else transport
    if not hasattr(reactor, "getWriters") or not hasattr(lower, "fileno"):
        return False
    if lower in reactor.getWriters():
        return True
    with contextlib.suppress(OSError, ValueError):  # not on Linux, or gone meanwhile
        return any(fcntl.ioctl(lower.fileno(), _UNSENT, bytes(4)))
    return False
