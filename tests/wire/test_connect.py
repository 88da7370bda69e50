"""What an HTTP hop is sent, and what its answers come to, however they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.connect import INTERIM_LIMIT, ConnectClient, ConnectRefused, Opened, basic, offersOnly
from pipsocks.wire.http import HEAD_LIMIT
from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socksclient import HopNonsense
from tests.wire.codecs import assertCodec, assertFragmentation


def asked() -> ConnectClient:
    """A client that has sent its request."""
    client = ConnectClient("a.example", 443, None)
    client.start()
    return client


class RequestTests(SynchronousTestCase):
    """What the hop is sent."""

    def test_request(self) -> None:
        """One head, with the destination as target and as Host, IPv6 in brackets."""
        self.assertEqual(
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
            ConnectClient("a.example", 443, None).start(),
        )
        self.assertEqual(b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ConnectClient("::1", 80, None).start())
        self.assertFalse(ConnectClient("a.example", 443, None).asked)
        self.assertTrue(asked().asked)

    def test_login(self) -> None:
        """The login is sent at once; the password may be empty and have colons."""
        request = ConnectClient("a.example", 443, (b"me", b"a:b")).start()
        self.assertIn(b"\r\nProxy-Authorization: Basic bWU6YTpi\r\n", request)
        self.assertEqual(b"Basic bWU6", basic((b"me", b"")))

    def test_notCarried(self) -> None:
        """Nothing that would mean something else is sent."""
        self.assertRaises(ValueError, ConnectClient, "a.example", 443, (b"a:b", b""))
        self.assertRaises(NameInvalid, ConnectClient, "", 443, None)


class AnswerTests(SynchronousTestCase):
    """What the hop's answers come to."""

    def test_opened(self) -> None:
        """Any 2xx opens the tunnel; its fields mean nothing, and what follows is the tunnel's."""
        for head in (
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.0 200\r\n\r\n",
            b"HTTP/1.1 200 OK\nVia: x\n\n",
            b"HTTP/1.1 299 \r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ):
            assertCodec(self, asked, head, [Opened()])

    def test_refused(self) -> None:
        """Any other status is a refusal, told with its reason and its fields."""
        for head, status, reason, fields in (
            (b"HTTP/1.1 403 Filtered\r\nX: y\r\n\r\n", 403, "Filtered", ((b"X", b"y"),)),
            (b"HTTP/1.0 502\r\n\r\n", 502, "", ()),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, "Switching Protocols", ()),
            (b"HTTP/1.1 302 Log in \xe9\r\n\r\n", 302, "Log in \xe9", ()),
        ):
            attributes = {"status": status, "reason": reason, "fields": fields}
            assertCodec(self, asked, head, [], raises=ConnectRefused, attributes=attributes)

    def test_nonsense(self) -> None:
        """What is no HTTP/1 is told by its first octets, before any line ends."""
        for data, text in (
            (b"\x05\x01", "the answer is not HTTP/1"),
            (b"SSH-2.0-OpenSSH_9.9\r\n", "the answer is not HTTP/1"),
            (b"HTTP/2 200\r\n", "the answer is not HTTP/1"),
            (b"HTTP/1.1 2000 OK\r\n", "the answer is not HTTP/1"),
            (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n", "the answer is not HTTP/1"),
            (b"HTTP/1.1 200 O\x00K\r\n", "the answer is not HTTP/1"),
        ):
            assertCodec(self, asked, data, [], raises=HopNonsense, attributes={"text": text})

    def test_bounded(self) -> None:
        """No field, a head that does not end, in either part, and interim responses without end are cut off."""
        for data in (
            b"HTTP/1.1 200 " + b"a" * HEAD_LIMIT,
            b"HTTP/1.1 200 " + b"a" * HEAD_LIMIT + b"\r\n",
            b"HTTP/1.1 200 OK\r\nno field\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEAD_LIMIT,
            b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 201,
            b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_LIMIT + 1),
        ):
            client = asked()
            client.receive(data)
            self.assertRaises(HopNonsense, client.next)

    def test_line(self) -> None:
        """A status line that grows is cut off while it grows."""
        client = asked()
        client.receive(b"HTTP/1.1 200 ")
        for _ in range(HEAD_LIMIT // 1024 - 1):
            client.receive(b"a" * 1024)
            self.assertIsNone(client.next())
        client.receive(b"a" * 1024)
        self.assertRaises(HopNonsense, client.next)

    @given(data=st.binary(max_size=60), places=st.lists(st.integers(0, 99), max_size=4))
    def test_anything(self, data: bytes, places: list[int]) -> None:
        """Whatever a hop answers, in whatever pieces, comes to the same."""
        for prefix in (b"", b"HTTP/1.1 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 x\r\nA: b\r\n"):
            assertFragmentation(self, asked, prefix + data, places, (ConnectRefused, HopNonsense))


class OffersTests(SynchronousTestCase):
    """What a 407 asks for."""

    def test_only(self) -> None:
        """Schemes that we cannot speak are named, those of a Windows network with what helps."""
        for values, told in (
            ([b"NTLM"], ": it offers only NTLM; put px or cntlm before it"),
            ([b"Negotiate", b"NTLM"], ": it offers only Negotiate and NTLM; put px or cntlm before it"),
            ([b"Digest realm=x, nonce=y"], ": it offers only Digest"),
            ([b"Basic realm=x"], ""),
            ([b"NTLM", b"basic"], ""),
            ([], ""),
        ):
            self.assertEqual(offersOnly(tuple((b"Proxy-Authenticate", value) for value in values)), told)
