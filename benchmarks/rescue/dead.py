"""Scenario 6: all four exits are dead."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Outcome, Way
from benchmarks.rescue.exits import KINDS, Listener, listening, pool
from benchmarks.rescue.figures import Figure, Ground, Job, atMost, missing, none, sideBySide
from benchmarks.rescue.proxies import Proxy, Running, running

TITLE = "All four exits are dead"
EACH = 0.05
"""Twenty a second."""

JOBS = 4
PATIENCE = 25.0
GET, POST, TUNNEL = "plain GET", "plain POST", "tunnel"

DEATHS: Mapping[str, Sequence[str]] = {
    "refusing": ("refuse", "refuse", "refuse", "refuse"),
    "silent": ("silent", "silent", "silent", "silent"),
    "silent when asked": ("asked-silent", "asked-silent", "asked-silent", "asked-silent"),
    "each in its way": ("refuse", "silent", "reset", "close"),
}
"""An HTTP exit that is silent when it is asked still says something to a probe: plain requests may wait there."""

CROWDED = ("silent", "reset", "close", "silent")
"""Where dials are counted: one to a port that refuses is seen by nobody."""

CHECKS = "dials exits by itself as well"
PLACES = ("one place", "places of their own")
FEW = (("SOCKS exits", "each in its way"), ("HTTP exits", "silent"), ("mixed exits", "refusing"))


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """A few clients at once, on a fresh proxy; one by itself; then many."""
    with listening(ground.under("origin"), [Listener("near", "origin")]) as origin:
        port = origin.ports["near"]

        def few(kind: str, death: str) -> Job:
            return lambda: _few(proxy, ground, kind, death, port)

        def alone(kind: str, protocol: str, name: str) -> Job:
            return lambda: _alone(proxy, ground, kind, protocol, name, port)

        def crowd(kind: str, place: str) -> Job:
            return lambda: _crowd(proxy, ground, kind, place, port)

        if ground.size.all and proxy.ours:
            jobs = [few(kind, death) for death in DEATHS for kind in KINDS]
            for kind in KINDS:
                jobs += [alone(kind, "socks", TUNNEL), alone(kind, "http", TUNNEL), alone(kind, "http", GET)]
            yield from sideBySide(jobs, JOBS)
            # Few at once, for the sake of their pace.
            yield from sideBySide([crowd(kind, place) for kind in KINDS for place in PLACES], 2)
        else:
            kind = proxy.one(KINDS)
            jobs = [few(*each) for each in FEW]
            yield from sideBySide([*jobs, alone(kind, "http", GET), crowd(kind, PLACES[0])], 5)
        direct = origin.dials()
    yield atMost("direct connections", direct, 0)


def _asks(protocol: str, port: int, target: int, host: str = "127.0.0.1") -> dict[str, Callable[[], Awaitable[object]]]:
    """What is asked of a port: a destination that the proxy could reach by itself."""
    way = Way(protocol, port)
    asks: dict[str, Callable[[], Awaitable[object]]] = {
        TUNNEL: functools.partial(clients.echoed, way, host, target, b"song")
    }
    if protocol == "http":
        asks[GET] = functools.partial(clients.forwarded, way, host, target, "GET", "/1000")
        asks[POST] = functools.partial(clients.forwarded, way, host, target, "POST", "/1000", b"song")
    return asks


def _few(proxy: Proxy, ground: Ground, kind: str, death: str, target: int) -> Iterator[Figure]:
    what = f"{kind}, {death}"
    if not (able := proxy.able(KINDS[kind])):
        yield missing(what, proxy.cannot("http", KINDS[kind]))
        return
    faults, folder = [[fault] for fault in DEATHS[death]], ground.under(what)
    with (
        pool(folder / "pool", KINDS[kind], faults, ground.seed) as exits,
        running(proxy, exits.exits, folder / "proxy") as it,
    ):
        asks = [
            ask
            for protocol in able
            for name, ask in _asks(protocol, it.ports[protocol], target).items()
            if name == TUNNEL or "asked-silent" not in DEATHS[death]
        ]
        outcomes = clients.crowd(asks, len(asks), PATIENCE)
    yield from _heard(ground, what, outcomes)


def _alone(proxy: Proxy, ground: Ground, kind: str, protocol: str, name: str, target: int) -> Iterator[Figure]:
    """How often the exits are dialled for one request."""
    what = f"{kind}, {', '.join(CROWDED)}, one {name} by {protocol.upper()}"
    if reason := proxy.cannot(protocol, KINDS[kind]):
        yield missing(what, reason)
        return
    folder = ground.under(what)
    with (
        pool(folder / "pool", KINDS[kind], [[fault] for fault in CROWDED], ground.seed) as exits,
        running(proxy, exits.exits, folder / "proxy") as it,
    ):
        before = exits.running.dials()
        outcomes = clients.crowd([_asks(protocol, it.ports[protocol], target)[name]], 1, PATIENCE)
        dials = exits.running.dials() - before
    yield from _heard(ground, what, outcomes)
    yield missing(f"{what}: dials", CHECKS) if proxy.checks else atMost(f"{what}: dials", dials, 8)


def _crowd(proxy: Proxy, ground: Ground, kind: str, place: str, target: int) -> Iterator[Figure]:
    """Twenty a second: half of them tunnels by SOCKS, a quarter by CONNECT, a quarter plain."""
    what = f"{kind}, {', '.join(CROWDED)}, {ground.size.paced} requests for {place} at {1 / EACH:g} a second"
    if not (able := proxy.able(KINDS[kind])):
        yield missing(what, proxy.cannot("http", KINDS[kind]))
        return
    folder = ground.under(what)
    with (
        pool(folder / "pool", KINDS[kind], [[fault] for fault in CROWDED], ground.seed) as exits,
        running(proxy, exits.exits, folder / "proxy") as it,
    ):
        before = exits.running.dials()
        asks = []
        for number in range(ground.size.paced):
            protocol = able[number % len(able)]
            host = "127.0.0.1" if place == PLACES[0] else f"127.0.1.{number + 1}"
            name = GET if protocol == "http" and number % 4 == 1 else TUNNEL
            asks.append(_asks(protocol, it.ports[protocol], target, host)[name])
        outcomes = clients.paced(asks, EACH, PATIENCE)
        dials = exits.running.dials() - before
        most = _most(it)
    yield from _heard(ground, what, outcomes)
    each = atMost(f"{what}: dials for each", dials / len(outcomes), ground.size.dialsEach)
    yield missing(each.what, CHECKS) if proxy.checks else each
    if proxy.ours:
        yield atMost(f"{what}: ways that one of them was sent", most, 8)


def _heard(ground: Ground, what: str, outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    """Whether all clients have heard: in time, and in their protocol."""
    slowest = max(outcome.seconds for outcome in outcomes)
    yield atMost(f"{what}: the last of {len(outcomes)} hears", slowest, ground.size.patience, " s")
    # What is no answer of a proxy: a success above all, or a connection that just ends.
    unheard = [outcome.failure or "a success" for outcome in outcomes if not outcome.refused]
    counted = [f"{unheard.count(text)} x {text}" for text in dict.fromkeys(unheard)]
    yield none(f"{what}: clients that are not told in their protocol", counted)


def _most(it: Running) -> int:
    """Attempts of the session that has most of them, by the journal."""
    # What became of one after its yes stands there once more.
    after = ("ok", "died", "unanswered")
    return max((sum(a["outcome"] not in after for a in each["attempts"]) for each in it.journal()), default=0)
