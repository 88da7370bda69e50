"""
Chains as people write them: ``socks5://me:p%40ss@a:1080,http://b:3128``.

The text is split with patterns of our own before anything in it is decoded or looked up, so no secret can move a
boundary; `urllib.parse.urlsplit` would read ``http://a:1#@b/`` otherwise than a browser, and drops tabs and newlines.
No error has a word of what stands before an ``@``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from pipsocks.model import Destination, Login, Secret
from pipsocks.upstream.settings import ChainSettings, HopSettings, SSHSettings, TLSSettings
from pipsocks.upstream.ssh import SSHHop
from pipsocks.upstream.tls import clientTLS
from pipsocks.wire.names import NameInvalid, parseHost, parsePort
from pipsocks.wire.socksclient import LOGIN_LIMIT

PORTS: Final = {"socks5": 1080, "socks5h": 1080, "socks4": 1080, "socks4a": 1080, "http": 80, "https": 443, "ssh": 22}
"""
The schemes, and the ports where none is written: IANA's for SOCKS and ssh, and for HTTP those of its URLs (RFC 9110,
sections 4.2.1 and 4.2.2), as pip, uv and Go have it. (curl takes 1080 for ``http``.)
"""

OPTIONS: Final = {"https": ("ca", "cert", "sni", "verify"), "ssh": ("key", "passphrase", "known_hosts", "agent")}
"""What may stand behind the ``?`` of each scheme that takes any."""

SWITCHES: Final = ("verify", "agent")
"""Options that are on, and take ``off``."""

PROXIES: Final = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")
"""The variables of ``--upstream env``, in the order in which they count."""

_REFERENCE: Final = re.compile(r"(\$\{[^{}]*\})")
_HOPS: Final = re.compile(r"((?:\$\{[^{}]*\}|[^,])*)(?:,|\Z)")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PLACE: Final = re.compile(r"(\[[^\[\]/?#]*\]|[^\[\]:/?#]*)(?::([^:/?#]*))?/?(?:\?([^#]*))?", re.DOTALL)
_PERCENT: Final = re.compile(r"%([0-9A-Fa-f]{2})?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_FOR_SECRETS: Final = "${…} may stand for a user, a password or a passphrase"
_NEARLY: Final = {"socks": "socks5h"}


class ChainInvalid(ValueError):
    """
    The text is no chain. The words name the hop, and never a user or a password.

    @ivar hint: what to write instead; may be empty.
    """

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def _literally(text: str) -> str:
    return text


def parseChain(text: str, expand: Callable[[str], str] = _literally, name: str = "") -> ChainSettings:
    """
    Read a chain: ``direct``, or hops, left to right, separated by commas.

    A hop is ``SCHEME://[USER[:PASSWORD]@]HOST[:PORT][?OPTIONS]``, user, password and options percent-encoded; the
    options ``ca``, ``cert``, ``sni`` and ``verify=off`` are for ``https``, ``key``, ``passphrase``, ``known_hosts`` and
    ``agent=off`` for ``ssh``.

    @param expand: gives the secret for a reference ``${…}`` in a user, a password or a passphrase. It is called after
        the text was split, and what it returns is taken literally.
    @param name: what errors and the journal are to call the chain.
    @raise ChainInvalid: the text is no chain, a secret is missing (what `expand` raises as ValueError), or a file that
        an option names cannot be used.
    """
    pieces = [piece.strip(" \t") for piece in _HOPS.findall(text)]
    # The pattern finds the end of the text once more, behind the last piece, unless that is empty.
    if len(pieces) > 1 and not pieces[-1] and not text.rstrip(" \t").endswith(","):
        pieces.pop()
    if pieces == ["direct"]:
        return ChainSettings(name=name)
    if not any(pieces):
        raise ChainInvalid("the chain is empty", "write direct for no upstream at all")
    if "direct" in pieces:
        raise ChainInvalid("direct is a chain by itself", "list it beside the others, not in one")
    # All schemes first: without one, a hop is most likely what stands behind a comma in a user or a password, and then
    # no error may name the host of the hop before.
    readers = [_Reader(number, piece, expand) for number, piece in enumerate(pieces, 1)]
    return ChainSettings(tuple(reader.read() for reader in readers), name)


def fromEnvironment(environ: Mapping[str, str]) -> str:
    """
    The chain's text that the proxy variables name: the first of `PROXIES` that is not empty.

    A value without a scheme is an HTTP proxy, as other programs have it. It is one hop, and has no references in it:
    commas and dollar signs are its own.

    @raise ChainInvalid: none is set.
    """
    for variable in PROXIES:
        if value := environ.get(variable, "").strip(" \t"):
            value = value if "://" in value else f"http://{value}"
            return value.replace(",", "%2C").replace("$", "%24")
    raise ChainInvalid("env: no proxy is named in the environment", "set HTTPS_PROXY, ALL_PROXY or HTTP_PROXY")


class _Reader:
    """Reads one hop; knows how far it got, for its errors."""

    def __init__(self, number: int, text: str, expand: Callable[[str], str]) -> None:
        self._where = f"hop {number}"
        self._expand = expand
        if not text:
            raise self._wrong("is empty", "there is a comma too many")
        match = _SCHEME.fullmatch(text)
        if match is None:
            comma = "; a comma in a user or password is %2C" if number > 1 and "@" in text else ""
            raise self._wrong("has no scheme", f"a hop begins with one of {_schemes()}{comma}")
        self._scheme, self._rest = match[1].lower(), match[2]

    def read(self) -> HopSettings:
        """See `parseChain`."""
        scheme, rest = self._scheme, self._rest
        if scheme not in PORTS:
            near = _NEARLY.get(scheme) or next(iter(get_close_matches(scheme, PORTS, 1)), "")
            meant = f"did you mean {near}://? " if near else ""
            raise self._wrong(f"has the unknown scheme {scheme[:20]}://", f"{meant}There are {_schemes()}")
        info, address, query = self._place(rest, PORTS[scheme])
        login = self._login(scheme, info)
        given = self._options(scheme, query)
        tls = self._tls(address.host, given) if scheme == "https" else None
        ssh = self._ssh(address, login, given) if scheme == "ssh" else None
        return HopSettings(scheme, address, login, tls, ssh)

    def _wrong(self, what: str, hint: str = "") -> ChainInvalid:
        return ChainInvalid(f"{self._where} {what}", hint)

    def _unread(self, error: OSError) -> ChainInvalid:
        what = f"names a file that cannot be read: {error.filename}: {error.strerror}"
        return self._wrong(what, "look at the path, and at who may read it")

    def _place(self, rest: str, defaultPort: int) -> tuple[str | None, Destination, str | None]:
        """User info (None without an @), host and port, and the query."""
        masked = _REFERENCE.sub(lambda match: "x" * len(match[0]), rest)
        at = masked.rfind("@")
        info = rest[:at] if at >= 0 else None
        if re.search(r"[@/?#]", masked[: max(at, 0)]):
            hint = "percent-encode them: @ is %40, / is %2F, ? is %3F, # is %23"
            raise self._wrong("has an @, /, ? or # inside its user or password, or an @ behind its host", hint)
        if "${" in rest[at + 1 :].partition("?")[0]:
            raise self._wrong("has a reference in its host or port", _FOR_SECRETS)
        match = _PLACE.fullmatch(rest, at + 1)
        if match is None:
            raise self._wrong("is not SCHEME://USER:PASSWORD@HOST:PORT", "an IPv6 address stands in brackets: [::1]")
        host, port, query = match.groups()
        bracketed = host.startswith("[")
        try:
            destination = Destination(parseHost((host[1:-1] if bracketed else host).encode()), defaultPort)
            if bracketed and ":" not in destination.host:
                raise NameInvalid("only IPv6 addresses stand in brackets")
        except NameInvalid as invalid:
            raise self._wrong(f"has no valid host: {invalid}") from None
        try:
            if port is not None:
                destination = Destination(destination.host, parsePort(port.encode()))
        except NameInvalid as invalid:
            # The host is not named: it may be a user whose password was taken for the port.
            hint = "percent-encode : in a user or password as %3A" if info is None else ""
            raise self._wrong(f"has no valid port: {invalid}", hint) from None
        self._where += f" ({destination.host})"
        return info, destination, query

    def _login(self, scheme: str, info: str | None) -> Login | None:
        if not info:
            return None
        at = _REFERENCE.sub(lambda match: "x" * len(match[0]), info).find(":")
        user = self._decoded(info if at < 0 else info[:at], "user")
        password = self._decoded("" if at < 0 else info[at + 1 :], "password")
        if scheme.startswith("http") and ":" in user:
            raise self._wrong("has a colon in its user", "HTTP's Basic login cannot carry one")
        if scheme.startswith("socks4") and password:
            raise self._wrong("has a password, which SOCKS4 cannot carry", "use socks5h, or write the user id alone")
        if scheme.startswith("socks") and max(len(user.encode()), len(password.encode())) > LOGIN_LIMIT:
            raise self._wrong("has a user or password of more than 255 octets, which SOCKS cannot carry")
        return Login(user, Secret(password))

    def _options(self, scheme: str, query: str | None) -> dict[str, str]:
        known = OPTIONS.get(scheme, ())
        if query is not None and not known:
            raise self._wrong("has options, which only https and ssh take", "take off what stands behind the ?")
        given: dict[str, str] = {}
        for option in query.split("&") if query else ():
            key, _, raw = option.partition("=")
            if key not in known:
                near = next(iter(get_close_matches(key, known, 1)), "")
                meant = f"did you mean {near}? " if near else ""
                raise self._wrong("has an unknown option", f"{meant}There are {', '.join(known)}")
            if "${" in raw and key != "passphrase":  # errors and `config --show` print these
                hint = f"write the path or the name itself; {_FOR_SECRETS}"
                raise self._wrong(f"has a reference in its option {key}", hint)
            value = self._decoded(raw, f"option {key}")
            if key in given or not value or (key in SWITCHES and value != "off"):
                hint = f"{key} takes off, and nothing else" if key in SWITCHES else f"{key} is given once, with a value"
                raise self._wrong(f"has a bad option {key}", hint)
            given[key] = value
        return given

    def _tls(self, host: str, given: dict[str, str]) -> TLSSettings:
        verify = given.pop("verify", "") != "off"
        try:
            if "sni" in given:
                given["sni"] = parseHost(given["sni"].encode())
            settings = TLSSettings(**given, verify=verify)
            clientTLS(settings, host)
        except OSError as error:
            raise self._unread(error) from None
        except UnicodeError:  # Twisted verifies what IDNA 2008 calls a name: without underscores, for one
            hint = "name the one in its certificate: ?sni=NAME"
            raise self._wrong("has a name that no certificate can be verified for", hint) from None
        except ValueError as error:
            raise self._wrong(f"cannot do TLS so: {error}") from None
        return settings

    def _ssh(self, address: Destination, login: Login | None, given: dict[str, str]) -> SSHSettings:
        passphrase = given.pop("passphrase", None)
        if passphrase is not None and "key" not in given:
            raise self._wrong("has a passphrase without a key", "name the key that it is for: ?key=FILE&passphrase=…")
        secret = None if passphrase is None else Secret(passphrase)
        agent = given.pop("agent", "") != "off"
        settings = SSHSettings(**given, passphrase=secret, agent=agent)
        try:
            if settings.known_hosts:
                open(os.path.expanduser(settings.known_hosts), "rb").close()
            SSHHop(address, login, settings).user  # noqa: B018
        except ImportError:
            raise self._wrong("needs more of Twisted than is installed", "pip install 'pipsocks[ssh]'") from None
        except OSError as error:
            raise self._unread(error) from None
        except ValueError as error:
            raise self._wrong(f"cannot log in so: {error}") from None
        except KeyError:
            raise self._wrong("has no user, and this process's user has no name", "write ssh://USER@HOST") from None
        return settings

    def _decoded(self, raw: str, what: str) -> str:
        """`raw` percent-decoded, its references replaced by what they stand for."""
        pieces = [
            self._expanded(piece) if _REFERENCE.fullmatch(piece) else self._unquoted(piece, what)
            for piece in _REFERENCE.split(raw)
        ]
        text = "".join(pieces)
        if _CONTROL.search(text):
            raise self._wrong(f"has a control character in its {what}")
        return text

    def _expanded(self, reference: str) -> str:
        try:
            return self._expand(reference)
        except ValueError as error:
            raise ChainInvalid(f"{self._where}: {error}", getattr(error, "hint", "")) from None

    def _unquoted(self, raw: str, what: str) -> str:
        if "${" in raw:
            raise self._wrong(f"has an unfinished ${{…}} in its {what}", "a dollar sign before a brace is %24")
        octets = bytearray()
        end = 0
        for match in _PERCENT.finditer(raw):
            if match[1] is None:
                raise self._wrong(f"has a bare % in its {what}", "a percent sign is written %25")
            octets += raw[end : match.start()].encode() + bytes.fromhex(match[1])
            end = match.end()
        octets += raw[end:].encode()
        try:
            return octets.decode()
        except UnicodeDecodeError:
            raise self._wrong(f"has a {what} that is not UTF-8 once it is percent-decoded") from None


def _schemes() -> str:
    return ", ".join(PORTS)
