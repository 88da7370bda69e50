"""What stands in docs/faults.rst happens."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from tests.functional.case import FunctionalTestCase
from tests.functional.processes import PATIENCE, ROOT, Child, Pipsocks, cleanEnvironment, requires, unusedPort

PAGE = (Path(ROOT) / "docs" / "faults.rst").read_text()


def blocks(mark: str) -> list[str]:
    """The blocks behind a mark."""
    return [textwrap.dedent(block) for block in re.findall(rf"{mark}\n\n((?:   +.*\n|\n)+)", PAGE)]


class PageTests(FunctionalTestCase):
    """Each command and program of the page, at ports that are free."""

    def test_howTo(self) -> None:
        """Six downloads come whole in spite of the faults, and the journal has what the page shows."""
        requires("curl")
        [file] = blocks(r"\.\. code-block:: toml")
        faults, run, loop, shown, *_ = (block for block in blocks("::") if block not in file)
        ports = {port: str(unusedPort()) for port in ("4001", "4002", "4003")}

        def moved(text: str) -> str:
            for port, free in ports.items():
                text = text.replace(port, free)
            return text

        directory = Path(tempfile.mkdtemp(prefix="pipsocks-"))
        self.addCleanup(shutil.rmtree, directory, True)
        (directory / "faults.toml").write_text(moved(file))
        words = shlex.split(faults)
        self.assertEqual(words[0], "twistd")
        start = "from twisted.scripts.twistd import run; run()"
        child = self.keep(
            Child(
                [sys.executable, "-c", start, "--pidfile=", *words[1:]],
                environment={"PYTHONPATH": str(ROOT)},
                directory=directory,
                strict=True,
            )
        )
        child.expect("^index: ")
        options = shlex.split(moved(run))
        self.assertEqual(options[:2], ["pipsocks", "run"])
        pipsocks = self.keep(Pipsocks(*options[2:]))
        proxy = f"127.0.0.1:{pipsocks.http()}"
        done = subprocess.run(
            ["sh", "-c", moved(loop).replace("127.0.0.1:3128", proxy)],
            env=cleanEnvironment(), capture_output=True, text=True, check=True, timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.stdout, "200 1000000\n" * 6)
        outcomes = [[each["outcome"] for each in entry["attempts"]] for entry in pipsocks.journal(6)]
        self.assertEqual(outcomes[0], re.findall(r"\d (\w+) [\d.]+ms", shown))

    def run_(self, *arguments: str) -> str:
        """What a program prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**cleanEnvironment(), "PYTHONPATH": str(ROOT)}, cwd=self.directory(), capture_output=True, text=True,
            check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_process(self) -> None:
        """The program without Twisted."""
        program, _ = blocks(r"\.\. code-block:: python")
        self.assertEqual(self.run_("-c", program), "503 0\n200 5000\n['/parrot/5000', '/parrot/5000']\n")

    def test_trial(self) -> None:
        """The test with Twisted passes."""
        _, program = blocks(r"\.\. code-block:: python")
        file = self.directory() / "test_policy.py"
        file.write_text(program)
        self.assertIn("PASSED (successes=1)", self.run_("-m", "twisted.trial", str(file)))
