"""What a SOCKS hop is sent, and what its answers come to, however they arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.names import NameInvalid
from pipsocks.wire.socksclient import Bound, HopLogin, HopNonsense, HopRefused, Send, SocksClient
from tests.wire.codecs import assertCodec, assertFragmentation

REQUEST = b"\x05\x01\x00\x03\x09a.example\x01\xbb"
ASK = Send(REQUEST)
LOGIN = (b"me", b"p@ss")
SAY_LOGIN = Send(b"\x01\x02me\x04p@ss")


def five(login: tuple[bytes, bytes] | None = None) -> Callable[[], SocksClient]:
    """A client of SOCKS 5 that has sent its greeting."""

    def make() -> SocksClient:
        client = SocksClient(5, "a.example", 443, login)
        client.start()
        return client

    return make


def four() -> SocksClient:
    """A client of SOCKS 4a that has sent its request."""
    client = SocksClient(4, "a.example", 443, None, a4=True)
    client.start()
    return client


class RequestTests(SynchronousTestCase):
    """What the hop is sent."""

    def test_greeting(self) -> None:
        """Without a login only "no login" is offered, with one both: the hop chooses."""
        self.assertEqual(b"\x05\x01\x00", SocksClient(5, "a.example", 443, None).start())
        self.assertEqual(b"\x05\x02\x00\x02", SocksClient(5, "a.example", 443, LOGIN).start())

    def test_associate(self) -> None:
        """SOCKS 5 can be asked for an association in place of a connection."""
        client = SocksClient(5, "0.0.0.0", 0, None, command=3)
        client.start()
        client.receive(b"\x05\x00")
        self.assertEqual(Send(b"\x05\x03\x00\x01" + bytes(6)), client.next())

    def test_addresses(self) -> None:
        """Names go as names, literals as addresses of their family."""
        for host, field in (
            ("192.0.2.1", b"\x01\xc0\x00\x02\x01"),
            ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
            ("foo_bar.example", b"\x03\x0ffoo_bar.example"),
        ):
            client = SocksClient(5, host, 80, None)
            client.start()
            client.receive(b"\x05\x00")
            self.assertEqual(Send(b"\x05\x01\x00" + field + b"\x00\x50"), client.next())

    def test_four(self) -> None:
        """SOCKS 4 sends its request at once, with the user id; a name needs 4a."""
        client = SocksClient(4, "192.0.2.1", 80, (b"me", b"ignored"))
        self.assertFalse(client.asked)
        self.assertEqual(b"\x04\x01\x00\x50\xc0\x00\x02\x01me\x00", client.start())
        self.assertTrue(client.asked)
        self.assertEqual(
            b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00a.example\x00",
            SocksClient(4, "a.example", 443, None, a4=True).start(),
        )

    def test_notCarried(self) -> None:
        """What a version cannot say is told before anything is sent."""
        for host, a4 in (("2001:db8::1", False), ("2001:db8::1", True), ("a.example", False)):
            self.assertRaises(NameInvalid, SocksClient, 4, host, 80, None, a4)
        self.assertRaises(NameInvalid, SocksClient, 5, "", 80, None)
        self.assertRaises(ValueError, SocksClient, 4, "192.0.2.1", 80, (b"a\x00b", b""))
        self.assertRaises(ValueError, SocksClient, 5, "a.example", 80, (b"u", b"p" * 256))

    def test_limits(self) -> None:
        """255 octets of user and password fit."""
        client = SocksClient(5, "a.example", 80, (b"u" * 255, b"p" * 255))
        client.start()
        client.receive(b"\x05\x02")
        self.assertEqual(Send(b"\x01\xff" + b"u" * 255 + b"\xff" + b"p" * 255), client.next())

    def test_secretsUnseen(self) -> None:
        """A login that is about to be sent prints as nothing."""
        self.assertNotIn("p@ss", repr(SAY_LOGIN))


class AnswerTests(SynchronousTestCase):
    """What the hop's answers come to."""

    def assertAnswer(self, make: Callable[[], Any], data: bytes, *events: Any) -> None:
        """The answer gives the events."""
        assertCodec(self, make, data, events)

    def test_opened(self) -> None:
        """The tunnel is open, and the bytes behind the reply are its first."""
        yes = b"\x05\x00\x00\x01\xc0\x00\x02\x07\x12\x34"
        self.assertAnswer(five(), b"\x05\x00" + yes, ASK, Bound("192.0.2.7", 0x1234))
        self.assertAnswer(five(LOGIN), b"\x05\x00" + yes, ASK, Bound("192.0.2.7", 0x1234))
        for version in b"\x01\x05":
            answer = b"\x05\x02" + bytes([version]) + b"\x00" + yes
            self.assertAnswer(five(LOGIN), answer, SAY_LOGIN, ASK, Bound("192.0.2.7", 0x1234))

    def test_boundAddresses(self) -> None:
        """The bound address may be IPv6 or a name, and one that is none of them is unknown."""
        for field, host in (
            (b"\x04" + bytes(15) + b"\x01", "::1"),
            (b"\x03\x09b.example", "b.example"),
            (b"\x03\x00", "0.0.0.0"),
            (b"\x03\x02\x00\xff", "0.0.0.0"),
        ):
            self.assertAnswer(five(), b"\x05\x00\x05\x00\x00" + field + b"\x00\x50", ASK, Bound(host, 80))

    def test_asked(self) -> None:
        """The hop counts as asked from the moment on at which it is told the destination."""
        client = five(LOGIN)()
        for data, asked in ((b"\x05", False), (b"\x02", False), (b"\x01\x00", True)):
            client.receive(data)
            client.next()
            self.assertEqual(asked, client.asked, data)

    def test_refused(self) -> None:
        """A refusal is told by its code alone: some hops close behind the code, others send no address."""
        for reply in (1, 2, 5, 8, 91, 255):
            for rest in (b"", b"\x00", b"\x00\x00", b"\x00\x01" + bytes(6)):
                assertCodec(
                    self,
                    five(),
                    b"\x05\x00\x05" + bytes([reply]) + rest,
                    [ASK],
                    raises=HopRefused,
                    attributes={"version": 5, "reply": reply},
                )

    def test_login(self) -> None:
        """A hop that does not let us in says so in one of four ways."""
        for make, data, events, text in (
            (five(), b"\x05\xff", [], "no acceptable method"),
            (five(), b"\x05\x02", [], "wants a user and a password"),
            (five(LOGIN), b"\x05\x01", [], "wants login method 1"),
            (five(LOGIN), b"\x05\x02\x01\x07", [SAY_LOGIN], "login status 7"),
        ):
            assertCodec(self, make, data, events, raises=HopLogin, attributes={"text": text})

    def test_nonsense(self) -> None:
        """What is no SOCKS is told by its first octet."""
        for data, events, text in (
            (b"H", [], "the answer begins with octet 0x48"),
            (b"\x04\x5a", [], "the answer begins with octet 0x04"),
            (b"\x05\x00\x00", [ASK], "the reply begins with octet 0x00"),
            (b"\x05\x00\x05\x00\x00\x07", [ASK], "the reply has address type 7"),
        ):
            assertCodec(self, five(), data, events, raises=HopNonsense, attributes={"text": text})
        data = b"\x05\x02\x02"
        assertCodec(self, five(LOGIN), data, [SAY_LOGIN], raises=HopNonsense)

    def test_four(self) -> None:
        """SOCKS 4's reply is eight octets, of which a refusal needs two."""
        for version in b"\x00\x04":
            head = bytes([version])
            self.assertAnswer(four, head + b"\x5a\x12\x34\xc0\x00\x02\x07", Bound("192.0.2.7", 0x1234))
            for reply in (91, 92, 93):
                attributes = {"version": 4, "reply": reply}
                assertCodec(self, four, head + bytes([reply]), [], raises=HopRefused, attributes=attributes)
        for data, text in ((b"\x05", "the reply begins with octet 0x05"), (b"\x00\x00", "the reply has code 0")):
            assertCodec(self, four, data, [], raises=HopNonsense, attributes={"text": text})

    @given(data=st.binary(max_size=40), places=st.lists(st.integers(0, 40), max_size=4), login=st.booleans())
    def test_anything(self, data: bytes, places: list[int], login: bool) -> None:
        """Whatever a hop answers, in whatever pieces, comes to the same."""
        errors = (HopRefused, HopLogin, HopNonsense)
        for prefix in (b"", b"\x05\x00", b"\x05\x02", b"\x05\x00\x05\x00\x00"):
            assertFragmentation(self, five(LOGIN if login else None), prefix + data, places, errors)
        assertFragmentation(self, four, data, places, errors)
