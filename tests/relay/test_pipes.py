"""The pool of pipes."""

from __future__ import annotations

import fcntl
import os
import resource

from twisted.trial.unittest import TestCase

from pipsocks.relay.pipes import KEPT, Pipes
from tests.relay.rig import descriptors, noMoreDescriptors


class PipesTests(TestCase):
    """Pipes are lent empty, and few are kept."""

    skip = None if hasattr(os, "splice") else "this system has no splice()"

    def test_handful(self) -> None:
        """However many were lent, a handful stays open."""
        pipes = Pipes()
        before = descriptors()
        lent = [pipes.take() for _ in range(20)]
        for pipe in lent:
            assert pipe is not None
            pipes.give(pipe)
        self.assertEqual(descriptors(), before + 2 * KEPT)
        again = [pipes.take() for _ in range(KEPT)]
        self.assertTrue(set(again) <= set(lent))
        for pipe in again:
            assert pipe is not None
            pipes.spoil(pipe)
        self.assertEqual(descriptors(), before)

    def test_none(self) -> None:
        """Out of descriptors there is none, and no error."""
        limits = noMoreDescriptors()
        try:
            self.assertIsNone(Pipes().take())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def test_smallOnes(self) -> None:
        """A user who may not have large pipes gets small ones."""

        def refuse(*args: object) -> int:
            raise PermissionError(1, "Operation not permitted")

        self.patch(fcntl, "fcntl", refuse)
        pipes = Pipes()
        pipe = pipes.take()
        assert pipe is not None
        os.write(pipe[1], b"x")
        self.assertEqual(os.read(pipe[0], 10), b"x")
        pipes.spoil(pipe)
