"""What the store keeps of drafts of rule files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for a named history whose last entry still is `last`; None: it has none yet.

    Only the last `keep` entries stay.
    """

    history: str
    last: bytes | None
    entry: bytes
    keep: int


class DraftWrite(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a draft, all of it or nothing.

    `was` is the record as it was read, None for a new draft; `record` what it becomes, None to
    remove it with all its texts. `texts` are added and `drop` are removed, by name. `entry` is
    appended to a history in the same step.
    """

    was: bytes | None
    record: bytes | None
    texts: Mapping[str, bytes] = {}
    drop: Sequence[str] = ()
    entry: HistoryEntry | None = None


class DraftStore(Protocol):
    """Drafts: a record each, which changes by compare-and-set alone, and texts that it names."""

    async def draft_records(self) -> dict[str, bytes]:
        """Every record, by the id of its draft."""

    async def draft_record(self, draft_id: str) -> bytes | None: ...

    async def draft_texts(self, draft_id: str, names: Sequence[str]) -> dict[str, bytes]:
        """Those of the texts that are there."""

    async def write_draft(self, draft_id: str, write: DraftWrite) -> bool:
        """Whether it was written: not where the record or the history is no longer as read."""
