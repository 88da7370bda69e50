"""TLS to an ``https`` hop: who is trusted, what is asked for, and what is told when it fails."""

from __future__ import annotations

from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.filepath import FilePath

from pipsocks.model import Destination
from pipsocks.upstream.chain import Chain
from pipsocks.upstream.settings import ChainSettings, HopSettings, TLSSettings
from pipsocks.upstream.tls import clientTLS
from tests.loopback import TalkFactory
from tests.upstream.rig import A, UpstreamCase

CONNECT = b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"
OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


class TLSCase(UpstreamCase):
    """A hop with a certificate of a CA of its own."""

    def setUp(self) -> None:
        """Make the CA, and the hop's certificate."""
        super().setUp()
        self.authority = trustme.CA()
        self.knownNames["hop.example"] = ["127.0.0.1"]
        self.caFile = self.write("ca.pem", self.authority.cert_pem.bytes())

    def write(self, name: str, *contents: bytes) -> str:
        """A file with these contents."""
        path = FilePath(self.mktemp())
        path.makedirs()
        path.child(name).setContent(b"".join(contents))
        return path.child(name).path

    async def serve(self, name: str = "hop.example", **options: Any) -> int:
        """A TLS port with a certificate for that name; its connections come to `self.peers`."""
        issued = self.authority.issue_cert(name)
        pem = issued.private_key_pem.bytes() + b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        own = PrivateCertificate.loadPEM(pem)
        self.peers = TalkFactory()
        certificate = CertificateOptions(own.privateKey.original, own.original, **options)
        port = await SSL4ServerEndpoint(reactor, 0, certificate, interface="127.0.0.1").listen(self.peers)
        self.addCleanup(port.stopListening)

        async def close() -> None:
            await self._closeAll()
            for talk in self.peers.talks:
                if talk.lost is None and talk.transport is not None:
                    talk.transport.abortConnection()  # type: ignore[attr-defined]
                    await talk.gone()

        self.addCleanup(close)
        return port.getHost().port  # type: ignore[no-any-return,attr-defined]

    def chain(self, port: int, host: str = "hop.example", **tls: Any) -> Chain:
        """A chain of the one hop."""
        settings = TLSSettings(**{"ca": self.caFile, **tls})
        return Chain(ChainSettings((HopSettings("https", Destination(host, port), None, settings),)), self.network)


