"""Connections that many sessions share."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.refusal import Refusal
from pipsocks.upstream.shared import Shared


class Connection:
    """A connection."""

    def __init__(self) -> None:
        self.usable = True
        self.gone: Deferred[None] = Deferred()

    def close(self) -> None:
        self.usable = False


class SharedTests(SynchronousTestCase):
    """Who opens, who joins, who leaves."""

    def setUp(self) -> None:
        self.shared = Shared()
        self.begun: list[Deferred[Any]] = []

    def use(self, key: str = "a") -> Deferred[Any]:
        """Ask for a connection."""

        def begin() -> Deferred[Any]:
            self.begun.append(Deferred())
            return self.begun[-1]

        return self.shared.use(key, begin)

    def test_joined(self) -> None:
        """All who ask get one connection, until it is lost; another key has another."""
        first, second = self.use(), self.use()
        connection = Connection()
        self.begun[0].callback(connection)
        for waiting in (first, second, self.use()):
            self.assertIs(connection, self.successResultOf(waiting))
        self.assertNoResult(self.use("b"))
        self.assertEqual(2, len(self.begun))
        connection.gone.callback(None)
        self.assertNoResult(self.use())
        self.assertEqual(3, len(self.begun))

    def test_retired(self) -> None:
        """One that is not to be used any more is replaced, and the loss of the old one leaves the new one."""
        self.use()
        old, new = Connection(), Connection()
        self.begun[0].callback(old)
        old.usable = False
        second = self.use()
        self.begun[1].callback(new)
        old.gone.callback(None)
        self.assertIs(new, self.successResultOf(second))
        self.assertIs(new, self.successResultOf(self.use()))

    def test_atOnce(self) -> None:
        """An opening may be done at once."""
        connection = Connection()
        self.assertIs(connection, self.successResultOf(self.shared.use("a", lambda: succeed(connection))))

    def test_failed(self) -> None:
        """Each gets a refusal of its own; the next to ask tries again."""
        first, second = self.use(), self.use()
        self.begun[0].errback(Refusal("PS-UP02", hop="a:22"))
        one, two = (self.failureResultOf(waiting, Refusal).value for waiting in (first, second))
        self.assertIsNot(one, two)
        one.chain = "mine"
        self.assertEqual(("PS-UP02", "a:22", ""), (two.slug.code, two.hop, two.chain))
        self.assertNoResult(self.use())
        self.assertEqual(2, len(self.begun))

    def test_failedOtherwise(self) -> None:
        """Any other failure is passed on."""
        first = self.use()
        self.begun[0].errback(ValueError())
        self.failureResultOf(first, ValueError)

    def test_left(self) -> None:
        """Who leaves leaves it to the others; the last one ends the opening."""
        first, second = self.use(), self.use()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertFalse(self.begun[0].called)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.assertTrue(self.begun[0].called)
        third = self.use()
        self.assertNoResult(third)
        self.assertEqual(2, len(self.begun))

    def test_leftWhileTold(self) -> None:
        """Who is told first may cancel the others."""
        first, second = self.use(), self.use()
        first.addCallback(lambda _: second.cancel())
        self.begun[0].callback(Connection())
        self.failureResultOf(second, CancelledError)
        self.successResultOf(first)

    def test_close(self) -> None:
        """At the end connections are closed, openings cancelled, and all of it waited for."""
        self.use()
        connection = Connection()
        self.begun[0].callback(connection)
        opening = self.use("b")
        closing = self.shared.close()
        self.failureResultOf(opening, CancelledError)
        self.assertFalse(connection.usable)
        self.assertNoResult(closing)
        connection.gone.callback(None)
        self.assertIsNone(self.successResultOf(closing))
        self.assertIsNone(self.successResultOf(Shared().close()))
