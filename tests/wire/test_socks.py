"""The address field, both ways."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socks import AddressTypeUnknown, decodeAddress, encodeAddress, packHost

FIELDS = [
    ("192.0.2.7", 80, b"\x01\xc0\x00\x02\x07\x00\x50"),
    ("2001:db8::1", 443, b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb"),
    ("a.example", 65_535, b"\x03\x09a.example\xff\xff"),
    ("a" * 63 + ".b", 0, b"\x03\x41" + b"a" * 63 + b".b\x00\x00"),
]


class AddressTests(TestCase):
    """`encodeAddress` and `decodeAddress`."""

    def test_bothWays(self) -> None:
        """Each field is written and read alike, at any offset, and not before it is whole."""
        for host, port, field in FIELDS:
            self.assertEqual(field, encodeAddress(host, port))
            address = decodeAddress(b"\x05\x00\x00" + field + b"behind", 3)
            assert address is not None
            self.assertEqual((host, port, 3 + len(field)), (address.host, address.port, address.end))
            for length in range(len(field)):
                self.assertIsNone(decodeAddress(field[:length]))

    def test_literalName(self) -> None:
        """A name that spells an address is that address."""
        for name, host in ((b"127.1", "127.0.0.1"), (b"::1", "::1"), (b"0x7f000001", "127.0.0.1")):
            address = decodeAddress(bytes([3, len(name)]) + name + b"\x00\x50")
            assert address is not None
            self.assertEqual(host, address.host)

    def test_badName(self) -> None:
        """A name that is none is told from an address, and only when its host is asked for."""
        for name in (b"", b"a\x00b", b"a b"):
            address = decodeAddress(bytes([3, len(name)]) + name + b"\x00\x50")
            assert address is not None
            self.assertEqual(name, address.raw)
            self.assertRaises(NameInvalid, getattr, address, "host")

    def test_unknownType(self) -> None:
        """Any other address type is an error as soon as its octet is there."""
        for kind in (0, 2, 5, 255):
            self.assertRaises(AddressTypeUnknown, decodeAddress, bytes([kind]))

    def test_notCanonical(self) -> None:
        """What is no canonical host is not written."""
        for host in ("", "é.example", "１", "127.1", "a:b", "::1%lo", "::1\x00", "1\x00.1", "a" * 256, "\udc80"):
            self.assertRaises(NameInvalid, packHost, host)

    @given(st.binary(max_size=300))
    def test_anything(self, data: bytes) -> None:
        """Any octets give an address, None or the one error."""
        try:
            address = decodeAddress(data)
        except AddressTypeUnknown:
            return
        if address is not None:
            self.assertTrue(address.end <= len(data))
