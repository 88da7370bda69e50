"""Certificates for origins with the names that only exits know, and a context that trusts them."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import trustme


@attrs.frozen
class Certificates:
    """
    Files, and what a client needs.

    @ivar server: key and certificate of all origins, in one file.
    @ivar authority: the certificate that clients have to trust.
    """

    server: Path
    authority: Path

    def context(self) -> ssl.SSLContext:
        """What a client verifies with."""
        return ssl.create_default_context(cafile=str(self.authority))


def certificates(folder: Path, *names: str) -> Certificates:
    """Make them, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority, made = trustme.CA(), Certificates(folder / "server.pem", folder / "authority.pem")
    authority.cert_pem.write_to_path(str(made.authority))
    authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(made.server))
    return made
