"""The types of settings: what a value of the file must be, and how the text of a flag or a variable becomes one.

The file is exact (no ``"off"`` for false, no 8.9 for 8, true is no number), which cattrs alone is not: every type
that a key may have is registered here with a hook of our own. A text is first read into what the file would have
held, and then passes the same hook.
"""

from __future__ import annotations

import re
from typing import Any, Final, NewType

import attrs
import cattrs

from pipsocks.config.near import nearest
from pipsocks.config.places import HOOKS
from pipsocks.config.wrong import Wrong, shown
from pipsocks.upstream.settings import STRATEGIES

Seconds = NewType("Seconds", float)
Count = NewType("Count", int)
Text = NewType("Text", str)
Form = NewType("Form", str)
Auth = NewType("Auth", str)
Amount = NewType("Amount", float)
Name = NewType("Name", str)
Strategy = NewType("Strategy", str)
Hedge = NewType("Hedge", bool)

LONGEST: Final = 1_000_000_000
"""The largest number of seconds: more than thirty years, and within what a reactor can wait."""
MOST: Final = 1_000_000
"""The largest count."""


@attrs.frozen
class Upstream:
    """One chain of a list: its text, its secrets not yet expanded, and the name and the tier given to it."""

    chain: str = attrs.field(repr=False)
    name: str = ""
    tier: int = 1


_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
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
        raise Wrong(f"{shown(value)} is neither true nor false", "write true or false, in a file without quotes")
    return value


def _seconds(value: object, _: object) -> float:
    if type(value) not in (int, float) or not 0 < value <= LONGEST:  # type: ignore[operator]
        raise Wrong(f"{shown(value)} is not a number of seconds", "write a positive number, such as 3 or 0.5")
    return float(value)  # type: ignore[arg-type]


def _count(value: object, _: object) -> int:
    if type(value) is not int or not 0 < value <= MOST:
        raise Wrong(f"{shown(value)} is not a count", "write a positive whole number, such as 8")
    return value


def _text(value: object, _: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise Wrong(f"{shown(value)} is not a text", 'write a text that is not empty, in a file in quotes: "..."')
    return value


def _form(value: object, _: object) -> str:
    if value not in ("text", "json"):
        raise Wrong(f"{shown(value)} is no format of the journal", "write text or json")
    return str(value)


def _auth(value: object, _: object) -> str:
    """A checker's description; it may hold passwords, so that it is never shown."""
    if not isinstance(value, str) or "\0" in value:
        raise Wrong("this is no description of a login checker", "write a text such as htpasswd:FILE")
    return value


def _upstream(value: object, _: object) -> Upstream:
    """A chain by its text alone. It may hold a password, so that it is never shown."""
    if not isinstance(value, str) or not value:
        hint = 'write "socks5h://HOST:PORT", "direct", or { chain = "...", name = "..." }'
        raise Wrong("this is not a chain", hint)
    return Upstream(value)


def _amount(value: object, _: object) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST:  # type: ignore[operator]
        raise Wrong(f"{shown(value)} is not an amount", "write a number from 0 on, such as 1 or 0.5")
    return float(value)  # type: ignore[arg-type]


def _name(value: object, _: object) -> str:
    """What a chain or a group may be called: it stands in the journal and in reason phrases."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", value):
        raise Wrong(f"{shown(value)} cannot be a name", "write 1 to 64 letters, digits, dots, - and _")
    return value


def _strategy(value: object, _: object) -> str:
    if isinstance(value, str) and value in STRATEGIES:
        return value
    near = nearest(value, STRATEGIES) if isinstance(value, str) else ""
    hint = (f"did you mean {near}? " if near else "") + f"there are {', '.join(STRATEGIES)}"
    raise Wrong(f"{shown(value)} is no strategy", hint)


def _hedge(value: object, _: object) -> bool:
    if value not in ("off", "auto"):
        raise Wrong(f"{shown(value)} is no way of hedging", 'write "off" or "auto"')
    return value == "auto"


_converter: Final = cattrs.Converter(detailed_validation=False)
for _type, _hook in (
    (Seconds, _seconds),
    (Count, _count),
    (Amount, _amount),
    (Text, _text),
    (Form, _form),
    (Auth, _auth),
    (Upstream, _upstream),
    (Name, _name),
    (Strategy, _strategy),
    (Hedge, _hedge),
    (bool, _switch),
    *HOOKS,
):
    _converter.register_structure_hook(_type, _hook)
