"""
What an installed pipsocks is: from a wheel, an sdist, ``-e`` and strict ``-e``, by pip and by uv, Twisted finds it.

Every environment is made anew. Its dependencies come from uv's cache, so that one takes a second or two; then the tool
under test installs pipsocks itself, which fails where the metadata asks for something else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import pipsocks

ROOT = Path(__file__).parent.parent.parent
VERSIONS = ("3.11", "3.12", "3.13")
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
NOT_OURS = shutil.ignore_patterns(
    ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist", "_trial_temp*",
    "dropin.cache", ".coverage*", "_build",
)  # fmt: skip


def clean() -> dict[str, str]:
    """Leave out what would change an installation or drag this environment's modules into another."""
    dropped = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_REQUIRE_VIRTUALENV", "PIP_USER", "PIP_TARGET"}
    return {key: value for key, value in os.environ.items() if key not in dropped and not key.startswith("COVERAGE_")}


def call(*command: str | Path, cwd: Path | str = "/", check: bool = True, **extra: str) -> str:
    """Run a command, stdin closed, and return what it printed, which is also the error where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, env={**clean(), **extra}, stdin=subprocess.DEVNULL, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


@cache
def uv() -> str:
    """Find uv: the one beside this Python, else the one on the path."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise SkipTest("uv is not installed")
    return found


@cache
def pythons() -> dict[str, str]:
    """Map each supported version that is on this machine to its interpreter."""
    found = {RUNNING: sys.executable}
    for version in VERSIONS:
        if version != RUNNING:
            path = call(uv(), "python", "find", "--no-project", "--no-python-downloads", version, check=False).strip()
            last = path.splitlines()[-1] if path else ""
            if Path(last).is_absolute() and Path(last).exists():
                found[version] = last
    return found


