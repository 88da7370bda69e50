"""
What two readers could take for two things (`tests/smuggling.toml`), sent through a running pipsocks.

The origin is a raw socket that records what reaches it; who judges that, and what the client is told, is
`tests.functional.strict`, never the parser under test.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
from typing import Any

import bcrypt

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import Peer
from tests.functional.processes import HOP_USER, PASSWORD, PATIENCE, PLAIN_PASSWORD, USER, Pipsocks, address
from tests.functional.strict import Ambiguous, Message, Unfinished, readAnswer, readRequest
from tests.functional.talk import authorization
from tests.smuggling import EVIL, REFUSED, Row, requests, rows

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """An origin that keeps what each connection brought, and answers each request that is whole."""

    def __init__(self) -> None:
        self.records: list[bytearray] = []
        self.answer = OK
        self.closes = False
        self._open = 0
        self._changed = threading.Condition()

    def __call__(self, connection: socket.socket) -> None:
        """Serve one connection."""
        record = bytearray()
        with self._changed:
            self.records.append(record)
            self._open += 1
        try:
            with contextlib.suppress(OSError):
                self._serve(connection, record)
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def _serve(self, connection: socket.socket, record: bytearray) -> None:
        rest = b""
        while data := connection.recv(65_536):
            record += data
            rest += data
            with contextlib.suppress(Unfinished):
                while rest:
                    message = readRequest(rest)
                    rest = message.rest
                    self._say(connection, message)

    def _say(self, connection: socket.socket, message: Message) -> None:
        if message.target.endswith(b"/next"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
            return
        answer = self.answer
        if answer is OK and message.start == b"HEAD":
            answer = OK[:-2]
        connection.sendall(answer)
        if self.closes:
            connection.shutdown(socket.SHUT_WR)

    def taken(self) -> list[bytes]:
        """What came since the last time, once every connection has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._open, PATIENCE):
                raise AssertionError("a connection to the origin stays open")
            records, self.records = self.records, []
        return [bytes(record) for record in records if record]


class TableTestCase(FunctionalTestCase):
    """A pipsocks, and an origin that records."""

    def begin(self, *options: str, **keywords: Any) -> None:
        self.recorder = Recorder()
        self.origin: Peer = self.peer(self.recorder)
        self.at = self.origin.address.encode()
        self.proxy: Pipsocks = self.pipsocks(*options, **keywords)
        self.port = self.proxy.http()

    def told(self, data: bytes) -> bytes:
        """All that comes back for `data`, until the proxy ends the connection or has given an answer."""
        with self.dial(self.port) as connection:
            with contextlib.suppress(ConnectionError):  # it may have answered before it read all
                connection.sendall(data)
            return self.heard(connection, data.partition(b" ")[0].strip())

    def heard(self, connection: socket.socket, method: bytes) -> bytes:
        """What comes on it, up to the end of an answer to `method`, or the connection's."""
        received = b""
        while True:
            with contextlib.suppress(Unfinished):
                readAnswer(received, method)
                return received
            try:
                piece = connection.recv(65_536)
            except ConnectionError:
                piece = b""
            if not piece:
                return received
            received += piece

    def seen(self, about: str) -> list[Message]:
        """The whole requests that reached the origin: one connection, one request, nothing behind it."""
        found = []
        for record in self.recorder.taken():
            self.assertNotIn(b"/smuggled", record.partition(b"\r\n")[0], about)
            try:
                message = readRequest(record)
            except Unfinished:
                continue
            self.assertEqual(message.rest, b"", about)
            found.append(message)
        return found


class JudgeTests(FunctionalTestCase):
    """Who judges, judged."""

    def test_asTheyCame(self) -> None:
        """An origin that got these rows as they were sent would fail the tests: no row is harmless."""
        for kind in REFUSED[:4]:
            for row in rows(kind):
                for data in requests(row) if row.status != 431 else ():  # too large is not ambiguous
                    with contextlib.suppress(Ambiguous, Unfinished):
                        self.assertNotEqual(readRequest(data).rest, b"", str(row))
                        self.assertIn(b"/smuggled", data, str(row))
        for row in rows("answer"):
            if row.status == 502 and not row.beyond:
                with contextlib.suppress(Ambiguous, Unfinished):
                    self.fail(f"{row}: {readAnswer(row.sends, row.method)}")

    def test_good(self) -> None:
        """What is said in the one way passes."""
        request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
        for end in range(len(request)):
            self.assertRaises(Unfinished, readRequest, request[:end])
        message = readRequest(request + OK)
        self.assertEqual((message.start, message.content, message.fields[b"x"]), (b"POST", b"hello", [b"y"]))
        self.assertEqual(readAnswer(message.rest, b"GET").content, b"ok")


