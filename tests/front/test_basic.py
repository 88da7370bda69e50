"""Basic credentials."""

from __future__ import annotations

import base64

from twisted.trial.unittest import SynchronousTestCase

from pipsocks.front.basic import basicCredentials
from pipsocks.refusal import Refusal


class BasicTests(SynchronousTestCase):
    """What a Proxy-Authorization field says."""

    def test_good(self) -> None:
        """The user ends at the first colon; octets stay as they are, and either may be empty."""
        for user, password in ((b"ann", b"secret"), (b"ann", b"a:b:"), (b"", b""), ("ä".encode(), b"\x00\x7f")):
            value = b"Basic " + base64.b64encode(user + b":" + password)
            for spelling in (value, value.replace(b"Basic", b"bAsIC"), value.replace(b" ", b"   ")):
                self.assertEqual(basicCredentials([spelling]), (user, password))

    def test_none(self) -> None:
        """No credentials, or those of another scheme, are a login that is still to come."""
        for values in ([], [b""], [b"Negotiate abc"], [b"Digest username=a"]):
            self.assertEqual(self.assertRaises(Refusal, basicCredentials, values).slug.code, "PS-AU01")

    def test_malformed(self) -> None:
        """Anything that is not exactly base64 of a pair has failed."""
        good = b"Basic YTpi"
        for values in (
            [b"Basic"], [b"Basic "], [b"BasicYTpi"], [b"Basic\tYTpi"], [b"Basic YTpi YTpi"], [b"Basic YTp"],
            [b"Basic YTpi="], [b"Basic Y-_i"], [b"Basic YWI="], [good, good], [b"Basic YTpi\n"],
        ):  # fmt: skip
            self.assertEqual(self.assertRaises(Refusal, basicCredentials, values).slug.code, "PS-AU02", values)

    def test_latin1(self) -> None:
        """Octets that are no UTF-8 are Latin-1, as urllib3 sends it, and become UTF-8."""
        values = [b"Basic " + base64.b64encode("ä:é".encode("latin-1"))]
        self.assertEqual(basicCredentials(values), ("ä".encode(), "é".encode()))
