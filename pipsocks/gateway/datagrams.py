"""A way out for datagrams, as an association needs it: what a chain gives, and what it is given."""

from __future__ import annotations

from typing import Protocol

from pipsocks.model import Destination


class Inlet(Protocol):
    """The client's side."""

    def came(self, host: str, port: int, data: bytes) -> None:
        """A datagram for the client came from there."""

    def sent(self, size: int) -> None:
        """A datagram of the client's, of so many bytes, went out."""

    def dropped(self, count: int = 1) -> None:
        """So many datagrams went nowhere."""

    def over(self) -> None:
        """The way out has ended."""


class Outlet(Protocol):
    """The way out. It judges each datagram by itself."""

    def send(self, destination: Destination, data: bytes) -> None:
        """Send a datagram, sooner or later or not at all; the inlet is told."""

    def close(self) -> None:
        """The association is over, or never came to be."""
