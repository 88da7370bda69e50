"""The guard's class "own"."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from pipsocks.policy.own import OwnAddresses


class OwnAddressesTests(TestCase):
    """Which destinations are ourselves."""

    def test_bound(self) -> None:
        """The address and port of a listener, in IPv6 disguise too; nothing else."""
        own = OwnAddresses()
        own.add("127.0.0.1", 1080)
        self.assertTrue(own("127.0.0.1", 1080))
        self.assertTrue(own("::ffff:127.0.0.1", 1080))
        self.assertTrue(own("0.0.0.0", 1080))
        self.assertFalse(own("127.0.0.1", 1081))
        self.assertFalse(own("127.0.0.2", 1080))
        self.assertFalse(own("0.0.0.0", 81))

    def test_wildcard(self) -> None:
        """A listener on every address is met at each of the machine's, and at no other machine's."""
        own = OwnAddresses()
        own.add("0.0.0.0", 1080)
        self.assertTrue(own("127.0.0.9", 1080))
        self.assertFalse(own("192.0.2.1", 1080))
        self.assertFalse(own("127.0.0.9", 1081))