class RequestTests(TableTestCase):
    """What reaches an origin."""

    def test_refused(self) -> None:
        """Of a request that could be two, none reaches the origin whole; the client is told what was wrong with it."""
        self.begin()
        for kind in REFUSED:
            for row in rows(kind, self.at):
                for data in requests(row, self.at):
                    answer = readAnswer(self.told(data), b"GET")
                    self.assertEqual(int(answer.start), row.status, str(row))
                    self.assertEqual(answer.rest, b"", str(row))
                    self.assertEqual(self.seen(str(row)), [], str(row))
        raw = self.proxy.journalFile.read_bytes() + self.proxy.output.encode()
        self.assertEqual(set(re.findall(rb"[^\n -~]", raw)), set())

    def test_one(self) -> None:
        """What only looks odd reaches the origin as one request, with its own content, and is answered."""
        self.begin()
        for row in rows("one", self.at):
            answer = readAnswer(self.told(row.sends), row.sends.partition(b" ")[0].strip())
            self.assertEqual(int(answer.start), 200, str(row))
            (message,) = self.seen(str(row))
            self.assertEqual(message.content, row.content, str(row))
            self.assertEqual(message.fields[b"host"], [self.at], str(row))
            self.assertEqual(message.fields.keys() & row.hides, set(), str(row))

    def test_oneBesideAnother(self) -> None:
        """The next request on the connection is the next request: it comes out as itself, and second."""
        self.begin()
        behind = b"GET http://%b/next HTTP/1.1\r\nHost: x\r\n\r\n" % self.at
        for row in rows("one", self.at):
            if b" HTTP/1.0\r\n" in row.sends or b"close" in row.sends:
                continue  # the connection ends behind these
            method = row.sends.partition(b" ")[0].strip()
            with self.dial(self.port) as connection:
                connection.sendall(row.sends + behind)
                first = readAnswer(self.heard(connection, method), method)
                second = first.rest or self.heard(connection, b"GET")
                self.assertEqual(readAnswer(second, b"GET").content, b"next", str(row))
            (record,) = self.recorder.taken()
            message = readRequest(readRequest(record).rest)
            self.assertEqual((message.target, message.content, message.rest), (b"/next", b"", b""), str(row))


class AnswerTests(TableTestCase):
    """What reaches a client."""

    def test_answers(self) -> None:
        """One answer: the origin's, mended or cut, or a 502; what stands behind it never answers the next request."""
        self.begin()
        for row in rows("answer", self.at):
            self.recorder.answer, self.recorder.closes = row.sends, row.closes
            with self.dial(self.port) as connection:
                connection.sendall(b"%b http://%b/row HTTP/1.1\r\nHost: x\r\n\r\n" % (row.method, self.at))
                received = self.heard(connection, row.method)
                self.judge(row, received)
                if not row.cut and b"\r\nConnection: close\r\n" not in received:
                    connection.sendall(b"GET http://%b/next HTTP/1.1\r\nHost: x\r\n\r\n" % self.at)
                    self.assertEqual(readAnswer(self.heard(connection, b"GET"), b"GET").content, b"next", str(row))
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(self.heard(connection, b"GET"), b"", str(row))
            self.recorder.taken()

    def judge(self, row: Row, received: bytes) -> None:
        """See that the client got what the row says."""
        if row.content is None or EVIL not in row.content:
            self.assertNotIn(b"X-Evil", received, str(row))
        if row.cut:
            with self.assertRaises(Unfinished, msg=str(row)) as caught:
                readAnswer(received, row.method)
            self.assertIn(caught.exception.content, (row.content, b""), str(row))
            return
        answer = readAnswer(received, row.method)
        self.assertEqual((int(answer.start), answer.rest), (row.status, b""), str(row))
        if row.status == 502:
            self.assertIn(b"PS-DE", answer.content, str(row))
        else:
            self.assertEqual(answer.content, row.content, str(row))
            self.assertEqual(answer.fields.keys() & row.hides, set(), str(row))


