"""The values that every room speaks of. Nothing of pipsocks is imported here, and no Twisted."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import attrs

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Secret:
    """A text that prints as ``***``: it reaches the wire through `reveal` and nothing else."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a secret is not pickled")


@attrs.frozen
class Destination:
    """
    Where a client, or a chain's next hop, is to be reached.

    `host` is a name in ASCII (A-labels) as it was asked for, or the canonical text of a literal address:
    the codecs have already turned every spelling of an address into that.
    """

    host: str
    port: int

    @cached_property
    def address(self) -> Address | None:
        """The literal address, or None for a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@attrs.frozen
class Login:
    """A user and a password, for a hop or from a client."""

    user: str
    password: Secret


def withoutLogin(text: str, login: Login | None) -> str:
    """
    A hop's words without the password that we have sent it, as it is or as HTTP's Basic has it: some say it again.

    @param text: read as Latin-1.
    """
    if login is None:
        return text
    password = login.password.reveal().encode()
    plain = password or login.user.encode()  # without a password the user is a token
    for secret in (base64.b64encode(login.user.encode() + b":" + password).rstrip(b"="), plain):
        if secret:
            text = text.replace(secret.decode("latin-1"), "***")
    return text


def masked(text: str) -> str:
    """`text` without what stands before its last ``@``: people put URLs with logins in wrong places."""
    before, at, rest = text.rpartition("@")
    return f"***@{rest}" if before else at + rest


def maskedPath(path: str) -> str:
    """The same of what should be a path, in which an ``@`` is nothing strange: only of a URL."""
    return masked(path) if "://" in path else path


@attrs.frozen
class Request:
    """
    What a client asked for, once it may ask.

    `protocol` is what the journal calls it: ``socks5``, ``socks4``, ``connect``, ``http`` (one forwarded request),
    ``bind`` or ``udp``. `user` is who logged in, empty where nobody had to; `listener` the listener's name in the
    journal (``socks:127.0.0.1:1080``). The destination of a ``bind`` is the peer that is to connect; of an ``udp``,
    where the client says that it will send from, and its port may be 0 for both.
    """

    destination: Destination
    protocol: str
    user: str = ""
    listener: str = ""


@attrs.frozen
class Choice:
    """
    Where a route leads: `to` a group, ``direct``, ``deny``, or empty where there is none for the request; `because`
    says in the journal which route, and why. Of what leads nowhere `refusal` is the `pipsocks.refusal.Refusal`.

    `holdsAt` tells of an address whether the route holds there as well, for a name that takes it by its addresses:
    they may be others when they are dialled. None where they are of no matter.
    """

    to: str
    because: str = ""
    holdsAt: Callable[[str], bool] | None = attrs.field(default=None, eq=False, repr=False)
    refusal: Exception | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Attempt:
    """One try at one chain, as the journal tells it. `outcome` is a refusal's token, or ``ok``."""

    chain: str
    hop: str
    outcome: str
    milliseconds: float


@attrs.frozen
class Ended:
    """
    How a session ended: the outcome's token, the bytes from the client (`up`) and to it (`down`).

    `dropped` counts the datagrams of an association that went nowhere; `reason` says in words why there was none;
    `clientFirst` tells of a tunnel whether it was the client that ended it, and `silence` for how many seconds nothing
    had moved in it then.
    """

    token: str
    up: int = 0
    down: int = 0
    dropped: int = 0
    reason: str = ""
    clientFirst: bool = attrs.field(default=False, eq=False)
    silence: float = attrs.field(default=0.0, eq=False)


class Entry(Protocol):
    """
    One session's line in the journal, being filled. Closing it twice is a programming error.

    @ivar route: the group, or ``direct``; `because` which route led there.
    @ivar sni: the name in a tunnel's TLS ClientHello.
    @ivar replays: how often the first flight went out again; `resumes` how often a download went on behind a cut.
    """

    protocol: str
    user: str
    route: str
    because: str
    relay: str
    sni: str
    replays: int
    resumes: int
    destination: Destination | None

    def attempted(self, attempt: Attempt) -> None:
        """Add an attempt."""

    def close(self, ended: Ended) -> None:
        """Write the line."""


class Transport(Protocol):
    """
    All that conversations, hops and the relay use of a socket, so that a lean transport can stand in for Twisted's.

    The producer of `registerProducer` has `pauseProducing`, `resumeProducing` and `stopProducing`.
    """

    def write(self, data: bytes, /) -> None:
        """Send `data`; buffered without a bound, so mind the producer."""

    def loseConnection(self) -> None:
        """Close once everything is written."""

    def loseWriteConnection(self) -> None:
        """Shut the output down (FIN) once everything is written."""

    def abortConnection(self) -> None:
        """Close at once, with a reset."""

    def pauseProducing(self) -> None:
        """Stop reading."""

    def resumeProducing(self) -> None:
        """Read again."""

    def registerProducer(self, producer: Any, streaming: bool, /) -> None:
        """Let the fill of the write buffer pause `producer`."""

    def unregisterProducer(self) -> None:
        """End that."""

    def getPeer(self) -> Any:
        """The other side's address."""

    def getHost(self) -> Any:
        """Our side's address."""


@attrs.frozen
class Problem:
    """One thing that is wrong with a start: what, where (option, file, line, key), and what to do."""

    what: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f"\nhint: {self.hint}" if self.hint else ""
        return f"{where}{self.what}{hint}"


class StartError(Exception):
    """Nothing can be started from this configuration; carries every problem that was found."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems
