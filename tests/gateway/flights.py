"""A rig for first flights: a client, exits and a relay in the test's hands, on a fake clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from pipsocks.gateway.flight import fly
from pipsocks.gateway.session import Gateway, Session
from pipsocks.gateway.settings import RetrySettings
from pipsocks.gateway.stream import FarStream, Held
from pipsocks.model import Destination, Ended, Request
from pipsocks.observe.journal import Journal, jsonLine
from pipsocks.refusal import Refusal
from tests.gateway.fakes import FakeChain, Scripted, health, ways

SITE = Destination("index.example", 443)
DONE, RESET = Failure(ConnectionDone()), Failure(ConnectionLost())


class Wire:
    """A transport that remembers what was done to it. Bytes that are written once it is lost go nowhere."""

    def __init__(self) -> None:
        self.written = b""
        self.paused = self.aborted = self.shut = self.lost = False

    def write(self, data: bytes) -> None:
        if not self.lost:
            self.written += data

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def abortConnection(self) -> None:
        assert not self.lost, "a transport inside TLS that is gone must not be touched"
        self.aborted = self.lost = True

    def loseWriteConnection(self) -> None:
        self.shut = True


class Near:
    """The client's side, which holds what comes before somebody follows it, as `pipsocks.front.client.Client` does."""

    def __init__(self) -> None:
        self.transport: Any = Wire()
        self.held = Held()
        self.successor: Any = None

    def follow(self, successor: Any) -> None:
        self.successor = successor
        self.held.pour(successor, self.transport)

    def says(self, *pieces: bytes) -> None:
        for data in pieces:
            if self.successor is None:
                self.held.add(data, self.transport)
            else:
                self.successor.dataReceived(data)

    def ends(self) -> None:
        self.held.ended = True
        if self.successor is not None:
            self.successor.readConnectionLost()

    def leaves(self) -> None:
        self.held.lost = RESET
        self.transport.lost = True
        self.successor.connectionLost(RESET)


