"""Slow questions in threads."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import TestCase

from pipsocks.policy.checks import THREADS, Checks
from tests.policy.threads import Threads


class ChecksTests(TestCase):
    """`Checks`."""

    def setUp(self) -> None:
        self.threads = Threads()
        self.checks = Checks()

    def test_answers(self) -> None:
        """Each question gets its own answer, from a thread."""
        yes = self.checks.ask(self.threads, b"a", lambda: True)
        no = self.checks.ask(self.threads, b"b", lambda: False)
        self.assertNoResult(yes)
        self.threads.run()
        self.assertEqual((True, False), (self.successResultOf(yes), self.successResultOf(no)))

    def test_fewThreads(self) -> None:
        """However many ask, two threads are taken, and all get their answers."""
        asked = [self.checks.ask(self.threads, b"%d" % i, lambda: True) for i in range(10)]
        self.assertEqual(THREADS, len(self.threads.jobs))
        self.threads.run()
        self.assertEqual([True] * 10, [self.successResultOf(each) for each in asked])

    def test_joined(self) -> None:
        """The same question is asked once while it waits and while it runs, and again later."""
        first = [self.checks.ask(self.threads, b"a", lambda: True) for _ in range(5)]
        self.assertEqual(1, self.threads.asked)
        self.threads.run()
        self.assertEqual([True] * 5, [self.successResultOf(each) for each in first])
        again = self.checks.ask(self.threads, b"a", lambda: False)
        self.assertEqual(2, self.threads.asked)
        self.threads.run()
        self.assertFalse(self.successResultOf(again))

    def test_error(self) -> None:
        """An error goes to all who wait, and the queue goes on."""
        asked = [self.checks.ask(self.threads, b"a", lambda: bool(1 / 0)) for _ in range(2)]
        self.threads.run()
        for each in asked:
            self.failureResultOf(each, ZeroDivisionError)
        after = self.checks.ask(self.threads, b"a", lambda: True)
        self.threads.run()
        self.assertTrue(self.successResultOf(after))

    def test_leftInTheQueue(self) -> None:
        """A question that nobody waits for any more is not asked; one that somebody waits for is."""
        busy = [self.checks.ask(self.threads, b"busy%d" % i, lambda: True) for i in range(THREADS)]
        gone = self.checks.ask(self.threads, b"gone", self.fail)
        shared = [self.checks.ask(self.threads, b"shared", lambda: True) for _ in range(2)]
        for each in (gone, shared[0]):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.threads.run()
        self.assertEqual(THREADS + 1, self.threads.asked)
        self.assertTrue(self.successResultOf(shared[1]))
        self.assertEqual([True] * THREADS, [self.successResultOf(each) for each in busy])

    def test_leftWhileRunning(self) -> None:
        """A thread that runs is not disturbed; who comes meanwhile shares its answer."""
        gone = self.checks.ask(self.threads, b"a", lambda: True)
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        late = self.checks.ask(self.threads, b"a", self.fail)
        self.threads.run()
        self.assertTrue(self.successResultOf(late))
        self.assertEqual(1, self.threads.asked)

    def test_noReactor(self) -> None:
        """Without a reactor the question is asked at once."""
        self.assertTrue(self.successResultOf(self.checks.ask(None, b"a", lambda: True)))
        self.failureResultOf(self.checks.ask(None, b"a", lambda: bool(1 / 0)), ZeroDivisionError)
