"""Chromium without a window: what it shows of a page, and how it logs in when somebody types a password."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import attrs

from tests.functional.clients import Fetched, Proxy, run
from tests.functional.origins import Origin
from tests.functional.processes import PASSWORD, PATIENCE, USER, address, cleanEnvironment, requires


def _command(proxy: Proxy, directory: Path, *more: str) -> list[str]:
    requires("chromium")
    scheme = "http" if proxy.kind == "http" else "socks5"
    return [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--ignore-certificate-errors",
        f"--user-data-dir={directory}/profile", f"--proxy-server={scheme}://{address(proxy.host, proxy.port)}",
        "--proxy-bypass-list=<-loopback>", *more,
    ]  # fmt: skip


def chromium(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    """What the page's song is once its script has run, as a digest."""
    fetched = run(_command(proxy, directory, "--timeout=20000", "--dump-dom", origin.url("/page", host)), directory)
    song = re.search(r"<p id=\"song\">([^<]*)</p>", fetched.output)
    return attrs.evolve(fetched, digest=song[1] if song else "")


def chromiumLogin(proxy: Proxy, origin: Origin, host: str, directory: Path) -> Fetched:
    """The same in a browser whose user types a login when the proxy asks for one."""
    with _Browser(_command(proxy, directory, "--remote-debugging-pipe"), directory) as browser:
        song = browser.song(origin.url("/page", host))
    return Fetched(0, "", song)


class _Browser:
    """A browser that is told what to do in its DevTools protocol: JSON that ends with NUL, through two pipes."""

    def __init__(self, command: list[str], directory: Path) -> None:
        orders, self._orders = os.pipe()
        self._reports, reports = os.pipe()
        # It reads from descriptor 3 and writes to 4; dash cannot redirect from numbers of two digits.
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{orders} 4>&{reports}', "bash", *command],
            env=cleanEnvironment({"HOME": str(directory)}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(orders, reports),
        )
        os.close(orders)
        os.close(reports)
        self._held = b""
        self._last = 0

    def __enter__(self) -> _Browser:
        return self

    def __exit__(self, *failure: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._orders)
        os.close(self._reports)

    def song(self, url: str) -> str:
        """Open a page, log in at the proxy where it asks, and tell what stands on it."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Fetch.enable", session, handleAuthRequests=True)
        self._ask("Page.enable", session)
        self._ask("Page.navigate", session, url=url)
        while (message := self._hear()).get("method") != "Page.loadEventFired":
            self._react(message)
        expression = "document.getElementById('song').textContent"
        found = self._ask("Runtime.evaluate", session, expression=expression)
        return str(found["result"].get("value", found))

    def _say(self, method: str, session: str | None, parameters: dict[str, Any]) -> int:
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        return self._last

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = self._say(method, session, parameters)
        while (message := self._hear()).get("id") != number:
            self._react(message)
        return message["result"]

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            data = os.read(self._reports, 65_536)
            if not data:
                raise AssertionError("the browser ended")
            self._held += data
        message, _, self._held = self._held.partition(b"\0")
        heard: dict[str, Any] = json.loads(message)
        return heard

    def _react(self, message: dict[str, Any]) -> None:
        method, session = message.get("method"), message.get("sessionId")
        if method == "Fetch.requestPaused":
            self._say("Fetch.continueRequest", session, {"requestId": message["params"]["requestId"]})
        elif method == "Fetch.authRequired":
            answer = {"response": "ProvideCredentials", "username": USER, "password": PASSWORD}
            self._say(
                "Fetch.continueWithAuth",
                session,
                {"requestId": message["params"]["requestId"], "authChallengeResponse": answer},
            )
