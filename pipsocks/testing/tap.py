"""``twistd pipsocks-faults``: a file of faulty listeners, and the service that they make."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)
from twisted.python import usage

from pipsocks.model import Problem, StartError
from pipsocks.testing.config import Settings, read
from pipsocks.testing.events import Log, lines, nowhere
from pipsocks.testing.faults import describe
from pipsocks.testing.server import Server

_log = Logger()

ABOUT = """Upstream proxies and origins that fail as a file says, to prove a proxy's policy with.
docs/faults.rst tells how to write the file. In it, a fault is:

  [PERCENT%] [for=TARGET] FAULT[ + FAULT ...]

Those without a percentage come in turn, the last one stays; neighbours with one are drawn from.

Options:
  --config FILE
        The TOML file.
  --help
        Print this.

Faults, with the kinds of listeners that have them where not all do:
"""


class Options(usage.Options):
    """
    The options of ``twistd pipsocks-faults``.

    Anything wrong with them or the file ends the process here: status 1, on standard error, before twistd can print
    its whole help for it.

    @ivar settings: the file, once they are parsed.
    """

    synopsis = "--config FILE"
    optParameters = [["config", None, None, "the TOML file of listeners and their faults"]]
    settings: Settings

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line, and with it the file."""
        hint = "twistd -n pipsocks-faults --config FILE; docs/faults.rst tells how to write the file"
        try:
            super().parseOptions(options)
            if self["config"] is None:
                raise StartError(Problem("there is no file of faults", "--config", hint))
            self.settings = read(self["config"])
        except usage.UsageError as error:
            fail(StartError(Problem(str(error), "", hint)))
        except StartError as error:
            fail(error)
        if self.isForeground():
            self._quieten()

    def parseArgs(self, *words: str) -> None:
        """There are no arguments."""
        if words:
            raise usage.UsageError(f"{words[0]!r} is no option")

    def getUsage(self, width: int | None = None) -> str:
        """The options, and every fault with its meaning."""
        return f"{ABOUT}{describe()}\n"

    def isForeground(self) -> bool:
        """Whether we have a terminal, or what stands for one: not as twistd's daemon."""
        parent: Any = self.parent
        return parent is None or bool(parent.get("nodaemon", True) or parent.get("debug"))

    def _quieten(self) -> None:
        """Keep twistd's own lines from standing among the events, unless somebody asked where they go."""
        parent: Any = self.parent
        if (
            parent is not None
            and "logger" in parent
            and not (parent["logger"] or parent["logfile"] or parent.get("syslog"))
        ):
            parent["logger"] = f"{__name__}.errorsOnly"


def errorsOnly() -> ILogObserver:
    """An observer that writes warnings and errors to standard error and nothing else anywhere."""
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    return FilteringLogObserver(textFileLogObserver(sys.stderr), [predicate])


def makeService(options: Options) -> IService:
    """Bind every listener, say where each is, and return the service; ends the process where that cannot be done."""
    # Here and not above: a command that only reads options needs none of it.
    from twisted.internet import reactor

    say = _printer(sys.stdout) if options.isForeground() else _logged
    try:
        return build(reactor, options.settings, say)
    except StartError as error:
        fail(error)


def build(reactor: Any, settings: Settings, say: Callable[[str], None]) -> IService:
    """
    Bind every listener, say where each is, and return the service that ends them.

    @raise StartError: one of them cannot be bound, or the log cannot be written; none is then.
    """
    file, write = None, say
    if settings.log not in ("", "-"):
        try:
            file = open(settings.log, "a", buffering=1)  # noqa: SIM115 it is open as long as the service
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or "this is no path"
            hint = 'log is a file, "-" for standard output, or "" for none'
            raise StartError(Problem(f"cannot write the log: {words}", settings.log, hint)) from None
        write = _printer(file)
    began = time.monotonic()
    servers: list[Server] = []
    told = []
    for each in settings.listeners:
        log: Log = lines(write, lambda: time.monotonic() - began, listener=each.name) if settings.log else nowhere
        server = Server(
            reactor, each.kind, each.faults, seed=each.seed, host=each.host, port=each.port, tls=each.tls, log=log
        )
        try:
            server.listen()
        except (OSError, CannotListenError) as error:
            for earlier in servers:
                earlier.stop()
            words = getattr(error, "strerror", None) or str(error)
            raise StartError(
                Problem(f"cannot listen on {server.address}: {words}", each.name, "take another port, or 0 for any")
            ) from None
        servers.append(server)
        secure = ", TLS" if each.tls is not None else ""
        told.append(f"{each.name}: {each.kind.name}{secure} on {server.address}: {', '.join(each.faults) or 'none'}")
    for line in told:
        say(line)
    return _Listeners(servers, file)


class _Listeners(Service):
    """All listeners of a file."""

    def __init__(self, servers: Sequence[Server], file: TextIO | None) -> None:
        self._servers = servers
        self._file = file

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        stopped = gatherResults([server.stop() for server in self._servers])
        return stopped.addCallback(lambda _: self._file and self._file.close())


def fail(error: StartError) -> NoReturn:
    """End the process: status 1, and every problem on standard error."""
    for problem in error.problems:
        print(f"pipsocks-faults: {problem}", file=sys.stderr)
    sys.exit(1)


def _printer(out: TextIO) -> Callable[[str], None]:
    """Prints lines to standard output, as it is before twistd makes a log of it. A reader that left is no error."""

    def say(line: str) -> None:
        try:
            out.write(line + "\n")
            out.flush()
        except (OSError, ValueError):
            return

    return say


def _logged(line: str) -> None:
    _log.info("{line}", line=line)
