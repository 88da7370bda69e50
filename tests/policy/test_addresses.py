"""Which class an address is of, and where a connection to it ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.policy.addresses import classOf, meant, parsed

SPELT = {
    "127.0.0.1": ["127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:7f00:1::9",
                  "2001:0:4136:e378:8000:63bf:80ff:fffe", "0.0.0.0", "::ffff:0.0.0.0", "64:ff9b::"],
    "10.1.2.3": ["::ffff:10.1.2.3", "::10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::1"],
    "::1": ["::1", "::", "::1%lo"],
    "169.254.169.254": ["::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"],
    "8.8.8.8": ["::ffff:8.8.8.8", "64:ff9b::808:808"],
    "fe80::1": ["fe80::1%eth0"],
    "2606:4700::1": ["2606:4700::1"],
}  # fmt: skip

CLASSES = {
    "loopback": ["127.0.0.1", "127.255.255.255", "::1"],
    "link-local": ["169.254.169.254", "fe80::1", "febf::1"],
    "private": ["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
                "fec0::1"],
    "cgnat": ["100.64.0.0", "100.127.255.255"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved": ["0.0.0.1", "192.0.2.7", "198.18.0.1", "198.51.100.1", "203.0.113.1", "240.0.0.1", "255.255.255.255",
                 "192.0.0.1", "192.88.99.1", "2001:db8::1", "2001:2::1", "3fff::1", "100::1", "64:ff9b:1::1",
                 "4000::1"],
    "": ["8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1",
         "169.253.0.1", "192.167.0.1", "223.255.255.255", "2606:4700::1", "2001:200::1", "2a00::1", "3ffe::1"],
}  # fmt: skip


class AddressesTests(SynchronousTestCase):
    """`meant` and `classOf`."""

    def test_meant(self) -> None:
        """However an address is disguised, it is known."""
        for address, spellings in SPELT.items():
            for spelt in spellings:
                self.assertEqual(str(meant(parsed(spelt))), address, spelt)

    def test_classes(self) -> None:
        """The edges of each class."""
        for kind, addresses in CLASSES.items():
            for address in addresses:
                self.assertEqual(classOf(meant(parsed(address))), kind, address)

    @given(st.ip_addresses())
    def test_everyAddress(self, address: object) -> None:
        """Every address is of some class or of none, and what it means means itself."""
        end = meant(parsed(str(address)))
        self.assertEqual(end, meant(end))
        self.assertIn(classOf(end), CLASSES)
