"""
What went wrong on the way out, as Refusals: the one place where errors of sockets, names and hops get their slugs.

The tables are those of behaviour, section 5, "What a failure speaks of".
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from typing import Final

from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.error import ConnectError, TimeoutError

from pipsocks.model import Destination, Login, withoutLogin
from pipsocks.refusal import Refusal
from pipsocks.slugs import About
from pipsocks.upstream.names import NameSilent, NameUnknown
from pipsocks.upstream.sshhosts import HostKeyChanged, HostKeyUnknown
from pipsocks.wire.connect import ConnectRefused, offersOnly
from pipsocks.wire.socks import VERSION_4
from pipsocks.wire.socksclient import HopLogin, HopNonsense, HopRefused

REPORTS: Final = frozenset({About.PLAIN, About.VAGUE, About.ABILITY, About.RULES})
"""What a hop says about where it was asked to go, rather than of itself."""

_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE})

_DIRECT: Final = {
    errno.ECONNREFUSED: "PS-DE01",
    errno.EHOSTUNREACH: "PS-DE03",
    errno.ENETUNREACH: "PS-DE04",
    errno.EADDRNOTAVAIL: "PS-DE04",  # ::1 where there is no IPv6
    errno.ETIMEDOUT: "PS-DE05",
    errno.ECONNRESET: "PS-DE06",
}
_TO_HOP: Final = {
    errno.ECONNREFUSED: "PS-UP02",
    errno.ETIMEDOUT: "PS-UP03",
    errno.ECONNRESET: "PS-UP05",
}

_SOCKS5: Final = {
    1: "PS-UP14",
    2: "PS-UP11",
    3: "PS-UP18",
    4: "PS-UP20",
    5: "PS-UP21",
    6: "PS-UP17",
    7: "PS-UP12",
    8: "PS-UP13",
}
_SOCKS5_WORDS: Final = {
    1: "general failure",
    2: "not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
    # Tor's own, for onion services (its proposal 304, and ExtendedErrors in its manual).
    0xF0: "onion service not found",
    0xF1: "onion service descriptor invalid",
    0xF2: "onion service introduction failed",
    0xF3: "onion service rendezvous failed",
    0xF4: "onion service wants an authorization",
    0xF5: "onion service refuses the authorization",
    0xF6: "onion address invalid",
    0xF7: "onion service introduction timed out",
}
_SOCKS4_WORDS: Final = {
    91: "rejected or failed",
    92: "no identd on the client",
    93: "user id does not match identd",
}
# 401 is what tinyproxy says to a wrong login; no origin can have said it, since CONNECT never got that far.
_HTTP: Final = {401: "PS-UP10", 403: "PS-UP11", 407: "PS-UP10", 502: "PS-UP20", 504: "PS-UP19"}

# What channels are refused with (RFC 4254, section 5.1).
PROHIBITED: Final = 1
CONNECT_FAILED: Final = 2
UNKNOWN_TYPE: Final = 3
RESOURCE_SHORTAGE: Final = 4

# OpenSSH, Go's server and Dropbear give one code to all that goes wrong behind them; the system's words tell more.
_CONNECT_WORDS: Final = (
    ("refused", "PS-UP21"),
    ("timed out", "PS-UP19"),
    ("network is unreachable", "PS-UP18"),
    ("no route to host", "PS-UP20"),
    ("not known", "PS-UP20"),
    ("no such host", "PS-UP20"),
    ("no address associated", "PS-UP20"),
)

# Of a tie, the one that says more: a refusal was sent by somebody, a time-out by nobody.
_TELLING: Final = ("refused", "hop_refused", "hop_destination_refused", "unreachable", "hop_unreachable")


def ofDial(error: ConnectError, destination: Destination, isHop: bool) -> Refusal:
    """Why one TCP connect failed: to the destination itself, or to a chain's first hop."""
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.osError
    if number in _LIMITS:
        return Refusal("PS-LM01")
    if isHop:
        return Refusal(_TO_HOP.get(number, "PS-UP04"), hop=str(destination))
    return Refusal(_DIRECT.get(number, "PS-DE03"), where=str(destination))


def ofName(error: NameUnknown | NameSilent, destination: Destination, isHop: bool) -> Refusal:
    """Why a name gave no address."""
    if error.outOfDescriptors:
        return Refusal("PS-LM01")
    if isHop:
        return Refusal("PS-UP01", hop=str(destination))
    return Refusal("PS-DE02" if isinstance(error, NameUnknown) else "PS-DE07", where=destination.host)


