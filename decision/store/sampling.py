"""A sample of a store's customers, to see what their documents usually hold."""

from __future__ import annotations

import asyncio
import re

from decision.core.document import Document
from decision.store.codec import UnreadableDocument
from decision.store.keys import escape_pattern
from decision.store.redis_store import RedisStore

_ROUND = 1_000
_AT_ONCE = 64


async def sample_customers(store: RedisStore, count: int, *, rounds: int = 500) -> list[Document]:
    """Up to `count` customers, in the order in which Redis walks its keys: that of their hashes.

    At most `rounds` thousand keys are looked at, so that many keys of other kinds cost no more
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
    prefix = store.keys.prefix
    pattern = escape_pattern(prefix) + "{p*}:c:*"
    key_of_customer = re.compile(re.escape(prefix.encode()) + rb"\{p\d+\}:c:(.*)", re.DOTALL)
    found: dict[str, None] = {}
    cursor: bytes | int = 0
    for _ in range(rounds):
        command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _ROUND)
        cursor, keys = await store.connection.call(command, 10.0)
        for key in keys:
            if fits := key_of_customer.fullmatch(key):
                found[fits[1].decode("utf-8", "surrogateescape")] = None
        if int(cursor) == 0 or len(found) >= count:
            break
    return list(found)[:count]
