"""
Faulty hops and origins, for our tests and our users'::

    from pipsocks.testing import Events, Origin, Server, Upstream

    events = Events(reactor)
    origin = Server(reactor, Origin(size=1_000_000), ["reset-after=400000", "none"])
    hop = Server(reactor, Upstream(), ["30% reset", "10% reply=1"], seed=7, log=events)
    origin.listen(), hop.listen()
    ...
    await hop.stop()
    await origin.stop()

`docs/faults.rst` tells how to start them from a shell, `pipsocks.testing.faults` what they can do.
"""

from pipsocks.testing.content import Content
from pipsocks.testing.echo import Echo
from pipsocks.testing.events import Events
from pipsocks.testing.faults import FaultUnknown
from pipsocks.testing.origin import Origin
from pipsocks.testing.process import Process
from pipsocks.testing.server import Server
from pipsocks.testing.upstream import Upstream

__all__ = ["Content", "Echo", "Events", "FaultUnknown", "Origin", "Process", "Server", "Upstream"]
