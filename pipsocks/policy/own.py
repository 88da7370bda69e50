"""The guard's class "own": the addresses of our own listeners, which nobody may reach through us."""

from __future__ import annotations

import errno
import ipaddress
import socket

import attrs


@attrs.define
class OwnAddresses:
    """Filled once the listeners are bound; asked with the very address that is about to be dialled."""

    _bound: set[tuple[str, int]] = attrs.field(factory=set, init=False)
    _ports: set[int] = attrs.field(factory=set, init=False)
    _wildcardPorts: set[int] = attrs.field(factory=set, init=False)

    def add(self, host: str, port: int) -> None:
        """A listener is bound to `host` (an address) and `port`."""
        if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
            self._wildcardPorts.add(port)
        self._bound.add((host, port))
        self._ports.add(port)

    def __call__(self, host: str, port: int) -> bool:
        """Whether a connection to `host` (a literal address) and `port` would be one to ourselves."""
        if port not in self._ports:  # nearly always, and an address takes time to read
            return False
        address = ipaddress.ip_address(host.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if (str(address), port) in self._bound:
            return True
        # The unspecified address as a destination means this machine.
        if address.is_unspecified:
            return any(port == bound for _, bound in self._bound)
        return port in self._wildcardPorts and _isLocal(address)


def _isLocal(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """
    Whether the machine has that address: only then can a socket be bound to it.

    Where there is not even a descriptor to ask with, the answer is yes: the dial would fail all the same.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        probe = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    with probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