class CredentialTests(TableTestCase):
    """Whose login goes where."""

    def secrets(self) -> list[bytes]:
        """Everything by which a login could be known."""
        found = []
        for user, password in ((USER, PASSWORD), (HOP_USER, PLAIN_PASSWORD)):
            found += [password.encode(), base64.b64encode(f"{user}:{password}".encode())]
        return found

    def clean(self, data: bytes, about: object) -> None:
        """See that none of the secrets is in it."""
        for secret in self.secrets():
            self.assertNotIn(secret, data, about)

    def users(self) -> str:
        """The option that lets USER in."""
        path = self.directory() / "users"
        path.write_text(f"{USER}:{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b'2b')).decode()}\n")
        return f"htpasswd:{path}"

    def asks(self) -> list[bytes]:
        """Requests with the client's login, some in ways that might carry it on."""
        login = authorization(USER, PASSWORD).encode()
        get = b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n" % self.at
        post = b"POST http://%b/ HTTP/1.1\r\nHost: x\r\n" % self.at
        return [
            get + login + b"\r\n",
            get + login.replace(b"Proxy-Authorization", b"PROXY-authorization") + b"\r\n",
            get + b"Connection: Proxy-Authorization, keep-alive\r\n" + login + b"\r\n",
            get + login + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            post + login + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + login + b"\r\n",
            post + login + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
            b"TRACE http://%b/ HTTP/1.1\r\nHost: x\r\n" % self.at + login + b"\r\n",
            b"OPTIONS http://%b HTTP/1.1\r\nHost: x\r\nMax-Forwards: 5\r\n" % self.at + login + b"\r\n",
            get + login + login + b"\r\n",
            get + login + b"X : y\r\n\r\n",
            b"TRACE / HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n",
            b"CONNECT 127.0.0.1:0 HTTP/1.1\r\n" + login + b"\r\n",
        ]

    def test_origin(self) -> None:
        """The client's login reaches no origin, no answer, no log."""
        self.begin("--auth", self.users())
        for ask in self.asks():
            self.clean(self.told(ask), ask)
            for record in self.recorder.taken():
                self.clean(record, ask)
        self.clean(self.proxy.output.encode() + self.proxy.journalFile.read_bytes(), "the log")

    def test_hop(self) -> None:
        """A hop gets its own login alone; neither reaches the client's eyes, whatever the hop makes of it."""
        hop = self.recorder = Recorder()
        peer = self.peer(hop)
        upstream = f"http://{HOP_USER}:{PLAIN_PASSWORD}@{address('127.0.0.1', peer.port)}"
        self.at = b"origin.example"
        self.proxy = self.pipsocks("--auth", self.users(), upstreams=(upstream,))
        self.port = self.proxy.http()
        own = base64.b64encode(f"{HOP_USER}:{PLAIN_PASSWORD}".encode())
        challenge = b'Proxy-Authenticate: Basic realm="hop"\r\nContent-Length: 0\r\n\r\n'
        for answer in (
            OK,
            b"HTTP/1.1 407 Proxy Authentication Required\r\n" + challenge,
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            b"nonsense\r\n\r\n",
        ):
            hop.answer = answer
            for ask in self.asks():
                told = self.told(ask)
                self.clean(told, ask)
                self.assertNotIn(b'realm="hop"', told)
                for record in hop.taken():
                    self.clean(record.replace(own, b""), ask)
        self.assertNotEqual(self.proxy.journal(outcome="ok"), [])
        self.clean(self.proxy.output.encode() + self.proxy.journalFile.read_bytes(), "the log")


class LogTests(TableTestCase):
    """What a client can put into a log."""

    def test_controls(self) -> None:
        """No control character of a client's or an origin's reaches the journal, the output or a head, in any place."""
        for form in ("json", "text"):
            self.begin("--auth", CredentialTests.users(self), "--journal-format", form)  # type: ignore[arg-type]
            self.plant()

    def plant(self) -> None:
        """Send them wherever a client can, and look for them."""
        evil = b"\x1b]0;x\x07\x00\r\x0b\x7f\x85\x9b\xe2\x80\xae"
        plain = bytes(octet for octet in evil if octet not in b"\r\n\x00")
        encoded = base64.b64encode(b"user" + evil + b":pass" + evil)
        login = b"Proxy-Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()) + b"\r\n"
        for ask in (
            b"CONNECT a" + evil + b":80 HTTP/1.1\r\n\r\n",
            b"CONNECT a\xc2\x85b:80 HTTP/1.1\r\n" + login + b"\r\n",
            b"CONNECT a%1b%0d%0ab:80 HTTP/1.1\r\n" + login + b"\r\n",
            b"GET http://a%1b%0a/ HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n",
            b"GET http://a\xe2\x80\xae/ HTTP/1.1\r\nHost: x\r\n" + login + b"\r\n",
            b"GET http://" + plain + b"/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"G" + evil + b" http://a/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nHost: " + evil + b"\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic " + encoded + b"\r\n\r\n",
            b"CONNECT a:80 HTTP/1.1\r\nProxy-Authorization: Basic " + encoded + b"\r\n\r\n",
            b"CONNECT a:80 HTTP/1.1\r\nProxy-Authorization: Basic " + evil + b"\r\n\r\n",
            b"\x05\x01\x02\x01\x08user\x1b\x07\x00\n\x06pass\r\n",
            b"\x04\x01\x00\x50\x00\x00\x00\x01user\x1b\na\x1b\n\x00",
        ):
            with self.dial(self.port) as connection:
                connection.sendall(ask)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                with contextlib.suppress(ConnectionError):
                    while piece := connection.recv(65_536):
                        received += piece
                if received.startswith(b"HTTP/"):
                    self.assertEqual(re.findall(rb"[^\r\n -~]", received), [], ask)
        self.recorder.answer = b"HTTP/1.1 200 " + evil + b"\r\n\r\n"
        self.told(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n" % self.at + login + b"\r\n")
        while (raw := self.proxy.journalFile.read_bytes()).count(b"\n") < 14:
            time.sleep(0.02)  # a file tells nobody that it grew
        raw += self.proxy.output.encode()
        self.assertEqual(set(re.findall(rb"[^\n -~]", raw)), set())
