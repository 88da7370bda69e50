"""
Requests that two readers could take for different ones, each with where it was seen.

A row is refused, and what its author wanted to slip in (`/smuggled`) is in no event; or it comes through as one
request, the same to h11 and to us. Sources: CVE numbers; RFC sections; *reborn* is James Kettle, "HTTP Desync Attacks:
Request Smuggling Reborn" (2019); *smuggler* is defparam/smuggler's list of Transfer-Encoding mutations; *garden* is
the HTTP Garden's TROPHIES.md, its server bugs (S) and transducer bugs (T) by number.
"""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from pipsocks.wire.gate import Body, GateError, RequestGate, RequestHead
from tests.wire.codecs import cuttings, play
from tests.wire.messages import HOST, OneRequest, chunked, merged, readByServer, request

LINE = b"POST http://a.example/ HTTP/1.1\r\n"
SMUGGLED = b"GET http://a.example/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"
CL5 = b"Content-Length: 5\r\n"
CL = b"Content-Length: %d\r\n" % (len(END) + len(SMUGGLED))

Row = tuple[str, str, bytes]

LENGTHS: tuple[Row, ...] = (
    ("CL.CL, differing", "CVE-2020-10108 Twisted; RFC 9112, 6.3", b"Content-Length: 0\r\n" + CL),
    ("CL.CL, differing, second is 0", "CVE-2020-10108 Twisted", CL + b"Content-Length: 0\r\n"),
    ("CL.CL, equal", "CVE-2019-16792 waitress", CL + CL),
    ("list of equal lengths", "RFC 9110, 8.6; CVE-2019-16792 waitress", b"Content-Length: 5, 5\r\n"),
    ("list of differing lengths", "CVE-2020-15810 Squid", b"Content-Length: 5, 6\r\n"),
    ("list with an empty member", "RFC 9110, 5.6.1", b"Content-Length: 5,\r\n"),
    ("plus sign", "CVE-2021-32715 hyper; CVE-2022-24801 Twisted; garden, S10", b"Content-Length: +5\r\n"),
    ("minus sign", "CVE-2023-34188 Mongoose; garden, S26", b"Content-Length: -5\r\n"),
    ("minus zero", "CVE-2022-24801 Twisted; garden, S10", b"Content-Length: -0\r\n"),
    ("underscore between digits", "garden, S10; Python int()", b"Content-Length: 1_0\r\n"),
    ("hexadecimal", "garden, T1", b"Content-Length: 0x5\r\n"),
    ("octal prefix", "RFC 9110, 8.6", b"Content-Length: 0o5\r\n"),
    ("fraction", "garden, S29", b"Content-Length: 5.0\r\n"),
    ("exponent", "RFC 9110, 8.6", b"Content-Length: 5e0\r\n"),
    ("empty", "CVE-2023-40225 HAProxy", b"Content-Length:\r\n"),
    ("blank", "CVE-2023-40225 HAProxy", b"Content-Length: \t \r\n"),
    ("two numbers", "garden, S29", b"Content-Length: 5 6\r\n"),
    ("a unit behind it", "garden, S29", b"Content-Length: 5b\r\n"),
    ("quoted", "RFC 9110, 8.6", b'Content-Length: "5"\r\n'),
    ("vertical tab behind it", "CVE-2022-24801 Twisted; Python strip()", b"Content-Length: 5\x0b\r\n"),
    ("form feed before it", "CVE-2022-24801 Twisted; Python strip()", b"Content-Length:\x0c5\r\n"),
    ("no-break space behind it", "garden, S12; Python strip()", b"Content-Length: 5\xa0\r\n"),
    ("next line behind it", "garden, S12; Python strip()", b"Content-Length: 5\x85\r\n"),
    ("superscript two", "Python isdigit()", b"Content-Length: \xc2\xb2\r\n"),
    ("full-width digit", "Python int()", b"Content-Length: \xef\xbc\x95\r\n"),
    ("over 63 bits", "RFC 9110, 8.6", b"Content-Length: 9223372036854775808\r\n"),
    ("2 to the 64th and 5", "RFC 9110, 8.6", b"Content-Length: 18446744073709551621\r\n"),
    ("a thousand digits", "CVE-2020-10735 Python", b"Content-Length: " + b"1" * 1_000 + b"\r\n"),
    ("underscore for the hyphen", "WSGI and CGI", b"Content_Length: 5\r\n"),
    ("folded", "RFC 9112, 5.2", b"Content-Length:\r\n 5\r\n"),
    ("space before the colon", "CVE-2019-16276 Go; CVE-2019-18678 Squid", b"Content-Length : 5\r\n"),
    ("tab before the colon", "CVE-2019-18678 Squid", b"Content-Length\t: 5\r\n"),
    ("NUL before the colon", "garden, S14", b"Content-Length\x00: 5\r\n"),
    ("NUL in the length", "garden, S43", b"Content-Length: 5\x00\r\n"),
    ("behind a bare CR", "CVE-2023-30589 Node", b"X: y\rContent-Length: 5\r\n"),
    ("behind a bare LF", "CVE-2022-32214 Node", b"X: y\nContent-Length: 5\r\n"),
    ("an empty name first", "CVE-2023-25725 HAProxy; garden, S18", b": x\r\nContent-Length: 5\r\n"),
    ("octal", "garden, S32", b"Content-Length: 010\r\n"),
    ("empty before a good one", "CVE-2023-40225 HAProxy; garden, S42", b"Content-Length:\r\n" + CL),
    ("no colon", "garden, S28", b"Content-Length 5\r\n"),
    ("next line before the colon", "garden, S20", b"Content-Length\x85: 5\r\n"),
)

