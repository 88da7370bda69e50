"""Refusal: the one exception that a client can be told of. Each codec says it in its protocol's own words."""

from __future__ import annotations

from typing import Final

from pipsocks.slugs import SLUGS, About

PHRASE_LIMIT: Final = 120
"""A reason phrase is at most this long: the only text of a proxy that users of pip, wget, npm or apt see."""


class Refusal(Exception):
    """
    Why a client does not get what it asked for.

    @ivar slug: the row of `pipsocks.slugs.SLUGS`.
    @ivar chain: the label of the chain that failed; empty on a direct route.
    @ivar hop: ``host:port`` of the hop that failed, where one did.
    @ivar where: the destination's text.
    @ivar detail: what the row's phrase asks for.
    @ivar said: the hop's own words, raw; only `printable` text of it leaves.
    @ivar sayer: the hop that said it, where that is another than the one that failed.
    """

    def __init__(
        self,
        code: str,
        *,
        chain: str = "",
        hop: str = "",
        where: str = "",
        detail: str = "",
        said: str = "",
        sayer: str = "",
    ) -> None:
        super().__init__(code)
        self.slug = SLUGS[code]
        self.chain = chain
        self.hop = hop
        self.where = where
        self.detail = detail
        self.said = said
        self.sayer = sayer

    @property
    def about(self) -> About:
        """What this failure speaks of."""
        return self.slug.about

    @property
    def token(self) -> str:
        """The journal's word."""
        return self.slug.token

    @property
    def _chain(self) -> str:
        if not self.chain or not self.hop or self.chain == self.hop:
            return self.chain or self.hop
        return f"{self.chain} (at {self.hop})"

    @property
    def cause(self) -> str:
        """The cause, in a phrase of any length, escaped."""
        return printable(
            self.slug.phrase.format(chain=self._chain, where=self.where or "the destination", detail=self.detail)
        )

    @property
    def reason(self) -> str:
        """
        The reason phrase: ASCII, at most `PHRASE_LIMIT` characters: slug, cause, next step.

        The next step gives way to a cause that would not fit beside it: the slug says it too, and the cause is news.
        """
        phrase = f"{self.slug.code} {self.cause}"
        step = f"; run: pipsocks explain {self.slug.code}"
        return phrase + step if len(phrase) + len(step) <= PHRASE_LIMIT else clip(phrase, PHRASE_LIMIT)

    @property
    def text(self) -> str:
        """The body of a failure: sentences for a person, the hop's own words among them."""
        sayer = self.sayer or self._chain or self.where
        said = f' {sayer} said "{clip(printable(self.said), 80)}".' if self.said else ""
        return f"{self.slug.code}: {self.cause}.{said}\n{self.slug.meaning}\n{self.slug.remedy}\n"

    def __str__(self) -> str:
        return f"{self.slug.code} {self.cause}"


def printable(text: str) -> str:
    """`text` with everything but printable ASCII escaped: what may stand in a head, a log or a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def clip(text: str, room: int) -> str:
    """`text`, or its beginning and ``...`` where it is longer than `room`."""
    return text if len(text) <= room else text[: max(0, room - 3)] + "..."
