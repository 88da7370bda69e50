"""A reactor's thread pool whose threads run when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.python.failure import Failure


class Threads:
    """Stands for the reactor and for its pool; `jobs` are those that a thread was asked for and that did not run."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.asked = 0

    def getThreadPool(self) -> Threads:
        return self

    def callFromThread(self, function: Callable[..., Any], *args: Any) -> None:
        function(*args)

    def callInThreadWithCallback(self, onResult: Callable[[bool, Any], None], function: Callable[..., Any]) -> None:
        def job() -> None:
            try:
                result = function()
            except Exception:
                onResult(False, Failure())
            else:
                onResult(True, result)

        self.asked += 1
        self.jobs.append(job)

    def run(self) -> None:
        """Let all threads run until none is asked for."""
        while self.jobs:
            self.jobs.pop(0)()