CODINGS: tuple[Row, ...] = (
    ("CL.TE", "reborn; CVE-2020-10109 Twisted", CL + TE),
    ("TE.CL", "reborn; CVE-2020-1944 ATS", TE + b"Content-Length: 4\r\n"),
    ("TE beside a length of 0 (CL.0)", "RFC 9112, 6.3", TE + b"Content-Length: 0\r\n"),
    ("TE beside a bad length", "CVE-2019-20445 Netty", TE + b"Content-Length: x\r\n"),
    ("TE.TE, both chunked", "CVE-2020-8287 Node; garden, S11", TE + TE),
    ("TE.TE, second unknown", "reborn; CVE-2024-1135 gunicorn", TE + b"Transfer-Encoding: x\r\n"),
    ("TE.TE, first unknown", "CVE-2020-8287 Node", b"Transfer-Encoding: x\r\n" + TE),
    ("TE.TE, other case", "reborn", TE + b"Transfer-encoding: cow\r\n"),
    ("xchunked", "reborn; garden, S44", b"Transfer-Encoding: xchunked\r\n"),
    ("chunkedx", "smuggler", b"Transfer-Encoding: chunkedx\r\n"),
    ("chunk", "garden, S44", b"Transfer-Encoding: chunk\r\n"),
    ("identity", "RFC 7230, A.2; CVE-2021-33037 Tomcat", b"Transfer-Encoding: identity\r\n"),
    ("identity first", "CVE-2021-33037 Tomcat", b"Transfer-Encoding: identity, chunked\r\n"),
    ("chunked, identity", "CVE-2022-32213 Node", b"Transfer-Encoding: chunked, identity\r\n"),
    ("chunked twice", "RFC 9112, 7.1", b"Transfer-Encoding: chunked, chunked\r\n"),
    ("gzip, chunked", "CVE-2019-16786 waitress; RFC 9112, 6.1", b"Transfer-Encoding: gzip, chunked\r\n"),
    ("chunked, gzip", "CVE-2021-33037 Tomcat; RFC 9112, 6.3", b"Transfer-Encoding: chunked, gzip\r\n"),
    ("chunked, empty", "RFC 9110, 5.6.1", b"Transfer-Encoding: chunked,\r\n"),
    ("empty, chunked", "garden, S21, T9, T18", b"Transfer-Encoding: ,chunked\r\n"),
    ("a parameter", "RFC 9112, 7", b"Transfer-Encoding: chunked;a=b\r\n"),
    ("quoted", "smuggler", b'Transfer-Encoding: "chunked"\r\n'),
    ("single quotes", "smuggler", b"Transfer-Encoding: 'chunked'\r\n"),
    ("empty", "RFC 9112, 6.1", b"Transfer-Encoding:\r\n"),
    ("spaces", "smuggler", b"Transfer-Encoding: chun ked\r\n"),
    ("space before the colon", "reborn; CVE-2019-16276 Go", b"Transfer-Encoding : chunked\r\n"),
    ("tab before the colon", "smuggler", b"Transfer-Encoding\t: chunked\r\n"),
    ("space before the name", "reborn; CVE-2020-7238 Netty", b" Transfer-Encoding: chunked\r\n"),
    ("space before the name, behind a field", "CVE-2020-7238 Netty", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
    ("tab before the name", "smuggler", b"X: y\r\n\tTransfer-Encoding: chunked\r\n"),
    ("folded", "CVE-2022-32215 Node; reborn", b"Transfer-Encoding:\r\n chunked\r\n"),
    ("folded before the colon", "smuggler", b"Transfer-Encoding\r\n : chunked\r\n"),
    ("vertical tab before", "CVE-2019-18277 HAProxy", b"Transfer-Encoding: \x0bchunked\r\n"),
    ("vertical tab behind", "CVE-2019-18277 HAProxy", b"Transfer-Encoding: chunked\x0b\r\n"),
    ("form feed before", "CVE-2019-16789 waitress", b"Transfer-Encoding: \x0cchunked\r\n"),
    ("backspace behind the name", "smuggler", b"Transfer-Encoding\x08: chunked\r\n"),
    ("NUL behind", "smuggler", b"Transfer-Encoding: chunked\x00\r\n"),
    ("NUL behind the name", "smuggler", b"Transfer-Encoding\x00: chunked\r\n"),
    ("DEL before", "smuggler", b"Transfer-Encoding: \x7fchunked\r\n"),
    ("escape before", "smuggler", b"Transfer-Encoding: \x1bchunked\r\n"),
    ("no-break space before", "garden, S12; Python strip()", b"Transfer-Encoding: \xa0chunked\r\n"),
    ("no-break space behind the name", "garden, S20", b"Transfer-Encoding\xa0: chunked\r\n"),
    ("0xFF before", "garden, S46", b"Transfer-Encoding: \xffchunked\r\n"),
    ("next line behind", "garden, S12; Python strip()", b"Transfer-Encoding: chunked\x85\r\n"),
    ("Kelvin sign", "Python lower()", b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n"),
    ("CR behind", "smuggler; CVE-2023-30589 Node", b"Transfer-Encoding: chunked\r\r\n"),
    ("CR before", "smuggler", b"Transfer-Encoding: \rchunked\r\n"),
    ("CR behind the name", "smuggler", b"Transfer-Encoding\r: chunked\r\n"),
    ("behind a bare CR", "CVE-2022-35256 Node; CVE-2023-30589", b"X: y\rTransfer-Encoding: chunked\r\n"),
    (
        "behind a bare LF",
        "reborn; CVE-2019-16785 waitress; CVE-2021-37147 ATS",
        b"X: y\nTransfer-Encoding: chunked\r\n",
    ),
    ("LF behind", "CVE-2022-32214 Node", b"Transfer-Encoding: chunked\n"),
    ("no colon", "CVE-2019-20444 Netty; garden, S28", b"Transfer-Encoding chunked\r\n"),
    ("two colons", "smuggler", b"Transfer-Encoding:: chunked\r\n"),
    ("underscore for the hyphen", "WSGI and CGI", b"Transfer_Encoding: chunked\r\n"),
    ("hyphen and underscore, with a length", "WSGI and CGI", CL + b"transfer_encoding: chunked\r\n"),
    ("a quote before the name", "smuggler", b'"Transfer-Encoding: chunked\r\n'),
    ("a name continued across lines", "garden, S37", b"Transfer-\r\nEncoding: chunked\r\n"),
)

CHUNKS: tuple[Row, ...] = (
    ("0x before the size", "CVE-2022-24801 Twisted; CVE-2023-46846 Squid; garden, S25", b"0x5\r\nhello\r\n"),
    ("0X, zero", "CVE-2022-24801 Twisted", b"0X0\r\n\r\n"),
    ("plus sign", "CVE-2022-24761 waitress; garden, S1", b"+5\r\nhello\r\n"),
    ("minus sign", "garden, S1, S25, T19", b"-5\r\nhello\r\n"),
    ("minus zero", "garden, S1", b"-0\r\n\r\n"),
    ("space before the size", "garden, S25; CVE-2023-46846 Squid", b" 5\r\nhello\r\n"),
    ("space behind the size", "CVE-2022-24761 waitress; CVE-2024-53868 ATS", b"5 \r\nhello\r\n"),
    ("tab behind the size", "RFC 9112, 7.1", b"5\t\r\nhello\r\n"),
    ("space behind the zero", "RFC 9112, 7.1", b"0 \r\n\r\n"),
    ("underscore between digits", "CVE-2023-47627 aiohttp; garden, S1", b"0_5\r\nhello\r\n"),
    ("no hexadecimal", "garden, S47, T2", b"g\r\nhello\r\n"),
    ("no size", "garden, S17", b"\r\nhello\r\n"),
    ("an extension and no size", "garden, S17", b";a\r\nhello\r\n"),
    ("quoted size", "RFC 9112, 7.1", b'"5"\r\nhello\r\n'),
    ("NUL behind the size", "garden, S22", b"5\x00\r\nhello\r\n"),
    ("vertical tab behind the size", "Python strip()", b"5\x0b\r\nhello\r\n"),
    ("no-break space behind the size", "Python strip()", b"5\xa0\r\nhello\r\n"),
    ("over 64 bits", "CVE-2021-32714 hyper", b"10000000000000005\r\nhello\r\n"),
    ("over 64 bits with zeros", "CVE-2013-2028 nginx; CVE-2021-32714 hyper", b"f0000000000000005\r\nhello\r\n"),
    ("sixteen digits", "CVE-2013-2028 nginx", b"ffffffffffffffff\r\nhello\r\n"),
    ("a hundred zeros", "RFC 9112, 7.1", b"0" * 100 + b"5\r\nhello\r\n"),
    ("bare LF behind the size", "CVE-2025-22871 Go; CVE-2024-53868 ATS", b"5\nhello\r\n"),
    ("bare CR behind the size", "garden, S31", b"5\rhello\r\n" + END),
    ("CR CR LF behind the size", "garden, S31", b"5\r\r\nhello\r\n"),
    ("LF CR behind the size", "RFC 9112, 2.2", b"5\n\rhello\r\n"),
    ("LF in an extension (TERM.EXT)", "CVE-2022-24801 Twisted; CVE-2024-52304 aiohttp", b"5;a\nhello\r\n"),
    ("CR in an extension (EXT.TERM)", "CVE-2025-55315 Kestrel; garden, S36", b"5;a\rhello\r\n" + END),
    ("LF in a quoted extension", "CVE-2024-52304 aiohttp", b'5;a="\n"\r\nhello\r\n'),
    ("CR LF in a quoted extension", "CVE-2025-55315 Kestrel", b'5;a="\r\n"\r\nhello\r\n'),
    ("escaped LF in an extension", "RFC 9112, 7.1.1", b'5;a="\\\n"\r\nhello\r\n'),
    ("NUL in an extension", "CVE-2022-24761 waitress", b"5;\x00\r\nhello\r\n"),
    ("an extension without a name", "CVE-2022-24761 waitress", b"5;\r\nhello\r\n"),
    ("an extension that is only a value", "RFC 9112, 7.1.1", b"5;=b\r\nhello\r\n"),
    ("an extension with an open quote", "RFC 9112, 7.1.1", b'5;a="b\r\nhello\r\n'),
    ("an extension with blanks behind", "RFC 9112, 7.1.1", b"5;a \r\nhello\r\n"),
    ("a comma for the semicolon", "garden, T7", b"5,a\r\nhello\r\n"),
    ("an endless extension", "CVE-2023-39326 Go", b"5;a=" + b"b" * 2_000 + b"\r\nhello\r\n"),
    ("data longer than the size", "CVE-2025-43859 h11", b"5\r\nhelloXX0\r\n\r\n"),
    ("no CR LF behind the data", "CVE-2025-43859 h11", b"5\r\nhello0\r\n\r\n"),
    ("bare LF behind the data", "CVE-2025-43859 h11; garden, T13", b"5\r\nhello\n0\r\n\r\n"),
    ("bare CR behind the data", "CVE-2025-43859 h11", b"5\r\nhello\r0\r\n\r\n"),
    ("data shorter than the size", "RFC 9112, 7.1", b"6\r\nhello\r\n0\r\n\r\n"),
    ("a length in the trailers", "RFC 9110, 6.5.1", b"0\r\nContent-Length: 5\r\n\r\n"),
    ("a coding in the trailers", "RFC 9110, 6.5.1", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a Host in the trailers", "RFC 9110, 6.5.1", b"0\r\nhost: b.example\r\n\r\n"),
    ("a length spelled for WSGI in the trailers", "WSGI and CGI", b"0\r\nContent_Length: 5\r\n\r\n"),
    ("a request as trailers", "CVE-2025-53643 aiohttp; CVE-2025-58068 eventlet", b"0\r\n" + SMUGGLED),
    ("trailers that end by a bare LF", "CVE-2025-58068 eventlet", b"0\r\nX: y\r\n\n" + SMUGGLED),
    ("a bare LF behind the last chunk", "garden, T13", b"0\r\n\n" + SMUGGLED),
    ("a bare LF in the trailers", "garden, S2", b"0\r\nX: y\n\r\n"),
    ("a bare CR in the trailers", "garden, S2", b"0\r\nX: y\rZ: z\r\n\r\n"),
    ("a folded trailer", "RFC 9112, 5.2", b"0\r\nX: y\r\n z\r\n\r\n"),
    ("a space before a trailer's colon", "RFC 9112, 5.1", b"0\r\nX : y\r\n\r\n"),
    ("a NUL in the trailers", "garden, S2", b"0\r\nX: \x00\r\n\r\n"),
    ("a flood of trailers", "CVE-2023-46589 Tomcat", b"0\r\n" + b"X: y\r\n" * 300 + b"\r\n"),
    ("anything behind the size", "garden, T7", b"1these-bytes-never-get-validated\r\nZ\r\n"),
    ("an empty line before the last chunk", "garden, T17", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("CR CR before an extension", "garden, T3", b"2\r\r;a\r\n02\r\n41\r\n"),
)

HEADS: tuple[Row, ...] = (
    ("bare LF everywhere", "RFC 9112, 2.2; garden, T16", b"GET http://a.example/ HTTP/1.1\nHost: a.example\n\n"),
    ("bare LF behind the request line", "RFC 9112, 2.2", b"GET http://a.example/ HTTP/1.1\nHost: a.example\r\n\r\n"),
    ("bare LF behind a field", "CVE-2019-16785 waitress", LINE + b"Host: a.example\n\r\n"),
    ("bare LF for the blank line", "garden, S19", LINE + HOST + b"\n" + SMUGGLED),
    ("bare CR for the blank line", "garden, S30", LINE + HOST + b"\r" + SMUGGLED),
    ("CR CR LF for the blank line", "CVE-2022-35256 Node", LINE + HOST + b"\r\r\n" + SMUGGLED),
    ("bare CR in a value", "CVE-2023-30589 Node; RFC 9112, 2.2", LINE + HOST + b"X: y\rz\r\n\r\n"),
    ("bare CR in a name", "garden, S13", LINE + HOST + b"X\r: y\r\n\r\n"),
    ("folded field", "RFC 9112, 5.2", LINE + HOST + b"X: y\r\n z\r\n\r\n"),
    ("folded by a tab", "RFC 9112, 5.2", LINE + HOST + b"X: y\r\n\tz\r\n\r\n"),
    ("empty folded line", "RFC 9112, 5.2", LINE + HOST + b"X: y\r\n \r\n\r\n"),
    ("space before the first field", "RFC 9112, 2.2", LINE + b" Host: a.example\r\n\r\n"),
    ("space before the colon", "RFC 9112, 5.1", LINE + b"Host : a.example\r\n\r\n"),
    ("a line without a colon", "CVE-2019-20444 Netty", LINE + HOST + b"X\r\n\r\n"),
    ("a name that is empty", "CVE-2023-25725 HAProxy; garden, S18", LINE + HOST + b": y\r\n\r\n"),
    ("a space in a name", "RFC 9110, 5.1", LINE + HOST + b"X Y: z\r\n\r\n"),
    ("brackets in a name", "RFC 9110, 5.1", LINE + HOST + b"X[1]: z\r\n\r\n"),
    ("a byte beyond ASCII in a name", "garden, S8", LINE + HOST + b"X\xe9: z\r\n\r\n"),
    ("NUL in a value", "garden, S35, T12", LINE + HOST + b"X: y\x00z\r\n\r\n"),
    ("a control character in a value", "RFC 9110, 5.5", LINE + HOST + b"X: \x01\r\n\r\n"),
    ("DEL in a value", "RFC 9110, 5.5", LINE + HOST + b"X: \x7f\r\n\r\n"),
    ("two Hosts", "RFC 9112, 3.2", LINE + HOST + b"Host: b.example\r\n\r\n"),
    ("two equal Hosts", "RFC 9112, 3.2", LINE + HOST + HOST + b"\r\n"),
    ("no Host", "RFC 9112, 3.2", LINE + b"\r\n"),
    ("HTTP/0.9", "RFC 9112, 2.3; garden, S9", b"GET http://a.example/\r\n" + SMUGGLED),
    ("HTTP/0.9 with a version", "RFC 9112, 2.3", b"GET http://a.example/ HTTP/0.9\r\n" + HOST + b"\r\n"),
    ("HTTP/2.0", "RFC 9110, 2.5", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/1.10", "garden, S5", b"GET http://a.example/ HTTP/1.10\r\n" + HOST + b"\r\n"),
    ("HTTP/1", "RFC 9112, 2.3", b"GET http://a.example/ HTTP/1\r\n" + HOST + b"\r\n"),
    ("HTTP/+1.1", "garden, S15", b"GET http://a.example/ HTTP/+1.1\r\n" + HOST + b"\r\n"),
    ("http/1.1", "RFC 9112, 2.3", b"GET http://a.example/ http/1.1\r\n" + HOST + b"\r\n"),
    ("HTTP/1.1 and a space", "RFC 9112, 3", b"GET http://a.example/ HTTP/1.1 \r\n" + HOST + b"\r\n"),
    ("two versions", "CVE-2023-25690 httpd", b"GET http://a.example/ HTTP/1.1 HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("two spaces before the target", "RFC 9112, 3", b"GET  http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("two spaces behind the target", "RFC 9112, 3", b"GET http://a.example/  HTTP/1.1\r\n" + HOST + b"\r\n"),
    (
        "a space in the target",
        "CVE-2023-25690 httpd; RFC 9112, 3",
        b"GET http://a.example/a b HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    ("a tab for the space", "RFC 9112, 3", b"GET\thttp://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a tab before the version", "RFC 9112, 3", b"GET http://a.example/\tHTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a space before the method", "RFC 9112, 3", b" GET http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a NUL before the method", "garden, S40", b"\x00GET http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("no method", "RFC 9112, 3", b" http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("no target", "RFC 9112, 3", b"GET  HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a slash in the method", "RFC 9110, 9.1", b"GET/ http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    (
        "a byte beyond ASCII in the method",
        "RFC 9110, 9.1",
        b"G\xc3\x8bT http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n",
    ),
    ("a NUL in the target", "CVE-2023-25690 httpd", b"GET http://a.example/\x00 HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a CR in the target", "CVE-2023-25690 httpd", b"GET http://a.example/\rX HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a DEL in the target", "RFC 3986, 2", b"GET http://a.example/\x7f HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a CR before the LF", "RFC 9112, 2.2", b"GET http://a.example/ HTTP/1.1\r\r\n" + HOST + b"\r\n"),
    ("a bare LF first", "RFC 9112, 2.2", b"\nGET http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a bare CR first", "RFC 9112, 2.2", b"\rGET http://a.example/ HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("a TLS hello", "a client whose proxy URL says https", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    (
        "TE in HTTP/1.0",
        "CVE-2021-33037 Tomcat; RFC 9112, 6.1",
        b"POST http://a.example/ HTTP/1.0\r\n" + HOST + TE + b"\r\n" + END,
    ),
    (
        "TE and no Host in HTTP/1.0",
        "CVE-2021-33037 Tomcat",
        b"POST http://a.example/ HTTP/1.0\r\n" + TE + b"\r\n" + END,
    ),
    ("a CONNECT with content", "RFC 9110, 9.3.6", b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
    ("a CONNECT in chunks", "RFC 9110, 9.3.6", b"CONNECT a:1 HTTP/1.1\r\n" + TE + b"\r\n" + END),
    ("a head without an end", "RFC 9112, 3", LINE + HOST + b"X: " + b"y" * 70_000),
    ("a thousand fields", "RFC 9110, 5.4", LINE + HOST + b"X: y\r\n" * 1_000 + b"\r\n"),
    ("neither name nor value", "garden, S27", LINE + HOST + b":\r\nX: y\r\n\r\n"),
    ("brackets and quotes in the method", "garden, S6", b'G=":<>(e),[T];?" /get HTTP/1.1\r\n' + HOST + b"\r\n"),
    ("a line feed for the space before the version", "garden, S9", b"GET /\nHTTP/1.1\r\n" + HOST + b"\r\n"),
)

ONE: tuple[Row, ...] = (
    ("CL.0: behind the content is a request", "PortSwigger, browser-powered desync", request(CL5, b"hello")),
    ("GET with content", "RFC 9110, 9.3.1", request(CL5, b"hello", b"GET http://a.example/ HTTP/1.1")),
    ("lower-case names", "RFC 9110, 5.1", request(b"content-length: 5\r\n", b"hello")),
    ("content that looks like a head", "reborn", request(CL, END + SMUGGLED)),
    ("content that looks like chunks", "reborn", request(CL5, END)),
    ("chunks that look like a head", "reborn", chunked(b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n" + END)),
    ("CHUNKED", "RFC 9112, 7", request(b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n" + END)),
    ("tabs around the coding", "RFC 9110, 5.6.3", request(b"Transfer-Encoding:\tchunked\t\r\n", END)),
    ("an extension that looks like a size", "CVE-2025-55315 Kestrel", chunked(b"5;5=5\r\nhello\r\n" + END)),
    ("a colon in a value", "RFC 9110, 5.5", request(b"X: Transfer-Encoding: chunked\r\n")),
    ("a name close to the coding's", "smuggler", request(b"X-Transfer-Encoding: chunked\r\n")),
    ("bytes beyond ASCII in the target", "RFC 3986, 2.1", b"GET http://a.example/\xff HTTP/1.1\r\n" + HOST + b"\r\n"),
    ("HTTP/1.9", "RFC 9110, 2.5", b"GET http://a.example/ HTTP/1.9\r\n" + HOST + b"\r\n"),
    ("an HTTP/1.0 request with a length", "RFC 9112, 6.3", b"POST http://a/ HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"),
)  # fmt: skip


class SmugglingTests(TestCase):
    """What could be two things is neither."""

    def refused(self, name: str, source: str, data: bytes) -> None:
        """The row is refused however it is cut, within the first request, and no hidden one comes out."""
        told = set()
        for how, pieces in cuttings(data):
            about = f"{name} ({source}), {how}"
            outcome = play(OneRequest, pieces, merge=merged, errors=(GateError,))
            self.assertIsInstance(outcome.error, GateError, about)
            for event in outcome.events:
                if isinstance(event, RequestHead):
                    self.assertEqual(b"http://a.example/", event.target, about)
                if isinstance(event, Body):
                    self.assertNotIn(b"smuggled", event.data, about)
            readByServer(outcome.events)  # What did come out is part of one good request.
            told.add(repr(outcome.told))
        self.assertEqual(1, len(told), told)
        assert isinstance(outcome.error, GateError)
        self.assertIn(outcome.error.status, (400, 431, 505), name)

    def rows(self, rows: tuple[Row, ...], wrap: bytes = b"%b") -> None:
        """Each row, its bytes put into `wrap`."""
        for name, source, data in rows:
            self.refused(name, source, wrap.replace(b"%b", data))

    def test_lengths(self) -> None:
        """Each oddity of Content-Length is a 400."""
        self.rows(LENGTHS, LINE + HOST + b"%b\r\n" + END + SMUGGLED)

    def test_codings(self) -> None:
        """Each oddity of Transfer-Encoding is a 400."""
        self.rows(CODINGS, LINE + HOST + b"%b\r\n" + END + SMUGGLED)

    def test_codingsBesideLength(self) -> None:
        """Hiding Transfer-Encoding from one of two readers does not help beside a Content-Length either."""
        self.rows(CODINGS, LINE + HOST + b"Content-Length: 5\r\n%b\r\n" + END + SMUGGLED)

    def test_chunks(self) -> None:
        """Each oddity within chunked content is a 400, and the content before it that of a good request."""
        self.rows(CHUNKS, LINE + HOST + TE + b"\r\n%b" + END + SMUGGLED)
        self.rows(CHUNKS, LINE + HOST + TE + b"\r\n3\r\nabc\r\n%b" + END + SMUGGLED)

    def test_heads(self) -> None:
        """Each oddity of a head is a 400, 431 or 505."""
        self.rows(HEADS)

    def test_one(self) -> None:
        """What only looks odd is one request, the same to h11, and the next one is the next one."""
        for name, source, data in ONE:
            for behind in (b"", SMUGGLED):
                told = set()
                for _, pieces in cuttings(data + behind):
                    outcome = play(OneRequest, pieces, merge=merged)
                    self.assertIsNone(outcome.error, name)
                    self.assertEqual(behind, outcome.leftover, f"{name} ({source})")
                    told.add(repr(outcome.events))
                self.assertEqual(1, len(told), name)
                self.assertEqual(1, len(readByServer(outcome.events)), name)

    def test_statuses(self) -> None:
        """The status says what kind of wrong it was."""
        for data, status in (
            (b"GET http://a.example/ HTTP/0.9\r\n", 505),
            (b"PRI * HTTP/2.0\r\n", 505),
            (b"GET / HTTP/3.0\r\n", 505),
            (b"GET / FTP/3.0\r\n", 400),
            (b"GET /\r\n", 400),
            (LINE + b"X: y\r\n" * 201, 431),
        ):
            outcome = play(RequestGate, [data])
            assert isinstance(outcome.error, GateError)
            self.assertEqual(status, outcome.error.status, data)

    def test_enough(self) -> None:
        """The table names its sources, and no attack stands in it twice."""
        rows = LENGTHS + CODINGS + CHUNKS + HEADS + ONE
        self.assertGreater(len(rows), 150)
        self.assertEqual(len(rows), len({data for _, _, data in rows}))
        self.assertTrue(all(source for _, source, _ in rows))
