"""One connection to an ssh hop: conch's transport with our own services, and an end that everybody is told of."""

from __future__ import annotations

import re
from typing import Any, Final

from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION, SSHClientTransport
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from pipsocks.model import Destination, Login, withoutLogin
from pipsocks.refusal import Refusal, printable
from pipsocks.upstream.failures import ofEnd, ofHostKey, ofSilence, ofSSH, ofSSHLogin
from pipsocks.upstream.sshdata import Fields, Malformed
from pipsocks.upstream.sshhosts import HostKeyChanged, HostKeyUnknown
from pipsocks.upstream.sshlogin import LoginRefused, Userauth
from pipsocks.upstream.sshmanners import CIPHERS, HOST_KEYS, KEY_EXCHANGES, MACS, Manners
from pipsocks.upstream.sshtunnels import Tunnels

log = Logger()

ALIVE: Final = 15.0
"""Seconds between two keep-alives."""

UNANSWERED: Final = 3
"""Keep-alives in a row during which nothing came from a hop that is dead then."""

IDLE: Final = 600.0
"""Seconds for which a connection that nobody uses is kept."""

GREETING: Final = 4096
"""Octets within which a hop has to tell its version."""

MESSAGE: Final = 262_144
"""Octets of one message, as OpenSSH has it; conch would take four times as many."""

FAREWELL: Final = 1.0
"""Seconds that a connection has to take leave in."""

_VERSION: Final = re.compile(rb"^SSH-[^\n]*\n", re.MULTILINE)

_FULL: Final = (b"Exceeded MaxStartups", b"Not allowed at this time")
"""What OpenSSH says, in place of its version, to whom it does not serve now."""


def _ignored(event: Any) -> None:
    """Conch tells its log of every channel; what matters is in our journal."""


