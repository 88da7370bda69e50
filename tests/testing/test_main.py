"""Tests for `pipsocks.testing.__main__` and `pipsocks.testing.process`."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.testing import Origin, Process, process
from pipsocks.testing.__main__ import main
from tests.functional.origins import certificateFile


class MainTests(SynchronousTestCase):
    """``python -m pipsocks.testing``."""

    def setUp(self) -> None:
        """Keep what is printed."""
        self.out, self.err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)

    def test_log(self) -> None:
        """The first line is the port, the others are events."""
        reactor: Any = MemoryReactorClock()
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
        """A wrong fault, address or file is told as every wrong option is."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for option, value in (
                ("--fault", "nothing"),
                ("--listen", "here"),
                ("--listen", ":1"),
                ("--listen", "h:99999"),
                ("--listen", address),
                ("--tls", self.mktemp()),
            ):
                stopped = self.assertRaises(SystemExit, main, MemoryReactorClock(), option, value)
                self.assertEqual(stopped.code, 2)
        self.assertIn("no such fault", self.err.getvalue())

    def test_beyondLoopback(self) -> None:
        """It is an open proxy: whoever wants it where others reach it has to say so twice."""
        for address in ("0.0.0.0:0", "[::]:0", "192.0.2.1:0"):
            stopped = self.assertRaises(SystemExit, main, MemoryReactorClock(), "--listen", address)
            self.assertEqual(stopped.code, 2)
            self.assertIn("--beyond-loopback", self.err.getvalue())
        reactor: Any = MemoryReactorClock()
        self.assertNoResult(main(reactor, "--listen", "0.0.0.0:0", "--beyond-loopback"))
        self.assertEqual(reactor.tcpServers[0][3], "0.0.0.0")

    def test_tls(self) -> None:
        """With a certificate it listens for TLS."""
        reactor: Any = MemoryReactorClock()
        self.assertNoResult(main(reactor, "--tls", str(certificateFile())))
        self.assertEqual(len(reactor.sslServers), 1)

    def test_help(self) -> None:
        """The help has the table of faults."""
        self.assertRaises(SystemExit, main, MemoryReactorClock(), "--help")
        self.assertIn("reset-after=BYTES\n        Reset behind", self.out.getvalue())


class ProcessTests(SynchronousTestCase):
    """A listener for tests without a reactor."""

    def test_hangs(self) -> None:
        """One that says nothing is ended, and does not keep its test for ever."""
        program = self.mktemp()
        with open(program, "w") as file:
            file.write("#!/bin/sh\nexec sleep 60\n")
        os.chmod(program, 0o700)
        self.patch(sys, "executable", os.path.abspath(program))
        self.patch(process, "PATIENCE", 0.2)
        error = self.assertRaises(RuntimeError, Process(kind="origin").__enter__)
        self.assertIn("within 0.2 s", str(error))

    def test_process(self) -> None:
        """It listens, tells its events, and ends with its block."""
        with Process("reset-after=10", kind="origin", seed=3, options=("--size", "50")) as origin:
            self.assertEqual(origin.address, f"127.0.0.1:{origin.port}")
            with socket.create_connection((origin.host, origin.port)) as client:
                client.sendall(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
                data = b""
                with self.assertRaises(ConnectionResetError):
                    while True:
                        data += client.recv(1000)
            self.assertEqual(data.partition(b"\r\n\r\n")[2], Origin(50, 3).content("/x").read(0, 10))
            self.assertEqual(origin.until("lost")[0]["reason"], "ConnectionAborted")
            self.assertEqual([event["event"] for event in origin.events()][:2], ["accepted", "request"])
            self.assertRaises(TimeoutError, origin.until, "login", seconds=0.01)
            address = (origin.host, origin.port)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)

    def test_ipv6(self) -> None:
        """Likewise on IPv6."""
        with Process("close", host="::1") as hop, socket.create_connection((hop.host, hop.port)) as client:
            self.assertEqual(client.recv(1), b"")
            self.assertEqual(hop.address, f"[::1]:{hop.port}")

    def test_wrong(self) -> None:
        """A fault that there is not ends it before it began."""
        process = Process("nothing")
        self.assertRaises(RuntimeError, process.__enter__)
