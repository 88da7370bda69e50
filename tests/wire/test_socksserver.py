"""A client's SOCKS handshake as the server reads it."""

from __future__ import annotations

from typing import Any

import socks as pysocks
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from pipsocks.wire.socksserver import Credentials, Event, Send, SocksError, SocksRequest, SocksServer, replyBytes
from tests.wire.codecs import assertCodec, assertFragmentation

NO_LOGIN = Send(b"\x05\x00")
LOGIN = Send(b"\x05\x02")
ACCEPTED = Send(b"\x01\x00")
FAILED = b"\x05\x01\x00\x01" + bytes(6)
FAILED_4 = b"\x00\x5b" + bytes(6)
NAMED = b"\x05\x01\x00\x03\x09a.example\x01\xbb"
ASKED = SocksRequest(5, 1, "a.example", 443)
HELD_LIMIT = 4 + 1 + 255 + 2 + 255
"""The longest message of a handshake that is not whole, with room to spare."""


def accept(codec: SocksServer, event: Event) -> None:
    """Let everybody in."""
    if isinstance(event, Credentials):
        assert codec.accept() == b"\x01\x00"


def open_() -> SocksServer:
    """A listener without a login."""
    return SocksServer(loginRequired=False)


def guarded() -> SocksServer:
    """A listener with one."""
    return SocksServer(loginRequired=True)


