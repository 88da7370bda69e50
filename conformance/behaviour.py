"""What a behaviour is: a question put to a proxy at an address, and the verdict on what it did."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Final

import attrs

PATIENCE: Final = 8.0
"""Seconds after which a proxy that says nothing is taken to say nothing. Real ones answer in milliseconds."""

PLAIN: Final = "plain"
LOGIN: Final = "login"
"""The proxy wants `USER` and `PASSWORD`."""

HASTY: Final = "hasty"
"""The proxy gives a handshake `HASTE` seconds, where that can be set."""

HASTE: Final = 3
USER: Final = "parrot"
PASSWORD: Final = "polly.wants-1t"

PROTOCOLS: Final = {
    "socks5": "SOCKS5",
    "socks4": "SOCKS4",
    "socks4a": "SOCKS4a",
    "connect": "HTTP CONNECT",
    "forward": "HTTP forwarding",
}

PASS: Final = "pass"
FAIL: Final = "fail"
NOT_APPLICABLE: Final = "n.a."


@attrs.frozen
class Address:
    """Where a proxy listens, and which of its protocols is meant."""

    protocol: str
    host: str
    port: int


@attrs.frozen
class Verdict:
    """`outcome` is ``pass``, ``fail`` or ``n.a.``; `observed` says what was seen, in a few words."""

    outcome: str
    observed: str


class Unlike(Exception):
    """The proxy did something else; the text says what."""


class Missing(Exception):
    """This machine cannot put the question; the text says why."""


class Ended(Exception):
    """The connection ended where more was expected of it."""


Test = Callable[[Address], str]


@attrs.frozen
class Behaviour:
    """
    One behaviour.

    `title` says it as a user would. `source` is the RFC and section, or ``ours`` where no RFC demands it of a proxy,
    or the clients that need it. `test` returns what it saw, or raises `Unlike`. `variant` is how the proxy is set up.
    """

    protocol: str
    name: str
    title: str
    source: str
    test: Test
    variant: str = PLAIN

    @property
    def id(self) -> str:
        """What the results call it."""
        return f"{self.protocol}-{self.name}"

    def judge(self, at: Address) -> Verdict:
        """Put the question to the proxy at that address."""
        try:
            return Verdict(PASS, self.test(at))
        except Unlike as unlike:
            return Verdict(FAIL, str(unlike))
        except Missing as missing:
            return Verdict(NOT_APPLICABLE, str(missing))
        except Ended:
            return Verdict(FAIL, "closed the connection")
        except TimeoutError:
            return Verdict(FAIL, "what was to come did not come")
        except ConnectionRefusedError:
            return Verdict(FAIL, "did not accept the connection")
        except OSError as error:
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise
            return Verdict(FAIL, "reset the connection")


BEHAVIOURS: Final[dict[str, Behaviour]] = {}
"""All of them, by id, once `conformance.catalogue` is imported."""


def register(behaviour: Behaviour) -> None:
    """Add one."""
    if behaviour.id in BEHAVIOURS:
        raise ValueError(f"{behaviour.id} is there already")
    BEHAVIOURS[behaviour.id] = behaviour


def asks(name: str, source: str | Mapping[str, str], *protocols: str, variant: str = PLAIN) -> Callable[[Test], Test]:
    """
    Make a behaviour of a function, for each of `protocols`. Its docstring's first line is the title.

    A `source` by protocol names the protocols as well.
    """

    def decorate(test: Test) -> Test:
        title = (test.__doc__ or "").strip().partition("\n")[0].removesuffix(".")
        sources = dict.fromkeys(protocols, source) if isinstance(source, str) else source
        for protocol, each in sources.items():
            register(Behaviour(protocol, name, title, each, test, variant))
        return test

    return decorate


def expect(seen: object, wanted: object, what: str) -> None:
    """Raise `Unlike` where `seen` is not what is wanted."""
    if seen != wanted:
        raise Unlike(f"{what} {_short(seen)}".removeprefix("it "))


def _short(value: object) -> str:
    if not isinstance(value, bytes):
        return str(value)
    text = value.decode("latin-1")
    return repr(text if len(text) <= 60 else text[:57] + "...") if text else "nothing"
