"""The journeys of rules that a store was used with: where runs wait that an edit moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from decision.core.errors import StoreUnavailable
from decision.core.journeys.definition import Journey
from decision.releases.publishing import files_of, published
from decision.rulebook.reader import load_files
from decision.store.redis_store import RedisStore


def earlier_journeys(url: str, versions: Iterable[str], key_prefix: str = "nb:") -> list[Journey]:
    """The journeys of the policy that is published, then of these `versions`.

    What the store does not have, or cannot be read any more, is left out: this is for hints.
    """
    return asyncio.run(_read(url, key_prefix, versions))


async def _read(url: str, key_prefix: str, versions: Iterable[str]) -> list[Journey]:
    found: list[Journey] = []
    store = RedisStore(url, prefix=key_prefix)
    try:
        await store.start()
        entry = await published(store)
        for version in dict.fromkeys([*([entry.version] if entry else ()), *versions]):
            definition = load_files(await files_of(store, version) or {}).definition
            found += definition.journeys if definition is not None else ()
    except (StoreUnavailable, ValueError):
        pass
    finally:
        await store.close()
    return found
