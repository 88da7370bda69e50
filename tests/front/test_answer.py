"""Refusals in HTTP's words."""

from __future__ import annotations

import h11
from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.answer import answerBytes
from pipsocks.refusal import Refusal
from pipsocks.slugs import SLUGS


def parsed(data: bytes, method: str = "GET") -> tuple[h11.Response, dict[str, str], bytes]:
    """An answer as a client reads it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    content = b""
    while isinstance(event := connection.next_event(), h11.Data):
        content += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, {name.decode(): value.decode() for name, value in head.headers}, content


class AnswerTests(SynchronousTestCase):
    """What a client reads."""

    def test_everySlug(self) -> None:
        """Each row of the table makes a whole response with its status, reason phrase and a body for a person."""
        for code, slug in SLUGS.items():
            refusal = Refusal(code, chain="hk1", where="index.example:443", detail="something")
            head, fields, content = parsed(answerBytes(refusal))
            self.assertEqual(head.status_code, slug.status)
            reason = head.reason.decode("ascii")
            self.assertTrue(reason.startswith(code) and reason.endswith(f"pipsocks explain {code}"), reason)
            self.assertLessEqual(len(reason), 120)
            self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
            self.assertIn(slug.meaning, content.decode())
            self.assertEqual(fields["connection"], "close")
            self.assertTrue(fields["proxy-status"].startswith("pipsocks; "))
            self.assertEqual("; error=" in fields["proxy-status"], bool(slug.error))
            self.assertEqual("retry-after" in fields, slug.status in (429, 503))
            self.assertEqual("proxy-authenticate" in fields, slug.status == 407)

    def test_challenge(self) -> None:
        """A 407 says what is wanted, and may leave the connection open."""
        _, fields, _ = parsed(answerBytes(Refusal("PS-AU01"), keepAlive=True))
        self.assertEqual(fields["proxy-authenticate"], 'Basic realm="pipsocks", charset="UTF-8"')
        self.assertNotIn("connection", fields)

    def test_limits(self) -> None:
        """A limit is over in a second."""
        self.assertEqual(parsed(answerBytes(Refusal("PS-LM01")))[1]["retry-after"], "1")

    def test_head(self) -> None:
        """A HEAD gets the same fields and no content."""
        whole = answerBytes(Refusal("PS-DE01", where="x:1"))
        self.assertEqual(
            whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n", answerBytes(Refusal("PS-DE01", where="x:1"), bodyless=True)
        )

    def test_hostileWords(self) -> None:
        """Nothing that a client or a hop says leaves the place that it is quoted in."""
        refusal = Refusal("PS-UP14", chain='a"b\\', where="x\r\nSet-Cookie: a\u2028ü", said='"\r\n\x1b[31m')
        head, fields, content = parsed(answerBytes(refusal))
        self.assertNotIn("set-cookie", fields)
        self.assertIn(r'details="PS-UP14 upstream a\"b\\ could not reach x\\r\\nSet-Cookie', fields["proxy-status"])
        self.assertNotIn(b"\x1b", content)
        self.assertTrue(content.isascii() and head.reason.isascii())
