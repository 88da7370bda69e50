"""The relay's front: it joins two streams, and chooses how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs

from pipsocks.model import Ended
from pipsocks.relay.leg import Leg, Limits, Stream
from pipsocks.relay.pipes import Pipes
from pipsocks.relay.sockets import tune
from pipsocks.relay.splice import SPLICE, canSplice, plug
from pipsocks.relay.tunnel import Tunnel
from pipsocks.relay.wheel import Watch, Wheel

TRANSPORT: Final = "transport"


@attrs.define(eq=False)
class Relays:
    """
    Joins pairs of streams. `reactor` is an `IReactorTime`, the limits are in seconds.

    `tunnelIdle` is how long nothing may move in either direction, `halfIdle` the same once one side has ended;
    `splice` allows the splice relay where the system has it.
    """

    reactor: Any
    tunnelIdle: float = 3600.0
    halfIdle: float = 60.0
    splice: bool = True
    _limits: Limits = attrs.field(init=False)
    _pipes: Pipes = attrs.field(init=False, factory=Pipes)

    def __attrs_post_init__(self) -> None:
        tick = max(0.01, min(1.0, self.tunnelIdle / 16, self.halfIdle / 16))
        wheel = Wheel(self.reactor, tick)
        self._limits = Limits(wheel, Watch(self.reactor), wheel.ticks(self.tunnelIdle), wheel.ticks(self.halfIdle))

    def join(
        self, near: Stream, far: Stream, done: Callable[[Ended], None], heard: Callable[[], None] | None = None
    ) -> str:
        """
        Relay between the client's side and the far one, and say which relay does it: ``splice`` or ``transport``.

        `heard` is called once, when the first byte comes from `far`, which may be during this call.
        `done` is called once, when both sockets are closed, which may be during this call; see
        `pipsocks.relay.tunnel.TOKENS` for the tokens. Of the counts, `up` is what came from `near`.
        """
        tune(near.transport)
        tune(far.transport)
        kind = self.kind(near, far)
        Tunnel(self._limits, done, heard).begin(near, far, self._plug if kind == SPLICE else None)
        return kind

    def kind(self, near: Stream, far: Stream) -> str:
        """Which relay would join them."""
        return SPLICE if self.splice and canSplice(near.transport, far.transport) else TRANSPORT

    def _plug(self, near: Leg, far: Leg) -> None:
        plug(near, far, self._pipes)
