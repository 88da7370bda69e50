"""One session's life: what the client is told, and what the journal says of it."""

from __future__ import annotations

import json
from typing import Any

import attrs
from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Choice, Destination
from pipsocks.policy.rules import Guard
from pipsocks.policy.settings import RuleSettings
from tests.gateway.rig import ANSWER, GOOD, HANGS, HELLO, Rig, fails


class SessionTests(SynchronousTestCase):
    """A client, exits, a journal."""

    def line(self, rig: Rig) -> dict[str, Any]:
        (line,) = rig.lines
        found: dict[str, Any] = json.loads(line)
        return found

    def test_tunnel(self) -> None:
        """It is told yes once; bytes pass, and the line has the attempts."""
        rig = Rig([{"a": fails(0.5, "PS-UP02"), "b": GOOD}])
        rig.run()
        self.assertEqual(rig.told, [("yes", 0.5), ("first byte", 0.5)])
        self.assertIsNone(rig.bound)
        self.assertEqual((rig.streams[0].got, rig.near.transport.written), (HELLO, ANSWER))
        self.assertEqual(rig.exits["b"].health.tunnels, 1)
        self.assertEqual(rig.lines, [])
        rig.relay.finish()
        line = self.line(rig)
        attempts = [(each["chain"], each["outcome"]) for each in line["attempts"]]
        self.assertEqual(attempts, [("a", "hop_refused"), ("b", "ok")])
        self.assertEqual((line["outcome"], line["route"]), ("ok", "default"))
        self.assertEqual(rig.exits["b"].health.tunnels, 0)

    def test_direct(self) -> None:
        """On a direct route the address in the reply is our own socket's."""
        rig = Rig([{"direct": GOOD}])
        rig.run()
        self.assertEqual(rig.bound, ("127.0.0.1", 40_000))

    def test_slowRoute(self) -> None:
        """The look-up for a route is part of the client's time: it hears at the same moment as without one."""
        rig = Rig([{"a": HANGS}])

        class Slow:
            async def choose(self, request: Any) -> Any:
                await deferLater(rig.clock, 1.0)
                return Choice("default")

        rig.gateway = attrs.evolve(rig.gateway, routes=Slow())
        rig.run()
        self.assertEqual(rig.told, [("PS-UP22", 8.0)])

    def test_refused(self) -> None:
        """It is told no, and the line says why."""
        rig = Rig([{"a": fails(0.0, "PS-UP21"), "b": fails(0.0, "PS-UP20")}])
        rig.run()
        self.assertEqual(rig.told, [("PS-UP21", 0.0)])
        self.assertEqual(self.line(rig)["outcome"], "hop_destination_refused")

    def test_denied(self) -> None:
        """What the rules deny is asked of nobody."""
        guard = Guard((RuleSettings(False, "index.example"),), lambda host, port: False)
        rig = Rig([{"a": GOOD}], guard=guard)
        rig.run()
        self.assertEqual((rig.told, rig.asked), ([("PS-RU01", 0.0)], []))
        self.assertEqual(self.line(rig)["outcome"], "denied")

    def test_leaves(self) -> None:
        """A client that leaves ends its session with everything that was under way for it."""
        rig = Rig([{"a": HANGS, "b": HANGS}])
        running = rig.begin()
        rig.clock.advance(5.0)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        self.assertEqual((rig.told, self.line(rig)["outcome"]), ([], "client_left"))

    def test_error(self) -> None:
        """An error of ours is told as such, logged, and the line is written."""
        rig = Rig([{"a": GOOD}])
        rig.exits["a"].script = []
        self.successResultOf(rig.begin())
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)
        self.assertEqual((rig.told, self.line(rig)["outcome"]), ([("PS-SV02", 0.0)], "internal"))

    def test_destinations(self) -> None:
        """What fails at one destination is asked of the same exit for another."""
        rig = Rig([{"a": [fails(0.0, "PS-UP14"), GOOD], "b": GOOD}])
        rig.begin()
        rig.clock.advance(0)
        rig.clock.advance(0)
        rig.begin(Destination("other.example", 443))
        rig.clock.advance(0)
        self.assertEqual([name for name, _ in rig.asked], ["a", "b", "a"])
