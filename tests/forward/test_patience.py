"""How long nothing may happen."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.forward.patience import Patience


class PatienceTests(SynchronousTestCase):
    """A stopwatch that is started anew by whatever happens."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.over: list[float] = []
        self.patience = Patience(self.clock, lambda: self.over.append(self.clock.seconds()))  # type: ignore[arg-type]

    def test_quiet(self) -> None:
        """It ends after 120 s."""
        self.clock.pump([1] * 300)
        self.assertEqual(self.over, [120])
        self.patience.stop()

    def test_touch(self) -> None:
        """Something that happens begins them anew, to the second."""
        self.clock.advance(119)
        self.patience.touch()
        self.clock.pump([1] * 300)
        self.assertEqual(self.over, [239])

    def test_waiting(self) -> None:
        """The client has an hour; then it is 120 s again."""
        self.patience.wait(True)
        self.clock.pump([1] * 3000)
        self.patience.wait(False)
        self.clock.pump([1] * 300)
        self.assertEqual(self.over, [3120])
        patience = Patience(self.clock, lambda: self.over.append(self.clock.seconds()))  # type: ignore[arg-type]
        patience.wait(True)
        self.clock.pump([1] * 4000)
        self.assertEqual(self.over[1] - 3300, 3600)

    def test_stop(self) -> None:
        """Nothing is left of it when it is stopped."""
        self.patience.stop()
        self.patience.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
