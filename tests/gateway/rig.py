"""A rig for whole sessions: exits that do what they are told, a client that says hello, on a fake clock."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pipsocks.gateway.session import Gateway, connect
from pipsocks.model import Destination, Request
from pipsocks.observe.journal import Journal, jsonLine
from pipsocks.policy.rules import Guard
from pipsocks.refusal import Refusal
from tests.gateway.fakes import FakeChain, health, ways
from tests.gateway.flights import Far, Near, Relay
from tests.wire.hellos import message, records, serverName

SITE = Destination("index.example", 443)
HELLO = records(message(serverName(b"index.example")))
ANSWER = b"server hello"
NEVER = float("inf")


@attrs.frozen
class Does:
    """
    What an exit does when it is asked. Times are in seconds.

    @ivar after: until its yes, or its failure.
    @ivar code: of its failure; empty for yes.
    @ivar dies: until the stream is reset, from the yes on.
    @ivar speaks: until the destination's first byte, from the client's flight on.
    """

    after: float = 0.0
    code: str = ""
    dies: float = NEVER
    speaks: float = 0.0


GOOD = Does()
HANGS = Does(after=NEVER)
SILENT = Does(speaks=NEVER)


def fails(after: float, code: str = "PS-UP06") -> Does:
    return Does(after, code)


class Stream(Far):
    """An exit's stream that answers the flight, in its time."""

    def __init__(self, clock: Clock, does: Does) -> None:
        super().__init__()
        self.clock = clock
        self.does = does
        self.calls: list[Any] = []
        write, abort = self.wire.write, self.wire.abortConnection

        def written(data: bytes) -> None:
            write(data)
            if self.does.speaks < NEVER:
                self.later(self.does.speaks, lambda: self.says(ANSWER))

        def aborted() -> None:
            abort()
            self.stop()

        self.wire.getHost = lambda: IPv4Address("TCP", "127.0.0.1", 40_000)  # type: ignore[attr-defined]
        self.wire.write = written  # type: ignore[method-assign]
        self.wire.abortConnection = aborted  # type: ignore[method-assign]
        if does.dies < NEVER:
            self.later(does.dies, self.die)

    def later(self, seconds: float, call: Any) -> None:
        self.calls.append(self.clock.callLater(seconds, call))

    def die(self) -> None:
        self.stop()
        self.dies()

    def stop(self) -> None:
        for call in self.calls:
            if call.active():
                call.cancel()


class Exit(FakeChain):
    """A chain that does one thing after the other; the last one stays. It is its own endpoint."""

    rig: Any
    script: list[Does]
    __hash__ = object.__hash__

    def connect(self, *given: Any) -> Any:
        if len(given) == 2:
            return self
        clock = self.rig.clock
        does = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.rig.asked.append((self.name, round(clock.seconds(), 3)))

        def end() -> None:
            if does.code:
                connecting.errback(Refusal(does.code, chain=self.name, hop="hop:1"))
            else:
                stream = Stream(clock, does)
                self.rig.streams.append(stream)
                connecting.callback(stream)

        connecting: Deferred[Any] = Deferred(lambda _: call.active() and call.cancel())
        call = clock.callLater(1e9 if does.after == NEVER else does.after, end)
        return connecting


class Rig:
    """One session, and when what happened to its client."""

    def __init__(self, tiers: list[dict[str, Does | list[Does]]], hedge: bool = False, guard: Any = None) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, float]] = []
        self.streams: list[Stream] = []
        self.told: list[tuple[str, float]] = []
        self.bound: Any = None
        self.relay = Relay()
        self.near = Near()
        self.exits: dict[str, Exit] = {}
        for tier, exits in enumerate(tiers):
            for name, script in exits.items():
                made = Exit(name, tier=tier, direct=name == "direct", health=health(name, self.clock))
                made.rig, made.script = self, list(script) if isinstance(script, list) else [script]
                self.exits[name] = made
        self.lines: list[str] = []
        self.gateway = Gateway(
            clock=self.clock,  # type: ignore[arg-type]
            **ways(self.clock, list(self.exits.values()), hedge=hedge),
            relays=self.relay,  # type: ignore[arg-type]
            journal=Journal(self.lines.append, jsonLine, self.clock.seconds, lambda: 0.0),
            guard=guard or Guard((), lambda host, port: False),
        )

    # the client's conversation

    @property
    def stream(self) -> Near:
        return self.near

    def accept(self, bound: Any) -> None:
        self.bound = bound
        self._tell("yes")
        self.near.says(HELLO)

    def refuse(self, refusal: Refusal) -> None:
        self._tell(refusal.slug.code)

    def _tell(self, what: str) -> None:
        self.told.append((what, round(self.clock.seconds(), 3)))

    def pace(self, seconds: float, *names: str) -> None:
        """Connects of those take so long, usually."""
        for name in names:
            for _ in range(10):
                self.exits[name].health.pace.add(seconds)

    def begin(self, destination: Destination = SITE) -> Deferred[None]:
        """The client asks; its task."""
        request, entry = Request(destination, "connect"), self.gateway.open("http", "127.0.0.1:5000")
        judge = self.gateway.guard.judge("127.0.0.1")
        return Deferred.fromCoroutine(self.gateway.run(connect, self, request, entry, judge))

    def run(self, seconds: float = 30.0) -> None:
        """Let the session go on, from one event to the next."""
        failures: list[Any] = []
        self.begin().addErrback(failures.append)
        while True:
            if self.ended is None and self.near.transport.written:
                self._tell("first byte")
            elif self.ended is None and any("exit" in told for told in self.relay.told):
                self._tell("end")
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=NEVER)
            if due > seconds:
                break
            self.clock.rightNow = max(due, self.clock.rightNow)
            self.clock.advance(0)
        assert not failures, failures

    @property
    def ended(self) -> tuple[str, float] | None:
        """What ended the client's wait, and when: its first byte, a refusal, or the end of what it was told yes for."""
        return next((each for each in self.told if each[0] != "yes"), None)
