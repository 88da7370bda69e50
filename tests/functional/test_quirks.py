"""
What real clients send that is not by the book, octet for octet as it was captured, and what they need to hear.

The names and versions are those of the captures. Where a client is on the machine it also takes part itself, here or in
`test_clients` and `test_more_clients`.
"""

from __future__ import annotations

import base64
import re
import socket

import bcrypt

from tests.functional.case import FunctionalTestCase
from tests.functional.clients import NOISE, Proxy, curlSocks5, environment, run
from tests.functional.origins import Origin, authorityFile, echo, noise
from tests.functional.processes import PASSWORD, USER, Pipsocks, address, requires
from tests.functional.talk import Answer, readAll, readAnswer, readExactly

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
BASIC = b"Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode())
BARE_USER = b"Basic " + base64.b64encode(b"u:")
"""The login of a user ``u`` with an empty password."""

SOCKS_LOGIN = b"\x01" + bytes([len(USER)]) + USER.encode() + bytes([len(PASSWORD)]) + PASSWORD.encode()
UV_AGENT = (
    b'uv/0.13.9 {"installer":{"name":"uv","version":"0.13.9","subcommand":["pip","install"]},"python":"3.11.7",'
    b'"implementation":{"name":"CPython","version":"3.11.7"},"distro":{"name":"Debian GNU/Linux","version":"12",'
    b'"id":"bookworm","libc":{"lib":"glibc","version":"2.36"}},"system":{"name":"Linux","release":"6.1.0-18-amd64"},'
    b'"cpu":"x86_64","openssl_version":null,"setuptools_version":null,"rustc_version":null,"ci":null}'
)
CHROMIUM_AGENT = (
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36"
)


class QuirksTestCase(FunctionalTestCase):
    """How captured octets are sent, and what must come of it."""

    def begin(self, login: bool = False) -> Pipsocks:
        """A pipsocks, with two users where a login is required."""
        if not login:
            return self.pipsocks()
        users = self.directory() / "users"
        hashes = {user: bcrypt.hashpw(word.encode(), bcrypt.gensalt(4)) for user, word in ((USER, PASSWORD), ("u", ""))}
        users.write_text("".join(f"{user}:{hashed.decode()}\n" for user, hashed in hashes.items()))
        return self.pipsocks("--auth", f"htpasswd:{users}")

    def send(self, port: int, data: bytes, drip: bool = False) -> socket.socket:
        """A connection on which `data` was sent, in one piece or octet by octet."""
        connection = self.dial(port)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (data[i : i + 1] for i in range(len(data))) if drip else (data,):
            connection.sendall(piece)
        return connection

    def assertEchoes(self, connection: socket.socket) -> None:
        """The tunnel stands: all comes back, and not an octet before it."""
        connection.sendall(b"ping")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(readAll(connection), b"ping")

    def checkConnect(self, head: bytes, host: str = "127.0.0.1", user: str = "", protocol: str = "http") -> None:
        """The head of a CONNECT, in which ``{port}`` stands for the origin's, gets a tunnel, however it is cut."""
        pipsocks = self.begin(login=bool(user))
        origin = self.peer(echo, host)
        for drip in (False, True):
            sent = head.replace(b"{port}", b"%d" % origin.port)
            connection = self.send(pipsocks.port("SOCKS5" if protocol == "socks" else "HTTP"), sent, drip)
            self.assertEqual(readExactly(connection, len(ESTABLISHED)), ESTABLISHED)
            self.assertEchoes(connection)
        for entry in pipsocks.journal(2, destination=address(host, origin.port)):
            self.assertEqual((entry["protocol"], entry["user"], entry["outcome"]), ("connect", user, "ok"), entry)

    def ask(self, connection: socket.socket, head: bytes) -> Answer:
        """Send a head, and read the answer with its body."""
        connection.sendall(head)
        return readAnswer(connection)

    def server(self) -> Origin:
        """An HTTP origin of this test's own."""
        server = Origin()
        self.addCleanup(server.stop)
        return server

    def assertClosed(self, connection: socket.socket) -> None:
        """pipsocks has closed."""
        self.assertEqual(readAll(connection), b"")


