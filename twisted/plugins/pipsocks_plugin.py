"""What Twisted finds of pipsocks: strings, and classes that import the rest only when they are used."""

from __future__ import annotations

from typing import Any

from twisted.application.service import ServiceMaker
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.strcred import ICheckerFactory
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamClientEndpointStringParserWithReactor
from twisted.plugin import IPlugin
from zope.interface import implementer

pipsocks = ServiceMaker(
    "pipsocks",
    "pipsocks.tap",
    "A SOCKS5 and HTTP forward proxy that goes another way when an upstream fails.",
    "pipsocks",
)
pipsocksFaults = ServiceMaker(
    "pipsocks-faults",
    "pipsocks.testing.tap",
    "Upstream proxies and origins that fail as a file says.",
    "pipsocks-faults",
)


@implementer(IPlugin, IStreamClientEndpointStringParserWithReactor)
class _ChainEndpointParser:
    """``pipsocks:HOST:PORT:chain=CHAIN`` in `twisted.internet.endpoints.clientFromString`."""

    prefix = "pipsocks"

    def parseStreamClient(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamClientEndpoint:
        """Build the endpoint; see `pipsocks.endpoint.parse`."""
        from pipsocks.endpoint import parse

        return parse(reactor, *args, **kwargs)


@implementer(IPlugin, ICheckerFactory)
class _HtpasswdCheckerFactory:
    """``htpasswd:FILE`` for every Twisted program that takes checkers."""

    authType = "htpasswd"
    authHelp = "A file of USER:HASH lines with bcrypt hashes, as 'pipsocks passwd' and 'htpasswd -B' write it."
    argStringFormat = "the file's path"
    credentialInterfaces = (IUsernamePassword,)

    def generateChecker(self, argstring: str) -> Any:
        """Build the checker; see `pipsocks.policy.htpasswd`."""
        from pipsocks.policy.htpasswd import HtpasswdChecker

        return HtpasswdChecker(argstring)


pipsocksEndpoint = _ChainEndpointParser()
pipsocksHtpasswd = _HtpasswdCheckerFactory()
