"""Who may import whom: the table in docs/architecture.rst holds for every import in the package."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "pipsocks"
MODEL = {"model", "refusal", "slugs"}


def readTable() -> dict[str, set[str]]:
    """Read each room's arrows from the one table with three columns in docs/architecture.rst."""
    table: dict[str, set[str]] = {}
    for line in (ROOT / "docs" / "architecture.rst").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 3 and line.startswith("   ") and not cells[0].startswith(":"):
            table[cells[0]] = {target.strip() for target in cells[1].split(",")}
    return table


def roomOf(module: str) -> str:
    """Name the table's row that a dotted module of ours belongs to ("" for the bare package)."""
    parts = module.split(".")[1:]
    if not parts:
        return ""
    if parts[0] in MODEL:
        return "model"
    if parts[0] == "settings" or parts[1:2] == ["settings"]:
        return "settings"
    return parts[0]


def importsOf(source: str, known: set[str]) -> list[tuple[int, str]]:
    """List (line, module) for every import of ours, those for types and inside functions included."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            for alias in node.names:
                module = f"{base}.{alias.name}"
                found.append((node.lineno, module if module in known else base))
    return [(line, module) for line, module in found if module.split(".")[0] in ("pipsocks", "")]


def dotted(path: Path) -> str:
    """Name a file of ours as Python does."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def strayArrows(path: Path, source: str, table: dict[str, set[str]], known: set[str]) -> list[str]:
    """List the imports in a file that the table has no arrow for."""
    module = dotted(path)
    room = roomOf(module)
    allowed = table.get(room, set())
    stray = []
    for line, target in importsOf(source, known):
        other = roomOf(target)
        own = other == room and room != "settings"
        roomSettings = other == "settings" and target.split(".")[1] in {room} | allowed
        if target.startswith("."):
            stray.append(f"{path.name}:{line}: a relative import")
        elif other and not (own or roomSettings or "every room" in allowed or other in allowed):
            stray.append(f"{path.relative_to(ROOT)}:{line}: {room} may not import {target}")
    return stray


class LayersTests(SynchronousTestCase):
    """You can read one room without having to know the rooms that it has no arrow to."""

    def setUp(self) -> None:
        """Find the modules and the table."""
        self.paths = sorted(PACKAGE.rglob("*.py"))
        self.known = {dotted(path) for path in self.paths}
        self.table = readTable()

    def test_arrows(self) -> None:
        """No module imports what its room has no arrow to."""
        stray = [
            complaint
            for path in self.paths
            for complaint in strayArrows(path, path.read_text(), self.table, self.known)
        ]
        self.assertEqual(stray, [])

    def test_everyRoomHasARow(self) -> None:
        """A new room or module stands in the table, with its arrows, from its first commit."""
        rooms = {roomOf(module) for module in self.known} - {""}
        self.assertEqual(rooms - set(self.table), set())

    def test_everyArrowLeadsToARow(self) -> None:
        """The table is whole: what it names as a target has a row of its own."""
        targets = set().union(*self.table.values()) - {"every room", "nothing"}
        self.assertEqual(targets - set(self.table), set())
        self.assertGreater(len(self.table), 10)

    def test_settingsImportOnlyTheModel(self) -> None:
        """A room's settings module drags nothing of the room with it, so that config stays light."""
        for path in PACKAGE.glob("*/settings.py"):
            targets = {roomOf(module) for _, module in importsOf(path.read_text(), self.known)}
            self.assertEqual(targets - {"model"}, set(), path)

    def test_anArrowIsFound(self) -> None:
        """The test itself sees imports for types, inside functions, of modules by name, and relative ones."""
        source = (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n"
            "    from pipsocks.front.client import Client\n"
            "def f():\n"
            "    import pipsocks.relay\n"
            "from pipsocks import gateway\n"
            "from . import names\n"
            "from pipsocks.model import Destination\n"
        )
        stray = strayArrows(PACKAGE / "wire" / "made.py", source, self.table, self.known)
        self.assertEqual({int(complaint.split(":")[1]) for complaint in stray}, {3, 5, 6, 7, 8})
