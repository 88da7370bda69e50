"""What the configuration says of the journal."""

from __future__ import annotations

import attrs


@attrs.frozen
class JournalSettings:
    """`target` is ``-``, a file's path, ``journald`` or ``off``; `form` is ``text`` or ``json``."""

    target: str = "-"
    form: str = "text"
