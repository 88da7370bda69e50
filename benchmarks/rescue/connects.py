"""Scenario 2: every exit of four fails 30 % of connects at random."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from benchmarks.rescue import clients
from benchmarks.rescue.exits import KINDS, Listener, listening, pool
from benchmarks.rescue.figures import Figure, Ground, atMost, missing, share
from benchmarks.rescue.proxies import Proxy, running

TITLE = "Every exit of four fails 30 % of connects at random (refused, closed, reset, 01, 503)"
AT_ONCE = 16
FAULTS = ("6% reset", "6% close", "6% asked-reset", "12% status=503")
"""
The last is reply 01 of an exit that is asked in SOCKS.

A port cannot refuse one connection and take the next: one that is reset as soon as it is made stands for it. The
second kind of reset comes when the exit was asked.
"""


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """Tunnels to an echo, by each protocol and over each kind of exits."""
    data = bytes(range(256))
    bound = 99.8 - ground.size.leeway
    with listening(ground.under("origin"), [Listener("echo", "echo")]) as origin:
        hosts = {"echo.example:7": origin.ports["echo"]}
        for kind, protocol in proxy.combinations(ground.size.all):
            if reason := proxy.cannot(protocol, KINDS[kind]):
                yield missing(f"{kind}, {protocol.upper()} port", reason)
                continue
            strategies = ("order", "round-robin") if ground.size.all and kind == "mixed exits" else ("order",)
            for strategy in strategies:
                what = f"{kind}, {protocol.upper()} port, {strategy}"
                folder = ground.under(what)
                with (
                    pool(folder / "pool", KINDS[kind], [FAULTS] * 4, ground.seed, hosts) as exits,
                    running(proxy, exits.exits, folder / "proxy", strategy=strategy) as it,
                ):
                    before = exits.running.dials()
                    way = clients.Way(protocol, it.ports[protocol])
                    one = functools.partial(clients.echoed, way, "echo.example", 7, data)
                    outcomes = clients.crowd([one] * ground.size.tunnels, AT_ONCE)
                    dials = exits.running.dials() - before
                good = sum(not outcome.failure for outcome in outcomes)
                yield share(f"{what}: tunnels that succeed", good, len(outcomes), bound, clients.failures(outcomes))
                yield atMost(f"{what}: dials per tunnel", dials / len(outcomes), 1.5)
