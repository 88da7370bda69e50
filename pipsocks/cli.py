"""The ``pipsocks`` command."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

import attrs

from pipsocks import __version__
from pipsocks.config.layers import gather
from pipsocks.config.load import load
from pipsocks.config.near import nearest
from pipsocks.config.options import SHELL, TABLE, Arguments, Option, describe, parse
from pipsocks.config.shell import SHELLS, exports
from pipsocks.config.show import show
from pipsocks.config.values import readSwitch
from pipsocks.front.settings import ListenerSettings
from pipsocks.model import Problem, StartError, masked
from pipsocks.slugs import SLUGS, Slug
from pipsocks.tap import ABOUT, FOOT, fail, unexpected
from pipsocks.upstream.parse import fromEnvironment, parseChain


@attrs.frozen
class Command:
    """
    One command.

    `synopsis` is what may follow its name, `about` one line for the list; `options` are those that it takes and
    `rest` the number of other words.
    """

    run: Callable[[Arguments], None]
    synopsis: str
    about: str
    options: Sequence[Option] = ()
    rest: int = 0


def _check(arguments: Arguments) -> None:
    name = _word(arguments, 0, "check FILE")
    # The environment may hold the file's secrets, but what overrides the file says nothing about it.
    given = Arguments({"config": (name,)})
    problems: list[Problem] = []
    notices: tuple[str, ...] = ()
    try:
        notices = load(given, os.environ, parseChain, fromEnvironment, twins={}).settings.notices
    except StartError as error:
        problems += error.problems
    problems += _unusable(gather(given, {}).listeners)
    if problems:
        raise StartError(*problems)
    for notice in notices:
        print(f"{name}: {notice}")
    print(f"{name}: ok")


def _unusable(listeners: Sequence[ListenerSettings]) -> list[Problem]:
    """What only Twisted and the checkers know to be wrong; nothing is bound."""
    from twisted.internet.endpoints import serverFromString

    from pipsocks.policy.login import Logins

    problems: list[Problem] = []
    for listener in listeners:
        if listener.endpoint.startswith("systemd:"):
            continue  # its sockets are there only when systemd starts us
        try:
            serverFromString(None, listener.endpoint)
        except Exception as error:
            # Twisted's parsers raise what their arguments happen to raise.
            hint = "write PORT, ADDRESS:PORT, [IPV6]:PORT or a Twisted endpoint such as tcp:1080:interface=127.0.0.1"
            what = f"cannot listen on {masked(listener.endpoint)!r}: {masked(str(error))}"
            problems.append(Problem(what, listener.source, hint))
    for auth, source in dict.fromkeys((listener.auth, listener.authSource) for listener in listeners):
        try:
            Logins.fromStrings(auth, None, source)
        except StartError as error:
            problems += error.problems
    return problems


def _config(arguments: Arguments) -> None:
    if arguments.values.get("show", ("false",))[-1] != "true":
        raise StartError(Problem("there is nothing to do", "pipsocks config", "write pipsocks config --show"))
    print(show(load(arguments, os.environ, parseChain, fromEnvironment)), end="")


def _env(arguments: Arguments) -> None:
    flag = arguments.values.get(SHELL.key)
    shell = flag[-1] if flag else os.environ.get(SHELL.twin) or SHELL.default
    if shell not in SHELLS:
        hint = f"write one of {', '.join(SHELLS)}; bash and zsh are sh"
        where = SHELL.flag if flag else SHELL.twin
        raise StartError(Problem(f"{shell!a} is no shell that this knows", where, hint))
    # Secrets are not looked up: whoever uses the proxy need not be allowed to read them.
    gathered = gather(arguments, os.environ)
    if gathered.problems:
        raise StartError(*gathered.problems)
    print(exports(gathered.listeners, shell), end="")


def _explain(arguments: Arguments) -> None:
    if not arguments.rest:
        for slug in SLUGS.values():
            print(f"{slug.code}  {slug.brief}")
        return
    word = arguments.rest[0].strip().rstrip(":").upper()
    found = [slug for slug in SLUGS.values() if word in (slug.code, slug.token.upper())]
    if not found:
        near = nearest(word, SLUGS)
        hint = f"did you mean {near}?" if near else "pipsocks explain lists all"
        raise StartError(Problem("there is no such code", f"pipsocks explain {arguments.rest[0]!a}", hint))
    print("\n".join(_told(slug) for slug in found), end="")


def _told(slug: Slug) -> str:
    return (
        f"{slug.code}: {slug.brief}\n\n{slug.meaning}\n\nWhat to do: {slug.remedy}\n\n"
        f"A client of the HTTP port hears status {slug.status}, one of the SOCKS port reply {slug.reply:02X}; "
        f"the journal says {slug.token}.\n"
    )


def _passwd(arguments: Arguments) -> None:
    from pipsocks.policy.passwords import store

    name = _word(arguments, 0, "passwd FILE USER")
    user = _word(arguments, 1, "passwd FILE USER")
    password = _typed(user, name)
    if not password:
        raise StartError(Problem("no password was given", name, "type one, or send it in a line on standard input"))
    try:
        store(name, user, password)
    except ValueError as error:
        hint = "nothing was changed; try another"
        raise StartError(Problem(str(error), name, hint)) from None
    print(f"{name}: {user} may log in")


def _typed(user: str, name: str) -> str:
    """The password from the terminal, twice, or one line of standard input: an argument would be seen by all."""
    if not sys.stdin.isatty():
        return sys.stdin.readline(1 << 16).removesuffix("\n")
    try:
        password = getpass.getpass(f"Password of {user}: ")
        again = getpass.getpass("Once more: ")
    except EOFError:
        return ""
    if again != password:
        raise StartError(Problem("the two passwords differ", name, "nothing was changed; try again"))
    return password


def _word(arguments: Arguments, index: int, usage: str) -> str:
    if index >= len(arguments.rest):
        raise StartError(Problem("a word is missing", f"pipsocks {usage.split()[0]}", f"write pipsocks {usage}"))
    return arguments.rest[index]


def _run(words: Sequence[str]) -> None:
    """Twistd's own runner, in this process. It reads the options as it would from a command line of its own."""
    from twisted.python.usage import UsageError
    from twisted.scripts.twistd import ServerOptions, runApp  # type: ignore[attr-defined]

    options = ServerOptions()
    try:
        options.parseOptions(["--nodaemon", "--pidfile=", "pipsocks", *words])
    except UsageError as error:
        hint = "install pipsocks again; twistd --help must list it"
        raise StartError(Problem(f"twistd does not know us: {error}", "pipsocks run", hint)) from None
    runApp(options)


