"""HTTP/1 read strictly (RFC 9112): is this one message, and would every reader take it for the same one?"""

from __future__ import annotations

import re
from typing import Final

import attrs

from conformance.behaviour import Ended, Unlike
from conformance.talk import Head, Talk, readHeadBytes

_FIELD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*")
_REQUEST: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_FRAMING: Final = re.compile(rb"(?i)(?:content-length|transfer-encoding|host):")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


def headFault(raw: bytes, start: re.Pattern[bytes]) -> str:
    """What is wrong with a head (its lines, without the empty one), or nothing."""
    lines = raw.split(b"\r\n")
    for line in lines:
        for octet, name in ((b"\n", "a bare LF"), (b"\r", "a bare CR"), (b"\0", "a NUL")):
            if octet in line:
                return name
    if not start.fullmatch(lines[0]):
        return "a malformed first line"
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            return "a folded line"
        if not _FIELD.fullmatch(line):
            return "a malformed field line"
    head = readHeadBytes(raw)
    lengths, codings = head.all(b"content-length"), head.all(b"transfer-encoding")
    if lengths and codings:
        return "both Content-Length and Transfer-Encoding"
    if len(lengths) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", length) for length in lengths):
        return "a repeated or malformed Content-Length"
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return "another Transfer-Encoding than chunked"
    if codings and b"HTTP/1.0" in lines[0]:
        return "Transfer-Encoding in HTTP/1.0"
    if b"content_length" in raw.lower() or b"transfer_encoding" in raw.lower():
        return "a framing field with an underscore"
    return ""


def requestFault(raw: bytes) -> str:
    """What is wrong with a request's head, or nothing."""
    fault = headFault(raw, _REQUEST)
    if not fault and len(readHeadBytes(raw).all(b"host")) != 1:
        return "no Host, or several"
    return fault


def answerFault(raw: bytes) -> str:
    """What is wrong with a response's head, or nothing."""
    return headFault(raw, _STATUS)


@attrs.frozen
class Requests:
    """What an origin recorded on one connection: the heads of the requests in it, and the first fault."""

    heads: tuple[Head, ...]
    fault: str


def readRequests(raw: bytes) -> Requests:
    """Read requests one after the other, as far as they are there."""
    heads: list[Head] = []
    while raw:
        head, mark, raw = raw.partition(b"\r\n\r\n")
        if not mark:
            heads.append(readHeadBytes(head))
            # The rest may be on its way: only what can never become right is a fault.
            bad = re.search(rb"[^\r]\n|\r[^\n]|\0", head) or (len(heads) > 1 and not re.match(rb"[A-Z]+ ", head))
            return Requests(tuple(heads), "octets that are no request" if bad else "")
        heads.append(readHeadBytes(head))
        if fault := requestFault(head):
            return Requests(tuple(heads), fault)
        fields = heads[-1]
        if fields.all(b"transfer-encoding"):
            behind = _behindChunks(raw)
            if behind is None:
                return Requests(tuple(heads), "malformed chunks")
            raw = behind
        else:
            raw = raw[int(fields.get(b"content-length") or b"0") :]
    return Requests(tuple(heads), "")


def _behindChunks(raw: bytes) -> bytes | None:
    """What stands behind the chunks; nothing when they are not complete, None when they are malformed."""
    while True:
        line, mark, rest = raw.partition(b"\r\n")
        if not mark:
            return b"" if _CHUNK.fullmatch(line.rstrip(b"\r")) or not line else None
        match = _CHUNK.fullmatch(line)
        if match is None:
            return None
        size = int(match[1], 16)
        if not size:
            trailers, mark, behind = (b"\r\n" + rest).partition(b"\r\n\r\n")
            fields = trailers.split(b"\r\n")[1:] if mark else []
            if any(not _FIELD.fullmatch(each) or _FRAMING.match(each) for each in fields):
                return None
            return behind
        end = rest[size : size + 2]
        if not b"\r\n".startswith(end):
            return None
        if len(end) < 2:
            return b""
        raw = rest[size + 2 :]


@attrs.frozen
class Answer:
    """A response, read whole: `framing` is how its end was told (``none``, ``length``, ``chunks``, ``close``)."""

    head: Head
    body: bytes
    framing: str

    @property
    def status(self) -> int:
        """Its status."""
        return self.head.status


def readAnswer(talk: Talk, method: bytes = b"GET", interim: list[int] | None = None) -> Answer:
    """The next response that is no 1xx. Raises `Unlike` where its chunks are malformed, `Ended` where it is cut."""
    while True:
        head = talk.head()
        if head.status >= 200 or head.status == 101:
            break
        if interim is not None:
            interim.append(head.status)
    if method == b"HEAD" or head.status in (101, 204, 304):
        return Answer(head, b"", "none")
    if head.get(b"transfer-encoding").lower() == b"chunked":
        return Answer(head, _readChunks(talk), "chunks")
    length = head.get(b"content-length")
    if length:
        if not length.isdigit():
            raise Unlike(f"answered with a Content-Length of {length.decode('latin-1')!r}")
        return Answer(head, talk.read(int(length)), "length")
    return Answer(head, talk.rest(), "close")


def _readLine(talk: Talk) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += talk.read(1)
        if len(line) > 4096:
            raise Unlike("answered with an endless chunk line")
    return line[:-2]


def _readChunks(talk: Talk) -> bytes:
    body = b""
    while True:
        match = _CHUNK.fullmatch(_readLine(talk))
        if match is None:
            raise Unlike("answered with malformed chunks")
        size = int(match[1], 16)
        if not size:
            break
        body += talk.read(size)
        if talk.read(2) != b"\r\n":
            raise Unlike("answered with malformed chunks")
    while _readLine(talk):
        pass
    return body


def isCut(talk: Talk) -> str:
    """How a response that ends here tells that it is not whole. Raises `Unlike` where it looks whole."""
    try:
        answer = readAnswer(talk)
    except Ended:
        return "ended short of its framing"
    except ConnectionResetError:
        return "reset"
    if answer.status >= 500:
        return f"answered {answer.status}"
    raise Unlike(f"looks whole, with {len(answer.body)} octets")
