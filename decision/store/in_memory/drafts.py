"""Drafts in memory."""

from __future__ import annotations

from collections.abc import Sequence

from decision.core.drafting import DraftWrite
from decision.store.in_memory.base import Clock
from decision.store.in_memory.blobs import MemoryBlobs


class MemoryDrafts(MemoryBlobs):
    """Implements `DraftStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._draft_records: dict[str, bytes] = {}
        self._draft_texts: dict[str, dict[str, bytes]] = {}

    async def draft_records(self) -> dict[str, bytes]:
        return dict(self._draft_records)

    async def draft_record(self, draft_id: str) -> bytes | None:
        return self._draft_records.get(draft_id)

    async def draft_texts(self, draft_id: str, names: Sequence[str]) -> dict[str, bytes]:
        texts = self._draft_texts.get(draft_id, {})
        return {name: texts[name] for name in names if name in texts}

    async def write_draft(self, draft_id: str, write: DraftWrite) -> bool:
        entry = write.entry
        if self._draft_records.get(draft_id) != write.was:
            return False
        if entry is not None:
            if next(iter(await self.history(entry.history, 1)), None) != entry.last:
                return False
            await self.append_history(entry.history, entry.entry, entry.keep)
        if write.record is None:
            self._draft_records.pop(draft_id, None)
            self._draft_texts.pop(draft_id, None)
            return True
        self._draft_records[draft_id] = write.record
        texts = self._draft_texts.setdefault(draft_id, {})
        for name in write.drop:
            texts.pop(name, None)
        texts.update(write.texts)
        return True
