"""Behaviours of forwarding: requests in absolute-form, and what becomes of their heads and bodies (RFC 9110, 9112)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from conformance.behaviour import LOGIN, Address, Ended, Missing, Unlike, asks, expect
from conformance.grammar import Answer, readAnswer
from conformance.login import credentials
from conformance.talk import Head, Origin, Talk, dial, refusing
from conformance.tunnels import refusedOrClosed

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@contextlib.contextmanager
def between(at: Address, host: str = "127.0.0.1") -> Iterator[tuple[Talk, Origin]]:
    """A client's connection and an origin."""
    with Origin(host) as origin, dial(at.host, at.port) as near:
        yield near, origin


def request(
    origin: Origin, method: bytes = b"GET", path: bytes = b"/", fields: bytes = b"", version: bytes = b"1.1"
) -> bytes:
    """A request in absolute-form."""
    return b"%b http://%b%b HTTP/%b\r\nHost: %b\r\n%b\r\n" % (method, origin.name, path, version, origin.name, fields)


KEEPS_NONE = "it keeps no connection to the client, so there is no second request"


def keptAfter(near: Talk, status: int) -> None:
    """Read an answer of that status. Raises `Missing` where no request may follow it (RFC 9112, 9.3)."""
    answer = readAnswer(near)
    expect(answer.status, status, "answered")
    options = answer.head.get(b"connection").lower() + answer.head.get(b"proxy-connection").lower()
    ends = b"close" in options or (answer.head.start.startswith(b"HTTP/1.0") and b"keep-alive" not in options)
    if ends or near.isOver(0.2):
        raise Missing(KEEPS_NONE)


def exchange(
    at: Address,
    response: bytes = OK,
    method: bytes = b"GET",
    fields: bytes = b"",
    path: bytes = b"/",
    close: bool = False,
) -> tuple[Head, Answer]:
    """One request, and that response to it: what the origin saw of the one, and the client of the other."""
    with between(at) as (near, origin):
        near.send(request(origin, method, path, fields))
        far = origin.accept()
        seen = far.head()
        far.send(response)
        if close:
            far.close()
        return seen, readAnswer(near, method)


@asks("get", "RFC 9112, 3.2.1 and 3.2.2", "forward")
def get(at: Address) -> str:
    """A request for an absolute URL reaches the origin in origin-form, and its answer comes back."""
    seen, answer = exchange(at, path=b"/a%20b?c=d&e=%2F")
    expect(seen.asked, b"GET /a%20b?c=d&e=%2F", "the origin saw")
    expect((answer.status, answer.body), (200, b"ok"), "the client got")
    return "it came back"


@asks("drip", "RFC 9112, 2.2; RFC 9293, 3.9.1", "forward")
def byteByByte(at: Address) -> str:
    """A request that arrives octet by octet, and an answer too, work."""
    with between(at) as (near, origin):
        near.drip(request(origin, path=b"/drip"), 0.002)
        far = origin.accept()
        expect(far.head().asked, b"GET /drip", "the origin saw")
        far.drip(OK, 0.002)
        expect(readAnswer(near).body, b"ok", "the client got")
        return "it works"


@asks("ipv6", "RFC 3986, 3.2.2", "forward")
def ipv6(at: Address) -> str:
    """An IPv6 address in the URL works, and stands in Host."""
    with between(at, "::1") as (near, origin):
        near.send(request(origin))
        far = origin.accept()
        expect(far.head().get(b"host"), origin.name, "Host")
        far.send(OK)
        expect(readAnswer(near).status, 200, "answered")
        return "it works"


@asks("host", "RFC 9112, 3.2.2 (MUST)", "forward")
def host(at: Address) -> str:
    """Host at the origin is the URL's, whatever the client wrote in its own."""
    with between(at) as (near, origin):
        near.send(b"GET http://%b/ HTTP/1.1\r\nHost: elsewhere.invalid\r\n\r\n" % origin.name)
        far = origin.accept()
        seen = far.head()
        far.send(OK)
        expect(seen.get(b"host"), origin.name, "Host")
        return "the URL's"


@asks("empty-path", "RFC 9112, 3.2.1 (MUST)", "forward")
def emptyPath(at: Address) -> str:
    """A URL without a path asks the origin for /."""
    expect(exchange(at, path=b"")[0].asked, b"GET /", "the origin saw")
    return "/"


@asks("query-only", "RFC 9112, 3.2.1; RFC 9110, 4.2.3", "forward")
def queryOnly(at: Address) -> str:
    """A URL with a query and no path asks the origin for /?query."""
    expect(exchange(at, path=b"?q")[0].asked, b"GET /?q", "the origin saw")
    return "/?q"


