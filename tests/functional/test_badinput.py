"""Malformed starts of each protocol, sent to a real process: an answer, in bounded time and space, and it lives on."""

from __future__ import annotations

import contextlib
import random
import re
import socket

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import echo
from tests.functional.processes import Pipsocks
from tests.functional.talk import askSocks, readAll, readAnswer

CONNECT = b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n"
GET = b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: 127.0.0.1:9\r\n"


class BadInputTestCase(FunctionalTestCase):
    """A pipsocks that is sent nonsense and must serve the next client all the same."""

    def begin(self, *options: str) -> Pipsocks:
        """One whose handshakes are short, so that what waits for more is answered soon."""
        return self.pipsocks("--timeouts-handshake", "1", *options)

    def exchange(self, port: int, data: bytes, end: bool = False) -> bytes:
        """All that comes back for `data`, up to the end of the connection; a reset is an end as well."""
        connection = self.dial(port)
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return self.rest(connection)

    def rest(self, connection: socket.socket) -> bytes:
        """What still comes, until an end of either kind."""
        pieces = []
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65_536):
                pieces.append(piece)
        return b"".join(pieces)

    def assertLives(self, pipsocks: Pipsocks) -> None:
        """The next client is served."""
        origin = self.peer(echo)
        connection = self.dial(pipsocks.socks())
        self.assertEqual(askSocks(connection, "127.0.0.1", origin.port)[0], 0)
        connection.sendall(b"still here")
        connection.shutdown(socket.SHUT_WR)
        self.assertEqual(readAll(connection), b"still here")


class SocksTests(BadInputTestCase):
    """Section 2 of the behaviour."""

    CASES = {
        "no methods": (b"\x05\x00", b"\x05\xff"),
        "unknown methods": (b"\x05\x02\x01\x80", b"\x05\xff"),
        "request of version 4": (b"\x05\x01\x00\x04\x01\x00\x01", b"\x05\x00" + b"\x05\x01\x00\x01" + bytes(6)),
        "command 0": (b"\x05\x01\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", b"\x05\x00\x05\x07\x00\x01" + bytes(6)),
        "address type 2": (b"\x05\x01\x00\x05\x01\x00\x02\x01", b"\x05\x00\x05\x08\x00\x01" + bytes(6)),
        "empty name": (b"\x05\x01\x00\x05\x01\x00\x03\x00\x00\x50", b"\x05\x00\x05\x01\x00\x01" + bytes(6)),
        "name with NUL": (b"\x05\x01\x00\x05\x01\x00\x03\x03a\x00b\x00\x50", b"\x05\x00\x05\x01\x00\x01" + bytes(6)),
        "name with space": (b"\x05\x01\x00\x05\x01\x00\x03\x03a b\x00\x50", b"\x05\x00\x05\x01\x00\x01" + bytes(6)),
        "label of 64": (
            b"\x05\x01\x00\x05\x01\x00\x03\x40" + b"a" * 64 + b"\x00\x50",
            b"\x05\x00\x05\x01\x00\x01" + bytes(6),
        ),
        "port 0": (b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x00", b"\x05\x00\x05\x01\x00\x01" + bytes(6)),
        "socks4a empty name": (b"\x04\x01\x00\x50\x00\x00\x00\x01\x00\x00", b"\x00\x5b" + bytes(6)),
        "socks4 endless user": (b"\x04\x01\x00\x50\x7f\x00\x00\x01" + b"u" * 5000, b"\x00\x5b" + bytes(6)),
        "unfinished greeting": (b"\x05\x10\x00", b""),
        "unfinished request": (b"\x05\x01\x00\x05\x01", b"\x05\x00"),
    }

    def test_cases(self) -> None:
        """Each malformed start gets the reply that RFC 1928 has for it, or the end, on either port."""
        pipsocks = self.begin()
        for name, (sent, expected) in self.CASES.items():
            for port in (pipsocks.socks(), pipsocks.http()):
                self.assertEqual(self.exchange(port, sent), expected, name)
        self.assertLives(pipsocks)

    def test_byteByByte(self) -> None:
        """The same octets one at a time get the same replies."""
        pipsocks = self.begin()
        for name, (sent, expected) in self.CASES.items():
            if len(sent) > 100:
                continue
            connection = self.dial(pipsocks.socks())
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):  # it may answer before the last octet, and need not read on
                for octet in sent:
                    connection.send(bytes([octet]))
            self.assertEqual(self.rest(connection), expected, name)

    def test_replySurvivesUnreadInput(self) -> None:
        """The refusal arrives although the client sends on for a while."""
        pipsocks = self.begin()
        connection = self.dial(pipsocks.socks())
        connection.sendall(b"\x05\x01\x00\x05\x01\x00\x02" + b"x" * 200_000)
        self.assertEqual(readAll(connection), b"\x05\x00\x05\x08\x00\x01" + bytes(6))

    def test_login(self) -> None:
        """A port that wants a login refuses every other start, and says so."""
        users = self.directory() / "users"
        users.write_text("parrot:$2y$05$abcdefghijklmnopqrstuuKlqLEwZO9pRRhTIyBLuwpcVA2yQy3hO\n")
        pipsocks = self.begin("--auth", f"htpasswd:{users}")
        for sent, expected in (
            (b"\x05\x01\x00", b"\x05\xff"),
            (b"\x05\x01\x02\x02", b"\x05\x02\x01\x01"),
            (b"\x05\x01\x02\x01\x01a\x01b", b"\x05\x02\x01\x01"),
            (b"\x05\x01\x02\x01\x00\x00", b"\x05\x02\x01\x01"),
            (b"\x04\x01\x00\x50\x7f\x00\x00\x01parrot\x00", b"\x00\x5b" + bytes(6)),
        ):
            self.assertEqual(self.exchange(pipsocks.socks(), sent), expected, sent)


