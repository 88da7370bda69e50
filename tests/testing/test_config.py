"""Tests for `pipsocks.testing.config`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trustme
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import StartError
from pipsocks.testing import Origin, Upstream
from pipsocks.testing.config import Settings, read
from pipsocks.testing.plan import Plan, shown
from tests.functional.origins import certificateFile

WHOLE = """
log = "events"
seed = 7

[upstream.hk1]
listen = "127.0.0.2:4001"
faults = ["30% reset", "for=a.example reply=1"]
hosts = { "Index.example:443" = "[::1]:8443" }

[origin.index]
seed = 8
size = 1000
tls = "index.pem"

[echo.back]
listen = "[::1]:0"
"""


class ReadTests(SynchronousTestCase):
    """The file of ``twistd pipsocks-faults``."""

    def setUp(self) -> None:
        """A directory."""
        self.path = Path(self.mktemp())
        self.path.mkdir()
        self.file = self.path / "faults.toml"

    def read(self, text: str) -> Settings:
        """What a file comes to."""
        self.file.write_text(text)
        return read(str(self.file))

    def refused(self, text: str) -> list[tuple[str, str]]:
        """Where something is wrong, and what; each has a hint."""
        problems = self.assertRaises(StartError, self.read, text).problems
        for problem in problems:
            self.assertTrue(problem.hint, problem)
            self.assertTrue(problem.where.startswith(str(self.file)), problem)
        return [(problem.where.removeprefix(str(self.file)).removeprefix(": "), problem.what) for problem in problems]

    def test_whole(self) -> None:
        """Every key; a certificate lies beside the file."""
        os.symlink(certificateFile(), self.path / "index.pem")
        settings = self.read(WHOLE)
        hop, origin, echo = settings.listeners
        self.assertEqual(settings.log, "events")
        self.assertEqual((hop.name, hop.host, hop.port, hop.tls), ("hk1", "127.0.0.2", 4001, None))
        self.assertEqual(hop.faults, ("30% reset", "for=a.example reply=1"))
        self.assertEqual(hop.kind, Upstream({"index.example:443": ("::1", 8443)}))
        self.assertEqual((origin.host, origin.port, origin.seed, origin.kind), ("127.0.0.1", 0, 8, Origin(1000, 8)))
        self.assertIsNotNone(origin.tls)
        self.assertEqual((echo.host, echo.kind.name), ("::1", "echo"))

    def drawn(self, text: str, count: int = 300) -> dict[str, list[str]]:
        """What the connections to each listener draw."""
        told = {}
        for each in self.read(text).listeners:
            plan = Plan(each.faults, each.kind.name, each.seed)
            told[each.name] = [shown(plan.next()) for _ in range(count)]
        return told

    def test_ownChances(self) -> None:
        """Listeners with the same faults under one seed do not fail in step, whether you wrote the seed or not."""
        tables = "".join(f'[upstream.hk{number}]\nfaults = ["30% reset"]\n' for number in range(4))
        for top in ("", "seed = 7\n"):
            told = self.drawn(top + tables)
            self.assertEqual(len({tuple(turns) for turns in told.values()}), 4)
            # All four at once as often as chance has it: 300 times 0.3 ** 4 is 2.4; in step it would be 90.
            self.assertLess(sum(set(turns) == {"reset"} for turns in zip(*told.values(), strict=True)), 15)

    def test_reproducible(self) -> None:
        """What a listener draws depends on the seed and its name alone: not on the run, its place or its neighbours."""
        table = '[upstream.hk1]\nfaults = ["30% reset", "20% close"]\n'
        told = self.drawn(f"seed = 7\n{table}", 8)["hk1"]
        # As any process draws it, on any day.
        self.assertEqual(told, ["close", "none", "none", "none", "none", "reset", "reset", "none"])
        self.assertEqual(self.drawn(f"seed = 7\n[echo.a]\n{table}[echo.b]\n", 8)["hk1"], told)
        self.assertNotEqual(self.drawn(f"seed = 8\n{table}")["hk1"], self.drawn(f"seed = 7\n{table}")["hk1"])

    def test_ownSeed(self) -> None:
        """A listener's own seed is taken as it stands, whatever the name and the top say: as a `Server` takes it."""
        tables = "".join(f'[upstream.{name}]\nseed = 5\nfaults = ["30% reset"]\n' for name in ("a", "b"))
        alone = Plan(["30% reset"], "upstream", 5)
        expected = [shown(alone.next()) for _ in range(300)]
        self.assertEqual(self.drawn(f"seed = 7\n{tables}"), {"a": expected, "b": expected})

    def test_mirrors(self) -> None:
        """What origins serve is made from the seed as it stands: two under one seed are mirrors of each other."""
        first, second = self.read("seed = 7\n[origin.a]\n[origin.b]\n").listeners
        self.assertEqual((first.kind, second.kind), (Origin(seed=7), Origin(seed=7)))

    def test_beyondLoopback(self) -> None:
        """Who wants to be reached by others has to say so."""
        [(where, what)] = self.refused('[echo.a]\nlisten = "0.0.0.0:0"')
        self.assertEqual(where, "echo.a.listen")
        self.assertIn("everybody", what)
        settings = self.read('beyond_loopback = true\n[echo.a]\nlisten = "0.0.0.0:0"')
        self.assertEqual(settings.listeners[0].host, "0.0.0.0")

    def test_listen(self) -> None:
        """A port alone is one of 127.0.0.1."""
        self.assertEqual(self.read('[echo.a]\nlisten = "7"').listeners[0].port, 7)

    def test_wrong(self) -> None:
        """Everything that is wrong is told at once, with its place."""
        told = self.refused(
            """
log = 3
seed = -1
beyond_loopback = "no"
upstraem = 1
echo = 5

[upstream."a b"]
listen = 1
fault = []
faults = ["reset", "rset", "for=a silent", "5"]
hosts = { a = "b:1", "c:1" = "d", "e:1" = "f:0", "g:1" = 1 }

[upstream.b]
listen = "1.2.3:4"
faults = "reset"
hosts = 5
tls = ""

[origin.b]
listen = "127.0.0.1:99999"
faults = ["60% reset", "60% close"]
size = 1.5
tls = "none.pem"
"""
        )
        self.assertEqual(
            sorted(where for where, _ in told),
            sorted([
                "log", "seed", "beyond_loopback", "upstraem", "echo", "upstream.a b", "upstream.a b.listen",
                "upstream.a b.fault", "upstream.a b.faults[1]", "upstream.a b.faults[2]", "upstream.a b.faults[3]",
                "upstream.a b.hosts.a", "upstream.a b.hosts.c:1", "upstream.a b.hosts.e:1", "upstream.a b.hosts.g:1",
                "upstream.b.listen", "upstream.b.faults", "upstream.b.hosts", "upstream.b.tls", "origin.b",
                "origin.b.listen", "origin.b.faults", "origin.b.size", "origin.b.tls",
            ]),
        )  # fmt: skip

    def test_certificate(self) -> None:
        """A file without a key is no certificate, nor is one with somebody else's."""
        key = trustme.CA().issue_cert("a.example").private_key_pem.bytes().decode()
        other = trustme.CA().issue_cert("a.example").cert_chain_pems[0].bytes().decode()
        for text in ("nothing", key, key + other, "\udcff"):
            (self.path / "a.pem").write_text(text, errors="surrogateescape")
            self.assertIn("no key", self.refused('[echo.a]\ntls = "a.pem"')[0][1])

    def test_nothing(self) -> None:
        """A file without a listener, one that is no TOML, no text, too large, or not there."""
        self.assertEqual(self.refused(""), [("", "there is no listener in it")])
        self.assertIn("line 2", self.refused("log = 1\nupstream 5\n")[0][1])
        self.refused("[upstream]\na = 1")
        self.file.write_bytes(b"\xff")
        self.assertRaises(StartError, read, str(self.file))
        self.file.write_text("#" * (1 << 20) + "\n")
        self.assertRaises(StartError, read, str(self.file))
        for name in (str(self.path / "none"), str(self.path), "\0"):
            self.assertRaises(StartError, read, name)

    @given(
        st.dictionaries(
            st.sampled_from(["log", "seed", "upstream", "origin", "echo", "beyond_loopback"]),
            st.recursive(
                st.one_of(st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(st.sampled_from(["a", "listen", "faults", "hosts", "size", "seed"]), inner),
                ),
                max_leaves=6,
            ),
        )
    )
    def test_anyTree(self, tree: Any) -> None:
        """Whatever stands under the known keys, it is read or refused with a hint."""
        from pipsocks.testing.config import _Reader

        reader = _Reader("faults.toml")
        reader.settings(tree)
        assert all(problem.hint for problem in reader.problems)
