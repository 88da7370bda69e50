"""Stands in for the upstream room's parser, which the configuration is handed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pipsocks.model import Destination, Login, Secret
from pipsocks.upstream.settings import ChainSettings, HopSettings, TLSSettings


def parseChain(text: str, expand: Callable[[str], str], name: str) -> ChainSettings:
    """``direct``, or one hop: ``SCHEME://[USER:PASSWORD@]HOST:PORT[?off]``."""
    if text == "direct":
        return ChainSettings(name=name)
    match = re.fullmatch(r"(\w+)://(?:([^:]*):(.*)@)?(.*):(\d+)(\?off)?", text)
    if match is None:
        raise ValueError("this is no chain")
    login = Login(expand(match[2]), Secret(expand(match[3]))) if match[2] is not None else None
    tls = TLSSettings(sni="x", verify=False) if match[6] else None
    return ChainSettings((HopSettings(match[1], Destination(match[4], int(match[5])), login, tls),), name)


def fromEnvironment(environ: Mapping[str, str]) -> str:
    """What HTTPS_PROXY says."""
    if "HTTPS_PROXY" not in environ:
        raise ValueError("no proxy is named in the environment")
    return environ["HTTPS_PROXY"]
