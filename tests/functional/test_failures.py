"""What clients are told when upstreams and destinations fail, in the words of real proxies and of scripted ones."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import attrs

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import Origin, authorityFile, certificateFile, echo, noise
from tests.functional.processes import Pipsocks, Upstream, dante, microsocks, squid, tinyproxy
from tests.functional.talk import askConnect, askGet, askSocks, blackHole, readAnswer

MISSPELT = "no-such-host.invalid"


@attrs.frozen
class Told:
    """A row: what a client is told on either port, and the outcome of each attempt."""

    slug: str
    token: str
    status: int
    reply: int
    attempts: int

    @property
    def reports(self) -> bool:
        """Whether the attempts speak of the destination, not of the hop."""
        return self.attempts == 4 or self.token.endswith("_after")


REFUSED_THERE = Told("PS-UP21", "hop_destination_refused", 502, 5, 4)
UNREACHABLE_THERE = Told("PS-UP20", "hop_bad_gateway", 502, 4, 4)
FAILED_THERE = Told("PS-UP14", "hop_failed", 502, 1, 4)
FORBIDDEN_THERE = Told("PS-UP11", "hop_forbids", 403, 2, 1)
LOGIN_THERE = Told("PS-UP10", "hop_login", 502, 1, 1)


class FailuresTestCase(FunctionalTestCase):
    """How both ports are asked and judged."""

    def ask(self, pipsocks: Pipsocks, host: str, port: int, told: Told, **journal: Any) -> None:
        """Ask both ports for a destination that fails; both say the same, and so do their lines in the journal."""
        answer = askConnect(self.dial(pipsocks.http()), host, port)
        self.assertEqual(answer.status, told.status, answer)
        self.assertReason(answer, told.slug)
        self.assertNotIn("s3cr", answer.reason + answer.body.decode())
        self.judge(pipsocks.session(protocol="connect"), told, journal, told.attempts)
        reply, bound = askSocks(self.dial(pipsocks.socks()), host, port)
        self.assertEqual((reply, bound), (told.reply, ("0.0.0.0", 0)))
        # For 2 s after a search that failed by the destination one report is enough; the machine may be slower.
        self.judge(pipsocks.session(protocol="socks5"), told, journal, None if told.reports else told.attempts)

    def judge(self, entry: dict[str, Any], told: Told, fields: dict[str, Any], attempts: int | None) -> None:
        """One line of the journal."""
        self.assertEqual(entry["outcome"], told.token, entry)
        self.assertEqual({attempt["outcome"] for attempt in entry["attempts"]}, {told.token}, entry)
        for name, value in fields.items():
            self.assertEqual({attempt[name] for attempt in entry["attempts"]}, {value}, entry)
        if attempts is not None:
            self.assertEqual(len(entry["attempts"]), attempts, entry)
        self.assertEqual((entry["up"], entry["down"]), (0, 0), entry)


class RealProxiesTests(FailuresTestCase):
    """Each row of the table of failures that a real proxy can be brought to say."""

    def check(
        self, make: Callable[..., Upstream], told: Told, host: str = "127.0.0.1", port: int = 0, **options: Any
    ) -> None:
        """One chain of one real proxy; `port` 0 is one that nothing listens on."""
        upstream = self.keep(make(**options))
        pipsocks = self.pipsocks(upstreams=(upstream.url,))
        self.ask(pipsocks, host, port or self.refusing(), told, chain=upstream.address, hop=upstream.address)

    def test_microsocksRefused(self) -> None:
        """microsocks says 05 for a port that nothing listens on."""
        self.check(microsocks, REFUSED_THERE)

    def test_microsocksMisspelt(self) -> None:
        """microsocks says 01 for a name that does not exist."""
        self.check(microsocks, FAILED_THERE, MISSPELT, 443)

    def test_microsocksNoLogin(self) -> None:
        """microsocks refuses the method of who brings no login."""
        self.checkLogin(microsocks, "")

    def test_microsocksWrongLogin(self) -> None:
        """microsocks refuses a wrong login with a status."""
        self.checkLogin(microsocks, "hopper:wrong@")

    def checkLogin(self, make: Callable[..., Upstream], userinfo: str, told: Told = LOGIN_THERE) -> None:
        """A hop that wants another login than it gets."""
        upstream = self.keep(make(login=True))
        scheme = upstream.url.partition(":")[0]
        pipsocks = self.pipsocks(upstreams=(f"{scheme}://{userinfo}{upstream.address}",))
        self.ask(pipsocks, "127.0.0.1", self.refusing(), told, chain=upstream.address, hop=upstream.address)

    def test_danteRefused(self) -> None:
        """dante says 05 for a port that nothing listens on."""
        self.check(dante, REFUSED_THERE)

    def test_danteMisspelt(self) -> None:
        """dante says 04 for a name that does not exist."""
        self.check(dante, UNREACHABLE_THERE, MISSPELT, 443)

    def test_danteForbids(self) -> None:
        """dante says 02 for what its rules block."""
        everybody = "from: 0.0.0.0/0 to: 0.0.0.0/0"
        self.check(dante, FORBIDDEN_THERE, port=7, rules=f"socks block {{ {everybody} port = 7 }}")

    def test_tinyproxyRefused(self) -> None:
        """tinyproxy says 500 for a port that nothing listens on."""
        self.check(tinyproxy, FAILED_THERE)

    def test_tinyproxyMisspelt(self) -> None:
        """tinyproxy says 500 for a name that does not exist."""
        self.check(tinyproxy, FAILED_THERE, MISSPELT, 443)

    def test_tinyproxyForbids(self) -> None:
        """tinyproxy says 403 for CONNECT to another port than it is told."""
        self.check(tinyproxy, FORBIDDEN_THERE, settings="ConnectPort 443")

    def test_tinyproxyNoLogin(self) -> None:
        """tinyproxy says 407 to who brings no login."""
        self.checkLogin(tinyproxy, "")

    def test_tinyproxyWrongLogin(self) -> None:
        """tinyproxy says 401, and not 407, to a wrong login."""
        self.checkLogin(tinyproxy, "hopper:wrong@")

    def test_squidRefused(self) -> None:
        """squid says 503 for a port that nothing listens on."""
        self.check(squid, FAILED_THERE)

    def test_squidMisspelt(self) -> None:
        """squid says 500 or 503 for a name that does not exist."""
        self.check(squid, FAILED_THERE, MISSPELT, 443)

    def test_squidForbids(self) -> None:
        """squid says 403 for what its rules deny."""
        self.check(squid, FORBIDDEN_THERE, port=7, settings="acl no port 7\nhttp_access deny no")

    def test_squidNoLogin(self) -> None:
        """squid says 407 to who brings no login."""
        self.checkLogin(squid, "")

    def test_squidWrongLogin(self) -> None:
        """squid says 407 to a wrong login."""
        self.checkLogin(squid, "hopper:wrong@")

    def test_squidCannotConnectInTime(self) -> None:
        """squid says 503 or 504 for a destination that drops everything; the client is told within the deadline."""
        upstream = self.keep(squid(settings="connect_timeout 1 second\nforward_timeout 1 second"))
        pipsocks = self.pipsocks("--retry-attempts", "2", upstreams=(upstream.url,))
        with blackHole() as port:
            answer = askConnect(self.dial(pipsocks.http()), "127.0.0.1", port)
        self.assertIn(answer.reason.split()[0], ("PS-UP14", "PS-UP19", "PS-UP15"), answer)
        self.assertIn(answer.status, (502, 504))

    def test_nextHopRefused(self) -> None:
        """When the first of two hops cannot reach the second, it is the second that is named."""
        first, second = self.keep(microsocks()), f"127.0.0.1:{self.refusing()}"
        pipsocks = self.pipsocks("--retry-attempts", "2", upstreams=(f"{first.url},http://{second}",))
        answer = askConnect(self.dial(pipsocks.http()), "127.0.0.1", 443)
        self.assertEqual(answer.status, 502, answer)
        self.assertReason(answer, "PS-UP23")
        self.assertIn(f"upstream {second} was not reached", answer.reason)
        entry = pipsocks.session()
        self.assertEqual([attempt["hop"] for attempt in entry["attempts"]], [second] * 2, entry)

    def test_stoppedProxy(self) -> None:
        """A real proxy that hangs is told as silent; its connection is given up after the time for a handshake."""
        upstream = self.keep(microsocks())
        pipsocks = self.pipsocks("--retry-handshake", "0.3", "--retry-attempts", "2", upstreams=(upstream.url,))
        upstream.process.send_signal(signal.SIGSTOP)
        self.ask(
            pipsocks, "127.0.0.1", 443, Told("PS-UP06", "hop_silent", 504, 1, 2), chain=upstream.address,
            hop=upstream.address,
        )  # fmt: skip

    def test_stoppedHTTPProxy(self) -> None:
        """An HTTP proxy that hangs was asked first of all: what it is silent about nobody knows."""
        upstream = self.keep(tinyproxy())
        pipsocks = self.pipsocks("--retry-handshake", "0.3", "--retry-attempts", "2", upstreams=(upstream.url,))
        upstream.process.send_signal(signal.SIGSTOP)
        self.ask(pipsocks, "127.0.0.1", 443, Told("PS-UP15", "hop_silent_after", 504, 1, 2))

    def test_killedProxy(self) -> None:
        """A real proxy that was killed is told as refusing; nothing is dialled directly."""
        upstream, origin = self.keep(microsocks()), self.peer(echo)
        pipsocks = self.pipsocks("--retry-attempts", "2", upstreams=(upstream.url,))
        upstream.process.kill()
        upstream.wait()
        self.ask(pipsocks, "127.0.0.1", origin.port, Told("PS-UP02", "hop_refused", 502, 1, 2))
        self.assertEqual(origin.accepted, 0)

    def test_firewalledProxy(self) -> None:
        """A hop behind a firewall that drops is given up after the time for a connect."""
        with blackHole() as port:
            pipsocks = self.pipsocks(
                "--retry-connect", "0.3", "--retry-attempts", "2", upstreams=(f"socks5h://127.0.0.1:{port}",)
            )
            self.ask(pipsocks, "127.0.0.1", 443, Told("PS-UP03", "hop_timeout", 504, 1, 2))


class ForwardedTests(FailuresTestCase):
    """Plain requests, which an HTTP hop gets in absolute-form."""

    def test_postToClosingProxy(self) -> None:
        """
        tinyproxy closes behind each response without saying so, while the client sends its next request already.

        git does that: a GET, then at once a POST, which nobody may send twice.
        """
        upstream, origin = self.keep(tinyproxy()), Origin()
        self.addCleanup(origin.stop)
        pipsocks = self.pipsocks(upstreams=(upstream.url,))
        for _ in range(10):
            with self.dial(pipsocks.http()) as connection:
                host = f"Host: 127.0.0.1:{origin.port}\r\n"
                connection.sendall(f"GET {origin.url('/noise/10')} HTTP/1.1\r\n{host}\r\n".encode())
                connection.sendall(
                    f"POST {origin.url('/echo')} HTTP/1.1\r\n{host}Content-Length: 5\r\n\r\nhello".encode()
                )
                self.assertEqual(readAnswer(connection).body, noise(10))
                answer = readAnswer(connection)
                self.assertEqual((answer.status, answer.body), (200, b"hello"), answer)

    def test_misspelt(self) -> None:
        """A failure of tinyproxy's or squid's own making is passed on as it is, its page included."""
        for make, field in ((tinyproxy, "server"), (squid, "x-squid-error")):
            upstream = self.keep(make())
            pipsocks = self.pipsocks(upstreams=(upstream.url,))
            connection = self.dial(pipsocks.http())
            answer = askGet(connection, f"http://{MISSPELT}/", "Connection: close\r\n")
            # Which of the three squid says depends on the resolver.
            self.assertIn(answer.status, (500, 502, 503), answer)
            self.assertIn(field, answer.fields)

    def test_login(self) -> None:
        """A hop's 407 never reaches the client, which could do nothing about it."""
        for make in (tinyproxy, squid):
            upstream = self.keep(make(login=True))
            pipsocks = self.pipsocks(upstreams=(f"http://{upstream.address}",))
            answer = askGet(self.dial(pipsocks.http()), "http://127.0.0.1:9/")
            self.assertEqual(answer.status, 502, answer)
            self.assertReason(answer, "PS-UP10")
            self.assertNotIn("proxy-authenticate", answer.fields)


