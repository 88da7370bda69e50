"""What forwarding is handed by `pipsocks.front`: one request of one client at a time."""

from __future__ import annotations

from typing import Protocol

from pipsocks.gateway.stream import Stream
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import RequestHead

Fields = tuple[tuple[bytes, bytes], ...]


class Sink(Protocol):
    """What takes a request's content."""

    def write(self, data: bytes) -> None:
        """A piece of it."""

    def finish(self, trailers: Fields) -> None:
        """It is complete."""

    def broken(self, refusal: Refusal) -> None:
        """It turned out malformed, and the rest can't be read."""


class Source(Protocol):
    """What the answer's content comes from; it can wait."""

    def pauseProducing(self) -> None:
        """Wait."""

    def resumeProducing(self) -> None:
        """Go on."""


class Exchange(Protocol):
    """
    One request and its answer, on the client's connection.

    The answer is any number of `inform`, then either `answer`, `write` as often as there is content, and `finish`,
    or `refuse` alone; or an `inform` of 101 and `handOver`; or at any time `cut`. It is itself the producer of the
    request's content: `pauseProducing` stops the reading of the client.

    @ivar head: the request's head.
    @ivar sent: the bytes of the answer so far.
    """

    head: RequestHead
    sent: int

    def pour(self, sink: Sink | None) -> None:
        """Let `sink` have the request's content from now on; None: nobody."""

    def pauseProducing(self) -> None:
        """No more content for now."""

    def resumeProducing(self) -> None:
        """Content again."""

    def stopProducing(self) -> None:
        """Its taker is gone."""

    def drain(self, source: Source | None) -> None:
        """Let `source` wait whenever the client does not read; None: nobody."""

    def inform(self, status: int, reason: bytes, fields: Fields) -> None:
        """An interim answer (1xx)."""

    def answer(self, status: int, reason: bytes, fields: Fields) -> None:
        """The answer's head."""

    def write(self, data: bytes) -> None:
        """A piece of its content."""

    def finish(self, trailers: Fields) -> None:
        """It is complete."""

    def refuse(self, refusal: Refusal) -> None:
        """The answer is no."""

    def cut(self) -> None:
        """The answer ends short: the client must not take it for whole."""

    def handOver(self) -> Stream:
        """The client's connection, on which no HTTP is spoken any more."""
