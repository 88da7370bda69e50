"""TLS to an ``https`` hop: what is trusted, what is asked for, and who we are."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, Final

import attrs
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from zope.interface import implementer

from pipsocks.upstream.settings import TLSSettings

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def clientTLS(settings: TLSSettings | None, host: str) -> IOpenSSLClientConnectionCreator:
    """
    What makes TLS connections to a hop called `host`.

    The certificate is verified with service-identity against ``sni``, or the host, and against ``ca`` alone where that
    is given, else what OpenSSL trusts by default.

    @raise ValueError: a file has no certificate, or no key, in PEM.
    @raise OSError: a file cannot be read.
    """
    settings = settings or TLSSettings()
    name = settings.sni or host
    trusted = trustRootFromCertificates(_readCertificates(settings.ca)) if settings.ca else None
    own = _readOwn(settings.cert) if settings.cert else None
    if settings.verify:
        verified: IOpenSSLClientConnectionCreator = optionsForClientTLS(name, trusted, own)
        return verified
    options = own.options() if own is not None else CertificateOptions()
    return _Unverified(options.getContext(), None if _isAddress(name) else name.encode("ascii"))


@implementer(IOpenSSLClientConnectionCreator)
@attrs.frozen(eq=False)
class _Unverified:
    """Connections that ask for `sni` and take whatever certificate comes: ``?verify=off``."""

    context: SSL.Context
    sni: bytes | None

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """See `IOpenSSLClientConnectionCreator`."""
        connection = SSL.Connection(self.context, None)
        if self.sni is not None:
            connection.set_tlsext_host_name(self.sni)
        return connection


def _readCertificates(path: str) -> list[Certificate]:
    try:
        found = [Certificate.loadPEM(block) for block in _CERTIFICATE.findall(_read(path))]
    except crypto.Error:
        found = []
    if not found:
        raise ValueError(f"no certificate in {path}")
    return found


def _readOwn(path: str) -> PrivateCertificate:
    try:
        own: PrivateCertificate = PrivateCertificate.loadPEM(_read(path))
    except crypto.Error:
        raise ValueError(f"no certificate with its key in {path}") from None
    return own


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _isAddress(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