class ConnectTests(QuirksTestCase):
    """Heads of CONNECT."""

    def test_pipOnPython311(self) -> None:
        """pip 23.2.1 on Python 3.11.7 sends HTTP/1.0 and no Host; its ``u:@`` is a user with an empty password."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.0\r\nProxy-Authorization: " + BARE_USER + b"\r\n\r\n", user="u"
        )

    def test_pipOnPython311IPv6(self) -> None:
        """pip 23.2.1 on Python 3.11.7 puts IPv6 in brackets, without a Host."""
        self.checkConnect(b"CONNECT [::1]:{port} HTTP/1.0\r\n\r\n", "::1")

    def test_pipOnPython311Refused(self) -> None:
        """pip 23.2.1 on Python 3.11.7 answers no challenge: its HTTP/1.0 connection is closed behind the 407."""
        pipsocks = self.begin(login=True)
        for _ in range(2):  # it sends the same again on a new connection
            connection = self.send(pipsocks.http(), b"CONNECT a.example:443 HTTP/1.0\r\n\r\n")
            answer = readAnswer(connection)
            self.assertEqual(answer.status, 407)
            self.assertReason(answer, "PS-AU01")
            self.assertClosed(connection)

    def test_pipOnPython3121(self) -> None:
        """pip 23.2.1 on Python 3.12.1 sends HTTP/1.1, and its Host behind the credentials."""
        self.checkConnect(
            b"CONNECT [::1]:{port} HTTP/1.1\r\nProxy-Authorization: " + BARE_USER + b"\r\nHost: [::1]:{port}\r\n\r\n",
            "::1",
            "u",
        )

    def test_pipOnPython3130(self) -> None:
        """pip 24.2 on Python 3.13.0 sends a Host without brackets; the target counts."""
        self.checkConnect(
            b"CONNECT [::1]:{port} HTTP/1.1\r\nProxy-Authorization: " + BARE_USER + b"\r\nHost: ::1:{port}\r\n\r\n",
            "::1",
            "u",
        )

    def test_httpx(self) -> None:
        """httpx 0.28.1 sends IPv6 without brackets in the target and in Host."""
        self.checkConnect(b"CONNECT ::1:{port} HTTP/1.1\r\nHost: ::1:{port}\r\nAccept: */*\r\n\r\n", "::1")

    def test_uv(self) -> None:
        """uv 0.13.9 sends lower-case names and a user agent of half a kilobyte, JSON with braces and quotes."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nuser-agent: " + UV_AGENT + b"\r\n"
            b"proxy-authorization: " + BASIC + b"\r\n\r\n",
            user=USER,
        )

    def test_curl(self) -> None:
        """curl 7.88.1 sends Proxy-Connection; of ``u@`` it makes an empty password, where pip sends nothing."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nProxy-Authorization: " + BARE_USER
            + b"\r\nUser-Agent: curl/7.88.1\r\nProxy-Connection: Keep-Alive\r\n\r\n",
            user="u",
        )  # fmt: skip

    def test_npm(self) -> None:
        """npm 11.19.1 sends its credentials first, Proxy-Connection last, and no user agent."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nProxy-Authorization: " + BASIC + b"\r\nHost: 127.0.0.1:{port}\r\n"
            b"Proxy-Connection: Keep-Alive\r\n\r\n",
            user=USER,
        )

    def test_wget(self) -> None:
        """wget 1.21.3 sends Host as the last field."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nUser-Agent: Wget/1.21.3\r\nProxy-Authorization: " + BASIC
            + b"\r\nHost: 127.0.0.1:{port}\r\n\r\n",
            user=USER,
        )  # fmt: skip

    def test_netcat(self) -> None:
        """OpenBSD's netcat 1.219 sends HTTP/1.0 and not a single field with ``-X connect``."""
        self.checkConnect(b"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\n")

    def test_aiohttpToSocks(self) -> None:
        """aiohttp 3.14.5 sends CONNECT to the port of a ``socks5://`` URL as well."""
        self.checkConnect(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip, deflate\r\nUser-Agent: Python/3.11 aiohttp/3.14.5\r\n\r\n",
            protocol="socks",
        )


