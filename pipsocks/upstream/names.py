"""
Host names looked up by ourselves, in threads of our own.

Twisted's resolver shares the reactor's ten threads with everything else: ten names whose server hangs stall all
others, nothing can be given up, and the reactor waits for them when it stops. Here each look-up has a daemon thread,
so that none delays another up to `THREADS_LIMIT`, and none is waited for at the end.
"""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from itertools import zip_longest
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, TimeoutError

LOOK_UP_LIMIT: Final = 5.0
"""Seconds that anybody waits for a name."""

THREADS_LIMIT: Final = 256
"""Look-ups at the same time; `getaddrinfo` gives up by itself after some ten to thirty seconds."""

QUEUE_LIMIT: Final = 1_024
"""Names that wait for a thread; those beyond fail at once."""

KNOWN_SECONDS: Final = 30.0
"""How long an answer is used again: `getaddrinfo` does not tell a record's own time."""

KNOWN_LIMIT: Final = 1_024
"""Names whose answer is kept."""

ADDRESSES_LIMIT: Final = 32
"""Addresses of one name that are used: an answer may hold hundreds, and each would be dialled."""

_NAME: Final = re.compile(r"(?!.{254})[^.\x00-\x20\x7f]{1,63}(?:\.[^.\x00-\x20\x7f]{1,63})*\.?", re.ASCII)
_UNKNOWN: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME), socket.EAI_FAMILY})

LookUp = Callable[..., Iterable[tuple[Any, ...]]]


class NameUnknown(Exception):
    """The name server knows no address of the name."""

    outOfDescriptors = False


class NameSilent(Exception):
    """No name server answered in time, or none gave an answer that counts."""

    def __init__(self, outOfDescriptors: bool = False) -> None:
        super().__init__(outOfDescriptors)
        self.outOfDescriptors = outOfDescriptors


@attrs.define(eq=False)
class Names:
    """
    Looks names up.

    Identical look-ups are joined, answers are used again for `KNOWN_SECONDS`, and who waits may be cancelled without
    disturbing the others.

    @param reactor: has the time, and `callFromThread`.
    @param lookUp: `socket.getaddrinfo`, or what a test puts in its place; called in a thread.
    """

    _reactor: Any
    _lookUp: LookUp = socket.getaddrinfo
    _waiting: dict[str, list[Deferred[tuple[str, ...]]]] = attrs.field(factory=dict, init=False)
    _queue: deque[str] = attrs.field(factory=deque, init=False)
    _threads: int = attrs.field(default=0, init=False)
    _known: OrderedDict[str, tuple[float, tuple[str, ...]]] = attrs.field(factory=OrderedDict, init=False)

    async def resolve(self, host: str) -> tuple[str, ...]:
        """
        The addresses of `host`, at least one, in the order to dial them: as `getaddrinfo` sorted them (RFC 6724),
        families interleaved (RFC 8305, section 4). A literal is itself, at once.

        @raise NameUnknown: there is no such name, or it is none that any server could know.
        @raise NameSilent: no answer came within `LOOK_UP_LIMIT`.
        """
        if _isLiteral(host):
            return (host,)
        until, addresses = self._known.get(host, (0.0, ()))
        if addresses and self._reactor.seconds() < until:
            return addresses
        if not _NAME.fullmatch(host) or not host.isascii():
            raise NameUnknown(host)
        try:
            return await self._join(host)
        except TimeoutError:
            raise NameSilent from None

    def forget(self, host: str) -> None:
        """Let the next `resolve` of `host` ask again: its addresses did not work."""
        self._known.pop(host, None)

    def _join(self, host: str) -> Deferred[tuple[str, ...]]:
        if host not in self._waiting:
            if len(self._queue) >= QUEUE_LIMIT:
                raise NameSilent
            self._waiting[host] = []
            self._begin(host)
        waiting = self._waiting[host]
        waiter: Deferred[tuple[str, ...]] = Deferred(lambda waiter: self._leave(host, waiting, waiter))
        waiting.append(waiter)
        return waiter.addTimeout(LOOK_UP_LIMIT, self._reactor)

    def _leave(self, host: str, waiting: list[Deferred[tuple[str, ...]]], waiter: Deferred[tuple[str, ...]]) -> None:
        waiting.remove(waiter)
        if not waiting and host in self._queue:
            self._queue.remove(host)
            del self._waiting[host]

    def _begin(self, host: str) -> None:
        if self._threads >= THREADS_LIMIT:
            self._queue.append(host)
            return
        self._threads += 1
        thread = threading.Thread(target=self._ask, args=(host,), name=f"pipsocks-name-{self._threads}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread for us
            self._threads -= 1
            del self._waiting[host]
            raise NameSilent from None

    def _ask(self, host: str) -> None:
        """In the thread."""
        answer: tuple[str, ...] | Exception
        try:
            # As bytes: a str would pass through the idna codec, which refuses names that exist.
            found = self._lookUp(host.encode("ascii"), None, type=socket.SOCK_STREAM)
            answer = interleaved(dict.fromkeys(entry[4][0] for entry in found))[:ADDRESSES_LIMIT] or NameUnknown(host)
        except socket.gaierror as error:
            answer = NameUnknown(host) if error.errno in _UNKNOWN else NameSilent()
        except OSError as error:  # what EAI_SYSTEM becomes
            answer = NameSilent(outOfDescriptors=error.errno in (errno.EMFILE, errno.ENFILE))
        except Exception as error:
            answer = error
        with suppress(OSError):  # the reactor is gone, and everybody who waited with it
            self._reactor.callFromThread(self._told, host, answer)

    def _told(self, host: str, answer: tuple[str, ...] | Exception) -> None:
        self._threads -= 1
        if isinstance(answer, tuple):
            self._known[host] = self._reactor.seconds() + KNOWN_SECONDS, answer
            self._known.move_to_end(host)
            if len(self._known) > KNOWN_LIMIT:
                self._known.popitem(last=False)
        waiting = self._waiting.pop(host)
        if self._queue:
            self._begin(self._queue.popleft())
        for waiter in waiting.copy():
            waiter.callback(answer) if isinstance(answer, tuple) else waiter.errback(answer)


def interleaved(addresses: Iterable[str]) -> tuple[str, ...]:
    """The addresses with their families taking turns, that of the first one first (RFC 8305, section 4)."""
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    return tuple(address for turn in zip_longest(*families.values()) for address in turn if address)


def _isLiteral(host: str) -> bool:
    # Neither a name of the usual kind nor ip_address's exception costs a look-up that is joined anyway.
    if ":" not in host and not host[-1:].isdigit():
        return False
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
