"""Exits and origins that fail as they are told, in a process of their own, and what happened at them."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from benchmarks.peers import started

SOCKS, HTTP = "socks5h", "http"
START_SECONDS = 30.0
_SAID = re.compile(r"^(\S+): \w+(?:, TLS)? on 127\.0\.0\.1:(\d+):", re.MULTILINE)

KINDS: Mapping[str, Sequence[str]] = {
    "SOCKS exits": (SOCKS, SOCKS, SOCKS, SOCKS),
    "HTTP exits": (HTTP, HTTP, HTTP, HTTP),
    "mixed exits": (SOCKS, HTTP, HTTP, SOCKS),
}
"""What the exits of a pool speak, as far as the proxy knows."""


OTHER: Mapping[str, str] = {"SOCKS exits": "http", "HTTP exits": "socks", "mixed exits": "http"}
"""The port to take where one is enough: the one whose protocol the exits do not speak."""


@attrs.frozen
class Listener:
    """One of ``twistd pipsocks-faults``, with the keys of docs/faults.rst; `kind` is the first word of its table."""

    name: str
    kind: str
    faults: Sequence[str] = ()
    hosts: Mapping[str, str] = attrs.field(factory=dict)
    seed: int = 0
    more: Mapping[str, int | str] = attrs.field(factory=dict)

    def toml(self) -> str:
        """It, as the file has it."""
        lines = [f"[{self.kind}.{self.name}]", f"seed = {self.seed}", f"faults = {json.dumps(list(self.faults))}"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in self.more.items()]
        if self.hosts:
            lines += [f"[{self.kind}.{self.name}.hosts]"]
            lines += [f"{json.dumps(name)} = {json.dumps(there)}" for name, there in self.hosts.items()]
        return "\n".join([*lines, ""])


@attrs.frozen
class Running:
    """Listeners that run; `ports` are theirs, by name."""

    ports: Mapping[str, int]
    log: Path

    def events(self, *names: str) -> list[dict[str, Any]]:
        """What has happened so far, of those names."""
        # A line that is still being written has no end yet.
        lines = (line for line in self.log.read_text().splitlines() if line.endswith("}"))
        return [event for event in map(json.loads, lines) if event["event"] in names]

    def dials(self) -> int:
        """Connections that were accepted so far, at all of them."""
        return len(self.events("accepted"))


@contextlib.contextmanager
def listening(folder: Path, listeners: Sequence[Listener]) -> Iterator[Running]:
    """Start all of `listeners` in one process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.toml").write_text('log = "events"\n' + "\n".join(each.toml() for each in listeners))
    (folder / "events").touch()
    code = "from twisted.scripts.twistd import run; run()"
    command = [sys.executable, "-c", code, "-n", "--pidfile=", "pipsocks-faults", "--config", "faults.toml"]
    with started(command, (), folder) as process:
        end = time.monotonic() + START_SECONDS
        while len(found := _SAID.findall((folder / "output").read_text())) < len(listeners):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the faulty listeners do not start: {(folder / 'output').read_text()[-2000:]}")
            time.sleep(0.02)
        yield Running({name: int(port) for name, port in found}, folder / "events")


@attrs.frozen
class Exit:
    """One way out, as a proxy is told of it: `scheme` is `SOCKS` or `HTTP`."""

    scheme: str
    port: int

    @property
    def url(self) -> str:
        """It, as a chain of one hop."""
        return f"{self.scheme}://127.0.0.1:{self.port}"


@attrs.frozen
class Pool:
    """Several ways out, and what runs there."""

    exits: Sequence[Exit]
    running: Running


@contextlib.contextmanager
def pool(
    folder: Path,
    schemes: Sequence[str],
    faults: Sequence[Sequence[str]],
    seed: int,
    hosts: Mapping[str, int] | None = None,
) -> Iterator[Pool]:
    """
    Exits that speak `schemes`, each with its faults and with chances of its own.

    @param hosts: where destinations are really to be found: ``HOST:PORT`` to a loopback port.
    """
    there = {name: f"127.0.0.1:{port}" for name, port in (hosts or {}).items()}
    names = [f"exit{number}" for number in range(len(schemes))]
    listeners = [
        Listener(name, "upstream", faults[number], there, seed * 100 + number) for number, name in enumerate(names)
    ]
    with listening(folder, listeners) as running:
        yield Pool([Exit(scheme, running.ports[name]) for scheme, name in zip(schemes, names, strict=True)], running)