def ofAnswer(
    error: HopRefused | HopLogin | HopNonsense | ConnectRefused,
    speaks: str,
    hop: Destination,
    where: Destination,
    login: Login | None = None,
) -> Refusal:
    """
    What a hop's answer means.

    @param speaks: names the protocol that it was asked in.
    @param login: what it was sent, which nobody is told if it says that again.
    """
    told = {"hop": str(hop), "where": str(where)}
    if isinstance(error, HopNonsense):
        return Refusal("PS-UP07", detail=f"{speaks}: {error.text}", **told)
    if isinstance(error, HopLogin):
        return Refusal("PS-UP10", detail=f": {error.text}", **told)
    if isinstance(error, ConnectRefused):
        said = f"{error.status} {withoutLogin(error.reason, login)}".rstrip()
        detail = withoutLogin(offersOnly(error.fields), login) if error.status == 407 else ""
        return Refusal(_HTTP.get(error.status, "PS-UP14"), detail=detail, said=said, **told)
    if error.version == VERSION_4:
        code = "PS-UP14" if error.reply == 91 else "PS-UP10"
        return Refusal(code, said=f"SOCKS4 reply {error.reply}, {_SOCKS4_WORDS[error.reply]}", **told)
    words = _SOCKS5_WORDS.get(error.reply, "unassigned")
    return Refusal(_SOCKS5.get(error.reply, "PS-UP14"), said=f"SOCKS5 reply {error.reply:02X}, {words}", **told)


def ofSilence(asked: bool, hop: Destination, where: Destination) -> Refusal:
    """A hop that took the connection and did not answer in time."""
    return Refusal("PS-UP15" if asked else "PS-UP06", hop=str(hop), where=str(where))


def ofEnd(asked: bool, reason: BaseException | None, inTLS: bool, hop: Destination, where: Destination) -> Refusal:
    """
    A hop that ended the connection before its answer was whole.

    @param reason: why the connection was lost; None for an end of input.
    @param inTLS: the TLS handshake with the hop was not done.
    """
    told = {"hop": str(hop), "where": str(where)}
    if isinstance(reason, VerificationError):
        return Refusal("PS-UP08", detail="the certificate is for another name", **told)
    if isinstance(reason, SSLError):
        return Refusal("PS-UP08", detail=_ofOpenSSL(reason), **told)
    if inTLS:
        return Refusal("PS-UP08", detail="closed in the handshake", **told)
    return Refusal("PS-UP16" if asked else "PS-UP05", **told)


def ofHostKey(error: HostKeyUnknown | HostKeyChanged, hop: Destination) -> Refusal:
    """An ssh hop that nobody vouches for."""
    if isinstance(error, HostKeyUnknown):
        return Refusal("PS-UP26", hop=str(hop), detail=error.file, said=error.key)
    return Refusal("PS-UP27", hop=str(hop), detail=error.how, said=error.key)


def ofSSH(words: str, hop: Destination) -> Refusal:
    """What an ssh hop sent makes no sense, or it speaks nothing that we do."""
    return Refusal("PS-UP07", detail="SSH", said=words, hop=str(hop), where=str(hop))


def ofSSHLogin(takes: str, offered: str, said: str, hop: Destination) -> Refusal:
    """
    An ssh hop did not let us in.

    @param takes: the methods that it takes, where it told them.
    @param offered: what it was offered.
    @param said: its last words.
    """
    detail = f": offered {offered}; it takes {takes}" if takes else ""
    return Refusal("PS-UP10", detail=detail, said=said, hop=str(hop), where=str(hop))


def ofChannel(reason: int, text: str, hop: Destination, where: Destination) -> Refusal:
    """An ssh hop did not open a tunnel, by its reason code and the words that it gave."""
    if reason == CONNECT_FAILED:
        lower = text.lower()
        code = next((code for words, code in _CONNECT_WORDS if words in lower), "PS-UP14")
    else:
        code = {PROHIBITED: "PS-UP11", UNKNOWN_TYPE: "PS-UP12"}.get(reason, "PS-UP14")
    return Refusal(code, said=text, hop=str(hop), where=str(where))


def onNextHop(report: Refusal, following: Destination) -> Refusal:
    """What a hop before the last reported, which speaks of the hop behind it; any other failure stays what it is."""
    if report.about not in REPORTS:
        return report
    if not report.hop:  # socks5 and socks4 look the next name up here
        return Refusal("PS-UP01", hop=str(following))
    told = {"detail": f"{report.hop} ({report.slug.brief})", "said": report.said, "sayer": report.hop}
    return Refusal("PS-UP23", hop=str(following), where=report.where, **told)


def commonest(failures: Sequence[Refusal]) -> Refusal:
    """
    Of the failures of a destination's addresses the one to tell: the commonest, of a tie the most telling.

    Having no route to a network says something of this machine (IPv6 that is not there), and stands back.
    """
    routed = [failure for failure in failures if failure.slug.token not in ("network_unreachable", "hop_network")]
    failures = routed or failures
    counted = Counter(failure.slug.code for failure in failures)

    def weight(failure: Refusal) -> tuple[int, int]:
        token = failure.slug.token
        return counted[failure.slug.code], -_TELLING.index(token) if token in _TELLING else -len(_TELLING)

    return max(failures, key=weight)


def _ofOpenSSL(error: SSLError) -> str:
    """OpenSSL's own words; it keeps them as a list of (library, function, reason)."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return str(entries[-1][-1]) if entries else type(error).__name__