class Socks5Tests(TestCase):
    """SOCKS 5."""

    def test_requests(self) -> None:
        """A name and addresses of both families, in however many pieces, with the tunnel's octets behind."""
        for field, host, port in (
            (b"\x03\x09A.Example\x01\xbb", "a.example", 443),
            (b"\x01\xc0\x00\x02\x07\x00\x50", "192.0.2.7", 80),
            (b"\x04" + bytes(15) + b"\x01\xff\xff", "::1", 65_535),
            (b"\x03\x05127.1\x00\x50", "127.0.0.1", 80),
            (b"\x03\x03::1\x00\x50", "::1", 80),
            (b"\x03\xff" + b"a" * 61 + (b"." + b"b" * 63) * 3 + b".c" + b"\x00\x50", None, 80),
        ):
            host = host or "a" * 61 + ("." + "b" * 63) * 3 + ".c"
            expected = [NO_LOGIN, SocksRequest(5, 1, host, port)]
            assertCodec(self, open_, b"\x05\x01\x00\x05\x01\x00" + field, expected)

    def test_methodChoice(self) -> None:
        """Without a login required, no login is chosen where it is offered."""
        for greeting in (b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x05\x03\x02\x01\x00", b"\x05\xff" + bytes(255)):
            assertCodec(self, open_, greeting + NAMED, [NO_LOGIN, ASKED])

    def test_anyCredentials(self) -> None:
        """Without a login required, a client that offers nothing but one gets in with whatever it says."""
        for login in (b"\x01\x02me\x02pw", b"\x01\x00\x00", b"\x01\x02me\x00", b"\x01\xff" + b"u" * 255 + b"\x01p"):
            assertCodec(self, open_, b"\x05\x02\x02\x01" + login + NAMED, [LOGIN, ACCEPTED, ASKED])

    def test_login(self) -> None:
        """With a login required the caller judges the credentials, octets of any kind, 0 to 255 of each."""
        for user, password in ((b"me", b"pw"), (b"", b""), (b"me", b""), (b"\x00\xff", b"p:\xe9"), (b"u" * 255,) * 2):
            said = b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password
            assertCodec(
                self,
                guarded,
                b"\x05\x02\x00\x02" + said + NAMED,
                [LOGIN, Credentials(user, password), ASKED],
                react=accept,
            )

    def test_rejected(self) -> None:
        """After a failed login nothing more is read."""
        codec = guarded()
        codec.receive(b"\x05\x01\x02\x01\x02me\x02no" + NAMED)
        self.assertEqual([LOGIN, Credentials(b"me", b"no")], [codec.next(), codec.next()])
        self.assertIsNone(codec.next())
        self.assertEqual(len(NAMED), codec.held)
        self.assertEqual(b"\x01\x01", codec.reject())
        self.assertIsNone(codec.next())
        self.assertRaises(RuntimeError, codec.accept)
        self.assertRaises(RuntimeError, codec.reject)

    def test_acceptOnlyWhenAsked(self) -> None:
        """Nobody is let in before the credentials are there."""
        codec = guarded()
        self.assertRaises(RuntimeError, codec.accept)
        codec.receive(b"\x05\x01\x02")
        codec.next()
        self.assertRaises(RuntimeError, codec.accept)

    def test_noMethod(self) -> None:
        """A client that offers no method of ours gets 05 FF; where it should have offered the login, that is told."""
        for make, greeting, code in (
            (guarded, b"\x05\x01\x00", "PS-AU01"),
            (guarded, b"\x05\x02\x00\x01", "PS-AU01"),
            (guarded, b"\x05\x00", "PS-AU01"),
            (open_, b"\x05\x00", "PS-RQ01"),
            (open_, b"\x05\x02\x01\x03", "PS-RQ01"),
        ):
            assertCodec(self, make, greeting, [], raises=SocksError, attributes={"code": code, "reply": b"\x05\xff"})

    def test_loginVersion(self) -> None:
        """A login of another version than RFC 1929's is a failed one."""
        for make in (open_, guarded):
            attributes = {"code": "PS-RQ01", "reply": b"\x01\x01"}
            assertCodec(
                self, make, b"\x05\x01\x02\x05", [LOGIN], raises=SocksError, attributes=attributes, react=accept
            )

    def test_badRequests(self) -> None:
        """Each malformed request has its slug and its reply."""
        for request, code, reply, detail in (
            (b"\x04\x01", "PS-RQ01", 1, "request of version 4"),
            (b"\x05\x04", "PS-RQ08", 7, "SOCKS command 4"),
            (b"\x05\x00", "PS-RQ08", 7, "SOCKS command 0"),
            (b"\x05\xf0", "PS-RQ08", 7, "SOCKS command 240"),
            (b"\x05\x01\x00\x02", "PS-RQ09", 8, "address type 2"),
            (b"\x05\x01\x00\x03\x00\x00\x50", "PS-RQ10", 1, "empty host name"),
            (b"\x05\x01\x00\x03\x03a\x00b\x00\x50", "PS-RQ10", 1, "bad character in host name"),
            (b"\x05\x01\x00\x03\x03a b\x00\x50", "PS-RQ10", 1, "bad character in host name"),
            (b"\x05\x01\x00\x03\x01a\x00\x00", "PS-RQ10", 1, "port 0"),
            (b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", "PS-RQ10", 1, "port 0"),
        ):
            assertCodec(
                self,
                open_,
                b"\x05\x01\x00" + request,
                [NO_LOGIN],
                raises=SocksError,
                attributes={"code": code, "reply": b"\x05" + bytes([reply]) + FAILED[2:], "detail": detail},
            )

    def test_otherCommands(self) -> None:
        """BIND and UDP ASSOCIATE may name port 0: it is not known yet."""
        for command in (2, 3):
            for field, host, port in (
                (b"\x01" + bytes(6), "0.0.0.0", 0),
                (b"\x04" + bytes(15) + b"\x01\x00\x50", "::1", 80),
                (b"\x03\x09a.example\x00\x00", "a.example", 0),
            ):
                asked = SocksRequest(5, command, host, port)
                assertCodec(self, open_, b"\x05\x01\x00\x05" + bytes([command, 0]) + field, [NO_LOGIN, asked])

    def test_reservedOctet(self) -> None:
        """The reserved octet is nobody's business."""
        assertCodec(self, open_, b"\x05\x01\x00\x05\x01\x77" + NAMED[3:], [NO_LOGIN, ASKED])

    def test_unfinished(self) -> None:
        """A handshake that stops anywhere gives what it had, and holds no more than one message."""
        whole = b"\x05\x01\x02\x01\x02me\x02pw" + NAMED
        for length in range(len(whole)):
            codec = open_()
            codec.receive(whole[:length])
            while codec.next() is not None:
                pass
            self.assertTrue(codec.held < len(NAMED))


class Socks4Tests(TestCase):
    """SOCKS 4 and 4a."""

    def test_requests(self) -> None:
        """Addresses, names, user ids of 0 to 255 octets."""
        for data, host, userid in (
            (b"\x04\x01\x00\x50\xc0\x00\x02\x07\x00", "192.0.2.7", b""),
            (b"\x04\x01\x00\x50\xc0\x00\x02\x07me\x00", "192.0.2.7", b"me"),
            (b"\x04\x01\x00\x50\xc0\x00\x02\x07" + b"\xff" * 255 + b"\x00", "192.0.2.7", b"\xff" * 255),
            (b"\x04\x01\x00\x50\x00\x00\x00\x00\x00", "0.0.0.0", b""),
            (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00a.example\x00", "a.example", b""),
            (b"\x04\x01\x00\x50\x00\x00\x00\xffme\x00127.1\x00", "127.0.0.1", b"me"),
        ):
            assertCodec(self, open_, data, [SocksRequest(4, 1, host, 80, userid)], heldLimit=600)
        bind = b"\x04\x02\x00\x00\xc0\x00\x02\x07\x00"
        assertCodec(self, open_, bind, [SocksRequest(4, 2, "192.0.2.7", 0)], heldLimit=600)

    def test_badRequests(self) -> None:
        """Each malformed request is rejected with its slug, and an endless text while it streams."""
        start = b"\x04\x01\x00\x50\x00\x00\x00\x01"
        for data, code, detail in (
            (b"\x04\x03", "PS-RQ08", "SOCKS 4 command 3"),
            (b"\x04\x09", "PS-RQ08", "SOCKS 4 command 9"),
            (b"\x04\x01\x00\x00\x7f\x00\x00\x01\x00", "PS-RQ10", "port 0"),
            (b"\x04\x01\x00\x00\x00\x00\x00\x01\x00a\x00", "PS-RQ10", "port 0"),
            (start + b"\x00\x00", "PS-RQ10", "empty host name"),
            (start + b"\x00a b\x00", "PS-RQ10", "bad character in host name"),
            (start + b"u" * 256, "PS-RQ01", "SOCKS 4 user id too long"),
            (start + b"\x00" + b"a" * 256, "PS-RQ10", "host name too long"),
        ):
            attributes = {"code": code, "reply": FAILED_4, "detail": detail}
            assertCodec(self, open_, data, [], raises=SocksError, attributes=attributes)

    def test_endless(self) -> None:
        """A user id or a name without an end is given up at 255 octets, not kept."""
        for start in (b"\x04\x01\x00\x50\x00\x00\x00\x01", b"\x04\x01\x00\x50\x00\x00\x00\x01\x00"):
            codec = open_()
            codec.receive(start)
            for _ in range(255):
                self.assertIsNone(codec.next())
                codec.receive(b"a")
            self.assertIsNone(codec.next())
            self.assertTrue(codec.held <= 9 + 255)
            codec.receive(b"a")
            self.assertRaises(SocksError, codec.next)

    def test_loginRequired(self) -> None:
        """A user id is no password: SOCKS 4 is rejected at its first octet."""
        attributes = {"code": "PS-AU01", "reply": FAILED_4}
        assertCodec(self, guarded, b"\x04", [], raises=SocksError, attributes=attributes)


class AnyTests(TestCase):
    """Both versions."""

    def test_otherProtocol(self) -> None:
        """Another first octet has no reply in SOCKS."""
        for first in (b"\x00", b"\x06", b"G", b"\x16"):
            attributes = {"code": "PS-RQ01", "reply": b""}
            assertCodec(self, open_, first, [], raises=SocksError, attributes=attributes)

    def test_nothingOfTheClient(self) -> None:
        """A password does not show in the event's text, and an error has nothing of the client's octets."""
        self.assertNotIn("hunter2", repr(Credentials(b"me", b"hunter2")))
        codec = open_()
        codec.receive(b"\x05\x01\x00\x05\x01\x00\x03\x0csecret.\x1b[31m\x00\x50")
        codec.next()
        error = self.assertRaises(SocksError, codec.next)
        self.assertNotIn("secret", str(error))
        self.assertTrue(error.detail.isascii() and error.detail.isprintable())

    def test_afterTheRequest(self) -> None:
        """What comes behind the request, then and later, is kept whole and handed over once."""
        codec = open_()
        codec.receive(b"\x05\x01\x00" + NAMED + b"early")
        self.assertEqual([NO_LOGIN, ASKED, None], [codec.next(), codec.next(), codec.next()])
        codec.receive(b" and late")
        self.assertIsNone(codec.next())
        self.assertEqual(14, codec.held)
        self.assertEqual(b"early and late", codec.leftover())
        self.assertEqual((0, b""), (codec.held, codec.leftover()))

    @given(
        st.booleans(),
        st.sampled_from([b"", b"\x05", b"\x05\x01\x00\x05\x01\x00", b"\x05\x01\x02\x01", b"\x04", b"\x04\x01\x00\x50"]),
        st.binary(max_size=600),
        st.lists(st.integers(0, 1000), max_size=6),
    )
    def test_anything(self, required: bool, start: bytes, rest: bytes, places: list[int]) -> None:
        """Any octets, however cut, come out the same, with no error but the codec's own."""
        assertFragmentation(self, lambda: SocksServer(required), start + rest, places, (SocksError,), react=accept)


class ReplyTests(TestCase):
    """`replyBytes`."""

    def test_socks5(self) -> None:
        """The bound address in its own family, or a name; zeros of the family asked where there is none."""
        zero = b"\x01" + bytes(6)
        zero6 = b"\x04" + bytes(18)
        for host, port, family6, field in (
            ("192.0.2.7", 4660, False, b"\x01\xc0\x00\x02\x07\x12\x34"),
            ("::1", 4660, False, b"\x04" + bytes(15) + b"\x01\x12\x34"),
            ("fe80::1%eth0", 1, False, b"\x04\xfe\x80" + bytes(13) + b"\x01\x00\x01"),
            ("a.example", 1, False, b"\x03\x09a.example\x00\x01"),
            ("", 0, False, zero),
            ("", 0, True, zero6),
            ("é", 7, False, zero),
            ("x" * 256, 7, True, zero6),
        ):
            self.assertEqual(b"\x05\x00\x00" + field, replyBytes(5, 0, host, port, family6))
        self.assertEqual(b"\x05\x04\x00" + zero, replyBytes(5, 4))

    def test_socks4(self) -> None:
        """Granted or rejected, with an IPv4 bound address or zeros."""
        self.assertEqual(b"\x00\x5a\x12\x34\xc0\x00\x02\x07", replyBytes(4, 0, "192.0.2.7", 4660))
        for host in ("", "::1", "a.example"):
            self.assertEqual(b"\x00\x5a" + bytes(6), replyBytes(4, 0, host, 4660))
        for reply in range(1, 9):
            self.assertEqual(FAILED_4, replyBytes(4, reply))


class _Wire:
    """What PySocks takes for a socket: its octets go into the codec, the codec's answers come out."""

    def __init__(self, codec: SocksServer, answer: bytes) -> None:
        self.codec = codec
        self.events: list[Event] = []
        self._answer = answer
        self._output = b""

    def sendall(self, data: bytes) -> None:
        for octet in data:
            self.codec.receive(bytes([octet]))
            while (event := self.codec.next()) is not None:
                self.events.append(event)
                if isinstance(event, Send):
                    self._output += event.data
                elif isinstance(event, Credentials):
                    self._output += self.codec.accept()
                else:
                    self._output += self._answer

    def recv(self, size: int) -> bytes:
        data, self._output = self._output[:size], self._output[size:]
        return data


class _PySocks(pysocks.socksocket):
    """PySocks with a wire of ours under it."""

    def __init__(self, wire: _Wire) -> None:
        super().__init__()
        self.wire = wire

    def sendall(self, data: bytes, *flags: Any) -> None:
        self.wire.sendall(data)

    def recv(self, size: int, *flags: Any) -> bytes:
        return self.wire.recv(size)

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        wire = self.wire

        class File:
            def write(self, data: bytes) -> None:
                wire.sendall(data)

            def read(self, size: int) -> bytes:
                return wire.recv(size)

            def flush(self) -> None:
                pass

            def close(self) -> None:
                pass

        return File()


class PySocksTests(TestCase):
    """A client that somebody else wrote."""

    def talk(
        self, version: int, codec: SocksServer, answer: bytes, host: str, user: str | None, password: str | None
    ) -> tuple[list[Event], Any]:
        """Let PySocks ask for a host's port 443; give our events and the bound address that it read."""
        client = _PySocks(_Wire(codec, answer))
        self.addCleanup(client.close)
        client.set_proxy(version, "127.0.0.1", 1080, True, user, password)
        if version == pysocks.SOCKS5:
            client._negotiate_SOCKS5(host, 443)
        else:
            client._negotiate_SOCKS4(host, 443)
        return client.wire.events, client.proxy_sockname

    def test_socks5(self) -> None:
        """PySocks gets in with and without a login, by name and by address, and reads our bound address."""
        bound = replyBytes(5, 0, "192.0.2.7", 4660)
        for host in ("a.example", "192.0.2.1", "2001:db8::1"):
            events, read = self.talk(pysocks.SOCKS5, open_(), bound, host, None, None)
            self.assertEqual([NO_LOGIN, SocksRequest(5, 1, host, 443)], events)
            self.assertEqual(("192.0.2.7", 4660), read)
        events, read = self.talk(pysocks.SOCKS5, guarded(), replyBytes(5, 0, "::1", 5), "a.example", "me", "pw")
        self.assertEqual([LOGIN, Credentials(b"me", b"pw"), ASKED], events)
        self.assertEqual(("::1", 5), read)

    def test_failure(self) -> None:
        """PySocks raises what our reply says."""
        with self.assertRaises(pysocks.SOCKS5Error) as caught:
            self.talk(pysocks.SOCKS5, open_(), replyBytes(5, 5), "a.example", None, None)
        self.assertIn("refused", str(caught.exception))
        with self.assertRaises(pysocks.SOCKS4Error):
            self.talk(pysocks.SOCKS4, open_(), replyBytes(4, 5), "a.example", None, None)

    def test_socks4(self) -> None:
        """PySocks gets in by SOCKS 4 and 4a."""
        granted = replyBytes(4, 0, "192.0.2.7", 4660)
        for host, user in (("a.example", None), ("192.0.2.1", "me")):
            events, read = self.talk(pysocks.SOCKS4, open_(), granted, host, user, None)
            self.assertEqual([SocksRequest(4, 1, host, 443, (user or "").encode())], events)
            self.assertEqual(("192.0.2.7", 4660), read)
