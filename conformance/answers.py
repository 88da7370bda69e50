"""Behaviours towards answers: connections that are kept, framing, cuts, and origins that say odd things."""

from __future__ import annotations

import socket
import time

from conformance.behaviour import Address, Ended, Missing, Unlike, asks, expect
from conformance.forward import KEEPS_NONE, OK, between, exchange, keptAfter, request
from conformance.grammar import answerFault, isCut, readAnswer
from conformance.relay import SMALL
from conformance.talk import FILL_LIMIT, Origin, Talk, dial, megabytes, sendBeside

MIB = 1 << 20

# connections


@asks("keep-alive", "RFC 9112, 9.3 (SHOULD)", "forward")
def keepAlive(at: Address) -> str:
    """Two requests one after the other work on one connection of an HTTP/1.1 client."""
    with between(at) as (near, origin):
        for number in (b"/1", b"/2"):
            try:
                near.send(request(origin, path=number))
                far = origin.accept(3) if number == b"/1" else _next(origin, far)
                expect(far.head().asked, b"GET " + number, "the origin saw")
                far.send(OK)
                expect(readAnswer(near).body, b"ok", "the client got")
            except (Ended, ConnectionError):
                raise Unlike("closed behind the first") from None
        return "both answered"


def _next(origin: Origin, far: Talk) -> Talk:
    """The connection on which the next request comes: the same, or a new one."""
    said = far.within(0.7)
    if said:
        far.unread(said)
        return far
    try:
        return origin.accept(2)
    except Unlike:
        raise Unlike("the second never reached the origin") from None


@asks("pipelining", "RFC 9112, 9.3 and 9.3.2", "forward")
def pipelining(at: Address) -> str:
    """Two requests in one segment are answered, in order."""
    return _pipelined(at, 0.0)


@asks("pipelining-origins", "RFC 9112, 9.3 and 9.3.2", "forward")
def pipeliningToTwo(at: Address) -> str:
    """Two requests in one segment, for a slow origin and a fast one, are answered in order."""
    return _pipelined(at, 0.7)


def _pipelined(at: Address, pause: float) -> str:
    with between(at) as (near, first), Origin() as second:
        near.send(request(first, path=b"/1") + request(second, path=b"/2"))
        far = first.accept()
        expect(far.head().asked, b"GET /1", "the first origin saw")
        time.sleep(pause)  # the second answer, had it been asked for, would overtake the first
        far.send(OK.replace(b"ok", b"#1"))
        expect(readAnswer(near).body, b"#1", "the first answer")
        try:
            other = second.accept(3)
            expect(other.head().asked, b"GET /2", "the second origin saw")
            other.send(OK.replace(b"ok", b"#2"))
            expect(readAnswer(near).body, b"#2", "the second answer")
        except (Ended, ConnectionError):
            raise Unlike("the second was dropped") from None
        except Unlike as unlike:
            raise Unlike("the second was dropped" if "reached" in str(unlike) else str(unlike)) from None
        return "in order"


@asks("request-goes-home", "RFC 9112, 3.2.2; ours", "forward")
def eachToItsOwn(at: Address) -> str:
    """On one connection each request goes to the origin that it names."""
    with between(at) as (near, first), Origin() as second:
        near.send(request(first))
        far = first.accept()
        far.head()
        far.send(OK)
        keptAfter(near, 200)
        try:
            near.send(request(second, path=b"/2"))
            said = far.within(0.5)
            if said:
                raise Unlike("the first origin saw the second's request")
            other = second.accept(3)
            expect(other.head().asked, b"GET /2", "the second origin saw")
            other.send(OK)
            expect(readAnswer(near).status, 200, "answered")
        except (Ended, ConnectionError):
            raise Missing(KEEPS_NONE) from None
        return "to its own"


@asks("close-asked", "RFC 9112, 9.6 (MUST)", "forward")
def closeAsked(at: Address) -> str:
    """A client that asks for it (Connection: close) has its connection closed behind the answer."""
    return _isClosed(at, b"1.1", b"Connection: close\r\n")


@asks("close-http10", "RFC 9112, 9.3", "forward")
def close10(at: Address) -> str:
    """The connection of an HTTP/1.0 client is closed behind the answer."""
    return _isClosed(at, b"1.0", b"")


def _isClosed(at: Address, version: bytes, fields: bytes) -> str:
    with between(at) as (near, origin):
        near.send(request(origin, fields=fields, version=version))
        far = origin.accept()
        far.head()
        far.send(OK)
        expect(readAnswer(near).body, b"ok", "the client got")
        if not near.isOver(3):
            raise Unlike("the connection stays open")
        return "closed"


@asks("stale-origin", "RFC 9112, 9.3.1", "forward")
def staleOrigin(at: Address) -> str:
    """An origin that closes its kept connection between two requests does no harm to the second."""
    with between(at) as (near, origin):
        near.send(request(origin, path=b"/1"))
        far = origin.accept()
        far.head()
        far.send(OK)
        keptAfter(near, 200)
        far.close()
        time.sleep(0.1)
        try:
            near.send(request(origin, path=b"/2"))
            other = origin.accept(3)
            expect(other.head().asked, b"GET /2", "the origin saw")
            other.send(OK)
            expect(readAnswer(near).status, 200, "answered")
        except (Ended, ConnectionError):
            raise Unlike("closed behind the first") from None
        return "asked anew"


# framing


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


@asks("slow-client", "ours (memory)", "forward")
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


# cuts


