"""The lines that errors name."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.config.lines import keyLines, lineOf

TEXT = '''# a comment = 1
journal = "-"   # [not]
a."b.c" . d = """x
[no]
y = 5
""""" # c
upstream = [ # x
  "direct", # [
  { chain = "a # ]", name = 'b' },
  [1, 2.5,
   3],
]
[ x . y ]
z = 2020-01-01 07:32:00.5
l = \'\'\'
[no] = 1\'\'\'
[[listener]]
[[listener]]
socks = "1080"
[listener.m]
o=1
[[listener.n]]
p=1
[[listener.n]]
p=2
[groups.exits]
chains = [
  "direct",
  { chain = "a", tier = 2 }, { chain = "b", name = "c" },
]
retry = { total = 8, attempts = 8 }
[groups."b.c".retry]
total = 1
[[route]]
host = ["a",
"b"]
'''
LINES = {
    "journal": 2, "a": 3, "a.b.c.d": 3, "upstream": 7, "upstream[0]": 8, "upstream[1]": 9, "upstream[1].chain": 9,
    "upstream[1].name": 9, "upstream[2]": 10, "upstream[2][0]": 10, "upstream[2][2]": 11, "x.y": 13, "x.y.z": 14,
    "x.y.l": 15, "listener[0]": 17, "listener[1]": 18, "listener[1].socks": 19, "listener[1].m.o": 21,
    "listener[1].n[0].p": 23, "listener[1].n[1].p": 25,
    "groups.exits": 26, "groups.exits.chains": 27, "groups.exits.chains[1].tier": 29, "groups.exits.chains[2].name": 29,
    "groups.exits.retry.attempts": 31, "groups.b.c.retry": 32, "groups.b.c.retry.total": 33, "route[0]": 34,
    "route[0].host[1]": 36,
}  # fmt: skip


def paths(value: object, path: str = "") -> list[str]:
    """Every path in what tomllib made of a text."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, each in value.items():
            found += paths(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found += paths(each, f"{path}[{index}]")
    return found


class LineTests(SynchronousTestCase):
    """Paths and their lines."""

    def test_lines(self) -> None:
        """In all the ways that TOML has of writing a key."""
        lines = keyLines(TEXT)
        self.assertEqual({path: lines.get(path) for path in LINES}, LINES)

    def test_samePathsAsTomllib(self) -> None:
        """Nothing is found that is not there, and nothing is missed."""
        self.assertEqual(set(keyLines(TEXT)), set(paths(tomllib.loads(TEXT))))
        self.assertEqual(keyLines(""), {})

    def test_nearestKeyThatHoldsIt(self) -> None:
        """What has no line of its own has that of its table."""
        lines = keyLines(TEXT)
        self.assertEqual(lineOf("listener[1].auth[0]", lines), 18)
        self.assertEqual(lineOf("upstream[9]", lines), 7)
        self.assertEqual(lineOf("nothing.here", lines), 0)

    @given(st.text("ab.=[]{},\n#'\"\\ 1", max_size=60))
    def test_anythingEnds(self, text: str) -> None:
        """Text that is no TOML gets no useful answer, but an end."""
        keyLines(text)

    @given(st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, max_size=3)))
    def test_arrays(self, value: Any) -> None:
        """Arrays of any shape, an element on each line."""
        text = "a = " + repr(value).replace(",", ",\n")
        self.assertEqual(set(keyLines(text)), set(paths(tomllib.loads(text))))
