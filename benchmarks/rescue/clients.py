"""Fast clients: tunnels through a proxy's SOCKS or HTTP port, and plain requests, many at a time."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

import attrs

PATIENCE = 40.0
"""Seconds after which a client gives up: more than any bound here."""

_OK = re.compile(rb"HTTP/1\.[01] 200 ")
T = TypeVar("T")


class Failed(Exception):
    """A client did not get what it wanted; the text is what it can know of it."""


class Refused(Failed):
    """The proxy said no, in the client's protocol."""


@attrs.frozen
class Way:
    """A port of a proxy: `protocol` is ``socks`` or ``http``."""

    protocol: str
    port: int


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to a loopback port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def tunnel(way: Way, host: str, port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A tunnel to `host` and `port`. Raises `Refused` where the proxy says no, `Failed` where it says nothing."""
    async with connected(way.port) as (reader, writer):
        try:
            await (_socks if way.protocol == "socks" else _connect)(reader, writer, host, port)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Failed(f"the proxy broke off: {type(error).__name__}") from None
        yield reader, writer


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    writer.write(b"\x05\x01\x00")
    if await reader.readexactly(2) != b"\x05\x00":
        raise Failed("the proxy wants another method")
    name = host.encode()
    writer.write(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    _, code, _, kind = await reader.readexactly(4)
    await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
    await reader.readexactly(2)
    if code:
        raise Refused(f"SOCKS reply {code}")


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if not _OK.match(head):
        raise Refused(head.partition(b"\r\n")[0].decode("ascii", "replace"))


async def echoed(way: Way, host: str, port: int, data: bytes) -> None:
    """Send `data` to an echo, and get it back."""
    async with tunnel(way, host, port) as (reader, writer):
        writer.write(data)
        if await _within(reader, len(data)) != data:
            raise Failed("the echo differs")


async def _within(reader: asyncio.StreamReader, count: int) -> bytes:
    try:
        return await reader.readexactly(count)
    except (asyncio.IncompleteReadError, OSError, EOFError) as error:
        raise Failed(f"lost in the tunnel: {type(error).__name__}") from None


class Secured:
    """
    TLS over a tunnel.

    asyncio's own waits for ever where the tunnel ends during the handshake (Python 3.11).
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str):
        self._reader, self._writer = reader, writer
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=host)

    async def begin(self) -> None:
        """Shake hands."""
        await self._do(self._object.do_handshake)

    async def write(self, data: bytes) -> None:
        """Send."""
        await self._do(lambda: self._object.write(data))

    async def read(self) -> bytes:
        """What comes next; nothing where the other side said that it was all."""
        return await self._do(lambda: self._object.read(65536))

    async def _do(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                self._writer.write(self._out.read())
                if not (data := await self._reader.read(65536)):
                    raise Failed("lost in the tunnel: the end") from None
                self._in.write(data)
            else:
                self._writer.write(self._out.read())
                return done


async def fetched(way: Way, host: str, port: int, context: ssl.SSLContext, path: str) -> bytes:
    """GET `path` by TLS through a tunnel, and return the body."""
    async with tunnel(way, host, port) as (reader, writer):
        try:
            secured = Secured(reader, writer, context, host)
            await secured.begin()
            await secured.write(request("GET", path, host))
            plain = asyncio.StreamReader()
            while data := await secured.read():
                plain.feed_data(data)
            plain.feed_eof()
            return await body(plain)
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            raise Failed(f"lost in the tunnel: {type(error).__name__}") from None


def request(method: str, target: str, host: str, content: bytes = b"") -> bytes:
    """A request, in whatever form its target has."""
    length = f"Content-Length: {len(content)}\r\n" if content else ""
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}Connection: close\r\n\r\n".encode() + content


async def body(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer that has a length. Raises `Refused` where the status is not 200."""
    head = await reader.readuntil(b"\r\n\r\n")
    if not _OK.match(head):
        raise Refused(head.partition(b"\r\n")[0].decode("ascii", "replace"))
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return await reader.readexactly(int(length[1])) if length else await reader.read()


async def forwarded(way: Way, host: str, port: int, method: str, path: str, content: bytes = b"") -> bytes:
    """A plain request, in the form that proxies take, and the body of its answer."""
    async with connected(way.port) as (reader, writer):
        try:
            writer.write(request(method, f"http://{host}:{port}{path}", f"{host}:{port}", content))
            return await body(reader)
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            raise Failed(f"broken off: {type(error).__name__}") from None


@attrs.frozen
class Outcome:
    """What became of one client: the text of its failure, empty for none, and its seconds."""

    failure: str
    refused: bool
    seconds: float


async def judged(asking: Awaitable[object], patience: float = PATIENCE) -> Outcome:
    """Wait for a client, at most so many seconds."""
    began = time.monotonic()
    failure, refused = "", False
    try:
        async with asyncio.timeout(patience):
            await asking
    except Refused as error:
        failure, refused = str(error), True
    except TimeoutError:
        failure = f"nothing for {patience:g} s"
    except (Failed, OSError) as error:
        failure = str(error) or type(error).__name__
    return Outcome(failure, refused, time.monotonic() - began)


def crowd(clients: Iterable[Callable[[], Awaitable[object]]], atOnce: int, patience: float = PATIENCE) -> list[Outcome]:
    """What becomes of all `clients`, of which so many are under way at any time."""

    async def run() -> list[Outcome]:
        left = iter(list(clients))
        outcomes: list[Outcome] = []

        async def work() -> None:
            for client in left:
                outcomes.append(await judged(client(), patience))

        await asyncio.gather(*(work() for _ in range(atOnce)))
        return outcomes

    return asyncio.run(run())


def paced(clients: Iterable[Callable[[], Awaitable[object]]], each: float, patience: float = PATIENCE) -> list[Outcome]:
    """What becomes of all `clients`, of which one begins every `each` seconds."""

    async def run() -> list[Outcome]:
        tasks = []
        for client in clients:
            tasks.append(asyncio.ensure_future(judged(client(), patience)))
            await asyncio.sleep(each)
        return list(await asyncio.gather(*tasks))

    return asyncio.run(run())


def failures(outcomes: Iterable[Outcome]) -> list[str]:
    """The failures, the commonest first, each once and with its number."""
    counted: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.failure:
            counted[outcome.failure] = counted.get(outcome.failure, 0) + 1
    return [f"{count} x {failure}" for failure, count in sorted(counted.items(), key=lambda item: -item[1])]
