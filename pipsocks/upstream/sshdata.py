"""The data types of SSH messages (RFC 4251, section 5), read and written."""

from __future__ import annotations

import struct


class Malformed(ValueError):
    """A message that is not what its type says."""


def number(value: int) -> bytes:
    """A uint32."""
    return struct.pack(">L", value)


def string(data: bytes) -> bytes:
    """A string: octets behind their count."""
    return struct.pack(">L", len(data)) + data


class Fields:
    """
    The fields of one message, taken one by one.

    Each method raises `Malformed` where the message ends too early.
    """

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """So many octets."""
        end = self._at + count
        if end > len(self._data):
            raise Malformed("a message ends too early")
        data, self._at = self._data[self._at : end], end
        return data

    def number(self) -> int:
        """A uint32."""
        value: int = struct.unpack(">L", self.take(4))[0]
        return value

    def flag(self) -> bool:
        """A boolean: any octet but zero is true."""
        return self.take(1) != b"\0"

    def string(self) -> bytes:
        """A string."""
        return self.take(self.number())
