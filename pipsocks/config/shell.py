"""What a shell is told, so that the programs started from it use the proxy."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pipsocks.front.settings import ListenerSettings, place
from pipsocks.model import Destination, Problem, StartError

NO_PROXY: Final = "localhost,127.0.0.1,::1"
"""What is reached without the proxy: pip's http_proxy would else capture an index on this machine."""


def _sh(name: str, value: str) -> str:
    return f"export {name}={shlex.quote(value)}"


def _fish(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"set -gx {name} '{escaped}'"


def _powershell(name: str, value: str) -> str:
    doubled = value.replace("'", "''")
    return f"$env:{name} = '{doubled}'"


SHELLS: Final[Mapping[str, Callable[[str, str], str]]] = {"sh": _sh, "fish": _fish, "powershell": _powershell}
"""How each shell sets a variable."""


def exports(listeners: Iterable[ListenerSettings], shell: str) -> str:
    """
    The lines that set a `shell` of `SHELLS` up for these listeners.

    The HTTP port goes first, for all programs understand it, while pip needs PySocks for the other, which is named
    in a comment then. Comments stand last: an unquoted ``eval $(...)`` makes one line of all.

    @raise StartError: no listener has an address that could be told.
    """
    urls: dict[str, str] = {}
    login = False
    for listener in listeners:
        if (address := _reachable(listener)) is not None and listener.protocol not in urls:
            scheme = "http" if listener.protocol == "http" else "socks5h"
            user = "USER:PASSWORD@" if listener.auth else ""
            login = login or bool(user)
            urls[listener.protocol] = f"{scheme}://{user}{address}"
    if not urls:
        what = "no listener has an address that a shell could be told"
        raise StartError(Problem(what, "", "name it: pipsocks env --http 127.0.0.1:3128"))
    url = urls.get("http", urls.get("socks", ""))
    names = ("http_proxy", "https_proxy") if "http" in urls else ("http_proxy", "https_proxy", "all_proxy")
    assign = SHELLS[shell]
    lines = [assign(each, url) for name in names for each in (name, name.upper())]
    lines += [assign(each, NO_PROXY) for each in ("no_proxy", "NO_PROXY")]
    if login:
        lines.append("# Put your own in place of USER:PASSWORD, with %40 for @, %3A for :, %2F for / and %25 for %.")
    if "http" not in urls:
        lines.append("# pip needs PySocks for this; a pipsocks with an HTTP port needs nothing.")
    elif "socks" in urls:
        lines.append(f"# For programs that want SOCKS: {urls['socks']}")
    return "\n".join(lines) + "\n"


def _reachable(listener: ListenerSettings) -> Destination | None:
    """Where a program of this machine finds the listener; None where its description does not tell."""
    at = place(listener.endpoint)
    if at is None or at[1] == 0:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(at[0], at[0])
    return Destination(host, at[1])
