"""The ``ssh`` hop: tunnels (``direct-tcpip``) over one connection, which all sessions through the hop share."""

from __future__ import annotations

import os
import pwd
from typing import Any, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from pipsocks.model import Destination, Login
from pipsocks.upstream.dial import Judge, Network
from pipsocks.upstream.settings import HopSettings, SSHSettings
from pipsocks.upstream.sshhosts import knownKeys

KNOWN_HOSTS: Final = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
"""Where OpenSSH looks for host keys."""


def _readKey(hop: SSHHop) -> Any:
    # What of Twisted ssh needs is brought by an extra, and takes its time to be imported.
    from pipsocks.upstream.sshkeys import readKey

    return readKey(hop.settings) if hop.settings.key else None


@attrs.frozen
class SSHHop:
    """
    A server that is logged in to by ssh, and asked for tunnels.

    Hops that are equal share a connection, so `via` has to tell apart those that are reached in other ways.

    @ivar login: the user, this process's where it is empty, and the password, if one is to be tried behind the keys.
    @ivar via: the hops before it.
    @raise ImportError: Twisted has been installed without what conch needs.
    @raise ValueError: the key's file has no key, or it is encrypted otherwise.
    @raise OSError: the key's file cannot be read.
    """

    address: Destination
    login: Login | None = None
    settings: SSHSettings = SSHSettings()
    via: tuple[HopSettings, ...] = ()
    _key: Any = attrs.field(init=False, eq=False, repr=False, default=attrs.Factory(_readKey, takes_self=True))

    def over(
        self,
        endpoint: IStreamClientEndpoint,
        destination: Destination,
        network: Network,
        judge: Judge | None = None,
    ) -> IStreamClientEndpoint:
        """
        The way to `destination` through this hop, which `endpoint` reaches.

        `connect` fails with `Refusal`: PS-UP05 to PS-UP07, PS-UP10, PS-UP26 and PS-UP27 of the hop; PS-UP11, PS-UP12,
        PS-UP14 and PS-UP18 to PS-UP21 by its answer, PS-UP15 by its silence; PS-RU01 where `judge` forbids what is
        looked up at the hop; and with whatever `endpoint` fails with. Cancelling it closes the tunnel, and the
        connection too where it was being opened for nobody else.

        The protocol's transport is a `pipsocks.upstream.sshchannel.Channel`.
        """
        return _Through(self, endpoint, destination, network, judge)

    def reach(self, endpoint: IStreamClientEndpoint, network: Network) -> IStreamClientEndpoint:
        """The way to the hop itself: `endpoint` is all of it."""
        return endpoint

    @property
    def user(self) -> str:
        """
        Who logs in.

        @raise KeyError: nobody was named, and this process's user has no name.
        """
        return (self.login.user if self.login is not None else "") or pwd.getpwuid(os.getuid()).pw_name

    def connection(self, endpoint: IStreamClientEndpoint, network: Network) -> Deferred[Any]:
        """The connection, which is opened over `endpoint` where there is none: a `pipsocks.upstream.sshline.Line`."""
        return network.shared.use(self, lambda: Deferred.fromCoroutine(self._open(endpoint, network)))

    async def _open(self, endpoint: IStreamClientEndpoint, network: Network) -> Any:
        from pipsocks.upstream.sshline import openLine
        from pipsocks.upstream.sshlogin import Credentials
        from pipsocks.upstream.sshmanners import Manners

        login, settings = self.login, self.settings
        password = login.password if login is not None and login.password.reveal() else None
        agent = os.environ.get("SSH_AUTH_SOCK", "") if settings.agent else ""
        files = (settings.known_hosts,) if settings.known_hosts else KNOWN_HOSTS
        known = knownKeys([os.path.expanduser(file) for file in files], self.address)
        credentials = Credentials(self.user, password, self._key, agent)
        manners = Manners(self.address, known, credentials, network.reactor, network.retry.handshake)
        return await openLine(manners, endpoint)


@implementer(IStreamClientEndpoint)
@attrs.frozen(eq=False)
class _Through:
    """Takes a tunnel of the shared connection."""

    hop: SSHHop
    endpoint: IStreamClientEndpoint
    destination: Destination
    network: Network
    judge: Judge | None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if self.judge is not None and (refusal := self.judge.afar(self.destination)) is not None:
            raise refusal
        line = await self.hop.connection(self.endpoint, self.network)
        protocol: IProtocol = await line.open(self.destination, factory)
        return protocol
