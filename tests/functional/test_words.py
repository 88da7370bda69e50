"""
The words of real proxies for destinations that are dead or misspelt, which must never eject a proxy that is well.

Each real proxy is an exit of a group of several, asked for such destinations again and again among healthy ones.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import Origin, noise
from tests.functional.processes import KINDS, Child, Pipsocks, find, requires, unusedPort
from tests.functional.talk import askConnect, askSocks, blackHole, readAll
from tests.upstream.sshrig import Server, generate

SEARCH_SECONDS = 8.5
"""What a client may have waited for its answer, by the journal: the search's 8 s, and half of one for the machine."""

REFUSED, MISSPELT, DROPPED = "refused", "misspelt", "dropped"

PLAIN, UNREACHABLE, VAGUE, SILENT = "hop_destination_refused", "hop_bad_gateway", "hop_failed", "hop_silent_after"
"""The last is what all of them say of a name as long as their resolver is still trying."""

WORDS: dict[str, dict[str, set[str]]] = {
    # 05 for a port that nothing listens on; 01 for a name that does not exist; behind a firewall that drops, nothing.
    "microsocks": {REFUSED: {PLAIN}, MISSPELT: {VAGUE}, DROPPED: {SILENT}},
    # 05; 04, host unreachable; nothing.
    "dante": {REFUSED: {PLAIN}, MISSPELT: {UNREACHABLE}, DROPPED: {SILENT}},
    # 500 for all of them: it has no other word; nothing.
    "tinyproxy": {REFUSED: {VAGUE}, MISSPELT: {VAGUE}, DROPPED: {SILENT}},
    # 503; 503, or 500 where its own resolver has no server; 503 or 504 once its connect_timeout is over.
    "squid": {REFUSED: {VAGUE}, MISSPELT: {VAGUE}, DROPPED: {VAGUE, "hop_gateway_timeout"}},
    # ssh -D has no word for it: it closes.
    "ssh": {REFUSED: {"hop_closed_after"}, MISSPELT: {"hop_closed_after"}},
}
"""What each says for each, as the journal has it; recorded from Debian 12's packages."""

REPLIES = {
    PLAIN: (502, 5),
    UNREACHABLE: (502, 4),
    VAGUE: (502, 1),
    "hop_closed_after": (502, 1),
    SILENT: (504, 1),
}
"""What the client is told of each, by CONNECT and by SOCKS. Of several the plainest counts, else the first."""


class SSH(Child):
    """``ssh -D``: OpenSSH as a SOCKS proxy."""

    def __init__(self, server: Server, key: Any, known: Any) -> None:
        requires("ssh")
        port = unusedPort()
        self.url = f"socks5h://127.0.0.1:{port}"
        options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "IdentitiesOnly=yes", "BatchMode=yes"]
        super().__init__(
            [find("ssh") or "", "-N", "-F", "none", "-i", key, "-D", f"127.0.0.1:{port}", "-p", str(server.port)]
            + [word for option in options for word in ("-o", option)]
            + ["127.0.0.1"]
        )
        for _ in range(1500):
            with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
                return
            with contextlib.suppress(Exception):
                self.process.wait(0.02)
                break
        raise AssertionError(f"ssh -D does not listen:\n{self.output}")


