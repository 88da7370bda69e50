"""Clients beyond those of the table, each through the ports that it knows, from origins on loopback."""

from __future__ import annotations

import hashlib
from typing import Any

import bcrypt

from tests.functional.browser import chromium, chromiumLogin
from tests.functional.case import FunctionalTestCase
from tests.functional.clients import NOISE, Client, Proxy
from tests.functional.fetchers import MORE, goal, ssh
from tests.functional.origins import DEB_SIZE, PAGE_SONG, Origin, noise
from tests.functional.processes import PASSWORD, USER, Pipsocks, Sshd, address

ENDS = ("ok", "reset_client", "reset_origin")
"""How sessions end that went well: many clients close with octets unread."""

SIZES = {"wget": NOISE, "requests": NOISE, "git": 100_000, "apt": 3 * DEB_SIZE}
"""Octets that must have come down at least; 100 where it is not known how a client asks."""

ONLY_LOOPBACK = ("--allow", "127.0.0.0/8", "--deny", "*")
"""Rules that keep a browser from its maker's servers."""


class MoreClientsTestCase(FunctionalTestCase):
    """How a client is run and what is looked at."""

    def users(self) -> str:
        """A login checker with our user."""
        file = self.directory() / "users"
        file.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}\n")
        return f"htpasswd:{file}"

    def begin(self, kind: str, login: bool, *options: str) -> tuple[Pipsocks, Proxy]:
        """A pipsocks, and one of its ports."""
        pipsocks = self.pipsocks(*(("--auth", self.users()) if login else ()), *options)
        port = pipsocks.socks() if kind == "socks" else pipsocks.http()
        return pipsocks, Proxy(kind, "127.0.0.1", port, login)

    def server(self, tls: bool) -> Origin:
        """An origin of this test's own."""
        server = Origin(tls)
        self.addCleanup(server.stop)
        return server

    def check(self, client: str, kind: str, tls: bool, login: bool = False, *options: str) -> list[dict[str, Any]]:
        """`fetch`, and the journal tells of it; returns the sessions."""
        pipsocks, server = self.fetch(MORE[client], goal(client), kind, tls, login, *options)
        pipsocks.stop()
        entries = self.judge(pipsocks, kind, tls, login, server.port)
        self.assertGreaterEqual(sum(entry["down"] for entry in entries), SIZES.get(client, 100), entries)
        return entries

    def fetch(
        self, client: Client, wanted: str, kind: str, tls: bool, login: bool, *options: str
    ) -> tuple[Pipsocks, Origin]:
        """The client gets all it asks for, and the origin nothing that is meant for the proxy."""
        pipsocks, proxy = self.begin(kind, login, *options)
        server = self.server(tls)
        fetched = client(proxy, server, "127.0.0.1", self.directory())
        self.assertEqual((fetched.status, fetched.digest), (0, wanted), fetched.output)
        # In their tunnels apt 2.6 and wget 1.21 send the origin what is meant for the proxy, apt the password too.
        for _, _, fields in () if tls else server.requests:
            self.assertFalse([name for name in fields if name.lower().startswith("proxy-")], fields)
        return pipsocks, server

    def judge(self, pipsocks: Pipsocks, kind: str, tls: bool, login: bool, port: int) -> list[dict[str, Any]]:
        """The sessions with an origin at `port`, all of which went well."""
        entries = pipsocks.journal(1, destination=address("127.0.0.1", port))
        self.assertSessions(entries, pipsocks, kind, tls, login)
        return entries

    def assertSessions(
        self, entries: list[dict[str, Any]], pipsocks: Pipsocks, kind: str, tls: bool, login: bool
    ) -> None:
        """Lines of the journal for sessions that went well."""
        self.assertTrue(entries)
        protocol = "socks5" if kind == "socks" else "connect" if tls else "http"
        listener = f"{kind}:127.0.0.1:{pipsocks.port('SOCKS5' if kind == 'socks' else 'HTTP')}"
        for entry in entries:
            self.assertEqual(
                (entry["protocol"], entry["listener"], entry["user"]),
                (protocol, listener, USER if login else ""),
                entry,
            )
            # A connection to an origin serves the next plain request as well.
            self.assertIn([attempt["outcome"] for attempt in entry["attempts"]], (["ok"], ["reused"]), entry)
            self.assertIn(entry["outcome"], ENDS, entry)
            self.assertGreater(entry["up"], 0, entry)


