"""
Which connection has which fault: an ordered list of texts, a seed, and nothing else.

Each text is ``[PERCENT%] [for=TARGET] FAULTS``, where FAULTS is what `pipsocks.testing.faults.parseFaults` reads.

- Texts without a percentage come in turn, one for each connection; the last one is that of all further connections.
- Neighbours with percentages are one turn: one of them is drawn, and for what is left of 100 % nothing is wrong.
- Texts with ``for=`` are no turns. They make a list of their own for one target (``HOST`` or ``HOST:PORT`` for an
  upstream, ``/PATH`` for an origin), counted by its own requests, and take the place of the connection's fault.
- ``flap`` is the listener's, and no turn either.

An origin's connection may carry several requests; each of them is a turn there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

import attrs

from pipsocks.testing.faults import HEALTHY, TABLE, Fault, FaultUnknown, Stage, parseFaults

Faults = tuple[Fault, ...]

_TEXT: Final = re.compile(
    r"\s*(?:(?P<percent>[0-9.]+)\s*%\s+)?(?:for=(?P<target>\S+)\s+)?(?P<faults>.*?)\s*", re.DOTALL
)
_PERCENT: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[0-9a-z_.-]+)(:[0-9]{1,5})?")
_FORM: Final = "[PERCENT%] [for=TARGET] FAULT[ + FAULT ...], as in: 30% for=index.example:443 reply=1"

NOTHING: Final[Faults] = (HEALTHY,)


@attrs.frozen
class Entry:
    """One text, read. `percent` is None for one that comes in turn, `target` empty for one that is for all."""

    faults: Faults
    percent: float | None = None
    target: str = ""


def parseEntry(text: str, kind: str) -> Entry:
    """
    Read one text for a listener of this kind (see `pipsocks.testing.faults.TABLE`).

    @raise FaultUnknown: it is of another form, or names a fault that such a listener does not have.
    """
    match = _TEXT.fullmatch(text)
    assert match is not None  # every text has faults, if only empty ones
    percent, target = match["percent"], match["target"] or ""
    if percent is not None and (not _PERCENT.fullmatch(percent) or float(percent) > 100):
        raise FaultUnknown(f"{percent[:20]}% is no share", "write 0% to 100%")
    faults = parseFaults(match["faults"])
    for fault in faults:
        row = TABLE[fault.name]
        if kind not in row.kinds:
            raise FaultUnknown(f"{fault.name!r} is no fault of this kind of listener ({kind})", _whose(row.kinds))
        if target and fault.name != "none" and row.stage is not Stage.ASKED:
            what = f"{fault.name!r} strikes before anybody knows where the client wants to go"
            raise FaultUnknown(what, "leave for= away, or take asked-silent, asked-close, asked-reset, reply or status")
        if fault.name == "flap" and percent is not None:
            raise FaultUnknown("'flap' is the listener's, not a connection's", "leave the percentage away")
    if target:
        target = _target(target, kind)
    return Entry(faults, None if percent is None else float(percent), target)


class Plan:
    """
    The turns of one listener, being taken. The same texts and seed give the same turns.

    @ivar closed: nobody is to listen at all: ``refuse`` is the only fault there is.
    @ivar flap: for how many seconds the listener is up, and then down; None for one that stays up.
    """

    def __init__(self, texts: Sequence[str], kind: str, seed: int) -> None:
        """
        Read the texts.

        @raise FaultUnknown: see `parseEntry`, or they do not make a list.
        """
        entries = [parseEntry(text, kind) for text in texts]
        flaps = [entry.faults[0].value for entry in entries if entry.faults[0].name == "flap"]
        if len(flaps) > 1:
            raise FaultUnknown("a listener flaps in one way", "leave one flap away")
        up, _, down = flaps[0].partition("/") if flaps else ("", "", "")
        self.flap = (float(up), float(down)) if flaps else None
        turns = [entry for entry in entries if entry.faults[0].name != "flap" and not entry.target]
        self.closed = [entry.faults[0].name for entry in turns] == ["refuse"] and turns[0].percent is None
        self._turns = _Turns(turns, random.Random(f"{seed}"))
        self._targets: dict[str, _Turns] = {}
        for target in dict.fromkeys(entry.target for entry in entries if entry.target):
            own = [entry for entry in entries if entry.target == target]
            # Chances of its own: what others ask for does not shift them.
            self._targets[target] = _Turns(own, random.Random(f"{seed} {target}"))

    def next(self) -> Faults:
        """The next turn."""
        return self._turns.next()

    def asked(self, *targets: str) -> Faults | None:
        """The next turn of the first of `targets` that has turns of its own."""
        for target in targets:
            if target in self._targets:
                return self._targets[target].next()
        return None


class _Turns:
    """A list of turns, each of which is one entry, or several with percentages."""

    def __init__(self, entries: Sequence[Entry], chance: random.Random) -> None:
        self._chance = chance
        self._steps: list[list[Entry]] = []
        for entry in entries:
            if entry.percent is not None and self._steps and self._steps[-1][-1].percent is not None:
                self._steps[-1].append(entry)
            else:
                self._steps.append([entry])
        for step in self._steps:
            if sum(entry.percent or 0 for entry in step) > 100:
                raise FaultUnknown("the percentages of one turn come to more than 100", "lower them to 100 in all")
        self._at = 0

    def next(self) -> Faults:
        if not self._steps:
            return NOTHING
        step = self._steps[min(self._at, len(self._steps) - 1)]
        self._at += 1
        if step[0].percent is None:
            return step[0].faults
        drawn = self._chance.random() * 100
        for entry in step:
            drawn -= entry.percent or 0
            if drawn < 0:
                return entry.faults
        return NOTHING


def shown(faults: Faults) -> str:
    """A turn as it is written."""
    return " + ".join(map(str, faults))


def _target(text: str, kind: str) -> str:
    if kind == "origin":
        if text.startswith("/"):
            return text
        raise FaultUnknown(f"for={text[:60]} is no path", "write for=/PATH")
    if kind == "echo":
        raise FaultUnknown("an echo is not asked for anything", "leave for= away")
    if not _HOST.fullmatch(text.lower()):
        raise FaultUnknown(f"for={text[:60]} is no destination", "write for=HOST, for=HOST:PORT or for=[IPV6]:PORT")
    return text.lower()


def _whose(kinds: frozenset[str]) -> str:
    return f"it is one of: {', '.join(sorted(kinds))}; the form is {_FORM}"
