"""The configuration file: what may stand in it, and how it is read with all of its errors at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from pipsocks.config.lines import keyLines, lineOf
from pipsocks.config.near import nearest
from pipsocks.config.options import BY_KEY, TABLE, Option
from pipsocks.config.values import Pattern, PortNumber, Wrong, structure
from pipsocks.model import Problem, StartError
from pipsocks.policy.settings import RuleSettings

LIMIT: Final = 1 << 20
"""A file of more octets than this is refused."""

LISTENER: Final = ("socks", "http", "auth", "clients", "strict", "udp_advertise", "udp_ports")
"""The keys of a ``[[listener]]``, each an option of the same name."""

_RULE: Final = ("allow", "deny", "port")
_TABLES: Final = ("listener", "rule")
_KEYS: Final = {
    option.key: option for option in TABLE if option.key not in ("socks", "http", "config") and not option.among
}


@attrs.frozen
class Value:
    """One value of the right type, and where it was written."""

    value: object = attrs.field(repr=False)
    where: str


@attrs.frozen
class Given:
    """
    What was given for one option: its values (one, where it cannot be repeated), and where.

    `whole` is false where some are missing since they were wrong.
    """

    values: tuple[Value, ...]
    where: str
    whole: bool = True


@attrs.define
class Document:
    """
    A file, read. What is wrong with it stands in `problems`; the rest is right and can be judged further.

    @ivar listeners: None where the file has no ``[[listener]]`` at all.
    """

    name: str
    given: dict[str, Given] = attrs.field(factory=dict)
    listeners: list[dict[str, Given]] | None = None
    problems: list[Problem] = attrs.field(factory=list)
    lines: dict[str, int] = attrs.field(factory=dict)

    def where(self, path: str) -> str:
        """The file, the line and the key's path."""
        line = lineOf(path, self.lines)
        return f"{self.name}: line {line}: {path}" if line else f"{self.name}: {path}"


def read(name: str) -> Document:
    """
    Read the file `name`.

    @raise StartError: it cannot be read, or is no TOML at all.
    """
    try:
        with open(name, "rb") as file:
            raw = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "this is no path"
        hint = "look at the path in --config or PIPSOCKS_CONFIG, and at who may read it"
        raise StartError(Problem(f"cannot read the configuration: {words}", name, hint)) from None
    if len(raw) > LIMIT:
        raise StartError(Problem("this is too large for a configuration", name, "name a TOML file of less than 1 MiB"))
    try:
        text = raw.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StartError(Problem("this is not UTF-8", f"{name}: line {line}", "save the file as UTF-8")) from None
    except tomllib.TOMLDecodeError as error:
        raise StartError(_syntax(name, str(error))) from None
    except RecursionError:
        raise StartError(Problem("this is nested too deeply", name, "a configuration has few levels")) from None
    return interpret(name, text, tree)


def interpret(name: str, text: str, tree: Mapping[str, object]) -> Document:
    """Judge the `tree` that TOML makes of `text`."""
    document = Document(name, lines=keyLines(text))
    _table(document, "", tree, _KEYS)
    listeners, rules = (_tables(document, name, tree.get(name)) for name in _TABLES)
    if listeners is not None:
        document.listeners = [_listener(document, f"listener[{i}]", each) for i, each in enumerate(listeners)]
    if rules is not None:
        values = [value for i, each in enumerate(rules) for value in _rule(document, f"rule[{i}]", each)]
        document.given["rules"] = Given(tuple(values), document.where("rule"))
    return document


def _tables(document: Document, name: str, value: object) -> list[dict[str, object]] | None:
    """A list of tables, where there is one."""
    if value is None or (isinstance(value, list) and all(isinstance(each, dict) for each in value)):
        return value
    hint = f"write [[{name}]] in double brackets, and its keys below"
    document.problems.append(Problem("this is not a list of tables", document.where(name), hint))
    return None


def _table(document: Document, prefix: str, tree: Mapping[str, object], keys: Mapping[str, Option]) -> None:
    """Judge one table of the options `keys`, and those below it."""
    tables = {key[len(prefix) :].partition(".")[0] for key in keys if "." in key[len(prefix) :]}
    names = [key[len(prefix) :] for key in keys if "." not in key[len(prefix) :]]
    for name, value in tree.items():
        path = prefix + name
        if name in tables:
            if isinstance(value, dict):
                below = {key: option for key, option in keys.items() if key.startswith(path + ".")}
                _table(document, path + ".", value, below)
            else:
                problem = Problem("this is not a table", document.where(path), f"write [{path}], and its keys below")
                document.problems.append(problem)
        elif name in names:
            if (given := _given(document, path, keys[path], value)) is not None:
                document.given[path] = given
        elif path not in _TABLES:
            known = (*names, *tables, *(() if prefix else _TABLES))
            document.problems.append(_unknown(document, path, name, known))