class ChallengeTests(QuirksTestCase):
    """Clients that want to be asked before they send a password, and try again on the same connection."""

    def checkSecondTry(self, head: bytes) -> None:
        """The same head without and then with credentials, where ``{login}`` stands, on one connection."""
        pipsocks = self.begin(login=True)
        origin = self.peer(echo)
        head = head.replace(b"{port}", b"%d" % origin.port)
        connection = self.dial(pipsocks.http())
        answer = self.ask(connection, head.replace(b"{login}", b""))
        self.assertEqual(answer.status, 407)
        self.assertEqual(answer.fields["proxy-authenticate"], 'Basic realm="pipsocks", charset="UTF-8"')
        self.assertNotIn("close", answer.fields.get("connection", ""))
        connection.sendall(head.replace(b"{login}", b"Proxy-Authorization: " + BASIC + b"\r\n"))
        self.assertEqual(readExactly(connection, len(ESTABLISHED)), ESTABLISHED)
        self.assertEchoes(connection)
        asked, granted = pipsocks.journal(2)
        self.assertEqual((asked["outcome"], granted["outcome"]), ("login_required", "ok"))
        self.assertEqual(asked["client"], granted["client"])

    def test_git(self) -> None:
        """git 2.39.5 waits for the 407 although its URL has a password."""
        self.checkSecondTry(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{login}User-Agent: git/2.39.5\r\n"
            b"Proxy-Connection: Keep-Alive\r\n\r\n"
        )

    def test_chromium(self) -> None:
        """Chromium 156 asks its user after the 407, and wants the connection kept."""
        self.checkSecondTry(
            b"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nProxy-Connection: keep-alive\r\n"
            b"User-Agent: " + CHROMIUM_AGENT + b"\r\n{login}\r\n"
        )

    def test_chromiumForwarded(self) -> None:
        """Chromium 156 sends a plain request again behind its 407; none of the proxy's fields reach the origin."""
        pipsocks, server = self.begin(login=True), self.server()
        at = b"127.0.0.1:%d" % server.port
        head = (
            b"GET http://" + at + b"/noise/100 HTTP/1.1\r\nHost: " + at + b"\r\nProxy-Connection: keep-alive\r\n"
            b'%bsec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"\r\nsec-ch-ua-mobile: ?0\r\n'
            b"Upgrade-Insecure-Requests: 1\r\nUser-Agent: " + CHROMIUM_AGENT + b"\r\n\r\n"
        )
        connection = self.dial(pipsocks.http())
        self.assertEqual(self.ask(connection, head % b"").status, 407)
        self.assertEqual(server.connections, 0)
        answer = self.ask(connection, head % (b"Proxy-Authorization: " + BASIC + b"\r\n"))
        self.assertEqual((answer.status, answer.body), (200, noise(100)))
        ((_, path, fields),) = server.requests
        self.assertEqual(path, "/noise/100")
        self.assertEqual([name for name in fields if name.lower().startswith("proxy-")], [])
        self.assertEqual(fields["Upgrade-Insecure-Requests"], "1")


class ForwardedTests(QuirksTestCase):
    """Plain requests."""

    def test_wgetAndNpm(self) -> None:
        """wget 1.21.3 sends Connection and Proxy-Connection, npm 11.19.1 one of each case; the origin sees neither."""
        pipsocks, server = self.begin(), self.server()
        at = b"127.0.0.1:%d" % server.port
        wget = (
            b"GET http://" + at + b"/noise/100 HTTP/1.1\r\nHost: " + at + b"\r\nUser-Agent: Wget/1.21.3\r\n"
            b"Accept: */*\r\nAccept-Encoding: identity\r\nConnection: Keep-Alive\r\n"
            b"Proxy-Connection: Keep-Alive\r\n\r\n"
        )
        npm = (
            b"GET http://" + at + b"/noise/100 HTTP/1.1\r\n"
            b"user-agent: npm/11.19.1 node/v20.20.2 linux x64 workspaces/false\r\nnpm-command: install\r\n"
            b"Accept-Encoding: gzip,deflate\r\nHost: " + at + b"\r\nProxy-Connection: Keep-Alive\r\n"
            b"connection: keep-alive\r\n\r\n"
        )
        connection = self.dial(pipsocks.http())
        for head in (wget, npm):
            answer = self.ask(connection, head)
            self.assertEqual((answer.status, answer.body), (200, noise(100)))
        for _, _, fields in server.requests:
            self.assertFalse({name.lower() for name in fields} & {"connection", "keep-alive", "proxy-connection"})
        self.assertEqual(server.requests[0][2]["User-Agent"], "Wget/1.21.3")

    def test_apt(self) -> None:
        """apt 2.6.1 sends several requests at once; the answers come in order."""
        pipsocks, server = self.begin(), self.server()
        at = b"127.0.0.1:%d" % server.port
        sizes = (50_000, 7, 30_001)
        connection = self.dial(pipsocks.http())
        connection.sendall(
            b"".join(
                b"GET http://%b/noise/%d HTTP/1.1\r\nHost: %b\r\nUser-Agent: Debian APT-HTTP/1.3 (2.6.1)\r\n\r\n"
                % (at, size, at)
                for size in sizes
            )
        )
        for size in sizes:
            self.assertEqual(readAnswer(connection).body, noise(size))
        self.assertEqual([path for _, path, _ in server.requests], [f"/noise/{size}" for size in sizes])

    def test_httpxIPv6(self) -> None:
        """httpx 0.28.1 asks for ``http://::1:PORT/``, which is no URL: two readers would see two ports in it."""
        pipsocks = self.begin()
        sent = (
            b"GET http://::1:8000/noise/1 HTTP/1.1\r\nHost: [::1]:8000\r\nAccept: */*\r\n"
            b"Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\n\r\n"
        )
        answer = readAnswer(self.send(pipsocks.http(), sent))
        self.assertEqual(answer.status, 400)
        self.assertReason(answer, "PS-RQ10")


