"""
The one table of what a client may be told of: every slug with its words in each protocol.

Each row is a kind of failure: its stable slug, its status and reply code, and what it speaks of (which decides
what the search does next). ``pipsocks explain`` and the documentation are made from it.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs


class About(enum.Enum):
    """What a failure speaks of."""

    CLIENT = "the client"  # final: our rules, login and limits, a malformed request
    HOP = "a hop"  # another chain, and blame
    PLAIN = "the destination, plainly"
    VAGUE = "the destination or the hop"
    ABILITY = "what the hop can do"
    RULES = "the hop's rules"
    LOGIN = "the login at a hop"
    NOTHING = "nothing"  # cut by the deadline


@attrs.frozen
class Slug:
    """
    One row of the table.

    `status` is the HTTP status, `reply` the SOCKS5 reply code, `error` the ``Proxy-Status`` token of RFC 9209,
    section 2.3 (empty where there is none that fits). `phrase` may name ``{chain}`` (the chain's label, with
    the hop where it has several), ``{where}`` (the destination) and ``{detail}``; `brief` is the word for it in
    a list of several failures.
    """

    code: str
    token: str
    about: About
    status: int
    reply: int
    error: str
    brief: str
    phrase: str
    meaning: str
    remedy: str


def _table(*rows: Slug) -> dict[str, Slug]:
    return {row.code: row for row in rows}


_C = About.CLIENT
SLUGS: Final = _table(
    Slug(
        "PS-RQ01", "bad_request", _C, 400, 1, "http_request_error", "bad request",
        "malformed request: {detail}",
        "The bytes that arrived are not a request that a proxy can read without guessing.",
        "Look at what the client sends; a client that speaks another protocol than its proxy URL says does this.",
    ),
    Slug(
        "PS-RQ02", "not_a_proxy_request", _C, 400, 1, "http_request_error", "not a proxy request",
        "this is a proxy, {detail}",
        "The request was addressed to the proxy itself, or in a form that a proxy does not forward.",
        "Set this address as the proxy (http_proxy, https_proxy) instead of opening it as a site.",
    ),
    Slug(
        "PS-RQ03", "tls_on_plain_port", _C, 400, 1, "http_request_error", "TLS on a plain port",
        "the client used https:// for a plain proxy; write http:// in the proxy URL",
        "A TLS ClientHello arrived on a port that speaks plain HTTP and SOCKS.",
        "Write http:// before the proxy's address. What you fetch through it stays encrypted end to end.",
    ),
    Slug(
        "PS-RQ04", "head_too_large", _C, 431, 1, "http_request_error", "head too large",
        "request head too large: 64 KiB and 200 fields at most",
        "The head of the request is over 64 KiB or has more than 200 fields.",
        "Look for a cookie or a header that grows.",
    ),
    Slug(
        "PS-RQ05", "http_version", _C, 505, 1, "http_request_error", "HTTP version",
        "only HTTP/1.0 and HTTP/1.1 are spoken here",
        "A request with a major version other than 1 arrived.",
        "Use HTTP/1.1 towards the proxy; HTTP/2 passes inside a CONNECT tunnel.",
    ),
    Slug(
        "PS-RQ06", "handshake_timeout", _C, 408, 1, "", "handshake too slow",
        "the request was not complete in time",
        "The client did not finish its request within the time for a handshake (10 s).",
        "Look for a client that connects in advance, or for a link that loses packets.",
    ),
    Slug(
        "PS-RQ07", "strict_listener", _C, 400, 1, "", "other protocol",
        "this port is strict and speaks only {detail}",
        "The listener is set to strict, and the client spoke the other protocol.",
        "Use the other port, or take strict out of the listener's configuration.",
    ),
    Slug(
        "PS-RQ08", "command_unsupported", _C, 405, 7, "", "command not supported",
        "{detail} is not supported",
        "The command or method is one that this proxy does not carry out.",
        "Use CONNECT (SOCKS and HTTP) or an http:// request.",
    ),
    Slug(
        "PS-RQ09", "address_type", _C, 400, 8, "", "address type not supported",
        "address type not supported",
        "The SOCKS request carries an address type other than IPv4, IPv6 and a name.",
        "Use a client that speaks RFC 1928.",
    ),
    Slug(
        "PS-RQ10", "bad_destination", _C, 400, 1, "http_request_error", "bad destination",
        "that is no host and port: {detail}",
        "The destination is not a name or an address with a port from 1 to 65535.",
        "Look at the URL or the host name that the client was given.",
    ),
    Slug(
        "PS-AU01", "login_required", _C, 407, 2, "http_request_denied", "login required",
        "login required; put user:password@ before the proxy's host",
        "The listener asks for a user and a password, and the client sent none.",
        "Write http://USER:PASSWORD@HOST:PORT as the proxy URL, special characters percent-encoded.",
    ),
    Slug(
        "PS-AU02", "login_failed", _C, 407, 2, "http_request_denied", "login failed",
        "login failed; check user and password (percent-encode @ : / %)",
        "The user is not known or the password is wrong.",
        "Percent-encode special characters in the proxy URL (@ is %40, : is %3A, % is %25).",
    ),
    Slug(
        "PS-RU01", "denied", _C, 403, 2, "http_request_denied", "denied",
        "{detail} denies {where}",
        "A rule of this proxy, a route that denies, or its address guard does not let this client go there.",
        "Ask whoever runs this proxy: rules are --allow and --deny, or [[rule]] and [[route]] in its configuration.",
    ),
    Slug(
        "PS-RU02", "loop", _C, 508, 2, "proxy_loop_detected", "loop",
        "{where} is this proxy itself",
        "The destination is one of this proxy's own listeners: the request would run in a circle.",
        "Look at the URL that was asked for, and at the upstreams.",
    ),
    Slug(
        "PS-RU03", "no_route", _C, 403, 2, "http_request_denied", "no route",
        "no route leads to {where}",
        "This proxy has routes, and none of them is for this destination, port, user and listener.",
        "Ask whoever runs this proxy; a last [[route]] without conditions, or upstream, takes what no other one does.",
    ),
    Slug(
        "PS-LM01", "out_of_descriptors", _C, 429, 1, "connection_limit_reached", "limit",
        "out of file descriptors; try again, or raise LimitNOFILE",
        "The process may not open another connection.",
        "Raise the limit of open files (ulimit -n, LimitNOFILE= in the unit).",
    ),
    Slug(
        "PS-LM02", "no_udp_port", _C, 429, 1, "connection_limit_reached", "limit",
        "no UDP port is free for an association",
        "There is no port to receive the client's datagrams on.",
        "Widen udp_ports, or look for clients that keep associations open.",
    ),
    Slug(
        "PS-SV01", "stopping", _C, 503, 1, "", "stopping",
        "the proxy is stopping",
        "The proxy was told to stop and takes no new requests.",
        "Try again when it is back.",
    ),
    Slug(
        "PS-SV02", "internal", _C, 500, 1, "proxy_internal_error", "internal error",
        "an error in pipsocks itself; please report it",
        "Something went wrong inside pipsocks that it has no name for. Its log has the details.",
        "Report it with the log's lines.",
    ),
    Slug(
        "PS-DE01", "refused", About.PLAIN, 502, 5, "connection_refused", "refused",
        "{where} refused the connection",
        "Nothing listens on that port of the destination, or a firewall there says no.",
        "Check host and port; check that the service runs.",
    ),
    Slug(
        "PS-DE02", "no_such_name", About.PLAIN, 502, 4, "dns_error", "no such name",
        "no such name: {where}",
        "The name server knows no address for the host name.",
        "Check the spelling; a name of a private network needs that network's name server.",
    ),
    Slug(
        "PS-DE03", "unreachable", About.PLAIN, 502, 4, "destination_ip_unroutable", "unreachable",
        "{where} is unreachable",
        "There is no way to the destination's address from here, or from the last hop.",
        "Check the network, and IPv6 above all.",
    ),
    Slug(
        "PS-DE04", "network_unreachable", About.PLAIN, 502, 3, "destination_ip_unroutable",
        "network unreachable", "no route to the network of {where}",
        "The machine has no route to the network of the destination.",
        "Check the machine's own connection.",
    ),
    Slug(
        "PS-DE05", "timeout", About.VAGUE, 504, 4, "connection_timeout", "timed out",
        "{where} did not answer the connection in time",
        "The connection to the destination was not made in time.",
        "The destination may be down or filtered; try an upstream.",
    ),
    Slug(
        "PS-DE06", "reset", About.VAGUE, 502, 1, "connection_terminated", "reset",
        "{where} reset the connection",
        "The destination broke the connection off.",
        "Try again; try an upstream.",
    ),
    Slug(
        "PS-DE07", "name_timeout", About.VAGUE, 504, 4, "dns_timeout", "name server silent",
        "the name server did not answer for {where}",
        "Looking the host name up took longer than 5 seconds.",
        "Check the name servers in /etc/resolv.conf; with socks5h or http upstreams names are looked up there.",
    ),
    Slug(
        "PS-DE08", "origin_nonsense", About.CLIENT, 502, 1, "http_protocol_error", "bad response",
        "{where} sent a malformed response: {detail}",
        "The origin's answer is not HTTP that can be passed on without guessing.",
        "Ask the site's operator.",
    ),
    Slug(
        "PS-DE09", "origin_silent", About.CLIENT, 504, 4, "http_response_timeout", "no response",
        "{where} accepted the request and did not answer in time",
        "No response head came in time.",
        "The site is slow or overloaded; try again.",
    ),
    Slug(
        "PS-DE10", "origin_closed", About.CLIENT, 502, 1, "http_response_incomplete", "closed",
        "{where} closed the connection without an answer",
        "The connection ended before a response head came.",
        "Try again.",
    ),
    Slug(
        "PS-UP01", "hop_name", About.HOP, 502, 1, "dns_error", "name not found",
        "upstream {chain} has a name that is not found",
        "The upstream's host name could not be looked up.",
        "Check the upstream's spelling, and the name server.",
    ),
    Slug(
        "PS-UP02", "hop_refused", About.HOP, 502, 1, "connection_refused", "refused",
        "upstream {chain} refused the connection",
        "Nothing listens on the upstream's port, or a firewall says no.",
        "Check that the upstream runs, and its port.",
    ),
    Slug(
        "PS-UP03", "hop_timeout", About.HOP, 504, 1, "connection_timeout", "timed out",
        "upstream {chain} did not answer the connection in time",
        "The TCP connection to the upstream was not made in time.",
        "The upstream is down or filtered.",
    ),
    Slug(
        "PS-UP04", "hop_unreachable", About.HOP, 502, 1, "destination_ip_unroutable", "unreachable",
        "upstream {chain} is unreachable",
        "There is no route to the upstream.",
        "Check the machine's own connection.",
    ),
    Slug(
        "PS-UP05", "hop_closed", About.HOP, 502, 1, "connection_terminated", "closed",
        "upstream {chain} closed the connection",
        "The upstream closed or reset the connection before it was asked for the destination.",
        "The upstream may be overloaded, or forbid this client.",
    ),
    Slug(
        "PS-UP06", "hop_silent", About.HOP, 504, 1, "connection_timeout", "silent",
        "upstream {chain} accepted and said nothing",
        "The upstream took the connection and did not answer in time, before it was asked for the destination.",
        "The upstream hangs, or speaks another protocol than its URL says.",
    ),
    Slug(
        "PS-UP07", "hop_nonsense", About.HOP, 502, 1, "http_protocol_error", "nonsense",
        "upstream {chain} does not speak {detail}",
        "The upstream's answer is not of the protocol that its URL names.",
        "Check the scheme and the port of the upstream (socks5h://, http://, https://, ssh://).",
    ),
    Slug(
        "PS-UP08", "hop_tls", About.HOP, 502, 1, "tls_certificate_error", "TLS failed",
        "TLS to upstream {chain} failed: {detail}",
        "The TLS handshake with an https:// upstream failed; its certificate may not be trusted here.",
        "Give the upstream's CA (?ca=FILE), or check the name in its URL.",
    ),
    Slug(
        "PS-UP09", "none_worked", About.NOTHING, 503, 1, "destination_unavailable", "none worked",
        "none of {detail}",
        "No upstream that was asked brought an answer; how each of them failed stands in the list.",
        "Look at each; the journal has every attempt, and the log says which upstreams are out, and why.",
    ),
    Slug(
        "PS-UP10", "hop_login", About.LOGIN, 502, 1, "http_upgrade_failed", "login",
        "upstream {chain} refused our login{detail}",
        "The upstream wants a login that it does not get from this configuration.",
        "Check user and password in the upstream's URL, special characters percent-encoded; for ssh:// the key.",
    ),
    Slug(
        "PS-UP11", "hop_forbids", About.RULES, 403, 2, "connection_refused", "forbids it",
        "upstream {chain} forbids {where}",
        "The upstream's own rules do not allow the destination.",
        "Use another upstream for it, or ask the upstream's operator.",
    ),
    Slug(
        "PS-UP12", "hop_command", About.ABILITY, 502, 7, "", "cannot connect",
        "upstream {chain} does not carry connections",
        "The upstream does not know the command (SOCKS reply 07), or opens no tunnels (ssh).",
        "Use another upstream.",
    ),
    Slug(
        "PS-UP13", "hop_address_type", About.ABILITY, 502, 8, "", "address type",
        "upstream {chain} does not take that kind of address",
        "The upstream does not take the address type (SOCKS reply 08), or SOCKS4 was given IPv6.",
        "Use an upstream that takes IPv6, or socks5h, which sends names.",
    ),
    Slug(
        "PS-UP14", "hop_failed", About.VAGUE, 502, 1, "destination_unavailable", "failed",
        "upstream {chain} could not reach {where}",
        "The upstream reported a failure without saying whose it is.",
        "Check the destination's spelling; try it another way; ask the upstream's operator.",
    ),
    Slug(
        "PS-UP15", "hop_silent_after", About.VAGUE, 504, 1, "connection_timeout", "silent",
        "upstream {chain} was asked and said nothing",
        "The upstream was asked for the destination and did not answer in time.",
        "The destination may be dead, or the upstream hangs.",
    ),
    Slug(
        "PS-UP16", "hop_closed_after", About.VAGUE, 502, 1, "connection_terminated", "closed",
        "upstream {chain} was asked and closed",
        "The upstream was asked for the destination and closed or reset the connection.",
        "The destination may be dead, or the upstream fails.",
    ),
    Slug(
        "PS-UP17", "hop_ttl", About.VAGUE, 504, 6, "connection_timeout", "TTL expired",
        "upstream {chain} says the TTL expired for {where}",
        "The upstream answered with SOCKS reply 06.",
        "The destination may be unreachable from there.",
    ),
    Slug(
        "PS-UP18", "hop_network", About.VAGUE, 502, 3, "destination_ip_unroutable", "network unreachable",
        "upstream {chain} has no route to {where}",
        "The upstream answered with SOCKS reply 03, or said so by ssh.",
        "The destination may be unreachable from there; IPv6 may be missing there.",
    ),
    Slug(
        "PS-UP19", "hop_gateway_timeout", About.PLAIN, 504, 4, "connection_timeout", "timed out",
        "upstream {chain} timed out reaching {where}",
        "The upstream answered with HTTP status 504, or said so by ssh.",
        "The destination may be down.",
    ),
    Slug(
        "PS-UP20", "hop_bad_gateway", About.PLAIN, 502, 4, "destination_unavailable", "bad gateway",
        "upstream {chain} cannot reach {where}",
        "The upstream answered with HTTP status 502, SOCKS reply 04, or said so by ssh.",
        "Check the destination's spelling; it may be down.",
    ),
    Slug(
        "PS-UP21", "hop_destination_refused", About.PLAIN, 502, 5, "connection_refused", "refused there",
        "{where} refused the connection of upstream {chain}",
        "The upstream answered with SOCKS reply 05, or said so by ssh: the destination said no.",
        "Check host and port of the destination.",
    ),
    Slug(
        "PS-UP22", "deadline", About.NOTHING, 504, 1, "connection_timeout", "no time left",
        "no way was found within {detail}",
        "The time for finding a way ended while an upstream was still being asked.",
        "Take slow upstreams out, or raise retry.total.",
    ),
    Slug(
        "PS-UP23", "hop_not_reached", About.HOP, 502, 1, "destination_unavailable", "not reached",
        "upstream {chain} was not reached by {detail}",
        "A hop before the last could not, or would not, connect to the hop behind it.",
        "Check the address of the later hop as the earlier one sees it, and what the earlier one allows.",
    ),
    Slug(
        "PS-UP24", "hop_loop", About.HOP, 508, 2, "proxy_loop_detected", "loop",
        "upstream {chain} is this proxy itself",
        "The upstream's address is one of this proxy's own listeners: the request would run in a circle.",
        "Name another upstream, or direct.",
    ),
    Slug(
        "PS-UP25", "not_carried", About.ABILITY, 502, 7, "", "not carried",
        "{detail} is not carried over upstream {chain}",
        "Datagrams pass on the direct route and through a single socks5 hop, BIND on the direct route alone.",
        "Use another upstream, or direct.",
    ),
    Slug(
        "PS-UP26", "hop_key_unknown", About.HOP, 502, 1, "", "host key unknown",
        "the host key of upstream {chain} is not in {detail}",
        "Nothing vouches for the key that an ssh:// upstream shows, so it is not logged in to.",
        "Ask for the key's fingerprint; then ssh-keyscan -p PORT HOST >> FILE, or log in once with ssh (known_hosts).",
    ),
    Slug(
        "PS-UP27", "hop_key_changed", About.HOP, 502, 1, "", "host key changed",
        "upstream {chain} has another host key: {detail}",
        "The key that an ssh:// upstream shows is not the one that known_hosts has: it was changed, or is forged.",
        "Ask whoever runs it; if it was changed: ssh-keygen -R '[HOST]:PORT' -f FILE, then as for PS-UP26.",
    ),
    Slug(
        "PS-UP30", "died", About.VAGUE, 502, 1, "connection_terminated", "died",
        "upstream {chain} said yes for {where} and ended before a byte came back",
        "The tunnel, or the connection for a request, ended before anything had come from the destination.",
        "The upstream may be overloaded; where every upstream does it, look at the destination.",
    ),
    Slug(
        "PS-UP31", "unanswered", About.VAGUE, 504, 4, "connection_timeout", "unanswered",
        "upstream {chain} said yes for {where} and nothing came back",
        "The client's first bytes stayed without an answer, for 4 seconds or until the client gave up.",
        "The upstream may swallow connections; where every upstream does it, look at the destination.",
    ),
    Slug(
        "PS-UP32", "overtaken", About.VAGUE, 504, 4, "connection_timeout", "overtaken",
        "upstream {chain} was slower for {where} than another one",
        "While this upstream was still being asked, one that was asked later had the destination.",
        "Nothing is wrong where it happens now and then.",
    ),
    Slug(
        "PS-UP33", "probe_failed", About.HOP, 502, 1, "tls_certificate_error", "probe failed",
        "upstream {chain} leads a probe to somebody else than {where}: {detail}",
        "A probe went all the way, and TLS at its end was not the target's: a captive portal answers like that.",
        "Look at what the upstream does with https://; check the target of probe=, and its certificate.",
    ),
    Slug(
        "PS-UP34", "no_budget", About.NOTHING, 503, 1, "connection_limit_reached", "no attempts left",
        "no further attempt is allowed: too many have failed",
        "Further attempts have a budget, so that dead upstreams are not hammered, and it is spent.",
        "Look at the journal for the upstreams that fail; retry.budget raises it.",
    ),
)  # fmt: skip