class Line(SSHClientTransport):
    """
    One connection, from its first octet on.

    @ivar ready: fires with this once one may ask for tunnels, or fails with `Refusal`. Cancelling it aborts.
    @ivar gone: fires with None when it is lost.
    @ivar usable: new sessions may use it.
    @ivar heard: how often anything came.
    """

    _log = Logger(observer=_ignored)  # type: ignore[arg-type]
    supportedCiphers = CIPHERS
    supportedMACs = MACS
    supportedCompressions = [b"none"]
    supportedKeyExchanges = KEY_EXCHANGES

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._tunnels = Tunnels(manners.hop, manners.reactor, manners.limit)
        kinds = manners.known.kinds
        # The types that are known are asked for, else a hop that has several shows one that is not.
        wanted = [name for name in HOST_KEYS if (b"ssh-rsa" if name.startswith(b"rsa") else name) in kinds]
        self.supportedPublicKeys = wanted or HOST_KEYS
        self.heard = 0
        self.usable = True
        self.ready: Deferred[Line] = Deferred(lambda _: self._abort())
        self.gone: Deferred[None] = Deferred()
        self._timer: IDelayedCall | None = None
        self._login: Userauth | None = None
        self._said = ""
        self._over = False  # it was aborted
        self._quiet = 0  # keep-alives in a row since which nothing came
        self._idle = 0.0  # seconds since the last channel
        self._heardThen = 0

    # for sessions

    def open(self, where: Destination, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        A tunnel to `where`.

        @return: fires with the protocol that `factory` built; fails with `Refusal`: PS-UP11, PS-UP12, PS-UP14 and
            PS-UP18 to PS-UP21 by the hop's answer, PS-UP15 by its silence, PS-UP05 and PS-UP06 where the connection
            is lost or dead.
        """
        self._idle = 0.0
        return self._tunnels.open(where, factory)

    def retire(self) -> None:
        """Let nobody else use it, and close it once nobody does."""
        self.usable = False

    def close(self) -> None:
        """Take leave, once it is ready, and close; who still has a tunnel loses it."""
        self.usable = False
        if not self.gone.called:
            self._stopTimer()
            self._timer = self._manners.reactor.callLater(FAREWELL, self._abort)
            transport: Any = self.transport
            transport.unregisterProducer()
            super().sendDisconnect(DISCONNECT_BY_APPLICATION, b"done")

    def addresses(self) -> tuple[Any, Any]:
        """Our side's, and the hop's."""
        transport: Any = self.transport
        return transport.getHost(), transport.getPeer()

    # the handshake

    def connectionMade(self) -> None:
        """The way to the hop is there: its time begins."""
        self._timer = self._manners.reactor.callLater(self._manners.limit, self._expired)
        super().connectionMade()

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[Any]:
        """Go on with a key that is known, and with no other."""
        try:
            self._manners.known.check(hostKey)
        except (HostKeyUnknown, HostKeyChanged) as error:
            self._fail(ofHostKey(error, self._manners.hop))
            return fail(error)
        return succeed(True)

    def sendKexInit(self) -> None:
        """Keys are exchanged, for the first time or anew."""
        self._tunnels.rekey(True)
        super().sendKexInit()

    def connectionSecure(self) -> None:
        """They are there."""
        if self._login is None:
            self._login = Userauth(self._manners.reactor, self._manners.credentials)
            self._login.done.addCallbacks(self._loggedIn, self._loginFailed)
            self.requestService(self._login)  # type: ignore[arg-type]
        self._tunnels.rekey(False)

    def _loggedIn(self, _: None) -> None:
        self.setService(self._tunnels)
        self._stopTimer()
        transport: Any = self.transport
        transport.registerProducer(self._tunnels, True)
        self._timer = self._manners.reactor.callLater(ALIVE, self._tick)
        self.ready.callback(self)

    def _loginFailed(self, failure: Failure) -> None:
        if isinstance(failure.value, LoginRefused):
            self._fail(ofSSHLogin(failure.value.takes, failure.value.offered, "", self._manners.hop))
        else:
            self._broken(failure.value)

    def _expired(self) -> None:
        self._timer = None
        if not self.gotVersion and self.buf:
            self._fail(ofSSH(self._firstLine(), self._manners.hop))
        else:
            self._fail(ofSilence(False, self._manners.hop, self._manners.hop))

    # what comes

    def dataReceived(self, data: bytes) -> None:
        """Take what the hop sends; what makes no sense ends the connection."""
        self.heard += 1
        if not self.gotVersion and not _VERSION.search(self.buf + data):
            # Conch would take a line before the version (RFC 4253, section 4.2) for a message.
            self.buf += data
            if len(self.buf) > GREETING:
                self._broken(self._firstLine())
            return
        try:
            super().dataReceived(data)
        except Exception as error:  # conch trusts its peer: what it cannot read raises whatever it may
            self._broken(error)

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Take one message, unless one before it was the end."""
        if len(payload) > MESSAGE:
            self._broken("a message that is too long")
        if not self._over:
            super().dispatchMessage(messageNum, payload)

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """What else the hop can do (RFC 8308). Conch copies all that is left of the message for each extension."""
        fields = Fields(packet)
        self.peerExtensions = {fields.string(): fields.string() for _ in range(fields.number())}

    def ssh_SERVICE_ACCEPT(self, packet: bytes) -> None:
        """
        The hop lets us log in: once. Conch would begin anew at each of these, and end all tunnels for it.

        @raise Malformed: nobody asked.
        """
        if self._login is None or self.service is not None:
            raise Malformed("a service that nobody asked for")
        super().ssh_SERVICE_ACCEPT(packet)

    def sendUnimplemented(self) -> None:
        """Say that the last message was not understood."""
        self._tunnels.owe()
        super().sendUnimplemented()

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """The hop takes leave."""
        user, password = self._manners.credentials.user, self._manners.credentials.password
        login = None if password is None else Login(user, password)
        said = withoutLogin(description.decode("latin-1"), login).encode("latin-1")
        self._said = said.decode("utf-8", "backslashreplace")

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """Conch cannot go on."""
        self._broken(desc.decode("utf-8", "backslashreplace"))

    def _broken(self, why: object) -> None:
        words = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else str(why)
        self._fail(ofSSH(words, self._manners.hop))

    # its end

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # type: ignore[override]
        """It is gone, and all its tunnels."""
        self.usable = False
        self._stopTimer()
        if not self.ready.called:
            self.ready.errback(self._early(reason))
        super().connectionLost(reason)
        self.gone.callback(None)

    def _early(self, reason: Failure) -> Refusal:
        hop = self._manners.hop
        if self._login is not None and self._said:
            return ofSSHLogin("", "", self._said, hop)
        line = b"" if self.gotVersion else self.buf.strip()
        if line and not line.startswith(_FULL):
            return ofSSH(self._firstLine(), hop)
        refusal = ofEnd(False, reason.value, False, hop, hop)
        refusal.said = self._said or self._firstLine()
        return refusal

    def _firstLine(self) -> str:
        line: bytes = b"" if self.gotVersion else self.buf.lstrip().partition(b"\n")[0].rstrip()
        return line.decode("utf-8", "backslashreplace")

    def _fail(self, refusal: Refusal) -> None:
        if self._over:
            return
        self._abort()
        if not self.ready.called:
            self.ready.errback(refusal)
        else:
            words = printable(f"{refusal.cause} {refusal.said}".rstrip())
            log.warn("the ssh connection to {hop} is given up: {words}", hop=str(self._manners.hop), words=words)

    def _abort(self) -> None:
        self._over = True
        self.usable = False
        self._stopTimer()
        transport: Any = self.transport
        if transport is not None and not self.gone.called:
            transport.abortConnection()

    # its life

    def _tick(self) -> None:
        """Every `ALIVE` seconds: ask for a sign of life, and end what is dead or has been idle for long."""
        self._quiet = 0 if self.heard != self._heardThen else self._quiet + 1
        self._heardThen = self.heard
        self._idle = 0.0 if self._tunnels.busy else self._idle + ALIVE
        self._timer = None
        if self._quiet >= UNANSWERED:
            self._fail(ofSilence(False, self._manners.hop, self._manners.hop))
        elif self._idle >= IDLE or (not self.usable and not self._tunnels.busy):
            self.close()
        else:
            self._timer = self._manners.reactor.callLater(ALIVE, self._tick)
            self._tunnels.askForLife()

    def _stopTimer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


async def openLine(manners: Manners, endpoint: IStreamClientEndpoint) -> Line:
    """
    A connection to the hop that `endpoint` reaches, ready for tunnels.

    @raise Refusal: PS-UP05 to PS-UP07, PS-UP10, PS-UP26 or PS-UP27 of the hop, and whatever `endpoint` fails with.
    """
    line = Line(manners)
    factory = Factory.forProtocol(lambda: line)
    factory.noisy = False
    await endpoint.connect(factory)
    return await line.ready
