"""
Put every behaviour to pipsocks and to every peer that is installed: ``python -m conformance``.

Each proxy is started by itself, with a fresh configuration, and asked through raw sockets on loopback. Versions, date
and raw verdicts go to ``conformance/results.json``; ``--table`` makes ``docs/conformance.rst`` from that file. It
installs nothing; peers that are not there are named.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter

from conformance.behaviour import FAIL
from conformance.catalogue import BEHAVIOURS
from conformance.peers import PEERS
from conformance.run import examine
from conformance.table import PAGE, RESULTS, page, readResults, writeResults


def main(arguments: list[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("--table", action="store_true", help="make docs/conformance.rst from the results; ask nobody")
    parser.add_argument("--list", action="store_true", help="list the behaviours; ask nobody")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="ask this proxy alone; repeatable")
    parser.add_argument(
        "--behaviour", action="append", default=[], metavar="TEXT",
        help="ask only for behaviours whose id contains TEXT, print what was seen, and write nothing",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the proxies are ended too
    if options.list:
        for behaviour in BEHAVIOURS.values():
            print(f"{behaviour.id}: {behaviour.title} ({behaviour.source})")
        return 0
    if options.table:
        PAGE.write_text(page(readResults(), BEHAVIOURS.values()))
        return 0
    unknown = set(options.only) - {peer.name for peer in PEERS}
    if unknown:
        parser.error(f"no such proxy: {', '.join(sorted(unknown))}; there are {', '.join(p.name for p in PEERS)}")
    asked = [b for b in BEHAVIOURS.values() if not options.behaviour or any(text in b.id for text in options.behaviour)]
    columns = {column.name: column for column in readResults()}
    for peer in PEERS:
        if options.only and peer.name not in options.only:
            continue
        if peer.find() is None:
            print(f"not installed, not asked: {peer.name}", flush=True)
            continue
        column = examine(peer, asked, lambda line: print(line, file=sys.stderr, flush=True))
        counted = Counter(verdict.outcome for verdict in column.verdicts.values())
        print(f"{peer.name} {column.version}: {dict(counted)}", flush=True)
        if options.behaviour:
            for name, verdict in column.verdicts.items():
                print(f"    {name}: {verdict.outcome}: {verdict.observed}", flush=True)
            continue
        for name, verdict in column.verdicts.items():
            if verdict.outcome == FAIL:
                print(f"    {name}: {verdict.observed}", flush=True)
        columns[peer.name] = column
        writeResults([columns[each.name] for each in PEERS if each.name in columns], RESULTS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
