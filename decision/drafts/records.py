"""The records of drafts: read, changed by compare-and-set, and the files that they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from decision.core.drafting import DraftWrite, HistoryEntry
from decision.core.errors import NotFound
from decision.core.ports import Store
from decision.drafts.draft import Draft, DraftChanged, text_name
from decision.drafts.files import overlay
from decision.drafts.published import all_files
from decision.drafts.texts import pack, size_of, unpack, with_texts
from decision.store.damage import decoded

ATTEMPTS: Final = 20
"""How often a change is made again because somebody else was first."""

_BASES_KEPT: Final = 4

decode_draft = msgspec.msgpack.Decoder(Draft).decode


class DraftRecords:
    """The drafts of a store. `now` gives the time.

    Every method raises `StoreUnavailable` where the store does not answer: where that is
    uncertain, the same call again does no harm. Who names a draft that is not there gets
    `NotFound`.
    """

    def __init__(
        self, store: Store, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.store = store
        self.now = now
        self._bases: dict[tuple[str, str], Mapping[str, str]] = {}

    async def get(self, draft_id: str) -> Draft:
        """One draft."""
        return (await self.read(draft_id))[1]

    async def files(self, draft: Draft) -> dict[str, str]:
        """All files of a draft by name: what it is built upon, with its changes."""
        return overlay(await self.base_of(draft), await self.changes_of(draft))

    async def base_of(self, draft: Draft) -> Mapping[str, str]:
        """The files upon which a draft is built."""
        key = (draft.base, draft.base_tests)
        if key not in self._bases:
            self._bases[key] = await all_files(self.store, *key)
            while len(self._bases) > _BASES_KEPT:
                del self._bases[next(iter(self._bases))]
        return self._bases[key]

    async def changes_of(self, draft: Draft) -> dict[str, str | None]:
        """The files that a draft changes, None for one that it removes."""
        names = {change.text for change in draft.files.values()} - {None}
        kept = await self.store.draft_texts(draft.id, sorted(name for name in names if name))
        texts = {name: await unpack(name, data) for name, data in kept.items()}
        found: dict[str, str | None] = {}
        for file, change in draft.files.items():
            if change.text is not None and change.text not in texts:
                raise NotFound(f"draft {draft.id} has lost its text of {file}; look at it again")
            found[file] = None if change.text is None else texts[change.text]
        return found

    async def text(self, draft: Draft, name: str) -> str | None:
        """A text that the draft has or had, or one that was rejected; None where it is not kept."""
        found = await self.store.draft_texts(draft.id, [name])
        return await unpack(name, found[name]) if name in found else None

    async def read(self, draft_id: str) -> tuple[bytes, Draft]:
        """The record as it is kept, and the draft."""
        raw = await self.store.draft_record(draft_id)
        if raw is None:
            raise NotFound(f"there is no draft {draft_id[:40]!r}")
        return raw, decoded(f"the draft {draft_id}", raw, decode_draft)

    async def update(self, draft_id: str, change: Callable[[Draft], Draft]) -> Draft:
        """Changes a draft; again, where somebody else was first."""
        for _ in range(ATTEMPTS):
            raw, draft = await self.read(draft_id)
            written = await self.write(raw, draft, change(draft))
            if written is not None:
                return written
        raise too_often(draft_id)

    async def write(
        self,
        raw: bytes | None,
        before: Draft | None,
        after: Draft,
        texts: Iterable[str | None] = (),
        entry: HistoryEntry | None = None,
    ) -> Draft | None:
        """The draft as it was written, with these texts; None where it had changed meanwhile."""
        if after == before and entry is None:
            return before
        fresh = {text_name(text): text for text in texts if text is not None}
        packed = {name: await pack(text) for name, text in fresh.items() if name not in after.texts}
        sizes = {name: size_of(fresh[name], data) for name, data in packed.items()}
        after, dropped = with_texts(after, sizes)
        write = DraftWrite(
            was=raw,
            record=msgspec.msgpack.encode(after),
            texts={name: data for name, data in packed.items() if name not in dropped},
            drop=[name for name in dropped if name not in packed],
            entry=entry,
        )
        return after if await self.store.write_draft(after.id, write) else None


def too_often(draft_id: str) -> DraftChanged:
    """The error where others were first again and again."""
    return DraftChanged(f"draft {draft_id} is changed by others all the time; try again")
