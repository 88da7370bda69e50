"""Whether an HTTP hop that says nothing is alive, and when each was last heard (behaviour, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pipsocks.forward.fields import basic
from pipsocks.gateway.seam import Chain
from pipsocks.model import Transport
from pipsocks.refusal import Refusal

SILENCE_SECONDS: Final = 4.0
"""How long a request goes unanswered before something is done about it, and how long a probe does."""

FORGOTTEN_SECONDS: Final = 60.0
"""A hop that has said nothing for so long has not carried out what it was asked."""

_SILENT: Final = frozenset({"PS-UP03", "PS-UP06"})


@attrs.define
class Ears:
    """
    When each chain's last hop was last heard, on any connection of a forwarded request, and whether it is alive now.

    A chain is known by its text without logins: two that end alike may lead to different machines. Bounded by the
    chains, of which each is probed once at a time, however many requests wait for it.
    """

    _heard: dict[str, float] = attrs.field(factory=dict, init=False)
    _probes: dict[str, _Probing] = attrs.field(factory=dict, init=False)

    def listen(self, chain: Chain, clock: IReactorTime) -> Callable[[], None]:
        """What to call when something comes over `chain`."""
        text, heard = chain.describe(), self._heard

        def hear() -> None:
            heard[text] = clock.seconds()

        return hear

    def heardAfter(self, chain: Chain, moment: float) -> bool:
        """Whether `chain`'s last hop was heard later than at `moment`."""
        return self._heard.get(chain.describe(), float("-inf")) > moment

    async def isAlive(
        self, clock: IReactorTime, chain: Chain, authority: bytes, limit: float, mayDial: Callable[[], bool]
    ) -> bool | None:
        """
        Ask the HTTP hop at the end of `chain`, or wait for the answer to somebody who has just asked it.

        @param limit: how long, in seconds.
        @param mayDial: whether another connection may be made for that, which is counted then.
        @return: False when nothing comes; None when nobody could be asked, after that time all the same.
        """
        text = chain.describe()
        probing = self._probes.get(text)
        if probing is None:
            if not mayDial():
                return await deferLater(clock, limit)
            probing = self._probes[text] = _Probing(lambda: self._probes.pop(text))
            probing.begin(isAlive(clock, chain, authority, self.listen(chain, clock)))
        try:
            return await probing.wait().addTimeout(limit, clock)
        except TimeoutError:
            return False


@attrs.define(eq=False)
class _Probing:
    """One probe, and who waits for it. The last of them to leave ends it."""

    _over: Callable[[], object]
    _waiters: list[Deferred[bool]] = attrs.field(factory=list, init=False)
    _task: Deferred[None] | None = attrs.field(default=None, init=False)

    def begin(self, asking: Coroutine[Deferred[Any], Any, bool]) -> None:
        self._task = Deferred.fromCoroutine(asking).addBoth(self._told)

    def wait(self) -> Deferred[bool]:
        if self._task is None or self._task.called:
            return succeed(True)  # its end, told at once
        waiter: Deferred[bool] = Deferred(self._left)
        self._waiters.append(waiter)
        return waiter

    def _left(self, waiter: Deferred[bool]) -> None:
        self._waiters.remove(waiter)
        if not self._waiters and self._task is not None:
            self._task.cancel()

    def _told(self, answer: bool | Failure) -> None:
        self._over()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(answer)
        if isinstance(answer, Failure) and not waiters:
            answer.trap(CancelledError)


class _Probe(Protocol):
    """Asks the hop about itself; its first byte, or its end, is the answer."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self, question: bytes, answered: Callable[[], None]) -> None:
        self._question = question
        self._answered = answered

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.write(self._question)

    def dataReceived(self, data: bytes) -> None:
        """It lives."""
        self._answered()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """It lives as well: the dead don't close."""
        self._answered()


async def isAlive(clock: IReactorTime, chain: Chain, authority: bytes, hear: Callable[[], None]) -> bool:
    """
    Ask the HTTP hop at the end of `chain` with ``OPTIONS *``, on a connection of its own; real ones answer at once.

    @param authority: for the field Host, which is of no matter here.
    @param hear: is called when a byte or an end comes.
    @return: False when for 4 s neither does.
    """
    question = b"OPTIONS * HTTP/1.1\r\nHost: %b\r\nMax-Forwards: 0\r\n" % authority
    if chain.login is not None:
        question += b"Proxy-Authorization: %b\r\n" % basic(chain.login)
    answered: Deferred[bool] = Deferred()

    def settle(alive: bool) -> None:
        if not answered.called:
            answered.callback(alive)

    def failed(failure: Failure) -> None:
        # One that does not even take a connection in time is as silent as one that takes it.
        error = failure.value
        if not (isinstance(error, Refusal) and error.slug.code in _SILENT):
            settle(True)

    def heard() -> None:
        # Its end is heard as well, but for the one that we make of it.
        if not answered.called:
            hear()
            settle(True)

    probe = _Probe(question + b"\r\n", heard)
    timer = clock.callLater(SILENCE_SECONDS, settle, False)
    connecting = chain.reachLast().connect(_ProbeFactory(probe))
    connecting.addErrback(failed)
    try:
        return await answered
    finally:
        if timer.active():
            timer.cancel()
        connecting.cancel()
        if probe.connected:
            probe.transport.abortConnection()


class _ProbeFactory(Factory):
    noisy = False

    def __init__(self, probe: _Probe) -> None:
        self._probe = probe

    def buildProtocol(self, addr: object) -> _Probe:
        """The one probe."""
        return self._probe
