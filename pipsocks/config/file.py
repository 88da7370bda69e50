"""The configuration file: what may stand in it, and how it is read with all of its errors at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Final

import attrs

from pipsocks.config.chains import readChains
from pipsocks.config.document import Document, Given, Keys, Value, printable
from pipsocks.config.groups import readGroups
from pipsocks.config.lines import keyLines
from pipsocks.config.options import BY_KEY, TABLE, Option
from pipsocks.config.places import Pattern, PortNumber
from pipsocks.config.routes import readRoute
from pipsocks.model import Problem, StartError, masked, maskedPath
from pipsocks.policy.settings import RuleSettings

LIMIT: Final = 1 << 20
"""A file of more octets than this is refused."""

LISTENER: Final = ("socks", "http", "auth", "clients", "strict", "udp_advertise", "udp_ports")
"""The keys of a ``[[listener]]``, each an option of the same name."""

_RULE: Final = ("allow", "deny", "port")
_TABLES: Final = ("listener", "rule", "route", "groups")
_KEYS: Final = {
    option.key: option for option in TABLE if option.key not in ("socks", "http", "config") and not option.among
}


def read(name: str) -> Document:
    """
    Read the file `name`.

    @raise StartError: it cannot be read, or is no TOML at all.
    """
    where = maskedPath(name)
    try:
        with open(name, "rb") as file:
            raw = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "this is no path"
        hint = "look at the path in --config or PIPSOCKS_CONFIG, and at who may read it"
        raise StartError(Problem(f"cannot read the configuration: {words}", where, hint)) from None
    if len(raw) > LIMIT:
        raise StartError(Problem("this is too large for a configuration", where, "name a TOML file of less than 1 MiB"))
    try:
        text = raw.decode()
        tree = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise StartError(Problem("this is not UTF-8", f"{where}: line {line}", "save the file as UTF-8")) from None
    except tomllib.TOMLDecodeError as error:
        raise StartError(_syntax(where, str(error))) from None
    except RecursionError:
        raise StartError(Problem("this is nested too deeply", where, "a configuration has few levels")) from None
    return interpret(name, text, tree)


def interpret(name: str, text: str, tree: Mapping[str, object]) -> Document:
    """Judge the `tree` that TOML makes of `text`."""
    document = Document(name, lines=keyLines(text))
    _table(document, "", tree, _KEYS)
    listeners, rules, routes = (document.tables(name, tree.get(name)) for name in ("listener", "rule", "route"))
    if listeners is not None:
        document.listeners = [_listener(document, f"listener[{i}]", each) for i, each in enumerate(listeners)]
    if rules is not None:
        values = [value for i, each in enumerate(rules) for value in _rule(document, f"rule[{i}]", each)]
        document.given["rules"] = Given(tuple(values), document.where("rule"))
    if routes is not None:
        document.routes = [readRoute(document, f"route[{i}]", each) for i, each in enumerate(routes)]
    elif "route" in tree:
        document.routes = None
    if "groups" in tree:
        document.groups = readGroups(document, tree["groups"])
    return document


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
                document.wrong(path, "this is not a table", f"write [{path}], and its keys below")
        elif name in names:
            if (given := _given(document, path, keys[path], value)) is not None:
                document.given[path] = given
        elif path not in _TABLES:
            document.unknown(path, name, (*names, *tables, *(() if prefix else _TABLES)))


def _listener(document: Document, path: str, tree: Mapping[str, object]) -> Keys:
    found: Keys = {}
    for name, value in tree.items():
        where = f"{path}.{name}"
        if name not in LISTENER:
            document.unknown(where, name, LISTENER)
        elif name in ("socks", "http"):
            given = document.one(where, BY_KEY[name].type, value)
            if given is not None:
                found[name] = given
        elif (given := _given(document, where, BY_KEY[name], value)) is not None:
            found[name] = given
    if ("socks" in tree) == ("http" in tree):
        hint = 'write either socks = "..." or http = "..." in each [[listener]]'
        document.wrong(path, "a listener has one protocol", hint)
    return found


def _rule(document: Document, path: str, tree: Mapping[str, object]) -> list[Value]:
    """The rules of one ``[[rule]]``: one for each of its patterns."""
    for name in tree.keys() - set(_RULE):
        document.unknown(f"{path}.{name}", name, _RULE)
    verdicts = [name for name in ("allow", "deny") if name in tree]
    ports = document.many(f"{path}.port", PortNumber, tree.get("port", []), "[443]").values
    if len(verdicts) != 1:
        hint = 'write either allow = ["..."] or deny = ["..."] in each [[rule]]'
        document.wrong(path, "a rule has one verdict", hint)
        return []
    where = f"{path}.{verdicts[0]}"
    patterns = document.many(where, Pattern, tree[verdicts[0]]).values
    if tree[verdicts[0]] == []:
        hint = 'write "*" for everything, or take the rule out'
        document.wrong(where, "a rule without patterns holds for nothing", hint)
    numbers = tuple(int(str(port.value)) for port in ports)
    return [attrs.evolve(each, value=RuleSettings("allow" in tree, str(each.value), numbers)) for each in patterns]


def _given(document: Document, path: str, option: Option, value: object) -> Given | None:
    """What the file says of `option`; None, with a problem told, where that is nothing it may say."""
    if not option.many:
        return document.one(path, option.type, value)
    if option.key == "upstream":
        return readChains(document, path, value)
    if option.key == "auth":
        if isinstance(value, str):
            value = [value] if value else []
        return document.many(path, option.type, value, '"htpasswd:FILE"')
    return document.many(path, option.type, value)


def _syntax(name: str, said: str) -> Problem:
    """tomllib's error, with the line in front; some have a key in them."""
    place = re.search(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$", said)
    where = f"{name}: line {place[1]}" if place and place[1] else name
    cause = said[: place.start()] if place else said
    return Problem(f"this is no TOML: {printable(masked(cause))}", where, "texts stand in quotes, lists in [ ]")
