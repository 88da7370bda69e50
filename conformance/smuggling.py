"""
Requests that two readers could take for different ones: the origin must see nothing, or exactly one unambiguous one.

The origin is a raw socket that records. Whether what it saw is one request, and the same one to every reader, is for
`conformance.grammar` to say.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from typing import Final

import attrs

from conformance.behaviour import Address, Behaviour, Unlike, register
from conformance.forward import OK
from conformance.grammar import readRequests
from conformance.talk import Origin, Talk, dial, readHeadBytes

QUIET: Final = 0.25
TOTAL: Final = 2.5

_HIDDEN: Final = b"GET http://ORIGIN/hidden HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
_POST: Final = b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n"
_CHUNKED: Final = _POST + b"Transfer-Encoding: chunked\r\n\r\n"


@attrs.define(eq=False)
class Recorder:
    """What came: at the origin on each connection, and back at the client."""

    client: Talk
    origin: Origin
    answer: bytes = b""
    ended: bool = False
    seen: dict[Talk, bytes] = attrs.field(factory=dict)

    def run(self) -> None:
        """Take part as an origin that answers whatever looks like a request, until nothing moves any more."""
        answered: dict[Talk, int] = {}
        end = time.monotonic() + TOTAL
        with selectors.DefaultSelector() as selector:
            selector.register(self.client.socket, selectors.EVENT_READ, self.client)
            selector.register(self.origin.listener, selectors.EVENT_READ, None)
            while time.monotonic() < end:
                events = selector.select(QUIET)
                for key, _ in events:
                    self._take(key.data, selector)
                if events:
                    continue
                waiting = [talk for talk, raw in self.seen.items() if len(raw) > answered.get(talk, 0)]
                for talk in waiting:
                    answered[talk] = len(self.seen[talk])
                    with contextlib.suppress(OSError):
                        talk.send(OK)
                if not waiting and (self.ended or self.answer):
                    return

    def _take(self, talk: Talk | None, selector: selectors.BaseSelector) -> None:
        if talk is None:
            accepted = self.origin.accept(1)
            self.seen[accepted] = b""
            selector.register(accepted.socket, selectors.EVENT_READ, accepted)
            return
        try:
            data = talk.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            selector.unregister(talk.socket)
        if talk is self.client:
            self.answer += data
            self.ended = not data
        else:
            self.seen[talk] += data


def judge(at: Address, sent: bytes) -> str:
    """Send that, with the origin's address for ORIGIN, and look at what became of it."""
    with Origin() as origin, dial(at.host, at.port) as client:
        with contextlib.suppress(ConnectionError):
            client.send(sent.replace(b"ORIGIN", origin.name))
        recorder = Recorder(client, origin)
        recorder.run()
    answered = "closed" if recorder.ended else "silent"
    with contextlib.suppress(Unlike):
        if recorder.answer:
            head, _, _ = recorder.answer.partition(b"\r\n\r\n")
            answered = f"answered {readHeadBytes(head).status}"
    requests = [readRequests(raw) for raw in recorder.seen.values() if raw]
    for each in requests:
        if each.fault:
            raise Unlike(f"the origin saw {each.fault}")
    count = sum(len(each.heads) for each in requests)
    if count > 1:
        raise Unlike(f"the origin saw {count} requests")
    if count == 1 and b"/hidden" in requests[0].heads[0].start:
        raise Unlike("the origin saw the hidden request")
    return f"{answered}; the origin saw {'one request' if count else 'nothing'}"


def _row(name: str, source: str, title: str, sent: bytes) -> None:
    register(Behaviour("forward", f"request-{name}", title, source, lambda at: judge(at, sent)))


def _length(value: bytes, body: bytes = b"hello") -> bytes:
    return _POST + b"Content-Length: " + value + b"\r\n\r\n" + body


_NONE: Final = b"0\r\n\r\n" + _HIDDEN
_GROWS: Final = 2 * (len(b"127.0.0.1:12345") - len(b"ORIGIN"))
_ALL: Final = b"Content-Length: %d\r\n" % (len(_NONE) + _GROWS)