@asks("options-star", "RFC 9112, 3.2.4 (MUST)", "forward")
def optionsStar(at: Address) -> str:
    """OPTIONS for a URL without path and query is OPTIONS * at the origin."""
    expect(exchange(at, method=b"OPTIONS", path=b"")[0].asked, b"OPTIONS *", "the origin saw")
    return "OPTIONS *"


@asks("method", "RFC 9110, 16.1 (WebDAV, git and others)", "forward")
def otherMethod(at: Address) -> str:
    """A method that the proxy has never heard of is passed on."""
    expect(exchange(at, method=b"PURR")[0].asked, b"PURR /", "the origin saw")
    return "passed on"


@asks("via-request", "RFC 9110, 7.6.3 (MUST)", "forward")
def viaRequest(at: Address) -> str:
    """The origin sees in Via that a proxy was there."""
    via = exchange(at, fields=b"Via: 1.0 before\r\n")[0].get(b"via")
    if not via.startswith(b"1.0 before"):
        raise Unlike("the client's Via is gone" if via else "no Via")
    if b"," not in via:
        raise Unlike("only the client's own Via")
    return "added"


@asks("via-answer", "RFC 9110, 7.6.3 (MUST)", "forward")
def viaAnswer(at: Address) -> str:
    """The client sees in Via that a proxy was there."""
    if not exchange(at)[1].head.get(b"via"):
        raise Unlike("no Via")
    return "added"


@asks("hop-by-hop", "RFC 9110, 7.6.1 (MUST)", "forward")
def hopByHop(at: Address) -> str:
    """Fields that Connection names end at the proxy, on the way in."""
    seen, _ = exchange(at, fields=b"Connection: X-Mine, keep-alive\r\nX-Mine: 1\r\nX-Theirs: 2\r\n")
    expect(seen.get(b"x-theirs"), b"2", "X-Theirs")
    expect(seen.get(b"x-mine"), b"", "X-Mine")
    return "dropped"


@asks("hop-by-hop-answer", "RFC 9110, 7.6.1 (MUST)", "forward")
def hopByHopAnswer(at: Address) -> str:
    """Fields that Connection names end at the proxy, on the way out."""
    response = b"HTTP/1.1 200 OK\r\nConnection: x-mine\r\nX-Mine: 1\r\nX-Theirs: 2\r\nContent-Length: 2\r\n\r\nok"
    head = exchange(at, response)[1].head
    expect(head.get(b"x-theirs"), b"2", "X-Theirs")
    expect(head.get(b"x-mine"), b"", "X-Mine")
    return "dropped"


@asks("proxy-connection", "RFC 9110, 7.6.1; curl, npm, Chromium", "forward")
def proxyConnection(at: Address) -> str:
    """Proxy-Connection, Keep-Alive and the client's TE end at the proxy."""
    fields = b"Proxy-Connection: keep-alive\r\nConnection: keep-alive, TE\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n"
    seen, _ = exchange(at, fields=fields)
    left = [name for name in ("proxy-connection", "keep-alive", "te") if seen.all(name.encode())]
    if b"te" in seen.get(b"connection").lower().replace(b" ", b"").split(b","):
        left.remove("te")  # the proxy's own, for the next hop (RFC 9110, 10.1.4)
    if left:
        raise Unlike(f"the origin saw {', '.join(left)}")
    return "dropped"


@asks("upgrade-h2c", "RFC 9110, 7.8; ours", "forward")
def h2c(at: Address) -> str:
    """An offer of HTTP/2 (Upgrade: h2c) ends at the proxy."""
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    seen, _ = exchange(at, fields=fields)
    if seen.all(b"upgrade") or seen.all(b"http2-settings"):
        raise Unlike("the origin saw it")
    return "dropped"