@asks("cut-length", "RFC 9112, 8 (MUST)", "forward")
def cutLength(at: Address) -> str:
    """An answer that is cut short of its Content-Length does not look whole."""
    return _isCut(at, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabcde")


@asks("cut-chunked", "RFC 9112, 8 (MUST)", "forward")
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


# odd answers


def _mended(at: Address, response: bytes, body: bytes = b"ok", close: bool = True) -> str:
    """The client gets a 5xx, a cut, or an answer that every reader takes for the same one."""
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(response)
        if close:
            far.close()
        raw = b""
        try:
            while b"\r\n\r\n" not in raw:
                piece = near.some()
                if not piece:
                    return "closed" if not raw else "cut within the head"
                raw += piece
        except ConnectionResetError:
            return "reset"
        lines, _, behind = raw.partition(b"\r\n\r\n")
        if fault := answerFault(lines):
            raise Unlike(f"passed on {fault}")
        near.unread(lines + b"\r\n\r\n" + behind)
        try:
            answer = readAnswer(near)
        except (Ended, ConnectionResetError):
            return "cut"
        if answer.status >= 500:
            return f"answered {answer.status}"
        if answer.body != body:
            raise Unlike(f"the client got {answer.body[:40].decode('latin-1')!r}")
        return "mended"


@asks("answer-cl-te", "RFC 9112, 6.3 (3)", "forward")
def lengthAndChunks(at: Address) -> str:
    """An answer with both Content-Length and Transfer-Encoding is refused, or loses the former."""
    return _mended(
        at, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )


@asks("answer-two-lengths", "RFC 9112, 6.3 (5) (MUST answer 502)", "forward")
def twoLengths(at: Address) -> str:
    """An answer with two different lengths is not passed on."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\nok!!", b"")


@asks("answer-length-nonsense", "RFC 9112, 6.3 (5) (MUST answer 502)", "forward")
def oddLength(at: Address) -> str:
    """An answer whose length is no number is not passed on with it."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok")


@asks("answer-nul", "RFC 9110, 5.5 (MUST reject or replace)", "forward")
def nul(at: Address) -> str:
    """A NUL in a field of an answer is not passed on."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 2\r\n\r\nok")


@asks("answer-bare-cr", "RFC 9112, 2.2 (MUST)", "forward")
def bareCR(at: Address) -> str:
    """A bare CR in a field of an answer is not passed on."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: c\r\nContent-Length: 2\r\n\r\nok")


@asks("answer-fold", "RFC 9112, 5.2 (MUST)", "forward")
def fold(at: Address) -> str:
    """A folded field of an answer is unfolded, or refused."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok")


@asks("answer-space-colon", "RFC 9112, 5.1 (MUST)", "forward")
def spaceBeforeColon(at: Address) -> str:
    """A blank before the colon in an answer is removed, or refused."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nX-A : b\r\nContent-Length: 2\r\n\r\nok")


@asks("answer-bare-lf", "RFC 9112, 2.2", "forward")
def bareLF(at: Address) -> str:
    """An answer whose lines end with LF alone is mended, or refused."""
    return _mended(at, b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok")


@asks("answer-coding", "RFC 9112, 6.1 and 6.3", "forward")
def coding(at: Address) -> str:
    """An answer in a transfer coding that nobody knows is not passed on as it is."""
    return _mended(at, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: purr\r\n\r\nok")


@asks("answer-chunk-size", "RFC 9112, 7.1", "forward")
def chunkSize(at: Address) -> str:
    """An answer with a chunk size that is no number ends as a cut, not as a whole."""
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n"
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(response)
        far.close()
        try:
            return isCut(near)
        except Unlike as unlike:
            if "malformed chunks" in str(unlike):
                raise Unlike("passed on the malformed chunks") from None
            raise


@asks("answer-garbage", "RFC 9110, 15.6.3; ours", "forward")
def garbage(at: Address) -> str:
    """An origin that does not speak HTTP is a bad gateway (502), or the connection ends."""
    return _isBadGateway(at, b"SSH-2.0-OpenSSH_9.2\r\n")


@asks("answer-none", "RFC 9110, 15.6.3; ours", "forward")
def noAnswer(at: Address) -> str:
    """An origin that closes without a word is a bad gateway (502, 503, 504)."""
    return _isBadGateway(at, b"")


@asks("answer-half-head", "RFC 9112, 8", "forward")
def halfHead(at: Address) -> str:
    """An origin that closes in the middle of its head is a bad gateway (502, 503, 504), or the connection ends."""
    return _isBadGateway(at, b"HTTP/1.1 200 OK\r\nContent-Le")


@asks("answer-huge-head", "ours (memory)", "forward")
def hugeHead(at: Address) -> str:
    """An answer whose head has no end is refused, or cut off, before it has taken 8 MiB."""
    with between(at) as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 200 OK\r\n")
        far.socket.settimeout(2)
        sent = 0
        try:
            while sent < 8 << 20:
                far.send(b"A: " + b"b" * 8189 + b"\r\n")
                sent += 8194
        except TimeoutError:
            pass
        except ConnectionError:
            return "cut off"
        said = near.within(2)
        if said is None:
            raise Unlike(f"took {sent // MIB} MiB and waits for more")
        if said.startswith(b"HTTP/1.1 200"):
            raise Unlike("passed it on")
        return "refused"


def _isBadGateway(at: Address, said: bytes) -> str:
    with between(at) as (near, origin):
        near.send(request(origin, b"POST", fields=b"Content-Length: 0\r\n"))
        far = origin.accept()
        far.head()
        if said:
            far.send(said)
        far.close()
        try:
            status = near.head().status
        except Ended:
            if not said:
                raise
            return "closed"
        except ConnectionResetError:
            if not said:
                raise
            return "reset"
        if status not in (502, 503, 504):
            raise Unlike(f"answered {status}")
        return f"answered {status}"