_row("cl-te", "RFC 9112, 6.1 (MUST close behind it)", "Content-Length beside Transfer-Encoding hides no second request",
     _POST + _ALL + b"Transfer-Encoding: chunked\r\n\r\n" + _NONE)  # fmt: skip
_row("te-cl", "RFC 9112, 6.1 (MUST close behind it)", "A short Content-Length beside Transfer-Encoding hides nothing",
     _POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n%x\r\n" % (len(_HIDDEN) + _GROWS)
     + _HIDDEN + b"\r\n0\r\n\r\n")  # fmt: skip
_row("two-lengths", "RFC 9112, 6.3 (5)", "Two different lengths hide no second request",
     _POST + b"Content-Length: 0\r\n" + _ALL + b"\r\n" + _NONE)  # fmt: skip
_row("same-lengths", "RFC 9112, 6.3 (5)", "The same length twice is refused, or sent on once",
     _POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")  # fmt: skip
for _label, _value, _title in (
    ("plus", b"+5", "A length with a sign is refused, or sent on without it"),
    ("hex", b"0x5", "A length in hexadecimal is not passed on"),
    ("list", b"5, 5", "A length that is a list is refused, or sent on once"),
    ("minus", b"-5", "A negative length is not passed on"),
    ("huge", b"18446744073709551621", "A length over 64 bits is not passed on"),
    ("underscore", b"0_5", "A length with an underscore is not passed on"),
    ("space", b"5 5", "A length with a blank in it is not passed on"),
    ("empty", b"", "An empty length is refused, or dropped"),
):
    _row(f"length-{_label}", "RFC 9110, 8.6; RFC 9112, 6.3 (5)", _title, _length(_value))

for _label, _source, _field, _title in (
    (
        "x",
        "RFC 9112, 6.1 and 6.3 (4)",
        b"Transfer-Encoding: xchunked",
        "Transfer-Encoding: xchunked hides no second request",
    ),
    (
        "twice",
        "RFC 9112, 6.1 and 6.3 (4)",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Two codings hide no second request",
    ),
    (
        "list",
        "RFC 9112, 6.1 and 6.3 (4)",
        b"Transfer-Encoding: chunked, identity",
        "A list of codings hides no second request",
    ),
    ("quoted", "RFC 9112, 6.1 and 7", b'Transfer-Encoding: "chunked"', "A coding in quotes hides no second request"),
    (
        "vt",
        "RFC 9112, 5.1; RFC 9110, 5.5",
        b"Transfer-Encoding: \x0bchunked",
        "A coding behind a vertical tab hides no second request",
    ),
    (
        "colon",
        "RFC 9112, 5.1",
        b"Transfer-Encoding : chunked",
        "A blank before the colon hides no second request",
    ),
    ("fold", "RFC 9112, 5.2 and 6.1", b"Transfer-Encoding:\r\n chunked", "A folded coding hides no second request"),
    ("lead", "RFC 9112, 2.2", b" Transfer-Encoding: chunked", "A blank before the field hides no second request"),
    (
        "lf",
        "RFC 9112, 2.2 and 6.1",
        b"X: y\nTransfer-Encoding: chunked",
        "A coding behind a bare LF hides no second request",
    ),
    ("cr", "RFC 9112, 2.2", b"X: y\rTransfer-Encoding: chunked", "A coding behind a bare CR hides no second request"),
    ("nul", "RFC 9110, 5.5", b"Transfer-Encoding: chunked\0", "A coding with a NUL hides no second request"),
    (
        "underscore",
        "ours (CGI and WSGI origins)",
        b"Transfer_Encoding: chunked",
        "A coding field with an underscore hides no second request",
    ),
):
    _row(f"coding-{_label}", _source, _title,
         _POST + _ALL + _field + b"\r\n\r\n" + _NONE)  # fmt: skip
_row("coding-http10", "RFC 9112, 6.1 (MUST close behind it)", "A coding in HTTP/1.0 hides no second request",
     _POST.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Connection: keep-alive\r\n" + _ALL
     + b"Transfer-Encoding: chunked\r\n\r\n" + _NONE)  # fmt: skip

for _label, _chunks, _title in (
    ("hex", b"0x5\r\nhello\r\n0\r\n\r\n", "A chunk size with 0x is not passed on"),
    ("plus", b"+5\r\nhello\r\n0\r\n\r\n", "A chunk size with a sign is not passed on"),
    ("underscore", b"0_5\r\nhello\r\n0\r\n\r\n", "A chunk size with an underscore is not passed on"),
    ("huge", b"10000000000000005\r\nhello\r\n0\r\n\r\n", "A chunk size over 64 bits is not passed on"),
    ("lf", b"5\nhello\r\n0\r\n\r\n", "A chunk line that ends with LF alone is refused, or mended"),
    ("long", b"3\r\nhello\r\n0\r\n\r\n" + _HIDDEN, "A chunk longer than its size hides no second request"),
    ("extension-lf", b"5;a\nb\r\nhello\r\n0\r\n\r\n", "A bare LF in a chunk extension is refused, or not passed on"),
    ("empty", b"\r\nhello\r\n0\r\n\r\n", "A chunk line without a size is not passed on"),
    ("end", b"5\r\nhello\r\n0\r\n\rX" + _HIDDEN, "A broken end of the chunks hides no second request"),
    (
        "trailer",
        b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n",
        "A Content-Length in the trailers is not passed on",
    ),
):
    _row(f"chunk-{_label}", "RFC 9112, 7.1", _title, _CHUNKED + _chunks)

_GET: Final = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n"
for _name, _source, _title, _sent in (
    ("bare-lf", "RFC 9112, 2.2", "A head with bare LFs is refused, or mended", _GET.replace(b"\r\n", b"\n") + b"\n"),
    ("nul", "RFC 9110, 5.5", "A NUL in a field is not passed on", _GET + b"A: b\0c\r\n\r\n"),
    ("bare-cr", "RFC 9112, 2.2", "A bare CR in a field is not passed on", _GET + b"A: b\rC: d\r\n\r\n"),
    ("fold", "RFC 9112, 5.2", "A folded field is refused, or unfolded", _GET + b"A: b\r\n c\r\n\r\n"),
    ("space-colon", "RFC 9112, 5.1", "A blank before a colon is not passed on", _GET + b"A : b\r\n\r\n"),
    ("no-colon", "RFC 9112, 5", "A line without a colon is not passed on", _GET + b"nonsense\r\n\r\n"),
    ("bad-name", "RFC 9110, 5.1", "A field name that is none is not passed on", _GET + b"A(b): c\r\n\r\n"),
    ("two-hosts", "RFC 9112, 3.2", "Two Hosts are refused, or become one", _GET + b"Host: other\r\n\r\n"),
    ("spaces", "RFC 9112, 3", "A request line with blanks in its target is refused, or mended",
     _GET.replace(b"ORIGIN/ ", b"ORIGIN/a b ", 1) + b"\r\n"),
    ("tabs", "RFC 9112, 3", "A request line with tabs is refused, or mended",
     _GET.replace(b"GET ", b"GET\t", 1) + b"\r\n"),
    ("control", "RFC 3986, 2; RFC 9112, 3.2", "A control character in the target is not passed on",
     _GET.replace(b"ORIGIN/ ", b"ORIGIN/a\x01b ", 1) + b"\r\n"),
    ("line-in-target", "RFC 9112, 3.2; ours", "A bare CR in the target is not passed on",
     _GET.replace(b"ORIGIN/ ", b"ORIGIN/a\rX:b ", 1) + b"\r\n"),
    ("http09", "RFC 9112, 3", "A request without a version is refused, or gets one", b"GET http://ORIGIN/\r\n\r\n"),
    ("version", "RFC 9112, 2.3", "A version that is none is refused, or replaced",
     _GET.replace(b"HTTP/1.1", b"HTTP/1.1.1") + b"\r\n"),
    ("no-host", "RFC 9112, 3.2", "A request of HTTP/1.1 without a Host is refused, or gets one",
     b"GET http://ORIGIN/ HTTP/1.1\r\n\r\n"),
    ("fragment", "RFC 9112, 3.2.2; RFC 3986, 4.3", "A fragment in the URL does not become its host",
     b"GET http://elsewhere.invalid#@ORIGIN/hidden HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"),
):  # fmt: skip
    _row(_name, _source, _title, _sent)
