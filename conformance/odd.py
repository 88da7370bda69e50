"""Behaviours towards origins that say odd things."""

from __future__ import annotations

from conformance.behaviour import Address, Ended, Unlike, asks
from conformance.forward import between, request
from conformance.grammar import answerFault, isCut, readAnswer

MIB = 1 << 20


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


@asks("answer-huge-head", "ours", "forward")
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
