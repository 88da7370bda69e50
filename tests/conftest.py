"""What pytest adds to trial's test cases: the closing tally, and no silent skips in CI."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
from twisted.trial.unittest import SynchronousTestCase

# In .ci/run, as root, every package that a test wants can be had; so a test that misses one has not been prepared.
MUST_HAVE = bool(os.environ.get("CI_PIPSOCKS")) and os.geteuid() == 0


def reasonOf(report: pytest.TestReport) -> str:
    """Tell why a test was skipped."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")


@pytest.fixture(scope="session", autouse=True)
def _mktempElsewhere(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """Let trial's mktemp() name paths in pytest's directory: by itself it makes them where pytest was started."""

    def mktemp(case: SynchronousTestCase) -> str:
        return str(tmp_path_factory.mktemp(case.id().rpartition(".")[2][:24]) / "temp")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SynchronousTestCase, "mktemp", mktemp)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped for a missing package where CI could have installed it."""
    report = yield
    if MUST_HAVE and report.skipped and "not installed" in reasonOf(report):
        report.longrepr = f"skipped in CI, where it must run: {reasonOf(report)}"
        report.outcome = "failed"
    return report


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Close with the skips and their reasons, and the tally alone on a line."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    stats = reporter.stats
    skipped = [report for report in stats.get("skipped", []) if isinstance(report, pytest.TestReport)]
    for report in skipped:
        reporter.write_line(f"skipped {report.nodeid}: {reasonOf(report)}")
    passed = len(stats.get("passed", []))
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    reporter.write_line(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
