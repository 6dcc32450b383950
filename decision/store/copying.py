"""Keys of the store as a backup has them, whatever they are prefixed with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, Protocol

import msgspec

ValueType = Literal["string", "list", "hash", "zset", "stream", "ends"]
"""`ends` stands after the last part of a stream: the id of its last entry ever, then readers and
their positions by turns."""


class CopiedKey(msgspec.Struct, array_like=True, frozen=True):
    """A key without its prefix, and what is in it, or a part of that.

    `data` of a string is one item; of a list its items; of a hash fields and values by turns; of a
    sorted set members and scores; of a stream ids of entries, each followed by the number of its
    parts, and these. `ends` is when the key goes, milliseconds since 1970, 0 for never. `part`
    counts the parts of one that is read in pieces, from 0.
    """

    key: bytes
    type: ValueType
    data: list[bytes]
    ends: int = 0
    part: int = 0


class CopiedKeys(msgspec.Struct, array_like=True, frozen=True):
    """Keys as they were together at a time, milliseconds of the store's clock."""

    at: int
    keys: list[CopiedKey]


class CopyStore(Protocol):
    """Reads all keys, and writes them elsewhere."""

    async def count_keys(self) -> int:
        """About how many keys there are, with those of others in the same database."""

    def copies(self) -> AsyncIterator[list[CopiedKeys]]:
        """All that belongs in a backup, portion by portion; see `kinds_of_keys`.

        A key may come twice: the later one counts.

        Raises:
            StoreUnavailable: it does not answer, or a key may have been missed: begin again.
        """

    async def write_copies(self, copies: Sequence[CopiedKey]) -> dict[bytes, bytes]:
        """Writes keys; part 0 replaces what was written before under the same key.

        Returns strings that were replaced. Nobody else may write meanwhile.
        """

    async def learn_names(self) -> None:
        """Learns what the documents' numbers mean, once the register was written."""

    async def foreign_keys(self, most: int) -> list[bytes]:
        """Some keys, without prefix, that would stand beside those of a backup."""

    async def delete_all(self) -> int:
        """Removes every key with the prefix; how many."""

    async def mark_incomplete(self, incomplete: bool) -> None:
        """Says that keys may be missing, so that no server starts on them, or that none is."""
