"""One client's association: its datagrams, and nobody else's, on their way out and back (RFC 1928, section 7)."""

from __future__ import annotations

import errno
import ipaddress
import random
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from pipsocks.gateway.datagrams import Outlet
from pipsocks.gateway.judge import Judge
from pipsocks.gateway.session import Conversation, Session
from pipsocks.gateway.stream import Stream
from pipsocks.model import Destination, Ended, Entry, Request
from pipsocks.refusal import Refusal
from pipsocks.wire.datagram import DatagramInvalid, decodeDatagram, encodeDatagram

IDLE_SECONDS: Final = 60.0
"""How long an association lives without a datagram."""

TRIES: Final = 1_000
"""Ports of a range that are tried before it counts as used up."""

LARGEST: Final = 65_536
"""A buffer for any datagram."""

_LIMITS: Final = frozenset({errno.EMFILE, errno.ENFILE})


@attrs.frozen(eq=False)
class Associations:
    """
    What the associations of one listener share.

    @ivar reactor: has UDP.
    @ivar advertise: the address that clients are told to send to; empty for the one that they reached us at.
    @ivar ports: those that datagrams may be received on; 0 is any.
    """

    reactor: Any
    advertise: str = ""
    ports: range = range(1)

    async def carry(self, session: Session, conversation: Conversation, judge: Judge) -> None:
        """
        Find a way out for datagrams, tell the client where to send them, and let the association live.

        It takes the route of a destination that no condition names, and there the first chain that carries datagrams.
        What it may reach, and whether its own route is that one, is judged datagram by datagram.

        @raise Refusal: no chain carries them, or there is no port to receive them on.
        """
        entry, request, routes = session.entry, session.request, session.gateway.routes
        entry.destination = None
        choice = routes.known(request, anywhere=True)
        session.take(choice)

        def leads(destination: Destination) -> bool:
            return routes.known(Request(destination, "udp", request.user, request.listener)).to == choice.to

        near = conversation.stream
        here, peer = near.transport.getHost(), near.transport.getPeer()
        if not hasattr(here, "host"):
            raise Refusal("PS-RQ08", detail="UDP ASSOCIATE over a unix socket")
        association = Association(
            session.gateway.clock, near, entry, _plain(peer.host), _declared(request, peer.host), leads
        )
        port = self._listen(association, _plain(here.host, zone=True))
        try:
            found = await session.search(lambda chain: chain.datagrams(judge, association))
        except BaseException:
            association.close()
            raise
        conversation.accept((self._told(here.host), port))
        entry.relay = "udp"
        found.close()  # what becomes of datagrams tells nothing of a chain
        association.begin(found.reached)

    def _told(self, here: str) -> str:
        """The address for the client. One of the other family would be of no use to it: its peer is checked."""
        host = _plain(here)
        return self.advertise if self.advertise and (":" in self.advertise) == (":" in host) else host

    def _listen(self, association: Association, host: str) -> int:
        count = len(self.ports)
        first = random.randrange(count)
        cause = 0
        for step in range(min(count, TRIES)):
            number = self.ports[(first + step) % count]
            try:
                port = self.reactor.listenUDP(number, association, interface=host, maxPacketSize=LARGEST)
            except CannotListenError as error:
                cause = getattr(error.socketError, "errno", None) or 0
                if cause in _LIMITS:
                    break
            else:
                bound: int = port.getHost().port
                return bound
        raise Refusal("PS-LM01" if cause in _LIMITS else "PS-LM02")


class Association(DatagramProtocol):
    """
    The client's side: the socket that it sends to, and, as its `Successor`, the TCP connection that it hangs on.

    Only datagrams from the TCP connection's peer are taken, and from one port of it alone: the declared one, else the
    first that a datagram with a sound header comes from.
    """

    noisy = False
    transport: Any

    def __init__(
        self,
        clock: IReactorTime,
        near: Stream,
        entry: Entry,
        client: str,
        declaredPort: int,
        leads: Callable[[Destination], bool],
    ) -> None:
        """
        @param leads: whether a destination has the association's route.
        """
        self._clock = clock
        self._near = near
        self._entry = entry
        self._outlet: Outlet | None = None
        self._client = client
        self._leads = leads
        self._port = declaredPort
        self._to = client, declaredPort
        self._up = self._down = self._dropped = 0
        self._last = clock.seconds()
        self._timer: IDelayedCall | None = None

    def begin(self, outlet: Outlet) -> None:
        """The client was told where to send: live until it leaves, or nothing moves."""
        self._outlet = outlet
        self._timer = self._clock.callLater(IDLE_SECONDS, self._look)
        self._near.follow(self)

    def close(self) -> None:
        """Nothing comes of it."""
        self.transport.stopListening()

    # the client's datagrams

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send it on, unless it is a stranger's or nothing that could be sent."""
        host, port = addr[:2]
        if self._outlet is None:
            return
        if _plain(host) != self._client or self._port not in (0, port):
            self._dropped += 1
            return
        try:
            asked = decodeDatagram(datagram)
        except DatagramInvalid:
            self._dropped += 1
            return
        self._port = port
        self._to = host, port
        self._last = self._clock.seconds()
        destination = Destination(asked.host, asked.port)
        if self._leads(destination):
            self._outlet.send(destination, asked.data)
        else:
            self._dropped += 1

    # the way out's words: see `pipsocks.gateway.datagrams.Inlet`

    def came(self, host: str, port: int, data: bytes) -> None:
        """Give the client an answer."""
        self._last = self._clock.seconds()
        try:
            self.transport.write(encodeDatagram(host, port, data), self._to)
        except (OSError, MessageLengthError):
            self._dropped += 1
        else:
            self._down += len(data)

    def sent(self, size: int) -> None:
        """A datagram went out."""
        self._up += size

    def dropped(self, count: int = 1) -> None:
        """Datagrams went nowhere."""
        self._dropped += count

    def over(self) -> None:
        """The hop has ended the association."""
        self._end("reset_origin")

    # the TCP connection

    def dataReceived(self, data: bytes) -> None:
        """Nothing is said on it any more."""

    def readConnectionLost(self) -> None:
        """The client ended it."""
        self._end("ok")

    def writeConnectionLost(self) -> None:
        """Our side of it was shut down."""

    def connectionLost(self, reason: Failure) -> None:
        """It is gone."""
        self._end("ok")

    # the end

    def _look(self) -> None:
        left = self._last + IDLE_SECONDS - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._timer = None
            self._end("idle")

    def _end(self, token: str) -> None:
        outlet = self._outlet
        if outlet is None:
            return
        outlet.close()
        self._outlet = None
        if self._timer is not None:
            self._timer.cancel()
        self.close()
        self._near.transport.loseConnection()
        self._entry.close(Ended(token, self._up, self._down, self._dropped))


def _plain(host: str, zone: bool = False) -> str:
    """The address alone: IPv4 that a socket for both families disguises as IPv6 is IPv4, and a zone is left away."""
    bare, percent, name = host.partition("%")
    address = ipaddress.ip_address(bare)
    return str(getattr(address, "ipv4_mapped", None) or address) + (percent + name if zone else "")


def _declared(request: Request, peer: str) -> int:
    """
    The port that the client says it will send from; 0 where it does not say.

    A client that declares another address than its own is behind one that translates: its port means nothing here.
    """
    address = request.destination.address
    foreign = address is not None and not address.is_unspecified and _plain(str(address)) != _plain(peer)
    return 0 if foreign else request.destination.port
