"""The how-tos of docs/: each configuration and command on the pages is run, and each line that they show is seen."""

from __future__ import annotations

import re
from typing import Any

from tests.functional.origins import noise, origin
from tests.functional.pages import HowToTestCase, Tor
from tests.functional.processes import Pipsocks
from tests.functional.talk import askConnect, askGet, readExactly


class PoolTests(HowToTestCase):
    """docs/pool.rst."""

    name = "pool"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:1080", "hk3": "hk3.example:3128"}

    def test_pip(self) -> None:
        """A dead exit and one with a login page are found out by the probes; pip installs over the third."""
        self.upstreams(hk1=["refuse"], hk2=["portal"])
        self.write(*self.page.files)
        pipsocks = self.start()
        for name in ("hk1", "hk2"):
            self.assertLogged(self.page.line(f"upstream {name} is out"), pipsocks)
        fetched = self.pip(pipsocks)
        self.assertEqual(fetched.status, 0, fetched.output)
        self.assertNotIn("Retrying", fetched.output)
        line = self.page.line("hk3 ok", "because=route[0]")
        for entry in pipsocks.journal(1):
            self.assertShown(line, entry)

    def test_dies(self) -> None:
        """An exit that says yes and dies, after it passed its probe: the client notices nothing."""
        self.upstreams(hk1=["for=files.example flight-close"])
        self.write(*self.page.files)
        entry = self.fetch(self.start(), "files.example")
        self.assertShown(self.page.line("hk1 died"), entry)

    def test_failures(self) -> None:
        """Whatever an exit does before the first byte, the client gets its file."""
        faults = ("reset", "close", "silent", "nonsense", "reply=1", "cut", "asked-reset", "then-close", "flight-reset")
        self.upstreams(hk1=[f"for=files.example {fault}" for fault in ("reply=4", "cut", "asked-close", "then-reset")])
        self.write(self.page.files[0].replace('probe = "index.example:443"\n', ""))
        pipsocks = self.start()
        for _ in range(9):
            self.fetch(pipsocks, "files.example")
        self.upstreams(hk1=list(faults))
        self.write(self.page.files[0].replace('probe = "index.example:443"\n', "").replace("round-robin", "order"))
        pipsocks = self.start()
        for _ in faults:
            entry = self.fetch(pipsocks, "files.example")
            self.assertIn(("hk2", "ok"), self.seen(entry))

    def test_noneWorks(self) -> None:
        """pip prints which exits there are, and what each of them did; nothing goes out directly."""
        self.upstreams(hk1=["refuse"], hk2=["close"], hk3=["login-refused"])
        self.write(*self.page.files)
        pipsocks = self.start()
        for name in ("hk1", "hk2", "hk3"):
            pipsocks.expect(f"upstream {name} is out")
        fetched = self.pip(pipsocks, "--retries", "1")
        self.assertEqual(fetched.status, 1, fetched.output)
        self.assertIn(self.page.line("PS-UP09"), self.page.back(fetched.output))
        for entry in pipsocks.journal(2):
            self.assertEqual({chain for chain, _ in self.seen(entry)}, {"hk1", "hk2", "hk3"})
        self.assertEqual(self.site.connections, 0)

    def test_siteDown(self) -> None:
        """All exits say that the site refuses: each is asked once, and the answer is theirs."""
        self.upstreams(**{name: ["for=files.example reply=5"] for name in self.hops})
        self.write(*self.page.files)
        pipsocks = self.start()
        told = self.refused(pipsocks, "files.example")
        self.assertIn(self.page.line("PS-UP21"), told)
        self.assertEqual([chain for chain, _ in self.seen(pipsocks.session())], ["hk1", "hk2", "hk3"])


