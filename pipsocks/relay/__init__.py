"""Two legs joined until both directions are done."""

from pipsocks.relay.relays import Relays

__all__ = ["Relays"]
