"""Forwarding: one request's life, on one screen."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from pipsocks.forward.again import Answer, Asking
from pipsocks.forward.fields import responseFields
from pipsocks.forward.pool import Pool
from pipsocks.forward.probe import Ears
from pipsocks.forward.question import Question
from pipsocks.forward.resume import Download
from pipsocks.forward.seam import Exchange
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Gateway, Session
from pipsocks.model import Ended, Entry
from pipsocks.refusal import Refusal
from pipsocks.wire.gate import Cut, GateError, ResponseHead
from pipsocks.wire.target import AbsoluteTarget

_log = Logger()


@attrs.define(eq=False)
class Forward:
    """What all forwarded requests share: when each HTTP hop was last heard. It outlives a reload."""

    _ears: Ears = attrs.field(factory=Ears, init=False)

    def origins(self, judge: Judge) -> Origins:
        """For one client, which may go where `judge` says."""
        return Origins(self._ears, judge)


class Origins:
    """One client's way to origins: what forwards its requests, and the connections kept for the next one."""

    def __init__(self, ears: Ears, judge: Judge) -> None:
        self._ears = ears
        self._judge = judge
        self._pool = Pool()

    def close(self) -> None:
        """Let go of every connection: the client is gone."""
        self._pool.close()

    async def forward(self, session: Session, target: AbsoluteTarget, exchange: Exchange) -> None:
        """
        Ask for what the client asked for, and pass the answer on; or refuse, or cut it. Closes the session's entry.

        @raise CancelledError: the client left, and its task was cancelled.
        """
        gateway, entry = session.gateway, session.entry
        question = Question(exchange.head, target, exchange, _teller(exchange, gateway), gateway.via)
        asking = Asking(session, self._judge, question, self._pool, self._ears)
        download = Download(session, self._judge, question, exchange, self._ears)
        answer, token, reason, switches = None, "ok", "", False
        try:
            if (refusal := self._judge.before(session.request.destination)) is not None:
                raise refusal
            await session.route()
            answer = await asking.answer()
            asking.end(answer)
            switches = answer.head.status == 101
            if not switches:
                head = answer.head
                exchange.answer(head.status, head.reason, responseFields(head, via=gateway.via))
                exchange.finish(await download.deliver(answer))
        except Refusal as refusal:
            token, reason = refusal.token, refusal.cause
            exchange.refuse(refusal)
        except (Cut, GateError):
            token, reason = "cut", download.reason
            exchange.cut()
        except CancelledError:
            token = "client_left"
            raise
        except Exception:
            token = "internal"
            _log.failure("a forwarded request failed")
            if answer is None:
                exchange.refuse(Refusal("PS-SV02"))
            else:
                exchange.cut()
        finally:
            up = asking.sent + download.sent
            exchange.pour(None)
            exchange.drain(None)
            if answer is None:
                asking.end(None)
            asking.over()
            if answer is not None and switches:
                _switch(answer, gateway, entry, exchange, up)
            else:
                if answer is not None:
                    self._keep(download.answer or answer, gateway, whole=token == "ok")
                entry.close(Ended(token, up, exchange.sent, reason=reason))

    def _keep(self, answer: Answer, gateway: Gateway, whole: bool) -> None:
        origin = answer.way.origin
        answer.patience.stop()
        if whole and origin.reusable:
            origin.resumeProducing()
            self._pool.put(answer.way, gateway.clock)
        elif whole and origin.complete:
            origin.transport.loseConnection()
        else:
            origin.abort()


def _teller(exchange: Exchange, gateway: Gateway) -> Callable[[ResponseHead], None]:
    """Tells the client of interim heads."""
    return lambda head: exchange.inform(head.status, head.reason, responseFields(head, via=gateway.via))


def _switch(answer: Answer, gateway: Gateway, entry: Entry, exchange: Exchange, up: int) -> None:
    """Both connections are a tunnel from now on: a WebSocket's. The relay closes `entry`, heads counted."""
    head = answer.head
    answer.patience.stop()
    exchange.inform(head.status, head.reason, responseFields(head, via=gateway.via))
    down = exchange.sent

    def done(ended: Ended) -> None:
        entry.close(Ended(ended.token, up + ended.up, down + ended.down))

    near, far = exchange.handOver(), answer.way.origin
    entry.relay = gateway.relays.kind(near, far)
    gateway.relays.join(near, far, done)
