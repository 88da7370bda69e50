"""A faulty listener as a process of its own, for tests that have no reactor."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from types import TracebackType
from typing import Any

PATIENCE = 30.0
"""Seconds in which a process has to start, and to end."""


class Process:
    """
    ``python -m pipsocks.testing``, from its start to the end of a ``with``::

        with Process("30% reset", "10% reply=1", seed=7) as hop:
            pipsocks = start("--upstream", f"socks5h://{hop.address}")
            ...
            assert hop.events("request")[0]["host"] == "index.example"

    @param faults: see `pipsocks.testing.plan`.
    @param kind: ``upstream``, ``origin`` or ``echo``.
    @param options: further options of the command.
    @ivar port: where it listens; `address` is that as it stands in a URL.
    """

    def __init__(
        self,
        *faults: str,
        kind: str = "upstream",
        seed: int = 0,
        host: str = "127.0.0.1",
        options: tuple[str, ...] = (),
    ) -> None:
        self.host = host
        self.port = 0
        named = f"[{host}]" if ":" in host else host
        words = [word for fault in faults for word in ("--fault", fault)]
        self._arguments = ["--kind", kind, "--seed", str(seed), "--listen", f"{named}:0", *words, *options]
        self._named = named
        self._lines: deque[str] = deque(maxlen=100_000)
        self._grown = threading.Condition()
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """``HOST:PORT``, where it listens."""
        return f"{self._named}:{self.port}"

    def __enter__(self) -> Process:
        command = [sys.executable, "-m", "pipsocks.testing", *self._arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            first = self._process.stdout.readline()
            if not first.strip().isdecimal():
                words = f"{command} does not listen within {PATIENCE:g} s; its own words are on standard error"
                raise RuntimeError(words)
        except BaseException:  # an interrupt too: nobody else ends the process then
            self.__exit__(None, None, None)
            raise
        finally:
            late.cancel()
        self.port = int(first)
        self._reader = threading.Thread(target=self._collect, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self.port:
            self._reader.join(PATIENCE)
        process.stdout.close()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """What has happened there so far: everything, or the events of that name."""
        with self._grown:
            events = [json.loads(line) for line in self._lines]
        return [event for event in events if not name or event["event"] == name]

    def until(self, name: str, count: int = 1, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """
        The events of that name, once there are at least `count`.

        @raise TimeoutError: there are fewer of them after `seconds`.
        """
        with self._grown:
            if not self._grown.wait_for(lambda: len(self.events(name)) >= count, seconds):
                raise TimeoutError(f"fewer than {count} events called {name}: {self.events()}")
            return self.events(name)

    def _collect(self, stream: Any) -> None:
        for line in stream:
            with self._grown:
                self._lines.append(line)
                self._grown.notify_all()