class FetchingTests(MoreClientsTestCase):
    """Downloaders and package managers."""

    def test_wgetForwarded(self) -> None:
        """wget fetches a plain URL; it knows no SOCKS."""
        self.check("wget", "http", tls=False)

    def test_wgetTunnel(self) -> None:
        """wget logs in and fetches by CONNECT, whose Host is its last field."""
        self.check("wget", "http", tls=True, login=True)

    def test_gitHTTP(self) -> None:
        """git clones over https by CONNECT, and sends its password when it is asked for it."""
        pipsocks, server = self.fetch(MORE["git"], goal("git"), "http", tls=True, login=True)
        asked = pipsocks.session(outcome="login_required")
        self.assertEqual((asked["protocol"], asked["destination"], asked["user"]), ("connect", "", ""))
        entries = self.judge(pipsocks, "http", True, True, server.port)
        # The second try comes on the connection that has got the 407.
        self.assertIn(asked["client"], {entry["client"] for entry in entries})

    def test_gitSocks(self) -> None:
        """git clones over https by SOCKS, with a login."""
        self.check("git", "socks", tls=True, login=True)

    def test_npmForwarded(self) -> None:
        """npm installs a package by plain requests, with a login."""
        self.assertEqual(len(self.check("npm", "http", False, True)), 2)

    def test_npmTunnel(self) -> None:
        """npm installs a package by CONNECT."""
        self.check("npm", "http", tls=True)

    def test_npmSocks(self) -> None:
        """npm installs a package by SOCKS, with a login."""
        self.check("npm", "socks", tls=True, login=True)

    def test_aptForwarded(self) -> None:
        """apt updates and downloads by plain requests, of which it sends several at once."""
        # InRelease, Release, its signature, the index, and three packages
        self.assertEqual(len(self.check("apt", "http", False)), 7)

    def test_aptTunnel(self) -> None:
        """apt updates and downloads by CONNECT, with a login."""
        self.check("apt", "http", tls=True, login=True)

    def test_aptSocks(self) -> None:
        """apt updates and downloads by SOCKS, with a login; it sends the address as a name."""
        self.check("apt", "socks", tls=False, login=True)

    def test_poetryHTTP(self) -> None:
        """poetry adds and installs a package and what it requires, by CONNECT, with a login."""
        self.check("poetry", "http", tls=True, login=True)

    def test_poetrySocks(self) -> None:
        """poetry adds and installs a package and what it requires, by SOCKS."""
        self.check("poetry", "socks", tls=False)

    def test_requestsHTTP(self) -> None:
        """requests fetches a plain URL, with a login."""
        self.check("requests", "http", tls=False, login=True)

    def test_requestsSocks(self) -> None:
        """requests fetches by PySocks, with a login."""
        self.check("requests", "socks", tls=True, login=True)


class BrowserTests(MoreClientsTestCase):
    """Chromium without a window."""

    def browse(self, client: Client, kind: str, tls: bool, login: bool = False) -> Pipsocks:
        """It shows the page with the song that its script adds; returns the pipsocks, which has ended."""
        pipsocks, server = self.fetch(client, PAGE_SONG, kind, tls, login, *ONLY_LOOPBACK)
        self.assertEqual([path for _, path, _ in server.requests][:2], ["/page", "/song.js"])
        pipsocks.stop()
        entries = [
            entry
            for entry in pipsocks.journal(1, destination=address("127.0.0.1", server.port))
            if entry["outcome"] != "login_required"
        ]
        self.assertSessions(entries, pipsocks, kind, tls, login)
        return pipsocks

    def test_forwarded(self) -> None:
        """A page and its script are fetched by plain requests."""
        self.browse(chromium, "http", tls=False)

    def test_tunnel(self) -> None:
        """A page and its script are fetched by CONNECT."""
        self.browse(chromium, "http", tls=True)

    def test_socks(self) -> None:
        """A page and its script are fetched by SOCKS; the browser knows no login there."""
        self.browse(chromium, "socks", tls=True)

    def test_forwardedLogin(self) -> None:
        """The browser asks its user for a login when a plain request gets a 407."""
        self.browse(chromiumLogin, "http", tls=False, login=True)

    def test_tunnelLogin(self) -> None:
        """The browser asks its user for a login when a CONNECT gets a 407."""
        self.browse(chromiumLogin, "http", tls=True, login=True)


class ShellTests(MoreClientsTestCase):
    """ssh, for which a proxy is a command."""

    def test_netcat(self) -> None:
        """ssh through ``nc -X 5`` gets all that its server says."""
        song = noise(NOISE)
        server = self.keep(Sshd(song))
        pipsocks, proxy = self.begin("socks", False)
        fetched = ssh(proxy, server, self.directory())
        self.assertEqual((fetched.status, fetched.digest), (0, hashlib.sha256(song).hexdigest()), fetched.output)
        (entry,) = self.judge(pipsocks, "socks", True, False, server.port)
        self.assertGreater(entry["down"], NOISE, entry)
