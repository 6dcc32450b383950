"""Finds where a Redis snapshot (RDB) ends, without reading what is in it.

An append-only file that Redis has rewritten begins with one. Lengths are followed, contents are
skipped. The kinds are those of Redis 6.2 to 8 and Valkey 8, modules left out.
"""

from __future__ import annotations

import mmap
from typing import Final

from decision.core.errors import NextbestError

MAGIC: Final = b"REDIS"

_EOF: Final = 0xFF
_CHECKSUM: Final = 8
_STRINGS: Final = {0: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1, 16: 1, 17: 1, 20: 1}
"""Kind → strings in a value; 9 to 13, 16, 17 and 20 are packed into one."""
_LISTS: Final = {1: 1, 2: 1, 4: 2, 14: 1}
"""Kind → strings per entry of a value that begins with a count of entries."""
_OPCODES: Final = {0xFA: "ss", 0xFE: "n", 0xFB: "nn", 0xFD: "4", 0xFC: "8", 0xF8: "n", 0xF9: "1",
                   0xF5: "s", 0xF4: "nnn"}  # fmt: skip
"""What follows each: strings, numbers, or that count of bytes."""


class UnknownSnapshot(NextbestError):
    """It has a kind that is not known here."""


def end_of_snapshot(data: mmap.mmap | bytes) -> int:
    """The offset after the snapshot at the beginning of `data`.

    Raises:
        IndexError: the data ends before it does.
        UnknownSnapshot: it holds something that is not known here.
    """
    reader = _Reader(data)
    reader.skip(9)  # REDIS and four digits
    while (kind := reader.byte()) != _EOF:
        if kind in _OPCODES:
            reader.fields(_OPCODES[kind])
        else:
            reader.string()  # the key
            reader.value(kind)
    reader.skip(_CHECKSUM)
    return reader.at


class _Reader:
    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        self._size = len(data)
        self.at = 0

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > self._size:
            raise IndexError("the snapshot is cut off")

    def byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _length(self) -> tuple[int, bool]:
        """A number, and whether it names a special encoding instead."""
        first = self.byte()
        form = first >> 6
        if form == 0:
            return first, False
        if form == 1:
            return (first & 0x3F) << 8 | self.byte(), False
        if form == 3:
            return first & 0x3F, True
        size = {0x80: 4, 0x81: 8}.get(first)
        if size is None:
            raise UnknownSnapshot(f"a length that begins with {first:#x}")
        self.skip(size)
        return int.from_bytes(self._data[self.at - size : self.at], "big"), False

    def number(self) -> int:
        number, special = self._length()
        if special:
            raise UnknownSnapshot("an encoded length")
        return number

    def string(self) -> None:
        number, special = self._length()
        if not special:
            self.skip(number)
        elif number in (0, 1, 2):  # an integer of 1, 2 or 4 bytes
            self.skip(1 << number)
        elif number == 3:  # compressed
            packed = self.number()
            self.number()
            self.skip(packed)
        else:
            raise UnknownSnapshot(f"a string of encoding {number}")

    def strings(self, count: int) -> None:
        for _ in range(count):
            self.string()

    def fields(self, what: str) -> None:
        for each in what:
            if each == "s":
                self.string()
            elif each == "n":
                self.number()
            else:
                self.skip(int(each))

    def value(self, kind: int) -> None:
        if kind in _STRINGS:
            self.strings(_STRINGS[kind])
        elif kind in _LISTS:
            self.strings(self.number() * _LISTS[kind])
        elif kind == 18:  # a list whose nodes say whether they are packed
            for _ in range(self.number()):
                self.fields("ns")
        elif kind == 5:  # a sorted set: members, and scores of 8 bytes
            for _ in range(self.number()):
                self.fields("s8")
        elif kind in (15, 19, 21):
            self._stream(kind)
        else:
            raise UnknownSnapshot(f"a value of kind {kind}")

    def _stream(self, kind: int) -> None:
        self.strings(2 * self.number())
        self.fields("nnn" if kind == 15 else "nnnnnnnn")
        for _ in range(self.number()):  # groups
            self.fields("snn" if kind == 15 else "snnn")
            for _ in range(self.number()):
                self.skip(16 + 8)
                self.number()
            for _ in range(self.number()):  # consumers
                self.string()
                self.skip(16 if kind == 21 else 8)
                self.skip(16 * self.number())
