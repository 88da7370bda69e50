"""Scenario 5: one dead destination among many requests."""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Iterator

from benchmarks.rescue import clients
from benchmarks.rescue.clients import Way
from benchmarks.rescue.exits import KINDS, Listener, Pool, listening, pool
from benchmarks.rescue.figures import Figure, Ground, atMost, missing, none, share
from benchmarks.rescue.proxies import Proxy, running

TITLE = "One dead destination among many requests, whatever words the exits use"
AT_ONCE = 4
DEAD = "dead.example:443"

WORDS = (
    "reply=1", "reply=3", "reply=4", "reply=5", "reply=6", "status=500", "status=502", "status=503", "status=504",
    "asked-close", "asked-reset", "then-close", "then-reset", "flight-close",
)  # fmt: skip
"""What a healthy exit says of a destination that is dead; real ones say each of these."""


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """All exits in one word, then each in another."""
    plans = [(word, [word] * 4) for word in WORDS]
    plans.append(("four words at once", ["reply=1", "status=503", "asked-close", "then-reset"]))
    with listening(ground.folder / "origin", [Listener("echo", "echo")]) as origin:
        for kind, schemes in KINDS.items():
            able = [protocol for protocol in ("socks", "http") if not proxy.cannot(protocol, schemes)]
            if not able:
                yield missing(kind, proxy.cannot("http", schemes))
                continue
            good, total, ejected, astray, dials = 0, 0, [], 0, 0
            for word, faults in plans:
                folder = ground.folder / f"{kind}-{word}".replace(" ", "-")
                plan = [[f"for={DEAD} {fault}"] for fault in faults]
                with (
                    pool(folder / "pool", schemes, plan, ground.seed, {"alive.example:7": origin.ports["echo"]}) as exits,
                    running(proxy, exits.exits, folder / "proxy", strategy="order") as it,
                ):
                    ways = [Way(protocol, it.ports[protocol]) for protocol in able]
                    alive = [functools.partial(clients.echoed, way, "alive.example", 7, b"song") for way in ways]
                    dead = [functools.partial(clients.echoed, way, "dead.example", 443, b"song") for way in ways]
                    asks: list[Callable[[], Awaitable[object]]] = []
                    for number in range(ground.size.requests // len(plans)):
                        asks += [alive[number % len(ways)], dead[number % len(ways)]]
                    # Those that must succeed are told from the others by what was asked, so one after the other.
                    clients.crowd(asks, AT_ONCE)
                    before = len(asked(exits))
                    outcomes = clients.crowd(alive * 10, AT_ONCE)
                    after = asked(exits)[before:]
                    ejected += [f"{word}: {line}" for line in re.findall(r"upstream \S+ is ejected.*", it.said())]
                good += sum(not outcome.failure for outcome in outcomes)
                total += len(outcomes)
                dials += len(after)
                astray += sum(listener != "exit0" for listener in after)
            yield share(f"{kind}: requests for the living that succeed", good, total, 100)
            yield atMost(f"{kind}: dials for each of them", dials / total, 1)
            if proxy.ours:
                yield atMost(f"{kind}: of them, over another exit than the first", astray, 0)
                yield none(f"{kind}: exits that were ejected", ejected)


def asked(exits: Pool) -> list[str]:
    """The exits that were asked for the living destination, one after the other."""
    return [event["listener"] for event in exits.running.events("request") if event["host"] == "alive.example"]
