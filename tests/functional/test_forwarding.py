"""Forwarded HTTP through a running pipsocks, on raw sockets at both ends."""

from __future__ import annotations

import socket
import threading

from tests.functional.case import FunctionalTestCase
from tests.functional.origins import noise
from tests.functional.processes import Pipsocks
from tests.functional.strict import Unfinished, readAnswer, readRequest
from tests.functional.talk import readAnswer as readSized
from tests.functional.talk import readExactly, readHead

UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2FtcGxl\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def head(connection: socket.socket) -> bytes:
    """A request's head, and not an octet behind it."""
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += readExactly(connection, 1)
    return data


def socketOrigin(connection: socket.socket) -> None:
    """Become a WebSocket's end at once: greet with the 101, give everything back, then say how the request read."""
    asked = head(connection)
    connection.sendall(SWITCH + b"hello")
    while data := connection.recv(65_536):
        connection.sendall(data)
    connection.sendall(asked)
    connection.shutdown(socket.SHUT_WR)


class WebSocketTests(FunctionalTestCase):
    """Upgrade: websocket."""

    def talk(self, pipsocks: Pipsocks) -> bytes:
        """Open one, send what it gives back, and end; what the origin was asked."""
        origin = self.peer(socketOrigin)
        connection = self.dial(pipsocks.http())
        ask = f"GET http://{origin.address}/chat HTTP/1.1\r\nHost: {origin.address}\r\n{UPGRADE}\r\n"
        connection.sendall(ask.encode() + b"early")
        answer = readHead(connection)
        self.assertEqual((answer.status, answer.fields["upgrade"].lower()), (101, "websocket"))
        self.assertEqual(answer.fields["connection"].lower(), "upgrade")
        self.assertEqual(readExactly(connection, 10), b"helloearly")
        data = noise(3_000_000)
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        self.assertEqual(readExactly(connection, len(data)), data)
        sender.join()
        asked = b""
        while piece := connection.recv(65_536):
            asked += piece
        session = pipsocks.session(protocol="http")
        self.assertEqual((session["outcome"], session["destination"]), ("ok", origin.address))
        self.assertIn(session["relay"], ("splice", "transport"))
        self.assertEqual(session["up"] // 1000, len(data) // 1000, session)
        self.assertGreater(session["up"], len(data) + len(b"early") + 150)
        self.assertGreater(session["down"], len(data) + len(b"helloearly") + len(SWITCH) + len(asked))
        return asked

    def test_direct(self) -> None:
        """Straight to the origin."""
        asked = self.talk(self.pipsocks())
        self.assertTrue(asked.startswith(b"GET /chat HTTP/1.1\r\n"), asked)
        self.assertIn(b"\r\nUpgrade: websocket\r\n", asked)

    def test_throughHops(self) -> None:
        """Through a SOCKS hop, and through an HTTP proxy, which is asked in absolute-form and passes the wish on."""
        hop = self.pipsocks()
        for url in (f"socks5h://127.0.0.1:{hop.socks()}", f"http://127.0.0.1:{hop.http()}"):
            asked = self.talk(self.pipsocks(upstreams=(url,)))
            self.assertTrue(asked.startswith(b"GET /chat HTTP/1.1\r\n"), asked)
            self.assertEqual(asked.count(b"Via: "), 2 if url.startswith("http") else 1)


class EndingTests(FunctionalTestCase):
    """OPTIONS and TRACE."""

    def test_maxForwards(self) -> None:
        """Each proxy on the way counts; where the count ends, that one answers: with its methods, or 405 to TRACE."""
        seen: list[bytes] = []

        def serve(connection: socket.socket) -> None:
            seen.append(head(connection))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        origin, hop = self.peer(serve), self.pipsocks()
        pipsocks = self.pipsocks(upstreams=(f"http://127.0.0.1:{hop.http()}",))
        for method in ("OPTIONS", "TRACE"):
            for count in range(3):
                connection = self.dial(pipsocks.http())
                ask = f"{method} http://{origin.address}/ HTTP/1.1\r\nHost: x\r\nMax-Forwards: {count}\r\n\r\n"
                connection.sendall(ask.encode())
                answer = readSized(connection)
                self.assertEqual(answer.status, 200 if method == "OPTIONS" or count == 2 else 405)
                self.assertEqual("allow" in answer.fields, count < 2)
                self.assertEqual("via" in answer.fields, count > 0)
            self.assertIn(b"\r\nMax-Forwards: 0\r\n", seen.pop())
        self.assertEqual(seen, [])


class PipeliningTests(FunctionalTestCase):
    """Requests sent without waiting."""

    def test_inOrder(self) -> None:
        """A hundred to four origins, the first of them slow, come back in order, and none is lost."""
        begin = threading.Event()

        def serve(connection: socket.socket) -> None:
            rest = b""
            while piece := connection.recv(65_536):
                rest += piece
                while True:
                    try:
                        message = readRequest(rest)
                    except Unfinished:
                        break
                    rest = message.rest
                    self.assertTrue(begin.wait(20))
                    body = message.target + b" " + message.content
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    connection.sendall(b"%x;a=b\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(body), body))

        origins = [self.peer(serve) for _ in range(4)]
        connection = self.dial(self.pipsocks().http())
        asks, expected = [], []
        for number in range(100):
            at = origins[number % 4].address.encode()
            line = b"POST http://%b/%d HTTP/1.1\r\nHost: x\r\n" % (at, number)
            asks.append(line + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\n%03d\r\n0\r\nX-Sum: 1\r\n\r\n" % number)
            expected.append(b"/%d %03d" % (number, number))
        connection.sendall(b"".join(asks))
        begin.set()
        received, answered = b"", []
        while len(answered) < 100:
            piece = connection.recv(65_536)
            self.assertNotEqual(piece, b"", answered)
            received += piece
            while received:
                try:
                    answer = readAnswer(received, b"POST")
                except Unfinished:
                    break
                self.assertEqual(answer.fields[b"x-sum"], [b"1"])
                answered.append(answer.content)
                received = answer.rest
        self.assertEqual(answered, expected)
