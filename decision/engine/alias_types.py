"""The types that aliases have, so that somebody can be looked for without naming one.

The store keeps no list of aliases by type: each process notes the types that it meets. Only plain
names are noted: in a type with digits or an address in it, somebody may be named, and an erasure
does not look here.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from decision.core.counts import CountStore
from decision.core.errors import StoreUnavailable
from decision.engine.runtime import Runtime

USUAL: Final = ("email", "phone", "user_id", "anonymous_id", "device_id", "openid")
"""Types that are tried first, also where none was noted."""

MOST: Final = 64
"""How many types are noted; others are found by `type:value`."""

_PLAIN: Final = re.compile(r"[a-z][a-z _.-]{0,31}", re.IGNORECASE)
_NAME: Final = "alias_types"
_LASTS: Final = 3650 * 24 * 3600 * 1000
_KIND: Final = "t\0"


async def note(runtime: Runtime, types: Collection[str]) -> None:
    """Notes types that an alias was given; those that this process has noted cost nothing.

    What cannot be noted now is noted another time.
    """
    new = {one for one in types if _PLAIN.fullmatch(one)} - runtime.alias_types
    if new and len(runtime.alias_types) < MOST:
        with suppress(StoreUnavailable):
            fields = {_KIND + one: 1 for one in sorted(new)}
            await runtime.store.add_counts(_NAME, fields, MOST, _LASTS)
            runtime.alias_types |= new


async def known(store: CountStore) -> list[str]:
    """The types to try: the usual ones, then those that were noted, those met most often first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    [noted] = await store.counts([_NAME])
    most = sorted(noted, key=lambda field: (-noted[field], field))
    return list(dict.fromkeys((*USUAL, *(one[2:] for one in most if one.startswith(_KIND)))))
