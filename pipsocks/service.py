"""The composition root: what is built from the settings, the listeners, and their end."""

from __future__ import annotations

import gc
import os
import resource
import shlex
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IListeningPort

from pipsocks.forward import Forward
from pipsocks.front.descriptors import Descriptors
from pipsocks.front.listener import HANDSHAKES, Clients, Listener, ListenerFactory
from pipsocks.front.listening import listen
from pipsocks.front.settings import ListenerSettings
from pipsocks.gateway.seam import Chain, Group
from pipsocks.gateway.session import Gateway
from pipsocks.groups import makeGroups, makeProbes
from pipsocks.model import StartError
from pipsocks.observe.journal import Journal, jsonLine, textLine
from pipsocks.observe.systemd import Notify
from pipsocks.observe.target import openTarget
from pipsocks.policy.login import Logins
from pipsocks.policy.own import OwnAddresses
from pipsocks.policy.routes import Routes
from pipsocks.policy.rules import Guard
from pipsocks.relay import Relays
from pipsocks.settings import Settings
from pipsocks.udp import Associations
from pipsocks.upstream.chain import Network
from pipsocks.upstream.probes import Probes
from pipsocks.upstream.shared import Shared

PLAIN_CHECKERS: Final = frozenset({"htpasswd", "file", "unix"})
"""Checkers whose descriptions hold no secret."""

Say = Callable[[str], None]

GOODBYE: Final = 1.0
"""Seconds that hops are given to take our goodbye on connections that sessions shared."""

LAST_WORDS: Final = 0.01
"""Seconds between the end of the last client's connection and the end of the process."""


