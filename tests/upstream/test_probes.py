"""Probes: a chain that leads nowhere is known before a client finds out (behaviour, section 5, "Health")."""

from __future__ import annotations

import os
import random
import sys
from typing import Any
from unittest import mock

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, optionsForClientTLS
from twisted.internet.ssl import trustRootFromCertificates as trustRoot
from twisted.internet.task import Clock
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import globalLogPublisher
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination
from pipsocks.refusal import Refusal
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.health import Health, State
from pipsocks.upstream.probes import Probes
from pipsocks.upstream.settings import ChainSettings
from tests.gateway.fakes import FakeChain
from tests.loopback import TalkFactory
from tests.upstream.rig import UpstreamCase, unusedPort

TARGET = "index.example"


class Lines:
    """What the probes log."""

    def __init__(self, case: Any) -> None:
        self.lines: list[str] = []
        observe = self._logged
        globalLogPublisher.addObserver(observe)
        case.addCleanup(globalLogPublisher.removeObserver, observe)

    def _logged(self, event: Any) -> None:
        if event.get("log_namespace") == "pipsocks.upstream.probes" and "log_failure" not in event:
            self.lines.append(event["log_format"].format(**event))


class Told(Health):
    """A health that says when a probe has told it."""

    told: Deferred[Refusal | None]

    def probed(self, failure: Refusal | None) -> None:
        super().probed(failure)
        told, self.told = self.told, Deferred()
        told.callback(failure)


