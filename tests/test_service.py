"""The composition root: binding, refusing to bind, and draining."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

from pipsocks.front.listening import listenProblem
from pipsocks.front.settings import ListenerSettings
from pipsocks.gateway.settings import TimeoutSettings
from pipsocks.model import Destination, StartError
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.passwords import store
from pipsocks.policy.settings import RouteSettings
from pipsocks.service import ProxyService, makeService
from pipsocks.settings import GroupSettings, Settings
from pipsocks.upstream.settings import ChainSettings, HopSettings, TLSSettings
from tests.front.proxy import tick
from tests.loopback import Talk, TalkFactory, connect, listen

LOOPBACK = "tcp:0:interface=127.0.0.1"


class ServiceTestCase(TestCase):
    """A test that makes services, and stops them."""

    timeout = 60

    def setUp(self) -> None:
        self.said: list[str] = []
        self.path = os.path.abspath(self.mktemp())
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(self.path)
        self.manager.settimeout(10)
        self.addCleanup(self.manager.close)
        self.patch(os, "environ", {**os.environ, "NOTIFY_SOCKET": self.path})

    def make(self, *listeners: ListenerSettings, **settings: Any) -> ProxyService:
        chains = settings.pop("chains", (ChainSettings(),))
        settings.setdefault("groups", (GroupSettings("default", chains),))
        settings.setdefault("routes", (RouteSettings("default", "upstream"),))
        settings.setdefault("journal", JournalSettings("-", "text"))
        service = makeService(reactor, Settings(listeners=listeners, **settings), self.said.append)

        def stop() -> Any:
            if service.running:
                service._clients.abort()  # noqa: SLF001
                return service.stopService()
            service.unbind()
            return None

        self.addCleanup(stop)
        return service

    def ports(self) -> dict[str, int]:
        """The ports of the start lines, by protocol."""
        found = {}
        for line in self.said:
            words = line.split()
            if words[2:3] == ["on"]:
                found[words[1]] = int(words[3].rpartition(":")[2])
        return found

    async def start(self, *listeners: ListenerSettings, **settings: Any) -> ProxyService:
        service = self.make(*listeners, **settings)
        service.startService()
        while not any("shell" in line for line in self.said):
            await tick()
        return service


class StartTests(ServiceTestCase):
    """What a start prints, and what stops it."""

    async def test_lines(self) -> None:
        """One line per listener, one for the chains, and the command that sets a shell up; then systemd is told."""
        hop = HopSettings("socks5h", Destination("hop.example", 1080))
        await self.start(
            ListenerSettings("socks", LOOPBACK),
            ListenerSettings("http", LOOPBACK),
            chains=(ChainSettings((hop,)), ChainSettings()),
            notices=("a notice",),
        )
        ports = self.ports()
        self.assertEqual(
            self.said,
            [
                "pipsocks: a notice",
                f"pipsocks: SOCKS5 on 127.0.0.1:{ports['SOCKS5']}",
                f"pipsocks: HTTP on 127.0.0.1:{ports['HTTP']}",
                "pipsocks: upstream socks5h://hop.example:1080 | direct",
                f'pipsocks: set a shell up with: eval "$(pipsocks env --http 127.0.0.1:{ports["HTTP"]})"',
            ],
        )
        self.assertEqual(self.manager.recv(1000), b"READY=1\nSTATUS=2 listeners, 2 upstreams")

    async def test_shell(self) -> None:
        """With a login or clients' networks the command says so too; an argument that may be a password is left out."""
        networks = (ipaddress.ip_network("127.0.0.0/8"),)
        path = os.path.abspath(self.mktemp())
        store(path, "ann", "secret")
        for auth, shown in ((f"htpasswd:{path}", f"htpasswd:{path}"), ("memory:ann:secret", "memory")):
            self.said.clear()
            await self.start(ListenerSettings("http", "tcp6:0:interface=\\:\\:1", auth=(auth,), clients=networks))
            (line,) = (line for line in self.said if "shell" in line)
            command = f"pipsocks env --http '[::1]:{self.ports()['HTTP']}' --auth {shown} --clients 127.0.0.0/8"
            self.assertEqual(line, f'pipsocks: set a shell up with: eval "$({command})"')

    async def test_tunnel(self) -> None:
        """What is started works: a SOCKS tunnel to an origin, and its line in the journal."""
        await self.start(ListenerSettings("socks", LOOPBACK), ListenerSettings("http", LOOPBACK))
        origin = TalkFactory()
        port = await listen(self, origin)
        client = await connect(self, self.ports()["SOCKS5"])
        client.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big") + b"hi")
        self.assertEqual((await client.read(12))[:4], b"\x05\x00\x05\x00")
        talk = await origin.accepted()
        self.assertEqual(await talk.read(2), b"hi")
        client.transport.loseConnection()
        talk.transport.loseConnection()
        while "outcome=ok" not in self.said[-1]:
            await tick()
        self.assertIn(f"destination=127.0.0.1:{port} route=default", self.said[-1])

    async def test_loop(self) -> None:
        """A client cannot reach our own listeners through us, by address or by name."""
        await self.start(ListenerSettings("socks", LOOPBACK), ListenerSettings("http", LOOPBACK))
        for host in ("127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"):
            client = await connect(self, self.ports()["HTTP"])
            client.write(f"CONNECT {host}:{self.ports()['SOCKS5']} HTTP/1.1\r\n\r\n".encode())
            self.assertIn(b"HTTP/1.1 508 PS-RU02 ", await client.readAll(), host)

    async def test_busy(self) -> None:
        """A busy port stops the start, with what, where and a hint, and nothing stays bound."""
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as other:
            free = other.getsockname()[1]
            other.close()
            port = taken.getsockname()[1]
            error = self.assertRaises(
                StartError,
                self.make,
                ListenerSettings("socks", f"tcp:{free}:interface=127.0.0.1"),
                ListenerSettings("http", f"tcp:{port}:interface=127.0.0.1", source="--http"),
            )
        text = str(error)
        self.assertIn(f"--http: cannot listen on tcp:{port}:interface=127.0.0.1: Address already in use", text)
        self.assertIn("hint:", text)
        await tick()
        with socket.create_server(("127.0.0.1", free)):
            pass

    def test_badEndpoint(self) -> None:
        """A description that Twisted cannot read is named, whatever Twisted raised for it."""
        for endpoint in ("nonsense", "tcp", "tcp:x", "tcp:1:2:3:4:5", "unix", "ssl:0", ""):
            error = self.assertRaises(StartError, self.make, ListenerSettings("http", endpoint, source="--http"))
            self.assertIn("--http: cannot listen on", str(error), endpoint)
            self.assertIn("hint:", str(error))

    def test_privilegedPort(self) -> None:
        """Where the port needs a privilege, the hint says so."""
        denied = OSError(13, "Permission denied")
        problem = listenProblem(ListenerSettings("http", "tcp:80"), CannotListenError("", 80, denied))
        self.assertIn("CAP_NET_BIND_SERVICE", problem.hint)
        self.assertIn("Permission denied", problem.what)

    def test_badCA(self) -> None:
        """An upstream whose CA file is gone stops the start, named."""
        hop = HopSettings("https", Destination("hop.example", 443), tls=TLSSettings(ca="/nowhere/ca.pem"))
        error = self.assertRaises(StartError, self.make, chains=(ChainSettings((hop,)),))
        self.assertIn("upstream: upstream hop.example:443", str(error))
        self.assertIn("/nowhere/ca.pem", str(error))

    def test_openProxy(self) -> None:
        """A listener that everybody could use is refused, with the two ways to fix it."""
        everywhere = ListenerSettings("http", "tcp:0:interface=0.0.0.0", source="--http")
        error = self.assertRaises(StartError, self.make, everywhere)
        self.assertIn("open proxy", str(error))
        self.assertIn("--auth", str(error))
        self.assertIn("--clients", str(error))
        self.assertRaises(StartError, self.make, ListenerSettings("http", "tcp:0"))
        networks = (ipaddress.ip_network("192.0.2.0/24"),)
        self.make(ListenerSettings("http", "tcp:0:interface=0.0.0.0", clients=networks))

    async def test_unix(self) -> None:
        """A unix socket counts as loopback, and has no port to set a shell up with."""
        path = os.path.abspath(self.mktemp())
        service = self.make(ListenerSettings("http", f"unix:{path}"))
        service.startService()
        while not self.said:
            await tick()
        self.assertEqual(self.said[0], f"pipsocks: HTTP on unix:{path}")
        self.assertNotIn("shell", "".join(self.said))


