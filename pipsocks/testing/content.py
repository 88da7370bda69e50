"""Content without a file: the same bytes for the same seed, from any offset, so that a test can compare them."""

from __future__ import annotations

import functools
import hashlib
import random
from typing import Final

import attrs

BLOCK: Final = 65_536
_MARK: Final = 16


@functools.lru_cache(maxsize=64)
def _noise(seed: str) -> bytes:
    return random.Random(seed).randbytes(BLOCK)


@attrs.frozen
class Content:
    """
    So many bytes. No two blocks of them are alike, so that none can be lost, doubled or moved unseen.

    @ivar seed: contents of different seeds have nothing in common.
    """

    seed: str
    size: int

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`."""
        stop = min(stop, self.size)
        first, last = start // BLOCK, max(start, stop - 1) // BLOCK
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[start - first * BLOCK : max(start, stop) - first * BLOCK]

    def all(self) -> bytes:
        """All of it."""
        return self.read(0, self.size)

    @property
    def digest(self) -> str:
        """Its SHA-256, in hexadecimal."""
        sum = hashlib.sha256()
        for start in range(0, self.size, BLOCK):
            sum.update(self.read(start, start + BLOCK))
        return sum.hexdigest()

    def _block(self, number: int) -> bytes:
        return (b"%0*x\n" % (_MARK - 1, number)) + _noise(self.seed)[_MARK:]
