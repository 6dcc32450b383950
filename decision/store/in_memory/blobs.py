"""Named values and histories in memory."""

from __future__ import annotations

from collections import defaultdict

from decision.store.in_memory.base import Clock, MemoryBase


class MemoryBlobs(MemoryBase):
    """Implements `BlobStore`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._blobs: dict[str, bytes] = {}
        self._histories: defaultdict[str, list[bytes]] = defaultdict(list)

    async def put_blob(self, name: str, data: bytes) -> None:
        self._blobs[name] = data

    async def get_blob(self, name: str) -> bytes | None:
        return self._blobs.get(name)

    async def append_history(
        self, name: str, entry: bytes, keep: int, after: bytes | None = None
    ) -> bool:
        if after is not None and self._histories[name][-1:] != [after]:
            return False
        self._histories[name] = [*self._histories[name], entry][-keep:]
        return True

    async def history(self, name: str, last: int | None = None) -> list[bytes]:
        entries = self._histories[name]
        return list(entries if last is None else entries[-last:])
