"""Tests for `pipsocks.testing.content` and `pipsocks.testing.events`."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing import Content, Events
from pipsocks.testing.content import BLOCK
from pipsocks.testing.events import lines, nowhere


class ContentTests(SynchronousTestCase):
    """What an origin serves."""

    @given(st.integers(0, 3 * BLOCK), st.integers(0, 3 * BLOCK + 100), st.integers(0, 3 * BLOCK + 100))
    def test_anyOffset(self, size: int, start: int, stop: int) -> None:
        """A part is that part of the whole."""
        content = Content("a", size)
        assert content.read(start, stop) == content.all()[start:stop]

    def test_differs(self) -> None:
        """Two seeds, and two blocks, have nothing in common; the digest is that of all bytes."""
        one, other = Content("a", 3 * BLOCK), Content("b", 3 * BLOCK)
        self.assertEqual(len(one.all()), 3 * BLOCK)
        self.assertNotEqual(one.read(100, 200), other.read(100, 200))
        self.assertNotEqual(one.read(0, BLOCK), one.read(BLOCK, 2 * BLOCK))
        self.assertEqual(one.digest, hashlib.sha256(one.all()).hexdigest())


class EventsTests(SynchronousTestCase):
    """The logs."""

    def test_kept(self) -> None:
        """The newest events are kept, and can be waited for."""
        clock = Clock()
        events = Events(clock, limit=3)
        waiting = Deferred.fromCoroutine(events.until("b", 2))
        for number in range(3):
            events("b", {"number": number})
            events("a", {})
        self.assertNoResult(waiting)
        clock.advance(0)
        self.assertEqual(self.successResultOf(waiting), [{"number": 2}])
        self.assertEqual(events.names, ["a", "b", "a"])
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(events.until("a", 2))), [{}, {}])

    def test_lines(self) -> None:
        """One JSON object a line, with the time since the start; nothing of a client's gets out of its line."""
        clock, written = Clock(), []
        log = lines(written.append, clock.seconds, listener="hk1")
        clock.advance(1.5)
        log("request", {"host": "a\n\x1b\u2028"})
        self.assertTrue(written[0].isascii() and written[0].isprintable(), written)
        self.assertEqual(
            json.loads(written[0]), {"event": "request", "ms": 1500.0, "listener": "hk1", "host": "a\n\x1b\u2028"}
        )
        nowhere("request", {})