class StopTests(ServiceTestCase):
    """The drain."""

    async def tunnel(self) -> tuple[Talk, Talk]:
        """A client and its origin, through the proxy."""
        origin = TalkFactory()
        port = await listen(self, origin)
        client = await connect(self, self.ports()["SOCKS5"])
        client.write(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port.to_bytes(2, "big"))
        await client.read(12)
        return client, await origin.accepted()

    async def test_drains(self) -> None:
        """Nobody new is accepted, a tunnel goes on to its end, and then the service has stopped."""
        service = await self.start(ListenerSettings("socks", LOOPBACK))
        client, talk = await self.tunnel()
        stopped = service.stopService()
        self.assertNoResult(stopped)
        await tick()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", self.ports()["SOCKS5"]), 5)
        client.write(b"on")
        self.assertEqual(await talk.read(2), b"on")
        client.transport.loseConnection()
        talk.transport.loseConnection()
        await stopped
        self.manager.recv(1000)
        self.assertEqual(self.manager.recv(1000), b"STOPPING=1")

    async def test_aborts(self) -> None:
        """When the time for the drain is over, what is left is aborted and counted."""
        service = await self.start(ListenerSettings("socks", LOOPBACK), timeouts=TimeoutSettings(drain=0.05))
        client, _ = await self.tunnel()
        await service.stopService()
        await client.gone()
        self.assertIn("pipsocks: aborted 1 connection after 0.05 s", self.said)

    async def test_idle(self) -> None:
        """With nobody there it stops at once."""
        service = await self.start(ListenerSettings("socks", LOOPBACK))
        self.successResultOf(service.stopService() or Deferred())

    async def test_idleClient(self) -> None:
        """A client that waits between two requests, or has said nothing, does not hold it up."""
        service = await self.start(ListenerSettings("http", LOOPBACK))
        silent = await connect(self, self.ports()["HTTP"])
        half = await connect(self, self.ports()["HTTP"])
        half.write(b"GET http://index.exa")
        await tick(0.05)
        await service.stopService()
        await silent.readAll()
        await half.readAll()
