"""What the functional tests have in common: children that end with their test, and are judged."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.functional.clients import emptyDirectory
from tests.functional.origins import Peer
from tests.functional.processes import Child, Faulty, Pipsocks
from tests.functional.talk import Answer, dial

C = TypeVar("C", bound=Child)
PHRASE_LIMIT = 120


class FunctionalTestCase(SynchronousTestCase):
    """A test of pipsocks as a process, from outside. Every child of ours that wrote a traceback fails its test."""

    def keep(self, child: C) -> C:
        """End `child` with this test, and judge it."""

        def end() -> None:
            try:
                child.stop()
            finally:
                child.clean()
                child.judge()

        self.addCleanup(end)
        return child

    def pipsocks(self, *options: str | Path, upstreams: tuple[str, ...] = (), **keywords: Any) -> Pipsocks:
        """A pipsocks that listens."""
        chains = [word for chain in upstreams for word in ("--upstream", chain)]
        child = self.keep(Pipsocks(*chains, *options, **keywords))
        child.expect("set a shell up")
        return child

    def faulty(self, *faults: str, host: str = "127.0.0.1", options: tuple[str | Path, ...] = ()) -> Faulty:
        """An upstream whose nth connection has the nth of `faults`."""
        words = [word for fault in faults for word in ("--fault", fault)]
        return self.keep(Faulty(*words, *options, host=host))

    def peer(self, serve: Any, host: str = "127.0.0.1") -> Peer:
        """A TCP origin for this test."""
        peer = Peer(serve, host)
        self.addCleanup(peer.stop)
        return peer

    def refusing(self, host: str = "127.0.0.1") -> int:
        """A port that refuses connections for as long as this test runs, since nobody else can take it."""
        bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(bound.close)
        bound.bind((host, 0))
        port: int = bound.getsockname()[1]
        return port

    def directory(self) -> Path:
        """An empty directory for this test."""
        path = emptyDirectory()
        self.addCleanup(shutil.rmtree, path, True)
        return path

    def dial(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """A connection that ends with this test."""
        connection = dial(port, host)
        self.addCleanup(connection.close)
        return connection

    def assertReason(self, answer: Answer, slug: str) -> None:
        """A refusal whose reason phrase says all: slug, cause, and where there is room the next step, in ASCII."""
        self.assertTrue(answer.reason.startswith(f"{slug} "), answer)
        self.assertLessEqual(len(answer.reason), PHRASE_LIMIT)
        self.assertTrue(answer.reason.isascii() and answer.reason.isprintable(), answer)
        step = f"; run: pipsocks explain {slug}"
        self.assertTrue(answer.reason.endswith(step) or len(answer.reason + step) > PHRASE_LIMIT, answer)
        self.assertTrue(answer.fields["content-type"].startswith("text/plain"), answer)
        self.assertIn(slug, answer.body.decode("ascii"))
