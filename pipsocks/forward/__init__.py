"""Plain HTTP forwarding: connections to origins and HTTP hops, and when a request is sent a second time."""

from pipsocks.forward.exchange import Forward, Origins

__all__ = ["Forward", "Origins"]
