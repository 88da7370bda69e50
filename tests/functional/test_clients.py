"""Real clients fetch from loopback origins through pipsocks and real upstream proxies: a pairwise table of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt

from tests.functional.case import FunctionalTestCase
from tests.functional.clients import (
    CLIENTS,
    NOISE,
    Client,
    Proxy,
    curlSocks4a,
    curlSocks5,
    goal,
    pysocksSocks4a,
    run,
)
from tests.functional.origins import authorityFile, certificateFile, noise, origin
from tests.functional.pairs import pairwise
from tests.functional.processes import PASSWORD, USER, Pipsocks, address, find, requires, shared

FACTORS = {
    "client": tuple(CLIENTS),
    "port": ("socks", "http"),
    "scheme": ("http", "https"),
    "hops": (0, 1, 2, 3),
    "login": (False, True),
    "family": (4, 6),
}

MIXES: dict[int, tuple[tuple[str, ...], ...]] = {
    0: ((),),
    1: (
        ("microsocks+",),
        ("tinyproxy",),
        ("squid+",),
        ("dante",),
        ("socks4a",),
        ("https",),
        ("tinyproxy+",),
        ("squid",),
    ),
    2: (
        ("tinyproxy", "microsocks+"),
        ("microsocks", "squid"),
        ("dante", "tinyproxy+"),
        ("https", "socks5"),
        ("squid+", "tinyproxy"),
        ("socks4a", "microsocks"),
    ),
    3: (
        ("microsocks", "tinyproxy+", "squid"),
        ("squid", "dante", "microsocks+"),
        ("socks5", "https", "tinyproxy"),
        ("tinyproxy", "squid+", "dante"),
        ("dante", "socks4a", "https"),
    ),
}
"""Chains for each length: real proxies, with ``+`` those that want a login, and healthy ones of pipsocks.testing."""


class TableTestCase(FunctionalTestCase):
    """How a row of the table is run."""

    def hop(self, kind: str, family: int) -> tuple[str, str]:
        """A hop of a chain as its URL, and as its ``host:port``."""
        host = "::1" if family == 6 else "127.0.0.1"
        if kind.rstrip("+") in ("microsocks", "dante", "tinyproxy", "squid"):
            upstream = shared(kind.rstrip("+"), host, kind.endswith("+"))
            return upstream.url, upstream.address
        secure = ("--tls", certificateFile()) if kind == "https" else ()
        faulty = self.faulty(host=host, options=secure)
        # SOCKS4 has no IPv6.
        scheme = "socks5h" if kind == "socks4a" and family == 6 else kind
        query = f"?ca={authorityFile()}" if kind == "https" else ""
        return f"{scheme}://{faulty.address}{query}", faulty.address

    def chain(self, mix: tuple[str, ...], family: int) -> tuple[str, str]:
        """A chain's text, and what the journal calls it."""
        hops = [self.hop(kind, family) for kind in mix]
        return ",".join(url for url, _ in hops) or "direct", hops[-1][1] if hops else "direct"

    def users(self) -> Path:
        """An htpasswd file with our user, made by Apache's own program where that is there."""
        path = self.directory() / "users"
        program = find("htpasswd")
        if program is not None:
            made = run([program, "-B", "-C", "5", "-b", "-c", path, USER, PASSWORD], path.parent)
            self.assertEqual(made.status, 0, made.output)
        else:
            hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$")
            path.write_text(f"{USER}:{hashed}\n")
        return path

    def start(self, mix: tuple[str, ...], login: bool, family: int) -> tuple[Pipsocks, str]:
        """A pipsocks with that chain, and the chain's name."""
        chain, label = self.chain(mix, family)
        options = ["--auth", f"htpasswd:{self.users()}"] if login else []
        host = "[::1]" if family == 6 else "127.0.0.1"
        listeners = ("--socks", f"{host}:0", "--http", f"{host}:0")
        return self.pipsocks(*options, upstreams=(chain,), listeners=listeners), label

    def checkRow(self, row: dict[str, Any], mix: tuple[str, ...], fetch: Client) -> None:
        """One row of the table."""
        client, family = row["client"], row["family"]
        pipsocks, label = self.start(mix, row["login"], family)
        host = target = "::1" if family == 6 else "127.0.0.1"
        if family == 6 and client == "uv" and row["scheme"] == "https":
            target = "localhost"  # uv 0.13 calls the [::1] of its own TLS connection an invalid server name
        if family == 6 and client == "httpx" and row["scheme"] == "http":
            target = "localhost"  # httpx 0.28 asks a proxy for http://::1:PORT/, which is no URL
        server = origin(row["scheme"] == "https")
        already = len(server.requests)
        port = pipsocks.port("SOCKS5" if row["port"] == "socks" else "HTTP", family)
        fetched = fetch(Proxy(row["port"], host, port, row["login"]), server, target, self.directory())
        self.assertEqual((fetched.status, fetched.digest), (0, goal(client)), fetched.output)
        for _, _, fields in server.requests[already:]:
            self.assertFalse([name for name in fields if name.lower().startswith("proxy-")], fields)
        size = {"pip": 100, "pip23": 100, "uv": 100, "git": 100_000}.get(client, NOISE)
        ends = ("ok", "reset_client", "reset_origin")  # many close with octets unread
        if "https" in mix:
            # The client's end is held back before TLS, while the origin keeps its side open: pipsocks closes at last.
            pipsocks.stop()
            ends += ("aborted",)
        entries = pipsocks.journal(1, destination=address(target, server.port))
        if client == "git" and row["login"]:
            # It sends no password before it is asked for one.
            self.assertEqual(entries.pop(0)["outcome"], "login_required")
        for entry in entries:
            self.assertIn(entry["outcome"], ends, entry)
            self.assertEqual(entry["user"], USER if row["login"] else "", entry)
            self.assertEqual([(a["chain"], a["hop"], a["outcome"]) for a in entry["attempts"]], [(label, "", "ok")])
        # Of several tunnels some may be spare ones.
        self.assertGreater(sum(entry["up"] for entry in entries), 0, entries)
        self.assertGreaterEqual(sum(entry["down"] for entry in entries), size, entries)


