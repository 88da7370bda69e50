"""
The file of ``twistd pipsocks-faults``, read with all of its errors at once.

::

    log = "-"
    seed = 7

    [upstream.hk1]
    listen = "127.0.0.1:4001"
    faults = ["30% reset", "10% reply=1"]
    hosts = { "index.example:443" = "127.0.0.1:8443" }

    [origin.index]
    listen = "127.0.0.1:8443"
    size = 1000000
    tls = "index.pem"

    [echo.back]
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from pipsocks.model import Problem, StartError
from pipsocks.testing.echo import Echo
from pipsocks.testing.faults import FaultUnknown
from pipsocks.testing.origin import Origin
from pipsocks.testing.plan import Plan, parseEntry
from pipsocks.testing.server import Kind
from pipsocks.testing.tls import serverTLS
from pipsocks.testing.upstream import Upstream

LIMIT: Final = 1 << 20
"""A file of more octets than this is refused."""

_TOP: Final = ("log", "seed", "beyond_loopback", "upstream", "origin", "echo")
_KEYS: Final = {
    "upstream": ("listen", "faults", "seed", "tls", "hosts"),
    "origin": ("listen", "faults", "seed", "tls", "size"),
    "echo": ("listen", "faults", "seed", "tls"),
}
_LISTEN: Final = re.compile(r"(?:(?P<four>[0-9.]+):|\[(?P<six>[0-9A-Fa-f:.]+)\]:)?(?P<port>[0-9]{1,5})")
_AUTHORITY: Final = re.compile(r"(?P<host>[0-9A-Za-z_.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen
class Listener:
    """
    One table of the file: what `pipsocks.testing.server.Server` is made from.

    @ivar seed: the table's own, or else what `seedOf` makes of the file's.
    """

    name: str
    kind: Kind
    host: str
    port: int
    faults: tuple[str, ...]
    seed: int
    tls: Any


@attrs.frozen
class Settings:
    """The whole file. `log` is ``-``, a file, or empty."""

    log: str
    listeners: tuple[Listener, ...]


def seedOf(seed: int, name: str) -> int:
    """
    The seed of the listener `name` that has none of its own, in a file with this one.

    Listeners that drew from the same one would fail in step: no connection of a pool would ever be rescued by another.
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:5])


def read(name: str) -> Settings:
    """
    Read the file `name`.

    @raise StartError: it cannot be read, or something in it is wrong; all that is, where it is TOML.
    """
    try:
        with open(name, "rb") as file:
            raw = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "this is no path"
        hint = "look at the path in --config, and at who may read it"
        raise StartError(Problem(f"cannot read the faults: {words}", name, hint)) from None
    if len(raw) > LIMIT:
        raise StartError(Problem("this is too large for a file of faults", name, "name a TOML file of less than 1 MiB"))
    try:
        tree = tomllib.loads(raw.decode())
    except UnicodeDecodeError:
        raise StartError(Problem("this is not UTF-8", name, "save the file as UTF-8")) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        hint = "texts stand in quotes, lists in [ ], and each table begins with [KIND.NAME]"
        raise StartError(Problem(f"this is not TOML: {error}", name, hint)) from None
    reader = _Reader(name)
    settings = reader.settings(tree)
    if reader.problems:
        raise StartError(*reader.problems)
    return settings


