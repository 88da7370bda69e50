"""Routes: the tables ``[[route]]``, ``no_proxy`` before them, ``upstream`` behind them."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from pipsocks.config.document import Document, Given, Keys
from pipsocks.config.near import nearest
from pipsocks.config.places import HostText, ListenerText, NetworkText, PortNumber, printed
from pipsocks.config.values import Text
from pipsocks.config.wrong import shown
from pipsocks.front.settings import ListenerSettings, place
from pipsocks.model import Destination, Problem, masked
from pipsocks.policy.settings import DENY, DIRECT, RouteSettings

NO_PROXY: Final = "no_proxy"
UPSTREAM: Final = "upstream"

_CONDITIONS: Final[Mapping[str, Any]] = {
    "host": HostText,
    "network": NetworkText,
    "port": PortNumber,
    "user": Text,
    "listener": ListenerText,
}
_FIELDS: Final = {"host": "hosts", "network": "networks", "port": "ports", "user": "users", "listener": "listeners"}
_LIKE: Final = {"port": "[443]", "listener": '["http"]'}
_TO_HINT: Final = 'write to = "direct", to = "deny", or to = the name of a group'


def readRoute(document: Document, path: str, tree: Mapping[str, object]) -> Keys:
    """What the file says of one route."""
    found: Keys = {}
    for name, value in tree.items():
        where = f"{path}.{name}"
        if name in _CONDITIONS:
            found[name] = document.many(where, _CONDITIONS[name], value, _LIKE.get(name, '["..."]'))
        elif name == "to":
            if (given := document.one(where, Text, value)) is not None:
                found[name] = given
        else:
            document.unknown(where, name, (*_CONDITIONS, "to"))
    if "to" not in tree:
        document.wrong(path, "a route leads somewhere", _TO_HINT)
    return found


def bypass(given: Given) -> RouteSettings:
    """The route of ``no_proxy``. Of its values, a network has a slash in it, and a host none."""
    texts = [str(each.value) for each in given.values]
    return RouteSettings(
        DIRECT,
        NO_PROXY,
        hosts=tuple(text for text in texts if "/" not in text),
        networks=tuple(text for text in texts if "/" in text),
    )


def routeSettings(label: str, keys: Keys) -> RouteSettings:
    """The route that `keys` come to."""
    conditions: dict[str, Any] = {
        _FIELDS[key]: tuple(each.value for each in given.values) for key, given in keys.items() if key in _FIELDS
    }
    return RouteSettings(str(keys["to"].values[0].value), label, **conditions)


def judgeRoutes(
    routes: Iterable[Keys], groups: Collection[str], listeners: Sequence[ListenerSettings]
) -> list[Problem]:
    """What is wrong with routes in view of the rest: groups and listeners that there are not."""
    problems = []
    known = (*groups, DIRECT, DENY)
    addresses = _addresses(listeners)
    for keys in routes:
        for each in keys["to"].values if "to" in keys else ():
            if each.value not in known:
                near = nearest(str(each.value), known)
                hint = f"did you mean {masked(near)}?" if near else f"there are {', '.join(map(masked, known))}"
                problems.append(Problem(f"there is no group {shown(each.value)}", each.where, hint))
        for each in keys["listener"].values if "listener" in keys else ():
            if addresses is not None and each.value not in ("socks", "http", *addresses):
                hint = f"there are {', '.join(addresses)}"
                problems.append(Problem(f"nothing listens on {each.value}", each.where, hint))
    return problems


def _addresses(listeners: Iterable[ListenerSettings]) -> list[str] | None:
    """Where we listen; None where that is known only once everything is bound."""
    found = []
    for listener in listeners:
        at = place(listener.endpoint)
        try:
            address = ipaddress.ip_address(at[0] if at else "")
        except ValueError:
            return None
        if at is None or at[1] == 0:
            return None
        found.append(str(Destination(printed(address), at[1])))
    return found


def routeNotices(routes: Sequence[RouteSettings], groups: Iterable[str]) -> list[str]:
    """What is allowed, and most likely not meant: groups without a route, routes behind one that matches all."""
    reached = {route.to for route in routes}
    notices = [f"warning: no route leads to the group {name}: it is not used" for name in groups if name not in reached]
    whole = next((index for index, route in enumerate(routes) if _matchesAll(route)), len(routes))
    if behind := [route.label for route in routes[whole + 1 :]]:
        names, are = ", ".join(behind), "is" if len(behind) == 1 else "are"
        notices.append(f"warning: {names} {are} never reached: {routes[whole].label} before matches everything")
    return notices


def _matchesAll(route: RouteSettings) -> bool:
    everywhere = "*" in route.hosts or not (route.hosts or route.networks)
    return everywhere and not (route.ports or route.users or route.listeners)
