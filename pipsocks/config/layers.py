"""The command line over the environment over the file over the defaults: what was given, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

from pipsocks.config.document import Document, Given, Keys, Value
from pipsocks.config.file import LISTENER, read
from pipsocks.config.near import nearest
from pipsocks.config.options import BY_KEY, SHELL, TABLE, Arguments, Option
from pipsocks.config.places import OFF
from pipsocks.config.values import structure
from pipsocks.config.wrong import Wrong
from pipsocks.front.settings import ListenerSettings, Network, place
from pipsocks.model import Destination, Problem, StartError, masked

DEFAULT: Final = "default"
"""Where a value comes from that nobody gave."""

_KUBERNETES: Final = re.compile(r"PIPSOCKS_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_[0-9]+_(TCP|UDP)(_.*)?)?)")
_SHARED: Final = LISTENER[2:]
_LISTEN: Final = {"socks": "tcp:1080:interface=127.0.0.1", "http": "tcp:3128:interface=127.0.0.1"}


@attrs.define
class Gathered:
    """
    Everything that was given, the highest layer's word for each key; secrets are not looked up yet.

    @ivar given: by key; without what nobody gave, and without the listeners.
    @ivar sources: where each listener's ``auth``, ``clients`` and so on were written, by key.
    @ivar document: the file, for what stands nowhere else: groups and routes.
    @ivar problems: what is wrong so far. What is right stands here all the same, to be judged further.
    """

    given: Keys = attrs.field(factory=dict)
    listeners: list[ListenerSettings] = attrs.field(factory=list)
    sources: list[dict[str, str]] = attrs.field(factory=list)
    document: Document = attrs.field(factory=lambda: Document(""))
    problems: list[Problem] = attrs.field(factory=list)

    def source(self, key: str) -> str:
        """Where the value of `key` was written."""
        return self.given[key].where if key in self.given else DEFAULT

    def values(self, key: str) -> tuple[object, ...]:
        """The values that were given for `key`."""
        return tuple(value.value for value in self.given[key].values) if key in self.given else ()


def gather(arguments: Arguments, environ: Mapping[str, str]) -> Gathered:
    """Read the file that is named, and put the layers over each other. `environ` is where twins are looked up."""
    gathered = Gathered()
    above: Keys = {}
    for option in TABLE:
        if option.kept in above:
            continue
        if option.kept in arguments.values:
            above[option.kept] = _texts(option, arguments.values[option.kept], option.flag, gathered.problems)
        elif (text := environ.get(option.twin, "")).strip():  # an empty variable is one that is not set
            texts = text.split() if option.many else [text]
            above[option.kept] = _texts(option, texts, option.twin, gathered.problems)
    document = Document("")
    if above.get("config") and above["config"].values:
        try:
            document = read(str(above["config"].values[-1].value))
        except StartError as error:
            gathered.problems += error.problems
    gathered.problems += document.problems
    gathered.document = document
    gathered.given = {**document.given, **above}
    _listeners(gathered, document)
    return gathered


def strangers(environ: Mapping[str, str], named: set[str]) -> list[Problem]:
    """
    The variables that look like ours and are none of ours.

    A misspelt or future one might have been meant to forbid something, so that it is no warning. Those that
    Kubernetes sets in every pod beside a service with our name are let pass.

    @param named: the variables that the configuration names itself, for secrets.
    """
    twins = {option.twin for option in (*TABLE, SHELL)}
    problems = []
    for name in sorted(environ):
        if name.startswith("PIPSOCKS_") and name not in twins | named and not _KUBERNETES.fullmatch(name):
            near = nearest(name, twins)
            hint = f"did you mean {near}?" if near else "unset it; --help lists the variables that there are"
            problems.append(Problem("there is no such option", name, hint))
    return problems


def _texts(option: Option, texts: tuple[str, ...] | list[str], where: str, problems: list[Problem]) -> Given:
    """The values of a flag or a variable. Of one that cannot be repeated, the last counts."""
    values = []
    whole = True
    if option.commas:
        texts = [part for text in texts for part in re.split(r"[,\s]+", text) if part]
    for text in texts if option.many else texts[-1:]:
        if option.key == "auth" and not text:
            continue  # as in the file, "" is for no login at all
        flagged = option.among and where == option.flag
        place = f"--{text.partition(':')[0]}" if flagged else where
        try:
            values.append(Value(structure(option.read(text), option.type), place))
        except Wrong as wrong:
            problems.append(Problem(str(wrong), place, wrong.hint))
            whole = False
    return Given(tuple(values), where, whole)


def _listeners(gathered: Gathered, document: Document) -> None:
    top: Keys = {key: gathered.given[key] for key in _SHARED if key in gathered.given}
    for protocol, default in _LISTEN.items():
        own = [each for each in document.listeners or () if protocol in each]
        given = gathered.given.pop(protocol, None)
        if given is not None:
            _replaced(gathered, given, protocol, own)
            found = [(value, top) for value in given.values]
        elif document.listeners is not None:
            found = [(each[protocol].values[0], {**top, **each}) for each in own]
        else:
            found = [(Value(default, DEFAULT), top)]
        for value, keys in found:
            if value.value != OFF:
                gathered.listeners.append(_listener(protocol, value, keys))
                gathered.sources.append({key: keys[key].where for key in _SHARED if key in keys})
                if all(keys[key].whole for key in ("auth", "clients") if key in keys):
                    gathered.problems += _judge(gathered.listeners[-1])
    gathered.problems += _twice(gathered.listeners)
    if not gathered.listeners and not gathered.problems:
        where = document.where("listener") if document.listeners is not None else ""
        gathered.problems.append(Problem("there is nothing to listen on", where, "leave --socks or --http on"))


def _twice(listeners: list[ListenerSettings]) -> list[Problem]:
    """Listeners on the address of one before them: only the first could be bound."""
    problems = []
    found: dict[Destination, str] = {}
    for listener in listeners:
        source = listener.source if listener.source != DEFAULT else f"the default of {BY_KEY[listener.protocol].flag}"
        at = place(listener.endpoint)
        if at is None or at[1] == 0:
            continue
        address = Destination(str(Destination(*at).address or at[0]), at[1])
        if address in found:
            what = f"{masked(str(address))} is the address of another listener, too: {found[address]}"
            problems.append(Problem(what, source, "give one of them another port"))
        found.setdefault(address, source)
    return problems


def _judge(listener: ListenerSettings) -> list[Problem]:
    """No open proxy by accident. Other descriptions, and names, are judged once they are bound."""
    at = place(listener.endpoint)
    if at is None or Destination(*at).address is None or listener.isGuarded(at[0]):
        return []
    return [listener.openProxyProblem(str(Destination(*at)))]


def _replaced(gathered: Gathered, given: Given, protocol: str, own: list[Keys]) -> None:
    """Judge listeners that stand for those `own` of the file."""
    if len(given.values) > 1 and any(value.value == OFF for value in given.values):
        hint = f"leave {BY_KEY[protocol].flag} off away, or the others"
        gathered.problems.append(Problem("'off' stands beside listeners", given.where, hint))
    for each in own:
        if "auth" in each and each["auth"].values:
            what = f"this would replace a listener that has a login of its own ({each['auth'].where})"
            hint = f"leave {given.where} away, or move that auth to the top of the file, where it holds for all"
            gathered.problems.append(Problem(what, given.where, hint))


def _listener(protocol: str, value: Value, keys: Mapping[str, Given]) -> ListenerSettings:
    def of(key: str) -> tuple[object, ...]:
        return tuple(each.value for each in keys[key].values) if key in keys else ()

    auth = tuple(str(each) for each in of("auth"))
    clients = tuple(each for each in of("clients") if isinstance(each, Network))
    authSource = keys["auth"].where if "auth" in keys else DEFAULT
    ports = [each for each in of("udp_ports") if isinstance(each, range)]
    return ListenerSettings(
        protocol,
        str(value.value),
        auth,
        clients,
        any(of("strict")),
        value.where,
        authSource,
        udpAdvertise="".join(map(str, of("udp_advertise"))),
        udpPorts=ports[0] if ports else range(1),
    )
