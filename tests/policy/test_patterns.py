"""Patterns of hosts and networks, many in one look."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.policy.patterns import Hosts, Networks

LABELS = st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.tuples(st.sampled_from(["", ".", "*."]), LABELS).map("".join)
ADDRESSES = st.ip_addresses(network="10.0.0.0/28") | st.ip_addresses(network="fd00::/124") | st.ip_addresses()


def matches(pattern: str, name: str) -> bool:
    """What a pattern says, word by word."""
    if pattern.startswith("*."):
        return name.endswith(pattern[1:])
    if pattern.startswith("."):
        return name == pattern[1:] or name.endswith(pattern)
    return name == pattern


class HostsTests(SynchronousTestCase):
    """Names."""

    def test_forms(self) -> None:
        """A host; it and all below; what is below alone. No part of a label counts."""
        hosts = Hosts(["a.example", ".b.example", "*.c.example"])
        for name, found in (
            ("a.example", "a.example"), ("x.a.example", ""), ("b.example", ".b.example"), ("x.b.example", ".b.example"),
            ("y.x.b.example", ".b.example"), ("c.example", ""), ("x.c.example", "*.c.example"), ("xb.example", ""),
            ("example", ""), ("", ""),
        ):  # fmt: skip
            self.assertEqual(hosts.find(name), found, name)

    def test_longest(self) -> None:
        """Of several patterns the longest is told."""
        hosts = Hosts([".example", "*.b.example", "a.b.example"])
        self.assertEqual([hosts.find(n) for n in ("a.b.example", "x.b.example", "b.example")],
                         ["a.b.example", "*.b.example", ".example"])  # fmt: skip
        self.assertEqual(Hosts([".a", "a"]).find("a"), "a")

    def test_none(self) -> None:
        """Without patterns nothing is found."""
        self.assertEqual(Hosts([]).find("a.example"), "")

    @given(st.lists(PATTERNS, max_size=6), LABELS)
    def test_sameAsOneByOne(self, patterns: list[str], name: str) -> None:
        """What is found matches, and something is found whenever something does."""
        found = Hosts(patterns).find(name)
        self.assertEqual(bool(found), any(matches(pattern, name) for pattern in patterns))
        self.assertTrue(not found or (found in patterns and matches(found, name)))


class NetworksTests(SynchronousTestCase):
    """Addresses."""

    def test_narrowest(self) -> None:
        """Of several networks the narrowest is told; families do not mix."""
        networks = Networks(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "::/0"])
        for address, found in (
            ("10.1.2.3", "10.1.2.3/32"), ("10.1.2.4", "10.1.0.0/16"), ("10.2.0.1", "10.0.0.0/8"), ("11.0.0.1", ""),
            ("fd00::1", "::/0"), ("::a01:203", "::/0"),
        ):  # fmt: skip
            self.assertEqual(networks.find(ipaddress.ip_address(address)), found, address)

    @given(
        st.lists(st.tuples(ADDRESSES, st.integers(0, 128)), max_size=6),
        ADDRESSES,
    )
    def test_sameAsOneByOne(
        self, said: list[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]], address: ipaddress.IPv4Address
    ) -> None:
        """As `ipaddress` has it."""
        networks = [
            ipaddress.ip_network((each, min(length, each.max_prefixlen)), strict=False) for each, length in said
        ]
        within = [each for each in networks if each.version == address.version and address in each]
        found = Networks(map(str, networks)).find(address)
        self.assertEqual(found, str(max(within, key=lambda each: each.prefixlen)) if within else "")
