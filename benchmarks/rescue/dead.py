"""Scenario 6: all four exits are dead."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Outcome, Way
from benchmarks.rescue.exits import HTTP, KINDS, SOCKS, Listener, listening, pool
from benchmarks.rescue.figures import Figure, Ground, atMost, missing, none
from benchmarks.rescue.proxies import Proxy, Running, running

TITLE = "All four exits are dead"
EACH = 0.05
"""Twenty a second."""

PATIENCE = 30.0

DEATHS: Mapping[str, Sequence[str]] = {
    "refusing": ("refuse", "refuse", "refuse", "refuse"),
    "silent": ("silent", "silent", "silent", "silent"),
    "silent when asked": ("asked-silent", "asked-silent", "asked-silent", "asked-silent"),
    "each in its way": ("refuse", "silent", "reset", "close"),
}


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """One client of each kind by itself, on a fresh proxy; then many."""
    with listening(ground.folder / "origin", [Listener("near", "origin")]) as origin:
        port = origin.ports["near"]
        for death, faults in DEATHS.items():
            for kind, schemes in KINDS.items():
                yield from _lonely(proxy, ground, f"{kind}, {death}", faults, schemes, port)
        for kind, schemes in KINDS.items():
            yield from _crowded(proxy, ground, kind, schemes, port)
        direct = origin.dials()
    yield atMost("direct connections", direct, 0)


def _asks(proxy: Proxy, protocol: str, port: int, target: int) -> Mapping[str, Callable[[], Awaitable[object]]]:
    """What is asked of a port: a destination that the proxy could reach by itself."""
    way = Way(protocol, port)
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        f"{protocol.upper()} tunnel": functools.partial(clients.echoed, way, "127.0.0.1", target, b"song")
    }
    if protocol == "http":
        asks["plain GET"] = functools.partial(clients.forwarded, way, "127.0.0.1", target, "GET", "/1000")
        asks["plain POST"] = functools.partial(clients.forwarded, way, "127.0.0.1", target, "POST", "/1000", b"song")
    return asks


def _lonely(
    proxy: Proxy, ground: Ground, what: str, faults: Sequence[str], schemes: Sequence[str], target: int
) -> Iterator[Figure]:
    folder = ground.folder / what.replace(" ", "-")
    able = [protocol for protocol in ("socks", "http") if not proxy.cannot(protocol, schemes)]
    if not able:
        yield missing(what, proxy.cannot("http", schemes))
        return
    with (
        pool(folder / "pool", schemes, [[fault] for fault in faults], ground.seed) as exits,
        running(proxy, exits.exits, folder / "proxy") as it,
    ):
        asks = {name: ask for protocol in able for name, ask in _asks(proxy, protocol, it.ports[protocol], target).items()}
        outcomes = clients.crowd(asks.values(), len(asks), PATIENCE)
    yield atMost(f"{what}: the last of {', '.join(asks)} hears", _slowest(outcomes), ground.size.slack, " s")
    yield none(f"{what}: clients that are not told in their protocol", _unheard(outcomes))


def _crowded(proxy: Proxy, ground: Ground, kind: str, schemes: Sequence[str], target: int) -> Iterator[Figure]:
    """Twenty a second: half of them tunnels by SOCKS, a quarter by CONNECT, a quarter plain."""
    what = f"{kind}, {ground.size.paced} requests at {1 / EACH:g} a second"
    folder = ground.folder / what.replace(" ", "-")
    able = [protocol for protocol in ("socks", "http") if not proxy.cannot(protocol, schemes)]
    if not able:
        yield missing(what, proxy.cannot("http", schemes))
        return
    faults = [["silent"], ["reset"], ["close"], ["silent"]]
    with (
        pool(folder / "pool", schemes, faults, ground.seed) as exits,
        running(proxy, exits.exits, folder / "proxy") as it,
    ):
        before = exits.running.dials()
        asks = []
        for protocol in able:
            kinds = list(_asks(proxy, protocol, it.ports[protocol], target).values())[:2]
            asks += kinds * (ground.size.paced // len(able) // len(kinds))
        outcomes = clients.paced(asks, EACH, PATIENCE)
        dials = exits.running.dials() - before
        most = _most(it)
    yield atMost(f"{what}: the last hears", _slowest(outcomes), ground.size.slack, " s")
    yield none(f"{what}: clients that are not told in their protocol", _unheard(outcomes))
    yield atMost(f"{what}: dials, for each request", dials / len(outcomes), 2.5)
    if proxy.ours:
        yield atMost(f"{what}: dials for any one request", most, 8)


def _slowest(outcomes: Sequence[Outcome]) -> float:
    return max(outcome.seconds for outcome in outcomes)


def _unheard(outcomes: Sequence[Outcome]) -> list[str]:
    """What is no answer of a proxy: a success above all, or a connection that just ends."""
    unheard = [outcome.failure or "a success" for outcome in outcomes if not outcome.refused]
    return [f"{unheard.count(text)} x {text}" for text in dict.fromkeys(unheard)]


def _most(it: Running) -> int:
    """Attempts of the session that has most of them, as the journal of pipsocks tells."""
    return max((len(session["attempts"]) for session in it.journal()), default=0)
