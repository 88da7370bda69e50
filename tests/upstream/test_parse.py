"""Chains as people write them, and every way to write them wrong."""

from __future__ import annotations

import pwd
import shutil
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination, Login, Secret
from pipsocks.upstream.parse import ChainInvalid, fromEnvironment, parseChain
from pipsocks.upstream.settings import ChainSettings, HopSettings, SSHSettings, TLSSettings
from tests.upstream.sshrig import generate

HIDDEN = "hunter2"


def hop(text: str) -> HopSettings:
    """The one hop of a chain."""
    (only,) = parseChain(text).hops
    return only


class ParseTests(SynchronousTestCase):
    """Chains that are right."""

    def test_direct(self) -> None:
        """``direct`` is a chain without hops."""
        self.assertEqual(ChainSettings(name="plain"), parseChain(" direct ", name="plain"))

    def test_hops(self) -> None:
        """Hops stand left to right; the name is kept."""
        chain = parseChain("socks5://user:p%40ss@a:1080, http://b:3128", name="hk1")
        self.assertEqual("hk1", chain.name)
        self.assertEqual(
            (
                HopSettings("socks5", Destination("a", 1080), Login("user", Secret("p@ss"))),
                HopSettings("http", Destination("b", 3128)),
            ),
            chain.hops,
        )

    def test_schemes(self) -> None:
        """Every scheme, in any case, with the port that it has without one."""
        for scheme, port in (
            ("socks5", 1080), ("socks5h", 1080), ("socks4", 1080), ("SOCKS4A", 1080), ("http", 80), ("https", 443),
        ):  # fmt: skip
            read = hop(f"{scheme}://Hk1.Example/")
            self.assertEqual((scheme.lower(), Destination("hk1.example", port)), (read.scheme, read.address))
        self.assertEqual(TLSSettings(), hop("https://a").tls)
        self.assertIsNone(hop("http://a").tls)

    def test_hosts(self) -> None:
        """IPv6 addresses stand in brackets; addresses have one spelling."""
        for text, host in (
            ("[::1]", "::1"),
            ("[2001:DB8:0::1]", "2001:db8::1"),
            ("127.1", "127.0.0.1"),
            ("a_b", "a_b"),
        ):
            self.assertEqual(Destination(host, 99), hop(f"http://{text}:99").address)

    def test_logins(self) -> None:
        """Users and passwords are percent-decoded, whatever is in them; a missing password is empty."""
        for text, user, password in (
            ("me:a%3Ab%2C%25", "me", "a:b,%"),
            ("me:a:b", "me", "a:b"),
            ("me", "me", ""),
            ("me:", "me", ""),
            (":pw", "", "pw"),
            ("J%C3%BCrgen:ü+$", "Jürgen", "ü+$"),
        ):
            self.assertEqual(Login(user, Secret(password)), hop(f"socks5h://{text}@a:1").login)
        self.assertIsNone(hop("socks5h://@a:1").login)
        self.assertEqual(Login("id", Secret("")), hop("socks4://id@a:1").login)

    def test_references(self) -> None:
        """A secret is looked up after the text was split, and taken as it is."""
        asked = []

        def expand(reference: str) -> str:
            asked.append(reference)
            return "a,b:c@d%41/"

        chain = parseChain("socks5://me:${file:/etc/a,b@c}@h1:1,socks5h://${env:U}x%2C:p@h2:2", expand)
        self.assertEqual(["${file:/etc/a,b@c}", "${env:U}"], asked)
        self.assertEqual("h1", chain.hops[0].address.host)
        self.assertEqual(Login("me", Secret("a,b:c@d%41/")), chain.hops[0].login)
        self.assertRaises(ChainInvalid, parseChain, "http://${env:U}@h:1", expand)
        self.assertEqual(Login("${env:U}", Secret("")), hop("socks5://${env:U}@h:1").login)
        whole = parseChain("socks5://me:x${env:U}y%2C@h:1", lambda reference: "-").hops[0].login
        self.assertEqual(Login("me", Secret("x-y,")), whole)

    def test_tls(self) -> None:
        """The options of ``https``."""
        self.assertEqual(TLSSettings(sni="b.example", verify=False), hop("https://a:1?verify=off&sni=B.example").tls)
        self.assertEqual(TLSSettings(), hop("https://a:1/?").tls)


