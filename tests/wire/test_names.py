"""Hosts and ports in every spelling."""

from __future__ import annotations

import ipaddress
import socket

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from pipsocks.wire.names import NameInvalid, parseHost, parsePort

NAMES = [
    (b"a", "a"),
    (b"files.example", "files.example"),
    (b"Foo_Bar.EXAMPLE", "foo_bar.example"),
    (b"r2---sn-x.example", "r2---sn-x.example"),
    (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
    (b"a.example.", "a.example"),
    (b"1.example", "1.example"),
    (b"1.2.3.4x", "1.2.3.4x"),
    (b"4.3.2.1.in-addr.arpa", "4.3.2.1.in-addr.arpa"),
    (b"0xg", "0xg"),
    (b"-", "-"),
    (b"a" * 63 + b".b", "a" * 63 + ".b"),
    (b".".join([b"a" * 63] * 4), ".".join(["a" * 63] * 4)),
]

ADDRESSES = [
    (b"127.0.0.1", "127.0.0.1"),
    (b"1.2.3.4.", "1.2.3.4"),
    (b"127.1", "127.0.0.1"),
    (b"1.2.3", "1.2.0.3"),
    (b"10.65536", "10.1.0.0"),
    (b"0x7f.1", "127.0.0.1"),
    (b"0X7F.0x1", "127.0.0.1"),
    (b"0177.1", "127.0.0.1"),
    (b"2130706433", "127.0.0.1"),
    (b"0x7f000001", "127.0.0.1"),
    (b"017700000001", "127.0.0.1"),
    (b"00.00.00.00", "0.0.0.0"),
    (b"0", "0.0.0.0"),
    (b"0x", "0.0.0.0"),
    (b"4294967295", "255.255.255.255"),
    (b"::1", "::1"),
    (b"0:0:0:0:0:0:0:1", "::1"),
    (b"2001:DB8::A", "2001:db8::a"),
    (b"::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    (b"::ffff:7f00:1", "::ffff:127.0.0.1"),
    (b"::", "::"),
]

UNICODE = [
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.EXAMPLE.", "xn--bcher-kva.example"),
    ("faß.example", "xn--fa-hia.example"),
    ("ΣΑΣ.example", "xn--mxa9ab.example"),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ("１２７．１", "127.0.0.1"),
    ("ｅｘａｍｐｌｅ", "example"),
    ("bü\u00adcher.example", "xn--bcher-kva.example"),
    ("Kelvin.example", "kelvin.example"),
]

INVALID = [
    b"",
    b".",
    b"..",
    b".a",
    b"a..b",
    b"a.b..",
    b"1.2.3.4..",
    b"a b",
    b" a",
    b"a\n",
    b"a\x00b",
    b"a\x7f",
    b"a\tb",
    b"a/b",
    b"a%41",
    b"a@b",
    b"[::1]",
    b"a" * 64,
    b"a" * 256,
    b"a." * 128,
    b"08.1",
    b"1.2.3.09",
    b"1.2.3.256",
    b"256.2.3.4",
    b"1.16777216",
    b"1.2.3.4.5",
    b"4294967296",
    b"foo.1",
    b"foo.0x1f",
    b"0xg.1",
    b"1..1",
    b"1.2.3.4\n",
    b"1:2",
    b":",
    b"fe80::1%eth0",
    b"::1\x00",
    b"1:2:3:4:5:6:7:8:9",
    b"\xff",
    b"\xc0\x80",
    "\u00ad".encode(),
    "a\u200db".encode(),
    "é\u00a0".encode(),
    "é\u0085".encode(),
    "é/x".encode(),
    "\u2100.example".encode(),
    "a\u0338\u0301=é".encode(),
    "\u0301a".encode(),
    "xn--é".encode(),
    "é:1".encode(),
    "é".encode() * 60,
    "é.1".encode(),
]


class HostTests(TestCase):
    """What `parseHost` makes of a host."""

    def test_names(self) -> None:
        """Names pass in lower case, without the root's dot, odd but real ones too."""
        for raw, text in NAMES:
            self.assertEqual(text, parseHost(raw), raw)

    def test_addresses(self) -> None:
        """An address is that address in every spelling."""
        for raw, text in ADDRESSES:
            self.assertEqual(text, parseHost(raw), raw)

    def test_ulabels(self) -> None:
        """U-labels in UTF-8 become the A-labels that browsers make of them."""
        for typed, text in UNICODE:
            self.assertEqual(text, parseHost(typed.encode()), typed)

    def test_invalid(self) -> None:
        """Nothing else passes, and the error repeats nothing of it."""
        for raw in INVALID:
            error = self.assertRaises(NameInvalid, parseHost, raw)
            self.assertTrue(str(error).isascii() and str(error).isprintable(), raw)

    def test_growth(self) -> None:
        """A name that its A-labels make too long is refused."""
        raw = ".".join(["é" * 20] * 6).encode()
        self.assertTrue(len(raw) <= 255)
        label = parseHost(("é" * 20).encode())
        self.assertEqual(".".join([label] * 6), parseHost(raw))
        many = ".".join(["é"] * 85).encode()
        self.assertTrue(len(many) <= 255)
        self.assertRaises(NameInvalid, parseHost, many)

    def test_longInput(self) -> None:
        """An overlong host is refused without being searched."""
        for raw in (b"1." * 500_000, b"a" * 1_000_000, b":" * 1_000_000):
            self.assertRaises(NameInvalid, parseHost, raw)

    @given(st.binary(max_size=300) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def test_anything(self, raw: bytes) -> None:
        """Any octets give a canonical host, which is its own, or `NameInvalid`."""
        try:
            host = parseHost(raw)
        except NameInvalid:
            return
        self.assertTrue(host.isascii() and 1 <= len(host) <= 255)
        self.assertEqual(host, parseHost(host.encode()))

    @given(st.text(alphabet="0123456789abcdefxX.", max_size=24))
    def test_numbers(self, text: str) -> None:
        """What the C library reads as an address is never a name here."""
        try:
            packed = socket.inet_aton(text)
        except OSError:
            return
        self.assertEqual(socket.inet_ntoa(packed), parseHost(text.encode()))

    @given(st.ip_addresses())
    def test_literals(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        """Addresses as Python prints them stay the same address, and only one text of each."""
        host = parseHost(str(address).encode())
        self.assertEqual(address, ipaddress.ip_address(host))
        self.assertEqual(host, parseHost(address.exploded.encode()))


class PortTests(TestCase):
    """What `parsePort` takes."""

    def test_ports(self) -> None:
        """One to five ASCII digits from 1 to 65535."""
        for raw, port in ((b"1", 1), (b"80", 80), (b"0080", 80), (b"65535", 65_535)):
            self.assertEqual(port, parsePort(raw))

    def test_invalid(self) -> None:
        """Nothing that int() would take beside them."""
        for raw in (b"", b"0", b"00000", b"65536", b"000080", b"+80", b"-1", b"8_0", b" 80", b"80\n", b"\xb2", b"8.0"):
            self.assertRaises(NameInvalid, parsePort, raw)