class DirectTests(FailuresTestCase):
    """The default route."""

    def test_refused(self) -> None:
        """A refused port is dialled twice, and told as refused."""
        pipsocks = self.pipsocks()
        port = self.refusing()
        answer = askConnect(self.dial(pipsocks.http()), "127.0.0.1", port)
        self.assertEqual(answer.status, 502, answer)
        self.assertReason(answer, "PS-DE01")
        self.assertIn("error=connection_refused", answer.fields["proxy-status"])
        self.assertEqual([a["outcome"] for a in pipsocks.session()["attempts"]], ["refused", "refused"])
        self.assertEqual(askSocks(self.dial(pipsocks.socks()), "127.0.0.1", self.refusing())[0], 5)

    def test_misspelt(self) -> None:
        """A misspelt name is asked for once, and told as such."""
        pipsocks = self.pipsocks()
        answer = askConnect(self.dial(pipsocks.http()), MISSPELT, 443)
        self.assertEqual(answer.status, 502, answer)
        self.assertReason(answer, "PS-DE02")
        self.assertIn(MISSPELT, answer.reason)
        self.assertEqual([a["outcome"] for a in pipsocks.session()["attempts"]], ["no_such_name"])
        self.assertEqual(askSocks(self.dial(pipsocks.socks()), MISSPELT, 443)[0], 4)

    def test_timedOut(self) -> None:
        """A destination that drops everything is told as timed out."""
        pipsocks = self.pipsocks("--retry-connect", "0.3")
        with blackHole() as port:
            answer = askConnect(self.dial(pipsocks.http()), "127.0.0.1", port)
            self.assertEqual(answer.status, 504, answer)
            self.assertReason(answer, "PS-DE05")
            self.assertEqual(askSocks(self.dial(pipsocks.socks()), "127.0.0.1", port)[0], 4)

    def test_loop(self) -> None:
        """pipsocks does not connect to itself."""
        pipsocks = self.pipsocks()
        answer = askConnect(self.dial(pipsocks.http()), "127.0.0.1", pipsocks.socks())
        self.assertEqual(answer.status, 508, answer)
        self.assertReason(answer, "PS-RU02")
        self.assertEqual(askSocks(self.dial(pipsocks.socks()), "127.0.0.1", pipsocks.http())[0], 2)


