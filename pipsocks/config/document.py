"""A configuration file as it is being judged: what it says, where each thing stands, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from pipsocks.config.lines import lineOf
from pipsocks.config.near import nearest
from pipsocks.config.values import structure
from pipsocks.config.wrong import Wrong
from pipsocks.model import Problem, masked


@attrs.frozen
class Value:
    """One value of the right type, and where it was written."""

    value: object = attrs.field(repr=False)
    where: str


@attrs.frozen
class Given:
    """
    What was given for one option or key: its values (one, where it cannot be repeated), and where.

    `whole` is false where some are missing since they were wrong.
    """

    values: tuple[Value, ...]
    where: str
    whole: bool = True


Keys = dict[str, Given]
"""What one table says, by the names of its keys; those of a table within it have its name and a dot in front."""


@attrs.define
class Document:
    """
    A file, read. What is wrong with it stands in `problems`; the rest is right and can be judged further.

    @ivar listeners: None where the file has no ``[[listener]]`` at all.
    @ivar groups: by their names; None where the file has something else in that place.
    @ivar routes: None where the file has something else in that place.
    """

    name: str
    given: Keys = attrs.field(factory=dict)
    listeners: list[Keys] | None = None
    groups: dict[str, Keys] | None = attrs.field(factory=dict)
    routes: list[Keys] | None = attrs.field(factory=list)
    problems: list[Problem] = attrs.field(factory=list)
    lines: dict[str, int] = attrs.field(factory=dict)

    def where(self, path: str) -> str:
        """The file, the line and the key's path."""
        line = lineOf(path, self.lines)
        return printable(f"{self.name}: line {line}: {masked(path)}" if line else f"{self.name}: {masked(path)}")

    def wrong(self, path: str, what: str, hint: str) -> None:
        """Tell a problem with what stands at `path`."""
        self.problems.append(Problem(what, self.where(path), hint))

    def unknown(self, path: str, name: str, known: Iterable[str]) -> None:
        """Tell that there is no key `name`, and which of those `known` it might have been meant for."""
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else "known here: " + ", ".join(sorted(known))
        self.wrong(path, "there is no such key", hint)

    def value(self, path: str, type: Any, value: object) -> Value | None:
        """`value`, if it is of `type`; None, with a problem told, where it is not."""
        where = self.where(path)
        try:
            return Value(structure(value, type), where)
        except Wrong as wrong:
            self.problems.append(Problem(str(wrong), where, wrong.hint))
            return None

    def one(self, path: str, type: Any, value: object) -> Given | None:
        """The same, for a key that has one value."""
        found = self.value(path, type, value)
        return None if found is None else Given((found,), self.where(path))

    def many(self, path: str, type: Any, value: object, like: str = '["..."]') -> Given:
        """
        The elements of a list that are of `type`.

        @param like: what to write instead of what is no list.
        """
        if not isinstance(value, list):
            self.wrong(path, "this is not a list", f"write {path.rpartition('.')[2]} = {like}")
            return Given((), self.where(path), whole=False)
        values = [self.value(f"{path}[{index}]", type, each) for index, each in enumerate(value)]
        return Given(tuple(each for each in values if each is not None), self.where(path), None not in values)

    def tables(self, name: str, value: object) -> list[dict[str, object]] | None:
        """A list of tables, where there is one."""
        if value is None or (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
            return value
        self.wrong(name, "this is not a list of tables", f"write [[{name}]] in double brackets, and its keys below")
        return None


def printable(text: str) -> str:
    """`text` with its control characters escaped: a file's name and its keys reach terminals."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
