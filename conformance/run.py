"""Puts every behaviour to one proxy after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import attrs

from conformance.behaviour import FAIL, HASTY, LOGIN, NOT_APPLICABLE, PROTOCOLS, Address, Behaviour, Verdict
from conformance.peers import Peer, Running, running

AT_ONCE: Final = 4
"""How many questions a proxy is asked at the same time. What it fails then it is asked once more, by itself."""


@attrs.frozen
class Column:
    """What one proxy did: its version, when it was asked, and a verdict for each behaviour's id."""

    name: str
    version: str
    date: str
    verdicts: dict[str, Verdict]

    def asJSON(self) -> dict[str, Any]:
        """For the file."""
        return attrs.asdict(self)

    @classmethod
    def fromJSON(cls, read: dict[str, Any]) -> Column:
        """From the file."""
        verdicts = {name: Verdict(**verdict) for name, verdict in read["verdicts"].items()}
        return cls(read["name"], read["version"], read["date"], verdicts)


def judgeAll(
    behaviours: Iterable[Behaviour], address: Callable[[str], Address], atOnce: int = AT_ONCE
) -> dict[str, Verdict]:
    """Several questions at a time to a proxy that runs; a verdict for each behaviour's id."""
    asked = list(behaviours)
    with ThreadPoolExecutor(atOnce) as pool:
        verdicts = pool.map(lambda each: each.judge(address(each.protocol)), asked)
        return {each.id: verdict for each, verdict in zip(asked, verdicts, strict=True)}


def examine(peer: Peer, behaviours: Iterable[Behaviour], say: Callable[[str], None]) -> Column:
    """Everything that can be asked of `peer`; what does not apply to it is said so."""
    program = peer.find()
    assert program is not None, f"{peer.name} is not there"
    verdicts: dict[str, Verdict] = {}
    byVariant: dict[str, list[Behaviour]] = {}
    for behaviour in behaviours:
        if behaviour.protocol not in peer.protocols:
            verdicts[behaviour.id] = Verdict(NOT_APPLICABLE, f"it does not speak {PROTOCOLS[behaviour.protocol]}")
        elif behaviour.variant in peer.without and behaviour.variant != HASTY:
            verdicts[behaviour.id] = Verdict(NOT_APPLICABLE, peer.without[behaviour.variant])
        else:
            byVariant.setdefault(behaviour.variant, []).append(behaviour)
    for variant, asked in byVariant.items():
        say(f"{peer.name}, {variant}: {len(asked)} questions")
        verdicts |= _ask(peer, variant, asked)
    for name, verdict in verdicts.items():
        if verdict.outcome == FAIL and name.partition("-")[2].startswith("handshake-") and HASTY in peer.without:
            verdicts[name] = Verdict(FAIL, f"{verdict.observed}; {peer.without[HASTY]}")
    return Column(peer.name, peer.version(program), time.strftime("%Y-%m-%d"), verdicts)


def _ask(peer: Peer, variant: str, asked: list[Behaviour]) -> dict[str, Verdict]:
    with running(peer, variant) as proxy:
        verdicts = judgeAll(asked, proxy.address)
    again = [each for each in asked if verdicts[each.id].outcome == FAIL]
    while again:
        with running(peer, variant) as proxy:
            again = _askAgain(proxy, again, verdicts)
    return verdicts


def _askAgain(proxy: Running, again: list[Behaviour], verdicts: dict[str, Verdict]) -> list[Behaviour]:
    """
    Each once more by itself; those that are left for a fresh process.

    That is when the proxy has died of a question, and behind each one about a login, since some remember logins.
    """
    for number, behaviour in enumerate(again):
        verdict = behaviour.judge(proxy.address(behaviour.protocol))
        if not proxy.alive:
            verdict = Verdict(FAIL, f"{verdict.observed}; the proxy ended")
        verdicts[behaviour.id] = verdict
        if not proxy.alive or behaviour.variant == LOGIN:
            return again[number + 1 :]
    return []
