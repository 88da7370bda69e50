"""Behaviours towards the content of forwarded requests."""

from __future__ import annotations

from conformance.behaviour import Address, Unlike, asks, expect
from conformance.forward import OK, between, request
from conformance.grammar import readAnswer, readRequests
from conformance.talk import megabytes, sendBeside


@asks("post", "RFC 9112, 6.2", "forward")
def post(at: Address) -> str:
    """An upload with a length arrives whole."""
    return _uploads(at, b"Content-Length: %d\r\n" % (1 << 20), megabytes(1))


@asks("post-chunked", "RFC 9112, 7.1", "forward")
def postChunked(at: Address) -> str:
    """An upload in chunks arrives whole."""
    data = megabytes(1)[:200_000]
    pieces = [data[start : start + 7000] for start in range(0, len(data), 7000)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return _uploads(at, b"Transfer-Encoding: chunked\r\n", chunks, data)


@asks("chunk-extension", "RFC 9112, 7.1.1 (MUST ignore)", "forward")
def chunkExtension(at: Address) -> str:
    """Chunk extensions do no harm to an upload."""
    chunks = b'3;a=b\r\nabc\r\n2;c="d;e"\r\nde\r\n0\r\n\r\n'
    return _uploads(at, b"Transfer-Encoding: chunked\r\n", chunks, b"abcde")


@asks("get-body", "RFC 9110, 9.3.1; RFC 9112, 6", "forward")
def getWithBody(at: Address) -> str:
    """The content of a GET is passed on as content, or refused, and never taken for a request."""
    hidden = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    with between(at) as (near, origin):
        near.send(request(origin, fields=b"Content-Length: %d\r\n" % len(hidden)) + hidden)
        try:
            far = origin.accept(2)
        except Unlike:
            return f"answered {near.head().status}"
        raw = b""
        while (piece := far.within(0.5)) is not None:
            raw += piece
            if not piece:
                break
        far.send(OK)
        read = readRequests(raw)
        if read.fault or len(read.heads) != 1:
            raise Unlike(f"the origin saw {read.fault or f'{len(read.heads)} requests'}")
        return "one request"


def _uploads(at: Address, fields: bytes, raw: bytes, body: bytes | None = None) -> str:
    with between(at) as (near, origin):
        near.send(request(origin, b"POST", fields=fields))
        sendBeside(near, raw)
        far = origin.accept()
        seen = far.head()
        if readRequests(b"\r\n".join([seen.start, *(b": ".join(f) for f in seen.fields)]) + b"\r\n\r\n").fault:
            raise Unlike("the head at the origin is ambiguous")
        if seen.get(b"transfer-encoding").lower() == b"chunked":
            far.unread(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            received = readAnswer(far).body
        else:
            received = far.read(int(seen.get(b"content-length") or b"0"))
        far.send(OK)
        if received != (raw if body is None else body):
            raise Unlike(f"{len(received)} octets arrived, or others")
        expect(readAnswer(near, b"POST").status, 200, "answered")
        return "it arrived whole"


@asks("expect", "RFC 9110, 10.1.1", "forward")
def expectContinue(at: Address) -> str:
    """A client that waits for 100 Continue before it uploads gets it, and its upload arrives."""
    interim: list[int] = []
    with between(at) as (near, origin):
        near.send(request(origin, b"POST", fields=b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        expect(near.head().status, 100, "answered")
        near.send(b"data")
        expect(far.read(4), b"data", "the origin got")
        far.send(OK)
        expect(readAnswer(near, b"POST", interim).status, 200, "answered")
        return "100, then 200"


@asks("expect-refused", "RFC 9110, 10.1.1", "forward")
def expectRefused(at: Address) -> str:
    """A client that waits for 100 Continue learns of the origin's refusal before it uploads."""
    with between(at) as (near, origin):
        near.send(request(origin, b"POST", fields=b"Expect: 100-continue\r\nContent-Length: 4\r\n"))
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        interim: list[int] = []
        expect(readAnswer(near, b"POST", interim).status, 403, "answered")
        if interim:
            raise Unlike(f"told {interim[0]} by the proxy first")
        return "answered 403"


@asks("early-answer", "ours", "forward")
def earlyAnswer(at: Address) -> str:
    """An origin that answers before the upload is over is heard."""
    with between(at) as (near, origin):
        near.send(request(origin, b"POST", fields=b"Content-Length: 1000000\r\n") + b"begun")
        far = origin.accept()
        far.head()
        far.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        answer = readAnswer(near, b"POST")
        expect((answer.status, answer.body), (413, b"no!"), "answered")
        return "answered 413"
