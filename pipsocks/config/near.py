"""Did you mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The name of `known` that `name` was most likely meant to be, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1, 0.6)
    return near[0] if near else ""
