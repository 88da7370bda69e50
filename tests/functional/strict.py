"""
A reader of HTTP/1.1 that knows one way to say each thing, and shares no code with what it judges.

What it takes, every other reader takes for the same: CR LF, ``name: value``, one Host, at most one of a length in plain
decimals and ``Transfer-Encoding: chunked``, chunks without extensions.
"""

from __future__ import annotations

import re

import attrs

_REQUEST = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+) (/[!-~]*|\*|http://[!-~]+) HTTP/1\.1\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)\r\n")
_FIELD = re.compile(rb"([A-Za-z0-9!#$%&'*+.^_`|~-]+): ((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)\r\n")
_SIZE = re.compile(rb"(0|[1-9a-fA-F][0-9a-fA-F]{0,14})\r\n")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")


class Ambiguous(Exception):
    """The message could be read in another way, or not at all."""


class Unfinished(Exception):
    """So far so good, but more is to come. `content` is what is there of it."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__()
        self.content = content


@attrs.frozen
class Message:
    """A message; `start` is the method, or the status; `fields` has those of the trailers, too, by lower-case name."""

    start: bytes
    target: bytes
    fields: dict[bytes, list[bytes]]
    content: bytes
    rest: bytes


def readRequest(data: bytes) -> Message:
    """The request at the beginning of `data`. Raises `Ambiguous` or `Unfinished`."""
    match, data = _line(_REQUEST, data)
    fields, data = _fields(data)
    if len(fields.get(b"host", [])) != 1:
        raise Ambiguous("not one Host")
    content, trailers, rest = _content(fields, data, bodyless=False)
    return Message(match[1], match[2], _together(fields, trailers), content, rest)


def readAnswer(data: bytes, method: bytes) -> Message:
    """The answer to `method` at the beginning of `data`, behind interim ones. Raises `Ambiguous` or `Unfinished`."""
    while True:
        match, data = _line(_STATUS, data)
        fields, data = _fields(data)
        status = int(match[1])
        if status >= 200:
            break
        if status == 101 or _framing(fields):
            raise Ambiguous("an interim answer that is more than one")
    if status == 204 and _framing(fields):
        raise Ambiguous("framing in a 204")
    bodyless = method == b"HEAD" or status in (204, 304)
    if not bodyless and not _framing(fields):
        raise Ambiguous("content without a length")
    content, trailers, rest = _content(fields, data, bodyless)
    return Message(match[1], b"", _together(fields, trailers), content, rest)


def _line(form: re.Pattern[bytes], data: bytes) -> tuple[re.Match[bytes], bytes]:
    end = data.find(b"\n") + 1
    if not end:
        if re.search(rb"[^\t -~\x80-\xff\r]|\r.", data):
            raise Ambiguous(data[:80])
        raise Unfinished
    match = form.fullmatch(data, 0, end)
    if match is None:
        raise Ambiguous(data[:end])
    return match, data[end:]


def _fields(data: bytes) -> tuple[dict[bytes, list[bytes]], bytes]:
    fields: dict[bytes, list[bytes]] = {}
    while not data.startswith(b"\r\n"):
        match, data = _line(_FIELD, data)
        fields.setdefault(match[1].lower(), []).append(match[2])
    return fields, data[2:]


def _framing(fields: dict[bytes, list[bytes]]) -> bool:
    return b"content-length" in fields or b"transfer-encoding" in fields


def _content(
    fields: dict[bytes, list[bytes]], data: bytes, bodyless: bool
) -> tuple[bytes, dict[bytes, list[bytes]], bytes]:
    if fields.keys() & {b"content_length", b"transfer_encoding"}:
        raise Ambiguous("to CGI and WSGI these are the others")
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1 or any(coding != b"chunked" for coding in codings):
        raise Ambiguous("framing in two ways")
    if not all(map(_LENGTH.fullmatch, lengths)):
        raise Ambiguous("a length that is none")
    if bodyless:
        return b"", {}, data
    if codings:
        return _chunks(data)
    length = int(lengths[0]) if lengths else 0
    if len(data) < length:
        raise Unfinished(data)
    return data[:length], {}, data[length:]


def _chunks(data: bytes) -> tuple[bytes, dict[bytes, list[bytes]], bytes]:
    content = b""
    try:
        while True:
            match, data = _line(_SIZE, data)
            size = int(match[1], 16)
            if not size:
                trailers, data = _fields(data)
                return content, trailers, data
            content += data[:size]
            behind = data[size : size + 2]
            if not b"\r\n".startswith(behind):
                raise Ambiguous("a chunk longer than its size")
            if len(behind) < 2:
                raise Unfinished
            data = data[size + 2 :]
    except Unfinished:
        raise Unfinished(content) from None


def _together(fields: dict[bytes, list[bytes]], trailers: dict[bytes, list[bytes]]) -> dict[bytes, list[bytes]]:
    if forbidden := trailers.keys() & {b"content-length", b"transfer-encoding", b"host"}:
        raise Ambiguous(f"in the trailers: {forbidden}")
    return {name: fields.get(name, []) + trailers.get(name, []) for name in fields | trailers}
