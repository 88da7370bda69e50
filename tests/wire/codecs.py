"""
How every codec is tested: each vector whole, in two pieces, byte by byte, and with bytes behind it.

A codec has ``receive(data)``, ``next()`` (an event, or None for "need more") and ``leftover()``. What a codec needs of
its caller in between (accepting a login, say) is `react`; what says that the input has ended is `end`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol
from unittest import TestCase

import attrs

TRAILING = (b"\x00", b"\x05\x01\x00", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", bytes(range(256)))
"""What a client sends early, behind its request."""

EVERY_SPLIT = 600
"""Up to this many octets a vector is cut in two at every place."""


class Codec(Protocol):
    """What is tested."""

    def receive(self, data: bytes, /) -> None:
        """Take bytes."""

    def next(self) -> Any:
        """Give an event, or None."""

    def leftover(self) -> bytes:
        """Give up what was not read."""


@attrs.frozen
class Outcome:
    """What came of a run: the events, the error that ended it, and what was left over without one."""

    events: list[Any]
    error: Exception | None
    leftover: bytes | None

    @property
    def told(self) -> tuple[Any, ...]:
        """All of it in a shape that compares: of an error its type, arguments and attributes."""
        error = self.error and (type(self.error), self.error.args, vars(self.error))
        return self.events, error, self.leftover


def play(
    make: Callable[[], Any],
    pieces: Iterable[bytes],
    *,
    react: Callable[[Any, Any], None] | None = None,
    end: Callable[[Any], None] | None = None,
    merge: Callable[[list[Any]], list[Any]] | None = None,
    heldLimit: int | None = None,
    errors: tuple[type[Exception], ...] = (Exception,),
) -> Outcome:
    """
    Feed a new codec the pieces, taking each event as soon as it is there.

    @param react: called with the codec and each event, to answer as the caller would.
    @param end: called with the codec when the last piece was read; its events are taken too.
    @param merge: makes events that depend on the pieces (parts of a body) into such that do not.
    @param heldLimit: the codec's ``held`` must never be above this once its events were taken.
    @param errors: exceptions that belong to the outcome; any other is raised here.
    """
    codec = make()
    events: list[Any] = []

    def drain() -> None:
        while (event := codec.next()) is not None:
            events.append(event)
            if react is not None:
                react(codec, event)
        assert heldLimit is None or codec.held <= heldLimit, f"{codec.held} octets held, over {heldLimit}"

    error: Exception | None = None
    try:
        drain()
        for piece in pieces:
            codec.receive(piece)
            drain()
        if end is not None:
            end(codec)
            drain()
    except errors as raised:
        error = raised
    leftover = None if error is not None else codec.leftover()
    return Outcome(events if merge is None else merge(events), error, leftover)


def cuttings(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Every way in which `data` is fed: whole, byte by byte, in two pieces."""
    yield "whole", [data]
    yield "byte by byte", [data[i : i + 1] for i in range(len(data))]
    if len(data) <= EVERY_SPLIT:
        for at in range(1, len(data)):
            yield f"cut at {at}", [data[:at], data[at:]]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in the pieces that Hypothesis chose the places for."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def assertCodec(
    case: TestCase,
    make: Callable[[], Any],
    data: bytes,
    expected: Sequence[Any],
    *,
    raises: type[Exception] | None = None,
    attributes: Mapping[str, Any] | None = None,
    trailing: Sequence[bytes] = TRAILING,
    react: Callable[[Any, Any], None] | None = None,
    end: Callable[[Any], None] | None = None,
    merge: Callable[[list[Any]], list[Any]] | None = None,
    heldLimit: int | None = None,
) -> None:
    """
    `data` gives the `expected` events (and the error, with these attributes), however it is cut.

    With each of `trailing` behind it the same comes out, and `trailing` is what is left over. Pass ``trailing=()``
    where bytes behind the vector are the next message, or where `end` is given.
    """
    for behind in (b"", *(() if end is not None else trailing)):
        for how, pieces in cuttings(data):
            if behind:
                # Whole means one segment with all of it; else what is behind comes with the last piece.
                pieces = [*pieces[:-1], pieces[-1] + behind] if pieces else [behind]
            outcome = play(make, pieces, react=react, end=end, merge=merge, heldLimit=heldLimit)
            about = f"{data[:80]!r}, {how}, behind it {behind[:20]!r}"
            if outcome.error is not None and (raises is None or not isinstance(outcome.error, raises)):
                raise AssertionError(f"{about}: unexpected {outcome.error!r}") from outcome.error
            case.assertEqual(list(expected), outcome.events, about)
            if raises is None:
                case.assertEqual(behind, outcome.leftover, about)
                continue
            case.assertIsNotNone(outcome.error, f"{about}: no {raises.__name__}")
            for name, value in (attributes or {}).items():
                case.assertEqual(value, getattr(outcome.error, name), f"{about}: {name}")


def assertFragmentation(
    case: TestCase,
    make: Callable[[], Any],
    data: bytes,
    places: Iterable[int],
    errors: tuple[type[Exception], ...],
    **how: Any,
) -> Outcome:
    """Any input comes out the same whole, byte by byte, and cut at `places`, and raises nothing but `errors`."""
    whole = play(make, [data], errors=errors, **how)
    for pieces in (cut(data, places), [data[i : i + 1] for i in range(len(data))]):
        case.assertEqual(whole.told, play(make, pieces, errors=errors, **how).told, f"{data[:80]!r} as {pieces[:20]!r}")
    return whole