class ClientsTests(TableTestCase):
    """The table: a method for each row."""


def _methods() -> None:
    used = dict.fromkeys(MIXES, 0)
    for number, row in enumerate(pairwise(FACTORS)):
        mixes = MIXES[row["hops"]]
        mix = mixes[used[row["hops"]] % len(mixes)]
        used[row["hops"]] += 1
        words = (
            row["client"],
            row["port"],
            row["scheme"],
            *mix,
            "login" if row["login"] else "open",
            f"v{row['family']}",
        )
        name = f"test_{number:02}_" + re.sub(r"\W", "", "_".join(words).replace("+", "Login"))
        setattr(ClientsTests, name, _method(name, row, mix, CLIENTS[row["client"]]))


def _method(name: str, row: dict[str, Any], mix: tuple[str, ...], fetch: Client) -> Callable[[ClientsTests], None]:
    def test(self: ClientsTests) -> None:
        self.checkRow(row, mix, fetch)

    test.__name__ = name
    test.__doc__ = f"{row['client']} gets all it asks for; the {row['port']} port, hops {' '.join(mix) or 'none'}."
    return test


_methods()


class OtherWaysTests(TableTestCase):
    """What the table does not turn: SOCKS 4a, names looked up by the client, credentials after a challenge."""

    def check(self, fetch: Client, mix: tuple[str, ...] = (), **row: Any) -> None:
        """A row of its own."""
        self.checkRow({"login": False, "family": 4, "client": "curl", "port": "socks", **row}, mix, fetch)

    def test_curlSocks4a(self) -> None:
        """curl fetches by SOCKS 4a."""
        self.check(curlSocks4a, ("tinyproxy",), scheme="https")

    def test_pysocksSocks4a(self) -> None:
        """PySocks fetches by SOCKS 4a."""
        self.check(pysocksSocks4a, ("microsocks",), client="pysocks", scheme="http")

    def test_curlSocks5(self) -> None:
        """curl fetches where it looks names up itself."""
        self.check(curlSocks5, scheme="http")

    def test_socks4aOnPortWithLogin(self) -> None:
        """A SOCKS 4 client gets nothing from a port that wants a login: a user id is no password."""
        pipsocks, _ = self.start((), True, 4)
        server = origin(False)
        fetched = curlSocks4a(
            Proxy("socks", "127.0.0.1", pipsocks.socks(), True), server, "127.0.0.1", self.directory()
        )
        self.assertEqual((fetched.status, fetched.digest), (97, ""), fetched.output)
        self.assertEqual(pipsocks.session(outcome="login_required")["destination"], "")

    def test_curlAnyAuth(self) -> None:
        """curl --proxy-anyauth waits for the challenge and tries again on the same connection."""
        requires("curl")
        pipsocks, _ = self.start((), True, 4)
        for tls in (False, True):
            directory = self.directory()
            fetched = run(
                ["curl", "--disable", "-sS", "--fail", "--noproxy", "", "--cacert", authorityFile(), "--proxy-anyauth",
                 "--proxy", Proxy("http", "127.0.0.1", pipsocks.http(), True).url("http"), "--output", "file",
                 origin(tls).url(f"/noise/{NOISE}")],
                directory,
            )  # fmt: skip
            self.assertEqual(fetched.status, 0, fetched.output)
            self.assertEqual((directory / "file").read_bytes(), noise(NOISE))

    def test_wrongPassword(self) -> None:
        """curl with a wrong password shows what to look at, and asks the origin for nothing."""
        pipsocks, _ = self.start((), True, 4)
        server = origin(True)
        before = server.connections
        fetched = run(
            ["curl", "--disable", "-sS", "--verbose", "--noproxy", "", "--proxy",
             f"http://{USER}:wrong@127.0.0.1:{pipsocks.http()}", server.url("/noise/1")],
            self.directory(),
        )  # fmt: skip
        self.assertEqual(fetched.status, 56, fetched.output)
        self.assertIn("407 PS-AU02", fetched.output)
        self.assertIn('Proxy-Authenticate: Basic realm="pipsocks", charset="UTF-8"', fetched.output)
        self.assertEqual(server.connections, before)
