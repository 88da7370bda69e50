"""What a connection to an ssh hop is made with: which algorithms, who logs in, and whose key it has to show."""

from __future__ import annotations

from typing import Any, Final

import attrs
from twisted.conch.ssh.transport import SSHClientTransport

from pipsocks.model import Destination
from pipsocks.upstream.sshhosts import KnownKeys
from pipsocks.upstream.sshlogin import Credentials

# What has SHA-1, MD5 or CBC in it is not spoken; nor is compression, which tells lengths.
CIPHERS: Final = [b"aes128-ctr", b"aes256-ctr", b"aes192-ctr"]
MACS: Final = [b"hmac-sha2-256", b"hmac-sha2-512"]
HOST_KEYS: Final = [
    b"ssh-ed25519",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
]

# A group that the hop thinks up (RFC 4419) is not taken: to find out whether it is one takes OpenSSL up to a minute,
# in which the reactor stands still, and comes before the hop has shown its key.
KEY_EXCHANGES: Final = [
    name
    for name in SSHClientTransport.supportedKeyExchanges
    if not name.endswith(b"sha1") and b"group-exchange" not in name
]


@attrs.frozen
class Manners:
    """
    What a connection is made with.

    @ivar reactor: has the time, and Unix sockets for the agent.
    @ivar limit: seconds for the handshake, and for the opening of one channel.
    """

    hop: Destination
    known: KnownKeys
    credentials: Credentials
    reactor: Any
    limit: float