class WordsTestCase(FunctionalTestCase):
    """A group of real proxies."""

    def setUp(self) -> None:
        """An origin whose connections are counted."""
        self.site = Origin()
        self.addCleanup(self.site.stop)
        self.healthy = 0

    def exits(self, *kinds: str, extra: tuple[tuple[str, str], ...] = ()) -> Pipsocks:
        """pipsocks over one of each of `kinds`, in turn; a chain is named for its kind."""
        chains = list(extra)
        for number, kind in enumerate(kinds):
            exit = self.ssh() if kind == "ssh" else self.keep(KINDS[kind]())
            chains.append((f"{kind}-{number}", exit.url))
        listed = "".join(f'    {{ chain = "{url}", name = "{name}" }},\n' for name, url in chains)
        file = self.directory() / "pipsocks.toml"
        file.write_text(f'[groups.exits]\nstrategy = "round-robin"\nchains = [\n{listed}]\n\n[[route]]\nto = "exits"\n')
        self.names = {name for name, _ in chains}
        return self.pipsocks("--config", file)

    def ssh(self) -> SSH:
        """An ``ssh -D``, with a server of its own."""
        home = self.directory()
        key = generate("ed25519", home / "id")
        server = Server(home, keys=(key,))
        self.addCleanup(server.drop)
        known = home / "known"
        known.write_text(server.known)
        return self.keep(SSH(server, key, known))

    def ask(self, pipsocks: Pipsocks, protocol: str, host: str, port: int) -> tuple[int, socket.socket]:
        """A tunnel, and what is said of it: a status, or a reply."""
        there = self.dial(pipsocks.http() if protocol == "connect" else pipsocks.socks())
        return askConnect(there, host, port).status if protocol == "connect" else askSocks(there, host, port)[0], there

    def fetch(self, pipsocks: Pipsocks) -> None:
        """A page in a plain tunnel, over each port; whole."""
        for protocol, granted in (("connect", 200), ("socks5", 0)):
            code, there = self.ask(pipsocks, protocol, "127.0.0.1", self.site.port)
            self.assertEqual(code, granted)
            there.sendall(b"GET /noise/3000 HTTP/1.0\r\n\r\n")
            self.assertEqual(readAll(there).partition(b"\r\n\r\n")[2], noise(3000))
            there.close()
            self.healthy += 1

    def dead(self, what: str) -> tuple[str, int]:
        """A destination of that kind: another port each time, and always the same name."""
        return ("127.0.0.1", self.refusing()) if what == REFUSED else ("no-such-host.invalid", 443)

    def mixed(self, pipsocks: Pipsocks, rounds: int) -> None:
        """Healthy destinations and dead ones in turn, and each dead one told as its plainest word."""
        for number in range(2 * rounds):
            self.fetch(pipsocks)
            what = (REFUSED, MISSPELT)[number % 2]
            for index, protocol in enumerate(("connect", "socks5")):
                host, port = self.dead(what)
                code, _ = self.ask(pipsocks, protocol, host, port)
                line = pipsocks.journal(1 + 2 * (number // 2) + index if what == MISSPELT else 1,
                                        destination=f"{host}:{port}")[-1]  # fmt: skip
                self.judge(line, what)
                said = {attempt["outcome"] for attempt in line["attempts"]}
                if what == REFUSED:
                    self.assertEqual({attempt["chain"] for attempt in line["attempts"]}, self.names)
                told = next((word for word in (PLAIN, UNREACHABLE) if word in said), line["outcome"])
                self.assertIn(told, said)
                self.assertEqual((line["outcome"], code), (told, REPLIES[told][index]), line)

    def judge(self, line: dict[str, Any], what: str) -> None:
        """One failure in the journal: in time, and each attempt with a word that is known."""
        self.assertLess(line["seconds"], SEARCH_SECONDS, line)
        for attempt in line["attempts"]:
            kind = attempt["chain"].partition("-")[0]
            self.assertIn(attempt["outcome"], WORDS[kind][what] | {SILENT, "cancelled", "deadline"}, line)

    def assertWell(self, pipsocks: Pipsocks) -> None:
        """None was ejected, all are in use, and nothing went anywhere but through them."""
        for _ in self.names:
            self.fetch(pipsocks)
        self.assertNotIn("ejected", pipsocks.output)
        lines = pipsocks.journal(self.healthy, destination=f"127.0.0.1:{self.site.port}")
        self.assertEqual({line["outcome"] for line in lines}, {"ok"})
        for line in lines:
            self.assertEqual([attempt["outcome"] for attempt in line["attempts"]], ["ok"], line)
        last = lines[-2 * len(self.names) :]
        self.assertEqual({line["attempts"][0]["chain"] for line in last}, self.names)
        every = {attempt["chain"] for line in pipsocks.journal() for attempt in line["attempts"]}
        self.assertEqual(every, self.names)
        self.assertEqual({line["route"] for line in pipsocks.journal()}, {"exits"})
        self.assertEqual(self.site.connections, self.healthy)


class RealWordsTests(WordsTestCase):
    """Each kind alone, twice, and all of them together."""

    def alone(self, kind: str) -> None:
        """Two exits of one kind."""
        pipsocks = self.exits(kind, kind)
        self.mixed(pipsocks, 8)
        self.assertWell(pipsocks)

    def test_microsocks(self) -> None:
        """microsocks: 05, and 01 for a name."""
        self.alone("microsocks")

    def test_dante(self) -> None:
        """dante: 05, and 04 for a name."""
        self.alone("dante")

    def test_tinyproxy(self) -> None:
        """tinyproxy: 500 for both."""
        self.alone("tinyproxy")

    def test_squid(self) -> None:
        """squid: 503, and 503 or 500 for a name."""
        self.alone("squid")

    def test_mixed(self) -> None:
        """One of each: the plainest word is told."""
        pipsocks = self.exits("microsocks", "dante", "tinyproxy", "squid")
        self.mixed(pipsocks, 8)
        self.assertWell(pipsocks)

    def test_dropped(self) -> None:
        """A destination behind a firewall that drops: the client is told within the search's time, by either port."""
        pipsocks = self.exits("microsocks", "dante", "tinyproxy", "squid")
        self.fetch(pipsocks)
        with blackHole() as port:
            for protocol in ("connect", "socks5"):
                code, _ = self.ask(pipsocks, protocol, "127.0.0.1", port)
                self.assertIn(code, (502, 503, 504, 1, 4, 6))
            for line in pipsocks.journal(2, destination=f"127.0.0.1:{port}"):
                self.judge(line, DROPPED)
        self.mixed(pipsocks, 1)
        self.assertWell(pipsocks)

    def test_ssh(self) -> None:
        """``ssh -D``, beside other exits, and alone."""
        requires("ssh", "sshd", "ssh-keygen")
        for kinds in (("ssh", "microsocks", "tinyproxy"), ("ssh", "ssh")):
            self.setUp()
            pipsocks = self.exits(*kinds)
            self.mixed(pipsocks, 4)
            self.assertWell(pipsocks)

    def test_deadExit(self) -> None:
        """The same among which one exit is really dead: that one alone is ejected, and named."""
        gone = ("gone", f"socks5h://127.0.0.1:{self.refusing()}")
        pipsocks = self.exits("microsocks", "tinyproxy", extra=(gone,))
        for number in range(12):
            self.fetch(pipsocks)
            self.ask(pipsocks, "connect", *self.dead((REFUSED, MISSPELT)[number % 2]))
        pipsocks.expect("upstream gone is ejected")
        self.assertEqual(pipsocks.output.count("ejected"), 1, pipsocks.output)
        lines = pipsocks.journal(self.healthy, destination=f"127.0.0.1:{self.site.port}")
        self.assertEqual({line["outcome"] for line in lines}, {"ok"})
