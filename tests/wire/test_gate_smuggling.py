"""Messages that two readers could take for different ones (`tests/smuggling.toml`), against the gates."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from pipsocks.wire.gate import Body, Cut, End, GateError, RequestGate, RequestHead, ResponseGate, ResponseHead
from pipsocks.wire.target import TargetError, parseAbsolute, parseAuthority
from tests.smuggling import KINDS, Row, requests, rows
from tests.wire.codecs import Outcome, cuttings, play
from tests.wire.messages import OneRequest, answerTo, merged, readByServer

SMUGGLED = b"GET http://a.example/smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"


class RequestTests(TestCase):
    """What could be two things is neither."""

    def refused(self, row: Row) -> None:
        """The row is refused however it is cut, within the first request, and no hidden one comes out."""
        for data in requests(row):
            told = set()
            for how, pieces in cuttings(data):
                about = f"{row}, {how}"
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
            self.assertEqual(row.status, outcome.error.status, str(row))

    def test_lengths(self) -> None:
        """Each oddity of Content-Length is refused."""
        for row in rows("length"):
            self.refused(row)

    def test_codings(self) -> None:
        """Each oddity of Transfer-Encoding is refused, also beside a length."""
        for row in rows("coding"):
            self.refused(row)

    def test_chunks(self) -> None:
        """Each oddity within chunked content is refused, and the content before it that of a good request."""
        for row in rows("chunks"):
            self.refused(row)

    def test_heads(self) -> None:
        """Each oddity of a head is refused, with the status that fits."""
        for row in rows("head"):
            self.refused(row)

    def test_targets(self) -> None:
        """A target that could be read as two places is none; what else such a row has is not the codecs' to judge."""
        for row in rows("target"):
            head = play(OneRequest, [row.sends]).events[0]
            if head.target.startswith(b"/") or head.method in (b"TRACE", b"OPTIONS"):
                continue
            if head.target.startswith(b"https://"):
                self.assertEqual("https", parseAbsolute(head.target).scheme)
            elif head.method == b"CONNECT":
                self.assertRaises(TargetError, parseAuthority, head.target)
            else:
                self.assertRaises(TargetError, parseAbsolute, head.target, head.method)

    def test_one(self) -> None:
        """What only looks odd is one request, the same to h11, and the next one is the next one."""
        for row in rows("one"):
            for behind in (b"", SMUGGLED):
                told = set()
                for how, pieces in cuttings(row.sends + behind):
                    outcome = play(OneRequest, pieces, merge=merged)
                    self.assertIsNone(outcome.error, f"{row}, {how}")
                    self.assertEqual(behind, outcome.leftover, f"{row}, {how}")
                    told.add(repr(outcome.events))
                self.assertEqual(1, len(told), str(row))
                seen = readByServer(outcome.events)
                self.assertEqual([row.content], [request[4] for request in seen], str(row))

    def test_statuses(self) -> None:
        """The status says what kind of wrong it was."""
        for data, status in (
            (b"GET http://a.example/ HTTP/0.9\r\n", 505),
            (b"PRI * HTTP/2.0\r\n", 505),
            (b"GET / HTTP/3.0\r\n", 505),
            (b"GET / FTP/3.0\r\n", 400),
            (b"GET /\r\n", 400),
            (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 201, 431),
        ):
            outcome = play(RequestGate, [data])
            assert isinstance(outcome.error, GateError)
            self.assertEqual(status, outcome.error.status, data)


class AnswerTests(TestCase):
    """What an origin answers is one answer, or none."""

    def answered(self, row: Row, pieces: list[bytes]) -> Outcome:
        """What the gate makes of a row."""
        end = ResponseGate.eof if row.closes else None
        return play(answerTo(row.method), pieces, merge=merged, errors=(GateError, Cut), end=end)

    def test_answers(self) -> None:
        """It is refused, or cut, or has this content and no more, however it is cut into segments."""
        for row in rows("answer"):
            if row.beyond:
                continue
            told = set()
            for how, pieces in cuttings(row.sends):
                about = f"{row}, {how}"
                outcome = self.answered(row, pieces)
                heads = [event for event in outcome.events if isinstance(event, ResponseHead) and event.status >= 200]
                content = b"".join(event.data for event in outcome.events if isinstance(event, Body))
                if row.status == 502:
                    self.assertIsInstance(outcome.error, GateError, about)
                    self.assertEqual([], outcome.events, about)
                else:
                    self.assertEqual([row.status], [head.status for head in heads], about)
                    self.assertEqual(row.content, content, about)
                    self.assertEqual(row.cut, outcome.error is not None, about)
                    self.assertEqual(not row.cut, isinstance(outcome.events[-1], End), about)
                told.add(repr((outcome.events, type(outcome.error))))
            self.assertEqual(1, len(told), told)


class TableTests(TestCase):
    """The table itself."""

    def test_enough(self) -> None:
        """It names its sources, and nothing stands in it twice."""
        table = [row for kind in KINDS for row in rows(kind)]
        self.assertGreater(len(table), 400)
        self.assertTrue(all(row.source for row in table))
        for kind in KINDS:
            for key in (lambda row: row.name, lambda row: (row.method, row.sends)):
                self.assertEqual(len(rows(kind)), len({key(row) for row in rows(kind)}), kind)
