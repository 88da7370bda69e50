"""
``python -m tests.fuzz --minutes 10``: run every Hypothesis property of the suite for as long as you like.

Rounds follow each other, each with a new seed and many more examples than the suite has time for, until the time is
over or a property fails. What failed is printed with its seed, and kept in ``.hypothesis``, so that the suite fails by
it too until it is mended; write it into the tests as a vector before you mend it.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parent.parent
EXAMPLES = 2_000
"""Of each property in a round: about two minutes of them all."""

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck)
)


def modules() -> list[str]:
    """The test modules that have properties."""
    found = sorted((ROOT / "tests").glob("*/test_*.py")) + sorted((ROOT / "tests").glob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in found if "from hypothesis import" in path.read_text("utf-8")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run rounds; the exit status is that of the one that failed, or 0."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Run the Hypothesis properties on and on."
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="begin no round after that (10)")
    parser.add_argument("--seed", type=int, help="one round with this seed, as a failure printed it")
    parser.add_argument("tests", nargs="*", default=modules(), help="test modules, or tests (those with properties)")
    options = parser.parse_args(arguments)
    end = time.monotonic() + options.minutes * 60
    while True:
        seed = random.randrange(1 << 32) if options.seed is None else options.seed
        print(f"seed {seed}", flush=True)
        # In a process of its own: pytest is made to be run once in each.
        command = [sys.executable, "-m", "pytest", "-p", "tests.fuzz", "-p", "no:cacheprovider", "-m", "hypothesis"]
        command += ["-x", "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}", *options.tests]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status or options.seed is not None or time.monotonic() > end:
            return status


if __name__ == "__main__":
    sys.exit(main())
