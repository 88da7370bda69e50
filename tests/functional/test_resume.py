"""Downloads that are cut on their way, as real clients see them: whole, or failed, never wrong."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import socket
import zipfile
from typing import Any

from pipsocks.testing import Content, Process
from tests.functional.case import FunctionalTestCase
from tests.functional.clients import Fetched, digested, environment, run
from tests.functional.origins import noise
from tests.functional.processes import Pipsocks, requires
from tests.functional.talk import readExactly

SIZE = 5_000_000
EVERY = 500_000


class ResumeCase(FunctionalTestCase):
    """An origin in a process of its own."""

    def origin(self, *faults: str, kind: str = "origin") -> Process:
        """Faults for each of its requests in turn."""
        process = Process(*faults, kind=kind)
        process.__enter__()
        self.addCleanup(process.__exit__, None, None, None)
        return process

    def curl(self, pipsocks: Pipsocks, url: str) -> Fetched:
        """What curl, which does not resume by itself, makes of `url`."""
        requires("curl")
        directory = self.directory()
        command = [
            "curl", "--disable", "--silent", "--show-error", "--fail", "--noproxy", "",
            "--proxy", f"http://127.0.0.1:{pipsocks.http()}", "--output", "file", url,
        ]  # fmt: skip
        return digested(run(command, directory), directory / "file")


class CurlTests(ResumeCase):
    """``curl --fail`` through the HTTP port."""

    def whole(self, pipsocks: Pipsocks, *faults: str) -> dict[str, Any]:
        """Fetch a file that is cut every 500 kB; the journal's line."""
        origin = self.origin(*faults)
        path = f"/parrot/{SIZE}"
        fetched = self.curl(pipsocks, f"http://{origin.address}{path}")
        self.assertEqual((fetched.status, fetched.digest), (0, Content(f"0 {path} 0", SIZE).digest), fetched.output)
        for event in origin.events("request")[1:]:
            self.assertRegex(event["range"], r"bytes=[0-9]+-$")
            self.assertTrue(event["ifRange"])
        return pipsocks.session(destination=origin.address)

    def test_direct(self) -> None:
        """Cut by FIN and by RST, with a length and in chunks, by ETag and by date: the file is whole."""
        pipsocks = self.pipsocks()
        for fault in ("reset-after={}", "close-after={}", "reset-after={} + chunked", "close-after={} + last-modified"):
            line = self.whole(pipsocks, fault.format(EVERY))
            self.assertEqual(line["outcome"], "ok")
            self.assertIn(line["resumes"], (9, 10))

    def test_hops(self) -> None:
        """The same through a SOCKS and an HTTP hop."""
        for scheme in ("socks5h", "http"):
            hop = self.origin(kind="upstream")
            line = self.whole(self.pipsocks(upstreams=(f"{scheme}://{hop.address}",)), f"reset-after={EVERY}")
            self.assertIn(line["resumes"], (9, 10))

    def test_dyingHop(self) -> None:
        """A download whose hop dies for good goes on over the other one."""
        first, second = self.origin("reset-after=1000000", "refuse", kind="upstream"), self.origin(kind="upstream")
        upstreams = (f"socks5h://{first.address}", f"socks5h://{second.address}")
        line = self.whole(self.pipsocks(upstreams=upstreams), "none")
        self.assertEqual([attempt["chain"] for attempt in line["attempts"]][-1], second.address)
        self.assertEqual(line["resumes"], 1)

    def test_never(self) -> None:
        """Where it could be another file by now curl fails, and so does it with resume switched off."""
        cut = f"reset-after={EVERY}"
        for options, faults in (
            ((), (f"weak-etag + {cut}",)),
            ((), (f"no-etag + {cut}",)),
            ((), (f"new-etag + {cut}",)),
            ((), (cut, "no-range")),
            ((), (cut, "wrong-range")),
            ((), (cut, "status=404 Gone")),
            (("--no-retry-resume",), (cut, "none")),
        ):
            pipsocks = self.pipsocks(*options)
            origin = self.origin(*faults)
            fetched = self.curl(pipsocks, f"http://{origin.address}/parrot/{SIZE}")
            self.assertNotEqual(fetched.status, 0, faults)
            self.assertEqual(pipsocks.session(destination=origin.address)["outcome"], "cut", faults)


class PipTests(ResumeCase):
    """A pip that does not resume by itself."""

    def test_pip(self) -> None:
        """It installs a wheel that is cut again and again."""
        wheel = bigWheel()
        tag = hashlib.sha256(wheel).hexdigest()
        ranges: list[int] = []

        def serve(connection: socket.socket) -> None:
            asked = ""
            while not asked.endswith("\r\n\r\n"):
                asked += readExactly(connection, 1).decode()
            found = re.search(rf'\r\nRange: bytes=([0-9]+)-\r\nIf-Range: "{tag}"\r\n', asked)
            first = int(found[1]) if found else 0
            ranges.append(first)
            head = [
                "HTTP/1.1 206 Partial Content" if first else "HTTP/1.1 200 OK", f'ETag: "{tag}"',
                f"Content-Length: {len(wheel) - first}", "Content-Type: application/octet-stream",
            ]  # fmt: skip
            if first:
                head.append(f"Content-Range: bytes {first}-{len(wheel) - 1}/{len(wheel)}")
            connection.sendall("\r\n".join([*head, "", ""]).encode() + wheel[first : first + EVERY])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)

        origin = self.peer(serve)
        pipsocks = self.pipsocks()
        directory = self.directory()
        command = [
            environment("pip23") / "bin/python", "-m", "pip", "--proxy", f"http://127.0.0.1:{pipsocks.http()}",
            "install", "--no-deps", "--target", directory / "site",
            f"http://{origin.address}/parrot-1.0-py3-none-any.whl",
        ]  # fmt: skip
        fetched = run(command, directory)
        self.assertEqual(fetched.status, 0, fetched.output)
        self.assertEqual((directory / "site/parrot/noise").read_bytes(), noise(2_000_000))
        self.assertEqual(pipsocks.session(protocol="http")["resumes"], len(ranges) - 1)
        self.assertGreaterEqual(len(ranges), 4)


def bigWheel() -> bytes:
    """A wheel of two megabytes."""
    info = "parrot-1.0.dist-info"
    files = {
        "parrot/__init__.py": b"SONG = 'parrot'\n",
        "parrot/noise": noise(2_000_000),
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: parrot\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(data)}\n")
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in {**files, f"{info}/RECORD": "".join([*lines, f"{info}/RECORD,,\n"]).encode()}.items():
            archive.writestr(path, data)
    return target.getvalue()
