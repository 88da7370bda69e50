"""Listening where a listener's settings say, and what to say where that can't be done."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from pipsocks.front.listener import ListenerFactory
from pipsocks.front.settings import ListenerSettings, place
from pipsocks.model import Problem, StartError, masked

BACKLOG: Final = 1024
"""
Clients that may wait to be accepted, where the description does not say how many.

Beyond Twisted's 50 a client's system tries again after a second.
"""


def listen(reactor: Any, settings: ListenerSettings, factory: ListenerFactory) -> IListeningPort:
    """
    Listen at once, before anything detaches.

    @raise StartError: the description is wrong, or the port can't be had.
    """
    try:
        listening = serverFromString(reactor, settings.endpoint).listen(factory)
    except Exception as error:
        # Twisted's parsers raise what their arguments happen to raise: ValueError, TypeError, KeyError, OSError.
        hint = "write 1080, 127.0.0.1:1080, [::1]:1080 or a Twisted endpoint description (tcp:1080:interface=127.0.0.1)"
        what = f"cannot listen on {masked(settings.endpoint)!r}: {masked(str(error))}"
        raise StartError(Problem(what, settings.source, hint)) from None
    outcome: list[IListeningPort | Failure] = []
    listening.addBoth(outcome.append)
    port: Any = outcome[0] if outcome else None
    if isinstance(port, Failure):
        raise StartError(listenProblem(settings, port.value))
    if port is None:
        raise StartError(Problem(f"{masked(settings.endpoint)!r} does not listen at once", settings.source))
    if place(settings.endpoint) is not None and "backlog=" not in settings.endpoint:
        port.socket.listen(BACKLOG)
    found: IListeningPort = port
    return found


def listenProblem(settings: ListenerSettings, error: BaseException | None) -> Problem:
    """What to say of a port that cannot be had."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    text = getattr(cause, "strerror", None) or str(cause)
    hint = "stop what listens there (ss -ltnp shows it), or choose another port"
    if isinstance(cause, PermissionError):
        hint = "choose a port from 1024 on, or give the service CAP_NET_BIND_SERVICE"
    return Problem(f"cannot listen on {masked(settings.endpoint)}: {text}", settings.source, hint)
