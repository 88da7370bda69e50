"""Where a key stands in a TOML text: tomllib tells no lines."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*|\n|[][{},=.]|[^][{},=.\s#"\']+',
    re.DOTALL,
)


def keyLines(text: str) -> dict[str, int]:
    """
    The line, from 1, of each key, table and array element, by its path (``retry.total``, ``listener[0].http``).

    @param text: TOML that tomllib has accepted; it is not judged again.
    """
    reader = _Reader(text)
    reader.statements()
    return reader.lines


def lineOf(path: str, lines: dict[str, int]) -> int:
    """The line of `path`, or of the nearest key that holds it; 0 where none is known."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0)


class _Reader:
    """Recursive descent over the tokens, one method for each construct."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self._counts: dict[str, int] = {}  # of the elements so far of each array of tables
        self._tokens: list[tuple[str, int]] = []
        self._at = 0
        line = 1
        for match in _TOKEN.finditer(text):
            if not match[0].startswith("#"):
                self._tokens.append((match[0], line))
            line += match[0].count("\n")
        self._tokens.append(("", line))

    @property
    def _token(self) -> str:
        return self._tokens[self._at][0]

    def _record(self, path: str) -> str:
        self.lines.setdefault(path, self._tokens[self._at][1])
        return path

    def _next(self) -> None:
        self._at += bool(self._token)  # the end is not passed

    def _skip(self, *tokens: str) -> None:
        while self._token in tokens:
            self._at += 1

    def statements(self) -> None:
        """The whole text."""
        table = ""
        self._skip("\n")
        while self._token:
            if self._token == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip("\n")

    def _header(self) -> str:
        start = self._at
        self._skip("[")
        isArray = self._at - start > 1
        path = ""
        while self._token not in ("]", ""):
            path = self._join(path)
            if path in self._counts and not (isArray and self._token == "]"):
                path += f"[{self._counts[path]}]"
        if isArray:
            self._counts[path] = self._counts.get(path, -1) + 1
            path += f"[{self._counts[path]}]"
        self._record(path)
        self._skip("]")
        return path

    def _pair(self, table: str) -> None:
        path = table
        while self._token not in ("=", ""):
            path = self._join(path)
        self._skip("=")
        self._value(path)

    def _join(self, path: str) -> str:
        """`path` and the next part of a dotted key."""
        self._skip(".")
        part = self._token.strip("\"'")
        path = self._record(f"{path}.{part}" if path else part)
        self._next()
        return path

    def _value(self, path: str) -> None:
        opening = self._token
        self._next()
        if opening not in ("[", "{"):
            while self._token not in ("\n", ",", "]", "}", ""):
                self._next()
            return
        closing = "]" if opening == "[" else "}"
        index = 0
        self._skip("\n", ",")
        while self._token not in (closing, ""):
            if opening == "[":
                self._value(self._record(f"{path}[{index}]"))
                index += 1
            else:
                self._pair(path)
            self._skip("\n", ",")
        self._next()
