"""The configuration file: what may stand in it, and how it is read with all of its errors at once."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final, NewType, get_args, get_origin

import attrs

from pipsocks.config.lines import keyLines, lineOf
from pipsocks.config.options import TABLE, nearest
from pipsocks.config.values import Auth, Client, Endpoint, Wrong, structure
from pipsocks.model import Problem, StartError

LIMIT: Final = 1 << 20
"""A file of more octets than this is not read."""

AuthList = NewType("AuthList", tuple)  # type: ignore[type-arg]
