"""The settings as a file would say them, with where each came from, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from pipsocks.config.layers import DEFAULT, Gathered
from pipsocks.config.load import Loaded
from pipsocks.config.values import Upstream
from pipsocks.policy.settings import RuleSettings
from pipsocks.settings import Settings
from pipsocks.upstream.settings import ChainSettings, HopSettings


def show(loaded: Loaded) -> str:
    """
    The effective settings, in TOML, each with its source in a comment.

    Logins are masked whole: the user's name may be a token. What a file names by reference is shown as what it
    came to.
    """
    settings, gathered = loaded.settings, loaded.gathered
    names = [each.name for each in gathered.values("upstream") if isinstance(each, Upstream)] or [""]
    upstream = [_chain(chain, name) for chain, name in zip(settings.upstream, names, strict=True)]
    lines = [
        _line("journal", _text(settings.journal.target), gathered.source("journal")),
        _line("journal_format", _text(settings.journal.form), gathered.source("journal_format")),
        _line("via", _switch(settings.via), gathered.source("via")),
        _line("upstream", f"[{', '.join(upstream)}]", gathered.source("upstream")),
    ]
    lines += _listeners(settings, gathered)
    lines += _rules(gathered)
    for name, table in (("retry", settings.retry), ("timeouts", settings.timeouts)):
        lines += ["", f"[{name}]"]
        for key, value in attrs.asdict(table).items():
            lines.append(_line(key, f"{value:.15g}", gathered.source(f"{name}.{key}")))
    return "\n".join(lines) + "\n"


def _listeners(settings: Settings, gathered: Gathered) -> Iterable[str]:
    for listener, sources in zip(settings.listeners, gathered.sources, strict=True):
        yield from ("", "[[listener]]")
        yield _line(listener.protocol, _text(listener.endpoint), listener.source)
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


def _chain(chain: ChainSettings, name: str) -> str:
    text = _text(",".join(_hop(hop) for hop in chain.hops) or "direct")
    return f"{{ chain = {text}, name = {_text(name)} }}" if name else text


def _hop(hop: HopSettings) -> str:
    login = "***@" if hop.login is not None else ""
    parameters = []
    if hop.tls is not None:
        parameters = [f"{key}={value}" for key in ("ca", "cert", "sni") if (value := getattr(hop.tls, key))]
        parameters += [] if hop.tls.verify else ["verify=off"]
    return f"{hop.scheme}://{login}{hop.address}" + ("?" + "&".join(parameters) if parameters else "")


def _line(key: str, value: str, source: str) -> str:
    return f"{key + ' = ' + value:<50} # {source}"


def _text(text: str) -> str:
    return json.dumps(text)  # of what JSON writes, TOML reads all


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
