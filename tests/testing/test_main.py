"""Tests for `pipsocks.testing.__main__`."""

from __future__ import annotations

import io
import json
import sys

from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing.__main__ import main
from pipsocks.testing.faults import HEALTHY, Fault


class MainTests(SynchronousTestCase):
    """``python -m pipsocks.testing``."""

    def setUp(self) -> None:
        """Keep what is printed."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_log(self) -> None:
        """The first line is the port, the others are events."""
        reactor = MemoryReactor()
        self.assertNoResult(main(reactor, "--listen", "[::1]:0", "--fault", "close", "--fault", "none"))
        _, factory, _, interface = reactor.tcpServers[0]
        self.assertEqual(interface, "::1")
        factory.buildProtocol(None).makeConnection(StringTransport())
        port, event = self.out.getvalue().splitlines()
        self.assertTrue(port.isdecimal())
        told = json.loads(event)
        self.assertIsInstance(told.pop("ms"), float)
        self.assertEqual(told, {"event": "accepted", "connection": 1, "fault": "close"})

    def test_wrongOptions(self) -> None:
        """A wrong fault or address is told as every wrong option is."""
        for option, value in (
            ("--fault", "nothing"),
            ("--listen", "here"),
            ("--listen", ":1"),
            ("--listen", "h:99999"),
        ):
            stopped = self.assertRaises(SystemExit, main, MemoryReactor(), option, value)
            self.assertEqual(stopped.code, 2)
        self.assertIn("no such fault", self.err.getvalue())

    def test_tls(self) -> None:
        """With a certificate it listens for TLS."""
        import trustme

        pem = self.mktemp()
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(pem)
        reactor = MemoryReactor()
        self.assertNoResult(main(reactor, "--tls", pem))
        self.assertEqual(len(reactor.sslServers), 1)
        self.assertEqual(str(HEALTHY), "none")
        self.assertEqual(str(Fault("reply", "1")), "reply=1")
