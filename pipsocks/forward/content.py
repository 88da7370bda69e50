"""Content on its way: a request's to an origin, a response's to the client, each as fast as it is taken."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pipsocks.forward.origin import Origin
from pipsocks.forward.patience import Patience
from pipsocks.forward.seam import Exchange, Fields
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import GateError


@attrs.frozen(eq=False)
class Upload:
    """Takes a request's content to an origin. `spoilt` is called where it turns out malformed."""

    _origin: Origin
    _patience: Patience
    _spoilt: Callable[[Refusal], None]

    def write(self, data: bytes) -> None:
        """A piece of it."""
        self._patience.touch()
        self._origin.write(data)

    def finish(self, trailers: Fields) -> None:
        """It is complete."""
        self._patience.touch()
        self._origin.finish(trailers)
        self._origin.transport.unregisterProducer()

    def broken(self, refusal: Refusal) -> None:
        """The rest can't be read."""
        self._spoilt(refusal)


@attrs.define(eq=False)
class Passing:
    """
    Takes a response's content to the client, and lets the origin wait where the client does not read.

    @ivar size: how much of it there may be; None: any amount.
    @ivar came: the bytes so far.
    """

    _origin: Origin
    _exchange: Exchange
    _patience: Patience
    size: int | None = None
    came: int = attrs.field(default=0, init=False)

    def write(self, data: bytes) -> None:
        """
        A piece of it.

        @raise GateError: it is more than there may be.
        """
        if self.size is not None and self.came + len(data) > self.size:
            raise GateError(502, "more content than its range")
        self._patience.touch()
        self.came += len(data)
        self._exchange.write(data)

    def pauseProducing(self) -> None:
        """The client does not read."""
        self._patience.wait(True)
        self._origin.pauseProducing()

    def resumeProducing(self) -> None:
        """It does again."""
        self._patience.wait(False)
        self._origin.resumeProducing()
