"""Parts of one content: validators, dates, Content-Range, and what may be joined."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.gate import ResponseHead
from pipsocks.wire.http import Fields
from pipsocks.wire.ranges import Part, Unfit, continuation, parseContentRange, parseDate, strongValidator

OLD = b"Wed, 01 Jan 2020 00:00:00 GMT"
NOW = b"Wed, 01 Jan 2020 00:01:00 GMT"
MOMENT = datetime(2020, 1, 1, tzinfo=UTC)


def head(
    status: int = 206, length: int | None = 6, hasBody: bool = True, **fields: bytes | list[bytes]
) -> ResponseHead:
    """A response with those fields; an underscore is a hyphen."""
    every = []
    for name, value in fields.items():
        for each in value if isinstance(value, list) else [value]:
            every.append((name.replace("_", "-").encode(), each))
    return ResponseHead(status, b"", b"1.1", tuple(every), hasBody, True, length)


class ContentRangeTests(SynchronousTestCase):
    """What a 206 says of its place (RFC 9110, section 14.4)."""

    def test_parts(self) -> None:
        """First and last octet, both included, and how many there are."""
        for value, part in (
            (b"bytes 0-0/1", Part(0, 0, 1)),
            (b"bytes 4-9/10", Part(4, 9, 10)),
            (b"Bytes 4-5/10", Part(4, 5, 10)),
            (b"bytes 0-999999999999999998/999999999999999999", Part(0, 10**18 - 2, 10**18 - 1)),
        ):
            self.assertEqual(parseContentRange(value), part)
        self.assertEqual(Part(4, 9, 10).size, 6)

    def test_nonsense(self) -> None:
        """What could be read in two ways, or speaks of no part, or of an unknown whole, is none."""
        for value in (
            *(b"", b"bytes", b"bytes */10", b"bytes 4-9/*", b"bytes 4-9", b"bytes=4-9/10", b"4-9/10", b"items 4-9/10"),
            *(b"bytes 9-4/10", b"bytes 4-10/10", b"bytes 10-10/10", b"bytes -9/10", b"bytes 4-/10", b"bytes 4-9/"),
            *(b"bytes  4-9/10", b"bytes\t4-9/10", b"bytes 4 - 9/10", b"bytes 4-9 /10", b" bytes 4-9/10"),
            *(b"bytes 4-9/10 ", b"bytes 4-9/10\n", b"bytes 4-9/10, bytes 4-9/10", b"bytes +4-9/10", b"bytes 4-9/1_0"),
            *(b"bytes 0x4-9/10", b"bytes 4-9/\xc2\xb2", b"bytes 4-9/\xef\xbc\x91", b"bytes 0-1/" + b"9" * 19),
        ):
            self.assertIsNone(parseContentRange(value), value)

    @given(st.integers(0, 10**17), st.integers(1, 10**17), st.integers(0, 10**17))
    def test_any(self, first: int, size: int, behind: int) -> None:
        """Every part is read back as it is written."""
        part = Part(first, first + size - 1, first + size + behind)
        self.assertEqual(parseContentRange(b"bytes %d-%d/%d" % (part.first, part.last, part.total)), part)
        self.assertEqual(part.size, size)

    @given(st.binary(max_size=40))
    def test_octets(self, value: bytes) -> None:
        """Whatever comes, it is a part within its whole, or none."""
        for each in (value, b"bytes " + value):
            part = parseContentRange(each)
            self.assertTrue(part is None or 0 <= part.first <= part.last < part.total)


class DateTests(SynchronousTestCase):
    """The form of dates that may be generated (RFC 9110, section 5.6.7)."""

    def test_dates(self) -> None:
        """A day that exists, with its own name."""
        self.assertEqual(parseDate(OLD), MOMENT)
        self.assertEqual(parseDate(b"Sat, 29 Feb 2020 23:59:59 GMT"), datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC))

    def test_nonsense(self) -> None:
        """The obsolete forms, days that there are not, and other zones are no date here."""
        for value in (
            *(b"", b"Wednesday, 01-Jan-20 00:00:00 GMT", b"Wed Jan  1 00:00:00 2020", b"1577836800"),
            *(b"Thu, 01 Jan 2020 00:00:00 GMT", b"Wed, 32 Jan 2020 00:00:00 GMT", b"Sun, 29 Feb 2021 00:00:00 GMT"),
            *(b"Wed, 01 Jan 2020 24:00:00 GMT", b"Wed, 01 Jan 2020 00:60:00 GMT", b"Wed, 01 Jan 0000 00:00:00 GMT"),
            *(b"Wed, 1 Jan 2020 00:00:00 GMT", b"wed, 01 jan 2020 00:00:00 gmt", b"Wed, 01 Jan 2020 00:00:00 UTC"),
            *(b"Wed, 01 Jan 2020 00:00:00 +0000", b"Wed, 01 Jan 2020 00:00:00", OLD + b" ", OLD + b"\n"),
        ):
            self.assertIsNone(parseDate(value), value)

    @given(st.datetimes(min_value=datetime(1000, 1, 1)))
    def test_any(self, moment: datetime) -> None:
        """Every date is read back as it is written."""
        moment = moment.replace(microsecond=0, tzinfo=UTC)
        self.assertEqual(parseDate(format_datetime(moment, usegmt=True).encode()), moment)


class ValidatorTests(SynchronousTestCase):
    """By what a content can be known again (RFC 9110, sections 8.8 and 13.1.5)."""

    def test_tags(self) -> None:
        """A strong ETag, as it stands there."""
        for tag in (b'"x"', b'""', b'"!#~\x80\xff"', b'"W/x"', b'"a\'b\\"'):
            self.assertEqual(strongValidator(((b"etag", tag), (b"Last-Modified", OLD), (b"Date", NOW))), tag)

    def test_noTags(self) -> None:
        """A weak one, two, or one that is malformed is none, and a Last-Modified beside it does not help."""
        dates = ((b"Last-Modified", OLD), (b"Date", NOW))
        for tag in (b'W/"x"', b'w/"x"', b"x", b"", b'"x', b'x"', b'"a b"', b'"a"b"', b'"a\x7f"', b'"a", "b"', b'"a"\n'):
            self.assertIsNone(strongValidator(((b"ETag", tag), *dates)), tag)
        self.assertIsNone(strongValidator(((b"ETag", b'"x"'), (b"ETag", b'"x"'), *dates)))

    def test_dates(self) -> None:
        """Without an ETag a Last-Modified that is a minute older than the answer."""
        for age, strong in ((-1, False), (0, False), (1, False), (59, False), (60, True), (10**7, True)):
            changed = format_datetime(MOMENT - timedelta(seconds=age), usegmt=True).encode()
            found = strongValidator(((b"Date", OLD), (b"LAST-MODIFIED", changed)))
            self.assertEqual(found, changed if strong else None, age)

    def test_codedDates(self) -> None:
        """A date does not tell a coded content from the same one as it is: only an ETag does (RFC 9110, 8.8.3.3)."""
        dates = ((b"Last-Modified", OLD), (b"Date", NOW))
        self.assertIsNone(strongValidator(((b"Content-Encoding", b"gzip"), *dates)))
        self.assertEqual(strongValidator(((b"Content-Encoding", b"gzip"), (b"ETag", b'"z"'), *dates)), b'"z"')

    def test_noDates(self) -> None:
        """Without a Date, with two of either, or with one that is none, nobody knows how old it is."""
        changed, date = (b"Last-Modified", OLD), (b"Date", NOW)
        fields: Fields
        for fields in (
            *((), (changed,), (date,), (changed, changed, date), (changed, date, date)),
            *((changed, (b"Date", b"now")), ((b"Last-Modified", b"then"), date)),
        ):
            self.assertIsNone(strongValidator(fields), fields)

    @given(st.binary(max_size=30))
    def test_octets(self, value: bytes) -> None:
        """Whatever stands there, what is sent back is that very value, or nothing."""
        for fields in (((b"ETag", value),), ((b"Last-Modified", value), (b"Date", NOW))):
            self.assertIn(strongValidator(fields), (None, value))


class ContinuationTests(SynchronousTestCase):
    """Whether a response is the rest of another (RFC 9110, section 15.3.7.3)."""

    first = head(200, 10, ETag=b'"x"', Last_Modified=OLD)

    def fits(self, part: ResponseHead, at: int = 4, total: int | None = 10, first: ResponseHead | None = None) -> Part:
        """The part that it is."""
        return continuation(first or self.first, at, total, part)

    def unfit(self, text: str, part: ResponseHead, total: int | None = 10, first: ResponseHead | None = None) -> None:
        """It is not joined, for that reason, which may stand in the journal."""
        error = self.assertRaises(Unfit, self.fits, part, 4, total, first)
        self.assertEqual(error.text, text)
        self.assertTrue(text.isascii() and text.isprintable())

    def test_fits(self) -> None:
        """The rest, with the same validator, another date beside it, or none at all."""
        rest = b"bytes 4-9/10"
        for fields in ({"ETag": b'"x"'}, {"ETag": b'"x"', "Last_Modified": NOW}, {"Last_Modified": OLD}, {}):
            part = head(Content_Range=rest, Content_Type=b"text/plain", **fields)  # type: ignore[arg-type]
            self.assertEqual(self.fits(part), Part(4, 9, 10))
        for length in (None, 6):
            self.assertEqual(self.fits(head(length=length, Content_Range=rest), total=None), Part(4, 9, 10))

    def test_shorter(self) -> None:
        """A server may send less than was asked for."""
        self.assertEqual(self.fits(head(length=2, Content_Range=b"bytes 4-5/10")), Part(4, 5, 10))

    def test_status(self) -> None:
        """Anything but a 206: the whole again, nothing there, an error."""
        for status in (200, 304, 302, 401, 404, 412, 416, 500):
            self.unfit(f"answered {status}, not 206", head(status, Content_Range=b"bytes 4-9/10"))

    def test_multipart(self) -> None:
        """Several parts in one answer were not asked for."""
        part = head(Content_Type=b"Multipart/ByteRanges; boundary=x", Content_Range=b"bytes 4-9/10")
        self.unfit("several ranges", part)

    def test_ranges(self) -> None:
        """Another place, another whole; none or two of them."""
        for value in (b"bytes 5-9/10", b"bytes 3-9/10", b"bytes 4-9/11", b"bytes 0-9/10"):
            self.unfit("another Content-Range", head(Content_Range=value))
        for values in ([], [b"bytes */10"], [b"bytes 4-9/*"], [b"bytes 4-9/10"] * 2):
            self.unfit("no Content-Range that can be read", head(Content_Range=values), total=None)

    def test_lengths(self) -> None:
        """A length that is not the range's, or none at all."""
        for length in (5, 7):
            self.unfit("a length that is not its Content-Range's", head(length=length, Content_Range=b"bytes 4-9/10"))
        empty = head(length=0, hasBody=False, Content_Range=b"bytes 4-9/10")
        self.unfit("a length that is not its Content-Range's", empty)

    def test_validators(self) -> None:
        """Another one, a weak one, two, or one that was not there before."""
        rest = b"bytes 4-9/10"
        for tags in ([b'"y"'], [b'W/"x"'], [b"x"], [b'"x"', b'"x"'], [b""]):
            self.unfit("another validator", head(Content_Range=rest, ETag=tags))
        self.unfit("another validator", head(Content_Range=rest, Last_Modified=NOW))
        dated = head(200, 10, Last_Modified=OLD, Date=NOW)
        self.unfit("another validator", head(Content_Range=rest, ETag=b'"x"', Last_Modified=OLD), first=dated)
        self.unfit("another validator", head(Content_Range=rest, Last_Modified=NOW), first=dated)
        self.assertEqual(self.fits(head(Content_Range=rest, Last_Modified=OLD), first=dated).size, 6)

    def test_codings(self) -> None:
        """Octets of another coding, whatever the validator says."""
        rest = b"bytes 4-9/10"
        self.unfit("another content coding", head(Content_Range=rest, Content_Encoding=b"gzip"))
        zipped = head(200, 10, ETag=b'"x"', Content_Encoding=b"gzip")
        self.assertEqual(self.fits(head(Content_Range=rest, Content_Encoding=b"gzip"), first=zipped).size, 6)
        self.assertEqual(self.fits(head(Content_Range=rest), first=zipped).size, 6)

    def test_codingsOfUnknownSize(self) -> None:
        """Where the size does not vouch for it the part has to say its coding: servers code whole answers alone."""
        chunked = head(200, ETag=b'"x"', Content_Encoding=b"gzip", Transfer_Encoding=b"chunked")
        part = {"Content_Range": b"bytes 4-9/10", "ETag": b'"x"'}
        self.unfit("another content coding", head(**part), first=chunked, total=None)
        self.assertEqual(self.fits(head(Content_Encoding=b"gzip", **part), first=chunked, total=None).size, 6)
        self.assertEqual(self.fits(head(**part), first=head(200, 10, ETag=b'"x"'), total=None).size, 6)
