"""The types of settings: what a value of the file must be, and how the text of a flag or a variable becomes one.

The file is exact (no ``"off"`` for false, no 8.9 for 8, true is no number), which cattrs alone is not: every type
that a key may have is registered here with a hook of our own. A text is first read into what the file would have
held, and then passes the same hook.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final, NewType

import attrs
import cattrs

from pipsocks.config.near import nearest
from pipsocks.front.settings import Network
from pipsocks.policy.settings import CLASSES, RuleSettings

Seconds = NewType("Seconds", float)
Count = NewType("Count", int)
Text = NewType("Text", str)
Form = NewType("Form", str)
Auth = NewType("Auth", str)
Endpoint = NewType("Endpoint", str)
Client = NewType("Client", str)
Pattern = NewType("Pattern", str)
PortNumber = NewType("PortNumber", int)
AddressText = NewType("AddressText", str)
Ports = NewType("Ports", range)

OFF: Final = Endpoint("off")
LONGEST: Final = 1_000_000_000
"""The largest number of seconds: more than thirty years, and within what a reactor can wait."""
MOST: Final = 1_000_000
"""The largest count."""


class Wrong(ValueError):
    """A value that a key cannot have: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


@attrs.frozen
class Upstream:
    """One entry of ``upstream``: the chain's text, its secrets not yet expanded, and the name given to it."""

    chain: str = attrs.field(repr=False)
    name: str = ""


_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_PATTERN: Final = re.compile(r"(?!.{256})(?:\*?\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBER_AT_END: Final = re.compile(r"(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)\.?$", re.ASCII)
"""What looks like an address is one for every client (`pipsocks.wire.names`), and never a name."""
_ADDRESS_HINT: Final = "write one such as 192.0.2.7 or 2001:db8::7"
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def readNumber(text: str) -> object:
    """The number that `text` spells, as the file would hold it; other text is left for the type to refuse."""
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def readSwitch(text: str) -> object:
    """True or false, from the words that people write into variables; other text is left for the type to refuse."""
    return _WORDS.get(text.lower(), text)


def readText(text: str) -> object:
    """`text` as it is."""
    return text


def structure(value: object, type: Any) -> Any:
    """
    `value`, once it is known to be exactly of `type`.

    @raise Wrong: it is not.
    """
    return _converter.structure(value, type)


def _switch(value: object, _: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"{_shown(value)} is neither true nor false", "write true or false, in a file without quotes")
    return value


def _seconds(value: object, _: object) -> float:
    if type(value) not in (int, float) or not 0 < value <= LONGEST:  # type: ignore[operator]
        raise Wrong(f"{_shown(value)} is not a number of seconds", "write a positive number, such as 3 or 0.5")
    return float(value)  # type: ignore[arg-type]


def _count(value: object, _: object) -> int:
    if type(value) is not int or not 0 < value <= MOST:
        raise Wrong(f"{_shown(value)} is not a count", "write a positive whole number, such as 8")
    return value


def _text(value: object, _: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong(f"{_shown(value)} is not a text", 'write a text that is not empty, in a file in quotes: "..."')
    return value


def _form(value: object, _: object) -> str:
    if value not in ("text", "json"):
        raise Wrong(f"{_shown(value)} is no format of the journal", "write text or json")
    return str(value)


def _auth(value: object, _: object) -> str:
    """A checker's description; it may hold passwords, so that it is never shown."""
    if not isinstance(value, str) or "\0" in value:
        raise Wrong("this is no description of a login checker", "write a text such as htpasswd:FILE")
    return value


def _client(value: object, _: object) -> Network:
    hint = "write a network such as 172.17.0.0/16 or fd00::/8, or one address"
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?", value):
        raise Wrong(f"{_shown(value)} is not a network", hint)
    try:
        wide = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Wrong(f"{_shown(value)} is not a network", hint) from None
    address, slash, _prefix = value.partition("/")
    if slash and wide.network_address != ipaddress.ip_address(address):
        raise Wrong(f"{value} has bits set behind its prefix", f"write {wide}, or {address} for one address")
    return wide


def _pattern(value: object, _: object) -> str:
    """What a rule is about, in the one spelling that `pipsocks.policy.settings.RuleSettings` has for it."""
    hint = "write *, a.example, .a.example, *.a.example, 10.0.0.0/8, fd00::/8, or one of " + ", ".join(CLASSES)
    if not isinstance(value, str):
        raise Wrong(f"{_shown(value)} is not a host, a network or a class of addresses", hint)
    if value == "*" or value in CLASSES:
        return value
    if ":" in value or "/" in value or re.fullmatch(r"[0-9.]+", value):
        return str(_client(value, Client))
    name = value.lower()
    if not _PATTERN.fullmatch(name) or _NUMBER_AT_END.search(name):
        raise Wrong(f"{_shown(value)} is not a host, a network or a class of addresses", hint)
    if near := "" if "." in name else nearest(name.replace("_", "-"), CLASSES):
        raise Wrong(f"{name} is no class of addresses", f"did you mean {near}? If it is a host's name, write {name}.")
    return name.removesuffix(".")


def _port(value: object, _: object) -> int:
    if type(value) is not int or not 0 < value <= 65535:
        raise Wrong(f"{_shown(value)} is not a port", "write a number from 1 to 65535")
    return value


def _rule(value: object, _: object) -> RuleSettings:
    """A rule in one text, as flags and variables have it: ``deny:PATTERN`` or ``deny:PATTERN:PORT``."""
    hint = "write allow:PATTERN or deny:PATTERN, such as deny:10.0.0.0/8 or allow:*.example:443"
    verdict, _colon, what = value.partition(":") if isinstance(value, str) else ("", "", "")
    if verdict not in ("allow", "deny"):
        raise Wrong(f"{_shown(value)} is not a rule", hint)
    # Without a port, what has colons is IPv6, in brackets or not.
    split = re.fullmatch(r"(?:\[(?P<six>[^]]*)\]|(?P<other>[^:]*))(?::(?P<port>[0-9]{1,5}))?", what)
    pattern = what if split is None else split["six"] if split["six"] is not None else split["other"]
    ports = (_port(int(split["port"]), PortNumber),) if split is not None and split["port"] else ()
    return RuleSettings(verdict == "allow", _pattern(pattern, Pattern), ports)


def _address(value: object, _: object) -> str:
    """An address; empty for none."""
    if value == "":
        return ""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f.:]{2,45}", value):
        raise Wrong(f"{_shown(value)} is not an address", _ADDRESS_HINT)
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise Wrong(f"{_shown(value)} is not an address", _ADDRESS_HINT) from None


def _ports(value: object, _: object) -> range:
    """A range of ports; the one port 0, which stands for any, where there is none."""
    if value == "":
        return range(1)
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", value) if isinstance(value, str) else None
    if found is None or not 0 < int(found[1]) <= int(found[2]) <= 65535:
        raise Wrong(f"{_shown(value)} is not a range of ports", "write it as 40000-40100")
    return range(int(found[1]), int(found[2]) + 1)


def _upstream(value: object, _: object) -> Upstream:
    """A chain: a text, or a table with a text and a name. It may hold a password, so that it is never shown."""
    hint = 'write "socks5h://HOST:PORT", "direct", or { chain = "...", name = "..." }'
    if isinstance(value, str) and value:
        return Upstream(value)
    if not isinstance(value, dict):
        raise Wrong("this is not a chain", hint)
    if unknown := sorted(set(value) - {"chain", "name"}):
        raise Wrong(f"a chain's table has no key {_shown(unknown[0])}", hint)
    if not isinstance(value.get("chain"), str) or not value["chain"]:
        raise Wrong("a chain's table needs the text of its chain", hint)
    name = value.get("name", "")
    if not isinstance(name, str) or ("name" in value and not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name)):
        raise Wrong(f"{_shown(name)} cannot be a chain's name", "write 1 to 64 letters, digits, dots, - and _")
    return Upstream(value["chain"], name)


