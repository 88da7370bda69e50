"""
``python -m pipsocks.testing``: one faulty listener as a process of its own.

The first line of its output is the port, all others are its log: one JSON object for each event.
"""

from __future__ import annotations

import argparse
import ipaddress
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import react

from pipsocks.testing.echo import Echo
from pipsocks.testing.events import lines
from pipsocks.testing.faults import FaultUnknown, describe
from pipsocks.testing.origin import Origin
from pipsocks.testing.server import Kind, Server
from pipsocks.testing.tls import serverTLS
from pipsocks.testing.upstream import Upstream


def _isLoopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 65_536):
        raise argparse.ArgumentTypeError("HOST:PORT is wanted")
    return host.removeprefix("[").removesuffix("]"), int(port)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipsocks.testing",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="A SOCKS and HTTP proxy, or an origin, that fails as it is told. Its first line is its port.",
        epilog=f"faults:\n{describe()}",
    )
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument(
        "--beyond-loopback", action="store_true",
        help="listen where others reach it, who can then use it as a proxy",
    )  # fmt: skip
    parser.add_argument(
        "--kind", choices=("upstream", "origin", "echo"), default="upstream", help="a proxy, an HTTP origin, or an echo"
    )
    parser.add_argument(
        "--fault", action="append", default=[], metavar="'[P%] [for=TARGET] FAULT'",
        help="the fault of the next connection; the last one is that of all further ones. Neighbours with percentages"
        " are drawn from for each connection. Several faults of one connection are joined by ' + '",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="what chance, random bytes and contents are made from")
    parser.add_argument("--size", type=int, default=100_000, help="bytes of an HTTP origin's contents")
    parser.add_argument("--tls", metavar="PEM", help="speak TLS with the key and certificate in this file")
    return parser


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Listen, say where, and log until a signal comes."""
    parser = options()
    chosen = parser.parse_args(arguments)

    began = time.monotonic()

    def write(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    kinds: dict[str, Kind] = {
        "upstream": Upstream(),
        "origin": Origin(size=chosen.size, seed=chosen.seed),
        "echo": Echo(),
    }
    host, port = chosen.listen
    if not _isLoopback(host) and not chosen.beyond_loopback:
        parser.error(f"{host} is not a loopback address; add --beyond-loopback if others are to use this as a proxy")
    try:
        server = Server(
            reactor, kinds[chosen.kind], chosen.fault, seed=chosen.seed, host=host, port=port,
            tls=serverTLS(Path(chosen.tls)) if chosen.tls else None, log=lines(write, lambda: time.monotonic() - began),
        )  # fmt: skip
        write(str(server.listen()))
    except FaultUnknown as unknown:
        parser.error(f"{unknown}; {unknown.hint}")
    except (OSError, ValueError, CannotListenError) as error:
        parser.error(str(error))
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
