"""What a scenario says: one line for each figure, with its bound."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs


@attrs.frozen
class Figure:
    """
    One figure.

    @ivar ok: whether it keeps to the bound; None where it could not be measured, and `value` says why.
    """

    what: str
    bound: str
    value: str
    ok: bool | None

    def __str__(self) -> str:
        verdict = {True: "ok", False: "FAIL", None: "n.a."}[self.ok]
        return f"{verdict:4}  {self.what}: {self.value}" + (
            f" ({self.bound})" if self.bound not in ("", self.value) else ""
        )


def atMost(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """A figure that should be small."""
    return Figure(what, f"at most {bound:g}{unit}", f"{value:.4g}{unit}", value <= bound)


def atLeast(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """A figure that should be large."""
    return Figure(what, f"at least {bound:g}{unit}", f"{value:.4g}{unit}", value >= bound)


def share(what: str, good: int, total: int, bound: float, failures: Sequence[str] = ()) -> Figure:
    """So many of so many, of which at least `bound` per cent should be; and how the others failed."""
    per = 100 * good / total if total else 0.0
    value = "; ".join([f"{good} of {total}, {per:.2f} %", *failures[:3]])
    return Figure(what, f"at least {bound:g} %", value[:300], per >= bound)


def none(what: str, bad: Sequence[str]) -> Figure:
    """What should not have happened at all; the first ones are shown."""
    return Figure(what, "none", f"{len(bad)}: {'; '.join(bad[:3])}"[:400] if bad else "none", not bad)


def missing(what: str, reason: str) -> Figure:
    """What this proxy cannot do."""
    return Figure(what, "", reason, None)


@attrs.frozen
class Size:
    """
    How much is done.

    @ivar all: every combination, or one or two of each kind.
    @ivar patience: the seconds in which everybody is to hear that all exits are dead. (A loaded machine is not what is
        tested where little is done.)
    @ivar leeway: by how many per cent fewer clients may succeed: of a few, one that is unlucky is too many.
    @ivar slow: what the slow exit takes, in seconds.
    @ivar dialsEach: at most so many dials for each request to dead exits. (A few requests do not spend the budget.)
    """

    all: bool
    wheels: int
    tunnels: int
    flights: int
    posts: int
    megabytes: int
    requests: int
    paced: int
    setups: int
    patience: float
    dialsEach: float
    slow: float
    leeway: float


FULL = Size(
    all=True, wheels=30, tunnels=1000, flights=1000, posts=200, megabytes=50, requests=40, paced=200, setups=1000,
    patience=8.5, dialsEach=2.5, slow=1, leeway=0,
)  # fmt: skip
QUICK = Size(
    all=False, wheels=10, tunnels=200, flights=200, posts=50, megabytes=10, requests=20, paced=40, setups=100,
    patience=20.0, dialsEach=8.0, slow=2, leeway=1,
)  # fmt: skip


@attrs.frozen
class Ground:
    """What a scenario stands on: how much, from which seed, an empty folder, and the Python whose pip is the client."""

    size: Size
    seed: int
    folder: Path
    python: str = sys.executable

    def under(self, what: str) -> Path:
        """A folder of its own for a part of it."""
        return self.folder / re.sub(r"\W+", "-", what)


Job = Callable[[], Iterable[Figure]]


def sideBySide(jobs: Iterable[Job], atOnce: int) -> Iterator[Figure]:
    """The figures of all `jobs`, in their order; most of them wait most of the time, so that several go at once."""
    with ThreadPoolExecutor(atOnce) as threads:
        for figures in threads.map(lambda job: list(job()), list(jobs)):
            yield from figures