@asks("websocket", "RFC 6455, 4; RFC 9110, 7.8; ours", "forward")
def websocket(at: Address) -> str:
    """A WebSocket over plain http is opened, and becomes a tunnel."""
    fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n"
    with between(at) as (near, origin):
        near.send(request(origin, fields=fields))
        far = origin.accept()
        seen = far.head()
        if seen.get(b"upgrade").lower() != b"websocket":
            far.send(OK)
            raise Unlike("Upgrade was dropped")
        far.send(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        expect(readAnswer(near).status, 101, "answered")
        expect(near.read(5), b"hello", "the client got")
        near.send(b"and back")
        expect(far.read(8), b"and back", "the origin got")
        return "a tunnel"


@asks("identity", "ours (privacy)", "forward")
def identity(at: Address) -> str:
    """The proxy does not tell the origin who the client is."""
    seen, _ = exchange(at)
    told = [name for name in ("x-forwarded-for", "forwarded", "x-real-ip", "client-ip") if seen.all(name.encode())]
    if told:
        raise Unlike(f"{', '.join(told)} was added")
    return "nothing of it"


@asks("max-forwards-0", "RFC 9110, 7.6.2 (MUST)", "forward")
def maxForwardsZero(at: Address) -> str:
    """TRACE and OPTIONS with Max-Forwards: 0 go no further."""
    seen = []
    for method in (b"TRACE", b"OPTIONS"):
        with between(at) as (near, origin):
            near.send(request(origin, method, b"/", b"Max-Forwards: 0\r\n"))
            if not origin.isAlone(0.5):
                raise Unlike(f"the origin saw the {method.decode()}")
            seen.append(f"{method.decode()} answered {near.head().status}")
    return ", ".join(seen)


@asks("max-forwards", "RFC 9110, 7.6.2 (MUST)", "forward")
def maxForwards(at: Address) -> str:
    """Max-Forwards of an OPTIONS is one less at the origin."""
    seen, _ = exchange(at, method=b"OPTIONS", fields=b"Max-Forwards: 3\r\n")
    expect(seen.get(b"max-forwards"), b"2", "Max-Forwards at the origin")
    return "2 of 3"


@asks("refused", "RFC 9209, 2.3.7 (recommends 502); ours", "forward")
def refused(at: Address) -> str:
    """An origin that refuses is a bad gateway (502), or an unavailable one (503, 504)."""
    with refusing() as port, dial(at.host, at.port) as near:
        near.send(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (port, port))
        status = near.head().status
        if status not in (502, 503, 504):
            raise Unlike(f"answered {status}")
        return f"answered {status}"


@asks("no-such-name", "RFC 9209, 2.3.2 (recommends 502); ours", "forward")
def noSuchName(at: Address) -> str:
    """A name that does not exist is a bad gateway (502), or an unavailable one (503, 504)."""
    with dial(at.host, at.port) as near:
        near.send(b"GET http://no-such-host.invalid/ HTTP/1.1\r\nHost: no-such-host.invalid\r\n\r\n")
        status = near.head().status
        if status not in (502, 503, 504):
            raise Unlike(f"answered {status}")
        return f"answered {status}"


@asks("origin-form", "RFC 9112, 3.2.2; ours", "forward")
def originForm(at: Address) -> str:
    """A request in origin-form, as to a web server, is refused with a status of the 400s."""
    with dial(at.host, at.port) as near:
        near.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % at.port)
        status = near.head().status
        if not 400 <= status < 500:
            raise Unlike(f"answered {status}")
        return f"answered {status}"


@asks("user-info", "RFC 9110, 4.2.4", "forward")
def userInfo(at: Address) -> str:
    """User info in a URL is refused, or does not reach the origin in target or Host."""
    with between(at) as (near, origin):
        near.send(b"GET http://parrot:secret@%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (origin.name, origin.name))
        near.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            return refusedOrClosed(at, near)
        far = origin.accept(1)
        seen = far.head()
        far.send(OK)
        if b"secret" in seen.start + seen.get(b"host"):
            raise Unlike("the origin saw it")
        return "sent on without it"


@asks("login", "RFC 9110, 11.7.2", "forward", variant=LOGIN)
def login(at: Address) -> str:
    """With the right login you get through, and the origin never sees it."""
    seen, answer = exchange(at, fields=credentials())
    expect(answer.status, 200, "answered")
    if seen.all(b"proxy-authorization"):
        raise Unlike("the origin saw Proxy-Authorization")
    return "the origin did not see it"


@asks("login-every-request", "RFC 9110, 11.7.2; ours", "forward", variant=LOGIN)
def loginForEach(at: Address) -> str:
    """A request without a login behind one with it, on the same connection, gets a 407."""
    with between(at) as (near, origin):
        near.send(request(origin, fields=credentials()))
        far = origin.accept()
        far.head()
        far.send(OK)
        keptAfter(near, 200)
        try:
            near.send(request(origin, path=b"/second"))
            status = near.head().status
        except (Ended, ConnectionError):
            raise Missing(KEEPS_NONE) from None
        except TimeoutError:
            raise Unlike("the second was sent on") from None
        expect(status, 407, "the second was answered")
        return "answered 407"


@asks("login-second-try", "RFC 9112, 9.3; ours", "forward", variant=LOGIN)
def secondTry(at: Address) -> str:
    """The second try, with the login, works on the connection that got the 407."""
    with between(at) as (near, origin):
        near.send(request(origin))
        challenge = readAnswer(near)
        expect(challenge.status, 407, "answered")
        try:
            near.send(request(origin, fields=credentials()))
            far = origin.accept(2)
            far.head()
            far.send(OK)
            expect(readAnswer(near).status, 200, "answered")
        except (Ended, ConnectionError, Unlike):
            raise Unlike("closed behind the 407") from None
        return "it works"
