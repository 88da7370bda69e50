"""
First-flight replay: what a client sends first is kept until the first byte comes back, and goes again where an upstream
that said yes dies before that (behaviour, section 5).

Only what `pipsocks.wire.flight` calls replayable goes again, and nothing once a byte came back, or the client ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.gateway.found import Found
from pipsocks.gateway.joined import died, join, unanswered
from pipsocks.gateway.losses import Losses, Reach
from pipsocks.gateway.seam import Chain
from pipsocks.gateway.stream import HELD_LIMIT, FarStream, Stream
from pipsocks.refusal import Refusal
from pipsocks.wire.flight import Flight, Kind

if TYPE_CHECKING:
    from pipsocks.gateway.session import Session

REPLAYS: Final = 4
"""At most so many for one session."""

LATEST: Final = 10.0
"""Seconds after the client's request, from which on none begins."""

SILENCE: Final = 4.0
"""Seconds without an answer to a whole ClientHello. (A slow page is silent too, so no request goes again for that.)"""

HALF: Final = 1.0
"""Seconds that a ClientHello has to be completed in, of which one half was there when the upstream died."""

_log = Logger()


def fly(session: Session, near: Stream, found: Found[FarStream], reach: Reach) -> None:
    """Carry the first flight from the client to the way that was `found`, and hand both to the relay."""
    every = [chain for tier in session.plan for chain in tier]
    if not session.group.retry.replay or (len(every) == 1 and every[0].direct):
        join(session, near, found)
    else:
        _Flying(session, near, found, reach, every).begin()


