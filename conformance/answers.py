"""Behaviours towards answers: how their end is told, whole ones and cut ones."""

from __future__ import annotations

import socket
import time

from conformance.behaviour import Address, Unlike, asks, expect
from conformance.forward import OK, between, exchange, request
from conformance.grammar import isCut, readAnswer
from conformance.relay import SMALL
from conformance.talk import FILL_LIMIT, Origin, dial, megabytes, sendBeside

MIB = 1 << 20


@asks("head", "RFC 9110, 9.3.2; RFC 9112, 6.3", "forward")
def head(at: Address) -> str:
    """The answer to a HEAD has no content, whatever its Content-Length says."""
    return _withoutContent(at, b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")


@asks("status-204", "RFC 9112, 6.3", "forward")
def status204(at: Address) -> str:
    """A 204 has no content, and the client does not wait for any."""
    return _withoutContent(at, b"GET", b"HTTP/1.1 204 No Content\r\n\r\n")


@asks("status-304", "RFC 9112, 6.3", "forward")
def status304(at: Address) -> str:
    """A 304 has no content, whatever its Content-Length says."""
    return _withoutContent(at, b"GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5000\r\n\r\n')


def _withoutContent(at: Address, method: bytes, response: bytes) -> str:
    with between(at) as (near, origin):
        near.send(request(origin, method))
        far = origin.accept()
        far.head()
        far.send(response)
        seen = readAnswer(near, method).head
        expect(seen.start.split()[1], response.split()[1], "answered")
        if seen.status == 204 and (seen.all(b"content-length") or seen.all(b"transfer-encoding")):
            raise Unlike("a 204 with framing fields")
        behind = near.within(0.4)
        if behind:
            raise Unlike(f"{len(behind)} octets behind the head")
        return "nothing behind the head"


@asks("error-body", "RFC 9110, 15", "forward")
def errorBody(at: Address) -> str:
    """An origin's own 404 and 503 arrive with their content."""
    for status in (404, 503):
        answer = exchange(at, b"HTTP/1.1 %d Mine\r\nContent-Length: 4\r\n\r\nmine" % status)[1]
        expect((answer.status, answer.body), (status, b"mine"), "answered")
    return "as they are"


@asks("chunked", "RFC 9112, 7.1", "forward")
def chunked(at: Address) -> str:
    """An answer in chunks arrives whole, and its end is told."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    answer = exchange(at, response)[1]
    expect(answer.body, b"abcde", "the client got")
    return f"whole, delimited by {answer.framing}"


@asks("chunked-trailers", "RFC 9112, 7.1.2", "forward")
def trailers(at: Address) -> str:
    """Trailers behind an answer's chunks are passed on or dropped, and break nothing."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    answer = exchange(at, response)[1]
    expect(answer.body, b"abc", "the client got")
    return f"whole, delimited by {answer.framing}"


@asks("chunked-http10", "RFC 9112, 6.1 (MUST NOT)", "forward")
def chunkedTo10(at: Address) -> str:
    """An HTTP/1.0 client gets an answer without chunks where the origin sent them."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    with between(at) as (near, origin):
        near.send(request(origin, version=b"1.0"))
        far = origin.accept()
        far.head()
        far.send(response)
        far.end()
        seen = near.head()
        if seen.all(b"transfer-encoding"):
            raise Unlike("Transfer-Encoding in it")
        body = near.read(int(seen.get(b"content-length"))) if seen.get(b"content-length") else near.rest()
        expect(body, b"abcde", "the client got")
        return "the content alone"


@asks("until-close", "RFC 9112, 6.3", "forward")
def untilClose(at: Address) -> str:
    """An answer that ends with the origin's connection arrives whole."""
    answer = exchange(at, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", close=True)[1]
    expect(answer.body, b"abcde", "the client got")
    return f"whole, delimited by {answer.framing}"


@asks("origin-http10", "RFC 9112, 2.3; RFC 9110, 6.2", "forward")
def origin10(at: Address) -> str:
    """An origin that speaks HTTP/1.0 is understood."""
    answer = exchange(at, b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nabcde", close=True)[1]
    expect((answer.status, answer.body), (200, b"abcde"), "the client got")
    return "understood"


@asks("large", "RFC 9112, 6.2", "forward")
def large(at: Address) -> str:
    """8 MiB arrive whole."""
    data = megabytes(8)
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        sendBeside(far, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        if readAnswer(near).body != data:
            raise Unlike("other octets arrived")
        return "they arrived whole"


@asks("streamed", "RFC 9110, 7.6; ours", "forward")
def streamed(at: Address) -> str:
    """What an origin has sent arrives before its answer is complete."""
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        try:
            near.socket.settimeout(2)
            near.head()
            expect(near.read(5), b"first", "the client got")
        except TimeoutError:
            raise Unlike("nothing came within 2 s") from None
        far.send(b" last")
        return "it came at once"


@asks("slow-client", "ours", "forward")
def slowClient(at: Address) -> str:
    """A client that does not read stops the origin, and the proxy does not collect without bound."""
    with Origin() as origin, dial(at.host, at.port, SMALL) as near:
        near.send(request(origin))
        far = origin.accept()
        far.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        far.head()
        far.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        taken = far.fill()
        if taken >= FILL_LIMIT:
            raise Unlike(f"took {taken // MIB} MiB and wanted more")
        return f"took under {taken // MIB + 1} MiB"


@asks("interim", "RFC 9110, 15.2 (MUST forward)", "forward")
def interim(at: Address) -> str:
    """A 103 comes before the answer."""
    seen: list[int] = []
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + OK)
        expect(readAnswer(near, b"GET", seen).body, b"ok", "the client got")
        expect(seen, [103], "before it came")
        return "103, then 200"


@asks("interim-http10", "RFC 9110, 15.2 (MUST NOT)", "forward")
def interimTo10(at: Address) -> str:
    """An HTTP/1.0 client does not get a 103."""
    with between(at) as (near, origin):
        near.send(request(origin, version=b"1.0"))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" + OK)
        expect(near.head().status, 200, "answered")
        return "only the 200"


@asks("cut-length", "RFC 9112, 8", "forward")
def cutLength(at: Address) -> str:
    """An answer that is cut short of its Content-Length does not look whole."""
    return _isCut(at, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabcde")


@asks("cut-chunked", "RFC 9112, 8", "forward")
def cutChunked(at: Address) -> str:
    """An answer in chunks that is cut does not look whole."""
    return _isCut(at, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n5\r\nde")


@asks("cut-reset", "ours", "forward")
def cutReset(at: Address) -> str:
    """An answer that ends with the connection, and is reset, does not look whole."""
    return _isCut(at, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", reset=True)


def _isCut(at: Address, response: bytes, reset: bool = False) -> str:
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(response)
        time.sleep(0.3)  # so that the head is passed on before the end comes
        (far.reset if reset else far.close)()
        return isCut(near)
