"""Telling systemd how far we are: sd_notify(3), in a dozen lines."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import attrs


@attrs.frozen
class Notify:
    """Sends states to `path`, the NOTIFY_SOCKET of a unit of Type=notify; without one it does nothing."""

    path: str = ""

    @classmethod
    def fromEnvironment(cls, environ: Mapping[str, str]) -> Notify:
        """As systemd left it in our environment; an abstract socket's ``@`` stands for a NUL."""
        path = environ.get("NOTIFY_SOCKET", "")
        return cls("\0" + path[1:] if path.startswith("@") else path)

    def tell(self, *states: str) -> None:
        """Send `states` (``READY=1``, ``STATUS=…``) as one message. A socket that went away is no error of ours."""
        if not self.path:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            try:
                notify.sendto("\n".join(states).encode(), self.path)
            except OSError:
                return
