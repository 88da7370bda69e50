"""Behaviours of the login to an HTTP proxy (RFC 9110, 11.7)."""

from __future__ import annotations

import base64
import contextlib
import time

from conformance.behaviour import LOGIN, PASSWORD, USER, Address, Ended, Unlike, asks, expect
from conformance.talk import Origin, Talk, dial
from conformance.tunnels import connectRequest, grantedAndWorks


def credentials(user: str = USER, password: str = PASSWORD) -> bytes:
    """The field that carries them."""
    return b"Proxy-Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()) + b"\r\n"


@asks("login", "RFC 9110, 11.7.2; RFC 7617", "connect", variant=LOGIN)
def login(at: Address) -> str:
    """With the right login you get through."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(connectRequest(origin.host, origin.port, credentials()))
        return grantedAndWorks(at, near, origin)


@asks("login-needed", "RFC 9110, 15.5.8 and 11.7.1 (MUST)", "connect", variant=LOGIN)
def loginNeeded(at: Address) -> str:
    """Without a login you get a 407 that names the scheme."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(connectRequest(origin.host, origin.port))
        return _challenge(near, origin)


@asks("login-wrong", "RFC 9110, 15.5.8", "connect", variant=LOGIN)
def wrongLogin(at: Address) -> str:
    """With a wrong password you get a 407."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(connectRequest(origin.host, origin.port, credentials(password="wrong")))
        return _challenge(near, origin)


def _challenge(near: Talk, origin: Origin) -> str:
    head = near.head()
    expect(head.status, 407, "answered")
    if not head.get(b"proxy-authenticate").lower().startswith(b"basic"):
        raise Unlike("407 without a Basic challenge")
    if not origin.isAlone(0.2):
        raise Unlike("407, but connected")
    return "answered 407"


@asks("login-second-try", "git 2.39 and Chromium; ours", "connect", variant=LOGIN)
def secondTry(at: Address) -> str:
    """The second try, with the login, works on the connection that got the 407."""
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(connectRequest(origin.host, origin.port))
        head = near.head()
        expect(head.status, 407, "answered")
        length = head.get(b"content-length")
        if not length.isdigit():
            raise Unlike("a 407 without a length")
        near.read(int(length))
        try:
            near.send(connectRequest(origin.host, origin.port, credentials()))
            return grantedAndWorks(at, near, origin)
        except (Ended, ConnectionError):
            raise Unlike("closed behind the 407") from None


@asks("login-http10", "RFC 9112, 9.3; pip on Python 3.11", "connect", variant=LOGIN)
def login10(at: Address) -> str:
    """A 407 to an HTTP/1.0 client ends with the connection."""
    with dial(at.host, at.port) as near:
        near.send(b"CONNECT 127.0.0.1:9 HTTP/1.0\r\n\r\n")
        expect(near.head().status, 407, "answered")
        if not near.isOver():
            raise Unlike("the connection stays open")
        return "407, and closed"


@asks("login-odd", "RFC 9110, 11.7.2", "connect", variant=LOGIN)
def oddCredentials(at: Address) -> str:
    """Credentials that are nonsense get a 407, or a 400."""
    seen = set()
    for value in (b"Basic", b"Basic !!!!", b"Basic cGFycm90", b"Bearer x", b"Basic " + b"A" * 6001):
        with dial(at.host, at.port) as near:
            near.send(connectRequest("127.0.0.1", 9, b"Proxy-Authorization: " + value + b"\r\n"))
            status = near.head().status
        if status not in (400, 407):
            raise Unlike(f"answered {status}")
        seen.add(f"answered {status}")
    return ", ".join(sorted(seen))


@asks("login-is-yours", "ours", "connect", variant=LOGIN)
def loginIsNotRemembered(at: Address) -> str:
    """One good login does not open the port to everybody else at that address."""
    login(at)
    with Origin() as origin, dial(at.host, at.port) as near:
        near.send(connectRequest(origin.host, origin.port))
        status = near.head().status
        if status != 407:
            raise Unlike("the next client needed none" if status < 300 else f"answered {status}")
        return "the next client needs its own"


@asks("login-refusal-survives", "RFC 9112, 9.6", "connect", variant=LOGIN)
def challengeSurvives(at: Address) -> str:
    """A 407 reaches a client that has already begun to speak through the tunnel."""
    with dial(at.host, at.port) as near:
        with contextlib.suppress(ConnectionError):
            near.send(connectRequest("127.0.0.1", 9) + bytes(100_000))
        time.sleep(0.3)  # for the reset, if one comes, to overtake the answer
        expect(near.head().status, 407, "answered")
        return "answered 407"