def makeService(reactor: Any, settings: Settings, say: Say) -> ProxyService:
    """
    Build everything and bind every listener: what is wrong is told before anything detaches.

    @param say: writes a line to standard output, or to twistd's log.
    @raise StartError: something cannot be had; no listener stays bound.
    """
    own = OwnAddresses()
    network = Network(reactor, isOwn=own)
    groups = makeGroups(settings, network)
    gateway = Gateway(
        clock=reactor,
        groups=groups,
        routes=Routes(settings.routes, network.resolve, reactor),
        relays=Relays(reactor, tunnelIdle=settings.timeouts.tunnel_idle),
        journal=Journal(
            openTarget(settings.journal.target, say),
            jsonLine if settings.journal.form == "json" else textLine,
            reactor.seconds,
            time.time,
        ),
        guard=Guard(settings.rules, own),
        timeouts=settings.timeouts,
        via=settings.via,
    )
    limit = _raiseDescriptorLimit()
    clients = Clients(min(HANDSHAKES, limit // 4), Descriptors(reactor, limit))
    forward = Forward()
    probes = makeProbes(settings, groups, reactor)
    service = ProxyService(reactor, settings, gateway, clients, say, probes, network.shared)
    try:
        for listening in settings.listeners:
            logins = Logins.fromStrings(listening.auth, reactor, listening.authSource) if listening.auth else None
            listener = Listener(
                name=listening.protocol,
                protocol=listening.protocol,
                gateway=gateway,
                clock=reactor,
                clients=clients,
                forward=forward,
                associations=Associations(reactor, listening.udpAdvertise, listening.udpPorts),
                logins=logins,
                networks=listening.clients,
                strict=listening.strict,
            )
            service.bind(listening, listener, own)
    except StartError:
        service.unbind()
        raise
    return service


def _raiseDescriptorLimit() -> int:
    """Raise the soft limit of open files to the hard one; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


@attrs.define(eq=False)
class Bound:
    """A listener that listens."""

    settings: ListenerSettings
    listener: Listener
    port: IListeningPort

    @property
    def address(self) -> str:
        """Where, as people write it."""
        return _addressText(self.port.getHost())


class ProxyService(Service):
    """Listens from the moment it is made, accepts once the reactor runs, and drains when it is stopped."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        gateway: Gateway,
        clients: Clients,
        say: Say,
        probes: Sequence[Probes],
        shared: Shared,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._gateway = gateway
        self._clients = clients
        self._say = say
        self._probes = probes
        self._shared = shared
        self._notify = Notify.fromEnvironment(os.environ)
        self._bound: list[Bound] = []
        self._former: list[tuple[int, Any]] = []  # the signals' handlers before ours

    # beginning

    def bind(self, settings: ListenerSettings, listener: Listener, own: OwnAddresses) -> None:
        """
        Listen.

        @raise StartError: the description is wrong, the port is busy, or it would be an open proxy.
        """
        port = listen(self._reactor, settings, ListenerFactory(listener))
        bound = Bound(settings, listener, port)
        self._bound.append(bound)
        if self._clients.descriptors is not None:
            self._clients.descriptors.watch(port)
        host: Any = port.getHost()
        if not hasattr(host, "host"):
            return
        own.add(host.host, host.port)
        if not settings.isGuarded(host.host):
            raise StartError(settings.openProxyProblem(bound.address))
        listener.name = f"{listener.protocol}:{bound.address}"

    def unbind(self) -> None:
        """Let go of every port."""
        if self._clients.descriptors is not None:
            self._clients.descriptors.release()
        for bound in self._bound:
            bound.port.stopListening()
        self._bound.clear()

    def startService(self) -> None:
        """See `twisted.application.service.IService`."""
        super().startService()
        self._reactor.callWhenRunning(self._ready)

    def _ready(self) -> None:
        # Twisted sets its own handlers as the reactor starts; its SIGTERM knows no second one.
        self._former = [(number, signal.signal(number, self._signalled)) for number in (signal.SIGTERM, signal.SIGINT)]
        for line in startLines(self._bound, self._gateway, self._settings.notices):
            self._say(line)
        for probes in self._probes:
            probes.start()
        # What is there by now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        self._notify.tell("READY=1", f"STATUS={len(self._bound)} listeners, {len(self._chains)} upstreams")

    @property
    def _chains(self) -> list[Chain]:
        return [chain for group in self._gateway.groups.values() for chain in group.chains]

    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stopOrAbort)

    def _stopOrAbort(self) -> None:
        if self._clients.stopping:
            self._abort("at the second signal")
        else:
            self._reactor.stop()

    # end

    def stopService(self) -> Deferred[None]:
        """Stop accepting, let sessions finish for `timeouts.drain` seconds at most, then abort them."""
        super().stopService()
        self._notify.tell("STOPPING=1")
        for probes in self._probes:
            probes.stop()
        self.unbind()
        self._clients.stop()
        if not self._clients.open:
            return succeed(None).addCallback(self._stopped)
        self._say(
            f"pipsocks: stopping; connections still open: {len(self._clients.open)}, for {self._drain:g} s at most"
        )
        timer = self._reactor.callLater(self._drain, self._abort, f"after {self._drain:g} s")
        drained: Deferred[None] = Deferred()
        drained.addCallback(self._stopped)

        def empty() -> None:
            self._clients.whenEmpty = None
            if timer.active():
                timer.cancel()
            # The far side of a tunnel that was aborted is lost in the reactor's next turn, and only then is its line
            # in the journal written.
            self._reactor.callLater(LAST_WORDS, drained.callback, None)

        self._clients.whenEmpty = empty
        return drained

    def _stopped(self, result: None) -> Deferred[None]:
        counts = str(self._gateway.counts)
        if counts:
            self._say(f"pipsocks: since the start: {counts}")
        for number, handler in self._former:
            signal.signal(number, handler)
        closing = self._shared.close().addTimeout(GOODBYE, self._reactor)
        return closing.addErrback(lambda failure: failure.trap(TimeoutError) and None)

    @property
    def _drain(self) -> float:
        return self._settings.timeouts.drain

    def _abort(self, when: str) -> None:
        count = len(self._clients.open)
        self._say(f"pipsocks: aborted {count} connection{'' if count == 1 else 's'} {when}")
        self._clients.abort()


def startLines(bound: Sequence[Bound], gateway: Gateway, notices: Sequence[str]) -> list[str]:
    """What a start prints: notices, one line per listener, one for the chains, and how to set a shell up."""
    names = {"socks": "SOCKS5", "http": "HTTP"}
    lines = [f"pipsocks: {notice}" for notice in notices]
    lines += [f"pipsocks: {names[b.listener.protocol]} on {b.address}" for b in bound]
    lines.append(f"pipsocks: upstream {'; '.join(map(_groupText, gateway.groups.values()))}")
    reached = {b.listener.protocol: b for b in reversed(bound) if hasattr(b.port.getHost(), "host")}
    if reached:
        lines.append(
            f'pipsocks: set a shell up with: eval "$({_shellCommand(reached.get("http") or reached["socks"])})"'
        )
    return lines


def _groupText(group: Group) -> str:
    """A group's chains; that of ``upstream``, and ``direct``, need no name."""
    chains = " | ".join(chain.describe() for chain in group.chains)
    return chains if group.name in ("default", "direct") else f"{group.name}: {chains}"


def _shellCommand(bound: Bound) -> str:
    """What prints the variables for one listener: it is told of the login, which it has a placeholder for."""
    address = bound.address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:")
    words = ["pipsocks", "env", f"--{bound.listener.protocol}", address]
    for checker in bound.settings.auth:
        kind, _, _ = checker.partition(":")
        words += ["--auth", checker if kind in PLAIN_CHECKERS else kind]  # another's argument may be a password
    for network in bound.settings.clients:
        words += ["--clients", str(network)]
    return shlex.join(words)


def _addressText(address: Any) -> str:
    if not hasattr(address, "host"):
        return f"unix:{getattr(address, 'name', b'').decode(errors='replace')}"
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"
