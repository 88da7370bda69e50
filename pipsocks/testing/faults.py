"""
What a faulty upstream does, in words: ``NAME`` or ``NAME=VALUE``.

A fault is what happens to one connection. Names that begin with ``asked-`` strike once the client has said where it
wants to go, those with ``then-`` once it was told that it is there.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

NAMES: Final = {
    "none": "nothing is wrong: a healthy SOCKS and HTTP proxy",
    "silent": "take the connection and say nothing",
    "close": "close the connection as soon as it is made",
    "reset": "reset the connection as soon as it is made",
    "nonsense": "answer the first bytes with random ones, then close",
    "say": "answer the first bytes with these (in hexadecimal), then close",
    "say-reset": "answer the first bytes with these (in hexadecimal), then reset the connection",
    "cut": "close in the middle of the answer to the request",
    "method-refused": "offer no way to log in: SOCKS 05 FF, HTTP 407 that asks for NTLM",
    "login-refused": "refuse every login: SOCKS 01 01, HTTP 407 that asks for Basic",
    "reply": "answer a SOCKS request with this reply code",
    "status": "answer an HTTP request with this status, and reason phrase where one follows",
    "asked-silent": "say nothing to the request",
    "asked-close": "close when the request has come",
    "asked-reset": "reset the connection when the request has come",
    "slow": "a healthy proxy that waits so many seconds before it does what it is asked",
    "then-silent": "grant the request and say nothing more",
    "then-close": "grant the request, then close",
    "then-reset": "grant the request, then reset the connection",
}
"""Every fault, and what it means."""

_VALUES: Final = {
    "say": r"([0-9a-fA-F]{2})+",
    "say-reset": r"([0-9a-fA-F]{2})+",
    "reply": r"[0-9]{1,3}",
    "status": r"[1-9][0-9]{2}( [ -~]*)?",
    "slow": r"[0-9]{1,4}(\.[0-9]{1,3})?",
}


class FaultUnknown(ValueError):
    """The text names no fault, or its value does not fit."""


@attrs.frozen
class Fault:
    """One fault; `value` is the text behind the equals sign."""

    name: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.value else self.name


HEALTHY: Final = Fault("none")


def parseFault(text: str) -> Fault:
    """
    Read ``NAME`` or ``NAME=VALUE``.

    @raise FaultUnknown: it is none of `NAMES`, or the value is missing, superfluous or of the wrong form.
    """
    name, given, value = text.partition("=")
    if name not in NAMES:
        raise FaultUnknown(f"no such fault: {name!r}")
    pattern = _VALUES.get(name)
    if (pattern is None and given) or (pattern is not None and re.fullmatch(pattern, value, re.ASCII) is None):
        raise FaultUnknown(f"{name!r} does not take the value {value!r}")
    if name == "reply" and int(value) > 255:
        raise FaultUnknown("a reply code is at most 255")
    return Fault(name, value)