class Workshop:
    """The module's one directory: the tree's copy, a wheel, an sdist, and setuptools for builds without index."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="pipsocks-packaging-"))
        self.tree = self.copy("tree")
        self.wheelhouse = self.path / "wheelhouse"
        dist = self.path / "dist"
        call(uv(), "build", "--python", sys.executable, "--out-dir", dist, self.tree)
        self.sdist = next(dist.glob("*.tar.gz"))
        self.wheel = next(dist.glob("*.whl"))
        builder = self.environment("builder", sys.executable)
        call(builder / "bin" / "python", "-m", "pip", "download", "-q", "-d", self.wheelhouse, "setuptools", "wheel")

    def copy(self, name: str) -> Path:
        """Copy the repository, so that no build writes into it."""
        shutil.copytree(ROOT, self.path / name, ignore=NOT_OURS, symlinks=True)
        return self.path / name

    def environment(self, name: str, python: str) -> Path:
        """Make an environment with pip and everything that pipsocks needs, but not pipsocks."""
        path = self.path / name
        call(uv(), "venv", "-q", "--no-project", "--python", python, path)
        needs = path / "needs.txt"
        needs.write_text("pip\n" + "".join(f"{need}\n" for need in dependencies()))
        call(uv(), "pip", "install", "-q", "--python", path / "bin" / "python", "-r", needs)
        return path

    def install(self, environment: Path, tool: str, *what: str | Path) -> None:
        """Install into the environment by pip, whose builds take setuptools from the wheelhouse, or by uv."""
        python = environment / "bin" / "python"
        if tool == "pip":
            offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheelhouse), "PIP_NO_CACHE_DIR": "1"}
            call(python, "-m", "pip", "install", "-q", *what, **offline)
        else:
            call(uv(), "pip", "install", "-q", "--python", python, *what)


def dependencies() -> list[str]:
    """Read what pipsocks asks for from the one place where it says so."""
    needs: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return needs


@cache
def workshop() -> Workshop:
    """Make the workshop at the first test that needs it."""
    return Workshop()


def tearDownModule() -> None:
    """Take the workshop away."""
    if workshop.cache_info().currsize:
        shutil.rmtree(workshop().path, ignore_errors=True)
        workshop.cache_clear()


class PackagingTests(SynchronousTestCase):
    """However you install it, ``twistd pipsocks`` is there, in whatever directory you are."""

    def checkInstalled(self, environment: Path, tree: Path | None = None) -> None:
        """The plugin is listed from everywhere, the command and the module tell the version, nothing is missing."""
        bin = environment / "bin"
        empty = environment / "empty"
        empty.mkdir()
        started = []
        for where in (empty, tree or ROOT):
            for command in ("twistd", "twist"):
                process = subprocess.Popen(
                    [bin / command, "--help"], cwd=where, env=clean(), text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
                self.addCleanup(process.stdout.close)  # type: ignore[union-attr]
                started.append((f"{command} in {where}", process))
        for name, process in started:
            output, _ = process.communicate(timeout=120)
            self.assertEqual(process.returncode, 0, f"{name}: {output}")
            self.assertRegex(output, r"(?m)^ +pipsocks  +A SOCKS5", f"{name} does not list it")
            self.assertNotIn("Traceback", output, name)
        self.assertIn(pipsocks.__version__, call(bin / "pipsocks", "--version", cwd=empty).split())
        self.assertIn(pipsocks.__version__, call(bin / "python", "-m", "pipsocks", "--version", cwd=empty).split())
        script = "import importlib.metadata as m; print(m.version('pipsocks'))"
        self.assertEqual(call(bin / "python", "-c", script, cwd=empty).strip(), pipsocks.__version__)
        call(bin / "python", "-m", "pip", "check")

    def checkKind(self, kind: str, tool: str, version: str = RUNNING) -> None:
        """Install by one tool in one of the four ways into a new environment, and look."""
        shop = workshop()
        name = f"{kind}-{tool}-{version}"
        environment = shop.environment(name, pythons()[version])
        self.addCleanup(shutil.rmtree, environment, ignore_errors=True)
        tree = shop.copy(f"{name}-tree") if "editable" in kind else None
        if tree is None:
            shop.install(environment, tool, shop.wheel if kind == "wheel" else shop.sdist)
        else:
            self.addCleanup(shutil.rmtree, tree, ignore_errors=True)
            strict = ["--config-settings", "editable_mode=strict"] if kind == "strict-editable" else []
            shop.install(environment, tool, *strict, "-e", tree)
        self.checkInstalled(environment, tree)

    def test_wheelByPip(self) -> None:
        """``pip install`` of the wheel."""
        self.checkKind("wheel", "pip")

    def test_wheelByUv(self) -> None:
        """``uv pip install`` of the wheel."""
        self.checkKind("wheel", "uv")

    def test_sdistByPip(self) -> None:
        """``pip install`` of the sdist."""
        self.checkKind("sdist", "pip")

    def test_sdistByUv(self) -> None:
        """``uv pip install`` of the sdist."""
        self.checkKind("sdist", "uv")

    def test_editableByPip(self) -> None:
        """``pip install -e``."""
        self.checkKind("editable", "pip")

    def test_editableByUv(self) -> None:
        """``uv pip install -e``."""
        self.checkKind("editable", "uv")

    def test_strictEditableByPip(self) -> None:
        """``pip install -e`` in setuptools' strict mode."""
        self.checkKind("strict-editable", "pip")

    def test_strictEditableByUv(self) -> None:
        """``uv pip install -e`` in setuptools' strict mode."""
        self.checkKind("strict-editable", "uv")

    def checkOtherPythons(self, kind: str) -> None:
        """Install by both tools on the two supported Pythons that this one is not."""
        others = [version for version in VERSIONS if version in pythons() and version != RUNNING]
        missing = [version for version in VERSIONS if version not in pythons()]
        for version in others:
            for tool in ("pip", "uv"):
                self.checkKind(kind, tool, version)
        if missing and os.environ.get("CI_PIPSOCKS"):
            self.fail(f"Python {' and '.join(missing)} cannot be found; CI needs all of {', '.join(VERSIONS)}")
        if missing:
            raise SkipTest(
                f"Python {' and '.join(missing)} is not installed; run: uv python install {' '.join(missing)}"
            )

    def test_wheelOnOtherPythons(self) -> None:
        """The wheel on the other supported Pythons."""
        self.checkOtherPythons("wheel")

    def test_editableOnOtherPythons(self) -> None:
        """``-e`` on the other supported Pythons."""
        self.checkOtherPythons("editable")

    def test_wheelContent(self) -> None:
        """The wheel brings its plugin and types, and nothing that would hide Twisted or go stale."""
        with zipfile.ZipFile(workshop().wheel) as wheel:
            names = set(wheel.namelist())
        self.assertLessEqual({"pipsocks/py.typed", "twisted/plugins/pipsocks_plugin.py"}, names)
        self.assertEqual(
            {name for name in names if name.startswith("twisted/")}, {"twisted/plugins/pipsocks_plugin.py"}
        )
        tops = {name.split("/")[0] for name in names}
        self.assertEqual(tops, {"pipsocks", "twisted", f"pipsocks-{pipsocks.__version__}.dist-info"})
        self.assertEqual([name for name in names if name.endswith(("dropin.cache", ".pyc"))], [])
        sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pipsocks").rglob("*.py")}
        self.assertEqual(sources - names, set())

    def test_sdistContent(self) -> None:
        """The sdist has all that it takes to test, document and package pipsocks anew."""
        with tarfile.open(workshop().sdist) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        for wanted in (
            "LICENSE", "NEWS.rst", "README.rst", "pyproject.toml", "setup.cfg", "pipsocks/py.typed",
            "twisted/plugins/pipsocks_plugin.py", "tests/test_layers.py", "docs/decisions.rst",
            "contrib/systemd/pipsocks.service", "newsfragments/README.rst",
        ):  # fmt: skip
            self.assertIn(wanted, names)
        self.assertEqual([name for name in names if name.endswith(("dropin.cache", ".pyc"))], [])

    def test_noPackageOfTwisted(self) -> None:
        """An ``__init__.py`` there would hide Twisted itself from everybody who installs pipsocks."""
        self.assertEqual([path.name for path in (ROOT / "twisted").rglob("*.py")], ["pipsocks_plugin.py"])
