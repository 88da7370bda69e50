"""Chains in other programs: the endpoint string, and the classes."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, clientFromString
from twisted.internet.task import Clock

from pipsocks.endpoint import HTTPHop, SocksHop, chainEndpoint, groupEndpoint, parse
from pipsocks.model import Destination
from pipsocks.upstream.dial import Network
from tests.functional.processes import HOP_PASSWORD, shared
from tests.upstream.rig import UpstreamCase, unusedPort


class EndpointTests(UpstreamCase):
    """What another program writes."""

    async def assertEchoes(self, endpoint: Any, peers: Any) -> None:
        """Bytes pass."""
        inner = await self.open(endpoint)
        inner.write(b"hello")
        self.assertEqual(b"hello", await (await peers.accepted()).read(5))

    async def test_string(self) -> None:
        """The endpoint description works wherever Twisted takes one."""
        peers, there = await self.peer()
        hop = shared("microsocks").url.replace(":", "\\:")
        await self.assertEchoes(clientFromString(reactor, f"pipsocks:127.0.0.1:{there.port}:chain={hop}"), peers)
        await self.assertEchoes(clientFromString(reactor, f"pipsocks:localhost:{there.port}:chain=direct"), peers)

    async def test_chainEndpoint(self) -> None:
        """The same as a function; secrets may be named."""
        peers, there = await self.peer()
        hop = shared("microsocks", login=True)
        self.patch(os, "environ", {**os.environ, "HOP_PASSWORD": HOP_PASSWORD})
        chain = f"socks5h://hopper:${{env:HOP_PASSWORD}}@{hop.address}"
        await self.assertEchoes(chainEndpoint(reactor, chain, "127.0.0.1", there.port), peers)
        dead = unusedPort()
        refusal = self.open(chainEndpoint(reactor, chain, "127.0.0.1", dead))
        await self.refused(refusal, "PS-UP21", chain=hop.address)

    async def test_over(self) -> None:
        """A hop goes around any endpoint, another hop's included."""
        peers, there = await self.peer()
        socks, http = shared("microsocks"), shared("tinyproxy")
        network = Network(reactor)
        first = SocksHop(Destination(socks.host, socks.port))
        second = HTTPHop(Destination(http.host, http.port))
        wayToFirst = TCP4ClientEndpoint(reactor, socks.host, socks.port)
        wayToSecond = first.over(wayToFirst, second.address, network)
        await self.assertEchoes(second.over(wayToSecond, there, network), peers)

    async def test_group(self) -> None:
        """A group of a file is searched as the proxy does: the dead chain is passed over, and asked no more in time."""
        peers, there = await self.peer()
        path = os.path.abspath(self.mktemp())
        with open(path, "w") as file:
            file.write(
                f"""[groups.exits]
chains = ["socks5h://127.0.0.1:{unusedPort()}", "{shared("microsocks").url}"]
[[route]]
to = "exits"
"""
            )
        for _ in range(6):
            await self.assertEchoes(
                clientFromString(reactor, f"pipsocks:127.0.0.1:{there.port}:group=exits:config={path}"), peers
            )
        dead, alive = groupEndpoint(reactor, path, "exits", "127.0.0.1", 1).group.chains
        self.assertEqual((dead.health.live, alive.health.live), (False, True))
        self.assertEqual((dead.health.tunnels, alive.health.tunnels), (0, 0))
        refusal = self.open(groupEndpoint(reactor, path, "exits", "127.0.0.1", unusedPort()))
        await self.refused(refusal, "PS-UP21", chain=shared("microsocks").address)
        error = self.assertRaises(ValueError, groupEndpoint, reactor, path, "exit", "a.example", 80)
        self.assertIn("has no group 'exit'; it has exits", str(error))

    def test_wrong(self) -> None:
        """Whatever is missing, unknown or invalid is told at once, as a ValueError."""
        for description, words in (
            ("pipsocks:a.example:443", "chain="),
            ("pipsocks:a.example", "chain="),
            ("pipsocks:a.example:0:chain=direct", "no port"),
            ("pipsocks:a.example:+80:chain=direct", "no port"),
            ("pipsocks:a b:80:chain=direct", "bad character"),
            ("pipsocks:a.example:80:chain=ftp\\://a", "unknown scheme"),
            ("pipsocks:a.example:80:group=exits:config=/nope", "cannot read"),
            ("pipsocks:a.example:80:group=exits", "group=NAME:config=FILE"),
            ("pipsocks:a.example:80:chain=direct:group=exits:config=/nope", "write pipsocks:HOST"),
            ("pipsocks:a.example:80:tier=1", "unknown: tier"),
            ("pipsocks:a.example:80:chain=socks5://a:1080", "write colons in HOST, CHAIN and FILE as"),
        ):
            error = self.assertRaises(ValueError, clientFromString, reactor, description)
            self.assertIn(words, str(error))
        self.assertRaises(ValueError, chainEndpoint, Clock(), "direct", "a.example", 65536)
        self.assertRaises(ValueError, parse, Clock(), "", "80", chain="direct")
