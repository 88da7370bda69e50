"""How Sphinx makes the documentation: ``sphinx-build -W docs docs/_build/html``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent.parent))

import pipsocks  # noqa: E402
from pipsocks.slugs import SLUGS  # noqa: E402

project = "pipsocks"
author = "the pipsocks authors"
copyright = f"2026, {author}"  # noqa: A001
version = release = pipsocks.__version__
extensions: list[str] = []
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_show_sourcelink = False


class SlugTable(SphinxDirective):
    """Show every row of the table of refusals, from the code itself."""

    def run(self) -> list[nodes.Node]:
        """Write a section of text for each slug."""
        lines = []
        for slug in SLUGS.values():
            said = re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), slug.phrase)
            lines += [
                f"**{slug.code}**: {slug.brief}",
                "",
                f"    ``{slug.code} {said}``",
                "",
                f"    {slug.meaning} {slug.remedy}",
                "",
                f"    HTTP status {slug.status}, SOCKS5 reply {slug.reply:02X}, in the journal ``{slug.token}``.",
                "",
            ]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> None:
    """Give Sphinx the directive."""
    app.add_directive("slugs", SlugTable)
