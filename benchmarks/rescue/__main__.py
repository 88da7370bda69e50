"""
What becomes of clients whose exits fail, with pipsocks and with its peers: ``python -m benchmarks --rescue``.

Real pip, real uv and fast clients go through each proxy to a pool of exits on loopback that fail as they are told, from
a fixed seed. Each line is a figure with its bound. It installs nothing; peers that are not there are named. The exit
status is 1 when pipsocks misses a bound.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers import besidePython
from benchmarks.rescue import connects, cuts, dead, flights, hedge, installs, words
from benchmarks.rescue.figures import FULL, QUICK, Ground
from benchmarks.rescue.peers import PROXIES

SCENARIOS = {1: installs, 2: connects, 3: flights, 4: cuts, 5: words, 6: dead, 7: hedge}


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks --rescue", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few of everything: does all of it run?")
    parser.add_argument("--seed", type=int, default=1, help="what all chance is made from")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only proxies with NAME in theirs")
    parser.add_argument("--scenario", action="append", default=[], type=int, metavar="NUMBER", help="only this one")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="the Python whose pip installs")
    parser.add_argument("--keep", metavar="FOLDER", help="keep what all wrote there")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended too
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    size = QUICK if options.quick else FULL
    print(time.strftime("%Y-%m-%d"), "python", sys.version.split()[0], "seed", options.seed)
    for client in ([options.python, "-m", "pip", "--version"], [besidePython("uv")() or "uv", "--version"]):
        with contextlib.suppress(OSError):  # the figures say what is missing
            print(
                subprocess.run(client, capture_output=True, text=True).stdout.partition(" from")[0].strip(), flush=True
            )
    wanted = [each for each in PROXIES if not options.only or any(name in each.name for name in options.only)]
    there = [each for each in wanted if each.find() is not None]
    for each in wanted:
        if each not in there:
            print(f"not installed, not measured: {each.name}")
    missed = kept = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        Path(temporary).chmod(0o755)  # squid leaves root, and writes its log in there
        for number, scenario in SCENARIOS.items():
            if options.scenario and number not in options.scenario:
                continue
            print(f"\n{number}. {scenario.TITLE}", flush=True)
            for proxy in there:
                folder = Path(options.keep or temporary, f"{number}-{proxy.name}").absolute()
                began = time.monotonic()
                try:
                    for figure in scenario.run(proxy, Ground(size, options.seed, folder, options.python)):
                        print(f"  {proxy.name:9} {figure}", flush=True)
                        missed += proxy.ours and figure.ok is False
                        kept += proxy.ours and figure.ok is True
                except (OSError, RuntimeError) as error:
                    print(f"  {proxy.name:9} FAIL  could not be measured: {error}", flush=True)
                    missed += proxy.ours
                print(f"  {proxy.name:9} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"\npipsocks keeps to {kept} bounds and misses {missed}.")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
