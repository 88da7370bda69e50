"""Probes: whether a chain leads anywhere, found out before a client does (behaviour, section 5, "Health")."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import attrs
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.slugs import About
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.failures import ofEnd

EVERY: Final = 30.0
JITTER: Final = 0.2
"""Seconds between two probes of a chain, ± 20 %, so that those of many machines don't come together."""

LIMIT: Final = 8.0
"""Seconds for one probe, TLS included."""

_log = Logger()


@implementer(IHandshakeListener)
class _Probe(Protocol):
    """Fires once TLS with the target is there, its certificate verified: nobody on the way can have made that up."""

    transport: Any

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def handshakeCompleted(self) -> None:
        """The target is reached."""
        if not self.done.called:
            self.done.callback(None)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """It is not."""
        if not self.done.called:
            self.done.errback(reason)


@attrs.define(eq=False)
class Probes:
    """
    Tries every chain of a group out, at the start and then every 30 s.

    A chain is out whose probe fails, until one comes through. TLS is verified as OpenSSL does by default, so that a
    captive portal, or whoever else answers in the target's place, is no success.

    @ivar reactor: has the time.
    @ivar group: its name, for the log.
    @ivar tls: makes the TLS connections to the target.
    @raise ValueError: no certificate can be for the target's name.
    """

    reactor: Any
    group: str
    chains: Sequence[Chain]
    target: Destination
    tls: IOpenSSLClientConnectionCreator = attrs.field()
    _timers: dict[Chain, IDelayedCall] = attrs.field(factory=dict, init=False)
    _running: dict[Chain, Deferred[Any]] = attrs.field(factory=dict, init=False)
    _failed: dict[Chain, bool] = attrs.field(factory=dict, init=False)
    _complained: bool = attrs.field(default=False, init=False)

    @tls.default
    def _verified(self) -> IOpenSSLClientConnectionCreator:
        verified: IOpenSSLClientConnectionCreator = optionsForClientTLS(self.target.host)
        return verified

    def start(self) -> None:
        """Probe every chain now, and from now on."""
        for chain in self.chains:
            self._begin(chain)

    def stop(self) -> None:
        """Probe no more."""
        timers, self._timers = self._timers, {}
        for timer in timers.values():
            timer.cancel()
        running, self._running = self._running, {}
        for probing in running.values():
            probing.cancel()

    def _begin(self, chain: Chain) -> None:
        pause = EVERY * random.uniform(1 - JITTER, 1 + JITTER)
        self._timers[chain] = self.reactor.callLater(pause, self._begin, chain)
        probing = Deferred.fromCoroutine(self._probe(chain))
        self._running[chain] = probing
        probing.addCallbacks(self._told, self._broken, callbackArgs=(chain,), errbackArgs=(chain,))

    async def _probe(self, chain: Chain) -> Refusal | None:
        """What is wrong with `chain`, if anything is."""
        began = self.reactor.seconds()
        probe = _Probe()
        factory = Factory.forProtocol(lambda: probe)
        factory.noisy = False
        endpoint = wrapClientTLS(self.tls, chain.connect(self.target))
        connecting = endpoint.connect(factory).addTimeout(LIMIT, self.reactor)
        try:
            await connecting
            took = self.reactor.seconds() - began
            await probe.done.addTimeout(max(0.0, LIMIT - took), self.reactor)
        except Refusal as refusal:
            return refusal
        except TimeoutError:
            if probe.transport is not None:
                probe.transport.abortConnection()
            return Refusal("PS-UP31", chain=chain.name, where=str(self.target))
        except CancelledError:
            if probe.transport is not None:
                probe.transport.abortConnection()
            raise
        except Exception as error:
            wrong = ofEnd(True, error, True, self.target, self.target)
            return Refusal("PS-UP33", chain=chain.name, where=str(self.target), detail=wrong.detail)
        chain.health.pace.add(took)
        return None

    def _told(self, refusal: Refusal | None, chain: Chain) -> None:
        if self._running.pop(chain, None) is None:
            return
        if refusal is None or refusal.about is not About.CLIENT:  # what we lack ourselves tells nothing of the chain
            chain.health.probed(refusal)
        self._failed[chain] = refusal is not None
        every = len(self._failed) == len(self.chains) and all(self._failed.values())
        if every and not self._complained:
            _log.warn(
                "no upstream of the group {group} reaches the probe's target {target}: is it down?",
                group=self.group,
                target=str(self.target),
            )
        self._complained = every

    def _broken(self, failure: Failure, chain: Chain) -> None:
        if self._running.pop(chain, None) is not None and not failure.check(CancelledError):
            _log.failure("a probe failed", failure)
