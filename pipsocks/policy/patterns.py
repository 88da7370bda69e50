"""
Patterns of hosts and networks, which rules and routes share: many are asked in one look at each.

A host is found by its own text and by that of each of its suffixes, an address by its prefix of each length that any
network has, so that it is of no matter how many patterns there are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from pipsocks.model import Address


class Hosts:
    """
    Patterns of names: ``a.example`` is that host, ``.a.example`` it and all below, ``*.a.example`` what is below alone.

    ``*`` is not among them: it is no pattern of names, since addresses match it too.
    """

    __slots__ = ("_below", "_exact")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._below: dict[str, str] = {}
        for pattern in patterns:
            if pattern.startswith("*."):
                self._below.setdefault(pattern[1:], pattern)
            elif pattern.startswith("."):
                self._below.setdefault(pattern, pattern)
                self._exact.setdefault(pattern[1:], pattern)
            else:
                self._exact[pattern] = pattern

    def find(self, name: str) -> str:
        """
        The pattern that `name` matches, the longest of several; empty where there is none.

        @param name: in lower case, without a dot at its end.
        """
        if found := self._exact.get(name):
            return found
        if self._below:
            dot = name.find(".", 1)
            while dot > 0:
                if found := self._below.get(name[dot:]):
                    return found
                dot = name.find(".", dot + 1)
        return ""


class Networks:
    """Networks, as `ipaddress` prints them."""

    __slots__ = ("_lengths",)

    def __init__(self, networks: Iterable[str]) -> None:
        lengths: dict[tuple[int, int], dict[int, str]] = {}  # by version and bits behind the prefix
        for text in networks:
            network = ipaddress.ip_network(text)
            behind = network.max_prefixlen - network.prefixlen
            lengths.setdefault((network.version, behind), {})[int(network.network_address) >> behind] = text
        # The fewest bits behind first: the narrowest network is told.
        self._lengths = sorted(lengths.items())

    def find(self, address: Address) -> str:
        """The narrowest network that `address` is in; empty where there is none."""
        number, ours = int(address), address.version
        for (version, behind), prefixes in self._lengths:
            if version == ours and (found := prefixes.get(number >> behind)):
                return found
        return ""