COMMANDS: Final[Mapping[str, Command]] = {
    "run": Command(lambda arguments: None, "[options]", "Run the proxy.", TABLE),
    "check": Command(_check, "FILE", "Say everything that is wrong with a configuration file.", rest=1),
    "config": Command(
        _config,
        "--show [options]",
        "Show the settings and where each comes from.",
        (*TABLE, Option("show", bool, "", "", read=readSwitch)),  # a mode, and nothing to put into the environment
    ),
    "env": Command(
        _env,
        f"[--shell {'|'.join(SHELLS)}] [options]",
        "Print what sets a shell up to use the proxy.",
        (SHELL, *TABLE),
    ),
    "explain": Command(_explain, "[PS-...]", "Explain what the proxy told a client.", rest=1),
    "passwd": Command(_passwd, "FILE USER", "Set a user's password in an htpasswd file.", rest=2),
}


def main(words: Sequence[str] | None = None) -> NoReturn:
    """
    Run the command that `words` (the process's own, by default) name, and exit.

    Status 1 for anything wrong, told on standard error with a hint.
    """
    try:
        _dispatch(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
    except StartError as error:
        fail(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        fail(unexpected(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def _dispatch(words: Sequence[str]) -> None:
    name = words[0] if words else "--help"
    if name in ("--help", "-h", "help"):
        print(_help(), end="")
    elif name == "--version":
        print(f"pipsocks {__version__}")
    elif name not in COMMANDS:
        near = nearest(name, COMMANDS)
        hint = f"did you mean pipsocks {near}?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise StartError(Problem("there is no such command", f"pipsocks {name!a}", hint))
    else:
        command = COMMANDS[name]
        arguments = parse(words[1:], command.options, command.rest)
        if arguments.help:
            print(_helpOf(name, command), end="")
        elif arguments.version:
            print(f"pipsocks {__version__}")
        elif name == "run":
            _run(words[1:])
        else:
            command.run(arguments)


def _help() -> str:
    commands = "".join(f"  {name:<8} {command.about}\n" for name, command in COMMANDS.items())
    return f"{ABOUT}\n\nUsage: pipsocks COMMAND ...\n\n{commands}\npipsocks COMMAND --help says more of each.\n"


def _helpOf(name: str, command: Command) -> str:
    text = f"Usage: pipsocks {name} {command.synopsis}\n{command.about}\n"
    return f"{text}\nOptions:\n{describe(o for o in command.options if o.about)}{FOOT}" if command.options else text
