"""Scenario 4: a plain download that is cut every 5 MB, or at every tenth part of a smaller one."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Way
from benchmarks.rescue.exits import KINDS, Listener, listening, pool
from benchmarks.rescue.figures import Figure, Ground, atMost, missing, none
from benchmarks.rescue.proxies import Proxy, running
from pipsocks.testing import Origin

TITLE = "A plain download that is cut ten times"
WHERE = {"by the origin": ("origin", "reset-after"), "by the exits": ("exit", "reset-after")}


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """Cut by whom, over which exits."""
    if "http" not in proxy.ports:
        yield missing("all", proxy.cannot("http", ()))
        return
    size = ground.size.megabytes * 1_000_000
    for where, (who, fault) in WHERE.items():
        cut = f"{fault}={size // 10}"
        faults = {"origin": [cut] if who == "origin" else [], "exit": [cut] if who == "exit" else []}
        for kind, schemes in KINDS.items():
            if not ground.size.all and kind != proxy.one(KINDS):
                continue
            what = f"{ground.size.megabytes} MB, cut {where}, {kind}"
            if reason := proxy.cannot("http", schemes):
                yield missing(what, reason)
                continue
            folder = ground.under(what)
            got: list[bytes] = []
            with (
                listening(folder / "origin", [Listener("files", "origin", faults["origin"])]) as origin,
                pool(
                    folder / "pool", schemes, [faults["exit"]] * 4, ground.seed,
                    {"files.example:80": origin.ports["files"]},
                ) as exits,
            ):  # fmt: skip
                with running(proxy, exits.exits, folder / "proxy", strategy="order") as it:
                    fetch = functools.partial(_fetch, Way("http", it.ports["http"]), f"/{size}", got)
                    outcome = clients.crowd([fetch], 1)[0]
                # Once the proxy is gone every connection to an exit is over, and counted.
                sent = sum(event["down"] for event in exits.running.events("lost"))
            wrong = [outcome.failure] if outcome.failure else []
            if got and hashlib.sha256(got[0]).hexdigest() != Origin().content(f"/{size}").digest:
                wrong.append("the bytes differ")
            yield none(f"{what}: what is wrong with it", wrong)
            if not wrong:
                yield atMost(f"{what}: sent twice", 100 * (sent - size) / size, 2, " %")


async def _fetch(way: Way, path: str, got: list[bytes]) -> None:
    got.append(await clients.forwarded(way, "files.example", 80, "GET", path))
