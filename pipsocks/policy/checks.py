"""Slow yes-or-no questions, bcrypt above all: asked in threads, a few at a time, identical ones once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

THREADS: Final = 2
"""Threads of the reactor's pool that are taken at the same time: the others stay free, and so do the cores."""

Question = Callable[[], bool]


@attrs.define(eq=False)
class _Asked:
    """A question and who waits for its answer."""

    question: Question
    waiters: list[Deferred[bool]] = attrs.Factory(list)


class Checks:
    """
    A queue of questions.

    Nobody waits for ever in it and it does not grow beyond the connections that wait: a Deferred that is cancelled
    takes its question out of the queue, unless others wait for it too or a thread has it already.
    """

    def __init__(self) -> None:
        self._queue: dict[bytes, _Asked] = {}
        self._running: dict[bytes, _Asked] = {}

    def ask(self, reactor: Any, key: bytes, question: Question) -> Deferred[bool]:
        """
        Answer `question`, or share the answer of the one with the same `key` that is being found.

        @param reactor: whose thread pool is used; with None the question is asked right here.
        """
        asked = self._running.get(key) or self._queue.get(key)
        if asked is None:
            asked = self._queue[key] = _Asked(question)
        waiter: Deferred[bool] = Deferred(lambda _: self._left(key, asked, waiter))
        asked.waiters.append(waiter)
        self._begin(reactor)
        return waiter

    def _left(self, key: bytes, asked: _Asked, waiter: Deferred[bool]) -> None:
        asked.waiters.remove(waiter)
        if not asked.waiters:
            self._queue.pop(key, None)

    def _begin(self, reactor: Any) -> None:
        while self._queue and len(self._running) < THREADS:
            key = next(iter(self._queue))
            asked = self._running[key] = self._queue.pop(key)
            if reactor is None:
                answer = maybeDeferred(asked.question)
            else:
                answer = deferToThreadPool(reactor, reactor.getThreadPool(), asked.question)
            answer.addBoth(self._answered, key, asked)
            answer.addCallback(lambda _: self._begin(reactor))

    def _answered(self, answer: bool | Failure, key: bytes, asked: _Asked) -> None:
        del self._running[key]
        while asked.waiters:
            asked.waiters.pop(0).callback(answer)
