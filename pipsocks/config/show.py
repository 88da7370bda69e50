"""The settings as a file would say them, with where each came from, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from urllib.parse import quote

import attrs

from pipsocks.config.document import Keys
from pipsocks.config.groups import DEFAULT_GROUP
from pipsocks.config.layers import DEFAULT, Gathered
from pipsocks.config.load import Loaded
from pipsocks.config.routes import NO_PROXY, UPSTREAM
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import masked, maskedPath
from pipsocks.policy.settings import RuleSettings
from pipsocks.settings import GroupSettings, Settings
from pipsocks.upstream.settings import ChainSettings, HopSettings


def show(loaded: Loaded) -> str:
    """
    The effective settings, in TOML, each with its source in a comment.

    Logins are masked whole: the user's name may be a token.
    """
    settings, gathered = loaded.settings, loaded.gathered
    lines = [
        _line("journal", _text(maskedPath(settings.journal.target)), gathered.source("journal")),
        _line("journal_format", _text(settings.journal.form), gathered.source("journal_format")),
        _line("via", _switch(settings.via), gathered.source("via")),
        _line("no_proxy", _list(map(str, gathered.values(NO_PROXY))), gathered.source(NO_PROXY)),
    ]
    upstream = any(route.label == UPSTREAM for route in settings.routes)
    groups = {group.name: group for group in settings.groups}
    if upstream:
        lines.append(_line(UPSTREAM, _chains(groups.pop(DEFAULT_GROUP).chains), gathered.source(UPSTREAM)))
    lines += _listeners(settings, gathered)
    for group in groups.values():
        lines += _group(group, gathered)
    lines += _routes(gathered.document.routes or ())
    lines += _rules(gathered)
    lines += _table("retry", settings.retry, lambda key: gathered.source(f"retry.{key}"))
    lines += _table("timeouts", settings.timeouts, lambda key: gathered.source(f"timeouts.{key}"))
    return "\n".join(lines) + "\n"


def _table(name: str, table: RetrySettings | TimeoutSettings, source: Callable[[str], str]) -> Iterable[str]:
    yield from ("", f"[{name}]")
    for key, value in attrs.asdict(table).items():
        yield _line(key, _switch(value) if isinstance(value, bool) else f"{value:.15g}", source(key))


def _group(group: GroupSettings, gathered: Gathered) -> Iterable[str]:
    """A group; what its own ``retry`` leaves out comes from the one for all."""
    keys = (gathered.document.groups or {})[group.name]

    def source(key: str) -> str:
        return keys[key].where if key in keys else gathered.source(key)

    path = f"groups.{_text(group.name) if '.' in group.name else group.name}"
    yield from ("", f"[{path}]")
    yield _line("strategy", _text(group.strategy), source("strategy"))
    yield _line("hedge", _text("auto" if group.hedge else "off"), source("hedge"))
    yield _line("probe", _text(str(group.probe or "")), source("probe"))
    yield _line("chains", _chains(group.chains), source("chains"))
    yield from _table(f"{path}.retry", group.retry, lambda key: source(f"retry.{key}"))


def _routes(routes: Iterable[Keys]) -> Iterable[str]:
    for keys in routes:
        yield from ("", "[[route]]")
        for key, given in keys.items():
            texts = [str(each.value) for each in given.values]
            value = _text(texts[0]) if key == "to" else f"[{', '.join(texts)}]" if key == "port" else _list(texts)
            yield _line(key, value, given.where)


def _listeners(settings: Settings, gathered: Gathered) -> Iterable[str]:
    for listener, sources in zip(settings.listeners, gathered.sources, strict=True):
        yield from ("", "[[listener]]")
        yield _line(listener.protocol, _text(masked(listener.endpoint)), listener.source)
        for key, value in (
            ("auth", _list(_checker(each) for each in listener.auth)),
            ("clients", _list(str(each) for each in listener.clients)),
            ("strict", _switch(listener.strict)),
            ("udp_advertise", _text(listener.udpAdvertise)),
            ("udp_ports", _text(_range(listener.udpPorts))),
        ):
            yield _line(key, value, sources.get(key, DEFAULT))


def _rules(gathered: Gathered) -> Iterable[str]:
    given = gathered.given.get("rules")
    for value in given.values if given is not None else ():
        rule = value.value
        assert isinstance(rule, RuleSettings)
        yield from ("", "[[rule]]")
        yield _line("allow" if rule.allow else "deny", _list([rule.what]), value.where)
        if rule.ports:
            yield _line("port", str(list(rule.ports)), value.where)


def _chains(chains: Iterable[ChainSettings]) -> str:
    return f"[{', '.join(map(_chain, chains))}]"


def _chain(chain: ChainSettings) -> str:
    text = _text(",".join(map(_hop, chain.hops)) or "direct")
    more = f", name = {_text(chain.name)}" if chain.name else ""
    more += f", tier = {chain.tier}" if chain.tier != 1 else ""
    return f"{{ chain = {text}{more} }}" if more else text


def _hop(hop: HopSettings) -> str:
    login = "***@" if hop.login is not None else ""
    given: dict[str, str] = {}
    if hop.tls is not None:
        given = {"ca": hop.tls.ca, "cert": hop.tls.cert, "sni": hop.tls.sni, "verify": "" if hop.tls.verify else "off"}
    elif hop.ssh is not None:
        given = {"key": hop.ssh.key, "known_hosts": hop.ssh.known_hosts, "agent": "" if hop.ssh.agent else "off"}
    # Percent-encoded, as the text of a chain has them: a comma would be the end of the hop.
    parameters = [f"{key}={quote(value, safe='/')}" for key, value in given.items() if value]
    if hop.ssh is not None and hop.ssh.passphrase is not None:
        parameters.append("passphrase=***")
    return f"{hop.scheme}://{login}{hop.address}" + ("?" + "&".join(parameters) if parameters else "")


def _line(key: str, value: str, source: str) -> str:
    return f"{key + ' = ' + value:<50} # {source}"


def _text(text: str) -> str:
    """As TOML's texts are: JSON writes what is behind U+FFFF as two surrogates, which TOML has not."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    number = ord(character)
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return json.dumps(character)[1:-1] if number != 0x7F else "\\u007f"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(_text(text) for text in texts)}]"


def _range(ports: range) -> str:
    return f"{ports[0]}-{ports[-1]}" if ports[0] else ""


def _switch(value: bool) -> str:
    return "true" if value else "false"


def _checker(description: str) -> str:
    """A checker's description; only of those known to take a file's path is the argument no secret."""
    kind, colon, _ = description.partition(":")
    return description if kind in ("htpasswd", "file", "unix") else f"{kind}{colon}***" if colon else kind
