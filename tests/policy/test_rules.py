"""Who may go where."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.model import Destination
from pipsocks.policy.own import OwnAddresses
from pipsocks.policy.rules import Guard, Judge
from pipsocks.policy.settings import CLASSES, RuleSettings
from pipsocks.refusal import Refusal


def rules(*texts: str) -> list[RuleSettings]:
    """Rules from ``allow WHAT [PORT...]``."""
    return [
        RuleSettings(verdict == "allow", what, tuple(map(int, ports)))
        for verdict, what, *ports in map(str.split, texts)
    ]


class RulesCase(SynchronousTestCase):
    """Asks judges."""

    def guard(self, *texts: str) -> Guard:
        """A guard with these rules, and with a listener of ours on 127.0.0.1:1080."""
        own = OwnAddresses()
        own.add("127.0.0.1", 1080)
        return Guard(rules(*texts), own)

    def near(self, *texts: str) -> Judge:
        """The judge of a client on loopback."""
        return self.guard(*texts).judge("127.0.0.1")

    def far(self, *texts: str) -> Judge:
        """The judge of another one."""
        return self.guard(*texts).judge("192.0.2.77")

    def passes(self, refusal: Refusal | None) -> None:
        """It is allowed."""
        self.assertIsNone(refusal)

    def refused(self, refusal: Refusal | None, detail: str, code: str = "PS-RU01") -> None:
        """It is not, for that reason."""
        assert refusal is not None
        self.assertEqual((refusal.slug.code, refusal.detail), (code, detail))


def to(host: str, port: int = 443) -> Destination:
    """A destination."""
    return Destination(host, port)


class FirstMatchTests(RulesCase):
    """Ordered rules."""

    def test_order(self) -> None:
        """The first that matches decides, whatever stands behind it."""
        judge = self.near("deny 10.1.0.0/16", "allow 10.0.0.0/8", "deny *")
        self.refused(judge.before(to("10.1.2.3")), "the rule 'deny 10.1.0.0/16'")
        self.passes(judge.before(to("10.2.2.3")))
        self.refused(judge.before(to("192.0.2.1")), "the rule 'deny *'")

    def test_noMatch(self) -> None:
        """What no rule is about is allowed."""
        self.passes(self.near("deny 10.0.0.0/8", "deny a.example").before(to("192.0.2.1")))
        self.passes(self.near("deny a.example").before(to("b.example")))

    def test_names(self) -> None:
        """A host, a suffix with itself, and what is below alone."""
        for pattern, matched, others in (
            ("a.example", ["a.example"], ["x.a.example", "a.example.x", "ba.example", "example"]),
            (".a.example", ["a.example", "x.a.example", "y.x.a.example"], ["ba.example", "example"]),
            ("*.a.example", ["x.a.example", "y.x.a.example"], ["a.example", "ba.example"]),
            ("*", ["a", "a.example"], []),
        ):
            judge = self.near(f"deny {pattern}")
            for name in matched:
                self.refused(judge.before(to(name)), f"the rule 'deny {pattern}'")
            for name in others:
                self.passes(judge.before(to(name)))

    def test_namesAreNoAddresses(self) -> None:
        """A rule for a name says nothing of the addresses that it has."""
        self.passes(self.near("deny .1", "deny 0.0.1").before(to("127.0.0.1")))

    def test_ports(self) -> None:
        """A rule with ports is for them alone."""
        judge = self.near("allow a.example 443 8443", "deny a.example", "deny * 25")
        self.passes(judge.before(to("a.example", 8443)))
        self.refused(judge.before(to("a.example", 80)), "the rule 'deny a.example'")
        self.refused(judge.before(to("192.0.2.1", 25)), "the rule 'deny * port 25'")
        self.passes(judge.before(to("192.0.2.1", 26)))

    def test_classes(self) -> None:
        """The guard's classes have names."""
        for kind, address in zip(
            CLASSES, ("127.0.0.2", "169.254.1.1", "192.168.0.1", "100.64.0.1", "224.0.0.1", "192.0.2.1"), strict=True
        ):
            self.refused(self.near(f"deny {kind}").before(to(address)), f"the rule 'deny {kind}'")
            self.passes(self.near(f"deny {kind}").before(to("8.8.8.8")))

    def test_disguises(self) -> None:
        """IPv4 inside IPv6 is that IPv4, and the unspecified address is loopback."""
        judge = self.near("deny 10.0.0.0/8", "deny 127.0.0.0/8")
        for address in (
            "::ffff:10.1.1.1",
            "::10.1.1.1",
            "64:ff9b::a01:101",
            "2002:a01:101::1",
            "0.0.0.0",
            "::ffff:0:0",
        ):
            self.assertIsNotNone(judge.before(to(address)), address)
            self.assertIsNotNone(judge.at(to("a.example"), address), address)

    def test_disguiseAsWritten(self) -> None:
        """IPv6 networks are denied as they are written, but allowing one does not allow the IPv4 within."""
        self.assertIsNotNone(self.near("deny 64:ff9b::/96").before(to("64:ff9b::808:808")))
        judge = self.far("allow 2000::/3")
        self.passes(judge.before(to("2001:db8::1")))
        self.refused(judge.before(to("2002:a01:101::1")), "the address guard (private)")


