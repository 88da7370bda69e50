"""What a value of the file must be, and what a text of the command line becomes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config import values
from pipsocks.config.values import (
    Auth,
    Client,
    Count,
    Endpoint,
    Form,
    Seconds,
    Text,
    Upstream,
    Wrong,
    readNumber,
    readSwitch,
    readText,
    structure,
)

WRONG: dict[Any, list[object]] = {
    Seconds: [True, False, "8", "", 0, 0.0, -1, float("nan"), float("inf"), 10**400, 1e10, [8], {}, None],
    Count: [True, "8", 8.0, 8.9, 0, -8, 10**7, [8], {}, None],
    bool: ["off", "true", "", 0, 1, 1.0, [], {}, None],
    Text: [5, True, "", "a\0b", [], {}],
    Form: ["xml", "", "TEXT", True, 1, []],
    Auth: [5, True, "a\0b", {}, ["x"]],
    Client: [
        5, True, "", "x", "10.0.0.0/33", "10.0.0.1/8", "fe80::1%eth0", "10.0.0.0/255.0.0.0", "١.1.1.1", "::1/8", [],
    ],
    Endpoint: [
        5, True, "", "x", "65536", "99999999", "1.2.3:80", "256.1.1.1:80", "[::1:80", "[1]:80", ":80", "*:80", "²",
        "localhost:80", "+80", "8_0", "haproxy:tcp:80", "a\0:b", [], {},
    ],
    Upstream: [
        5, True, "", [], {}, {"chain": ""}, {"chain": 5}, {"name": "x"}, {"chain": "direct", "name": ""},
        {"chain": "direct", "name": 5}, {"chain": "direct", "name": "a b"}, {"chain": "direct", "tier": 2},
    ],
}  # fmt: skip

RIGHT: list[tuple[Any, object, object]] = [
    (Seconds, 8, 8.0),
    (Seconds, 0.5, 0.5),
    (Count, 1, 1),
    (bool, True, True),
    (bool, False, False),
    (Text, "x y", "x y"),
    (Form, "json", "json"),
    (Auth, "memory:a:b", "memory:a:b"),
    (Client, "10.0.0.0/8", ip_network("10.0.0.0/8")),
    (Client, "10.0.0.5", ip_network("10.0.0.5/32")),
    (Client, "fd00::/8", ip_network("fd00::/8")),
    (Endpoint, "off", "off"),
    (Endpoint, "1080", "tcp:1080:interface=127.0.0.1"),
    (Endpoint, "0", "tcp:0:interface=127.0.0.1"),
    (Endpoint, "01080", "tcp:1080:interface=127.0.0.1"),
    (Endpoint, "127.0.0.2:1080", "tcp:1080:interface=127.0.0.2"),
    (Endpoint, "0.0.0.0:1080", "tcp:1080:interface=0.0.0.0"),
    (Endpoint, "[::1]:1080", r"tcp:1080:interface=\:\:1"),
    (Endpoint, "[0:0::1]:1080", r"tcp:1080:interface=\:\:1"),
    (Endpoint, "tcp:1080", "tcp:1080"),
    (Endpoint, "unix:/run/x.sock:mode=600", "unix:/run/x.sock:mode=600"),
    (Endpoint, "systemd:domain=INET:name=socks", "systemd:domain=INET:name=socks"),
    (Upstream, "direct", Upstream("direct")),
    (Upstream, {"chain": "direct"}, Upstream("direct")),
    (Upstream, {"chain": "http://a:1", "name": "office-1"}, Upstream("http://a:1", "office-1")),
]


class StructureTests(SynchronousTestCase):
    """Types are exact."""

    def test_wrong(self) -> None:
        """Each is refused in one printable line, with a hint."""
        for kind, wrong in WRONG.items():
            for value in wrong:
                error = self.assertRaises(Wrong, structure, value, kind)
                self.assertTrue(error.hint and str(error).isprintable() and str(error).isascii(), (kind, value, error))
                self.assertLess(len(str(error)), 120)

    def test_right(self) -> None:
        """And these are taken."""
        for kind, value, expected in RIGHT:
            found = structure(value, kind)
            self.assertEqual((found, type(found)), (expected, type(expected)), value)

    def test_secretsAreNotShown(self) -> None:
        """A chain or a login in a wrong shape may hold a password, and is not repeated."""
        for kind, value in (
            (Upstream, ["http://u:hunter2@h"]),
            (Auth, {"x": "hunter2"}),
            (Upstream, {"chain": {"a": "hunter2"}}),
        ):
            self.assertNotIn("hunter2", str(self.assertRaises(Wrong, structure, value, kind)))
        self.assertNotIn("hunter2", repr(Upstream("http://u:hunter2@h")))

    def test_unquotedPort(self) -> None:
        """Who writes a port as a number is told of the quotes."""
        self.assertIn('"1080"', self.assertRaises(Wrong, structure, 1080, Endpoint).hint)


class ReadTests(SynchronousTestCase):
    """The texts of flags and variables."""

    def test_numbers(self) -> None:
        """ASCII digits only, no sign, no exponent, no grouping; the rest is left to be refused."""
        self.assertEqual([readNumber("8"), readNumber("0.5"), readNumber("8.0")], [8, 0.5, 8.0])
        for odd in ("+8", "-8", "8_0", "1e3", "nan", "inf", " 8", "8 ", "²", "٨", "", ".5", "8.", "0x8", "8\n"):
            self.assertIs(readNumber(odd), odd)

    def test_switches(self) -> None:
        """The words that people write into variables."""
        self.assertEqual([readSwitch(word) for word in ("true", "YES", "On", "1")], [True] * 4)
        self.assertEqual([readSwitch(word) for word in ("False", "no", "off", "0")], [False] * 4)
        self.assertEqual(readSwitch("maybe"), "maybe")

    @given(st.text())
    def test_anyText(self, text: str) -> None:
        """No text whatever is more than refused."""
        for kind in WRONG:
            for read in (readNumber, readSwitch, readText):
                try:
                    structure(read(text), kind)
                except Wrong as wrong:
                    self.assertTrue(str(wrong).isprintable())


class LimitTests(SynchronousTestCase):
    """The largest values."""

    def test_limits(self) -> None:
        """Just as large as the limit is right."""
        self.assertEqual(structure(values.LONGEST, Seconds), values.LONGEST)
        self.assertEqual(structure(values.MOST, Count), values.MOST)
