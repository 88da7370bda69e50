"""The one table of options: each has a flag, a twin in the environment, a key in the file, and a type.

The command lines of ``twistd pipsocks`` and of ``pipsocks``, their help, the environment and the file are all read
by this table, so that none of them knows an option that another does not.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from pipsocks.config.near import nearest
from pipsocks.config.places import AddressText, Bypass, Client, Endpoint, Ports
from pipsocks.config.values import (
    Amount,
    Auth,
    Count,
    Form,
    Seconds,
    Text,
    Upstream,
    readNumber,
    readSwitch,
    readText,
)
from pipsocks.gateway.settings import RetrySettings, TimeoutSettings
from pipsocks.model import Problem, StartError
from pipsocks.observe.settings import JournalSettings
from pipsocks.policy.settings import RuleSettings


@attrs.frozen
class Option:
    """
    One option.

    `key` is its path in the file; flag and twin follow from it. `type` is what `pipsocks.config.values.structure`
    makes of each of its values, `read` what a text is for it before that. One without a `metavar` is a switch,
    with a ``--no-`` twin. `many`: it may be repeated, and is a list in the file.

    @ivar among: the key of a list that several options add to, in the order in which they are given; each text is
        then kept with the option's own key and a colon in front.
    @ivar commas: a text may hold several values, separated by commas.
    """

    key: str
    type: Any
    metavar: str
    about: str
    default: str = ""
    many: bool = False
    read: Callable[[str], object] = readText
    among: str = ""
    commas: bool = False

    @property
    def kept(self) -> str:
        """The key under which its values are found."""
        return self.among or self.key

    @property
    def flag(self) -> str:
        """What stands on a command line."""
        return "--" + self.key.replace(".", "-").replace("_", "-")

    @property
    def off(self) -> str:
        """The flag that turns a switch off."""
        return "--no-" + self.flag[2:]

    @property
    def twin(self) -> str:
        """The variable of the environment."""
        return "PIPSOCKS_" + self.kept.replace(".", "_").upper()


def _seconds(key: str, default: float, about: str) -> Option:
    return Option(key, Seconds, "SECONDS", about, f"{default:g}", read=readNumber)


_LISTEN: Final = "Listen for {} on PORT (of 127.0.0.1), ADDRESS:PORT, [IPV6]:PORT or a Twisted endpoint description."
_RULE: Final = (
    "{} clients go to a host (a.example; .a.example with all below it; *.a.example what is below), a network "
    "(10.0.0.0/8), loopback, link-local, private, cgnat, multicast, reserved, or everything (*); :PORT may follow. "
    "The first of --allow and --deny that matches decides; in the variable write deny:WHAT or allow:WHAT."
)
_RETRY: Final = RetrySettings()
_TIMES: Final = TimeoutSettings()

TABLE: Final = (
    Option("socks", Endpoint, "WHERE", _LISTEN.format("SOCKS") + " 'off' for none.", "1080", True),
    Option("http", Endpoint, "WHERE", _LISTEN.format("HTTP") + " 'off' for none.", "3128", True),
    Option(
        "upstream",
        Upstream,
        "CHAIN",
        "A chain of upstream proxies, hops left to right: socks5h://USER:PASSWORD@HOST:PORT,http://HOST:PORT. Several "
        "are alternatives in order. 'direct' is the chain without hops; 'env' takes HTTPS_PROXY or ALL_PROXY.",
        "direct",
        True,
    ),
    Option(
        "no_proxy",
        Bypass,
        "LIST",
        "Go straight to these hosts and networks, before all routes: localhost,.corp.example,10.0.0.0/8. Without a dot "
        "in front a name is that host alone.",
        "none",
        True,
        commas=True,
    ),
    Option(
        "auth", Auth, "CHECKER", "Ask clients for a login: htpasswd:FILE, or any checker of Twisted's.", "none", True
    ),
    Option("clients", Client, "NETWORK", "Serve clients of this network only, such as 172.17.0.0/16.", "all", True),
    Option("strict", bool, "", "Refuse a client that speaks the other port's protocol.", "no", read=readSwitch),
    Option("allow", RuleSettings, "WHAT", _RULE.format("Let"), "", True, among="rules"),
    Option("deny", RuleSettings, "WHAT", _RULE.format("Don't let"), "", True, among="rules"),
    Option("udp_advertise", AddressText, "ADDRESS", "Tell SOCKS clients to send their datagrams to this address.", ""),
    Option("udp_ports", Ports, "FROM-TO", "Receive SOCKS clients' datagrams on one of these ports.", "any"),
    Option(
        "journal", Text, "TARGET", "Where the line for each session goes: a file, '-', journald or off.",
        JournalSettings().target,
    ),
    Option("journal_format", Form, "FORMAT", "text or json.", JournalSettings().form),
    Option("via", bool, "", "Add the Via field to what is forwarded.", "yes", read=readSwitch),
    _seconds("retry.total", _RETRY.total, "The whole search for a way."),
    Option(
        "retry.attempts", Count, "COUNT", "At most so many attempts in one search.", str(_RETRY.attempts),
        read=readNumber,
    ),
    _seconds("retry.connect", _RETRY.connect, "One TCP connect."),
    _seconds("retry.handshake", _RETRY.handshake, "The handshake with one hop."),
    Option(
        "retry.budget", Amount, "NUMBER", "Attempts beyond the first for each session, over 10 seconds.",
        f"{_RETRY.budget:g}", read=readNumber,
    ),
    Option(
        "retry.replay", bool, "", "Send a tunnel's first bytes again where the upstream dies before it answers.",
        "yes", read=readSwitch,
    ),
    Option(
        "retry.resume", bool, "", "Go on with a forwarded download where it was cut.", "yes", read=readSwitch
    ),
    _seconds("timeouts.handshake", _TIMES.handshake, "A client's whole handshake."),
    _seconds("timeouts.tunnel_idle", _TIMES.tunnel_idle, "A tunnel in which nothing moves."),
    _seconds("timeouts.drain", _TIMES.drain, "What running tunnels are left when we are told to stop."),
    Option("config", Text, "FILE", "The configuration file, in TOML.", "none"),
)  # fmt: skip
"""Every option that there is; what a later version will know does not exist yet, and is refused as unknown."""

SHELL: Final = Option(
    "shell", Text, "SHELL", "Whose language to print: sh (bash and zsh too), fish or powershell.", "sh"
)
"""The one option that only ``pipsocks env`` has."""

BY_KEY: Final[Mapping[str, Option]] = {option.key: option for option in TABLE}


@attrs.frozen
class Arguments:
    """
    A command line, read: each option's texts, by its key, in the order given.

    `rest` are the words that are no options. A switch has the text ``true`` or ``false``.
    """

    values: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict, repr=False)
    rest: tuple[str, ...] = ()
    help: bool = False
    version: bool = False


def parse(words: Sequence[str], options: Iterable[Option] = TABLE, rest: int = 0) -> Arguments:
    """
    Read a command line of `options`, ``--help``, ``--version`` and at most `rest` other words.

    A flag is never abbreviated, so that a later option cannot change what a script means.

    @raise StartError: with everything that is wrong with it.
    """
    known: dict[str, tuple[Option, str | None]] = {}
    for option in options:
        known[option.flag] = option, None if option.metavar else "true"
        if not option.metavar:
            known[option.off] = option, "false"
    values: dict[str, list[str]] = {}
    others: list[str] = []
    problems: list[Problem] = []
    waiting = iter(words)
    lost = False  # after an unknown option: the word behind it is most likely its value
    for word in waiting:
        if word == "--":
            others.extend(waiting)
            break
        if not word.startswith("-") or word == "-":
            if not lost:
                others.append(word)
            lost = False
            continue
        flag, equals, text = word.partition("=")
        if flag in ("--help", "-h", "--version"):
            return Arguments(help=flag != "--version", version=flag == "--version")
        if flag not in known:
            near = nearest(flag, known)
            hint = f"did you mean {near}?" if near else "--help lists the options"
            problems.append(Problem("there is no such option", _plain(flag), hint))
            lost = not equals
            continue
        lost = False
        option, fixed = known[flag]
        if fixed is not None:
            if equals:
                problems.append(Problem("this option takes no value", flag, f"write {flag} alone"))
            values.setdefault(option.key, []).append(fixed)
            continue
        value = text if equals else next(waiting, None)
        if value is None:
            problems.append(Problem("a value is missing", flag, f"write {flag} {option.metavar}"))
        else:
            values.setdefault(option.kept, []).append(f"{option.key}:{value}" if option.among else value)
    if len(others) > rest:
        # The word itself is not repeated: somebody might have typed a password there.
        where = f"word {rest + 1} beside the options" if rest else "command line"
        problems.append(Problem("a word is not expected here", where, "options begin with --; see --help"))
    if problems:
        raise StartError(*problems)
    return Arguments({key: tuple(texts) for key, texts in values.items()}, tuple(others))


def _plain(word: str) -> str:
    """`word` where it can hold no secret and no control character: a chain in a wrong place is not repeated."""
    return word if re.fullmatch(r"[A-Za-z0-9._-]{1,40}", word) else "command line"


def describe(options: Iterable[Option] = TABLE, width: int = 100) -> str:
    """The help's list of `options`: each with what it takes, its default and its twin in the environment."""
    lines = []
    for option in options:
        lines.append(f"  {option.flag} {option.metavar}" if option.metavar else f"  {option.flag}, {option.off}")
        about = option.about + (" May be repeated." if option.many else "")
        default = f" Default: {option.default}." if option.default else ""
        twin = f" [${option.twin}]" if option.twin else ""
        lines.append(textwrap.fill(about + default + twin, width, initial_indent=" " * 8, subsequent_indent=" " * 8))
    return "\n".join(lines) + "\n"
