"""Secrets that a configuration names instead of holding: ``${file:PATH}``, ``${env:NAME}``, ``${credential:NAME}``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

import attrs

LIMIT: Final = 1 << 16
"""A secret of more octets than this is refused."""

REFERENCE: Final = re.compile(r"\$\{([^{}]*)\}")
"""A reference, its name in the first group."""


class SecretMissing(ValueError):
    """A secret cannot be had; the text names the file or the variable, and never the secret. `hint`: what to do."""

    def __init__(self, text: str, hint: str) -> None:
        super().__init__(text)
        self.hint = hint


@attrs.define
class Secrets:
    """
    Looks secrets up. `named` collects the variables that were asked for.

    @ivar environ: the process's environment, with systemd's CREDENTIALS_DIRECTORY in it.
    """

    environ: Mapping[str, str] = attrs.field(repr=False)
    named: set[str] = attrs.field(factory=set)

    def expand(self, text: str) -> str:
        """
        `text` with each reference replaced by its secret, taken literally: one newline at its end is left away.

        @raise SecretMissing: one of them cannot be had.
        """
        return REFERENCE.sub(lambda match: self._secret(match[1]), text)

    def _secret(self, reference: str) -> str:
        kind, _, name = reference.partition(":")
        if kind == "env" and name:
            self.named.add(name)
            if name not in self.environ:
                raise SecretMissing(
                    f"the environment has no {name}", f"set {name}; ${{file:PATH}} reads a file instead"
                )
            return _chomped(self.environ[name])
        if kind == "file" and name:
            return _contents(name, name)
        if kind == "credential" and name and "/" not in name and name not in (".", ".."):
            directory = self.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                hint = f"start it by systemd, with LoadCredential={name}:PATH in the unit"
                raise SecretMissing(f"there is no credential {name}: CREDENTIALS_DIRECTORY is not set", hint)
            return _contents(os.path.join(directory, name), f"credential {name}")
        raise SecretMissing("a reference names nothing", "write ${file:PATH}, ${env:NAME} or ${credential:NAME}")


def _contents(path: str, name: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "this is no path"
        raise SecretMissing(f"cannot read {name}: {words}", "look at the path, and at who may read it") from None
    if len(raw) > LIMIT:
        raise SecretMissing(f"{name} is too large for a secret", "name a file that holds the secret alone")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise SecretMissing(f"{name} is not UTF-8", "save the secret as text in UTF-8") from None
    return _chomped(text)


def _chomped(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
