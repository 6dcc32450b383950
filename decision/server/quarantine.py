"""What was rejected of events, however they came in: the last of it, to be looked at.

No content of an event is kept, and nothing that names a customer: an erasure has nothing to
remove here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from decision.core.ports import BlobStore
from decision.intake.rejected import about
from decision.store.damage import readable

_HISTORY: Final = "quarantine"
"""The store's named history of entries."""

KEPT: Final = 1000
_OF_A_REQUEST: Final = 100
_LONGEST: Final = 500


class Quarantined(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rejected event: when and from whom it came, what it says of itself, and why.

    `key` is the name of the API key, `index` the event's place in its request or message; `place`
    is topic, partition and offset of a message.
    """

    at: datetime
    source: str
    detail: str
    index: int
    key: str | None = None
    place: str | None = None
    kind: str | None = None
    event: str | None = None
    id: str | None = None


_decode: Final = msgspec.msgpack.Decoder(Quarantined).decode


class Quarantine(msgspec.Struct, frozen=True):
    """The last rejected events, the newest first."""

    rejected: list[Quarantined]


async def quarantine(store: BlobStore, entries: Sequence[Quarantined]) -> None:
    """Keeps rejected events that came together: the first hundred, the others being like them.

    Raises:
        StoreUnavailable: some may not be kept.
    """
    for entry in entries[:_OF_A_REQUEST]:
        short = msgspec.structs.replace(entry, detail=entry.detail[:_LONGEST])
        await store.append_history(_HISTORY, msgspec.msgpack.encode(short), KEPT)


async def quarantined(store: BlobStore) -> Quarantine:
    """The last 1,000 rejected events."""
    found = readable(_HISTORY, await store.history(_HISTORY, KEPT), _decode)
    return Quarantine(found[::-1])


def entry_about(raw: bytes, detail: str, **where: Any) -> Quarantined:
    """The entry of an event that was rejected; `where` it came from are the other fields."""
    told, names = about(raw)
    fields: dict[str, Any] = {**where, **told}
    return Quarantined(detail=without_names(detail, names), **fields)


def without_names(detail: str, names: Sequence[str]) -> str:
    """A text that quotes none of these.

    >>> without_names("01J is not a decision for customer 'c-1'", ["c-1"])
    "01J is not a decision for customer '…'"
    """
    for name in names:
        for quote in "'\"":
            detail = detail.replace(f"{quote}{name[:60]}{quote}", f"{quote}…{quote}")
    return detail