class Far(FarStream):
    """An exit's stream, whose other end is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire()
        self.makeConnection(self.wire)  # type: ignore[arg-type]

    def says(self, data: bytes) -> None:
        self.dataReceived(data)

    def ends(self) -> None:
        self.readConnectionLost()

    def dies(self) -> None:
        self.wire.lost = True
        self.connectionLost(RESET)

    @property
    def got(self) -> bytes:
        """What was sent there."""
        return self.wire.written


@attrs.define(eq=False)
class Side:
    """One side of a joined tunnel."""

    other: Any
    told: list[str]
    mark: str
    count: int = 0
    first: Callable[[], None] | None = None

    def dataReceived(self, data: bytes) -> None:
        if not self.count and self.first is not None:
            self.first()
        self.count += len(data)
        self.other.transport.write(data)

    def readConnectionLost(self) -> None:
        self.told.append(f"{self.mark} ended")

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(f"{self.mark} lost")


class Relay:
    """Joins streams, and leaves the end of each tunnel to the test: `finish`."""

    def __init__(self) -> None:
        self.joined: list[Any] = []
        self.told: list[str] = []

    def kind(self, near: Any, far: Any) -> str:
        return "fake"

    def join(self, near: Any, far: Any, done: Any, heard: Any = None) -> str:
        up, down = Side(far, self.told, "client"), Side(near, self.told, "exit", first=heard)
        self.joined.append((far, up, down, done))
        near.follow(up)
        far.follow(down)
        return "fake"

    def finish(self, clientFirst: bool = False, **ended: Any) -> None:
        """The tunnel is over."""
        _, up, down, done = self.joined[-1]
        done(Ended("ok", up.count, down.count, clientFirst=clientFirst, **ended))


class FlightCase(TestCase):
    """Tunnels whose flights a test watches."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.relay = Relay()
        self.lines: list[str] = []
        self.fars: list[tuple[str, Far]] = []
        self.chains: list[FakeChain] = []
        self.exits("a", "b", "c")

    def exits(self, *names: str, direct: tuple[str, ...] = (), **retry: Any) -> None:
        """The group: these chains, each of which gives a new stream whenever it is asked."""
        self.chains = [FakeChain(name, direct=name in direct, health=health(name, self.clock)) for name in names]
        self.reach = Scripted({name: [self._maker(name)] for name in names})
        self.gateway = Gateway(
            clock=self.clock,  # type: ignore[arg-type]
            **ways(self.clock, self.chains, retry=RetrySettings(**retry)),
            relays=self.relay,  # type: ignore[arg-type]
            journal=Journal(self.lines.append, jsonLine, self.clock.seconds, lambda: 0.0),
            guard=None,  # type: ignore[arg-type]
        )

    def _maker(self, name: str) -> Callable[[], Far]:
        def make() -> Far:
            far = Far()
            self.fars.append((name, far))
            return far

        return make

    def script(self, name: str, *outcomes: Any) -> None:
        """What asking a chain gives: a refusal's code, a Deferred, or "yes"; the last one stays."""

        def outcome(each: Any) -> Any:
            if each == "yes":
                return self._maker(name)
            return (lambda: Refusal(each, hop=name)) if isinstance(each, str) else each

        self.reach.script[name] = [outcome(each) for each in outcomes]

    def chain(self, name: str) -> FakeChain:
        """The chain of that name."""
        return next(chain for chain in self.chains if chain.name == name)

    def eject(self, *names: str) -> None:
        """Five blamed failures in a row."""
        for name in names:
            for _ in range(5):
                self.chain(name).health.begin().blamed(Refusal("PS-UP02", hop=name))
            self.assertFalse(self.chain(name).health.live)

    def fly(self, *early: bytes, ended: bool = False, destination: Destination = SITE) -> Near:
        """A client was told yes; it has said what is `early` before that, and has `ended` its side."""
        near = Near()
        near.says(*early)
        near.held.ended = ended
        request = Request(destination, "connect")
        self.session = Session(self.gateway, request, self.gateway.open("http", "127.0.0.1:5000"))
        self.session.entry.destination = destination
        self.session.take(self.gateway.routes.known(request))
        found: Any = self.successResultOf(self.session.search(self.reach))  # type: ignore[arg-type]
        fly(self.session, near, found, self.reach)  # type: ignore[arg-type]
        return near

    def far(self, index: int = -1) -> Far:
        """The stream that came `index`th, of all."""
        return self.fars[index][1]

    @property
    def asked(self) -> str:
        """The chains' names, as they were asked."""
        return "".join(self.reach.asked)

    @property
    def handed(self) -> Far | None:
        """The far stream that the relay was given; None while it flies."""
        return self.relay.joined[-1][0] if self.relay.joined else None

    @property
    def tunnels(self) -> list[int]:
        """How many each chain has."""
        return [chain.health.tunnels for chain in self.chains]

    @property
    def line(self) -> dict[str, Any]:
        """The journal's one line."""
        (line,) = self.lines
        return json.loads(line)  # type: ignore[no-any-return]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """The attempts so far."""
        return [(each.chain, each.outcome) for each in self.session.entry.attempts]  # type: ignore[attr-defined]

    def assertHanded(self, far: Far) -> None:
        """The relay has it, once, and nothing is left behind: no timer, no search."""
        self.assertEqual(len(self.relay.joined), 1)
        self.assertIs(self.handed, far)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def assertFlies(self) -> None:
        """The relay has not got it yet."""
        self.assertEqual(self.relay.joined, [])

    def finish(self, **ended: Any) -> None:
        """The tunnel ends; nothing is left of it."""
        self.relay.finish(**ended)
        self.assertEqual(sum(self.tunnels), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


def pending() -> Deferred[Any]:
    """What a chain gives that is still being asked."""
    return Deferred()
