"""ClientHellos, whole and broken, however they come."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.hello import HELLO_LIMIT, ClientHello, HelloInvalid, HelloReader
from tests.wire.codecs import assertCodec, assertFragmentation
from tests.wire.hellos import (
    CAPTURED,
    EARLY_DATA,
    ECH,
    PADDING,
    ZERO_RTT,
    extension,
    heard,
    message,
    modern,
    padded,
    pyOpenSSLs,
    pythons,
    records,
    serverName,
    vector,
)

SMALL = message(serverName(b"a.example"))


class WholeTests(SynchronousTestCase):
    """What is a ClientHello."""

    def assertHello(self, flight: bytes, sni: str, earlyData: bool = False) -> None:
        assertCodec(self, HelloReader, flight, [ClientHello(sni, earlyData, len(flight))])

    def test_captured(self) -> None:
        """What curl, Chromium and OpenSSL say first."""
        for flight, sni in CAPTURED.values():
            self.assertHello(flight, sni)
            self.assertEqual(sni, heard(flight))

    def test_libraries(self) -> None:
        """What the TLS libraries of Python say first, with and without a name, and with ALPN."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.assertHello(pythons(version, "a.example"), "a.example")
            self.assertHello(pythons(version, "A.example", ["h2", "http/1.1"]), "a.example")
            self.assertHello(pythons(version, None), "")
        self.assertHello(pyOpenSSLs(b"a.example"), "a.example")

    def test_earlyData(self) -> None:
        """Early data is told, and is what is left over."""
        reader = HelloReader()
        reader.receive(ZERO_RTT)
        self.assertEqual(ClientHello("a.example", True, 414), reader.next())
        self.assertEqual(ZERO_RTT[414:], reader.leftover())
        self.assertHello(records(message(extension(EARLY_DATA), serverName(b"a.example"))), "a.example", True)

    def test_encrypted(self) -> None:
        """With Encrypted ClientHello the name, and the early data, are the outer one's."""
        self.assertHello(records(modern(extension(ECH, bytes(300)))), "a.example")
        self.assertHello(records(modern(extension(ECH, bytes(300)), extension(EARLY_DATA))), "a.example", True)

    def test_records(self) -> None:
        """The message may be in any number of records, each of one octet even."""
        for sizes in ([1], [3], [4], [5], [1, 1, 1, 1], [40, 2], [len(SMALL) - 1], [1] * len(SMALL)):
            self.assertHello(records(SMALL, sizes), "a.example")

    def test_versions(self) -> None:
        """TLS 1.0 to 1.2 in the message, and TLS 1.3, which calls itself 1.2; what a record says is of no matter."""
        for octet in (0, 1, 3, 4, 255):
            self.assertHello(records(SMALL, version=bytes((3, octet))), "a.example")
        for octet in range(1, 4):
            self.assertHello(records(message(version=bytes((3, octet)))), "")

    def test_old(self) -> None:
        """Before TLS 1.3 there need be no extensions, and there may be other compressions."""
        self.assertHello(records(message(bare=True)), "")
        self.assertHello(records(message(compressions=b"\1\0", session=bytes(32))), "")

    def test_long(self) -> None:
        """A post-quantum one, and one as long as we keep, in several records."""
        self.assertHello(records(modern()), "a.example")
        flight = padded(HELLO_LIMIT, [4_000, 1, 6_000])
        self.assertHello(flight, "a.example")
        self.assertEqual("a.example", heard(flight))

    def test_once(self) -> None:
        """It is given once; what comes later stays."""
        reader = HelloReader()
        reader.receive(records(SMALL))
        self.assertIsNotNone(reader.next())
        reader.receive(records(SMALL))
        self.assertIsNone(reader.next())
        self.assertEqual(records(SMALL), reader.leftover())


class NameTests(SynchronousTestCase):
    """The name for the journal."""

    def assertName(self, expected: str, content: bytes) -> None:
        flight = records(message(content))
        assertCodec(self, HelloReader, flight, [ClientHello(expected, False, len(flight))])

    def test_plausible(self) -> None:
        """Names are told in lower case."""
        for name in (b"a", b"A.Example", b"foo_bar.r2---sn-x.example", b"xn--bcher-kva.example", b"1.2.3.4x"):
            self.assertName(name.decode().lower(), serverName(name))
            self.assertEqual(name.decode().lower(), (heard(records(modern(name=name))) or "").lower())
        longest = b".".join([b"a" * 63] * 3 + [b"a" * 61])
        self.assertName(longest.decode(), serverName(longest))

    def test_implausible(self) -> None:
        """What is no name, or would look like something else in a log, is not told: the rest is a ClientHello."""
        for name in (
            b"a.example\n",
            b"a b",
            b"a=b",
            b"",
            b".",
            b"a.example.",
            b"a..b",
            b"\xc3\xa9.example",
            b"a\0b",
            b"1.2.3.4",
            b"::1",
            b"[::1]",
            b"a" * 64,
            b".".join([b"a" * 63] * 4),
        ):
            self.assertName("", serverName(name))

    def test_malformed(self) -> None:
        """A list that isn't one host name is no ClientHello's: servers refuse it."""
        name = vector(2, b"a.example")
        for content in (
            b"",
            vector(2, b""),
            vector(2, b"\0"),
            vector(2, b"\0" + name) + b"\0",
            vector(2, b"\0" + name + b"\0" + name),
            vector(2, b"\0" + name + b"\0"),
            vector(2, b"\1" + name),
            b"\0\x0e\0" + name,
            b"\0\x0c\0\0\x0aa.example",
        ):
            flight = records(message(extension(0, content)))
            assertCodec(self, HelloReader, flight, [], raises=HelloInvalid)
            self.assertIsNone(heard(flight))


