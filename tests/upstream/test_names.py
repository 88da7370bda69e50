"""Host names: who waits for whom, for how long, and what is asked again."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from pipsocks.upstream import names as module
from pipsocks.upstream.names import (
    KNOWN_LIMIT,
    KNOWN_SECONDS,
    LOOK_UP_LIMIT,
    Names,
    NameSilent,
    NameUnknown,
    interleaved,
)
from tests.functional.processes import ROOT, cleanEnvironment
from tests.upstream.rig import Standing


class Server:
    """A name server: names that begin with ``hang`` are answered when the test lets them."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.release = threading.Event()
        self.failure: Exception | None = None
        self.answer = ["192.0.2.1"]

    def __call__(self, host: bytes, port: None, type: int) -> list[Any]:
        """In the place of `socket.getaddrinfo`."""
        self.asked.append(host)
        if host.startswith(b"hang"):
            self.release.wait(60)
        if self.failure is not None:
            raise self.failure
        return [(0, type, 0, "", (address, 0)) for address in self.answer]


class NamesTests(TestCase):
    """Names with a server that the test holds in its hand."""

    timeout = 60

    def setUp(self) -> None:
        """Nothing is known."""
        self.server = Server()
        self.clock = Standing()
        self.names = Names(self.clock, self.server)
        self.addCleanup(self._idle)

    async def _idle(self) -> None:
        """Let every thread end before the next test."""
        self.server.release.set()
        while self.names._threads:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0.01, turn.callback, None)  # type: ignore[attr-defined]
            await turn

    def resolve(self, host: str) -> Deferred[tuple[str, ...]]:
        """Begin to look up."""
        return Deferred.fromCoroutine(self.names.resolve(host))

    def test_literals(self) -> None:
        """Addresses are themselves, at once, and no server hears of them."""
        for host in ("192.0.2.1", "::1", "2001:db8::1"):
            self.assertEqual((host,), self.successResultOf(self.resolve(host)))
        self.assertEqual([], self.server.asked)

    async def test_odd(self) -> None:
        """Names that the idna codec refuses are asked for as they are, those that end in a digit too."""
        for host in ("foo_bar.example", "r2---sn-x.example", "xn--bcher-kva.example", "x1", "a.example."):
            self.assertEqual(("192.0.2.1",), await self.resolve(host))
            self.assertEqual(host.encode(), self.server.asked[-1])

    def test_impossible(self) -> None:
        """What no name server could know is unknown without asking one."""
        for host in ("", "a" * 64 + ".example", "a..example", ".", "a b", "a\x00b", "bücher.example", "a." * 130 + "a"):
            self.failureResultOf(self.resolve(host), NameUnknown)
        self.assertEqual([], self.server.asked)

    async def test_known(self) -> None:
        """An answer serves for half a minute, without a thread; then the server is asked again."""
        await self.resolve("a.example")
        self.assertEqual(("192.0.2.1",), self.successResultOf(self.resolve("a.example")))
        self.clock.advance(KNOWN_SECONDS)
        self.server.answer = ["192.0.2.2"]
        self.assertEqual(("192.0.2.2",), await self.resolve("a.example"))

    async def test_forget(self) -> None:
        """Addresses that did not work are asked for again."""
        await self.resolve("a.example")
        self.names.forget("a.example")
        self.names.forget("never.example")
        await self.resolve("a.example")
        self.assertEqual(2, len(self.server.asked))

    async def test_knownBounded(self) -> None:
        """The oldest answers go."""
        self.patch(module, "KNOWN_LIMIT", 2)
        for host in ("a.example", "b.example", "c.example"):
            await self.resolve(host)
        await self.resolve("b.example")
        self.assertEqual(3, len(self.server.asked))
        await self.resolve("a.example")
        self.assertEqual(4, len(self.server.asked))
        self.assertGreater(KNOWN_LIMIT, 100)

    async def test_joined(self) -> None:
        """The same name, asked for at the same time, is looked up once; one who leaves disturbs nobody."""
        waiting = [self.resolve("hang.example") for _ in range(3)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1], CancelledError)
        self.server.release.set()
        self.assertEqual(("192.0.2.1",), await waiting[0])
        self.assertEqual(("192.0.2.1",), await waiting[2])
        self.assertEqual([b"hang.example"], self.server.asked)
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_hangingDelaysNoOther(self) -> None:
        """200 names whose server hangs do not hold up another name, nor do those behind them."""
        waiting = [self.resolve(f"hang{number}.example") for number in range(200)]
        self.assertEqual(("192.0.2.1",), await self.resolve("a.example"))
        for each in waiting:
            self.assertNoResult(each)
        self.server.release.set()
        await gatherResults(waiting)

    async def test_limit(self) -> None:
        """Nobody waits longer than 5 s; what comes later serves the next."""
        waiting = self.resolve("hang.example")
        self.clock.advance(LOOK_UP_LIMIT - 1)
        late = self.resolve("hang.example")
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.failureResultOf(waiting, NameSilent)
        self.assertNoResult(late)
        self.server.release.set()
        self.assertEqual(("192.0.2.1",), await late)
        self.assertEqual([b"hang.example"], self.server.asked)

    async def test_queue(self) -> None:
        """Beyond the threads names wait for one, who leaves makes room, and beyond the queue they fail at once."""
        self.patch(module, "THREADS_LIMIT", 1)
        self.patch(module, "QUEUE_LIMIT", 2)
        first = self.resolve("hang.example")
        second, third = self.resolve("b.example"), self.resolve("c.example")
        self.failureResultOf(self.resolve("d.example"), NameSilent)
        third.cancel()
        self.failureResultOf(third, CancelledError)
        fourth = self.resolve("d.example")
        self.server.release.set()
        await gatherResults([first, second, fourth])
        self.assertEqual([b"hang.example", b"b.example", b"d.example"], self.server.asked)

    async def test_noThread(self) -> None:
        """A system without another thread fails the name, and only that."""

        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch = self.patch(threading.Thread, "start", start)
        self.failureResultOf(self.resolve("a.example"), NameSilent)
        patch.restore()
        self.assertEqual(("192.0.2.1",), await self.resolve("a.example"))

    async def test_failures(self) -> None:
        """An unknown name is told from a server that does not answer; neither is remembered."""
        for failure, expected in (
            (socket.gaierror(socket.EAI_NONAME, ""), NameUnknown),
            (socket.gaierror(socket.EAI_NODATA, ""), NameUnknown),
            (socket.gaierror(socket.EAI_AGAIN, ""), NameSilent),
            (socket.gaierror(socket.EAI_FAIL, ""), NameSilent),
            (ZeroDivisionError(), ZeroDivisionError),
        ):
            self.server.failure = failure
            await self.assertFailure(self.resolve("a.example"), expected)
        self.server.failure = None
        self.server.answer = []
        await self.assertFailure(self.resolve("a.example"), NameUnknown)

    async def test_outOfDescriptors(self) -> None:
        """Being out of descriptors is told from a name server's failure."""
        for number, out in ((errno.EMFILE, True), (errno.ENOMEM, False)):
            self.server.failure = OSError(number, "")
            error = await self.assertFailure(self.resolve("a.example"), NameSilent)
            self.assertEqual(out, error.outOfDescriptors)

    async def test_many(self) -> None:
        """Of an answer with hundreds of addresses, some are used, each once."""
        self.server.answer = [f"192.0.2.{number % 200}" for number in range(400)]
        self.assertEqual(32, len(await self.resolve("a.example")))

    async def test_system(self) -> None:
        """The machine's own names are known."""
        found = await Deferred.fromCoroutine(Names(reactor).resolve("localhost"))
        self.assertTrue({"127.0.0.1", "::1"}.issuperset(found), found)

    async def test_shutdown(self) -> None:
        """A process that stops does not wait for a name server that hangs."""
        program = (
            "import time\n"
            "from twisted.internet import reactor\n"
            "from twisted.internet.defer import Deferred\n"
            "from pipsocks.upstream.names import Names\n"
            "names = Names(reactor, lambda *_, **__: time.sleep(600))\n"
            "reactor.callWhenRunning(lambda: Deferred.fromCoroutine(names.resolve('a.example')))\n"
            "reactor.callLater(0.1, reactor.stop)\n"
            "reactor.run()\n"
        )
        environment = {**cleanEnvironment(), "PYTHONPATH": str(ROOT)}
        out, err, status = await getProcessOutputAndValue(sys.executable, ("-c", program), environment)
        self.assertEqual((b"", b"", 0), (out, err, status))

    def test_interleaved(self) -> None:
        """Families take turns, in the order in which the system sorted them."""
        for given, expected in (
            (["::1", "::2", "::3", "1.1.1.1"], ("::1", "1.1.1.1", "::2", "::3")),
            (["1.1.1.1", "::1", "2.2.2.2"], ("1.1.1.1", "::1", "2.2.2.2")),
            (["1.1.1.1"], ("1.1.1.1",)),
            ([], ()),
        ):
            self.assertEqual(expected, interleaved(given))
