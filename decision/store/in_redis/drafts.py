"""Drafts in Redis: a hash of all records, and a hash of texts for each draft."""

from __future__ import annotations

from collections.abc import Sequence

from decision.core.drafting import DraftWrite
from decision.store import damage
from decision.store.in_redis.base import RedisBase
from decision.store.pipelined_connection import Argument, Command


class RedisDrafts(RedisBase):
    """Implements `DraftStore`."""

    async def draft_records(self) -> dict[str, bytes]:
        flat = await self._caller()(("HGETALL", self.keys.drafts))
        return dict(damage.fields(self.keys.drafts, flat))

    async def draft_record(self, draft_id: str) -> bytes | None:
        data: bytes | None = await self._caller()(("HGET", self.keys.drafts, draft_id))
        return data

    async def draft_texts(self, draft_id: str, names: Sequence[str]) -> dict[str, bytes]:
        key = self.keys.draft_texts(draft_id)
        commands: list[Command] = [("HGET", key, name) for name in names]
        found = await self.connection.pipeline(commands, self._timeout) if commands else []
        return {name: text for name, text in zip(names, found, strict=True) if text is not None}

    async def write_draft(self, draft_id: str, write: DraftWrite) -> bool:
        entry, keys = write.entry, [self.keys.drafts, self.keys.draft_texts(draft_id)]
        arguments: list[Argument] = [draft_id, write.was or b"", write.record or b""]
        if entry is not None:
            keys.append(self.keys.history(entry.history))
            arguments += [entry.last or b"", entry.entry, entry.keep]
        else:
            arguments += [b"", b"", 0]
        arguments += [len(write.drop), *write.drop]
        for name, text in write.texts.items():
            arguments += [name, text]
        return bool(await self._run("write_draft", keys, arguments))
