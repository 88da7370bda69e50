"""What an endpoint description tells before anything is bound."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.settings import ListenerSettings, isLoopback, place


class PlaceTests(SynchronousTestCase):
    """The interface and the port of a description."""

    def test_known(self) -> None:
        """As Twisted reads it: by position and by name, with backslashes before colons."""
        for endpoint, expected in (
            ("tcp:1080", ("0.0.0.0", 1080)), ("tcp:port=9:backlog=5", ("0.0.0.0", 9)), ("tcp6:80", ("::", 80)),
            (r"tcp:1080:interface=\:\:1", ("::1", 1080)), ("tcp:1080:127.0.0.1", ("127.0.0.1", 1080)),
            ("tcp:0:interface=localhost", ("localhost", 0)),
            (r"tcp6:80:interface=fe80\:\:1%eth0", ("fe80::1%eth0", 80)),
            ("ssl:443:privateKey=a.pem:interface=10.0.0.1", ("10.0.0.1", 443)), ("ssl:443:a.pem", ("0.0.0.0", 443)),
        ):  # fmt: skip
            self.assertEqual(place(endpoint), expected, endpoint)

    def test_unknown(self) -> None:
        """What is known only once it is bound, and what is no description."""
        for endpoint in (
            "unix:/x",
            "systemd:domain=INET:name=x",
            "",
            ":",
            "tcp",
            "tcp:",
            "tcp:x",
            "tcp:²",
            "tcp:123456",
        ):
            self.assertIsNone(place(endpoint), endpoint)


class GuardTests(SynchronousTestCase):
    """No open proxy by accident."""

    def test_loopback(self) -> None:
        """All of 127.0.0.0/8, ::1, and the same in IPv6's disguise."""
        for host in ("127.0.0.1", "127.255.0.1", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST"):
            self.assertTrue(isLoopback(host), host)
        for host in ("0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0", "::ffff:10.0.0.1", "example.org", ""):
            self.assertFalse(isLoopback(host), host)

    def test_guarded(self) -> None:
        """A login or networks guard a listener that others reach."""
        bare = ListenerSettings("http", "tcp:1", source="--http")
        self.assertTrue(bare.isGuarded("127.0.0.1"))
        self.assertFalse(bare.isGuarded("0.0.0.0"))
        self.assertTrue(ListenerSettings("http", "tcp:1", auth=("x",)).isGuarded("::"))
        self.assertTrue(ListenerSettings("http", "tcp:1", clients=(ip_network("10.0.0.0/8"),)).isGuarded("::"))
        problem = bare.openProxyProblem("0.0.0.0:1")
        self.assertEqual(problem.where, "--http")
        for way in ("--auth", "--clients"):
            self.assertIn(way, problem.hint)

    def test_noSecretInRepr(self) -> None:
        """A checker's description may hold passwords."""
        self.assertNotIn("hunter2", repr(ListenerSettings("http", "tcp:1", auth=("memory:u:hunter2",))))