class SocksTests(QuirksTestCase):
    """Greetings, logins and requests."""

    def checkSocks(
        self,
        steps: tuple[tuple[bytes, bytes], ...],
        *,
        user: str = "",
        login: bool = False,
        destination: str = "127.0.0.1",
        ready: bytes = b"\x05\x00\x00\x01",
        protocol: str = "socks5",
    ) -> None:
        """What the client says and is told up to its request, whose ``{port}`` is the origin's; then the tunnel."""
        pipsocks, origin = self.begin(login), self.peer(echo)
        for drip in (False, True):
            connection = self.dial(pipsocks.socks())
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for sent, told in steps:
                data = sent.replace(b"{port}", origin.port.to_bytes(2, "big"))
                for piece in (data[i : i + 1] for i in range(len(data))) if drip else (data,):
                    connection.sendall(piece)
                self.assertEqual(readExactly(connection, len(told)), told)
            if protocol == "socks5":
                self.assertEqual(readExactly(connection, 10)[:4], ready)
            else:
                self.assertEqual(readExactly(connection, 8)[:2], ready)
            self.assertEchoes(connection)
        for entry in pipsocks.journal(2, destination=address(destination, origin.port)):
            self.assertEqual((entry["protocol"], entry["user"], entry["outcome"]), (protocol, user, "ok"), entry)

    REQUEST = (b"\x05\x01\x00\x01\x7f\x00\x00\x01{port}", b"")

    def test_uvOnlyMethod2(self) -> None:
        """uv 0.13.9 and httpx 0.28.1 offer only method 2 when their URL has a login, which need not be asked for."""
        self.checkSocks(((b"\x05\x01\x02", b"\x05\x02"), (SOCKS_LOGIN, b"\x01\x00"), self.REQUEST))

    def test_uvLogin(self) -> None:
        """The same greeting where a login is required."""
        self.checkSocks(
            ((b"\x05\x01\x02", b"\x05\x02"), (SOCKS_LOGIN, b"\x01\x00"), self.REQUEST), user=USER, login=True
        )

    def test_pysocks(self) -> None:
        """PySocks 1.7.1 (and apt 2.6.1, npm 11.19.1) offers 0 and 2 with a login: 0 where none is required."""
        self.checkSocks(((b"\x05\x02\x00\x02", b"\x05\x00"), self.REQUEST))

    def test_pysocksLogin(self) -> None:
        """PySocks 1.7.1 offers 0 and 2 with a login: 2 where it is required."""
        self.checkSocks(
            ((b"\x05\x02\x00\x02", b"\x05\x02"), (SOCKS_LOGIN, b"\x01\x00"), self.REQUEST), user=USER, login=True
        )

    def test_pysocksUserAlone(self) -> None:
        """PySocks 1.7.1 offers only 0 when its URL has a user and no password; a port with a login says no at once."""
        pipsocks = self.begin(login=True)
        connection = self.send(pipsocks.socks(), b"\x05\x01\x00")
        self.assertEqual(readAll(connection), b"\x05\xff")
        self.assertEqual(pipsocks.session()["outcome"], "login_required")

    def test_curl(self) -> None:
        """curl 7.88.1 offers 0 and GSSAPI without a login; GSSAPI is never chosen."""
        self.checkSocks(((b"\x05\x02\x00\x01", b"\x05\x00"), self.REQUEST))

    def test_curlNoLogin(self) -> None:
        """curl 7.88.1 without a login is not forced into method 2, which it did not offer."""
        pipsocks = self.begin(login=True)
        connection = self.send(pipsocks.socks(), b"\x05\x02\x00\x01")
        self.assertEqual(readAll(connection), b"\x05\xff")

    def test_curlLogin(self) -> None:
        """curl 7.88.1 with a login offers 0, GSSAPI and 2."""
        self.checkSocks(
            ((b"\x05\x03\x00\x01\x02", b"\x05\x02"), (b"\x01\x01u\x00", b"\x01\x00"), self.REQUEST),
            user="u",
            login=True,
        )

    def test_curlEmptyLogin(self) -> None:
        """curl 7.88.1 answers a method 2 that it is forced to take with an empty user: its login has failed."""
        pipsocks = self.begin(login=True)
        connection = self.dial(pipsocks.socks())
        connection.sendall(b"\x05\x02\x00\x02")
        self.assertEqual(readExactly(connection, 2), b"\x05\x02")
        connection.sendall(b"\x01\x00\x00")
        self.assertEqual(readAll(connection), b"\x01\x01")
        self.assertEqual(pipsocks.session()["outcome"], "login_failed")

    def test_emptyLoginWhereNoneIsRequired(self) -> None:
        """The same empty login is as good as any where nobody has to log in."""
        self.checkSocks(((b"\x05\x01\x02", b"\x05\x02"), (b"\x01\x00\x00", b"\x01\x00"), self.REQUEST))

    def test_aptAndChromium(self) -> None:
        """apt 2.6.1 and Chromium 156 send an address as a name."""
        self.checkSocks(((b"\x05\x01\x00", b"\x05\x00"), (b"\x05\x01\x00\x03\x09127.0.0.1{port}", b"")))

    def test_curlSocks4(self) -> None:
        """curl 7.88.1 sends a user id in SOCKS4."""
        self.checkSocks(((b"\x04\x01{port}\x7f\x00\x00\x01me\x00", b""),), ready=b"\x00\x5a", protocol="socks4")

    def test_curlSocks4a(self) -> None:
        """curl 7.88.1 sends a name behind the user id in SOCKS4a."""
        self.checkSocks(
            ((b"\x04\x01{port}\x00\x00\x00\x01me\x00localhost\x00", b""),),
            ready=b"\x00\x5a",
            protocol="socks4",
            destination="localhost",
        )