class _Reader:
    """Judges every key; what is wrong is noted, and a default stands in for it until the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self._names: set[str] = set()
        self._seed = 0
        self._anywhere = False

    def settings(self, tree: Mapping[str, Any]) -> Settings:
        """The whole file."""
        self._known("", tree, _TOP)
        self._seed = self._whole("seed", tree.get("seed", 0), 0)
        self._anywhere = tree.get("beyond_loopback", False)
        if not isinstance(self._anywhere, bool):
            self._wrong("beyond_loopback", f"{self._anywhere!r} is neither true nor false", "write true or false")
        log = self._text("log", tree.get("log", "-"), empty=True)
        listeners = []
        for kind in _KEYS:
            tables = tree.get(kind, {})
            if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
                self._wrong(kind, "a listener needs a name", f"write [{kind}.NAME], and its keys below")
                continue
            listeners += [self._listener(kind, name, table) for name, table in tables.items()]
        if not listeners and not self.problems:
            self._wrong("", "there is no listener in it", "write [upstream.NAME], [origin.NAME] or [echo.NAME]")
        return Settings(log, tuple(listeners))

    def _listener(self, kind: str, name: str, table: Mapping[str, Any]) -> Listener:
        path = f"{kind}.{name}"
        if not _NAME.fullmatch(name):
            self._wrong(path, f"{name!r} cannot be a listener's name", "write 1 to 64 letters, digits, - and _")
        elif name in self._names:
            self._wrong(path, "two listeners have this name", "give each its own: the log calls them by it")
        self._names.add(name)
        self._known(path, table, _KEYS[kind])
        given = self._whole(f"{path}.seed", table.get("seed", self._seed), 0)
        seed = given if "seed" in table else seedOf(given, name)
        host, port = self._listen(f"{path}.listen", table.get("listen", "127.0.0.1:0"))
        made: Kind
        if kind == "upstream":
            made = Upstream(self._hosts(f"{path}.hosts", table.get("hosts", {})))
        elif kind == "origin":
            # Not of the name: two origins of a file are mirrors, and a test knows what they serve.
            made = Origin(self._whole(f"{path}.size", table.get("size", 100_000), 100_000), given)
        else:
            made = Echo()
        faults = self._faults(f"{path}.faults", table.get("faults", []), made.name)
        tls = self._certificate(f"{path}.tls", table["tls"]) if "tls" in table else None
        return Listener(name, made, host, port, faults, seed, tls)

    def _faults(self, path: str, value: object, kind: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            self._wrong(path, "this is not a list of texts", 'write ["30% reset", "10% reply=1"]')
            return ()
        wrong = False
        for number, text in enumerate(value):
            try:
                parseEntry(text, kind)
            except FaultUnknown as unknown:
                wrong = True
                self._wrong(f"{path}[{number}]", str(unknown), unknown.hint)
        if not wrong:
            try:
                Plan(value, kind, 0)
            except FaultUnknown as unknown:
                self._wrong(path, str(unknown), unknown.hint)
        return tuple(value)

    def _listen(self, path: str, value: object) -> tuple[str, int]:
        hint = 'write it in quotes: "PORT", "ADDRESS:PORT" or "[IPV6]:PORT"; port 0 is any that is free'
        found = _LISTEN.fullmatch(value) if isinstance(value, str) else None
        if found is None or int(found["port"]) > 65_535:
            self._wrong(path, f"{value!r} is not a port to listen on", hint)
            return "127.0.0.1", 0
        try:
            address = ipaddress.ip_address(found["four"] or found["six"] or "127.0.0.1")
        except ValueError:
            self._wrong(path, f"{value!r} has no address in it", hint)
            return "127.0.0.1", 0
        if not address.is_loopback and not self._anywhere:
            what = f"{address} is not loopback: everybody who reaches it could use this as a proxy"
            self._wrong(path, what, "take 127.0.0.1 or ::1, or write beyond_loopback = true at the top")
        return str(address), int(found["port"])

    def _hosts(self, path: str, value: object) -> dict[str, tuple[str, int]]:
        hint = 'write { "index.example:443" = "127.0.0.1:8443" }'
        if not isinstance(value, dict):
            self._wrong(path, "this is not a table", hint)
            return {}
        hosts = {}
        for name, there in value.items():
            found = _AUTHORITY.fullmatch(there) if isinstance(there, str) else None
            if not _AUTHORITY.fullmatch(name) or found is None or not 0 < int(found["port"]) < 65_536:
                self._wrong(f"{path}.{name}", f"{name!r} = {there!r} does not lead from HOST:PORT to HOST:PORT", hint)
            else:
                hosts[name.lower()] = (found["host"].strip("[]"), int(found["port"]))
        return hosts

    def _certificate(self, path: str, value: object) -> Any:
        file = self._text(path, value)
        if not file:
            return None
        # As the file of faults names it: beside itself.
        where = Path(self.name).parent / file
        try:
            return serverTLS(where)
        except OSError as error:
            self._wrong(path, f"cannot read {file}: {error.strerror}", "name a PEM file with a key and its certificate")
        except ValueError:
            self._wrong(path, f"{file} has no key with its certificate", "put both into one PEM file, the key first")
        return None

    def _known(self, path: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for name in table.keys() - set(known):
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            self._wrong(f"{path}.{name}" if path else name, "there is no such key", hint)

    def _whole(self, path: str, value: object, instead: int) -> int:
        if type(value) is not int or not 0 <= value < 1 << 40:
            self._wrong(path, f"{value!r} is not a whole number", "write one from 0, without quotes")
            return instead
        return value

    def _text(self, path: str, value: object, empty: bool = False) -> str:
        if not isinstance(value, str) or "\0" in value or not (value or empty):
            self._wrong(path, f"{value!r} is not a text", 'write a text in quotes: "..."')
            return ""
        return value

    def _wrong(self, path: str, what: str, hint: str) -> None:
        self.problems.append(Problem(what, f"{self.name}: {path}" if path else self.name, hint))
