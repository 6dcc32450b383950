"""A sample of a store's customers, to see what their documents usually hold."""

from __future__ import annotations

import asyncio

from decision.core.document import Document
from decision.store.codec import UnreadableDocument
from decision.store.redis_store import RedisStore

_AT_ONCE = 64


async def sample_customers(store: RedisStore, count: int, *, rounds: int = 2_000) -> list[Document]:
    """Up to `count` customers, in the order in which Redis walks its keys: that of their hashes.

    At most `rounds` parts of its keys are looked at, so that many keys of other kinds cost no more
    time. A document that cannot be read is left out.

    Raises:
        StoreUnavailable: the store could not be reached.
    """
    ids = await _ids(store, count, rounds)
    found: list[Document] = []
    for start in range(0, len(ids), _AT_ONCE):
        reads = (_read(store, one) for one in ids[start : start + _AT_ONCE])
        found += [document for document in await asyncio.gather(*reads) if document is not None]
    return found


async def _read(store: RedisStore, customer_id: str) -> Document | None:
    try:
        return (await store.read(customer_id)).document
    except UnreadableDocument:
        return None


async def _ids(store: RedisStore, count: int, rounds: int) -> list[str]:
    found: dict[str, None] = {}
    async for ids in store.customer_ids():
        found.update(dict.fromkeys(ids))
        rounds -= 1
        if not rounds or len(found) >= count:
            break
    return list(found)[:count]
