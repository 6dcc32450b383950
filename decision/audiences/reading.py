"""Reads customers for a run, a few at once, at a pace that others do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from decision.core.document import Document
from decision.core.ports import DocumentStore
from decision.store.codec import UnreadableDocument

_AT_ONCE: Final = 50
"""Documents asked for at once: Redis does nothing else meanwhile."""

_LONGEST_CHAIN: Final = 64

Sleep = Callable[[float], Awaitable[None]]


class Reading:
    """Customers as they are now. `rate` is how many are read in a second at most."""

    def __init__(self, store: DocumentStore, rate: float | None, sleep: Sleep) -> None:
        self._store = store
        self._rate = rate
        self._sleep = sleep
        self._begun, self._count = monotonic(), 0

    async def followed(self, names: Sequence[str]) -> AsyncIterator[tuple[str, Document | None]]:
        """Customers by the names that they had, as they are now; None for what cannot be read."""
        for name, found in zip(names, await self.documents(names), strict=True):
            document = found
            for _ in range(_LONGEST_CHAIN):
                if document is None or document.moved_to is None:
                    break
                (document,) = await self.documents([document.moved_to])
            yield name, document

    async def documents(self, names: Sequence[str]) -> list[Document | None]:
        found: list[Document | None] = []
        for start in range(0, len(names), _AT_ONCE):
            several = names[start : start + _AT_ONCE]
            found += await asyncio.gather(*map(self._read, several))
            await self._pace(len(several))
        return found

    async def _read(self, name: str) -> Document | None:
        try:
            return (await self._store.read(name)).document
        except UnreadableDocument:
            return None

    async def _pace(self, count: int) -> None:
        """Waits where customers are read faster than they may."""
        if self._rate is None:
            return
        self._count += count
        early = self._begun + self._count / self._rate - monotonic()
        if early > 0:
            await self._sleep(early)
