"""sd_notify."""

from __future__ import annotations

import socket

from twisted.trial.unittest import TestCase

from pipsocks.observe.systemd import Notify


class NotifyTests(TestCase):
    """What systemd is told."""

    def test_message(self) -> None:
        """All states arrive in one message on the socket that NOTIFY_SOCKET names."""
        path = self.mktemp()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            Notify.fromEnvironment({"NOTIFY_SOCKET": path}).tell("READY=1", "STATUS=up")
            self.assertEqual(manager.recv(100), b"READY=1\nSTATUS=up")

    def test_abstract(self) -> None:
        """An abstract socket's name begins with ``@``."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0pipsocks-test-notify")
            Notify.fromEnvironment({"NOTIFY_SOCKET": "@pipsocks-test-notify"}).tell("STOPPING=1")
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_noManager(self) -> None:
        """Without systemd nothing is sent, and a manager that went away is no error."""
        Notify.fromEnvironment({}).tell("READY=1")
        Notify(self.mktemp()).tell("READY=1")
