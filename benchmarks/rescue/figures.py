"""What a scenario says: one line for each figure, with its bound."""

from __future__ import annotations

from collections.abc import Sequence
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
        return f"{verdict:4}  {self.what}: {self.value}" + (f" ({self.bound})" if self.bound else "")


def atMost(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """A figure that should be small."""
    return Figure(what, f"at most {bound:g}{unit}", f"{value:.4g}{unit}", value <= bound)


def atLeast(what: str, value: float, bound: float, unit: str = "") -> Figure:
    """A figure that should be large."""
    return Figure(what, f"at least {bound:g}{unit}", f"{value:.4g}{unit}", value >= bound)


def share(what: str, good: int, total: int, bound: float) -> Figure:
    """So many of so many, of which at least `bound` per cent should be."""
    per = 100 * good / total if total else 0.0
    return Figure(what, f"at least {bound:g} %", f"{good} of {total}, {per:.2f} %", per >= bound)


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

    @ivar slack: what stands for the 8.5 seconds in which everybody is to hear; a loaded machine is not what is tested.
    """

    wheels: int
    installs: str
    tunnels: int
    flights: int
    posts: int
    megabytes: int
    requests: int
    paced: int
    setups: int
    slack: float


FULL = Size(
    wheels=30, installs="all", tunnels=1000, flights=1000, posts=200, megabytes=50, requests=400, paced=200,
    setups=1000, slack=8.5,
)  # fmt: skip
QUICK = Size(
    wheels=10, installs="few", tunnels=200, flights=200, posts=60, megabytes=10, requests=80, paced=40,
    setups=120, slack=20.0,
)  # fmt: skip


@attrs.frozen
class Ground:
    """What a scenario stands on: how much, from which seed, and an empty folder."""

    size: Size
    seed: int
    folder: Path
