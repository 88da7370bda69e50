"""What is said of a value that a key cannot have."""

from __future__ import annotations

from pipsocks.model import masked


class Wrong(ValueError):
    """A value that a key cannot have: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


def shown(value: object) -> str:
    """`value` as it may stand in an error: short, in one line, without a login."""
    text = ascii(masked(value)) if isinstance(value, str) else masked(ascii(value))
    text = text.lower() if isinstance(value, bool) else text
    return text if len(text) <= 60 else text[:57] + "..."
