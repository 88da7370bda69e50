"""Scenario 3: every exit of four kills 30 % of tunnels before the first byte."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import attrs

from benchmarks.rescue import clients
from benchmarks.rescue.certificates import certificates
from benchmarks.rescue.clients import Way
from benchmarks.rescue.exits import HTTP, KINDS, Listener, Pool, listening, pool
from benchmarks.rescue.figures import Figure, Ground, missing, none, share
from benchmarks.rescue.proxies import Proxy, running

TITLE = "Every exit of four kills 30 % of tunnels before the first byte"
AT_ONCE = 16
KILLS = ("8% then-close", "8% then-reset", "7% flight-close", "7% flight-reset")
EATEN = ("10% flight-close", "10% flight-reset", "10% asked-close")
"""What kills a request that must not go twice where it can be counted: the exit says that it had it."""

PATH = "/1000"


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """Requests that may go again, by TLS; then those that may not."""
    files = certificates(ground.under("certificates"), "origin.example")
    secure = Listener("secure", "origin", more={"tls": str(files.server)})
    good, total = 0, 0
    with listening(ground.under("origin"), [secure, Listener("plain", "origin"), Listener("echo", "echo")]) as origin:
        for kind, protocol in proxy.combinations(ground.size.all):
            what, schemes = f"{kind}, {protocol.upper()} port", KINDS[kind]
            if reason := proxy.cannot(protocol, schemes):
                yield missing(what, reason)
                continue
            folder = ground.under(what)
            hosts = {"origin.example:443": origin.ports["secure"]}
            with (
                pool(folder / "pool", schemes, [KILLS] * 4, ground.seed, hosts) as exits,
                running(proxy, exits.exits, folder / "proxy", strategy="round-robin") as it,
            ):
                way, context = Way(protocol, it.ports[protocol]), files.context()
                one = functools.partial(clients.fetched, way, "origin.example", 443, context, PATH)
                outcomes = clients.crowd([one] * ground.size.flights, AT_ONCE)
            fine = sum(not outcome.failure for outcome in outcomes)
            good, total = good + fine, total + len(outcomes)
            # Chance alone leaves half of what is allowed: one thousand would miss now and then by bad luck.
            told = share(f"{what}: TLS requests that succeed", fine, len(outcomes), 0, clients.failures(outcomes))
            yield attrs.evolve(told, bound="")
            yield from _once(proxy, ground, what, protocol, schemes, origin.ports)
    yield share("TLS requests that succeed, of all", good, total, 99.5 - ground.size.leeway)


def _once(
    proxy: Proxy, ground: Ground, what: str, protocol: str, schemes: Sequence[str], ports: Mapping[str, int]
) -> Iterator[Figure]:
    """What must not go twice: each has a destination or a path of its own, by which it is counted."""
    folder = ground.under(f"{what}, once")
    count = ground.size.posts
    hosts = {f"post-{number}.example:80": ports["plain"] for number in range(count)}
    hosts |= {f"plain-{number}.example:80": ports["plain"] for number in range(count)}
    hosts |= {f"early-{number}.example:443": ports["echo"] for number in range(count)}
    with (
        pool(folder / "pool", schemes, [EATEN] * 4, ground.seed, hosts) as exits,
        running(proxy, exits.exits, folder / "proxy", strategy="round-robin") as it,
    ):
        way = Way(protocol, it.ports[protocol])
        asks: list[Callable[[], Awaitable[object]]] = []
        for number in range(count):
            post = clients.request("POST", PATH, f"post-{number}.example", b"song=parrot")
            asks.append(functools.partial(_sent, way, f"post-{number}.example", 80, post))
            early = earlyHello(f"early-{number}.example")
            asks.append(functools.partial(_sent, way, f"early-{number}.example", 443, early))
            if protocol == "http" and set(schemes) == {HTTP}:
                host = f"plain-{number}.example"
                asks.append(functools.partial(clients.forwarded, way, host, 80, "POST", PATH, b"song=parrot"))
        outcomes = clients.crowd(asks, AT_ONCE)
        lost = sum(1 for outcome in outcomes if outcome.failure)
        had = deliveries(exits)
    for name, title in (("post-", "POSTs in a tunnel"), ("early-", "early-data hellos"), ("plain-", "plain POSTs")):
        ours = {key: number for key, number in had.items() if key.startswith(name)}
        if ours:
            twice = [f"{key} {number} times" for key, number in ours.items() if number > 1]
            yield none(f"{what}: {title} sent twice, of {len(ours)}", twice)
    if not lost or not had:
        yield none(f"{what}: that exits kill what is counted here", ["none was killed"])


async def _sent(way: Way, host: str, port: int, data: bytes) -> None:
    """Send `data` at once through a tunnel, in one segment, and wait for the first byte, or the end."""
    async with clients.tunnel(way, host, port) as (reader, writer):
        writer.write(data)
        try:
            if not await reader.read(1):
                raise clients.Failed("the end")
        except OSError as error:
            raise clients.Failed(type(error).__name__) from None
        await asyncio.sleep(0)


def deliveries(exits: Pool) -> Counter[str]:
    """How often each destination was sent something: what came through, and what was eaten on the way."""
    asked: dict[tuple[str, int], str] = {}
    had: Counter[str] = Counter()
    for event in exits.running.events("request", "flight", "lost"):
        key = event["listener"], event["connection"]
        match event["event"]:
            case "request" if event["protocol"] == "http":
                if event["head"].startswith("POST "):
                    had[event["host"]] += 1
            case "request":
                asked[key] = event["host"]
            case "flight" if event["octets"] and key in asked:
                had[asked[key]] += 1
            case "lost" if event["up"] and key in asked:
                had[asked[key]] += 1
    return had


def earlyHello(name: str) -> bytes:
    """A ClientHello that says that early data follows (RFC 8446, sections 4.1.2, 4.2.10), and such data."""

    def vector(width: int, content: bytes) -> bytes:
        return len(content).to_bytes(width, "big") + content

    def extension(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(2, "big") + vector(2, content)

    extensions = [
        extension(0, vector(2, b"\0" + vector(2, name.encode()))),
        extension(43, vector(1, b"\3\4")),
        extension(10, vector(2, b"\0\x1d")),
        extension(13, vector(2, b"\4\3\x08\4")),
        extension(51, vector(2, b"\0\x1d" + vector(2, bytes(32)))),
        extension(45, vector(1, b"\1")),
        extension(42, b""),
        extension(41, vector(2, vector(2, b"ticket") + bytes(4)) + vector(2, vector(1, bytes(32)))),
    ]
    fields = bytes(range(32)) + vector(1, bytes(32)) + vector(2, b"\x13\1") + vector(1, b"\0")
    hello = b"\1" + vector(3, b"\3\3" + fields + vector(2, b"".join(extensions)))
    return b"\x16\3\1" + vector(2, hello) + b"\x17\3\3" + vector(2, b"song=parrot" + bytes(16))
