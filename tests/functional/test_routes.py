"""Routes and groups through a running pipsocks: where a session goes, why, and that it fails closed."""

from __future__ import annotations

import socket

from pipsocks.wire.datagram import encodeDatagram
from tests.functional.case import FunctionalTestCase
from tests.functional.origins import echo
from tests.functional.processes import Pipsocks
from tests.functional.talk import askConnect, askGet, askSocks, readReply


class RouteTests(FunctionalTestCase):
    """One proxy, several ways out."""

    def run_(self, text: str) -> Pipsocks:
        """A pipsocks with this configuration, its listeners added."""
        path = self.directory() / "pipsocks.toml"
        path.write_text(text)
        return self.pipsocks("--config", path, "--socks", "0", "--http", "0")

    def test_firstMatchWins(self) -> None:
        """Port, host and the rest each lead their own way, and the journal says which way and why."""
        one, two = self.faulty("none"), self.faulty("none")
        peer = self.peer(echo)
        proxy = self.run_(
            f"""
[groups.one]
chains = [{{ chain = "socks5h://{one.address}", name = "first" }}]
[groups.two]
chains = ["http://{two.address}"]
[[route]]
port = [{peer.port}]
host = ["localhost"]
to = "one"
[[route]]
port = [{peer.port}]
listener = ["socks"]
to = "two"
[[route]]
network = ["127.0.0.0/8"]
port = [{peer.port}]
to = "direct"
[[route]]
network = ["127.0.0.0/8"]
port = [2]
to = "deny"
"""
        )
        answer = askConnect(self.dial(proxy.http()), "localhost", peer.port)
        self.assertEqual(answer.status, 200)
        self.assertEqual(askSocks(self.dial(proxy.socks()), "127.0.0.1", peer.port)[0], 0)
        self.assertEqual(askConnect(self.dial(proxy.http()), "127.0.0.1", peer.port).status, 200)
        refused = askConnect(self.dial(proxy.http()), "127.0.0.1", 1)
        self.assertEqual(refused.status, 403)
        self.assertReason(refused, "PS-RU03")
        self.assertIn(b"no route leads to 127.0.0.1:1", refused.body)
        self.assertEqual(askSocks(self.dial(proxy.socks()), "127.0.0.1", 1)[0], 2)
        self.assertReason(askConnect(self.dial(proxy.http()), "127.0.0.1", 2), "PS-RU01")
        proxy.stop()
        told = [(line["route"], line["because"]) for line in proxy.journal(6)]
        self.assertEqual(
            sorted(told),
            [
                ("", ""),
                ("", ""),
                ("deny", "route[3] network 127.0.0.0/8"),
                ("direct", "route[2] network 127.0.0.0/8"),
                ("one", "route[0] host localhost"),
                ("two", "route[1]"),
            ],
        )
        self.assertEqual(len(one.events("request")), 1)
        self.assertEqual(len(two.events("request")), 1)

    def test_failsClosed(self) -> None:
        """When every exit is dead the answer is no: an origin that could be reached straight sees nobody."""
        peer = self.peer(echo)
        proxy = self.run_(
            f"""
[groups.exits]
chains = ["socks5h://127.0.0.1:{self.refusing()}", "http://127.0.0.1:{self.refusing()}"]
retry = {{ attempts = 3 }}
[[route]]
to = "exits"
"""
        )
        answer = askConnect(self.dial(proxy.http()), "127.0.0.1", peer.port)
        self.assertEqual(answer.status, 502)
        self.assertReason(answer, "PS-UP02")
        self.assertEqual(askSocks(self.dial(proxy.socks()), "127.0.0.1", peer.port)[0], 1)
        self.assertEqual(askGet(self.dial(proxy.http()), f"http://127.0.0.1:{peer.port}/").status, 502)
        self.assertEqual(peer.accepted, 0)

    def test_tiers(self) -> None:
        """The second tier is asked once all of the first have failed; a plain report keeps what is direct out of it."""
        good = self.faulty("none")
        peer = self.peer(echo)
        shut = self.faulty("reply=5")
        proxy = self.run_(
            f"""
[groups.fallback]
chains = ["socks5h://127.0.0.1:{self.refusing()}", {{ chain = "socks5h://{good.address}", tier = 2 }}]
[groups.shut]
chains = ["socks5h://{shut.address}", {{ chain = "direct", tier = 2 }}]
[[route]]
host = ["localhost"]
to = "fallback"
[[route]]
to = "shut"
"""
        )
        self.assertEqual(askConnect(self.dial(proxy.http()), "localhost", peer.port).status, 200)
        refused = askConnect(self.dial(proxy.http()), "127.0.0.1", peer.port)
        self.assertEqual(refused.status, 502)
        self.assertReason(refused, "PS-UP21")
        self.assertEqual(peer.accepted, 1)

    def test_noProxy(self) -> None:
        """``--no-proxy`` goes straight, everything else over the upstream."""
        hop = self.faulty("reply=2")
        peer = self.peer(echo)
        proxy = self.pipsocks("--no-proxy", "localhost,10.0.0.0/8", "--upstream", f"socks5h://{hop.address}")
        self.assertEqual(askConnect(self.dial(proxy.http()), "localhost", peer.port).status, 200)
        self.assertEqual(askConnect(self.dial(proxy.http()), "127.0.0.1", peer.port).status, 403)
        proxy.stop()
        self.assertEqual(
            [(line["route"], line["because"]) for line in proxy.journal(2)],
            [("default", "upstream"), ("direct", "no_proxy localhost")],
        )

    def test_datagrams(self) -> None:
        """An association takes the route that no condition narrows; a datagram of another route is dropped, counted."""
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(peer.close)
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        number = peer.getsockname()[1]
        proxy = self.run_(
            f"""
[groups.none]
chains = ["socks5h://127.0.0.1:{self.refusing()}"]
[[route]]
port = [53]
to = "none"
[[route]]
to = "direct"
"""
        )
        control = self.dial(proxy.socks())
        control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        self.assertEqual(control.recv(2), b"\x05\x00")
        reply, relay = readReply(control)
        self.assertEqual(reply, 0)
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.bind(("127.0.0.1", 0))
        client.sendto(encodeDatagram("127.0.0.1", 53, b"not this way"), relay)
        client.sendto(encodeDatagram("127.0.0.1", number, b"this way"), relay)
        self.assertEqual(peer.recvfrom(100)[0], b"this way")
        control.close()
        line = proxy.session(protocol="udp")
        self.assertEqual((line["route"], line["because"], line["dropped"]), ("direct", "route[1]", 1))
