"""Who may go where, as a session needs to know it: what `pipsocks.policy` is asked."""

from __future__ import annotations

from typing import Protocol

from pipsocks.model import Destination
from pipsocks.refusal import Refusal


class Judge(Protocol):
    """Tells where one client may go: each verdict is the refusal to tell it, or None for yes."""

    def before(self, destination: Destination) -> Refusal | None:
        """On what was asked for, before anything is looked up or dialled."""

    def at(self, destination: Destination, address: str) -> Refusal | None:
        """On the very address that is dialled for it."""

    def afar(self, destination: Destination) -> Refusal | None:
        """On a name that is looked up by a hop."""


class Guard(Protocol):
    """Knows each client's judge."""

    def judge(self, client: str) -> Judge:
        """The judge of the client at that address, which is empty over a unix socket."""