class WrongSchemeTests(QuirksTestCase):
    """Real clients whose proxy URL has the wrong scheme or the wrong port."""

    def fetch(self, url: str, target: str) -> str:
        """What requests prints for a page by that proxy."""
        program = (
            "import requests, sys\n"
            "with requests.Session() as session:\n"
            "    session.trust_env = False\n"
            "    session.proxies = {'http': sys.argv[1], 'https': sys.argv[1]}\n"
            "    print(len(session.get(sys.argv[2], verify=sys.argv[3], timeout=30).content))"
        )
        python = environment("libraries") / "bin/python"
        return run([python, "-c", program, url, target, authorityFile()], self.directory()).output

    def test_https(self) -> None:
        """requests 2.34 and urllib3 tell their user that the proxy speaks HTTP, when its URL says https."""
        pipsocks = self.begin()
        for port in (pipsocks.http(), pipsocks.socks()):
            told = self.fetch(f"https://127.0.0.1:{port}", "https://127.0.0.1:9/")
            self.assertIn("Your proxy appears to only use HTTP and not HTTPS", told)
        outcomes = [entry["outcome"] for entry in pipsocks.journal(2)]
        self.assertEqual(set(outcomes), {"tls_on_plain_port"})

    def test_socksToHTTP(self) -> None:
        """requests 2.34 and curl, told socks5, get their page from the HTTP port."""
        requires("curl")
        pipsocks, server = self.begin(), self.server()
        told = self.fetch(f"socks5h://127.0.0.1:{pipsocks.http()}", server.url(f"/noise/{NOISE}"))
        self.assertEqual(told.strip(), str(NOISE))
        fetched = curlSocks5(Proxy("socks", "127.0.0.1", pipsocks.http()), server, "127.0.0.1", self.directory())
        self.assertEqual(fetched.status, 0, fetched.output)
        for entry in pipsocks.journal(2):
            self.assertEqual((entry["protocol"], entry["outcome"]), ("socks5", "ok"))
            self.assertTrue(re.match("http:", entry["listener"]), entry)

    def test_httpToSocks(self) -> None:
        """requests 2.34, told http, gets its page from the SOCKS port."""
        pipsocks, server = self.begin(), self.server()
        told = self.fetch(f"http://127.0.0.1:{pipsocks.socks()}", server.url(f"/noise/{NOISE}"))
        self.assertEqual(told.strip(), str(NOISE))
        entry = pipsocks.session()
        self.assertEqual((entry["protocol"], entry["outcome"]), ("http", "ok"))
        self.assertTrue(re.match("socks:", entry["listener"]), entry)