class InvalidTests(SynchronousTestCase):
    """Chains that are wrong: which hop, what is wrong, what to write; never the secret."""

    def assertInvalid(self, text: str, words: str, hint: str = "") -> None:
        """`text` is refused with these words."""
        error = self.assertRaises(ChainInvalid, parseChain, text)
        self.assertIn(words, str(error))
        self.assertIn(hint, error.hint)
        self.assertNotIn(HIDDEN, str(error) + error.hint + repr(error))
        self.assertIsInstance(error, ValueError)

    def test_chains(self) -> None:
        """The chain as a whole."""
        for text in ("", "  ", ",", " , "):
            self.assertInvalid(text, "the chain is empty", "direct")
        self.assertInvalid("http://a:1,direct", "direct is a chain by itself")
        for text in ("http://a:1,", "http://a:1,,http://b:1", ",http://a:1"):
            self.assertInvalid(text, "is empty", "comma")
        self.assertInvalid("http://a:1,,http://b:1", "hop 2 ")
        self.assertInvalid("http://a:1, ", "hop 2 is empty")

    def test_schemes(self) -> None:
        """Unknown schemes, with what was probably meant."""
        self.assertInvalid("a.example:1080", "hop 1 has no scheme", "socks5h")
        self.assertInvalid(f"http://a:1,me:{HIDDEN}@b:1", "hop 2 has no scheme")
        self.assertInvalid("socks://a:1", "socks://", "did you mean socks5h://?")
        self.assertInvalid("htps://a:1", "htps://", "did you mean http")
        self.assertInvalid("ftp://a:21", "unknown scheme ftp://", "There are socks5, ")
        self.assertInvalid("DIRECT", "has no scheme")

    def test_places(self) -> None:
        """Hosts and ports."""
        for text, words in (
            ("http://:80", "no valid host: empty"),
            ("http://a b:80", "no valid host: bad character"),
            ("http://a:80\n", "hop 1 has no valid port"),
            ("http://a:0", "hop 1 has no valid port"),
            ("http://a:+80", "has no valid port"),
            ("http://a:8_0", "has no valid port"),
            ("http://a:\xb2", "has no valid port"),
            ("http://a:", "has no valid port"),
            ("http://::1:80", "is not SCHEME://"),
            ("http://[::1:80", "is not SCHEME://"),
            ("http://[a]:80", "no valid host: only IPv6"),
            ("http://[127.0.0.1]:80", "no valid host: only IPv6"),
            ("http://[::1%25lo]:80", "no valid host"),
            ("http://a:80/path", "is not SCHEME://"),
            ("http://a:80#x", "is not SCHEME://"),
            ("http://a:1#@b/", "inside its user or password"),
            ("http://${env:H}:80", "reference in its host"),
            ("http://a:${env:P}", "reference in its host or port"),
        ):
            self.assertInvalid(text, words)
        self.assertInvalid(f"http://me:{HIDDEN}", "no valid port", "%3A")

    def test_comma(self) -> None:
        """A comma in a user or a password makes two hops of one: no word of either is told, and how to write it is."""
        for login in ("hunter2:p,x", "hunter2:1080,x", f"{HIDDEN}:80?{HIDDEN},x", f"x,{HIDDEN}:p", f"me:1,{HIDDEN}"):
            self.assertInvalid(f"socks5://{login}@a:1", "hop 2 has no scheme", "a comma in a user or password is %2C")
        self.assertInvalid(f"socks5://{HIDDEN}:p,http://x@a:1080", "hop 1 has no valid port")

    def test_logins(self) -> None:
        """Users and passwords that would move a boundary, or that a protocol cannot carry."""
        for text, words in (
            (f"http://me:{HIDDEN}@x@a:1", "inside its user or password"),
            (f"http://me:{HIDDEN}/x@a:1", "inside its user or password"),
            (f"http://me:{HIDDEN}%@a:1", "hop 1 (a) has a bare % in its password"),
            (f"http://me:{HIDDEN}%zz@a:1", "bare %"),
            (f"http://me:{HIDDEN}%FF@a:1", "not UTF-8"),
            (f"http://me:{HIDDEN}%00@a:1", "control character in its password"),
            (f"http://me:{HIDDEN}${{x@a:1", "unfinished ${…} in its password"),
            (f"http://m%3Ae:{HIDDEN}@a:1", "colon in its user"),
            (f"socks4://me:{HIDDEN}@a:1", "which SOCKS4 cannot carry"),
            (f"socks5://me:{HIDDEN * 40}@a:1", "255 octets"),
        ):
            self.assertInvalid(text, words)
        hop(f"http://me:{HIDDEN * 40}@a:1")

    def test_missingSecret(self) -> None:
        """A secret that is missing is told with its hop."""

        def expand(reference: str) -> str:
            raise ValueError("the environment has no PW")

        error = self.assertRaises(ChainInvalid, parseChain, "http://a:1,http://me:${env:PW}@b:1", expand)
        self.assertEqual("hop 2 (b): the environment has no PW", str(error))
        control = self.assertRaises(ChainInvalid, parseChain, "http://me:${env:PW}@b:1", lambda _: HIDDEN + "\n")
        self.assertNotIn(HIDDEN, str(control))

    def test_options(self) -> None:
        """Options are ``https``'s, known, and given once; files are read at once."""
        for text, words in (
            ("http://a:1?verify=off", "options, which only https and ssh take"),
            ("https://a:1?verfy=off", "unknown option"),
            ("https://a:1?zzz=1", "unknown option"),
            ("https://a:1?verify=on", "bad option verify"),
            ("https://a:1?sni=", "bad option sni"),
            ("https://a:1?sni", "bad option sni"),
            ("https://a:1?sni=a&sni=b", "bad option sni"),
            ("https://a:1?sni=a%20b", "cannot do TLS so: bad character"),
            ("https://a:1?ca=/nowhere/ca.pem", "cannot be read: /nowhere/ca.pem: No such file"),
            ("https://a:1?ca=/dev/null", "cannot do TLS so: no certificate in /dev/null"),
        ):
            self.assertInvalid(text, words)
        self.assertInvalid("https://a:1?verfy=off", "unknown option", "did you mean verify?")
        for option in ("ca", "cert", "sni", "verify"):
            text = f"https://a:1?{option}=x${{file:/etc/secret}}"
            self.assertUnread(text, f"hop 1 (a) has a reference in its option {option}")
        self.assertInvalid("https://a_b.example", "no certificate can be verified for", "?sni=")
        self.assertEqual("a_b.example", hop("https://a_b.example?sni=b.example").address.host)

    def assertUnread(self, text: str, words: str) -> None:
        """A reference outside a login is refused before it is looked up, so that no error can print what it holds."""
        error = self.assertRaises(ChainInvalid, parseChain, text, lambda reference: self.fail(reference))
        self.assertIn(words, str(error))
        self.assertIn("write the path or the name itself", error.hint)

    @given(st.text(max_size=40), st.text(alphabet="ht5p:/@,[]%.?#$ {}", max_size=20))
    def test_anything(self, text: str, marks: str) -> None:
        """Whatever is written is a chain or is refused, and nothing else."""
        for prefix in ("", "http://", "socks5://me:", "https://a?", "ssh://a?"):
            try:
                parseChain(prefix + text + marks)
            except ChainInvalid as invalid:
                self.assertTrue(str(invalid))


