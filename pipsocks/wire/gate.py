"""
The HTTP gate: what passes it means one thing to everybody. h11 frames behind it.

h11 by itself takes folded lines, bare LF, equal repeated Content-Lengths, Content-Length beside Transfer-Encoding,
Transfer-Encoding in HTTP/1.0, any number of fields and oversized heads in one read, and refuses a CONNECT without
Host, an empty line before a request, and targets beyond ASCII. `RequestGate` and `ResponseGate` take bytes
(`receive`) and give events (`next`), each of which has a `raw` form that h11 may be fed with.
"""

from pipsocks.wire.http import Body, Cut, End, GateError, RequestHead, ResponseHead
from pipsocks.wire.requestgate import RequestGate
from pipsocks.wire.responsegate import ResponseGate

__all__ = ["Body", "Cut", "End", "GateError", "RequestGate", "RequestHead", "ResponseGate", "ResponseHead"]
