"""The table of failures: what each answer of a hop speaks of, and what a client is told."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination, Login, Secret
from pipsocks.refusal import Refusal
from pipsocks.slugs import About
from pipsocks.upstream.failures import commonest, ofAnswer, onNextHop
from pipsocks.wire.connect import ConnectRefused
from pipsocks.wire.http import Fields
from pipsocks.wire.socksclient import HopLogin, HopNonsense, HopRefused

HOP, WHERE = Destination("hk1.example", 1080), Destination("a.example", 443)


def answer(error: HopRefused | HopLogin | HopNonsense | ConnectRefused) -> Refusal:
    """What the answer of a last hop means."""
    return ofAnswer(error, "SOCKS5", HOP, WHERE)


class AnswerTests(SynchronousTestCase):
    """What a hop's answer means (behaviour, section 5)."""

    def test_socks5(self) -> None:
        """Each reply code has its slug, and speaks of what the contract says; the hop's own code is in the words."""
        for reply, code, about, back in (
            (1, "PS-UP14", About.VAGUE, 1),
            (2, "PS-UP11", About.RULES, 2),
            (3, "PS-UP18", About.VAGUE, 3),
            (4, "PS-UP20", About.PLAIN, 4),
            (5, "PS-UP21", About.PLAIN, 5),
            (6, "PS-UP17", About.VAGUE, 6),
            (7, "PS-UP12", About.ABILITY, 7),
            (8, "PS-UP13", About.ABILITY, 8),
            (9, "PS-UP14", About.VAGUE, 1),
            (91, "PS-UP14", About.VAGUE, 1),
            (255, "PS-UP14", About.VAGUE, 1),
        ):
            refusal = answer(HopRefused(5, reply))
            self.assertEqual((code, about, back), (refusal.slug.code, refusal.about, refusal.slug.reply), reply)
            self.assertTrue(refusal.said.startswith(f"SOCKS5 reply {reply:02X}, "), refusal.said)
            self.assertEqual(("hk1.example:1080", "a.example:443"), (refusal.hop, refusal.where))

    def test_socks4(self) -> None:
        """91 says nothing of why; 92 and 93 are about who we are."""
        for reply, code in ((91, "PS-UP14"), (92, "PS-UP10"), (93, "PS-UP10")):
            refusal = answer(HopRefused(4, reply))
            self.assertEqual(code, refusal.slug.code)
            self.assertTrue(refusal.said.startswith(f"SOCKS4 reply {reply}, "), refusal.said)

    def test_http(self) -> None:
        """Each status has its slug; what is not listed is vague."""
        for status, code, about in (
            (401, "PS-UP10", About.LOGIN),
            (403, "PS-UP11", About.RULES),
            (407, "PS-UP10", About.LOGIN),
            (500, "PS-UP14", About.VAGUE),
            (502, "PS-UP20", About.PLAIN),
            (503, "PS-UP14", About.VAGUE),
            (504, "PS-UP19", About.PLAIN),
            (302, "PS-UP14", About.VAGUE),
            (404, "PS-UP14", About.VAGUE),
            (429, "PS-UP14", About.VAGUE),
        ):
            refusal = answer(ConnectRefused(status, "Quota", ()))
            self.assertEqual((code, about), (refusal.slug.code, refusal.about), status)
            self.assertEqual(f"{status} Quota", refusal.said)

    def test_login(self) -> None:
        """A hop whose login we cannot do is named, with what to put before it; else the login is wrong."""

        def detail(*challenges: bytes) -> str:
            fields: Fields = tuple((b"Proxy-Authenticate", challenge) for challenge in challenges)
            return answer(ConnectRefused(407, "Who?", fields)).detail

        self.assertEqual("", detail())
        self.assertEqual("", detail(b'Basic realm="x"'))
        self.assertEqual("", detail(b"Negotiate", b"NTLM", b'basic realm="x"'))
        self.assertEqual("", detail(b'Digest realm="x", nonce="a, b", Basic realm="y"'))
        self.assertEqual(
            ": it offers only Negotiate and NTLM; put px or cntlm before it", detail(b"Negotiate", b"NTLM")
        )
        self.assertEqual(": it offers only NTLM; put px or cntlm before it", detail(b"NTLM TlRMTVNTUAAC"))
        self.assertEqual(": it offers only Digest", detail(b'Digest realm="x", qop="auth", algorithm=MD5'))

    def test_reason(self) -> None:
        """What users of pip see says which upstream, and what to do, and is short ASCII."""
        refusal = answer(ConnectRefused(407, "Who?", ((b"Proxy-Authenticate", b"NTLM"),)))
        refusal.chain = "office"
        self.assertIn("px or cntlm", refusal.cause)
        self.assertIn("office (at hk1.example:1080)", refusal.cause)
        self.assertLessEqual(len(refusal.reason), 120)

    def test_others(self) -> None:
        """Nonsense names the protocol that was expected; a method refused is a login's failure."""
        nonsense = answer(HopNonsense("the answer begins with octet 0x48"))
        self.assertEqual(
            ("PS-UP07", "SOCKS5: the answer begins with octet 0x48", About.HOP, ""),
            (nonsense.slug.code, nonsense.detail, nonsense.about, nonsense.said),
        )
        login = answer(HopLogin("no acceptable method"))
        self.assertEqual(("PS-UP10", ": no acceptable method", ""), (login.slug.code, login.detail, login.said))

    def test_echo(self) -> None:
        """A hop that says our login again is quoted without it, in either spelling."""
        login = Login("me", Secret("GEHEIM7@x\u00e4"))
        basic = base64.b64encode("me:GEHEIM7@x\u00e4".encode()).decode()
        for status in (407, 502, 503):
            reason = f"no {'GEHEIM7@x' + 'ä'.encode().decode('latin-1')} {basic} {basic.rstrip('=')} here"
            fields = ((b"Proxy-Authenticate", basic.rstrip("=").encode()),)
            refusal = ofAnswer(ConnectRefused(status, reason, fields), "HTTP", HOP, WHERE, login)
            self.assertEqual(refusal.said.rstrip("="), f"{status} no *** ***= *** here")
            self.assertEqual(refusal.detail.replace(": it offers only ***", ""), "")
            onward = onNextHop(refusal, WHERE)
            for text in (refusal.text, refusal.reason, onward.text, onward.reason, onward.cause):
                self.assertNotIn("GEHEIM", text)
                self.assertNotIn(basic[:8], text)

    def test_echoedToken(self) -> None:
        """Without a password it is the user that is secret."""
        login = Login("GEHEIM", Secret(""))
        refusal = ofAnswer(ConnectRefused(407, "unknown key GEHEIM", ()), "HTTP", HOP, WHERE, login)
        self.assertEqual(refusal.said, "407 unknown key ***")


