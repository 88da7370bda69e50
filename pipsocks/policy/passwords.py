"""
Files of ``USER:HASH`` lines with bcrypt hashes, as Apache's ``htpasswd -B`` writes them: read, judged, and written.

A user's name is octets without ``:`` in whatever encoding. Blank lines and lines that begin with ``#`` say nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from typing import Final

import attrs
import bcrypt

from pipsocks.model import Problem, StartError

COST: Final = 10
"""The cost of the hashes that are made here: 2**10 rounds, a tenth of a second. Who guesses keeps others waiting."""

PASSWORD_LIMIT: Final = 72
"""Octets of a password that bcrypt looks at."""

USER_LIMIT: Final = 255
"""Octets of a user's name that fit into a SOCKS login (RFC 1929, section 2)."""

FILE_LIMIT: Final = 1 << 24
"""Octets of a file of users: 200,000 of them."""

_PROBLEMS_TOLD: Final = 10

# The 22nd character of the salt has two bits only; bcrypt takes no other, so that user could never log in.
_HASH: Final = re.compile(rb"\$2[aby]\$(0[4-9]|1[0-7])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31}")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f:]")

Sign = tuple[int, int, int]


@attrs.frozen
class Users:
    """What a file says: the hash of each user, and `dummy`, a hash of the file's highest cost that nobody's is."""

    hashes: dict[bytes, bytes]
    dummy: bytes
    sign: Sign


def hashed(password: bytes) -> str:
    """
    A bcrypt hash of the password, in the form that Apache takes too.

    @raise ValueError: bcrypt would not look at all of it: it is over 72 octets or has a NUL.
    """
    if len(password) > PASSWORD_LIMIT:
        raise ValueError(f"the password is over {PASSWORD_LIMIT} octets, which is all that bcrypt looks at")
    if b"\x00" in password:
        raise ValueError("the password has a NUL in it")
    return _hashed(password, COST).decode("ascii")


def _hashed(password: bytes, cost: int) -> bytes:
    # $2y$ and $2b$ name the same algorithm; Apache's library knows the first only.
    return b"$2y$" + bcrypt.hashpw(password, bcrypt.gensalt(cost, prefix=b"2b")).removeprefix(b"$2b$")


def matches(password: bytes, known: bytes) -> bool:
    """Whether `known` is the hash of the password, of which bcrypt sees 72 octets, as Apache has it. Slow."""
    if b"\x00" in password:
        return False
    return bcrypt.checkpw(password[:PASSWORD_LIMIT], known)


def signOf(path: str) -> Sign | None:
    """What changes when the file does; None where there is none."""
    try:
        return _sign(os.stat(path))
    except (OSError, ValueError):
        return None


def _sign(found: os.stat_result) -> Sign:
    return found.st_mtime_ns, found.st_size, found.st_ino


def load(path: str) -> Users:
    """
    Read a file of users.

    @raise StartError: it cannot be read, or has lines that are none; each with its number, and nothing of its text.
    """
    sign, data = _read(path)
    hashes: dict[bytes, bytes] = {}
    problems: list[Problem] = []
    cost = 4
    for number, line in enumerate(data.split(b"\n"), 1):
        line = line.rstrip(b" \t\r")
        if not line or line.startswith(b"#"):
            continue
        user, colon, known = line.partition(b":")
        form = _HASH.fullmatch(known)
        if not colon or not user:
            what = "this is no USER:HASH"
        elif form is None:
            what = "the password is not a bcrypt hash ($2y$) of cost 4 to 17"
        elif user in hashes:
            what = "the user stands in the file twice"
        else:
            hashes[user] = known
            cost = max(cost, int(form[1]))
            continue
        problems.append(
            Problem(what, f"{path}, line {number}", f"write it with: pipsocks passwd {path} USER, or: htpasswd -B")
        )
    if problems:
        raise StartError(*problems[:_PROBLEMS_TOLD])
    # The hash that no password gives need not be computed: only the time that checking it takes matters.
    return Users(hashes, b"$2b$%02d$" % cost + b"." * 53, sign)


def store(path: str, user: str, password: str) -> None:
    """
    Write the user with this password into the file, in place of the user's old line or behind all others.

    The file is replaced at once and whole. A new one is its owner's alone (0600); one that is there keeps its owner,
    where that is possible, and its mode.

    @raise ValueError: the user's name or the password cannot be written.
    @raise StartError: the file cannot be read or written, or has lines that `load` refuses.
    """
    # What is no UTF-8 comes from the command line or the terminal with its octets escaped so.
    name = user.encode("utf-8", "surrogateescape")
    if not name or len(name) > USER_LIMIT or _CONTROL.search(name) or name.startswith(b"#") or name != name.strip():
        raise ValueError("the user's name is empty, too long, begins with # or a space, or has : or controls in it")
    line = name + b":" + hashed(password.encode("utf-8", "surrogateescape")).encode("ascii")
    # A link goes on pointing to the file.
    real = os.path.realpath(path)
    lines: list[bytes] = []
    found: os.stat_result | None = None
    if os.path.exists(real):
        load(real)
        found = os.stat(real)
        lines = _read(real)[1].rstrip(b"\r\n").split(b"\n")
    at = next((i for i, old in enumerate(lines) if old.startswith(name + b":")), None)
    if at is None:
        lines = [*lines, line] if lines != [b""] else [line]
    else:
        lines[at] = line
    try:
        _replace(real, b"\n".join(lines) + b"\n", found)
    except OSError as error:
        hint = "nothing was changed; look at the directory's owner and mode"
        raise StartError(Problem(f"cannot be written: {error.strerror}", path, hint)) from None


def _replace(path: str, data: bytes, like: os.stat_result | None) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".users-")
    try:
        with open(descriptor, "wb") as file:
            if like is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, like.st_uid, like.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: str) -> tuple[Sign, bytes]:
    if not path:
        raise StartError(Problem("no file is named", "htpasswd", "write htpasswd:FILE"))
    make = f"make it with: pipsocks passwd {path} USER"
    try:
        # Non-blocking: opening a pipe that nobody writes to would hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise StartError(Problem("this is not a regular file", path, make))
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        hint = make if isinstance(error, FileNotFoundError) else "look at the owner and the mode of the file"
        raise StartError(Problem(f"cannot be read: {error.strerror}", path, hint)) from None
    except ValueError:
        raise StartError(Problem("this is no path", f"{path!a}", make)) from None
    if len(data) > FILE_LIMIT:
        raise StartError(Problem("the file is over 16 MiB", path, make))
    return _sign(found), data