class SSHTests(SynchronousTestCase):
    """``ssh`` hops."""

    def setUp(self) -> None:
        """Files to name."""
        self.directory = Path(tempfile.mkdtemp(prefix="pipsocks-parse-"))
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.key = generate("ed25519", self.directory / "plain")
        self.locked = generate("ed25519", self.directory / "locked", HIDDEN)

    def assertInvalid(self, text: str, words: str, hint: str = "") -> None:
        """`text` is refused with these words."""
        error = self.assertRaises(ChainInvalid, parseChain, text)
        self.assertIn(words, str(error))
        self.assertIn(hint, error.hint)
        self.assertNotIn(HIDDEN, str(error) + error.hint)

    def test_right(self) -> None:
        """User, port and options may be left out; a password is the login's, a passphrase the key's."""
        self.assertEqual(HopSettings("ssh", Destination("a", 22), ssh=SSHSettings()), hop("ssh://a"))
        known = str(self.directory / "plain.pub")
        self.assertEqual(
            HopSettings(
                "ssh",
                Destination("bastion.example", 2222),
                Login("me", Secret(HIDDEN)),
                ssh=SSHSettings(str(self.locked), Secret(HIDDEN), known, False),
            ),
            hop(
                f"ssh://me:{HIDDEN}@bastion.example:2222?key={self.locked}&passphrase={HIDDEN}&known_hosts={known}&agent=off"
            ),
        )
        hops = parseChain("socks5h://a:1080,ssh://me@b,http://c:3128").hops
        self.assertEqual(["socks5h", "ssh", "http"], [each.scheme for each in hops])

    def test_references(self) -> None:
        """Secrets may be named."""
        (read,) = parseChain(f"ssh://a?key={self.locked}&passphrase=${{file:/x}}", lambda _: HIDDEN).hops
        assert read.ssh is not None
        self.assertEqual(Secret(HIDDEN), read.ssh.passphrase)
        self.assertNotIn(HIDDEN, repr(read))
        for option in ("key", "known_hosts", "agent"):
            text = f"ssh://a?{option}=${{file:/x}}"
            error = self.assertRaises(ChainInvalid, parseChain, text, lambda reference: self.fail(reference))
            self.assertIn(f"has a reference in its option {option}", str(error))

    def test_wrong(self) -> None:
        """Whatever is unknown, missing or no key is told at once."""
        for text, words, hint in (
            ("ssh://a?kye=x", "unknown option", "did you mean key?"),
            ("ssh://a?agent=on", "bad option agent", "agent takes off"),
            ("ssh://a?passphrase=hunter2", "passphrase without a key", "?key=FILE"),
            ("ssh://a?key=/nowhere/id", "cannot be read: /nowhere/id", ""),
            ("ssh://a?known_hosts=/nowhere/known", "cannot be read: /nowhere/known", ""),
            ("ssh://a?key=/dev/null", "no private key", ""),
            (f"ssh://a?key={self.locked}&passphrase=wrong", "no private key, or not with that passphrase", ""),
        ):
            self.assertInvalid(text, words, hint)
        (self.directory / "locked.pub").unlink()
        self.assertInvalid(f"ssh://a?key={self.locked}", "encrypted, and neither passphrase= nor")

    def test_notInstalled(self) -> None:
        """Without the extra you are told how to get it."""
        with patch.dict(sys.modules, {"twisted.conch.ssh.keys": None}):
            sys.modules.pop("pipsocks.upstream.sshkeys", None)
            self.assertInvalid("ssh://me@a", "needs more of Twisted than is installed", "pip install 'pipsocks[ssh]'")

    def test_nameless(self) -> None:
        """A process whose user has no name has to say who logs in."""

        def nobody(number: int) -> None:
            raise KeyError(number)

        self.patch(pwd, "getpwuid", nobody)
        self.assertInvalid("ssh://a", "has no user", "ssh://USER@HOST")
        self.assertEqual("me", hop("ssh://me@a").login.user)  # type: ignore[union-attr]


