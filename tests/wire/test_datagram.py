"""The header of a datagram, both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.datagram import Datagram, DatagramInvalid, decodeDatagram, encodeDatagram
from pipsocks.wire.names import NameInvalid

VECTORS = [
    (b"\x00\x00\x00\x01\xc0\x00\x02\x07\x00\x35", Datagram("192.0.2.7", 53, b"")),
    (b"\x00\x00\x00\x01\xc0\x00\x02\x07\x00\x35question", Datagram("192.0.2.7", 53, b"question")),
    (b"\x00\x00\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\xff\xffx", Datagram("2001:db8::1", 65_535, b"x")),
    (b"\x00\x00\x00\x03\x09a.example\x00\x01" + bytes(2000), Datagram("a.example", 1, bytes(2000))),
]


class DatagramTests(SynchronousTestCase):
    """`decodeDatagram` and `encodeDatagram`."""

    def test_bothWays(self) -> None:
        """Each address type, with data and without."""
        for raw, datagram in VECTORS:
            self.assertEqual(decodeDatagram(raw), datagram)
            self.assertEqual(encodeDatagram(datagram.host, datagram.port, datagram.data), raw)

    def test_spellings(self) -> None:
        """A name that spells an address is that address, and a name has one spelling."""
        for name, host in ((b"127.1", "127.0.0.1"), (b"2130706433", "127.0.0.1"), (b"::1", "::1"), (b"A.b.", "a.b")):
            raw = b"\x00\x00\x00\x03" + bytes([len(name)]) + name + b"\x00\x35x"
            self.assertEqual(decodeDatagram(raw), Datagram(host, 53, b"x"))

    def test_reservedOctets(self) -> None:
        """Nobody's business, as in a request."""
        self.assertEqual(decodeDatagram(b"\x12\x34" + VECTORS[1][0][2:]), VECTORS[1][1])

    def test_dropped(self) -> None:
        """Fragments, headers that are short, and addresses that are none."""
        whole = VECTORS[0][0]
        for raw, word in (
            *((whole[:length], "not whole") for length in range(len(whole))),
            (b"\x00\x00\x01" + whole[3:], "fragment"),
            (b"\x00\x00\x80", "fragment"),
            (whole[:-2] + b"\x00\x00", "port 0"),
            (b"\x00\x00\x00\x02" + bytes(20), "address type 2"),
            (b"\x00\x00\x00\x03\x00\x00\x35", "empty host name"),
            (b"\x00\x00\x00\x03\x03a b\x00\x35", "bad character"),
        ):
            self.assertIn(word, str(self.assertRaises(DatagramInvalid, decodeDatagram, raw)))

    def test_notCanonical(self) -> None:
        """What is no canonical host is not written."""
        self.assertRaises(NameInvalid, encodeDatagram, "127.1", 53, b"")

    @given(st.binary(max_size=300))
    def test_anything(self, raw: bytes) -> None:
        """Any octets are a datagram or dropped; what is read is written alike."""
        try:
            datagram = decodeDatagram(raw)
        except DatagramInvalid:
            return
        self.assertEqual(decodeDatagram(encodeDatagram(datagram.host, datagram.port, datagram.data)), datagram)