class ScriptedTests(FailuresTestCase):
    """What real proxies say only on bad days; the number of dials is counted at the other end."""

    def check(self, scheme: str, fault: str, slug: str, status: int, reply: int, dials: int, query: str = "") -> None:
        """One chain of one scripted hop, asked through the HTTP port, and by another pipsocks through SOCKS."""
        secure = ("--tls", certificateFile()) if scheme == "https" else ()
        faulty = self.faulty(fault, options=secure)
        options = ("--retry-handshake", "0.3", "--retry-attempts", "5")
        pipsocks = self.pipsocks(*options, upstreams=(f"{scheme}://{faulty.address}{query}",))
        answer = askConnect(self.dial(pipsocks.http()), "origin.example", 443)
        self.assertEqual((answer.status, answer.reason[:7]), (status, slug), answer)
        self.assertReason(answer, slug)
        self.assertIn(faulty.address, answer.reason)
        attempts = pipsocks.session()["attempts"]
        self.assertEqual((len(attempts), faulty.dials(dials)), (dials, dials), attempts)
        code, _ = askSocks(self.dial(pipsocks.socks()), "other.example", 443)
        self.assertEqual(code, reply)


_SCRIPTED = {
    "socks5h": {
        "silent": ("PS-UP06", 504, 1, 5),
        "close": ("PS-UP05", 502, 1, 5),
        "reset": ("PS-UP05", 502, 1, 5),
        "nonsense": ("PS-UP07", 502, 1, 5),
        "say=485454502f312e3120343030204261640d0a0d0a": ("PS-UP07", 502, 1, 5),
        "cut": ("PS-UP16", 502, 1, 4),
        "method-refused": ("PS-UP10", 502, 1, 1),
        "asked-silent": ("PS-UP15", 504, 1, 4),
        "asked-close": ("PS-UP16", 502, 1, 4),
        "asked-reset": ("PS-UP16", 502, 1, 4),
        "reply=1": ("PS-UP14", 502, 1, 4),
        "reply=2": ("PS-UP11", 403, 2, 1),
        "reply=3": ("PS-UP18", 502, 3, 4),
        "reply=4": ("PS-UP20", 502, 4, 4),
        "reply=5": ("PS-UP21", 502, 5, 4),
        "reply=6": ("PS-UP17", 504, 6, 4),
        "reply=7": ("PS-UP12", 502, 7, 1),
        "reply=8": ("PS-UP13", 502, 8, 1),
        "reply=9": ("PS-UP14", 502, 1, 4),
        "reply=255": ("PS-UP14", 502, 1, 4),
    },
    "http": {
        "silent": ("PS-UP15", 504, 1, 4),
        "nonsense": ("PS-UP07", 502, 1, 5),
        "cut": ("PS-UP16", 502, 1, 4),
        "method-refused": ("PS-UP10", 502, 1, 1),
        "login-refused": ("PS-UP10", 502, 1, 1),
        "asked-close": ("PS-UP16", 502, 1, 4),
        "asked-reset": ("PS-UP16", 502, 1, 4),
        "status=302 Found": ("PS-UP14", 502, 1, 4),
        "status=403 Forbidden": ("PS-UP11", 403, 2, 1),
        "status=404 Not Found": ("PS-UP14", 502, 1, 4),
        "status=429 Too Many Requests": ("PS-UP14", 502, 1, 4),
        "status=500 Oops": ("PS-UP14", 502, 1, 4),
        "status=502 Bad Gateway": ("PS-UP20", 502, 4, 4),
        "status=503 Service Unavailable": ("PS-UP14", 502, 1, 4),
        "status=504": ("PS-UP19", 504, 4, 4),
        "status=999 Odd": ("PS-UP14", 502, 1, 4),
    },
    "socks4a": {
        "asked-close": ("PS-UP16", 502, 1, 4),
        "reply=1": ("PS-UP14", 502, 1, 4),
        "nonsense": ("PS-UP07", 502, 1, 5),
    },
    "https": {
        "close": ("PS-UP08", 502, 1, 5),
        "status=407": ("PS-UP10", 502, 1, 1),
    },
}


def _methods() -> None:
    for scheme, faults in _SCRIPTED.items():
        for fault, told in faults.items():
            name = re.sub(r"\W+", "_", f"test_{scheme}_{fault}")[:60].rstrip("_")
            setattr(ScriptedTests, name, _method(name, scheme, fault, told))


def _method(name: str, scheme: str, fault: str, told: tuple[str, int, int, int]) -> Callable[[ScriptedTests], None]:
    def test(self: ScriptedTests) -> None:
        self.check(scheme, fault, *told, query=f"?ca={authorityFile()}" if scheme == "https" else "")

    test.__name__ = name
    test.__doc__ = f"A {scheme} hop with the fault {fault} is told as {told[0]}."
    return test


_methods()