class InvalidTests(SynchronousTestCase):
    """What is none."""

    def assertInvalid(self, flight: bytes, text: str) -> None:
        assertCodec(self, HelloReader, flight, [], raises=HelloInvalid, attributes={"args": (text,)})

    def test_atOnce(self) -> None:
        """It is known with the first octet that shows it: nothing is waited for."""
        for start in (
            b"G",
            b"\x15",
            b"\x17",
            b"\x80",  # SSLv2
            b"\x16\2",
            b"\x16\4",
        ):
            self.assertInvalid(start, "not a handshake record")
        self.assertInvalid(b"\x16\3\1\0\0", "a record of an impossible length")
        self.assertInvalid(b"\x16\3\1\x40\1", "a record of an impossible length")
        self.assertInvalid(b"\x16\3\1\0\xff\2", "another handshake message")
        self.assertInvalid(b"\x16\3\1\0\1\1\x17", "not a handshake record")

    def test_long(self) -> None:
        """One octet over the limit is too long, as soon as it is announced."""
        self.assertInvalid(b"\x16\3\1\x40\0", "ClientHello too long")
        self.assertInvalid(b"\x16\3\1\0\4\1\0\x3f\xf8", "ClientHello too long")
        self.assertInvalid(padded(HELLO_LIMIT + 1, [4_000, 1]), "ClientHello too long")

    def test_behind(self) -> None:
        """Nothing may be behind it in its record: not a second message either."""
        for sizes in ([], [5], [len(SMALL) - 1]):
            self.assertInvalid(records(SMALL + b"\0", sizes), "something behind the ClientHello in its record")
        self.assertInvalid(records(SMALL + SMALL), "something behind the ClientHello in its record")

    def test_fields(self) -> None:
        """Each field has its limits."""
        for data, text in (
            (message(version=b"\3\0"), "an unknown version"),
            (message(version=b"\3\4"), "an unknown version"),
            (message(version=b"\xfe\xfd"), "an unknown version"),
            (message(session=bytes(33)), "a session's id that is too long"),
            (message(suites=b""), "malformed cipher suites"),
            (message(suites=b"\x13\1\x13"), "malformed cipher suites"),
            (message(compressions=b""), "no null compression"),
            (message(compressions=b"\1"), "no null compression"),
            (message(extension(5), extension(6), extension(5)), "a repeated extension"),
            (message(extension(EARLY_DATA), extension(EARLY_DATA)), "a repeated extension"),
            (message(b"\0"), "a length beyond its structure"),
            (message(b"\0\5\0"), "a length beyond its structure"),
            (message(b"\0\5\0\1"), "a length beyond its structure"),
            (b"\1\0\0\0", "a length beyond its structure"),
        ):
            self.assertInvalid(records(data), text)

    def test_lengths(self) -> None:
        """The message's length is that of what is in it: not one octet more or less."""
        whole = message(serverName(b"a.example"))
        self.assertInvalid(records(b"\1" + vector(3, whole[4:] + b"\0")), "octets behind the extensions")
        # Where the message ends is its header's to say, so of these only that without extensions is whole.
        bare = len(message(bare=True))
        for end in set(range(4, len(whole))) - {bare}:
            self.assertInvalid(records(b"\1" + vector(3, whole[4:end])), "a length beyond its structure")

    def test_failed(self) -> None:
        """Once it is none, nothing makes it one, and nothing is kept."""
        reader = HelloReader()
        reader.receive(b"GET")
        self.assertRaises(HelloInvalid, reader.next)
        reader.receive(records(SMALL))
        self.assertRaises(HelloInvalid, reader.next)
        self.assertEqual(b"", reader.leftover())


class AnythingTests(SynchronousTestCase):
    """Whatever comes."""

    @given(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=200).map(records),
            st.builds(
                lambda data, at, octet: records(data[: at % len(data)] + bytes((octet,)) + data[at % len(data) + 1 :]),
                st.sampled_from([SMALL, modern(extension(PADDING, bytes(9)))]),
                st.integers(0, 200),
                st.integers(0, 255),
            ),
        ),
        st.lists(st.integers(0, 2_000), max_size=5),
    )
    def test_anything(self, data: bytes, places: list[int]) -> None:
        """Any octets come to the same in any segments, and raise nothing but the one error."""
        assertFragmentation(self, HelloReader, data, places, (HelloInvalid,))