def _listener(document: Document, path: str, tree: Mapping[str, object]) -> dict[str, Given]:
    found: dict[str, Given] = {}
    for name, value in tree.items():
        where = f"{path}.{name}"
        if name not in LISTENER:
            document.problems.append(_unknown(document, where, name, LISTENER))
        elif name in ("socks", "http"):
            given = _given(document, where, attrs.evolve(BY_KEY[name], many=False), value)
            if given is not None:
                found[name] = given
        elif (given := _given(document, where, BY_KEY[name], value)) is not None:
            found[name] = given
    if ("socks" in tree) == ("http" in tree):
        hint = 'write either socks = "..." or http = "..." in each [[listener]]'
        document.problems.append(Problem("a listener has one protocol", document.where(path), hint))
    return found


def _rule(document: Document, path: str, tree: Mapping[str, object]) -> list[Value]:
    """The rules of one ``[[rule]]``: one for each of its patterns."""
    for name in tree.keys() - set(_RULE):
        document.problems.append(_unknown(document, f"{path}.{name}", name, _RULE))
    verdicts = [name for name in ("allow", "deny") if name in tree]
    ports = _listed(document, f"{path}.port", PortNumber, tree.get("port", []), "[443]")
    if len(verdicts) != 1:
        hint = 'write either allow = ["..."] or deny = ["..."] in each [[rule]]'
        document.problems.append(Problem("a rule has one verdict", document.where(path), hint))
        return []
    where = f"{path}.{verdicts[0]}"
    patterns = _listed(document, where, Pattern, tree[verdicts[0]], '["..."]')
    if tree[verdicts[0]] == []:
        hint = 'write "*" for everything, or take the rule out'
        document.problems.append(Problem("a rule without patterns holds for nothing", document.where(where), hint))
    numbers = tuple(int(str(port.value)) for port in ports)
    return [attrs.evolve(each, value=RuleSettings("allow" in tree, str(each.value), numbers)) for each in patterns]


def _listed(document: Document, path: str, type: Any, value: object, like: str) -> list[Value]:
    """The elements of a list that are of the type."""
    if not isinstance(value, list):
        hint = f"write {path.rpartition('.')[2]} = {like}"
        document.problems.append(Problem("this is not a list", document.where(path), hint))
        return []
    values = [_value(document, f"{path}[{index}]", type, each) for index, each in enumerate(value)]
    return [each for each in values if each is not None]


def _given(document: Document, path: str, option: Option, value: object) -> Given | None:
    """What the file says of `option`; None, with a problem told, where that is nothing it may say."""
    where = document.where(path)
    if not option.many:
        whole = _value(document, path, option.type, value)
        return None if whole is None else Given((whole,), where)
    if option.key == "auth" and isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list):
        like = 'auth = "htpasswd:FILE"' if option.key == "auth" else f'{option.key} = ["..."]'
        document.problems.append(Problem("this is not a list", where, f"write {like}"))
        return Given((), where, whole=False)
    values = [_value(document, f"{path}[{index}]", option.type, each) for index, each in enumerate(value)]
    return Given(tuple(each for each in values if each is not None), where, None not in values)


def _value(document: Document, path: str, type: Any, value: object) -> Value | None:
    where = document.where(path)
    try:
        return Value(structure(value, type), where)
    except Wrong as wrong:
        document.problems.append(Problem(str(wrong), where, wrong.hint))
        return None


def _unknown(document: Document, path: str, name: str, known: Iterable[str]) -> Problem:
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else "known here: " + ", ".join(sorted(known))
    return Problem("there is no such key", _printable(document.where(path)), hint)


def _syntax(name: str, said: str) -> Problem:
    """tomllib's error, with the line in front."""
    place = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", said)
    where = f"{name}: line {place[1]}" if place and place[1] else name
    cause = said[: place.start()] if place else said
    return Problem(f"this is no TOML: {_printable(cause)}", where, "texts stand in quotes, lists in [ ]")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
