"""Routes as the clients of both protocols meet them: a name that goes straight goes where its route holds."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from pipsocks.forward import Forward
from pipsocks.policy.routes import Routes
from pipsocks.policy.settings import RouteSettings
from tests.front import proxy
from tests.front.proxy import tick
from tests.front.test_rules import RulesCase
from tests.gateway.fakes import FakeGroup


class RebindingTests(RulesCase):
    """A name that is in a direct route's network when the route is chosen, and elsewhere when it is dialled."""

    async def begin(self) -> None:
        await super().begin()
        inside = RouteSettings("direct", "no_proxy", networks=("127.0.0.2/32",))

        def ways(clock: Any, chains: Any) -> dict[str, Any]:
            routes = Routes([inside], self.network.resolve, reactor)
            return {"groups": {"direct": FakeGroup(chains, clock, name="direct")}, "routes": routes}

        self.patch(proxy, "ways", ways)
        self.asked = 0

    def rebind(self, *answers: list[str]) -> None:
        """Let the name have those addresses, one answer after the other; the last one stays."""
        self.asked = 0
        self.network.names.forget("rebinding.example")

        def lookUp(*_: Any, **__: Any) -> Any:
            self.asked += 1
            return [(0, 0, 0, "", (address, 0)) for address in answers[min(self.asked, len(answers)) - 1]]

        self.network.names._lookUp = lookUp  # noqa: SLF001

    async def test_tunnel(self) -> None:
        """Its first address refuses, so that it is looked up again: outside of the network nothing is dialled."""
        self.rebind(["127.0.0.2"], ["127.0.0.1"])
        self.assertEqual(await self.socks5("rebinding.example", self.originPort), 2)
        self.assertEqual((self.asked, self.dialled()), (2, 0))

    async def test_within(self) -> None:
        """Of several addresses those in the network are dialled."""
        self.rebind(["127.0.0.2"], ["127.0.0.1", "127.0.0.2"])
        self.assertEqual(await self.socks5("rebinding.example", self.originPort), 5)
        self.assertEqual((self.asked, self.dialled()), (2, 0))

    async def test_forwarded(self) -> None:
        """The same for a request that is forwarded."""
        self.rebind(["127.0.0.2"], ["127.0.0.1"])
        client = await self.client("http", forward=Forward())
        client.write(b"GET http://rebinding.example:%d/ HTTP/1.1\r\nHost: a\r\n\r\n" % self.originPort)
        while b"\r\n\r\n" not in client.received and not self.dialled():
            await tick()
            self.clock.advance(0.1)
        head = client.received
        self.assertTrue(head.startswith(b"HTTP/1.1 403 PS-RU03 no route leads to rebinding.example"), head)
        self.assertEqual((self.asked, self.dialled()), (2, 0))
