"""A port that fails as its plan says: what all kinds of listeners have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory

from pipsocks.testing.early import Early, isEarly
from pipsocks.testing.events import Log, nowhere
from pipsocks.testing.plan import Plan
from pipsocks.testing.turn import Turn

BACKLOG: Final = 1024
"""Connections that the kernel keeps until they are accepted: a burst of clients must not see a fault of its own."""


class Kind(Protocol):
    """What a healthy connection speaks: `pipsocks.testing.Upstream`, `Origin` or `Echo`."""

    @property
    def name(self) -> str:
        """What faults there are for it, as `pipsocks.testing.faults.TABLE` has it."""

    def serve(self, turn: Turn) -> IProtocol:
        """The protocol of one connection. It calls `Turn.begin` and `Turn.over`."""


class Server:
    """
    A listener with faults, on the reactor of a test or of ``twistd pipsocks-faults``::

        hop = Server(reactor, Upstream(), ["30% reset", "10% reply=1"], seed=7)
        port = hop.listen()
        ...
        await hop.stop()

    It is made for tests: it keeps no limits and believes what it reads, so let it listen on loopback.

    @ivar port: where it listens, once it does; the same until it is stopped, while it is down as well.
    @ivar host: likewise.
    @ivar accepted: the connections so far.
    """

    def __init__(
        self,
        reactor: Any,
        kind: Kind,
        faults: Sequence[str] = (),
        *,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Any = None,
        log: Log = nowhere,
    ) -> None:
        """
        Read the plan.

        @param faults: see `pipsocks.testing.plan`; without any all is well.
        @param seed: what chance and random bytes are made from.
        @param tls: a Twisted context factory with a certificate, to speak TLS.
        @param log: is told of everything; see `pipsocks.testing.events`.
        @raise FaultUnknown: `faults` cannot be read.
        """
        self.kind = kind
        self.host = host
        self.port = port
        self.accepted = 0
        self._reactor = reactor
        self._seed = seed
        self._tls = tls
        self._log = log
        self._plan = Plan(faults, kind.name, seed)
        self._reserved: socket.socket | None = None
        self._listening: Any = None
        self._turns: set[Turn] = set()
        self._timer: Any = None
        self._stopping: Deferred[None] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT`` as it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def listen(self) -> int:
        """
        Open the port, and say which one it is; one that is only to refuse is taken, so that nobody else can have it.

        @raise OSError: it cannot be had.
        """
        taken = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            # A bound socket that does not listen keeps the number while the port is down; Twisted sets the same option
            # on its own, or the kernel would not let both have it.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((self.host, self.port))
            self.port = taken.getsockname()[1]
            self._reserved = taken
            self._follow()
        except BaseException:
            self._reserved = None
            taken.close()
            raise
        return self.port

    def use(self, *faults: str) -> None:
        """
        Begin a new plan, for the connections from now on; with the same seed.

        @raise FaultUnknown: `faults` cannot be read; the present plan stays.
        """
        self._plan = Plan(faults, self.kind.name, self._seed)
        if self._reserved is not None:
            self._follow()

    def _follow(self) -> None:
        """Do what the plan says of the port itself."""
        self._stopTimer()
        if self._plan.closed:
            self._close()
            return
        self._open()
        if self._plan.flap is not None:
            self._timer = self._reactor.callLater(self._plan.flap[0], self._flap, False)

    def down(self) -> None:
        """As if the process died: connections are refused, and those that stand are reset."""
        self._log("down", {"port": self.port})
        self._close()
        self._abort()

    def up(self) -> None:
        """Listen again."""
        self._open()
        self._log("up", {"port": self.port})

    def stop(self) -> Deferred[None]:
        """Close the port, reset every connection, and say when all of it is gone."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopTimer()
        closed = self._close()
        if closed is not None:
            await closed
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if self._turns:
            self._stopping = Deferred()
            self._abort()
            await self._stopping

    def _flap(self, up: bool) -> None:
        assert self._plan.flap is not None
        if up:
            self.up()
        else:
            self.down()
        self._timer = self._reactor.callLater(self._plan.flap[not up], self._flap, not up)

    def _open(self) -> None:
        if self._listening is None:
            factory, how = _Factory(self.build), {"backlog": BACKLOG, "interface": self.host}
            if self._tls is None:
                self._listening = self._reactor.listenTCP(self.port, factory, **how)
            else:
                self._listening = self._reactor.listenSSL(self.port, factory, self._tls, **how)

    def _close(self) -> Deferred[None] | None:
        if self._listening is None:
            return None
        listening, self._listening = self._listening, None
        closed: Deferred[None] | None = listening.stopListening()
        return closed

    def _abort(self) -> None:
        for turn in list(self._turns):
            turn.abort()

    def _stopTimer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def build(self) -> IProtocol:
        """The next connection."""
        self.accepted += 1
        turn = Turn(self._reactor, self.accepted, self._plan, self._seed, self._log, self._gone)
        self._turns.add(turn)
        turn.tell("accepted", fault=turn.shown)
        return Early(turn) if isEarly(turn) else self.kind.serve(turn)

    def _gone(self, turn: Turn) -> None:
        self._turns.discard(turn)
        if self._stopping is not None and not self._turns:
            stopping, self._stopping = self._stopping, None
            stopping.callback(None)


class _Factory(Factory):
    noisy = False

    def __init__(self, build: Callable[[], IProtocol]) -> None:
        self._build = build

    def buildProtocol(self, address: Any) -> Any:
        return self._build()
