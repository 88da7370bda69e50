"""Scenario 1: four exits of which one is dead, one silent, one resets after success, one is healthy; pip and uv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from benchmarks.peers import besidePython
from benchmarks.rescue.certificates import certificates
from benchmarks.rescue.exits import KINDS, pool
from benchmarks.rescue.figures import Figure, Ground, Job, missing, sideBySide
from benchmarks.rescue.index import FILES, INDEX, indexed, names
from benchmarks.rescue.proxies import TWISTD, Proxy, running

TITLE = "One exit is dead, one silent, one resets after success, one is healthy: pip and uv install wheels"
AT_ONCE = 4
PATIENCE = 45.0
"""Seconds that an installation may take: with peers, some go on for minutes."""

RETRY = re.compile(r"retr(y|ies|ying)", re.IGNORECASE)

ORDERS: Sequence[tuple[str, Sequence[Sequence[str]]]] = (
    ("dead, silent, resetting, healthy", (["refuse"], ["silent"], ["then-reset"], [])),
    ("resetting, dead, silent, healthy", (["flight-reset"], ["refuse"], ["silent"], [])),
    ("silent, healthy, resetting, dead", (["silent"], [], ["then-reset"], ["refuse"])),
)


@attrs.frozen
class Run:
    """One installation: `client` is ``pip`` or ``uv``, `protocol` that of the proxy's port, `scheme` the index's."""

    client: str
    protocol: str
    scheme: str
    kind: str
    order: int

    def __str__(self) -> str:
        return f"{self.client} by {self.protocol.upper()}, {self.scheme} index, {self.kind}, {ORDERS[self.order][0]}"


def runs(all: bool) -> list[Run]:
    """All of them; or a few, in which each client, port, index, kind and order has its turn."""
    every = [
        Run(client, protocol, scheme, kind, order)
        for order in range(len(ORDERS))
        for kind in KINDS
        if order < 2 or kind == "mixed exits"
        for scheme in ("https", "http")
        for client in ("pip", "uv")
        for protocol in ("socks", "http")
    ]
    if all:
        return every
    kinds = list(KINDS)
    return [
        Run("pip", "http", "https", kinds[2], 0), Run("pip", "socks", "https", kinds[0], 1),
        Run("pip", "http", "http", kinds[1], 0), Run("pip", "socks", "http", kinds[2], 2),
        Run("uv", "http", "https", kinds[1], 1), Run("uv", "socks", "http", kinds[0], 0),
    ]  # fmt: skip


def run(proxy: Proxy, ground: Ground) -> Iterator[Figure]:
    """Each installation is the first that its proxy and its exits see."""
    files = certificates(ground.under("certificates"), INDEX, FILES)
    with indexed(files.server) as index:

        def job(each: Run) -> Job:
            return lambda: [_figure(proxy, ground, each, index.hosts, files.authority)]

        yield from sideBySide(map(job, runs(ground.size.all and proxy.ours)), AT_ONCE)


def _figure(proxy: Proxy, ground: Ground, each: Run, hosts: dict[str, int], authority: Path) -> Figure:
    what = f"{ground.size.wheels} wheels, {each}"
    if reason := proxy.cannot(each.protocol, KINDS[each.kind]):
        return missing(what, reason)
    if each.client == "uv" and besidePython("uv")() is None:
        return missing(what, "uv is not installed")
    if each.client == "pip" and each.protocol == "socks" and not hasPySocks(ground.python):
        return missing(what, "PySocks is not installed")
    folder, faults = ground.under(str(each)), ORDERS[each.order][1]
    if proxy.ours and each.order == 1:
        proxy = TWISTD
    with (
        pool(folder / "pool", KINDS[each.kind], faults, ground.seed, hosts) as exits,
        # Without a replay, a client that tries again gets on only where its next connection takes another exit.
        running(proxy, exits.exits, folder / "proxy", strategy="order" if proxy.ours else "round-robin") as it,
    ):
        verdict = install(each, it.ports[each.protocol], ground, folder / "client", authority)
    # pip repeats a request that is answered 503, and says no word of it.
    refused = [str(session["reason"]) for session in it.journal() if session.get("reason")]
    if refused:
        verdict = f"{verdict or 'installed'}, after {len(refused)} refusals: {refused[0]}"
    return Figure(what, "exit 0, no retry", verdict or "installed", not verdict)


def hasPySocks(python: str) -> bool:
    """Whether that Python's pip speaks SOCKS."""
    return subprocess.run([python, "-c", "import socks"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def install(each: Run, port: int, ground: Ground, folder: Path, authority: Path) -> str:
    """Install, and say what was wrong with it; empty for nothing."""
    count = ground.size.wheels
    folder.mkdir(parents=True)
    scheme = "http" if each.protocol == "http" else "socks5h"
    make = _pip if each.client == "pip" else _uv
    command, more = make(
        f"{scheme}://127.0.0.1:{port}", f"{each.scheme}://{INDEX}/simple/", folder, authority, ground.python
    )
    # Nothing of this machine's configuration, which may name other proxies and indexes.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C.UTF-8", **more}
    try:
        result = subprocess.run(
            [*command, *names(count)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        (folder / "output").write_bytes(error.output or b"")
        return f"not done after {PATIENCE:g} s"
    (folder / "output").write_bytes(result.stdout)
    output = result.stdout.decode(errors="replace")
    wrong = [] if result.returncode == 0 else [f"exit {result.returncode}"]
    if lines := [line for line in output.splitlines() if RETRY.search(line)]:
        wrong.append(f"{len(lines)} lines speak of a retry")
    if lost := [name for name in names(count) if not (folder / "site" / f"{name}.bin").exists()]:
        wrong.append(f"{len(lost)} of {count} are not there")
    shutil.rmtree(folder / "site", ignore_errors=True)
    return ", ".join(wrong)


def _pip(proxy: str, index: str, folder: Path, authority: Path, python: str) -> tuple[list[str], dict[str, str]]:
    trust = (
        ["--cert", str(authority)] if index.startswith("https") else ["--trusted-host", INDEX, "--trusted-host", FILES]
    )
    command = [
        python, "-m", "pip", "--isolated", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
        "--proxy", proxy, *trust, "install", "--no-compile", "--target", str(folder / "site"), "--index-url", index,
    ]  # fmt: skip
    return command, {"PIP_CONFIG_FILE": os.devnull}


def _uv(proxy: str, index: str, folder: Path, authority: Path, python: str) -> tuple[list[str], dict[str, str]]:
    uv = besidePython("uv")()
    assert uv is not None
    # In its log uv says whether it tried again; without it, it keeps that to itself.
    command = [
        uv, "pip", "install", "--verbose", "--no-config", "--no-cache", "--python", python,
        "--target", str(folder / "site"), "--default-index", index,
    ]  # fmt: skip
    return command, {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "ALL_PROXY": proxy, "SSL_CERT_FILE": str(authority)}
