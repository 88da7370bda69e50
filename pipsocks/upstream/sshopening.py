"""Somebody who waits for a tunnel inside an ssh connection."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import NoProtocol
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory
from twisted.python.failure import Failure

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.sshchannel import Channel


class Opening:
    """
    Somebody who waits for a channel, for a limited time.

    @ivar done: fires with the protocol that `factory` built, or fails with a `Refusal`. Cancelling it gives the
        channel up.
    """

    def __init__(self, where: Destination, factory: IProtocolFactory, heard: int, timer: IDelayedCall) -> None:
        self.where = where
        self.heard = heard
        self._factory = factory
        self._timer = timer
        self.done: Deferred[IProtocol] = Deferred(lambda _: self._stop())

    def refused(self, refusal: Refusal) -> None:
        """It will not open."""
        if not self.done.called:
            self._stop()
            self.done.errback(refusal)

    def opened(self, channel: Channel) -> None:
        """The channel is there: give it to a protocol."""
        if self.done.called:
            channel.abortConnection()
            return
        self._stop()
        try:
            protocol = self._factory.buildProtocol(channel.getPeer())
            if protocol is None:
                raise NoProtocol
            channel.protocol = protocol
            protocol.makeConnection(channel)
        except Exception:
            channel.protocol = None
            channel.abortConnection()
            self.done.errback(Failure())
        else:
            self.done.callback(protocol)

    def _stop(self) -> None:
        if self._timer.active():
            self._timer.cancel()
