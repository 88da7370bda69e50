"""
Measure pipsocks beside the peers that are installed: ``python -m benchmarks``.

Every round measures each proxy once, one after the other, so that a machine whose speed drifts drifts for all. What is
printed are medians over the rounds and their ratio to pipsocks' on the same protocol: above 1.00 the peer has more of
it. It installs nothing; peers that are not there are named. The exit status is 1 when bytes differed or a peer that is
there could not be measured.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks import load
from benchmarks.peers import PEERS, Peer, Running, running


@attrs.frozen
class Figure:
    """One thing that is measured, and whether more of it is better."""

    name: str
    unit: str
    moreIsBetter: bool


SETUPS = Figure("tunnel set-ups", "/s", True)
SETUP_CPU = Figure("CPU per set-up", "µs", False)
BULK = Figure("bulk, one stream", "GB/s", True)
BULK_CPU = Figure("CPU per GB", "s", False)
IDLE = Figure("memory per idle tunnel", "KiB", False)
FIGURES = (SETUPS, SETUP_CPU, BULK, BULK_CPU, IDLE)


@attrs.frozen
class Size:
    """How much is measured in a round."""

    setups: int
    megabytes: int
    idle: int
    rounds: int


FULL = Size(setups=3000, megabytes=2048, idle=1000, rounds=5)
QUICK = Size(setups=200, megabytes=64, idle=50, rounds=1)


def measure(proxy: Running, size: Size) -> dict[Figure, float]:
    """One round of one proxy. Raises `load.BytesDiffer`."""
    protocol, port = proxy.peer.protocol, proxy.port
    load.checkBytes(protocol, port, 16)
    load.setupSeconds(protocol, port, min(100, size.setups), 32)  # the first ones pay for imports and caches
    cpu = proxy.cpuSeconds()
    seconds = load.setupSeconds(protocol, port, size.setups, 32)
    figures = {SETUPS: size.setups / seconds, SETUP_CPU: (proxy.cpuSeconds() - cpu) / size.setups * 1e6}
    cpu = proxy.cpuSeconds()
    seconds = load.bulkSeconds(protocol, port, size.megabytes)
    gigabytes = size.megabytes * (1 << 20) / 1e9
    figures |= {BULK: gigabytes / seconds, BULK_CPU: (proxy.cpuSeconds() - cpu) / gigabytes}
    before = proxy.memoryKiB()
    with load.idleTunnels(protocol, port, size.idle):
        figures[IDLE] = max(0.0, (proxy.memoryKiB() - before) / size.idle)
    return figures


def run(
    peers: list[Peer], size: Size, say: Callable[[str], None]
) -> tuple[dict[Peer, list[dict[Figure, float]]], list[str]]:
    """Every round of every peer, and what went wrong."""
    results: dict[Peer, list[dict[Figure, float]]] = {peer: [] for peer in peers}
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(size.rounds):
            for peer in peers:
                say(f"round {turn + 1} of {size.rounds}: {peer.name}")
                try:
                    with running(peer, Path(folder) / f"{peer.name.replace(' ', '-')}-{turn}") as proxy:
                        results[peer].append(measure(proxy, size))
                except (load.BytesDiffer, OSError, RuntimeError) as error:
                    failures.append(f"{peer.name}: {error}")
    return results, failures


def table(results: dict[Peer, list[dict[Figure, float]]]) -> str:
    """Medians, each with its ratio to pipsocks' on the same protocol."""
    lines = []
    for protocol in dict.fromkeys(peer.protocol for peer in results):
        peers = [peer for peer in results if peer.protocol == protocol and results[peer]]
        if not peers:
            continue
        medians = {p: {f: statistics.median(r[f] for r in results[p]) for f in FIGURES} for p in peers}
        ours = next((medians[p] for p in peers if p.name.startswith("pipsocks")), None)
        lines += ["", f"{protocol}: " + ", ".join(f"{f.name} ({f.unit})" for f in FIGURES)]
        for peer in peers:
            cells = [f"{peer.name:18}"]
            for figure in FIGURES:
                value = medians[peer][figure]
                ratio = f"{value / ours[figure]:5.2f}x" if ours and ours[figure] else "     -"
                cells.append(f"{value:10.2f} {ratio}")
            lines.append("  ".join(cells))
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """The command."""
    if "--rescue" in arguments:
        from benchmarks.rescue import __main__ as rescue

        return rescue.main([each for each in arguments if each != "--rescue"])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--rescue", action="store_true", help="what becomes of clients whose exits fail; see its --help"
    )
    parser.add_argument("--quick", action="store_true", help="one small round: does everything run?")
    parser.add_argument("--rounds", type=int, help="how many rounds")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="only peers whose name contains NAME"
    )
    options = parser.parse_args(arguments)
    size = QUICK if options.quick else FULL
    if options.rounds:
        size = attrs.evolve(size, rounds=options.rounds)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wanted = [p for p in PEERS if not options.only or any(name in p.name for name in options.only)]
    there = [p for p in wanted if p.find() is not None]
    print(time.strftime("%Y-%m-%d"), "python", sys.version.split()[0], flush=True)
    for peer in wanted:
        if peer not in there:
            print(f"not installed, not measured: {peer.name}")
    results, failures = run(there, size, lambda line: print(line, file=sys.stderr, flush=True))
    print(table(results))
    print("\nThe second number of each column is the ratio to pipsocks on the same protocol.")
    for failure in failures:
        print(f"FAILED {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
