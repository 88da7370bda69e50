"""Ways out for the datagrams of one SOCKS association: straight, and through the one SOCKS 5 hop of a chain."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.model import Destination, Transport
from pipsocks.refusal import Refusal
from pipsocks.upstream.dial import Judge, Network
from pipsocks.wire.datagram import DatagramInvalid, decodeDatagram, encodeDatagram

PEERS_LIMIT: Final = 1_024
"""Addresses whose answers one association lets in; beyond that the one that was written to first is forgotten."""

NAMES_LIMIT: Final = 16
"""Names of one association that are looked up at the same time."""

WAITING_LIMIT: Final = 256 * 1024
"""Bytes of one association's datagrams that wait for names."""

OVERHEAD: Final = 64
"""Bytes that a datagram counts for beside its data: empty ones take room as well."""

LARGEST: Final = 65_536
"""A buffer for any datagram."""

_UNTOLD: Final = Destination("0.0.0.0", 0)
_log = Logger()


class Inlet(Protocol):
    """The client's side of an association."""

    def came(self, host: str, port: int, data: bytes) -> None:
        """A datagram for the client came from there."""

    def sent(self, size: int) -> None:
        """A datagram of the client's, of so many bytes, went out."""

    def dropped(self, count: int = 1) -> None:
        """So many datagrams went nowhere."""

    def over(self) -> None:
        """The way out has ended."""


class Put(Protocol):
    """Sends a datagram to an address."""

    def __call__(self, address: str, port: int, data: bytes) -> bool:
        """Whether it could be sent."""


class Lookups:
    """
    Datagrams for names, which wait until those are looked up, each within its bound.

    @ivar put: is asked to send, address after address until one can be sent to.
    """

    def __init__(self, network: Network, judge: Judge, inlet: Inlet, put: Put) -> None:
        self._network = network
        self._judge = judge
        self._inlet = inlet
        self._put = put
        self._held = 0
        self._waiting: dict[Destination, list[bytes]] = {}
        self._looking: dict[Destination, Deferred[list[str]]] = {}

    def send(self, destination: Destination, data: bytes) -> None:
        """Send `data` once the name is known, to an address that the judge allows."""
        waiting = self._waiting.get(destination)
        if self._held + len(data) + OVERHEAD > WAITING_LIMIT or (waiting is None and len(self._waiting) >= NAMES_LIMIT):
            self._inlet.dropped()
            return
        self._held += len(data) + OVERHEAD
        if waiting is not None:
            waiting.append(data)
            return
        self._waiting[destination] = [data]
        looking = Deferred.fromCoroutine(self._network.judged(destination, self._judge))
        self._looking[destination] = looking
        looking.addCallbacks(self._found, self._failed, callbackArgs=(destination,), errbackArgs=(destination,))

    def close(self) -> None:
        """Nothing waits any more."""
        for looking in list(self._looking.values()):
            looking.cancel()

    def _taken(self, destination: Destination) -> list[bytes]:
        del self._looking[destination]
        waiting = self._waiting.pop(destination)
        self._held -= sum(map(len, waiting)) + OVERHEAD * len(waiting)
        return waiting

    def _found(self, addresses: list[str], destination: Destination) -> None:
        for data in self._taken(destination):
            if not any(self._put(address, destination.port, data) for address in addresses):
                self._inlet.dropped()

    def _failed(self, failure: Failure, destination: Destination) -> None:
        self._inlet.dropped(len(self._taken(destination)))
        if not failure.check(Refusal, CancelledError):
            _log.failure("a name of an association could not be looked up", failure)


