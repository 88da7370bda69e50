"""Every behaviour there is: importing the modules registers them."""

from __future__ import annotations

from typing import Final

from conformance import (
    answers,
    connect,
    forward,
    kept,
    login,
    methods,
    odd,
    relay,
    smuggling,
    socks,
    socks4,
    strangers,
    uploads,
)
from conformance.behaviour import BEHAVIOURS as _REGISTERED
from conformance.behaviour import Behaviour

_ORDER: Final = [
    module.__name__
    for module in (
        relay,
        strangers,
        methods,
        socks,
        socks4,
        connect,
        login,
        forward,
        uploads,
        kept,
        answers,
        odd,
        smuggling,
    )
]

BEHAVIOURS: Final[dict[str, Behaviour]] = {
    each.id: each for each in sorted(_REGISTERED.values(), key=lambda each: _ORDER.index(each.test.__module__))
}
"""By id, in the order in which they are read."""