class EnvironmentTests(SynchronousTestCase):
    """``--upstream env``."""

    def test_order(self) -> None:
        """https before all before http, lower case first, empty ones passed over."""
        environ = {"HTTP_PROXY": "http://six:1"}
        self.assertEqual("http://six:1", fromEnvironment(environ))
        for number, name in enumerate(("http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy")):
            environ[name] = f"socks5h://h{number}:1"
            self.assertEqual(f"socks5h://h{number}:1", fromEnvironment(environ))
        environ["https_proxy"] = " "
        self.assertEqual("socks5h://h3:1", fromEnvironment(environ))

    def test_values(self) -> None:
        """A value without a scheme is an HTTP proxy; it is one hop, and names no secrets."""
        self.assertEqual(hop("http://a:3128"), hop(fromEnvironment({"https_proxy": "a:3128"})))
        text = fromEnvironment({"https_proxy": "http://me:a,${env:X}@a:3128/"})
        chain = parseChain(text, lambda reference: self.fail(reference))  # type: ignore[func-returns-value]
        self.assertEqual(Login("me", Secret("a,${env:X}")), chain.hops[0].login)

    def test_none(self) -> None:
        """Without any, that is said."""
        error = self.assertRaises(ChainInvalid, fromEnvironment, {"NO_PROXY": "x"})
        self.assertIn("HTTPS_PROXY", error.hint)
