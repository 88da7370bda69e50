"""
Whether two answers are parts of one content, and may be joined (RFC 9110, sections 8.8, 14.4 and 15.3.7.3).

Everything is read strictly: what is not understood to the last octet is no validator and no range, so that in doubt
nothing is joined.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs

from pipsocks.wire.http import Fields, ResponseHead, findAll

STRONG_AGE: Final = timedelta(seconds=60)
"""
By how much a Date has to be later than the Last-Modified beside it for that to be strong.

One second is the least (RFC 9110, section 8.8.2.2), where one has reason to believe that one clock made both, or that
they differ by enough. A proxy has no reason to believe the first; 60 s are enough (RFC 7232, section 2.2.2).
"""

_STRONG_TAG: Final = re.compile(rb'"[\x21\x23-\x7e\x80-\xff]*+"')
_CONTENT_RANGE: Final = re.compile(rb"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)
_DATE: Final = re.compile(
    rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4})"
    rb" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")


class Unfit(Exception):
    """
    A response that is not the part that was asked for.

    @ivar text: why: short, ASCII, and nothing of what was received.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@attrs.frozen
class Part:
    """The octets from `first` to `last`, both included, of `total` (RFC 9110, section 14.4)."""

    first: int
    last: int
    total: int

    @property
    def size(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


def parseContentRange(value: bytes) -> Part | None:
    """The part that a Content-Range of a 206 tells of; None where it tells of none, or not of how much there is."""
    found = _CONTENT_RANGE.fullmatch(value)
    if found is None:
        return None
    first, last, total = map(int, found.groups())
    return Part(first, last, total) if first <= last < total else None


def parseDate(value: bytes) -> datetime | None:
    """A date in the one form that may be generated (RFC 9110, section 5.6.7); None for any other, and for no date."""
    found = _DATE.fullmatch(value)
    if found is None:
        return None
    day, month = found[1], _MONTHS.index(found[3]) + 1
    try:
        date = datetime(int(found[4]), month, int(found[2]), *map(int, found.groups()[4:]), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    return date if _DAYS[date.weekday()] == day else None


def strongValidator(fields: Fields) -> bytes | None:
    """
    What a response can be known by, as If-Range takes it (RFC 9110, section 13.1.5); None where nothing will do.

    That is a strong ETag, or, without any ETag, a strong Last-Modified. Of two equal fields neither counts.
    A date doesn't tell a coded content from the same one as it is, and servers code whole answers but not parts.
    """
    tags = findAll(fields, b"etag")
    if tags:
        return tags[0] if len(tags) == 1 and _STRONG_TAG.fullmatch(tags[0]) else None
    if findAll(fields, b"content-encoding"):
        return None
    changes, dates = findAll(fields, b"last-modified"), findAll(fields, b"date")
    if len(changes) != 1 or len(dates) != 1:
        return None
    changed, sent = parseDate(changes[0]), parseDate(dates[0])
    if changed is None or sent is None or sent - changed < STRONG_AGE:
        return None
    return changes[0]


def continuation(first: ResponseHead, at: int, total: int | None, part: ResponseHead) -> Part:
    """
    What `part` brings of the content of `first`, of which `at` octets have come.

    @param total: the whole content's size, where it is known.
    @raise Unfit: it is not the next part of that content, or nobody can tell.
    """
    if part.status != 206:
        raise Unfit(f"answered {part.status}, not 206")
    if any(value.lower().startswith(b"multipart/") for value in part.all(b"content-type")):
        raise Unfit("several ranges")
    ranges = part.all(b"content-range")
    found = parseContentRange(ranges[0]) if len(ranges) == 1 else None
    if found is None:
        raise Unfit("no Content-Range that can be read")
    if found.first != at or total not in (None, found.total):
        raise Unfit("another Content-Range")
    if not part.hasBody or part.length not in (None, found.size):
        raise Unfit("a length that is not its Content-Range's")
    if not _isSame(first, part):
        raise Unfit("another validator")
    codings = part.all(b"content-encoding")
    # A part need not repeat it (RFC 9110, section 15.3.7), but then the total has to vouch for it.
    if (codings or total is None) and codings != first.all(b"content-encoding"):
        raise Unfit("another content coding")
    return found


def _isSame(first: ResponseHead, part: ResponseHead) -> bool:
    """Whether nothing in `part` says that it is of another content. Without a validator it is what If-Range says."""
    tags = part.all(b"etag")
    if tags:
        return len(tags) == 1 and _STRONG_TAG.fullmatch(tags[0]) is not None and tags == first.all(b"etag")
    changes = part.all(b"last-modified")
    return not changes or changes == first.all(b"last-modified")
