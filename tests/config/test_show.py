"""``pipsocks config --show``."""

from __future__ import annotations

import tomllib

from pipsocks.config.show import show
from tests.config.test_load import LoadCase


class ShowTests(LoadCase):
    """The effective settings."""

    def lines(self, text: str) -> dict[str, str]:
        """Each line's source, by its key and value."""
        return dict(line.split(" # ") for line in text.splitlines() if " # " in line)  # type: ignore[misc]

    def test_defaults(self) -> None:
        """All keys, as a file would say them, in a file that says the same."""
        text = show(self.loaded())
        tree = tomllib.loads(text)
        self.assertEqual(tree["retry"], {"total": 8, "attempts": 8, "connect": 3, "handshake": 3})
        self.assertEqual(set(self.lines(text).values()), {"default"})
        self.assertEqual(show(self.loaded(file=text)).split("#")[0], text.split("#")[0])
        self.assertEqual(self.load(file=text).listeners[0].endpoint, self.load().listeners[0].endpoint)

    def test_sources(self) -> None:
        """Where each came from."""
        text = show(self.loaded(
            "--retry-total", "2.5", environ={"PIPSOCKS_VIA": "no"},
            file="journal = 'off'\nstrict = true\n[[listener]]\nsocks = '1'\nauth = 'htpasswd:x'\n",
        ))  # fmt: skip
        sources = {key.split(" = ")[0]: source for key, source in self.lines(text).items()}
        self.assertEqual(
            (sources["total"], sources["via"], sources["attempts"]), ("--retry-total", "PIPSOCKS_VIA", "default")
        )
        for key, place in (
            ("journal", "line 1: journal"), ("strict", "line 2: strict"), ("socks", "line 4: listener[0].socks"),
            ("auth", "line 5: listener[0].auth"),
        ):  # fmt: skip
            self.assertTrue(sources[key].endswith(place), (key, sources[key]))
        self.assertIn("total = 2.5 ", text)

    def test_rules(self) -> None:
        """Rules and the keys of datagrams stand as in a file, which says the same."""
        text = show(self.loaded(
            "--deny", "10.0.0.0/8", "--allow", "a.example:443", "--udp-ports", "5-6", "--udp-advertise", "::1",
        ))  # fmt: skip
        tree = tomllib.loads(text)
        self.assertEqual(tree["rule"], [{"deny": ["10.0.0.0/8"]}, {"allow": ["a.example"], "port": [443]}])
        self.assertEqual({(e["udp_ports"], e["udp_advertise"]) for e in tree["listener"]}, {("5-6", "::1")})
        self.assertIn("--allow", self.lines(text)[next(key for key in self.lines(text) if key.startswith("allow"))])
        again = self.load(file=text)
        self.assertEqual(list(map(str, again.rules)), ["deny 10.0.0.0/8", "allow a.example port 443"])

    def test_secrets(self) -> None:
        """Logins of chains and arguments of checkers are masked."""
        text = show(self.loaded(
            "--upstream", "https://token:hunter2@a:1?off", "--upstream", "direct",
            "--auth", "memory:bob:hunter2", "--auth", "htpasswd:/etc/users", "--auth", "anonymous",
        ))  # fmt: skip
        for secret in ("hunter2", "token", "bob"):
            self.assertNotIn(secret, text)
        self.assertIn('["https://***@a:1?sni=x&verify=off", "direct"]', text)
        self.assertIn('["memory:***", "htpasswd:/etc/users", "anonymous"]', text)

    def test_names(self) -> None:
        """A named chain keeps its name."""
        text = show(self.loaded(file="upstream = [{ chain = 'http://a:1', name = 'office' }]"))
        self.assertEqual(tomllib.loads(text)["upstream"], [{"chain": "http://a:1", "name": "office"}])
