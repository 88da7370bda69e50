"""Request targets: where a CONNECT and an absolute URL point to."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.wire.target import AbsoluteTarget, TargetError, parseAbsolute, parseAuthority

BAD_HOSTS = (
    *(b"", b".", b"a..b", b"a b", b"a\tb", b"a\x00b", b"a\x7f", b"a%", b"%41"),
    *(b"a%00b", b"a%2fb", b"a%2Eb", b"%c3", b"%ff"),
    *(b"a/b", b"a\\b", b"a?b", b"a#b", b"a@b", b"@a", b"a:b@c", b"a,b", b"a;b"),
    *(b"<a>", b"a'", b"[", b"]", b"[]", b"[a]"),
    *(b"[127.0.0.1]", b"[::1", b"::1]", b"[[::1]]", b"[::1]x", b"x[::1]"),
    *(b"[::1%25eth0]", b"[fe80::1%eth0]", b"[v1.x]"),
    *(b"[:::]", b"[1::2::3]", b"256.1.1.1", b"1.2.3.4.5", b"0x100000000"),
    *(b"a" * 64, b"a." * 130, b"\xff", b"a\xc2\x80"),
    *(b"[%3a%3a1]", b"a\xe3\x80\x82\xe3\x80\x82b", b"\xef\xbc\x8f", b"a\xef\xbc\x9a1", b"a\xef\xbc\xa0b"),
)  # fmt: skip
BAD_PORTS = (
    *(b"0", b"00000", b"65536", b"99999", b"100000", b"000080", b"+80", b"-80", b" 80", b"80 ", b"8_0", b"0x50"),
    *(b"8\xc2\xb2", b"\xef\xbc\x98\xef\xbc\x90", b"http", b"80\x00", b"80\n"),
    *(b"80\x85", b"80/", b"80@", b"80#", b"8.0"),
)  # fmt: skip
HOSTS = (
    (b"a.example", "a.example"),
    (b"A.Example", "a.example"),
    (b"files.python-hosted_x.example", "files.python-hosted_x.example"),
    (b"r2---sn-x.example", "r2---sn-x.example"),
    (b"127.0.0.1", "127.0.0.1"),
    (b"127.1", "127.0.0.1"),
    (b"0x7f.1", "127.0.0.1"),
    (b"2130706433", "127.0.0.1"),
    (b"[::1]", "::1"),
    (b"[0:0::0001]", "::1"),
    (b"[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
    (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
    (b"b\xc3\xbccher.example", "xn--bcher-kva.example"),
    (b"b%C3%BCcher.example", "xn--bcher-kva.example"),
    (b"b%c3%bccher.example", "xn--bcher-kva.example"),
)


class AuthorityTests(SynchronousTestCase):
    """The target of a CONNECT is a host and a port, and nothing else."""

    def refused(self, target: bytes) -> None:
        """The client is told so, in words without its own."""
        error = self.assertRaises(TargetError, parseAuthority, target)
        self.assertTrue(str(error).isascii() and str(error).isprintable() and len(str(error)) < 60, str(error))

    def test_hosts(self) -> None:
        """Names and addresses in every spelling."""
        for raw, host in HOSTS:
            self.assertEqual((host, 443), parseAuthority(raw + b":443"))

    def test_bareIPv6(self) -> None:
        """An IPv6 address without brackets, as httpx sends it, ends at the last colon."""
        self.assertEqual(("::1", 443), parseAuthority(b"::1:443"))
        self.assertEqual(("2001:db8::1:0", 8080), parseAuthority(b"2001:db8:0::1:0:8080"))

    def test_ports(self) -> None:
        """From 1 to 65535, in one to five digits."""
        for raw, port in ((b"1", 1), (b"65535", 65_535), (b"00443", 443)):
            self.assertEqual(("a", port), parseAuthority(b"a:" + raw))

    def test_badHosts(self) -> None:
        """No user info, path, URL, zone, control character, or half a bracket."""
        for host in BAD_HOSTS:
            self.refused(host + b":443")

    def test_badPorts(self) -> None:
        """Digits of ASCII only, and never none or 0."""
        for port in (b"", *BAD_PORTS):
            self.refused(b"a.example:" + port)
            self.refused(b"[::1]:" + port)

    def test_otherForms(self) -> None:
        """A CONNECT to a URL, to a path, to an asterisk, without a port."""
        for target in (
            b"http://a.example:80",
            b"http://a.example:80/",
            b"/",
            b"*",
            b"a.example",
            b"[::1]",
            b":443",
            b":",
        ):
            self.refused(target)
        self.refused(b"u:p@a.example:443")
        self.refused(b"a.example:443:443")

    @given(st.one_of(st.binary(max_size=20), st.text("a1:[]@/.%#x ", max_size=16).map(str.encode)))
    def test_anything(self, target: bytes) -> None:
        """Whatever is there is a host and a port, or one error."""
        try:
            host, port = parseAuthority(target)
        except TargetError:
            return
        self.assertTrue(host.isascii() and 1 <= port <= 65_535)
        again = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self.assertEqual((host, port), parseAuthority(again.encode()))


class AbsoluteTests(SynchronousTestCase):
    """The target of a forwarded request is an http:// URL."""

    def refused(self, target: bytes, text: str = "") -> None:
        """The client is told so, in words without its own."""
        error = self.assertRaises(TargetError, parseAbsolute, target)
        self.assertTrue(str(error).isascii() and str(error).isprintable() and len(str(error)) < 60, str(error))
        self.assertIn(text, str(error), target)

    def test_hosts(self) -> None:
        """Host is set from the URL: the name that is dialled is the name that the origin is told."""
        for raw, host in HOSTS:
            shown = f"[{host}]".encode() if ":" in host else host.encode()
            self.assertEqual(AbsoluteTarget("http", host, 80, shown, b"/"), parseAbsolute(b"http://" + raw))
            made = AbsoluteTarget("http", host, 8080, shown + b":8080", b"/x")
            self.assertEqual(made, parseAbsolute(b"http://" + raw + b":8080/x"))

    def test_ports(self) -> None:
        """The port is the scheme's when there is none, and Host has one where the URL has."""
        for raw, port, authority in (
            (b"http://a/", 80, b"a"),
            (b"http://a:/", 80, b"a"),
            (b"http://a:80/", 80, b"a:80"),
            (b"http://a:00080/", 80, b"a:80"),
            (b"http://[::1]/", 80, b"[::1]"),
            (b"http://[::1]:/", 80, b"[::1]"),
            (b"http://[::1]:8/", 8, b"[::1]:8"),
            (b"https://a/", 443, b"a"),
        ):
            made = parseAbsolute(raw)
            self.assertEqual((port, authority), (made.port, made.authority))

    def test_paths(self) -> None:
        """The origin gets the path and query as they were written."""
        for raw, path in (
            (b"http://a", b"/"),
            (b"http://a/", b"/"),
            (b"http://a?b", b"/?b"),
            (b"http://a/?", b"/?"),
            (b"http://a//b/../c;d?e=http://f/?g@h:1", b"//b/../c;d?e=http://f/?g@h:1"),
            (b'http://a/%C3%A9%00\\^`{|}"<>', b'/%C3%A9%00\\^`{|}"<>'),
            (b"http://a/\xc3\xa9", b"/\xc3\xa9"),
            (b"http://a/*", b"/*"),
        ):
            self.assertEqual(path, parseAbsolute(raw).path)

    def test_options(self) -> None:
        """OPTIONS for the whole server has a form of its own, for the last proxy to make (RFC 9112, 3.2.4)."""
        for raw, path in ((b"http://a", b"*"), (b"http://a:8001", b"*"), (b"http://a/", b"/"), (b"http://a?b", b"/?b")):
            self.assertEqual(path, parseAbsolute(raw, b"OPTIONS").path)

    def test_schemes(self) -> None:
        """The scheme's case does not matter; https is told, others are refused."""
        self.assertEqual("http", parseAbsolute(b"HTTP://a/").scheme)
        self.assertEqual("https", parseAbsolute(b"hTTps://a/").scheme)
        for raw in (b"ftp://a/", b"ws://a/", b"httpx://a/", b"h+t-t.p://a/"):
            self.refused(raw, "use CONNECT")

    def test_otherForms(self) -> None:
        """A path, an asterisk, an authority, a URL without slashes or with blanks: not a URL for a proxy."""
        for raw in (
            *(b"", b"/", b"/http://a/", b"*", b"a:80", b"a.example", b"http:a"),
            *(b"http:/a", b"http:", b"//a/", b"://a/"),
            *(b"1http://a/", b" http://a/", b"http://a/ b", b"http://a/\tb"),
            *(b"http://a/\x00", b"http://a/\x7f", b"http://a/\n"),
        ):  # fmt: skip
            self.refused(raw, "not an absolute URL")

    def test_long(self) -> None:
        """The longest target that a head can hold is judged at once, also where only its end is wrong."""
        for part in (b"a", b":", b"a.", b"%c3", b"[", b"//"):
            long = part * (65_000 // len(part))
            self.refused(b"http://" + long + b"\x00")
            self.refused(b"http://" + long + b"/\x00")
            self.refused(b"http://a/" + long + b"\x00")
            self.assertRaises(TargetError, parseAuthority, long + b":443")

    def test_noHost(self) -> None:
        """A URL without a host is refused (RFC 9110, 4.2.1)."""
        for raw in (b"http://", b"http:///", b"http:///a", b"http://:80/", b"http://?a"):
            self.refused(raw)

    def test_userInfo(self) -> None:
        """User info would be sent in the clear, or hide the host: refused (RFC 9110, 4.2.4)."""
        for raw in (b"http://u@a/", b"http://u:p@a/", b"http://@a/", b"http://a.example:80@b/", b"http://a\\@b/"):
            self.refused(raw, "user info")

    def test_fragments(self) -> None:
        """A fragment is never sent, and hides a host from half of all parsers."""
        for raw in (b"http://a/#b", b"http://a#b", b"http://a:1#@b/", b"http://a#@b/", b"http://a?b#c"):
            self.refused(raw, "fragment")

    def test_badHosts(self) -> None:
        """As in a CONNECT, and IPv6 addresses stand in brackets."""
        for host in BAD_HOSTS:
            if not set(host) & set(b"/?#"):
                self.refused(b"http://" + host + b"/")
                self.refused(b"http://" + host + b":80/")
        self.refused(b"http://::1/")
        self.refused(b"http://::1:80/")
        self.refused(b"http://a:80:80/")

    def test_badPorts(self) -> None:
        """Digits of ASCII only, and never 0."""
        for port in BAD_PORTS:
            if not set(port) & set(b"/#"):
                self.refused(b"http://a.example:" + port + b"/")

    @given(st.one_of(st.binary(max_size=20), st.text("a1:[]@/.%#?x ", max_size=16).map(str.encode)))
    @example(b"a:]")
    def test_anything(self, rest: bytes) -> None:
        """Whatever is there is a target with a clean Host, or one error."""
        try:
            made = parseAbsolute(b"http://" + rest)
        except TargetError:
            return
        self.assertTrue(made.host.isascii() and 1 <= made.port <= 65_535)
        self.assertTrue(made.path.startswith(b"/"))
        self.assertEqual(made, parseAbsolute(b"http://" + made.authority + made.path))