class NextHopTests(SynchronousTestCase):
    """What a hop before the last says."""

    def test_reports(self) -> None:
        """Whatever it reports on the next hop speaks of that hop, and names who said it."""
        following = Destination("b.example", 3128)
        for code in ("PS-UP11", "PS-UP12", "PS-UP13", "PS-UP14", "PS-UP15", "PS-UP16", "PS-UP20", "PS-UP21"):
            report = Refusal(code, hop="hk1.example:1080", where="b.example:3128", said="SOCKS5 reply 05")
            refusal = onNextHop(report, following)
            self.assertEqual(("PS-UP23", About.HOP), (refusal.slug.code, refusal.about))
            self.assertEqual("b.example:3128", refusal.hop)
            self.assertIn(f"was not reached by hk1.example:1080 ({report.slug.brief})", refusal.cause)
            self.assertIn('hk1.example:1080 said "SOCKS5 reply 05"', refusal.text)
            self.assertTrue(refusal.reason.endswith("; run: pipsocks explain PS-UP23"))
        silent = onNextHop(Refusal("PS-UP15", hop="hk1.example:1080"), following)
        self.assertEqual("hk1.example:1080 (silent)", silent.detail)

    def test_names(self) -> None:
        """A next hop whose name is looked up here, and not found, has a name that is not found."""
        refusal = onNextHop(Refusal("PS-DE02", where="b.example"), Destination("b.example", 3128))
        self.assertEqual(("PS-UP01", "b.example:3128"), (refusal.slug.code, refusal.hop))

    def test_own(self) -> None:
        """What speaks of the earlier hop itself stays as it is: its login, its nonsense, its silence, our limits."""
        for code in ("PS-UP05", "PS-UP06", "PS-UP07", "PS-UP08", "PS-UP10", "PS-LM01", "PS-UP23"):
            report = Refusal(code, hop="hk1.example:1080")
            self.assertIs(report, onNextHop(report, Destination("b.example", 3128)))


class CommonestTests(SynchronousTestCase):
    """Which failure of several addresses is told."""

    def test_told(self) -> None:
        """The commonest; of a tie refused before timed out; having no route only when there is nothing else."""
        for codes, expected in (
            (["PS-DE05", "PS-DE05", "PS-DE01"], "PS-DE05"),
            (["PS-DE05", "PS-DE01"], "PS-DE01"),
            (["PS-DE05", "PS-DE03"], "PS-DE03"),
            (["PS-DE04", "PS-DE04", "PS-DE01"], "PS-DE01"),
            (["PS-DE04", "PS-DE04", "PS-DE05"], "PS-DE05"),
            (["PS-DE04", "PS-DE04"], "PS-DE04"),
            (["PS-UP18", "PS-UP14"], "PS-UP14"),
            (["PS-UP03", "PS-UP02", "PS-UP04"], "PS-UP02"),
            (["PS-UP15", "PS-UP21"], "PS-UP21"),
        ):
            self.assertEqual(expected, commonest([Refusal(code) for code in codes]).slug.code, codes)