class GatewayTests(HowToTestCase):
    """docs/gateway.rst."""

    name = "gateway"
    hops = {"gate": "gate.example:7000"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's command, before a gateway with these faults."""
        self.upstreams(gate=list(faults))
        return self.start(*self.command("--upstream"))

    def test_fails(self) -> None:
        """502 and 503 from a gateway that can do better are not the answer."""
        pipsocks = self.begin("status=502 Bad Gateway", "status=503 No Peer", "none")
        entry = self.fetch(pipsocks, "index.example")
        self.assertShown(self.page.line("hop_bad_gateway"), entry)

    def test_file(self) -> None:
        """The file says the same as the command."""
        self.upstreams(gate=["asked-close", "none"])
        self.write(self.page.files[0])
        entry = self.fetch(self.start(), "index.example")
        self.assertEqual([outcome for _, outcome in self.seen(entry)], ["hop_closed_after", "ok"])

    def test_dies(self) -> None:
        """A yes that is followed by nothing: the same gateway is asked again."""
        entry = self.fetch(self.begin("flight-close", "none"), "index.example")
        self.assertShown(self.page.line("died"), entry)

    def test_diesTwice(self) -> None:
        """It is asked again twice."""
        entry = self.fetch(self.begin("flight-close", "flight-reset", "none"), "index.example")
        self.assertEqual(entry["replays"], 2)

    def test_fourReports(self) -> None:
        """The fourth report is the answer; the client's next try costs one."""
        pipsocks = self.begin("status=502 Bad Gateway")
        told = [self.refused(pipsocks, "index.example") for _ in range(2)]
        self.assertEqual(told, [self.page.line("PS-UP20")] * 2)
        self.assertEqual([len(entry["attempts"]) for entry in pipsocks.journal(2)], [4, 1])

    def test_login(self) -> None:
        """A login that is refused is told at once, and the gateway is left alone then."""
        gateway = self.upstreams(gate=["login-refused"])
        pipsocks = self.start(*self.command("--upstream"))
        told = {self.refused(pipsocks, "index.example") for _ in range(3)}
        self.assertEqual(len(told), 1)
        self.assertIn("502 PS-UP10 upstream gate.example:7000 refused our login", told.pop())
        self.assertEqual([entry["outcome"] for entry in pipsocks.journal(3)], ["hop_login"] * 3)
        self.assertEqual(gateway.output.count('"accepted"'), 1)

    def test_plainHTTP(self) -> None:
        """The gateway's answer to a plain request is passed on."""
        answer = askGet(self.dial(self.begin("status=503 No Peer").http()), "http://index.example/")
        self.assertEqual((answer.status, answer.reason), (503, "No Peer"))

    def test_sessions(self) -> None:
        """One host stays with one session, whose name the gateway reads in the user; others spread."""
        asked: list[tuple[str, str]] = []

        def gateway(connection: Any) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += readExactly(connection, 1)
            lines = head.decode().split("\r\n")
            asked.append((lines[0].split()[1], next(line for line in lines if line.startswith("Proxy-Auth"))))
            connection.sendall(b"HTTP/1.1 403 Enough\r\nContent-Length: 0\r\n\r\n")

        self.page.places[self.hops["gate"]] = self.peer(gateway).address
        self.write(self.page.files[1])
        pipsocks = self.start()
        hosts = [f"host{number}.example" for number in range(12)]
        for host in hosts + hosts:
            askConnect(self.dial(pipsocks.http()), host, 443)
        first: dict[str, list[str]] = {}
        for host, login in asked:
            first.setdefault(host, []).append(login)
        orders = list(first.values())
        self.assertEqual(len(orders), 12)
        for logins in orders:
            self.assertEqual(logins[:3], logins[3:], "the same order of sessions both times")
            self.assertEqual(len(set(logins)), 3, "each session has a user of its own")
        self.assertEqual(len({logins[0] for logins in orders}), 3)


class OfficeTests(HowToTestCase):
    """docs/office.rst."""

    name = "office"
    hops = {"office": "proxy.corp.example:8080"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's file, before an office proxy with these faults."""
        self.upstreams(office=list(faults))
        self.write(*self.page.files)
        return self.start()

    def test_office(self) -> None:
        """In the office everything goes over the proxy, but for what is inside."""
        pipsocks = self.begin()
        self.assertShown(self.page.line("office ok"), self.fetch(pipsocks, "index.example"))
        self.assertShown(self.page.line("no_proxy"), self.fetchDirectly(pipsocks, "index.corp.example"))

    def test_home(self) -> None:
        """At home it is not there, and direct is taken; after five failures nobody tries it."""
        pipsocks = self.begin("refuse")
        for _ in range(5):
            entry = self.fetchDirectly(pipsocks, "files.example")
            self.assertShown(self.page.line("office (at", "direct ok"), entry)
        entry = self.fetchDirectly(pipsocks, "files.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])

    def test_directIsTaken(self) -> None:
        """Each way to fail that says nothing of the site; the last one puts the proxy out, which the log says."""
        faults = {
            "silent": "hop_silent",
            "status=500 Oh": "hop_failed",
            "status=503 No": "hop_failed",
            "asked-close": "hop_closed_after",
            "asked-silent": "hop_silent_after",
            "method-refused": "hop_login",
        }
        pipsocks = self.begin(*faults)
        for outcome in faults.values():
            entry = self.fetchDirectly(pipsocks, "files.example")
            expected = "hop_silent_after" if outcome == "hop_silent" else outcome  # HTTP is asked first of all
            self.assertEqual(self.seen(entry), [("office", expected), ("direct", "ok")])
        pipsocks.expect("upstream office is out for 300 s: PS-UP10 .* it offers only NTLM; put px or cntlm before it")
        entry = self.fetchDirectly(pipsocks, "files.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])

    def test_directIsNotTaken(self) -> None:
        """What the proxy forbids, or says is down, is not got around it."""
        pipsocks = self.begin("status=403 Forbidden")
        self.assertIn(self.page.line("PS-UP11"), self.refused(pipsocks, "index.example"))
        for status, slug in (("502", "502 PS-UP20"), ("504", "504 PS-UP19")):
            pipsocks = self.begin(f"status={status} Bad")
            self.assertIn(slug, self.refused(pipsocks, "files.example", self.site.port))
            self.assertEqual({chain for chain, _ in self.seen(pipsocks.session())}, {"office"})
        self.assertEqual(self.site.connections, 0)

    def test_plainHTTP(self) -> None:
        """A plain request's 403 is passed on; a 504 of the proxy's own sends it once more, directly."""
        pipsocks = self.begin("status=403 Not You", "status=504 Too Late")
        connection = self.dial(pipsocks.http())
        answers = [askGet(connection, origin().url("/noise/10", "files.example")) for _ in range(2)]
        self.assertEqual([(answer.status, answer.reason) for answer in answers], [(403, "Not You"), (200, "OK")])
        self.assertEqual(answers[1].body, noise(10))

    def test_command(self) -> None:
        """Without a fallback an office proxy that wants NTLM is an error that says what to do."""
        self.upstreams(office=["method-refused"])
        pipsocks = self.start(*self.command("--upstream"))
        self.assertEqual(self.refused(pipsocks, "index.example"), self.page.line("PS-UP10"))
        self.assertEqual(self.site.connections, 0)
        entry = self.fetchDirectly(pipsocks, "index.corp.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])


class TorTests(HowToTestCase):
    """docs/tor.rst."""

    name = "tor"
    hops = {"tor": "127.0.0.1:9050"}

    def begin(self, *faults: str) -> Pipsocks:
        """By the page's file, before a stand-in for tor with these faults."""
        self.upstreams(tor=list(faults))
        self.write(self.page.files[0])
        return self.start()

    def beginReal(self) -> tuple[Pipsocks, Tor]:
        """By the page's file, before the real one."""
        tor = self.keep(Tor(self.directory(), self.refusing()))
        self.page.places[self.hops["tor"]] = f"127.0.0.1:{tor.port}"
        self.write(self.page.files[0])
        return self.start(), tor

    def test_works(self) -> None:
        """Everything goes over Tor, and no name is looked up here."""
        pipsocks = self.begin()
        self.assertShown(self.page.line("circuit1 ok"), self.fetch(pipsocks, "index.example"))
        self.assertNotIn("looked up", pipsocks.output)

    def test_nextCircuit(self) -> None:
        """What one circuit can't reach goes to the next; so does what one has lost after its yes."""
        pipsocks = self.begin("reply=1", "reply=6", "flight-close", "none")
        entry = self.fetch(pipsocks, "index.example")
        outcomes = [outcome for _, outcome in self.seen(entry)]
        self.assertEqual(outcomes[:4], ["hop_failed", "hop_ttl", "ok", "died"])
        self.assertEqual(outcomes[-1], "ok")
        self.assertNotIn("looked up", pipsocks.output)

    def test_slow(self) -> None:
        """A slow circuit is not cut off; after its share the next one is tried beside it."""
        entry = self.fetch(self.begin("slow=5", "none"), "index.example")
        self.assertEqual(self.seen(entry), [("circuit2", "ok"), ("circuit1", "overtaken")])

    def test_oneCircuit(self) -> None:
        """One circuit that takes longer than the usual 3 seconds, by the page's command."""
        self.upstreams(tor=["slow=4"])
        entry = self.fetch(self.start(*self.command("--retry-total")), "index.example")
        self.assertEqual([outcome for _, outcome in self.seen(entry)], ["ok"])

    def test_replies(self) -> None:
        """What Tor says, as the page's table has it, when all circuits say so."""
        table = {
            "reply=5": "502 PS-UP21", "reply=4": "502 PS-UP20", "reply=2": "403 PS-UP11", "reply=6": "504 PS-UP17",
            "reply=1": "502 PS-UP14", "reply=3": "502 PS-UP18", "reply=240": "502 PS-UP14", "reply=247": "502 PS-UP14",
        }  # fmt: skip
        pipsocks = self.begin(*(fault for fault in table for _ in range(3)))
        for number, (fault, told) in enumerate(table.items()):
            self.assertIn(told, self.refused(pipsocks, f"host{number}.example"), fault)
        self.assertNotIn("looked up", pipsocks.output)

    def test_doesNotRun(self) -> None:
        """Tor is not there."""
        told = self.refused(self.begin("refuse"), "index.example")
        self.assertIn(self.page.line("PS-UP02"), told)

    def test_realOnion(self) -> None:
        """The real Tor takes our login, for a circuit of its own, and its extended error arrives."""
        pipsocks, tor = self.beginReal()
        answer = askConnect(self.dial(pipsocks.http()), "parrot.onion", 443)
        self.assertEqual(answer.status, 502)
        self.assertReason(answer, "PS-UP14")
        self.assertIn('said "SOCKS5 reply F6, onion address invalid"', answer.body.decode())
        tor.expect(r"accepted method 2 \(username/password\)")
        self.assertEqual([chain for chain, _ in self.seen(pipsocks.session())], ["circuit1", "circuit2", "circuit3"])

    def test_realNotConnected(self) -> None:
        """The real Tor without a network takes requests and is silent; the client has its answer in time."""
        pipsocks, _ = self.beginReal()
        self.assertEqual(self.refused(pipsocks, "index.example"), self.page.line("PS-UP22"))
        attempts = [(f"circuit{number}", "deadline") for number in (1, 2, 3)]
        self.assertEqual(self.seen(pipsocks.session()), attempts)

    def test_onionOnly(self) -> None:
        """Onion services over Tor, whose names are not looked up here; everything else straight."""
        self.upstreams()
        self.write(self.page.files[1])
        pipsocks = self.start()
        entry = self.fetch(pipsocks, "parrot.onion")
        self.assertEqual((entry["route"], entry["because"]), ("tor", "route[0] host .onion"))
        self.assertNotIn("looked up", pipsocks.output)
        entry = self.fetchDirectly(pipsocks, "index.example")
        self.assertEqual(self.seen(entry), [("direct", "ok")])


class RoutesTests(HowToTestCase):
    """docs/routes.rst, its how-to."""

    name = "routes"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:443", "office": "proxy.corp.example:8080"}
    tls = "hk2"

    def test_split(self) -> None:
        """The private index goes straight, the public one over the exits, and nothing else goes anywhere."""
        self.upstreams()
        self.write(self.page.files[0])
        pipsocks = self.start()
        public, private = (line for line in self.page.lines if line.startswith("destination="))
        entry = self.fetch(pipsocks, "index.example")
        self.assertShown(public, entry)
        self.assertIn(self.seen(entry)[-1], [("hk1.example:1080", "ok"), ("hk2.example:443", "ok")])
        self.assertShown(private, self.fetchDirectly(pipsocks, "index.corp.example"))
        self.assertIn("403 PS-RU03 no route leads to files.example:443", self.refused(pipsocks, "files.example"))

    def test_pip(self) -> None:
        """pip takes two indexes, each of them its own way, without being told of it."""
        self.upstreams()
        self.write(self.page.files[0])
        pipsocks = self.start()
        private = f"https://index.corp.example:{self.site.port}/simple/"
        fetched = self.pip(pipsocks, "--extra-index-url", "https://index.example/simple/", index=private)
        self.assertEqual(fetched.status, 0, fetched.output)
        ways = {(entry["destination"].partition(":")[0], entry["route"]) for entry in pipsocks.journal(2)}
        self.assertEqual(ways, {("index.corp.example", "direct"), ("index.example", "exits")})

    def test_tiers(self) -> None:
        """The office's proxy is for when neither of the others works."""
        self.upstreams(hk1=["refuse"], hk2=["close"])
        self.write(self.page.files[0])
        pipsocks = self.start()
        for name in ("hk1", "hk2"):
            pipsocks.expect(f"upstream {re.escape(self.page.places[self.hops[name]])} is out")
        self.assertEqual(self.seen(self.fetch(pipsocks, "index.example")), [("office", "ok")])

    def test_lastRoute(self) -> None:
        """A last route opens the rest."""
        self.upstreams()
        self.write(*self.page.files[:2])
        entry = self.fetch(self.start(), "files.example")
        self.assertEqual((entry["route"], entry["because"]), ("exits", "route[1]"))

    def test_inside(self) -> None:
        """The company's index over the office's proxy, nothing else of the company's, and the rest over the exits."""
        self.upstreams()
        self.write(self.page.files[2])
        pipsocks = self.start()
        entry = self.fetch(pipsocks, "index.corp.example")
        told = (entry["route"], entry["because"], self.seen(entry))
        self.assertEqual(told, ("inside", "route[0] host index.corp.example", [("proxy.corp.example:8080", "ok")]))
        self.assertEqual(self.refused(pipsocks, "www.corp.example"), self.page.line("PS-RU01"))
        self.assertIn("403 PS-RU01", self.refused(pipsocks, "index.corp.example", 80))
        entry = self.fetch(pipsocks, "index.example")
        self.assertEqual((entry["route"], self.seen(entry)), ("exits", [("hk1.example:1080", "ok")]))
        self.assertNotIn("looked up", pipsocks.output)

    def test_command(self) -> None:
        """``--no-proxy`` without a file."""
        self.upstreams()
        pipsocks = self.start(*self.command("--no-proxy"))
        self.assertEqual(self.fetchDirectly(pipsocks, "index.corp.example")["route"], "direct")
        self.assertEqual(self.seen(self.fetch(pipsocks, "files.example")), [("hk1.example:1080", "ok")])


class RetriesTests(HowToTestCase):
    """docs/retries.rst, and a word in the journal for each thing that it tells."""

    name = "retries"
    hops = {"hk1": "hk1.example:1080", "hk2": "hk2.example:1080", "hk3": "hk3.example:1080"}

    def begin(self, **faults: list[str]) -> Pipsocks:
        """By the page's command."""
        self.upstreams(**faults)
        return self.start(*self.command("--upstream"))

    def test_line(self) -> None:
        """The page's example."""
        entry = self.fetch(self.begin(hk1=["refuse"], hk2=["then-close"]), "index.example")
        self.assertShown(self.page.line("replays=1"), entry)

    def test_ejected(self) -> None:
        """Five failures in a row, and a line that says so."""
        pipsocks = self.begin(hk1=["refuse"])
        for _ in range(5):
            self.fetch(pipsocks, "index.example")
        self.assertLogged(self.page.line("is ejected"), pipsocks)
        self.assertEqual(self.seen(self.fetch(pipsocks, "index.example")), [("hk2.example:1080", "ok")])

    def test_silentAfterYes(self) -> None:
        """A ClientHello without an answer goes again after 4 seconds."""
        entry = self.fetch(self.begin(hk1=["flight-silent"]), "index.example")
        told = [("hk1.example:1080", "ok"), ("hk2.example:1080", "ok"), ("hk1.example:1080", "unanswered")]
        self.assertEqual(self.seen(entry), told)

    def test_resume(self) -> None:
        """A plain download that is cut again and again is whole, and the journal counts."""
        files = self.faulty(options=("--kind", "origin", "--size", "300000"))
        pipsocks = self.begin(hk1=["reset-after=100000"], hk2=["close-after=100000"])
        fetched = self.curl(pipsocks, f"http://{files.address}/parrot", "--output", "parrot")
        self.assertEqual((fetched.status, fetched.output), (0, ""))
        entry = pipsocks.session()
        self.assertEqual((entry["outcome"], entry["resumes"] > 0), ("ok", True))
        self.assertGreater(entry["down"], 300_000)

    def test_words(self) -> None:
        """Each word of the table that is no failure's own is one that the journal knows."""
        table = self.page.text[self.page.text.index(":header: word, meaning") :]
        words = re.findall(r"^   ``(\w+)``(?:, ``(\w+)``)? \|", table, re.MULTILINE)
        flat = {word for pair in words for word in pair if word}
        self.assertEqual(flat, {"ok", "reused", "overtaken", "cancelled", "deadline", "died", "unanswered", "cut"})
