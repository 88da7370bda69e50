"""Streams: what came before there was a successor is not lost, and not in another order."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from pipsocks.gateway.stream import HELD_LIMIT, FarStream


class Events:
    """A successor that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)

    def readConnectionLost(self) -> None:
        self.told.append("ended")

    def writeConnectionLost(self) -> None:
        self.told.append("shut")

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(reason.type)


class FarStreamTests(TestCase):
    """The far side of a tunnel."""

    def setUp(self) -> None:
        self.transport = StringTransport()
        self.stream = FarStream()
        self.stream.makeConnection(self.transport)  # type: ignore[arg-type]
        self.events = Events()

    def test_bytesFirst(self) -> None:
        """A server that speaks first is heard first, and then ends."""
        self.stream.dataReceived(b"220 ")
        self.stream.dataReceived(b"ready")
        self.stream.readConnectionLost()
        self.stream.follow(self.events)
        self.assertEqual(self.events.told, [b"220 ready", "ended"])

    def test_lostBefore(self) -> None:
        """One that speaks and is gone before the relay is there: both are told."""
        self.stream.dataReceived(b"bye")
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.stream.follow(self.events)
        self.assertEqual(self.events.told, [b"bye", ConnectionDone])

    def test_bounded(self) -> None:
        """One that floods is not read on until there is somebody to take it."""
        self.stream.dataReceived(bytes(HELD_LIMIT))
        self.assertEqual(self.transport.producerState, "paused")
        self.stream.dataReceived(b"x")
        self.stream.follow(self.events)
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(len(self.events.told[0]), HELD_LIMIT + 1)

    def test_afterwards(self) -> None:
        """From then on each event goes straight to the successor."""
        self.stream.writeConnectionLost()
        self.stream.follow(self.events)
        self.stream.dataReceived(b"x")
        self.stream.readConnectionLost()
        self.stream.writeConnectionLost()
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.events.told, [b"x", "ended", "shut", ConnectionDone])
