"""``twistd pipsocks``: the options, and the service that they make."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO

from twisted.application.service import IService
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)
from twisted.python import usage

from pipsocks import __version__
from pipsocks.config.load import load
from pipsocks.config.options import TABLE, describe, parse
from pipsocks.model import Problem, StartError
from pipsocks.settings import Settings
from pipsocks.upstream.parse import fromEnvironment, parseChain

_log = Logger()


class Options(usage.Options):
    """
    The options of ``twistd pipsocks``, from the one table.

    Anything wrong with them, the environment or the file ends the process here: status 1, on standard error, before
    twistd can print its whole help for it.

    @ivar settings: what they come to, once they are parsed.
    @ivar load: reads all of it again.
    """

    synopsis = "[options]"
    optParameters = [[o.flag[2:], None, None, o.about] for o in TABLE if o.metavar]
    optFlags = [[o.flag[2:], None, o.about] for o in TABLE if not o.metavar]
    settings: Settings
    load: Callable[[], Settings]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line, and with it the environment and the file."""
        try:
            arguments = parse(sys.argv[1:] if options is None else options)
            if arguments.help:
                self.opt_help()
            if arguments.version:
                self.opt_version()
            self.load = lambda: load(arguments, os.environ, parseChain, fromEnvironment).settings
            self.settings = self.load()
        except StartError as error:
            fail(error)
        except OSError as error:
            fail(unexpected(error))
        if self.isForeground():
            self._quieten()

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        print(f"pipsocks {__version__}")
        sys.exit(0)

    def getUsage(self, width: int | None = None) -> str:
        """The options with their twins in the environment, as every command of ours shows them."""
        return f"{ABOUT}\n\nOptions:\n{describe()}{FOOT}"

    def isForeground(self) -> bool:
        """Whether we have a terminal, or what stands for one: not as twistd's daemon."""
        parent: Any = self.parent
        return parent is None or bool(parent.get("nodaemon", True) or parent.get("debug"))

    def _quieten(self) -> None:
        """Keep twistd's own lines from standing among the journal's, unless somebody asked where they go."""
        parent: Any = self.parent
        if (
            parent is not None
            and "logger" in parent
            and not (parent["logger"] or parent["logfile"] or parent.get("syslog"))
        ):
            parent["logger"] = f"{__name__}.errorsOnly"


ABOUT = "A SOCKS5 and HTTP forward proxy. By default: SOCKS on 127.0.0.1:1080, HTTP on 127.0.0.1:3128, no upstream."
FOOT = """  --version
        Print the version.
  --help
        Print this.

What stands in [ ] is the variable of the environment that says the same; lists in it are separated by spaces.
The command line goes before the environment, and that before the file.
"""


def errorsOnly() -> ILogObserver:
    """An observer that writes warnings and errors to standard error and nothing else anywhere."""
    predicate = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    return FilteringLogObserver(textFileLogObserver(sys.stderr), [predicate])


def makeService(options: Options) -> IService:
    """Bind every listener and return the service; ends the process where that cannot be done."""
    # Here and not above: a command that only reads options needs none of what the service is built from.
    from twisted.internet import reactor

    from pipsocks.service import makeService as makeProxy

    say = _printer(sys.stdout) if options.isForeground() else _logged
    try:
        return makeProxy(reactor, options.settings, say)
    except StartError as error:
        fail(error)
    except OSError as error:
        fail(unexpected(error))


def fail(error: StartError) -> NoReturn:
    """End the process: status 1, and every problem on standard error."""
    for problem in error.problems:
        print(f"pipsocks: {problem}", file=sys.stderr)
    sys.exit(1)


def unexpected(error: OSError) -> StartError:
    """What the operating system refused, where nobody foresaw it."""
    hint = "look at the permissions and limits that this process runs with"
    return StartError(Problem(error.strerror or str(error), str(error.filename or ""), hint))


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
