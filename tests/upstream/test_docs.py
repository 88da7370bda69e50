"""The programs in docs/endpoints.rst do what the page says."""

from __future__ import annotations

import re
import sys
import tempfile
import textwrap
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.utils import getProcessOutputAndValue

from tests.functional.processes import ROOT, cleanEnvironment, shared
from tests.loopback import TalkFactory
from tests.upstream.rig import UpstreamCase

PAGE = Path(ROOT) / "docs" / "endpoints.rst"
RESPONSE = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nparcel"


class EndpointsPageTests(UpstreamCase):
    """Each program, with the names that it uses as examples replaced by peers of ours."""

    timeout = 60

    def setUp(self) -> None:
        """Read the page."""
        super().setUp()
        blocks = re.findall(r"\.\. code-block:: python\n\n((?:   .*\n|\n)+)", PAGE.read_text())
        self.string, self.function, self.values = map(textwrap.dedent, blocks)

    def start(self, program: str) -> Deferred[tuple[bytes, bytes, int]]:
        """Run a program to its end."""
        environment = {**cleanEnvironment(), "PYTHONPATH": str(ROOT)}
        # readBody of Twisted's own agent warns of each response that came whole, through us or not.
        arguments = ("-W", "ignore::DeprecationWarning", "-c", program)
        return getProcessOutputAndValue(sys.executable, arguments, env=environment, reactor=reactor)

    async def assertFetches(self, program: str) -> None:
        """The program asks the index, and prints what it answers."""
        peers, there = await self.peer()
        hop = shared("microsocks")
        program = program.replace(r"proxy.example\:1080", hop.address.replace(":", r"\:"))
        program = program.replace("proxy.example:1080", hop.address)
        program = program.replace("index.example:80", f"127.0.0.1:{there.port}")
        program = program.replace("http://index.example/", f"http://127.0.0.1:{there.port}/")
        running = self.start(program)
        talk = await peers.accepted()
        self.assertIn(b"GET / HTTP/1.", await talk.readUntil(b"\r\n\r\n"))
        talk.write(RESPONSE)
        talk.transport.loseConnection()  # type: ignore[union-attr]
        out, err, status = await running
        self.assertEqual((b"", 0), (err, status))
        self.assertIn(b"parcel", out)

    async def test_string(self) -> None:
        """The endpoint description."""
        await self.assertFetches(self.string)

    async def test_function(self) -> None:
        """The agent."""
        await self.assertFetches(self.function)

    async def test_functionRefused(self) -> None:
        """The agent, where the upstream is not there."""
        program = self.function.replace("proxy.example:1080", "127.0.0.1:1")
        out, err, status = await self.start(program)
        self.assertEqual((b"", 0), (err, status))
        self.assertIn(b"PS-UP02 127.0.0.1:1 upstream 127.0.0.1:1 refused the connection", out)

    async def test_values(self) -> None:
        """Hops around each other and around a Unix socket."""
        peers = TalkFactory()
        directory = tempfile.TemporaryDirectory()  # short: a Unix socket's path has 107 octets
        self.addCleanup(directory.cleanup)
        path = f"{directory.name}/gateway"
        port = await UNIXServerEndpoint(reactor, path).listen(peers)
        self.addCleanup(port.stopListening)
        running = self.start(self.values.replace("/run/gateway.sock", path))
        talk = await peers.accepted()
        await talk.read(3)
        talk.write(b"\x05\x00")
        await talk.readUntil(b"proxy.example\x0c\x38")
        talk.write(b"\x05\x00\x00\x01" + bytes(6))
        head = await talk.readUntil(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"CONNECT index.example:80 HTTP/1.1\r\n"), head)
        talk.write(b"HTTP/1.1 200 OK\r\n\r\n")
        out, err, status = await running
        self.assertEqual((b"", 0), (err, status))
        self.assertIn(b"connected through", out)
        await talk.until(lambda: talk.ended)
