"""The tables ``[groups.NAME]``: what may stand in one, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from pipsocks.config.chains import readChains
from pipsocks.config.document import Document, Given, Keys
from pipsocks.config.options import BY_KEY
from pipsocks.config.places import Target
from pipsocks.config.values import Hedge, Name, Strategy
from pipsocks.gateway.settings import RetrySettings
from pipsocks.policy.settings import DENY, DIRECT
from pipsocks.settings import GroupSettings
from pipsocks.upstream.settings import ChainSettings

DEFAULT_GROUP: Final = "default"
"""The group that ``upstream`` is short for."""

_TYPES: Final[Mapping[str, Any]] = {"strategy": Strategy, "hedge": Hedge, "probe": Target}
_KEYS: Final = (*_TYPES, "chains", "retry")
_RETRY: Final = {key.removeprefix("retry."): option for key, option in BY_KEY.items() if key.startswith("retry.")}


def readGroups(document: Document, tree: object) -> dict[str, Keys] | None:
    """
    What the file says of each group, by its name.

    A group whose table is wrong is there all the same, so that no route is said to lead to none.
    """
    if not isinstance(tree, dict):
        document.wrong("groups", "this is not a table", "write [groups.NAME], and its keys below")
        return None
    groups: dict[str, Keys] = {}
    for name, table in tree.items():
        path = f"groups.{name}"
        groups[name] = {}
        if not isinstance(table, dict):
            document.wrong(path, "this is not a table", "write [groups.NAME], and its keys below")
            continue
        if name in (DIRECT, DENY):
            document.wrong(path, f"{name} is no name for a group: it says where a route leads", "call it otherwise")
        else:
            document.value(path, Name, name)
        groups[name] = _group(document, path, table)
    return groups


def _group(document: Document, path: str, tree: Mapping[str, object]) -> Keys:
    found: Keys = {}
    for name, value in tree.items():
        where = f"{path}.{name}"
        given: Given | None = None
        if name in _TYPES:
            given = document.one(where, _TYPES[name], value)
        elif name == "chains":
            given = readChains(document, where, value)
        elif name == "retry":
            found |= _retry(document, where, value)
        else:
            document.unknown(where, name, _KEYS)
        if given is not None:
            found[name] = given
    if "chains" not in tree:
        document.wrong(path, "a group needs chains", 'write chains = ["socks5h://HOST:PORT"] in it')
    return found


def _retry(document: Document, path: str, tree: object) -> Keys:
    if not isinstance(tree, dict):
        document.wrong(path, "this is not a table", "write retry = { total = 8 }, with keys that [retry] has too")
        return {}
    found: Keys = {}
    for name, value in tree.items():
        where = f"{path}.{name}"
        if name not in _RETRY:
            document.unknown(where, name, _RETRY)
        elif (given := document.one(where, _RETRY[name].type, value)) is not None:
            found[f"retry.{name}"] = given
    return found


def groupSettings(name: str, keys: Keys, chains: tuple[ChainSettings, ...], retry: RetrySettings) -> GroupSettings:
    """
    The group that `keys` come to.

    @param retry: has what the group's own ``retry`` leaves out.
    """
    given: dict[str, Any] = {key: each.values[0].value for key, each in keys.items() if key != "chains"}
    own = {key.removeprefix("retry."): given.pop(key) for key in [*given] if key.startswith("retry.")}
    return GroupSettings(name, chains, retry=attrs.evolve(retry, **own), **given)
