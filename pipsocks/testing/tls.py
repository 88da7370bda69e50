"""The certificate of a listener that speaks TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL.crypto import Error
from twisted.internet.error import VerifyError
from twisted.internet.ssl import PrivateCertificate


def serverTLS(path: Path) -> Any:
    """
    A context factory with the key and the certificate in a PEM file.

    @raise OSError: it cannot be read.
    @raise ValueError: it has no key, or no certificate that is the key's.
    """
    text = path.read_text()
    try:
        return PrivateCertificate.loadPEM(text).options()
    except (Error, VerifyError, ValueError):
        raise ValueError(f"{path} has no key with its certificate") from None
