"""
``python -m pipsocks.testing``: a faulty upstream proxy as a process of its own.

The first line of its output is the port, all others are its log: one JSON object for each event.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import react

from pipsocks.testing.faults import NAMES, Fault, FaultUnknown, parseFault
from pipsocks.testing.upstream import FaultyFactory


def _fault(text: str) -> Fault:
    try:
        return parseFault(text)
    except FaultUnknown as unknown:
        raise argparse.ArgumentTypeError(str(unknown)) from None


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdecimal() and int(port) < 65_536):
        raise argparse.ArgumentTypeError("HOST:PORT is wanted")
    return host.removeprefix("[").removesuffix("]"), int(port)


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipsocks.testing",
        description="A SOCKS and HTTP proxy that fails as it is told.",
        epilog="faults: " + "; ".join(f"{name}: {meaning}" for name, meaning in NAMES.items()),
    )
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], metavar="NAME[=VALUE]",
        help="the fault of the next connection; the last one is that of all further ones",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="what random bytes are made from")
    parser.add_argument("--tls", metavar="PEM", help="speak TLS with the key and certificate in this file")
    return parser


def main(reactor: Any, *arguments: str) -> Deferred[None]:
    """Listen, say where, and log until a signal comes."""
    chosen = options().parse_args(arguments)
    began = time.monotonic()

    def write(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def log(event: str, values: dict[str, Any]) -> None:
        milliseconds = round((time.monotonic() - began) * 1000, 1)
        write(json.dumps({"event": event, "ms": milliseconds, **values}))

    factory = FaultyFactory(reactor, tuple(chosen.fault), chosen.seed, log)
    host, port = chosen.listen
    if chosen.tls:
        with open(chosen.tls) as file:
            certificate = PrivateCertificate.loadPEM(file.read())
        listening = reactor.listenSSL(port, factory, certificate.options(), interface=host)
    else:
        listening = reactor.listenTCP(port, factory, interface=host)
    write(str(listening.getHost().port))
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
