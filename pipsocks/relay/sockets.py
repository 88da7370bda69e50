"""What the relay sets on a tunnel's sockets and asks of them, where the platform has it."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Final

from twisted.internet.interfaces import ISSLTransport

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # pragma: no cover (not a POSIX system)
    ioctl = None  # type: ignore[assignment]

_TCP: Final = tuple(
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_NODELAY", 1), ("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))
    if hasattr(socket, name)
)
OPTIONS: Final = (
    *_TCP,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1),  # urgent bytes keep their place among the others
)
"""Level, option and value of what every tunnel's sockets are set to (behaviour, section 7)."""


def isSecure(transport: Any) -> bool:
    """Whether `transport` is TLS, which can't be half-closed."""
    return bool(ISSLTransport.providedBy(transport))


def tune(transport: Any) -> None:
    """Set `OPTIONS` on the socket beneath `transport`; an option that it does not know is left out."""
    handle = _socket(transport)
    if handle is None:
        return
    for level, option, value in OPTIONS:
        with suppress(OSError):
            handle.setsockopt(level, option, value)


def unsent(transport: Any) -> int:
    """
    Count the bytes, of those written to `transport`, that its peer has not acknowledged, as far as can be told.

    Twisted has no public name for the fill of a write buffer, and the kernel's queue goes to the peer's window:
    a slow reader's tunnel is not idle, and a reset must not overtake what was sent before it. For a peer that has reset
    the connection there is nothing left to wait for: the kernel would count what it did not take for ever.
    """
    beneath = getattr(transport, "transport", transport)
    count = len(getattr(beneath, "dataBuffer", b"")) - getattr(beneath, "offset", 0)
    count += getattr(beneath, "_tempDataLen", 0)
    handle = _socket(transport)
    if handle is not None and ioctl is not None:
        with suppress(OSError):
            count += int.from_bytes(ioctl(handle.fileno(), TIOCOUTQ, bytes(4)), "little")
    return 0 if count and handle is not None and _isReset(handle) else count


def _isReset(handle: socket.socket) -> bool:
    try:
        handle.getpeername()
    except OSError:
        return True
    return False


def _socket(transport: Any) -> socket.socket | None:
    handle = getattr(getattr(transport, "transport", transport), "socket", None)
    return handle if isinstance(handle, socket.socket) and handle.fileno() >= 0 else None
