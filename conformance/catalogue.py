"""Every behaviour there is: importing the modules registers them."""

from __future__ import annotations

from conformance import answers, connect, forward, relay, smuggling, socks
from conformance.behaviour import BEHAVIOURS

MODULES = (relay, socks, connect, forward, answers, smuggling)

__all__ = ["BEHAVIOURS", "MODULES"]