class _Flying:
    """
    The flight, from the yes to the first byte. Its inputs come in any order:

    ===================================  ==============================================================================
    what happens                         then
    ===================================  ==============================================================================
    bytes come from the client           kept, and sent on; while there is nobody to send them to they wait, at most
                                         64 KiB, then the client is not read
    they can't be sent a second time     the relay takes over
    the client ends, or is lost          the relay takes over, and passes it on
    the first byte comes back            the relay takes over: the chain's success
    the upstream ends or is lost         the flight goes again, over another chain; where it may not, the relay passes
                                         the end on. A half ClientHello first has 1 s to become a whole one
    4 s of silence after a ClientHello   another way is searched for beside; once there is one the silent one is dropped
    10 s since the client's request      no replay may begin any more: the relay takes over
    ===================================  ==============================================================================
    """

    def __init__(
        self, session: Session, near: Stream, found: Found[FarStream], reach: Reach, every: list[Chain]
    ) -> None:
        self._session = session
        self._clock = session.gateway.clock
        self._near = near
        self._found = found
        self._reach = reach
        self._kept = Flight()
        self._waiting = bytearray()  # what the present upstream was not sent
        self._completing = 0  # so much of it is in the flight, whose end it is
        self._paused = False
        self._up = 0
        self._since: float | None = None  # when the last byte went to the upstream
        self._born = self._clock.seconds()  # when the upstream was found
        self._dead = False
        self._over = False
        self._half = False
        self._silent = False  # it has been, for 4 s
        self._repeated = False  # bytes have gone a second time
        self._replays = 0
        self._losses = Losses(session, every, found.chain)
        self._searching: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """The client was told yes."""
        self._found.reached.watch(self._stirred)
        self._stirred()  # first: what is dead already is not sent what the client said early
        if not self._over:
            self._near.follow(self)
            self._arm()

    # the client

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the flight."""
        self._up += len(data)
        if not self._dead:
            self._send(data)
            return
        self._waiting += data
        if self._half:
            self._completing += len(data)
            self._completed(self._kept.receive(data))
        elif len(self._waiting) >= HELD_LIMIT and not self._paused:
            self._paused = True
            self._near.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """The client ended: nothing goes again after that."""
        self._handOver()

    def writeConnectionLost(self) -> None:
        """Our output to it was shut down: of no matter here."""

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self._handOver()

    def _send(self, data: bytes) -> None:
        kind = self._kept.receive(data)
        self._since = self._clock.seconds()
        self._found.reached.transport.write(data)
        if kind is Kind.OTHER:
            self._handOver()
        else:
            self._arm()

    def _completed(self, kind: Kind) -> None:
        if kind is Kind.HELLO:
            self._half = False
            self._replay()
        elif kind is not Kind.PARTIAL_HELLO:
            self._handOver()

    # the upstream

    def _stirred(self) -> None:
        far = self._found.reached
        if self._over:
            return
        if far.spoke:
            self._found.spoke()
            self._handOver()
        elif far.over and not self._dead:
            self._dead = True
            self._note(died(self._found))
            if self._searching is None:
                self._replay()

    def _note(self, refusal: Refusal) -> None:
        """The flight came to nothing on this chain."""
        once = self._kept.kind is Kind.REQUEST
        self._losses.lost(self._found, refusal, (self._clock.seconds() - self._born) * 1000, once)

    # replay

    def _mayReplay(self) -> bool:
        return (
            self._replays < REPLAYS
            and self._clock.seconds() - self._session.began <= LATEST
            and self._kept.replayable
            and not (self._repeated and self._kept.kind is Kind.REQUEST)
            and self._session.gateway.memory.mayReplay(self._session.request.destination)
        )

    def _replay(self) -> None:
        """Search for another way for the flight; a dead one that can't go again is passed on as it ended."""
        if self._dead and self._kept.kind is Kind.PARTIAL_HELLO:
            self._half = True
            self._arm()
            return
        if not self._mayReplay():
            if self._dead:
                self._handOver()
            else:
                self._arm()
            return
        searching = self._losses.search(self._reach, self._found.chain)
        if not searching.called:  # one that is over already may have led to the next
            self._searching = searching  # type: ignore[assignment]
        searching.addCallbacks(self._replaced, self._unreplaced).addErrback(self._broken)
        self._arm()

    def _replaced(self, found: Found[FarStream]) -> None:
        self._searching = None
        former = self._found
        former.reached.watch(None)
        if not self._dead:
            self._note(unanswered(former))
        if not former.reached.gone:
            former.reached.transport.abortConnection()
        former.close()
        self._found, self._born = found, self._clock.seconds()
        self._dead = self._silent = False
        self._losses.took(found.chain)
        self._replays += 1
        self._session.entry.replays += 1
        self._session.gateway.counts.replays += 1
        found.reached.watch(self._stirred)
        if found.reached.over and not found.reached.spoke:  # dead already: it is not sent anything
            self._stirred()
            return
        if kept := self._kept.data:
            self._repeated = True
            self._since = self._clock.seconds()
            found.reached.transport.write(kept)
        waiting, self._waiting = bytes(self._waiting[self._completing :]), bytearray()
        self._completing = 0
        if waiting:
            self._send(waiting)
        self._readAgain()
        self._stirred()
        self._arm()

    def _unreplaced(self, failure: Failure) -> None:
        failure.trap(Refusal)
        self._searching = None
        if self._dead:
            self._handOver()
        else:
            self._arm()

    def _broken(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("a replay failed", failure)
            self._handOver()

    # the clock

    def _arm(self) -> None:
        """Set the timer to what is due next, if anything is."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._over or self._searching is not None or (self._dead and not self._half):
            return  # a search ends within a time of its own, and arms the timer anew
        now = self._clock.seconds()
        due, then = self._session.began + LATEST, self._handOver
        if self._half:
            due = now + HALF
        elif self._kept.kind is Kind.HELLO and self._since is not None and not self._silent:
            hush = self._since + SILENCE
            if hush < due:
                due, then = hush, self._hushed
        self._timer = self._clock.callLater(max(0.0, due - now), self._due, then)

    def _due(self, then: Callable[[], None]) -> None:
        self._timer = None
        then()

    def _hushed(self) -> None:
        """No answer came. Where no other way is found this one is waited for, and not given up once more."""
        self._silent = True
        self._replay()

    # the end

    def _handOver(self) -> None:
        """Let the relay have both, and all that is still to come of them."""
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        searching, self._searching = self._searching, None
        if searching is not None:
            searching.cancel()
        if self._waiting and not self._found.reached.gone:  # one that has only ended its side may still read
            self._found.reached.transport.write(bytes(self._waiting))
        self._readAgain()
        self._session.entry.sni = self._kept.sni
        join(self._session, self._near, self._found, self._up, self._since)

    def _readAgain(self) -> None:
        if self._paused:
            self._paused = False
            self._near.transport.resumeProducing()