class TLSTests(TLSCase):
    """Chains that end in an ``https`` hop."""

    async def test_tunnel(self) -> None:
        """The request is sent only inside TLS, and so is the tunnel."""
        chain = self.chain(await self.serve())
        opening = self.open(chain.connect(A))
        talk = await self.peers.accepted()
        self.assertEqual(CONNECT, await talk.read(len(CONNECT)))
        talk.write(OPEN + b"first")
        inner = await opening
        self.assertEqual(b"first", await inner.read(5))
        inner.write(b"hello")
        self.assertEqual(b"hello", await talk.read(5))
        self.assertTrue(ISSLTransport.providedBy(inner.transport))
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertTrue(chain.endsInHTTP)
        talk.transport.loseConnection()  # type: ignore[union-attr]
        await inner.gone()

    async def test_reachLast(self) -> None:
        """The way to the hop itself is there when TLS is: nothing was asked."""
        opening = self.open(self.chain(await self.serve()).reachLast())
        inner = await opening
        inner.write(b"GET http://a.example/ HTTP/1.1\r\n\r\n")
        talk = await self.peers.accepted()
        self.assertEqual(b"GET http://a.example/ HTTP/1.1\r\n\r\n", await talk.readUntil(b"\r\n\r\n"))
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_untrusted(self) -> None:
        """A certificate of an unknown CA is refused, for both ways; the hop never sees the request."""
        port = await self.serve()
        other = self.write("other.pem", trustme.CA().cert_pem.bytes())
        for endpoint in (self.chain(port, ca=other).connect(A), self.chain(port, ca="").reachLast()):
            where = f"hop.example:{port}"
            refusal = await self.refused(self.open(endpoint), "PS-UP08", hop=where, chain=where)
            self.assertIn("certificate verify failed", refusal.detail)
        self.assertEqual([b""], list({talk.received for talk in self.peers.talks}))

    async def test_otherName(self) -> None:
        """A certificate for another name is refused; ``sni`` says which name to ask for and to verify."""
        port = await self.serve("other.example")
        refusal = await self.refused(self.open(self.chain(port).connect(A)), "PS-UP08")
        self.assertEqual("the certificate is for another name", refusal.detail)
        await self.open(self.chain(port, sni="other.example").reachLast())

    async def test_address(self) -> None:
        """A hop that is called by its address needs a certificate for that."""
        await self.open(self.chain(await self.serve("127.0.0.1"), "127.0.0.1").reachLast())
        refused = self.open(self.chain(await self.serve(), "127.0.0.1").connect(A))
        await self.refused(refused, "PS-UP08", detail="the certificate is for another name")

    async def test_unverified(self) -> None:
        """``verify=off`` takes any certificate, and asks for the name all the same."""
        port = await self.serve("other.example")
        chain = self.chain(port, ca="", verify=False)
        inner = await self.open(chain.reachLast())
        self.assertEqual(b"hop.example", inner.transport.getHandle().get_servername())
        inner = await self.open(self.chain(port, "127.0.0.1", ca="", verify=False).reachLast())
        self.assertIsNone(inner.transport.getHandle().get_servername())

    async def test_clientCertificate(self) -> None:
        """``cert`` shows the hop who we are, verified or not."""
        trusted = trustRootFromCertificates([Certificate.loadPEM(self.authority.cert_pem.bytes())])
        port = await self.serve(trustRoot=trusted)
        issued = self.authority.issue_cert("client.example")
        chain = [blob.bytes() for blob in issued.cert_chain_pems]
        own = self.write("own.pem", issued.private_key_pem.bytes(), *chain)
        for verify in (True, False):
            opening = self.open(self.chain(port, cert=own, verify=verify).connect(A))
            talk = await self.peers.accepted()
            self.assertEqual(CONNECT, await talk.read(len(CONNECT)))
            talk.write(OPEN)
            await opening
        refusal = await self.refused(self.open(self.chain(port).connect(A)), "PS-UP08")
        self.assertIn("certificate", refusal.detail)

    async def test_noTLS(self) -> None:
        """A hop that does not speak TLS is told from one with a bad certificate, and never gets the request."""
        peers, there = await self.peer()
        opening = self.open(self.chain(there.port).connect(A))
        talk = await peers.accepted()
        talk.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        refusal = await self.refused(opening, "PS-UP08")
        self.assertIn("wrong version number", refusal.detail)
        self.assertNotIn(b"CONNECT", talk.received)

    async def test_closed(self) -> None:
        """A hop that closes in the TLS handshake is blamed, one that closes after the request is not alone to blame."""
        peers, there = await self.peer()
        opening = self.open(self.chain(there.port).connect(A))
        talk = await peers.accepted()
        talk.transport.loseConnection()  # type: ignore[union-attr]
        await self.refused(opening, "PS-UP08", detail="closed in the handshake")
        opening = self.open(self.chain(await self.serve()).connect(A))
        talk = await self.peers.accepted()
        await talk.read(len(CONNECT))
        talk.transport.loseConnection()  # type: ignore[union-attr]
        await self.refused(opening, "PS-UP16")

    async def test_silent(self) -> None:
        """One limit covers TLS and the answer; silence in TLS is the hop's."""
        peers, there = await self.peer()
        opening = self.open(self.chain(there.port).connect(A))
        await (await peers.accepted()).read(1)
        self.clock.advance(3)
        await self.refused(opening, "PS-UP06")
        opening = self.open(self.chain(await self.serve()).connect(A))
        await (await self.peers.accepted()).read(len(CONNECT))
        self.clock.advance(3)
        await self.refused(opening, "PS-UP15")
        self.assertEqual([], self.clock.getDelayedCalls())

    async def test_cancelled(self) -> None:
        """Leaving within the TLS handshake closes the connection, and leaves no timer."""
        peers, there = await self.peer()
        opening = self.open(self.chain(there.port).connect(A))
        talk = await peers.accepted()
        await talk.read(1)
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
        await talk.until(lambda: talk.ended)

    async def test_inTLS(self) -> None:
        """TLS to a second hop runs inside TLS to the first."""
        port = await self.serve()
        hop = HopSettings("https", Destination("hop.example", port), None, TLSSettings(ca=self.caFile))
        opening = self.open(Chain(ChainSettings((hop, hop)), self.network).connect(A))
        outer = await self.peers.accepted()
        await outer.readUntil(b"\r\n\r\n")
        # The first hop's side of the tunnel is a TLS server of its own, on the same connection.
        secure = self.serveInside(outer)
        outer.write(OPEN)
        talk = await secure.accepted()
        self.assertEqual(CONNECT, await talk.read(len(CONNECT)))
        talk.write(OPEN + b"deep")
        inner = await opening
        self.assertEqual(b"deep", await inner.read(4))
        inner.write(b"answer")
        self.assertEqual(b"answer", await talk.read(6))

    def serveInside(self, outer: Any) -> TalkFactory:
        """Let what comes on `outer` from now on be TLS for a second hop."""
        issued = self.authority.issue_cert("hop.example")
        pem = issued.private_key_pem.bytes() + b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        peers = TalkFactory()
        factory = TLSMemoryBIOFactory(PrivateCertificate.loadPEM(pem).options(), False, peers)
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(outer.transport)
        outer.dataReceived = protocol.dataReceived
        lost = outer.connectionLost

        def connectionLost(reason: Any) -> None:
            protocol.connectionLost(reason)
            lost(reason)

        outer.connectionLost = connectionLost
        return peers

    def test_files(self) -> None:
        """A file that is not what it should be is told at the start."""
        empty = self.write("empty.pem", b"nothing")
        broken = self.write("broken.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for path in (empty, broken):
            self.assertRaises(ValueError, clientTLS, TLSSettings(ca=path), "hop.example")
            self.assertRaises(ValueError, clientTLS, TLSSettings(cert=path), "hop.example")
        self.assertRaises(OSError, clientTLS, TLSSettings(ca=empty + ".gone"), "hop.example")
        clientTLS(None, "hop.example")
