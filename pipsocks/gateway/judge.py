"""Who may go where, as a session needs to know it: what `pipsocks.policy` is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

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


@attrs.frozen
class Confined:
    """A `judge` who lets nobody dial a name at an address where its route does not hold: it may have changed."""

    _judge: Judge
    _holdsAt: Callable[[str], bool]

    def before(self, destination: Destination) -> Refusal | None:
        """See `Judge`."""
        return self._judge.before(destination)

    def at(self, destination: Destination, address: str) -> Refusal | None:
        """See `Judge`."""
        refusal = self._judge.at(destination, address)
        if refusal is None and not self._holdsAt(address):
            return Refusal("PS-RU03", where=str(destination))
        return refusal

    def afar(self, destination: Destination) -> Refusal | None:
        """See `Judge`."""
        return self._judge.afar(destination)


class Guard(Protocol):
    """Knows each client's judge."""

    def judge(self, client: str) -> Judge:
        """The judge of the client at that address, which is empty over a unix socket."""
