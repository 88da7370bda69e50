"""How much may come into a tunnel."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.upstream.sshdata import Malformed
from pipsocks.upstream.sshwindow import PORTION, WINDOW, WINDOW_LIMIT, Window


class WindowTests(SynchronousTestCase):
    """What is granted, to whom."""

    def take(self, window: Window, count: int) -> int:
        """So many octets come and are taken at once; what is granted then."""
        window.take(count)
        return window.grant()

    def test_keepsUp(self) -> None:
        """Half of it has to be used first; then it doubles, to a limit."""
        window, left, granted = Window(), WINDOW, []
        self.assertEqual(0, self.take(window, WINDOW // 2 - 1))
        left -= WINDOW // 2 - 1
        for _ in range(10):
            use = left // 2 + 1
            grant = self.take(window, use)
            left += grant - use
            granted.append(left)
        self.assertEqual(2 * WINDOW, granted[0])
        self.assertEqual(WINDOW_LIMIT, granted[-1])

    def test_slow(self) -> None:
        """Of a reader who lets half of the smallest pile up it stays; what is more than that makes it small again."""
        window = Window()
        window.take(WINDOW)
        window.hold(bytes(WINDOW // 2 + 1))
        while window.held:
            window.portion()
        self.assertEqual(WINDOW, window.grant())
        self.assertEqual(2 * WINDOW, self.take(window, WINDOW))
        window.take(2 * WINDOW)
        window.hold(bytes(WINDOW + 1))
        self.assertEqual(WINDOW, window.grant())

    def test_shrinksInTime(self) -> None:
        """One that is to become smaller than what may still come is left as it is until that has come."""
        window = Window()
        while self.take(window, WINDOW // 4) < WINDOW_LIMIT // 2:
            pass
        window.take(WINDOW_LIMIT // 2)
        window.hold(bytes(WINDOW + 1))
        self.assertEqual(0, window.grant())
        self.assertEqual(0, self.take(window, WINDOW_LIMIT // 2 - WINDOW))
        self.assertEqual(2 * WINDOW, self.take(window, WINDOW))

    def test_held(self) -> None:
        """What is held is given in portions, in order."""
        window = Window()
        window.hold(b"a" * PORTION)
        window.hold(b"bc")
        self.assertEqual((b"a" * PORTION, b"bc", b""), (window.portion(), window.portion(), window.portion()))

    def test_tooMuch(self) -> None:
        """More than there is room for makes no sense."""
        window = Window()
        window.take(WINDOW)
        self.assertRaises(Malformed, window.take, 1)