class RealCase(UpstreamCase):
    """A target with a certificate of its own authority, which is all that is trusted."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = trustme.CA()
        self.knownNames[TARGET] = ["127.0.0.1"]
        self.peers = TalkFactory()

    async def serve(self, issued: trustme.LeafCert) -> int:
        """A TLS port with this certificate."""
        pem = issued.private_key_pem.bytes() + b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        own = PrivateCertificate.loadPEM(pem)
        certificate = CertificateOptions(own.privateKey.original, own.original)
        port = await SSL4ServerEndpoint(reactor, 0, certificate, interface="127.0.0.1").listen(self.peers)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.closePeers)
        return port.getHost().port  # type: ignore[no-any-return,attr-defined]

    async def closePeers(self) -> None:
        for talk in self.peers.talks:
            if talk.lost is None and talk.transport is not None:
                talk.transport.abortConnection()  # type: ignore[attr-defined]
                await talk.gone()

    def probes(self, port: int) -> Probes:
        """Probes of the direct way, as good as any other, to that port; stopped at the end."""
        health = Told("direct", self.clock.seconds)
        self.told = health.told = Deferred()
        chain = Chain(ChainSettings(), self.network, health)
        authority = trustRoot([Certificate.loadPEM(self.authority.cert_pem.bytes())])
        probes = Probes(self.clock, "exits", [chain], Destination(TARGET, port), optionsForClientTLS(TARGET, authority))
        self.addCleanup(probes.stop)
        self.chain = chain
        return probes

    async def probed(self, port: int) -> Refusal | None:
        self.probes(port).start()
        return await self.told


class RealTests(RealCase):
    """Real TLS on loopback: who answers in the target's place."""

    async def test_rightOne(self) -> None:
        """The target, with a certificate for its name, whose authority is trusted: the chain is live."""
        port = await self.serve(self.authority.issue_cert(TARGET))
        self.assertIsNone(await self.probed(port))
        self.assertTrue(self.chain.health.live)
        self.assertEqual(self.chain.health.pace.typical, 0.0)
        await self.peers.talks[0].gone()

    async def test_back(self) -> None:
        """One that was out is back with the next probe that comes through."""
        port = await self.serve(self.authority.issue_cert(TARGET))
        probes = self.probes(port)
        self.chain.health.probed(Refusal("PS-UP31"))
        self.assertFalse(self.chain.health.live)
        again = self.chain.health.told  # type: ignore[attr-defined]
        probes.start()
        await again
        self.assertTrue(self.chain.health.live)

    async def test_wrongName(self) -> None:
        """A certificate of a trusted authority, for another name."""
        port = await self.serve(self.authority.issue_cert("portal.example"))
        refusal = await self.probed(port)
        self.wrong(refusal, "PS-UP33")
        assert refusal is not None
        self.assertIn("the certificate is for another name", str(refusal))

    async def test_selfSigned(self) -> None:
        """A captive portal or hijacker, with a certificate for the very name that nobody vouches for."""
        port = await self.serve(trustme.CA().issue_cert(TARGET))
        self.wrong(await self.probed(port), "PS-UP33")

    async def test_plaintext(self) -> None:
        """A captive portal that answers TLS in plain HTTP."""
        peers, at = await self.peer()
        self.probes(at.port).start()
        talk = await peers.accepted()
        talk.write(b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\nContent-Length: 0\r\n\r\n")
        self.wrong(await self.told, "PS-UP33")

    async def test_closed(self) -> None:
        """Somebody who takes the connection and closes it."""
        peers, at = await self.peer()
        self.probes(at.port).start()
        (await peers.accepted()).transport.loseConnection()  # type: ignore[union-attr]
        self.wrong(await self.told, "PS-UP33")

    async def test_silent(self) -> None:
        """Somebody who takes the connection and says nothing, for 8 s."""
        peers, at = await self.peer()
        self.probes(at.port).start()
        talk = await peers.accepted()
        await talk.until(lambda: talk.received)
        self.clock.advance(7.9)
        self.assertFalse(self.told.called)
        self.clock.advance(0.2)
        self.wrong(await self.told, "PS-UP31")
        await talk.gone()

    async def test_refused(self) -> None:
        """Nobody listens there."""
        self.wrong(await self.probed(unusedPort()), "PS-DE01")

    async def test_stopped(self) -> None:
        """Once stopped, nothing is left of a probe that was under way, and nobody is blamed."""
        peers, at = await self.peer()
        probes = self.probes(at.port)
        probes.start()
        talk = await peers.accepted()
        await talk.until(lambda: talk.received)
        probes.stop()
        await talk.gone()
        self.assertFalse(self.told.called)
        self.assertTrue(self.chain.health.live)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def wrong(self, refusal: Refusal | None, code: str) -> None:
        assert refusal is not None
        self.assertEqual(refusal.slug.code, code)
        self.assertIs(self.chain.health.state, State.OUT)


PROGRAM = """
import sys
from twisted.internet import reactor
from pipsocks.model import Destination
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.dial import Network
from pipsocks.upstream.health import Health
from pipsocks.upstream.probes import Probes
from pipsocks.upstream.settings import ChainSettings

class Told(Health):
    def probed(self, failure):
        print(failure.slug.code if failure else "came through")
        reactor.callLater(0, reactor.stop)

chain = Chain(ChainSettings(), Network(reactor), Told("direct", reactor.seconds))
probes = Probes(reactor, "exits", [chain], Destination("localhost", int(sys.argv[1])))
reactor.callWhenRunning(probes.start)
reactor.addSystemEventTrigger("before", "shutdown", probes.stop)
reactor.run()
"""


class TrustTests(RealCase):
    """Whom a probe trusts by itself."""

    async def run_(self, **environment: str) -> str:
        """What becomes of a probe in a process of its own, with these variables set."""
        port = await self.serve(self.authority.issue_cert("localhost"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT")}
        root = str(FilePath(__file__).parent().parent().parent().path)
        out, errors, code = await getProcessOutputAndValue(
            sys.executable, ["-c", PROGRAM, str(port)], {**kept, "PYTHONPATH": root, **environment}
        )
        self.assertEqual((code, errors), (0, b""))
        return out.decode().strip()

    async def test_certFile(self) -> None:
        """The authorities of SSL_CERT_FILE, as for everything that uses OpenSSL."""
        file = FilePath(self.mktemp())
        file.setContent(self.authority.cert_pem.bytes())
        self.assertEqual(await self.run_(SSL_CERT_FILE=file.path), "came through")

    async def test_default(self) -> None:
        """Without it the system's, to whom a private authority is a stranger."""
        self.assertEqual(await self.run_(), "PS-UP33")


@mock.patch.object(random, "uniform", lambda least, most: (least + most) / 2)
class TimeTests(SynchronousTestCase):
    """On a fake clock, over chains that are scripted."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = Lines(self)
        self.begun: list[tuple[str, float]] = []
        self.gives: dict[str, Any] = {"a": Refusal("PS-UP02", chain="a"), "b": Refusal("PS-UP06", chain="b")}
        self.chains = [Scripted(name, self) for name in self.gives]
        self.probes = Probes(self.clock, "exits", self.chains, Destination(TARGET, 443))  # type: ignore[arg-type]
        self.addCleanup(self.probes.stop)

    def times(self, name: str) -> list[float]:
        return [at for chain, at in self.begun if chain == name]

    def test_atTheStartAndEvery30(self) -> None:
        """Each chain is probed at once, and from then on every 30 s, however long a probe takes."""
        self.gives["a"] = lambda: Deferred()  # until its limit
        self.probes.start()
        self.assertEqual(self.begun, [("a", 0.0), ("b", 0.0)])
        self.clock.pump([0.5] * 200)
        self.assertEqual(self.times("a"), [0.0, 30.0, 60.0, 90.0])
        self.assertEqual(self.times("b"), [0.0, 30.0, 60.0, 90.0])

    def test_jitter(self) -> None:
        """± 20 %, drawn anew each time."""
        with mock.patch.object(random, "uniform", random.Random(5).uniform):
            self.probes.start()
            self.clock.pump([0.1] * 20_000)
        for name in "ab":
            times = self.times(name)
            pauses = [after - before for before, after in zip(times, times[1:], strict=False)]
            self.assertGreaterEqual(min(pauses), 24.0 - 0.1)
            self.assertLessEqual(max(pauses), 36.0 + 0.1)
            self.assertLess(min(pauses), 26.0)
            self.assertGreater(max(pauses), 34.0)
        self.assertNotEqual(self.times("a"), self.times("b"))

    def test_allFail(self) -> None:
        """When all fail, the log names the target: once, until one has come through in between."""
        self.probes.start()
        line = "no upstream of the group exits reaches the probe's target index.example:443: is it down?"
        self.assertEqual(self.log.lines, [line])
        self.clock.pump([1.0] * 95)
        self.assertEqual(self.log.lines, [line])
        self.gives["a"] = Refusal("PS-LM01")  # our own trouble is a failure for that line too
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.log.lines, [line])

    def test_oneFails(self) -> None:
        """When one fails only that one is out, and the target is not suspected."""
        self.gives["b"] = lambda: Deferred()
        self.probes.start()
        self.assertEqual([chain.health.state for chain in self.chains], [State.OUT, State.LIVE])
        self.assertEqual(self.log.lines, [])

    def test_ourOwnTrouble(self) -> None:
        """Out of descriptors no probe gets anywhere: that tells nothing of a chain."""
        self.gives["a"] = Refusal("PS-LM01")
        self.probes.start()
        self.assertEqual([chain.health.state for chain in self.chains], [State.LIVE, State.OUT])

    def test_errorOfOurs(self) -> None:
        """An error in the program itself is logged, and the next probe comes all the same."""
        self.gives["a"] = ZeroDivisionError()
        self.chains[0].breaks = True
        self.probes.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.chains[0].breaks = False
        self.gives["a"] = Refusal("PS-UP02", chain="a")
        self.clock.advance(30.0)
        self.assertIs(self.chains[0].health.state, State.OUT)

    def test_connectHangs(self) -> None:
        """A chain that does not even connect fails after 8 s, what it was doing cancelled."""
        cancelled: list[str] = []
        self.gives["a"] = lambda: Deferred(lambda _: cancelled.append("a"))
        self.probes.start()
        self.clock.advance(7.9)
        self.assertEqual((cancelled, self.chains[0].health.state), ([], State.LIVE))
        self.clock.advance(0.2)
        self.assertEqual((cancelled, self.chains[0].health.state), (["a"], State.OUT))

    def test_stop(self) -> None:
        """Stopping cancels what runs, blames nobody, and leaves no timer."""
        cancelled: list[str] = []
        self.gives["a"] = lambda: Deferred(lambda _: cancelled.append("a"))
        self.probes.start()
        self.probes.stop()
        self.assertEqual((cancelled, self.chains[0].health.state), (["a"], State.LIVE))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopAnswered(self) -> None:
        """Nor is a chain blamed that answers its cancellation with a failure."""
        self.gives["a"] = lambda: Deferred(lambda done: done.errback(Refusal("PS-UP05", chain="a")))
        self.probes.start()
        self.probes.stop()
        self.assertIs(self.chains[0].health.state, State.LIVE)


class Scripted(FakeChain):
    """A chain that gives what the case says; as its own endpoint it does not get as far as TLS."""

    def __init__(self, name: str, case: TimeTests) -> None:
        super().__init__(name, health=Health(name, case.clock.seconds))
        self.case = case
        self.breaks = False

    __hash__ = object.__hash__

    def connect(self, destination: Any) -> Any:
        self.case.begun.append((self.name, self.case.clock.seconds()))
        if self.breaks:
            raise self.case.gives[self.name]
        return Endpoint(self.case.gives[self.name])


class Endpoint:
    """Gives an outcome."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def connect(self, factory: Any) -> Deferred[Any]:
        if callable(self.outcome):
            return self.outcome()  # type: ignore[no-any-return]
        done: Deferred[Any] = Deferred()
        done.errback(self.outcome)
        return done
