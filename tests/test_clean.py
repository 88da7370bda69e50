"""The tree names nothing of the machine that it was made on, and no registry's host."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
# Put together from pieces, or this file would name them too.
HOSTS = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "deb.debian" + ".org", "archive.ubuntu" + ".com"]
PATHS = ["/wor" + "k/", "/tmp" + "/dev", "/roo" + "t/"]
PIP_FILES = [Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser(), Path("~/.pip/pip.conf").expanduser()]


def trackedFiles() -> list[Path]:
    """List what git keeps or would keep; in an sdist, everything."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode == 0 and (ROOT / ".git").exists():
        paths = [ROOT / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    else:
        paths = [
            path for part in ("pipsocks", "twisted", "tests", "docs", "contrib") for path in (ROOT / part).rglob("*")
        ]
    return [path for path in paths if path.is_file() and path.suffix != ".pyc"]


def configuredHosts() -> list[str]:
    """Name the index hosts that this machine is set up with, so that they do not slip in either."""
    texts = [value for key, value in os.environ.items() if "INDEX" in key]
    texts += [path.read_text(errors="replace") for path in PIP_FILES if path.exists() and os.access(path, os.R_OK)]
    hosts = {host for text in texts for host in re.findall(r"https?://(?:[^/\s@]*@)?([\w.-]+)", text)}
    return sorted(host for host in hosts if host not in ("localhost", "127.0.0.1", "index.example"))


class CleanTests(SynchronousTestCase):
    """You can clone this anywhere, and publish it."""

    def test_noMachineAndNoRegistry(self) -> None:
        """No tracked file names a path of a developer's machine or the host of a package registry."""
        words = re.compile("|".join(re.escape(word) for word in HOSTS + PATHS + configuredHosts()))
        found = []
        for path in trackedFiles():
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if words.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
        self.assertEqual(found, [])
