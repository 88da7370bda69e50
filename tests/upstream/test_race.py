"""Happy Eyeballs (RFC 8305): who is dialled when, and who wins."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from pipsocks.upstream.race import STAGGER, AllFailed, race


@implementer(IStreamClientEndpoint)
class Dialled:
    """An endpoint that notes what happens to it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.attempt: Deferred[Any] | None = None
        self.cancelled = False

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        """Begin, or fail at once."""
        self.attempt = Deferred(self._cancel)
        if self.error is not None:
            self.attempt.errback(self.error)
        return self.attempt

    def _cancel(self, _: Any) -> None:
        self.cancelled = True


class RaceTests(SynchronousTestCase):
    """A destination with several addresses."""

    def setUp(self) -> None:
        """Three addresses that do not answer."""
        self.clock = Clock()
        self.dialled = [Dialled() for _ in range(3)]

    def begin(self) -> Deferred[Any]:
        """Begin the race."""
        return race(self.clock, self.dialled, Factory.forProtocol(Protocol))  # type: ignore[arg-type]

    def assertStarted(self, count: int) -> None:
        """So many were dialled so far."""
        self.assertEqual(count, sum(each.attempt is not None for each in self.dialled))

    def test_stagger(self) -> None:
        """Addresses that do not answer are dialled 250 ms apart, and all go on."""
        done = self.begin()
        self.assertStarted(1)
        self.clock.advance(STAGGER / 2)
        self.assertStarted(1)
        self.clock.advance(STAGGER / 2)
        self.assertStarted(2)
        self.clock.advance(STAGGER)
        self.assertStarted(3)
        self.assertNoResult(done)
        self.assertEqual([], self.clock.getDelayedCalls())
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_firstWins(self) -> None:
        """The first that answers wins, even when it was dialled last; the others are given up, with the timer."""
        done = self.begin()
        self.clock.advance(STAGGER)
        protocol = Protocol()
        assert self.dialled[1].attempt is not None
        self.dialled[1].attempt.callback(protocol)
        self.assertIs(protocol, self.successResultOf(done))
        self.assertTrue(self.dialled[0].cancelled)
        self.assertStarted(2)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_failureGoesOnAtOnce(self) -> None:
        """A refused address does not cost the 250 ms."""
        self.dialled[0].error = ConnectionRefusedError()
        self.dialled[1].error = ConnectionRefusedError()
        done = self.begin()
        self.assertStarted(3)
        self.assertNoResult(done)
        self.assertEqual([], self.clock.getDelayedCalls())
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_staggerBeginsAnew(self) -> None:
        """After a failure the next address gets its own 250 ms before the one behind it."""
        done = self.begin()
        self.clock.advance(STAGGER / 2)
        assert self.dialled[0].attempt is not None
        self.dialled[0].attempt.errback(ConnectionRefusedError())
        self.assertStarted(2)
        self.clock.advance(STAGGER * 3 / 4)
        self.assertStarted(2)
        self.clock.advance(STAGGER / 4)
        self.assertStarted(3)
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_allFailed(self) -> None:
        """When all fail, each one's failure is told, in the order in which they failed."""
        first, second, third = errors = [ConnectionRefusedError(str(number)) for number in range(3)]
        done = self.begin()
        self.clock.advance(STAGGER)
        self.clock.advance(STAGGER)
        attempts = [each.attempt for each in self.dialled]
        for at in (2, 0, 1):
            self.assertNoResult(done)
            attempts[at].errback(errors[at])  # type: ignore[union-attr]
        failed = self.failureResultOf(done, AllFailed).value
        self.assertEqual([third, first, second], [failure.value for failure in failed.failures])

    def test_cancelled(self) -> None:
        """A client that leaves ends all of it."""
        done = self.begin()
        self.clock.advance(STAGGER)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual([True, True, False], [each.cancelled for each in self.dialled])
        self.assertEqual([], self.clock.getDelayedCalls())
