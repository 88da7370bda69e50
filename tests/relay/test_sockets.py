"""Options of sockets, and what they have not sent."""

from __future__ import annotations

import select
import socket
from typing import Any

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import TestCase

from pipsocks.relay.sockets import OPTIONS, isSecure, tune, unsent


class Bare:
    """A transport with nothing but a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock


class SocketsTests(TestCase):
    """What can't be set or told is left out, silently."""

    def pair(self) -> tuple[socket.socket, socket.socket]:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours, theirs

    def test_noSocket(self) -> None:
        """A transport without a socket of its own is left as it is."""
        transport: Any = StringTransport()
        tune(transport)
        self.assertEqual(unsent(transport), 0)
        self.assertFalse(isSecure(transport))

    def test_unixSocket(self) -> None:
        """A socket that is not TCP gets the options that it knows."""
        ours, _ = self.pair()
        tune(Bare(ours))
        self.assertTrue(ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def test_unread(self) -> None:
        """What the other side has not taken counts, until it has."""
        ours, theirs = self.pair()
        ours.send(b"x" * 1000)
        self.assertGreaterEqual(unsent(Bare(ours)), 1000)
        theirs.recv(1000)
        self.assertEqual(unsent(Bare(ours)), 0)

    def test_reset(self) -> None:
        """What was sent to a peer that is gone will never be taken, although the kernel counts it for ever."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        self.addCleanup(ours.close)
        theirs.close()
        ours.send(b"x" * 10)
        gone = select.poll()
        gone.register(ours, 0)
        self.assertTrue(gone.poll(20_000))
        self.assertEqual(unsent(Bare(ours)), 0)

    def test_closed(self) -> None:
        """A socket that is closed has nothing to send."""
        ours, _ = self.pair()
        ours.close()
        tune(Bare(ours))
        self.assertEqual(unsent(Bare(ours)), 0)

    def test_keepAlive(self) -> None:
        """Keep-alive begins after 60 s, repeats every 15 s, and gives up after 4."""
        wanted = {(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15)}
        self.assertTrue({*wanted, (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)} <= set(OPTIONS))
