"""What the HTTP gates hand out and raise: heads, pieces of content, ends. Nothing ambiguous can be built from them."""

from __future__ import annotations

from typing import Final

import attrs

Fields = tuple[tuple[bytes, bytes], ...]
"""Names as they were received, values without the whitespace around them."""

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head (start line included), or of a trailer section."""

FIELD_LIMIT: Final = 200
"""Field lines in one head, or in one trailer section."""

CHUNK_LINE_LIMIT: Final = 1024
"""Bytes of a chunk's line, extensions included: nobody's are longer, and they are thrown away."""


class GateError(Exception):
    """
    What came is not HTTP that everybody would read alike.

    @ivar status: what a proxy answers: 400, 431 or 505 for a request, 502 for a response.
    @ivar text: the cause: short, ASCII, and nothing of what was received.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


class Cut(Exception):
    """The connection closed before the content was as long as its head had said."""


def findAll(fields: Fields, name: bytes) -> list[bytes]:
    """The values of each field called `name`, in whatever case, in order."""
    name = name.lower()
    return [value for own, value in fields if own.lower() == name]


def listed(values: list[bytes]) -> list[bytes]:
    """The members of a comma-separated field of tokens (RFC 9110, 5.6.1), in lower case."""
    return [member for value in values for each in value.lower().split(b",") if (member := each.strip(b" \t"))]


def writeFields(fields: Fields) -> bytes:
    """A field section with its blank line."""
    return b"".join([b"%b: %b\r\n" % field for field in fields]) + b"\r\n"


@attrs.frozen
class RequestHead:
    """
    A request's head that every reader understands alike.

    `target` has its bytes beyond ASCII percent-encoded. `version` is ``b"1.0"`` or ``b"1.1"`` (a higher minor
    version is 1.1 to us). In a CONNECT the field Host is the target's, whatever was received (RFC 9112, 3.2.3 and
    3.2). `length` is the declared one, None where none was or content is `chunked`.
    """

    method: bytes
    target: bytes
    version: bytes
    fields: Fields
    length: int | None = None
    chunked: bool = False

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field called `name`, in whatever case."""
        values = findAll(self.fields, name)
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """The values of each field called `name`, in whatever case, in order."""
        return findAll(self.fields, name)

    @property
    def hasBody(self) -> bool:
        """Whether content follows; chunked content may still turn out to be empty."""
        return self.chunked or bool(self.length)

    @property
    def keepAlive(self) -> bool:
        """
        Whether the client wants the connection kept.

        Never in HTTP/1.0: a proxy must not, since it can't tell such a client from another old proxy that has
        passed the field on (RFC 9112, 9.3 and C.2.2).
        """
        return self.version == b"1.1" and b"close" not in listed(self.all(b"connection"))

    @property
    def raw(self) -> bytes:
        """The head as it may be given to h11: written anew, so that it says these values and nothing else."""
        return b"%b %b HTTP/%b\r\n%b" % (self.method, self.target, self.version, writeFields(self.fields))


@attrs.frozen
class ResponseHead:
    """
    A response's head that every reader understands alike; `status` below 200 means that another one follows.

    `length` is the declared one, also where no content comes (HEAD, 304). Where `untilClose`, content ends with the
    connection. `keepAlive` is whether another request may be sent on this connection after this response.
    """

    status: int
    reason: bytes
    version: bytes
    fields: Fields
    hasBody: bool
    keepAlive: bool
    length: int | None = None
    chunked: bool = False
    untilClose: bool = False

    def get(self, name: bytes) -> bytes | None:
        """The value of the first field called `name`, in whatever case."""
        values = findAll(self.fields, name)
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """The values of each field called `name`, in whatever case, in order."""
        return findAll(self.fields, name)

    @property
    def raw(self) -> bytes:
        """The head as it may be given to h11: written anew, so that it says these values and nothing else."""
        return b"HTTP/%b %d %b\r\n%b" % (self.version, self.status, self.reason, writeFields(self.fields))


@attrs.frozen
class Body:
    """A piece of content, never empty: what has come of it, not necessarily one chunk."""

    data: bytes
    chunked: bool = False

    @property
    def raw(self) -> bytes:
        """The piece as h11 reads it: where content is chunked a chunk of its own, without extensions."""
        return b"%x\r\n%b\r\n" % (len(self.data), self.data) if self.chunked else self.data


@attrs.frozen
class End:
    """A message is complete. `trailers` are those that may be passed on."""

    trailers: Fields = ()
    chunked: bool = False

    @property
    def raw(self) -> bytes:
        """The last chunk and the trailers, as h11 reads them; empty where content was not chunked."""
        return b"0\r\n" + writeFields(self.trailers) if self.chunked else b""
