"""Clients whose exits fail, through a running pipsocks: every scenario of the rescue benchmark, with little of each."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import attrs
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.rescue import __main__ as command
from benchmarks.rescue import clients
from benchmarks.rescue.figures import Figure, Ground, atLeast, atMost, missing, none, share
from benchmarks.rescue.hedge import percentile
from benchmarks.rescue.proxies import PIPSOCKS, Proxy
from tests.functional.processes import ROOT, cleanEnvironment


class RescueTests(SynchronousTestCase):
    """``python -m benchmarks --rescue --quick``: pipsocks keeps to every bound."""

    def rescued(self, number: int, figures: int) -> None:
        """Run a scenario; at least so many figures must be printed, and all of them be fine."""
        result = subprocess.run(
            [
                sys.executable, "-m", "benchmarks", "--rescue", "--quick",
                "--only", "pipsocks", "--scenario", str(number),
            ],
            cwd=ROOT,
            env=cleanEnvironment(),
            capture_output=True,
            text=True,
            timeout=240,
        )  # fmt: skip
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertGreaterEqual(len(re.findall(r"(?m)^  pipsocks  ok ", result.stdout)), figures, result.stdout)
        self.assertNotIn("n.a.", result.stdout)

    def test_installs(self) -> None:
        """pip and uv install at the first try, over exits of which one alone is healthy, and speak of no retry."""
        self.rescued(1, 6)

    def test_connects(self) -> None:
        """Exits that fail 30 % of connects cost a client nothing, and one and a half dials at most."""
        self.rescued(2, 6)

    def test_flights(self) -> None:
        """Exits that kill 30 % of tunnels cost nothing either; what must not go twice goes once."""
        self.rescued(3, 10)

    def test_cuts(self) -> None:
        """A download that is cut ten times arrives whole, and next to nothing of it twice."""
        self.rescued(4, 4)

    def test_words(self) -> None:
        """A dead destination throws no healthy exit out."""
        self.rescued(5, 16)

    def test_dead(self) -> None:
        """When all exits are dead every client hears so; nothing goes straight, and nobody is hammered."""
        self.rescued(6, 14)

    def test_hedge(self) -> None:
        """With hedging an exit that is slow now and then is hardly felt."""
        self.rescued(7, 6)


@attrs.define
class Scenario:
    """A scenario of the tests' own."""

    figures: list[Figure]
    TITLE: str = "A scenario"

    def run(self, proxy: Proxy, ground: Ground) -> Iterator[Figure]:
        """Say them."""
        yield from self.figures


class CommandTests(SynchronousTestCase):
    """The command fails where pipsocks misses a bound, and there alone."""

    def run_(self, figures: list[Figure], *proxies: Proxy) -> tuple[int, str]:
        """Its exit status, and what it printed."""
        self.patch(command, "SCENARIOS", {1: Scenario(figures)})
        self.patch(command, "PROXIES", proxies)
        self.patch(command, "signal", SimpleNamespace(signal=lambda *_: None, SIGTERM=15))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            status = command.main(["--quick"])
        return status, printed.getvalue()

    def test_kept(self) -> None:
        """All is well: status 0."""
        status, printed = self.run_([atMost("dials", 1.25, 1.5)], PIPSOCKS)
        self.assertEqual(status, 0)
        self.assertIn("pipsocks  ok    dials: 1.25 (at most 1.5)\n", printed)
        self.assertIn("keeps to 1 bounds and misses 0", printed)

    def test_missed(self) -> None:
        """A bound that pipsocks misses: status 1."""
        status, printed = self.run_([share("tunnels", 99, 100, 99.8, ["1 x lost"])], PIPSOCKS)
        self.assertEqual(status, 1)
        self.assertIn("pipsocks  FAIL  tunnels: 99 of 100, 99.00 %; 1 x lost (at least 99.8 %)\n", printed)

    def test_peers(self) -> None:
        """A peer may miss it, or be missing."""
        peer = attrs.evolve(PIPSOCKS, name="peer")
        absent = attrs.evolve(PIPSOCKS, name="absent", find=lambda: None)
        status, printed = self.run_([none("losses", ["one"]), missing("hedging", "has none")], peer, absent)
        self.assertEqual(status, 0)
        self.assertIn("peer      FAIL  losses: 1: one (none)\n", printed)
        self.assertIn("peer      n.a.  hedging: has none\n", printed)
        self.assertIn("not installed, not measured: absent", printed)

    def test_unmeasured(self) -> None:
        """What can't be started is named, and it is no success."""

        def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
            raise RuntimeError("ended at once")
            yield

        self.run_([], PIPSOCKS)
        self.patch(command, "SCENARIOS", {1: SimpleNamespace(TITLE="A scenario", run=run)})
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            self.assertEqual(command.main(["--quick"]), 1)
        self.assertIn("pipsocks  FAIL  could not be measured: ended at once", printed.getvalue())

    def test_figures(self) -> None:
        """A bound that is met exactly is met."""
        self.assertTrue(atMost("", 8, 8).ok)
        self.assertTrue(atLeast("", 5, 5).ok)
        self.assertFalse(atLeast("", 4.9, 5).ok)
        self.assertTrue(share("", 995, 1000, 99.5).ok)
        self.assertFalse(share("", 0, 0, 1).ok)
        self.assertTrue(none("", []).ok)

    def test_percentile(self) -> None:
        """Of 200 the 99th percentile is the third largest."""
        self.assertEqual(percentile(list(range(200, 0, -1)), 99), 198)

    def test_outcomes(self) -> None:
        """What a client is told is told apart from what just ends."""

        async def well() -> None:
            return

        async def refused() -> None:
            raise clients.Refused("SOCKS reply 1")

        async def lost() -> None:
            raise ConnectionResetError

        outcomes = clients.crowd([well, refused, lost, lost], 2)
        self.assertEqual([outcome.refused for outcome in outcomes].count(True), 1)
        self.assertEqual(clients.failures(outcomes), ["2 x ConnectionResetError", "1 x SOCKS reply 1"])
