"""Behaviours of CONNECT (RFC 9110, 9.3.6; RFC 9931), and of the login to an HTTP proxy."""

from __future__ import annotations

from conformance.behaviour import Address, Ended, Unlike, asks, expect
from conformance.talk import Head, Origin, Talk, dial, refusing
from conformance.tunnels import connectRequest, grantedAndWorks, refusedOrClosed, works


def _tunnels(at: Address, head: bytes, host: str = "127.0.0.1") -> str:
    """Send that head, with the origin's port in place of PORT: it must give a tunnel."""
    with Origin(host) as origin, dial(at.host, at.port) as near:
        near.send(head.replace(b"PORT", b"%d" % origin.port))
        return grantedAndWorks(at, near, origin)


def _refuses(at: Address, head: bytes) -> str:
    """Send that head: it must be refused, and reach nobody."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(head.replace(b"PORT", b"%d" % origin.port))
        near.socket.settimeout(5)
        said = refusedOrClosed(at, near)
        if not origin.isAlone(0.2):
            raise Unlike(f"{said}, but connected")
        return said


@asks("http10", "pip 23 to 26 on Python 3.11 (HTTP/1.0, no Host)", "connect")
def http10(at: Address) -> str:
    """CONNECT in HTTP/1.0 and without a Host works."""
    return _tunnels(at, b"CONNECT 127.0.0.1:PORT HTTP/1.0\r\n\r\n")


@asks("no-host", "ours; RFC 9112, 3.2 lets a server refuse it", "connect")
def noHost(at: Address) -> str:
    """CONNECT in HTTP/1.1 without a Host works: the target says it all."""
    return _tunnels(at, b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\n\r\n")


@asks("wrong-host", "RFC 9112, 3.2.3 and 3.3", "connect")
def wrongHost(at: Address) -> str:
    """The target of a CONNECT counts, not its Host."""
    return _tunnels(at, b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: elsewhere.invalid:1\r\n\r\n")


@asks("broken-host", "pip on Python 3.13.0 (IPv6 Host without brackets)", "connect")
def brokenHost(at: Address) -> str:
    """CONNECT to an IPv6 address whose Host lacks its brackets works."""
    return _tunnels(at, b"CONNECT [::1]:PORT HTTP/1.1\r\nHost: ::1:PORT\r\n\r\n", "::1")


@asks("bare-ipv6", "httpx 0.28", "connect")
def bareIPv6(at: Address) -> str:
    """CONNECT to an IPv6 address without brackets works."""
    return _tunnels(at, b"CONNECT ::1:PORT HTTP/1.1\r\nHost: ::1:PORT\r\n\r\n", "::1")


@asks("lower-case", "RFC 9110, 5.1; uv 0.13", "connect")
def lowerCase(at: Address) -> str:
    """Field names in small letters are understood."""
    return _tunnels(
        at, b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\nproxy-connection: keep-alive\r\n\r\n"
    )


@asks("leading-line", "RFC 9112, 2.2", "connect")
def leadingLine(at: Address) -> str:
    """An empty line before the request is skipped."""
    return _tunnels(at, b"\r\nCONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")


@asks("long-head", "uv 0.13 (a JSON user agent); ours", "connect")
def longHead(at: Address) -> str:
    """A request head of 12 KiB is taken."""
    return _tunnels(
        at, b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nUser-Agent: " + b"u" * 12_000 + b"\r\n\r\n"
    )


def _open(near: Talk, origin: Origin) -> Head:
    near.send(connectRequest(origin.host, origin.port))
    head = near.head()
    if head.status >= 300:
        raise Unlike(f"answered {head.status}")
    return head


@asks("answer-200", "RFC 9110, 9.3.6; pip, curl and uv take nothing but 200", "connect")
def exactlyOneHead(at: Address) -> str:
    """Success is one 200 head, with no 1xx before it and no octet behind it."""
    with Origin() as origin, dial(at.host, at.port) as near:
        head = _open(near, origin)
        expect(head.status, 200, "answered")
        behind = near.within(0.4)
        if behind is not None:
            raise Unlike(f"{len(behind)} octets behind the head")
        works(near, origin)
        return "one head"


@asks("answer-unframed", "RFC 9110, 9.3.6 (MUST NOT)", "connect")
def unframed(at: Address) -> str:
    """The head of success has neither Content-Length nor Transfer-Encoding."""
    with Origin() as origin, dial(at.host, at.port) as near:
        head = _open(near, origin)
        for name in (b"content-length", b"transfer-encoding"):
            if head.all(name):
                raise Unlike(f"{name.decode()} in it")
        return "neither"


@asks("refused", "RFC 9209, 2.3.7 (recommends 502); ours", "connect")
def refused(at: Address) -> str:
    """A port that refuses is a bad gateway (502), or an unavailable one (503, 504)."""
    with refusing() as port, dial(at.host, at.port) as near:
        near.send(connectRequest("127.0.0.1", port))
        status = near.head().status
        if status not in (502, 503, 504):
            raise Unlike(f"answered {status}")
        return f"answered {status}"


@asks("no-such-name", "RFC 9209, 2.3.2 (recommends 502); ours", "connect")
def noSuchName(at: Address) -> str:
    """A name that does not exist is a bad gateway (502), or an unavailable one (503, 504)."""
    with dial(at.host, at.port) as near:
        near.send(connectRequest("no-such-host.invalid", 443))
        status = near.head().status
        if status not in (502, 503, 504):
            raise Unlike(f"answered {status}")
        return f"answered {status}"


@asks("proxy-status", "RFC 9209, 2.3.7 (a field that nobody has to send); ours", "connect")
def proxyStatus(at: Address) -> str:
    """A refusal says in Proxy-Status what went wrong."""
    with refusing() as port, dial(at.host, at.port) as near:
        near.send(connectRequest("127.0.0.1", port))
        head = near.head()
        status = head.get(b"proxy-status")
        if b"error=connection_refused" not in status:
            raise Unlike("another error" if status else "no Proxy-Status")
        return "connection_refused"


@asks("port-missing", "RFC 9110, 9.3.6 (MUST reject)", "connect")
def noPort(at: Address) -> str:
    """A target without a port is refused."""
    return _refuses(at, b"CONNECT 127.0.0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


@asks("port-empty", "RFC 9110, 9.3.6 (MUST reject)", "connect")
def emptyPort(at: Address) -> str:
    """A target with an empty port is refused."""
    return _refuses(at, b"CONNECT 127.0.0.1: HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


@asks("port-0", "RFC 9110, 9.3.6; RFC 6335, 6", "connect")
def portZero(at: Address) -> str:
    """Port 0 is refused."""
    return _refuses(at, b"CONNECT 127.0.0.1:0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


@asks("port-65536", "RFC 9110, 9.3.6 (MUST reject)", "connect")
def portTooLarge(at: Address) -> str:
    """Port 65536 is refused."""
    return _refuses(at, b"CONNECT 127.0.0.1:65536 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


@asks("port-odd", "RFC 3986, 3.2.3 (digits)", "connect")
def oddPort(at: Address) -> str:
    """A port with a sign, a blank or other letters is not taken for a number."""
    seen = set()
    for port in (b"+PORT", b"PORTx", b"%20PORT", b"0xPORT"):
        seen.add(_refuses(at, b"CONNECT 127.0.0.1:" + port + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
    return ", ".join(sorted(seen))


@asks("user-info", "RFC 9112, 3.2.3", "connect")
def userInfo(at: Address) -> str:
    """A target with user info is refused."""
    return _refuses(at, b"CONNECT parrot:secret@127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")


@asks("url", "RFC 9112, 3.2.3", "connect")
def url(at: Address) -> str:
    """A URL in place of host and port is refused."""
    return _refuses(at, b"CONNECT http://127.0.0.1:PORT/ HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n")


@asks("name-nul", "RFC 9112, 3; ours (C strings)", "connect")
def nul(at: Address) -> str:
    """A NUL in the target is refused, not taken for its end."""
    return _refuses(at, b"CONNECT localhost:PORT\0.invalid:1 HTTP/1.1\r\nHost: x\r\n\r\n")


@asks("fold", "RFC 9112, 5.2", "connect")
def folded(at: Address) -> str:
    """A folded field line does not hide the end of the head."""
    head = b"CONNECT 127.0.0.1:PORT HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nA: b\r\n c\r\n\r\n"
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(head.replace(b"PORT", b"%d" % origin.port) + b"tunnel")
        near.socket.settimeout(5)
        try:
            status = near.head().status
        except Ended:
            return "closed"
        if status >= 300:
            return f"answered {status}"
        expect(origin.accept().read(6), b"tunnel", "the origin got")
        return "understood"


@asks("refused-closes", "RFC 9931, 8 (MUST close)", "connect")
def refusedCloses(at: Address) -> str:
    """Behind a refused CONNECT nothing of what the client sent is taken for a request."""
    with refusing() as port, Origin() as origin, dial(at.host, at.port) as near:
        hidden = b"GET http://%b/hidden HTTP/1.1\r\nHost: %b\r\n\r\n" % (origin.name, origin.name)
        near.send(connectRequest("127.0.0.1", port) + hidden)
        said = refusedOrClosed(at, near)
        if not origin.isAlone(0.5):
            raise Unlike(f"{said}, and sent the hidden request on")
        return f"{said}, and nothing behind it"


@asks("version-2", "RFC 9110, 15.6.6 (a server may); ours", "connect")
def version2(at: Address) -> str:
    """A request of HTTP/2.0 is refused."""
    return _refuses(at, b"CONNECT 127.0.0.1:PORT HTTP/2.0\r\nHost: 127.0.0.1:PORT\r\n\r\n")


@asks("endless-head", "RFC 6585, 5; RFC 9112, 3", "connect")
def endlessHead(at: Address) -> str:
    """A head without an end is refused, or cut off, before it has taken 8 MiB."""
    with dial(at.host, at.port) as near:
        near.send(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n")
        near.socket.settimeout(3)
        sent = 0
        try:
            while sent < 8 << 20:
                near.send(b"A: " + b"b" * 8189 + b"\r\n")
                sent += 8194
        except TimeoutError:
            return "stopped reading"
        except ConnectionError:
            return "refused, or cut off"
        said = near.within(1)
        if said is None:
            raise Unlike("took 8 MiB and waits for more")
        return "refused, or cut off"