def _endpoint(value: object, _: object) -> str:
    """
    A Twisted endpoint description, from one or from a short form.

    Short forms: ``1080`` (on 127.0.0.1), ``127.0.0.1:1080``, ``[::1]:1080``, ``off``.
    """
    hint = "write PORT, ADDRESS:PORT, [IPV6]:PORT, off, or a Twisted endpoint such as tcp:1080:interface=127.0.0.1"
    if type(value) is int:
        raise Wrong(f"{value} is not a text", f'write it in quotes: "{value}"')
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong(f"{_shown(value)} is not a port to listen on", hint)
    if value == OFF:
        return OFF
    if value.startswith("haproxy:"):
        raise Wrong("the PROXY protocol is not there yet", "leave haproxy: away")
    short = re.fullmatch(r"(?:(?P<four>[0-9.]+):|\[(?P<six>[0-9A-Fa-f:.]+)\]:)?(?P<port>[0-9]+)", value)
    if short is None:
        if ":" not in value or value.startswith((":", "*", "[", "localhost:")):
            raise Wrong(f"{_shown(value)} is not a port to listen on", hint)
        return value
    host, port = short["four"] or short["six"] or "127.0.0.1", short["port"]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Wrong(f"{_shown(host)} is not an address", hint) from None
    if len(port) > 5 or int(port) > 65535:
        raise Wrong(f"{_shown(port)} is not a port", "write a number from 1 to 65535")
    return f"tcp:{int(port)}:interface=" + str(address).replace(":", r"\:")


def _shown(value: object) -> str:
    """`value` as it may stand in an error: short, in one line."""
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    text = ascii(value) if not text.isascii() else text
    return text if len(text) <= 60 else text[:57] + "..."


_converter: Final = cattrs.Converter(detailed_validation=False)
for _type, _hook in (
    (Seconds, _seconds),
    (Count, _count),
    (Text, _text),
    (Form, _form),
    (Auth, _auth),
    (Endpoint, _endpoint),
    (Client, _client),
    (Upstream, _upstream),
    (Pattern, _pattern),
    (PortNumber, _port),
    (RuleSettings, _rule),
    (AddressText, _address),
    (Ports, _ports),
    (bool, _switch),
):
    _converter.register_structure_hook(_type, _hook)