class HTTPTests(BadInputTestCase):
    """Section 3 of the behaviour."""

    CASES = {
        "no port": (b"CONNECT host HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "port 0": (b"CONNECT host:0 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "port 65536": (b"CONNECT host:65536 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "port +80": (b"CONNECT host:+80 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "port 8_0": (b"CONNECT host:8_0 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "port superscript": (b"CONNECT host:\xc2\xb2 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "user info": (b"CONNECT u@host:80 HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "URL in CONNECT": (b"CONNECT http://host:80/ HTTP/1.1\r\n\r\n", 400, "PS-RQ10"),
        "body of a CONNECT": (CONNECT + b"Content-Length: 5\r\n\r\nhello", 400, "PS-RQ01"),
        "HTTP/2 in the line": (b"GET http://h/ HTTP/2.0\r\n\r\n", 505, "PS-RQ05"),
        "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "PS-RQ05"),
        "origin-form": (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "PS-RQ02"),
        "https in absolute-form": (b"GET https://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
        "ftp": (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
        "bare LF": (b"GET http://127.0.0.1:9/ HTTP/1.1\nHost: x\n\n", 400, "PS-RQ01"),
        "bare CR": (b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", 400, "PS-RQ01"),
        "NUL": (GET + b"A: b\x00c\r\n\r\n", 400, "PS-RQ01"),
        "folded field": (GET + b"A: b\r\n c\r\n\r\n", 400, "PS-RQ01"),
        "space before colon": (GET + b"A : b\r\n\r\n", 400, "PS-RQ01"),
        "field without colon": (GET + b"nonsense\r\n\r\n", 400, "PS-RQ01"),
        "two lengths": (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "PS-RQ01"),
        "equal lengths": (GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400, "PS-RQ01"),
        "length +1": (GET + b"Content-Length: +1\r\n\r\na", 400, "PS-RQ01"),
        "length and chunks": (
            GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "PS-RQ01",
        ),
        "gzip chunks": (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, "PS-RQ01"),
        "chunks in 1.0": (
            b"GET http://127.0.0.1:9/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "PS-RQ01",
        ),
        "endless line": (b"GET http://127.0.0.1:9/" + b"a" * 70_000, 431, "PS-RQ04"),
        "endless fields": (GET + b"".join(b"A%d: b\r\n" % i for i in range(250)) + b"\r\n", 431, "PS-RQ04"),
        "large head": (GET + b"A: " + b"b" * 70_000, 431, "PS-RQ04"),
        "no version": (b"GET http://127.0.0.1:9/\r\n\r\n", 400, "PS-RQ01"),
        "only words": (b"hello proxy how are you\r\n\r\n", 400, None),
        "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400, "PS-RQ03"),
        "unfinished": (b"GET http://127.0.0.1:9/ HTTP/1.1\r\nHost: x\r\n", 408, "PS-RQ06"),
    }  # fmt: skip

    def test_cases(self) -> None:
        """Each malformed request gets its status with a reason phrase, then the end, on either port."""
        pipsocks = self.begin()
        for name, (sent, status, slug) in self.CASES.items():
            for port in (pipsocks.http(), pipsocks.socks()):
                if sent[0] == 0x16 and port != pipsocks.http():
                    continue
                connection = self.dial(port)
                connection.sendall(sent)
                answer = readAnswer(connection)
                self.assertEqual(answer.status, status, (name, answer))
                self.assertRegex(answer.reason, r"\APS-[A-Z]{2}\d\d [ -~]{1,112}\Z", name)
                if slug is not None:
                    self.assertEqual(answer.reason[:7], slug, (name, answer))
                self.assertEqual(readAll(connection), b"", name)
        self.assertLives(pipsocks)

    def test_https(self) -> None:
        """Who speaks TLS to the SOCKS port gets the same short answer, and the journal names the cause."""
        pipsocks = self.begin()
        said = self.exchange(pipsocks.socks(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))
        self.assertTrue(said.startswith(b"HTTP/1.1 400 PS-RQ03 "), said)
        self.assertEqual(pipsocks.session()["outcome"], "tls_on_plain_port")

    def test_leadingEmptyLines(self) -> None:
        """A few empty lines before a request are skipped; nothing but them is not read for ever."""
        pipsocks = self.begin()
        connection = self.dial(pipsocks.http())
        connection.sendall(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(readAnswer(connection).reason[:7], "PS-RQ02")
        said = b""
        with contextlib.suppress(ConnectionError):
            said = self.exchange(pipsocks.http(), b"\r\n" * 200_000)
        self.assertTrue(said == b"" or said.startswith(b"HTTP/1.1 4"), said[:100])
        self.assertLives(pipsocks)

    def test_journalIsEscaped(self) -> None:
        """No octet of a client's stands raw in the journal or in an answer."""
        pipsocks = self.begin()
        said = self.exchange(pipsocks.http(), b"GET http://a\x1b[31m\x07/ HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 400 "), said)
        self.assertNotIn(b"\x1b", said)
        self.exchange(pipsocks.http(), b"CONNECT evil\xff\xfe\x1b]0;x\x07:80 HTTP/1.1\r\n\r\n")
        pipsocks.journal(2)
        raw = pipsocks.journalFile.read_bytes()
        self.assertEqual(re.findall(rb"[^\n -~]", raw), [])

    def test_dripIsNoExcuse(self) -> None:
        """The time for a handshake is over the whole of it: an octet now and then does not extend it."""
        pipsocks = self.begin()
        for port, first in ((pipsocks.http(), b"GET http://x/"), (pipsocks.socks(), b"\x05\x50")):
            connection = self.dial(port)
            connection.settimeout(0.2)
            connection.sendall(first)
            ended = False
            for _ in range(100):
                try:
                    connection.send(b"a")
                    ended = connection.recv(65_536) is not None
                except TimeoutError:
                    continue
                except OSError:
                    ended = True
                if ended:
                    break
            self.assertTrue(ended)


class NoiseTests(BadInputTestCase):
    """Octets without any sense."""

    def test_random(self) -> None:
        """Random octets, with or without an end, get an end."""
        pipsocks = self.begin()
        source = random.Random(1928)
        for number in range(150):
            first = bytes([source.choice([4, 5, 0x16, 0x43, 0x47, 0, 0xFF, source.randrange(256)])])
            data = first + source.randbytes(source.choice([0, 1, 2, 8, 60, 500]))
            port = pipsocks.socks() if number % 2 else pipsocks.http()
            with contextlib.suppress(ConnectionError):
                self.exchange(port, data, end=True)
        self.assertLives(pipsocks)

    def test_nothing(self) -> None:
        """Who connects and says nothing is let go after the time for a handshake."""
        pipsocks = self.begin()
        for port in (pipsocks.http(), pipsocks.socks()):
            self.assertIn(self.exchange(port, b"")[:12], (b"", b"HTTP/1.1 408"))

    def test_strict(self) -> None:
        """A strict port tells who speaks the other protocol."""
        pipsocks = self.begin("--strict")
        said = self.exchange(pipsocks.socks(), CONNECT + b"\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 400 PS-RQ07 "), said)
        said = self.exchange(pipsocks.http(), b"\x05\x01\x00")
        self.assertTrue(said.startswith(b"HTTP/1.1 400 PS-RQ07 "), said)
