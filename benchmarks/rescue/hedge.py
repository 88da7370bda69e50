"""Scenario 7: one exit of three takes 1 s for one connect in ten."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Way
from benchmarks.rescue.exits import HTTP, SOCKS, Listener, listening, pool
from benchmarks.rescue.figures import Figure, Ground, atLeast, atMost, missing
from benchmarks.rescue.proxies import Proxy, running

TITLE = "One exit of three takes 1 s for one connect in ten, strategy round-robin"
AT_ONCE = 4
KINDS = {"SOCKS exits": (SOCKS,) * 3, "HTTP exits": (HTTP,) * 3, "mixed exits": (HTTP, SOCKS, HTTP)}


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """Set-up times without hedging, then with it."""
    with listening(ground.under("origin"), [Listener("echo", "echo")]) as origin:
        for kind, schemes in KINDS.items():
            if not (able := proxy.able(schemes)):
                yield missing(kind, proxy.cannot("http", schemes))
                continue
            if not (ground.size.all and proxy.ours) and kind != proxy.one(KINDS):
                continue
            slow: dict[str, float] = {}
            for hedge in ("off", "auto") if proxy.ours else ("off",):
                folder = ground.under(f"{kind}-{hedge}")
                hosts = {"echo.example:7": origin.ports["echo"]}
                faults = [[f"10% slow-connect={ground.size.slow:g}"], [], []]
                with (
                    pool(folder / "pool", schemes, faults, ground.seed, hosts) as exits,
                    running(proxy, exits.exits, folder / "proxy", strategy="round-robin", hedge=hedge) as it,
                ):
                    asks = [
                        functools.partial(clients.echoed, Way(each, it.ports[each]), "echo.example", 7, b"song")
                        for each in able
                    ]
                    clients.crowd(asks * 25, AT_ONCE)  # what is usual has to be known
                    before = exits.running.dials()
                    outcomes = clients.crowd(asks * (ground.size.setups // len(asks)), AT_ONCE)
                    dials = exits.running.dials() - before
                slow[hedge] = percentile([outcome.seconds for outcome in outcomes], 99)
                failed = sum(bool(outcome.failure) for outcome in outcomes)
                yield atMost(f"{kind}, hedging {hedge}: tunnels that fail", failed, 0)
                yield Figure(f"{kind}, hedging {hedge}: p99 of set-up time", "", f"{1000 * slow[hedge]:.0f} ms", True)
                if hedge == "auto":
                    yield atLeast(f"{kind}: p99 falls with hedging", slow["off"] / slow["auto"], 5, "-fold")
                    yield atMost(f"{kind}, hedging auto: dials per tunnel", dials / len(outcomes), 1.2)
            if not proxy.ours:
                yield missing(f"{kind}, with hedging", "has no second attempt beside a slow one")


def percentile(values: Sequence[float], per: float) -> float:
    """The smallest of `values` that so many per cent of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * per / 100) - 1]