class Socket(DatagramProtocol):
    """One UDP socket. `take` is handed what comes, and from where."""

    noisy = False
    transport: Any

    def __init__(self, take: Callable[[bytes, str, int], None]) -> None:
        self._take = take

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Hand it on."""
        self._take(datagram, addr[0], addr[1])

    def put(self, datagram: bytes, host: str, port: int) -> bool:
        """Whether it could be sent."""
        try:
            self.transport.write(datagram, (host, port))
        except (OSError, MessageLengthError):
            return False
        return True

    def close(self) -> None:
        """Let go of it."""
        if self.transport is not None:
            self.transport.stopListening()


class Direct:
    """
    Datagrams sent from here, over a socket for each family that is used.

    Only who was written to, at that very port, may answer: anybody else is a stranger to the client.
    """

    def __init__(self, network: Network, judge: Judge, inlet: Inlet) -> None:
        self._network = network
        self._judge = judge
        self._inlet = inlet
        self._lookups = Lookups(network, judge, inlet, self._put)
        self._sockets: dict[str, Socket] = {}
        self._peers: OrderedDict[tuple[str, int], None] = OrderedDict()

    def send(self, destination: Destination, data: bytes) -> None:
        """Send a datagram of the client's, if it may go there."""
        if self._judge.before(destination) is not None:
            self._inlet.dropped()
        elif destination.address is None:
            self._lookups.send(destination, data)
        elif not self._put(destination.host, destination.port, data):
            self._inlet.dropped()

    def close(self) -> None:
        """The association is over."""
        self._lookups.close()
        for each in self._sockets.values():
            each.close()

    def _put(self, address: str, port: int, data: bytes) -> bool:
        here = "::" if ":" in address else "0.0.0.0"
        if here not in self._sockets:
            found = Socket(self._came)
            try:
                self._network.reactor.listenUDP(0, found, interface=here, maxPacketSize=LARGEST)
            except CannotListenError:
                return False
            self._sockets[here] = found
        self._peers[address, port] = None
        self._peers.move_to_end((address, port))
        if len(self._peers) > PEERS_LIMIT:
            self._peers.popitem(last=False)
        sent = self._sockets[here].put(data, address, port)
        if sent:
            self._inlet.sent(len(data))
        return sent

    def _came(self, data: bytes, host: str, port: int) -> None:
        if (host, port) in self._peers:
            self._inlet.came(host, port, data)
        else:
            self._inlet.dropped()


class Control(StreamProtocol):
    """The TCP connection to the hop, with which its association ends. `bound` is where the hop takes datagrams."""

    transport: Transport  # type: ignore[assignment]

    def __init__(self) -> None:
        self.bound: tuple[str, int] | None = None
        self.whenLost: Callable[[], None] = lambda: None

    def connectionLost(self, reason: Failure = Failure(ConnectionError())) -> None:  # noqa: B008
        """The hop has ended the association."""
        self.whenLost()


class ThroughHop:
    """
    Datagrams sent through the association at a SOCKS 5 hop.

    @ivar remote: names are sent to the hop, which looks them up.
    """

    def __init__(self, network: Network, judge: Judge, inlet: Inlet, control: Control, remote: bool) -> None:
        """
        @raise Refusal: there is no socket to be had (PS-LM01).
        """
        self._judge = judge
        self._inlet = inlet
        self._control = control
        self._remote = remote
        self._lookups = Lookups(network, judge, inlet, self._put)
        host, port = control.bound or (_UNTOLD.host, 0)
        told = Destination(host, port).address
        if told is None or told.is_unspecified:
            host = control.transport.getPeer().host
        self._hop = host, port
        self._socket = Socket(self._came)
        here = "::" if ":" in host else "0.0.0.0"
        try:
            network.reactor.listenUDP(0, self._socket, interface=here, maxPacketSize=LARGEST)
        except CannotListenError:
            control.transport.loseConnection()
            raise Refusal("PS-LM01") from None
        control.whenLost = inlet.over

    def send(self, destination: Destination, data: bytes) -> None:
        """Send a datagram of the client's, if it may go there."""
        refusal = self._judge.before(destination)
        if refusal is None and self._remote:
            refusal = self._judge.afar(destination)
        if refusal is not None:
            self._inlet.dropped()
        elif destination.address is None and not self._remote:
            self._lookups.send(destination, data)
        elif not self._put(destination.host, destination.port, data):
            self._inlet.dropped()

    def close(self) -> None:
        """The association is over."""
        self._control.whenLost = lambda: None
        self._control.transport.loseConnection()
        self._lookups.close()
        self._socket.close()

    def _put(self, address: str, port: int, data: bytes) -> bool:
        sent = self._socket.put(encodeDatagram(address, port, data), *self._hop)
        if sent:
            self._inlet.sent(len(data))
        return sent

    def _came(self, raw: bytes, host: str, port: int) -> None:
        try:
            if (host, port) != self._hop:
                raise DatagramInvalid("a stranger's")
            datagram = decodeDatagram(raw)
        except DatagramInvalid:
            self._inlet.dropped()
        else:
            self._inlet.came(datagram.host, datagram.port, datagram.data)