class NameTests(RulesCase):
    """Names, before they are looked up and after."""

    def test_addressOfAName(self) -> None:
        """The address that is dialled is judged, in the rules' order together with the name."""
        judge = self.near("deny 10.0.0.0/8", "allow .example", "deny *")
        name = to("a.example")
        self.passes(judge.before(name))
        self.refused(judge.at(name, "10.0.0.1"), "the rule 'deny 10.0.0.0/8'")
        self.passes(judge.at(name, "192.0.2.1"))
        self.refused(judge.before(to("b.test")), "the rule 'deny *'")

    def test_deniedNameIsNotLookedUp(self) -> None:
        """A rule on a name needs no address, even where a network before it might allow that."""
        self.assertIsNotNone(self.near("allow 192.0.2.0/24", "deny .example").before(to("a.example")))

    def test_allowedNetworks(self) -> None:
        """Only some networks: a name may be looked up to see; where a hop would do that it may not."""
        judge = self.near("allow 192.0.2.0/24", "deny *")
        name = to("a.example")
        self.passes(judge.before(name))
        self.passes(judge.at(name, "192.0.2.9"))
        self.refused(judge.at(name, "192.0.3.9"), "the rule 'deny *'")
        self.refused(judge.afar(name), "the rule 'deny *'")
        self.passes(judge.afar(to("192.0.2.9")))
        other = self.near("allow 192.0.2.0/24 80", "deny *", "allow 10.0.0.0/8")
        self.assertIsNotNone(other.before(name), "the network is for another port, or stands behind")

    def test_afar(self) -> None:
        """Where a hop looks the name up, only what is said of names counts."""
        judge = self.far("deny .a.example", "deny 10.0.0.0/8")
        self.passes(judge.afar(to("b.example")))
        self.assertIsNotNone(judge.afar(to("a.example")))


class GuardTests(RulesCase):
    """The address guard, behind the rules."""

    FORBIDDEN = ("127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "100.64.0.1", "224.0.0.1", "192.0.2.1", "fd00::1",
                 "::ffff:127.0.0.1", "64:ff9b::a00:1", "0.0.0.0", "::")  # fmt: skip

    def test_loopbackClients(self) -> None:
        """A client on this machine may reach everything."""
        for client in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", ""):
            judge = self.guard().judge(client)
            for address in self.FORBIDDEN:
                self.passes(judge.before(to(address)))
                self.passes(judge.at(to("a.example"), address))

    def test_otherClients(self) -> None:
        """Any other may reach public addresses alone."""
        for client in ("10.0.0.9", "192.0.2.1", "::ffff:10.0.0.9", "fe80::1%eth0", "2001:db8::1"):
            judge = self.guard().judge(client)
            for address in self.FORBIDDEN:
                self.assertIn("address guard", getattr(judge.before(to(address)), "detail", ""), address)
                self.assertIn("address guard", getattr(judge.at(to("a.example"), address), "detail", ""), address)
            self.passes(judge.before(to("8.8.8.8")))
            self.passes(judge.before(to("a.example")))
            self.passes(judge.afar(to("localhost")))

    def test_allowed(self) -> None:
        """Unless a rule allows: a class, a network, or a name."""
        judge = self.far("allow private", "allow 127.0.0.9/32", "allow .corp.example")
        for address in ("10.0.0.1", "192.168.1.1", "127.0.0.9"):
            self.passes(judge.before(to(address)))
        self.assertIsNotNone(judge.before(to("127.0.0.1")))
        self.passes(judge.at(to("a.corp.example"), "127.0.0.1"))
        self.assertIsNotNone(judge.at(to("corp.example.test"), "127.0.0.1"))

    def test_own(self) -> None:
        """Our own listeners are nobody's, whatever the rules say and however they are spelt."""
        for judge in (self.near(), self.far(), self.near("allow *"), self.far("allow loopback")):
            for address in (
                "127.0.0.1",
                "::ffff:127.0.0.1",
                "64:ff9b::7f00:1",
                "::127.0.0.1",
                "0.0.0.0",
                "2002:7f00:1::",
            ):
                refusal = judge.before(to(address, 1080))
                assert refusal is not None
                self.assertEqual(refusal.slug.code, "PS-RU02", address)
                self.refused(judge.at(to("a.example", 1080), address), "", "PS-RU02")
        self.passes(self.near().before(to("127.0.0.1", 1081)))

    def test_words(self) -> None:
        """What the client is told names the rule, in a reason phrase that is short enough."""
        refusal = self.near("deny 10.0.0.0/8").before(to("10.1.2.3", 80))
        assert refusal is not None
        self.assertEqual(
            refusal.reason,
            "PS-RU01 the rule 'deny 10.0.0.0/8' denies 10.1.2.3:80; run: pipsocks explain PS-RU01",
        )
        self.assertEqual((refusal.slug.status, refusal.slug.reply), (403, 2))
