"""Every behaviour of ``python -m conformance``, put to pipsocks as a process; and the page that is made from it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from conformance.behaviour import HASTE, HASTY, LOGIN, PASS, PLAIN, PROTOCOLS, Address
from conformance.catalogue import BEHAVIOURS
from conformance.peers import HTTP, OURS, PEERS, users
from conformance.run import judgeAll
from conformance.table import PAGE, page, readResults
from tests.functional.case import FunctionalTestCase
from tests.functional.processes import Pipsocks

AT_ONCE = 8


class OursTests(FunctionalTestCase):
    """Our own column of the table."""

    def assertPasses(self, variant: str, pipsocks: Pipsocks) -> None:
        """No question of that variant has another verdict than pass."""
        ports = {protocol: pipsocks.http() if protocol in HTTP else pipsocks.socks() for protocol in PROTOCOLS}
        asked = [each for each in BEHAVIOURS.values() if each.variant == variant]
        self.assertTrue(asked)
        verdicts = judgeAll(asked, lambda protocol: Address(protocol, "127.0.0.1", ports[protocol]), AT_ONCE)
        self.assertEqual({name: each.observed for name, each in verdicts.items() if each.outcome != PASS}, {})

    def test_plain(self) -> None:
        """As it is started without options."""
        self.assertPasses(PLAIN, self.pipsocks())

    def test_login(self) -> None:
        """Where a login is required."""
        file = self.directory() / "users"
        file.write_text(users())
        self.assertPasses(LOGIN, self.pipsocks("--auth", f"htpasswd:{file}"))

    def test_hasty(self) -> None:
        """Where a handshake has little time."""
        self.assertPasses(HASTY, self.pipsocks("--timeouts-handshake", str(HASTE)))


class TableTests(SynchronousTestCase):
    """The page of the documentation."""

    def test_fromResults(self) -> None:
        """It is what ``python -m conformance --table`` makes of the results."""
        self.assertEqual(PAGE.read_text(), page(readResults(), BEHAVIOURS.values()))

    def test_complete(self) -> None:
        """It has pipsocks and at least four peers, and each was asked every question."""
        columns = readResults()
        names = [column.name for column in columns]
        self.assertEqual(names, [peer.name for peer in PEERS if peer.name in names])
        self.assertEqual(names[0], OURS)
        self.assertLessEqual({"dante", "microsocks", "squid", "tinyproxy"}, set(names))
        for column in columns:
            self.assertEqual(set(column.verdicts), set(BEHAVIOURS), column.name)

    def test_ours(self) -> None:
        """Our column of the page has nothing but passes, as the tests above have."""
        ours = readResults()[0]
        self.assertEqual({name for name, each in ours.verdicts.items() if each.outcome != PASS}, set())

    def test_enough(self) -> None:
        """There are at least 80 behaviours, each with a title and a source."""
        self.assertGreaterEqual(len(BEHAVIOURS), 80)
        for behaviour in BEHAVIOURS.values():
            self.assertTrue(behaviour.title and behaviour.source, behaviour.id)
