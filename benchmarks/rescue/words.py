"""Scenario 5: one dead destination among many requests."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Way
from benchmarks.rescue.exits import KINDS, Listener, Pool, listening, pool
from benchmarks.rescue.figures import Figure, Ground, Job, missing, none, share, sideBySide
from benchmarks.rescue.proxies import Proxy, running

TITLE = "One dead destination among many requests: no healthy exit is ejected, whatever its words"
AT_ONCE = 4
JOBS = 4
DEAD = "dead.example"

ANY = ("asked-close", "asked-reset", "then-close", "then-reset", "flight-close", "asked-silent")
WORDS: dict[str, Sequence[Sequence[str]]] = {
    "SOCKS exits": [[word] * 4 for word in ("reply=1", "reply=3", "reply=4", "reply=5", "reply=6", *ANY)],
    "HTTP exits": [[word] * 4 for word in ("status=500", "status=502", "status=503", "status=504", *ANY)],
    "mixed exits": [
        ["reply=1", "status=503", "status=500", "reply=4"],
        ["reply=5", "asked-close", "then-reset", "cut"],
    ],
}
"""What healthy exits say of a destination that is dead; real ones say each of these."""

FEW = {"SOCKS exits": (0, 3), "HTTP exits": (2,), "mixed exits": (1,)}


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """All exits in one word, then each in another."""
    with listening(ground.under("origin"), [Listener("echo", "echo"), Listener("near", "origin")]) as origin:
        hosts = {f"alive{number}.example:7": origin.ports["echo"] for number in range(10)}
        hosts |= {f"alive{number}.example:80": origin.ports["near"] for number in range(10)}

        def job(kind: str, faults: Sequence[str]) -> Job:
            return lambda: _figures(proxy, ground, kind, faults, hosts)

        jobs = []
        for kind, schemes in KINDS.items():
            if not proxy.able(schemes):
                yield missing(kind, proxy.cannot("http", schemes))
                continue
            chosen = WORDS[kind] if ground.size.all and proxy.ours else [WORDS[kind][each] for each in FEW[kind]]
            jobs += [job(kind, faults) for faults in chosen]
        yield from sideBySide(jobs, JOBS)


def _figures(proxy: Proxy, ground: Ground, kind: str, faults: Sequence[str], hosts: dict[str, int]) -> Iterator[Figure]:
    schemes, word = KINDS[kind], ", ".join(dict.fromkeys(faults))
    what = f"{kind} that say {word}"
    folder = ground.under(what)
    able = proxy.able(schemes)
    plan = [[f"for={DEAD} {fault}"] for fault in faults]
    count = ground.size.requests // 4 if "silent" in word else ground.size.requests
    with (
        pool(folder / "pool", schemes, plan, ground.seed, hosts) as exits,
        running(proxy, exits.exits, folder / "proxy", strategy="order") as it,
    ):
        ways = [Way(protocol, it.ports[protocol]) for protocol in able]
        alive: list[Callable[[], Awaitable[object]]] = []
        dead: list[Callable[[], Awaitable[object]]] = []
        for number in range(count):
            way, host = ways[number % len(ways)], f"alive{number % 10}.example"
            if way.protocol == "http" and number % 4 == 1:
                alive.append(functools.partial(clients.forwarded, way, host, 80, "GET", "/100"))
                dead.append(functools.partial(clients.forwarded, way, DEAD, 80, "GET", "/100"))
            else:
                alive.append(functools.partial(clients.echoed, way, host, 7, b"song"))
                dead.append(functools.partial(clients.echoed, way, DEAD, 443, b"song"))
        mixed = clients.crowd([ask for pair in zip(alive, dead, strict=True) for ask in pair], AT_ONCE)
        before = len(asked(exits))
        outcomes = clients.crowd(alive, AT_ONCE)
        after = asked(exits)
    good = sum(not outcome.failure for outcome in mixed)
    yield share(f"{what}: requests for the living meanwhile", good, len(alive), 100)
    good = sum(not outcome.failure for outcome in outcomes)
    yield share(f"{what}: and afterwards", good, len(alive), 100, clients.failures(outcomes))
    if proxy.ours:
        # The order is the strategy: whoever is live is asked in it.
        astray = [listener for listener in after if listener != "exit0"]
        yield none(f"{what}: that went another way than the first exit", astray)
        yield none(f"{what}: exits that were ejected", re.findall(r"upstream \S+ is (?:ejected|out).*", it.said()))
        if len(after) - before > len(alive):
            yield none(f"{what}: dials beyond one for each", [str(len(after) - before - len(alive))])


def asked(exits: Pool) -> list[str]:
    """The exits that were asked for the living, one after the other."""
    return [event["listener"] for event in exits.running.events("request") if event["host"].startswith("alive")]
