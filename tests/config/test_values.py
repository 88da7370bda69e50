"""What a value of the file must be, and what a text of the command line becomes."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config import values
from pipsocks.config.places import Bypass, Client, Endpoint, HostText, ListenerText, NetworkText, Target
from pipsocks.config.values import (
    Amount,
    Auth,
    Count,
    Form,
    Hedge,
    Name,
    Seconds,
    Strategy,
    Text,
    Upstream,
    readNumber,
    readSwitch,
    readText,
    structure,
)
from pipsocks.config.wrong import Wrong
from pipsocks.model import Destination
from pipsocks.upstream.settings import STRATEGIES

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
    Upstream: [5, True, "", [], {}, {"chain": "direct"}],
    Amount: [True, "1", -1, -0.1, float("nan"), float("inf"), 10**7, [1], {}, None],
    Name: [5, True, "", "a b", "a/b", "\u00e9", "a" * 65, "a\n", [], {}],
    Strategy: [5, True, "", "Order", "roundrobin", [], {}],
    Hedge: [True, False, 1, "", "on", "AUTO", [], {}],
    HostText: [
        5, True, "", "10.0.0.0/8", "10.0.0.1", "::1", "a.example:80", "a..b", "**.x", "x.*", "private", "loopback",
        "a b", "127.1", "0x7f.1", "b\u00fc cher.example", "*\u00fc.example", "\uff11.\uff12", "*.", ".", "a" * 64,
        "\u00fc" * 60, "\udcfc.example", [], {},
    ],
    NetworkText: [
        5, True, "", "*", "a.example", "10.0.0.1/8", "10.0.0.0/33", "private", "127.1", "fe80::1%eth0", [], {},
    ],
    Bypass: [
        5, True, "", "a.example:80", "10.0.0.1:80", "10.0.0.1/8", "[::1]:80", "[a.example]", "private", "http://a",
        "a b", "**.x", [], {},
    ],
    ListenerText: [
        5, True, "", "SOCKS", "1080", ":1080", "::1:1080", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "a:1080",
        "[a]:1", "[127.0.0.1", "socks:127.0.0.1:1080", "127.1:80", [], {},
    ],
    Target: [
        5, True, "a.example", "a.example:", ":443", "a.example:0", "a.example:65536", "a.example:https",
        ".a.example:443", "*:443", "*.a:443", "::1:443", "[a.example]:443", "[:::]:443", "127.1:443", "a b:443",
        "u@a:443", "https://a:443", "a:\u0661", [], {},
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
    (Client, "::ffff:10.0.0.0/104", ip_network("10.0.0.0/8")),
    (Client, "::ffff:a00:5", ip_network("10.0.0.5/32")),
    (Client, "::ffff:0:0/96", ip_network("0.0.0.0/0")),
    (Client, "::fffe:0:0/95", ip_network("::fffe:0:0/95")),
    (Client, "::/0", ip_network("::/0")),
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
    (Amount, 0, 0.0),
    (Amount, 1, 1.0),
    (Amount, 0.5, 0.5),
    (Name, "hk-1.a_B", "hk-1.a_B"),
    *((Strategy, name, name) for name in STRATEGIES),
    (Hedge, "auto", True),
    (Hedge, "off", False),
    *((HostText, said, read) for said, read in (
        ("*", "*"), ("A.Example.", "a.example"), (".x.", ".x"), ("*.foo_bar.X", "*.foo_bar.x"), ("private.", "private"),
        ("privat", "privat"), ("r2---sn-x.example", "r2---sn-x.example"),
        ("B\u00dcCHER.Example.", "xn--bcher-kva.example"),
        (".b\u00fccher.example", ".xn--bcher-kva.example"), ("*.b\u00fccher.example", "*.xn--bcher-kva.example"),
        ("XN--bcher-kva.example", "xn--bcher-kva.example"),
    )),
    *((NetworkText, said, read) for said, read in (
        ("10.0.0.0/8", "10.0.0.0/8"), ("192.0.2.7", "192.0.2.7/32"), ("FD00:0::/8", "fd00::/8"), ("::1", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:192.0.2.7", "192.0.2.7/32"),
    )),
    *((Bypass, said, read) for said, read in (
        ("localhost", "localhost"), (".Corp.example", ".corp.example"), ("*.a.b", "*.a.b"), ("*", "*"),
        ("10.0.0.0/8", "10.0.0.0/8"), ("127.0.0.1", "127.0.0.1/32"), ("::1", "::1/128"), ("[::1]", "::1/128"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("[::ffff:10.0.0.1]", "10.0.0.1/32"),
        ("b\u00fccher.example", "xn--bcher-kva.example"), (".b\u00fccher.example", ".xn--bcher-kva.example"),
    )),
    *((ListenerText, said, read) for said, read in (
        ("socks", "socks"), ("http", "http"), ("127.0.0.1:01080", "127.0.0.1:1080"), ("[0:0::1]:1080", "[::1]:1080"),
        ("0.0.0.0:80", "0.0.0.0:80"),
    )),
    (Target, "", None),
    (Target, "Index.Example.:443", Destination("index.example", 443)),
    (Target, "b\u00fccher.example:443", Destination("xn--bcher-kva.example", 443)),
    (Target, "192.0.2.7:0443", Destination("192.0.2.7", 443)),
    (Target, "[2001:DB8:0::7]:443", Destination("2001:db8::7", 443)),
    (Target, "[::ffff:192.0.2.7]:443", Destination("::ffff:192.0.2.7", 443)),
]  # fmt: skip


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
            (Upstream, {"chain": "http://u:hunter2@h"}),
        ):
            self.assertNotIn("hunter2", str(self.assertRaises(Wrong, structure, value, kind)))
        self.assertNotIn("hunter2", repr(Upstream("http://u:hunter2@h")))

    def test_loginsAreNotShown(self) -> None:
        """A URL with a login in the place of any value is told without what stands before its host."""
        for kind in WRONG:
            for value in (
                "socks5://u:hunter2@a", "u:hunter2@a:1", "u:hunter2@a:1/", "hunter2@a:80", "hunter2@a:b@c",
                ["socks5://u:hunter2@a", "x"], {"x": "http://u:hunter2@a"}, "http://u:hunter2" + "x" * 60 + "@a",
            ):  # fmt: skip
                try:
                    structure(value, kind)
                except Wrong as wrong:
                    self.assertNotIn("hunter2", str(wrong) + wrong.hint, (kind, value))
        wrong = self.assertRaises(Wrong, structure, "socks5://u:hunter2@a", Strategy)
        self.assertEqual(str(wrong), "'***@a' is no strategy")

    def test_mappedBits(self) -> None:
        """A mapped network with bits set behind its prefix is told what to write, as any other is."""
        wrong = self.assertRaises(Wrong, structure, "::ffff:10.0.0.1/104", Client)
        self.assertEqual(wrong.hint, "write 10.0.0.0/8, or ::ffff:10.0.0.1 for one address")

    def test_wherePatternsBelong(self) -> None:
        """Who writes a network among hosts, or the other way round, is told where it belongs."""
        for kind, value, words in (
            (HostText, "10.0.0.0/8", "network = "), (NetworkText, "a.example", "host = "),
            (NetworkText, "*", "host = "), (HostText, "private", "private."),
            (Bypass, "a.example:8080", "port = [8080]"), (Strategy, "roundrobin", "did you mean round-robin?"),
        ):  # fmt: skip
            self.assertIn(words, self.assertRaises(Wrong, structure, value, kind).hint)

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
