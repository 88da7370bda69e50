"""UDP ASSOCIATE: a relay of datagrams with a life of its own, which ends with its client's TCP connection."""

from pipsocks.udp.association import Associations

__all__ = ["Associations"]
