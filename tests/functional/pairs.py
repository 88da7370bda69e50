"""Pairwise tables: every two values of two factors meet in some row, in far fewer rows than all combinations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Row = tuple[Any, ...]
Pair = tuple[int, Any, int, Any]


def _pairs(row: Row) -> frozenset[Pair]:
    return frozenset((i, row[i], j, row[j]) for i, j in itertools.combinations(range(len(row)), 2))


def pairwise(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows in which every pair of values occurs: always the same ones, chosen greedily, the first of the best."""
    candidates = {row: _pairs(row) for row in itertools.product(*factors.values())}
    missing = frozenset[Pair]().union(*candidates.values())
    rows = []
    while missing:
        best = max(candidates, key=lambda row: len(candidates[row] & missing))
        missing -= candidates[best]
        rows.append(dict(zip(factors, best, strict=True)))
    return rows
