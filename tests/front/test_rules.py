"""Rules and the address guard, as the clients of both protocols meet them; every connection is a real one."""

from __future__ import annotations

from typing import Any

from pipsocks.forward import Forward
from pipsocks.policy.settings import RuleSettings
from pipsocks.wire.socks import encodeAddress
from tests.front.proxy import tick
from tests.loopback import Talk
from tests.udp.case import GREETING, UDPCase

SPELT = ["127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0177.1", "0x7f000001", "2130706433", "0.0.0.0", "0",
         "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::127.0.0.1", "2002:7f00:1::1",
         "0:0:0:0:0:ffff:7f00:1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "sly.example", "SLY.example.",
         "mixed.example"]  # fmt: skip
"""127.0.0.1, as one might try to have it pass for something else."""


class RulesCase(UDPCase):
    """Asks for one destination in every way there is."""

    async def begin(self) -> None:
        await super().begin()
        self.knownNames.update(
            {
                "sly.example": ["127.0.0.1"],
                "mixed.example": ["::ffff:127.0.0.1", "127.0.0.1"],
                "fine.example": ["127.0.0.1"],
            }
        )

    async def socks5(self, host: str, port: int, literal: bool = False) -> int:
        """The reply to a CONNECT."""
        field = (
            encodeAddress(host, port)
            if literal
            else b"\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")
        )
        client = await self.client()
        client.write(GREETING + b"\x05\x01\x00" + field)
        while len(client.received) < 4:  # a dial that is refused is repeated a moment later
            await tick()
            self.clock.advance(0.1)
        return client.received[3]

    async def socks4(self, host: str, port: int) -> int:
        """The reply to a CONNECT by 4a."""
        client = await self.client()
        client.write(b"\x04\x01" + port.to_bytes(2, "big") + b"\x00\x00\x00\x01\x00" + host.encode() + b"\x00")
        return (await client.read(2))[1]

    async def connect(self, host: str, port: int) -> bytes:
        """The status line of a CONNECT."""
        client = await self.client("http", forward=Forward())
        host = f"[{host}]" if ":" in host else host
        client.write(f"CONNECT {host}:{port} HTTP/1.1\r\n\r\n".encode())
        return (await client.readUntil(b"\r\n")).rstrip()

    async def get(self, client: Talk, host: str, port: int) -> bytes:
        """The status line of a request in absolute-form; the answer is read away."""
        host = f"[{host}]" if ":" in host else host
        client.write(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: fine.example\r\n\r\n".encode())
        head = await client.readUntil(b"\r\n\r\n")
        (length,) = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        await client.read(length)
        return head.partition(b"\r\n")[0]

    def dialled(self) -> int:
        """How many connections reached the origin."""
        return len(self.origin.talks)


class DeniedTests(RulesCase):
    """A denied address."""

    rules = (RuleSettings(False, "127.0.0.0/8"),)

    async def test_everySpelling(self) -> None:
        """Is denied in every spelling, by name, to both protocols, and nothing is dialled."""
        http = await self.client("http", forward=Forward())
        for host in SPELT:
            self.assertEqual(await self.socks5(host, self.originPort), 2, host)
            self.assertEqual(await self.socks4(host, self.originPort), 0x5B, host)
            for line in (await self.connect(host, self.originPort), await self.get(http, host, self.originPort)):
                self.assertTrue(
                    line.startswith(b"HTTP/1.1 403 PS-RU01 the rule 'deny 127.0.0.0/8' denies "), (host, line)
                )
        for host in ("127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"):
            self.assertEqual(await self.socks5(host, self.originPort, literal=True), 2, host)
        client = await self.client()
        client.write(b"\x04\x01" + self.originPort.to_bytes(2, "big") + b"\x7f\x00\x00\x01\x00")
        self.assertEqual((await client.read(2))[1], 0x5B)
        self.assertEqual(self.dialled(), 0)
        self.assertEqual({line["outcome"] for line in self.journal}, {"denied"})


class OrderTests(RulesCase):
    """Names, addresses and ports together."""

    rules = (
        RuleSettings(True, "fine.example"),
        RuleSettings(False, ".denied.example"),
        RuleSettings(False, "127.0.0.0/8"),
    )

    async def test_order(self) -> None:
        """A name that is allowed may have an address that is denied to others; a denied name is not looked up."""
        self.assertEqual(await self.socks5("fine.example", self.originPort), 0)
        self.assertEqual(await self.socks5("sly.example", self.originPort), 2)
        self.assertEqual(await self.socks5("x.denied.example", self.originPort), 2)
        self.assertEqual(self.dialled(), 1)

    async def test_eachRequest(self) -> None:
        """Requests on one connection are judged one by one: a good one opens nothing to the next."""

        http = await self.client("http", forward=Forward())
        for _ in range(2):
            http.write(f"GET http://fine.example:{self.originPort}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            origin = self.origin.talks[0] if self.dialled() else await self.origin.accepted()
            await origin.readUntil(b"\r\n\r\n")
            origin.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            self.assertTrue((await http.readUntil(b"ok")).startswith(b"HTTP/1.1 200"))
            for host in ("sly.example", "127.0.0.1", "a.denied.example"):
                self.assertTrue((await self.get(http, host, self.originPort)).startswith(b"HTTP/1.1 403"), host)
        self.assertEqual(self.dialled(), 1)


class RebindingTests(RulesCase):
    """A name whose addresses change."""

    rules = (RuleSettings(False, "127.0.0.1/32"),)

    async def test_rebinding(self) -> None:
        """It is dialled where it was judged: of several addresses only those that are allowed."""
        asked: list[bytes] = []
        answers = [["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2"]]

        def lookUp(name: bytes, *_: Any, **__: Any) -> Any:
            asked.append(name)
            return [(0, 0, 0, "", (address, 0)) for address in answers[len(asked) - 1]]

        self.network.names._lookUp = lookUp  # noqa: SLF001
        self.assertEqual(await self.socks5("rebinding.example", self.originPort), 2)
        self.assertEqual(len(asked), 2, "the first dial was refused, and the second look-up told another address")
        self.network.names.forget("rebinding.example")
        self.assertEqual(await self.socks5("rebinding.example", self.originPort), 5)
        self.assertEqual((self.dialled(), len(asked)), (0, 4))


class GuardTests(RulesCase):
    """Clients from elsewhere."""

    far = True

    async def test_guarded(self) -> None:
        """Nothing but public addresses, in any spelling; names that come to others are told so."""
        for host in (*SPELT, "10.0.0.1", "169.254.169.254", "fd00::1", "100.64.0.1", "224.0.0.1", "::"):
            self.assertEqual(await self.socks5(host, self.originPort), 2, host)
        self.assertIn(
            b"403 PS-RU01 the address guard (loopback) denies sly.example", await self.connect("sly.example", 80)
        )
        self.assertEqual(self.dialled(), 0)

    async def test_chained(self) -> None:
        """Through a chain literals are judged and names go to the hop; one that resolves here judges them."""
        hop = await self.hop()
        for scheme, name, literal in (("socks5h", 0, 2), ("socks5", 2, 2), ("http", 0, 2), ("socks4", 2, 2)):
            self.useChain(f"{scheme}://127.0.0.1:{hop}")
            self.assertEqual(await self.socks5("sly.example", self.originPort), name, scheme)
            self.assertEqual(await self.socks5("127.0.0.1", self.originPort), literal, scheme)

    async def hop(self) -> int:
        """A pipsocks without a guard, which knows the same names."""
        self.far = False
        try:
            return await self.proxy("socks")
        finally:
            self.far = True


class AllowedTests(GuardTests):
    """Clients from elsewhere, and a rule for them."""

    rules = (RuleSettings(True, "sly.example"), RuleSettings(True, "127.0.0.1/32", (80,)))

    async def test_guarded(self) -> None:
        """What a rule allows the guard does not forbid; nothing more."""
        self.assertEqual(await self.socks5("sly.example", self.originPort), 0)
        self.assertEqual(await self.socks5("fine.example", self.originPort), 2)
        self.assertNotEqual(await self.socks5("fine.example", 80), 2)

    async def test_chained(self) -> None:
        """Names of the rules, where a hop looks them up."""
        hop = await self.hop()
        self.rules = (RuleSettings(True, "sly.example"), RuleSettings(True, "8.8.8.0/24"), RuleSettings(False, "*"))
        for scheme in ("socks5h", "http"):
            self.useChain(f"{scheme}://127.0.0.1:{hop}")
            self.assertEqual(await self.socks5("sly.example", self.originPort), 0)
            self.assertEqual(await self.socks5("fine.example", self.originPort), 2)
        http = await self.client("http", forward=Forward())
        self.assertTrue((await self.get(http, "fine.example", self.originPort)).startswith(b"HTTP/1.1 403 PS-RU01"))


class OwnTests(RulesCase):
    """Our own listeners."""

    rules = (RuleSettings(True, "*"),)

    async def test_own(self) -> None:
        """Are nobody's, by address, by name and through a chain, whatever the rules say."""
        for host in SPELT:
            self.assertEqual(await self.socks5(host, 9), 2, host)
            self.assertTrue((await self.connect(host, 9)).startswith(b"HTTP/1.1 508 PS-RU02"), host)
        self.useChain("socks5h://127.0.0.1:1")
        self.assertEqual(await self.socks5("127.1", 9), 2)
