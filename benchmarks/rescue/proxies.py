"""The proxies that are put before a pool of exits: pipsocks, and the peers that can be given the same pool."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.peers import freePort, started, written
from benchmarks.rescue.exits import HTTP, KINDS, OTHER, SOCKS, Exit

JOURNAL_SECONDS = 20.0


@attrs.frozen
class Proxy:
    """
    A proxy.

    @ivar exits: what its exits may speak.
    @ivar ports: what its clients may speak: ``socks``, ``http``.
    @ivar find: its program; None where it is not installed.
    @ivar command: its command line, from the program, both ports, the exits, the strategy and a folder.
    @ivar passes: it passes bytes on to an exit, and does not speak its protocol: clients must.
    @ivar checks: it dials exits by itself, to see whether they are alive.
    """

    name: str
    exits: frozenset[str]
    ports: tuple[str, ...]
    find: Callable[[], str | None]
    command: Callable[[str, Mapping[str, int], Sequence[Exit], Mapping[str, Any], Path], list[str]]
    passes: bool = False
    checks: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is pipsocks: peers fail no benchmark."""
        return self.name == "pipsocks"

    def cannot(self, port: str, schemes: Sequence[str]) -> str:
        """Why it cannot have exits that speak `schemes` behind that port; empty where it can."""
        if port not in self.ports:
            return f"has no {port.upper()} port"
        if not set(schemes) <= self.exits:
            return f"speaks no {'SOCKS' if SOCKS not in self.exits else 'HTTP'} to exits"
        if self.passes and set(schemes) != {SOCKS if port == "socks" else HTTP}:
            return "passes bytes on as they are: the client's protocol has to be the exit's"
        return ""

    def able(self, schemes: Sequence[str]) -> list[str]:
        """The ports behind which it can have exits that speak `schemes`."""
        return [port for port in ("socks", "http") if not self.cannot(port, schemes)]

    def combinations(self, all: bool) -> list[tuple[str, str]]:
        """
        Kinds of exits, each with a port: of pipsocks every one, if `all` are wanted; otherwise one port for each kind.

        Where both ports will do, it is the one whose protocol the exits do not speak. Some may be what it cannot do.
        """
        if all and self.ours:
            return [(kind, port) for kind in KINDS for port in ("socks", "http")]
        chosen = []
        for kind, schemes in KINDS.items():
            able = self.able(schemes)
            chosen.append((kind, OTHER[kind] if OTHER[kind] in able or not able else able[0]))
        return chosen

    def one(self, kinds: Mapping[str, Sequence[str]]) -> str:
        """The last of some kinds of exits that it can have."""
        return next(kind for kind in reversed(list(kinds)) if self.able(kinds[kind]))


@attrs.frozen
class Running:
    """A proxy that runs; `ports` are its own, by ``socks`` and ``http``."""

    proxy: Proxy
    ports: Mapping[str, int]
    folder: Path

    def said(self) -> str:
        """All it has printed."""
        return (self.folder / "output").read_text(errors="replace")

    def journal(self) -> list[dict[str, Any]]:
        """The sessions that are over, of pipsocks."""
        path = self.folder / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]


@contextlib.contextmanager
def running(proxy: Proxy, exits: Sequence[Exit], folder: Path, **group: Any) -> Iterator[Running]:
    """
    Start a proxy before a pool of exits.

    @param group: keys of ``[groups.exits]``, which peers follow as far as they can: `strategy` is one of them.
    """
    program = proxy.find()
    assert program is not None, f"{proxy.name} is not there"
    folder.mkdir(parents=True, exist_ok=True)
    ports = {name: freePort() for name in proxy.ports}
    with started(proxy.command(program, ports, exits, group, folder), list(ports.values()), folder):
        yield Running(proxy, ports, folder)


def _pipsocks(
    program: str, ports: Mapping[str, int], exits: Sequence[Exit], group: Mapping[str, Any], folder: Path
) -> list[str]:
    lines = ['journal = "journal"', 'journal_format = "json"']
    for name, port in ports.items():
        lines += ["[[listener]]", f'{name} = "127.0.0.1:{port}"']
    lines += ["[groups.exits]", *(f"{key} = {json.dumps(value)}" for key, value in group.items())]
    lines += [f"chains = {json.dumps([each.url for each in exits])}", "[[route]]", 'to = "exits"']
    return [program, "-m", "pipsocks", "run", "--config", written(folder / "pipsocks.toml", "\n".join([*lines, ""]))]


def _twistd(
    program: str, ports: Mapping[str, int], exits: Sequence[Exit], group: Mapping[str, Any], folder: Path
) -> list[str]:
    *_, config = _pipsocks(program, ports, exits, group, folder)
    return [program, "-c", RUN, "-n", "--pidfile=", "pipsocks", "--config", config]


RUN = "from twisted.scripts.twistd import run; run()"
PIPSOCKS = Proxy("pipsocks", frozenset({SOCKS, HTTP}), ("socks", "http"), lambda: sys.executable, _pipsocks)
TWISTD = attrs.evolve(PIPSOCKS, command=_twistd)
"""The same by ``twistd -n pipsocks``."""
