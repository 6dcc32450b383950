"""Published policies: one history in the store; its last entry is in force on every follower.

An entry is appended in one step, so of two publications at once the later is in force, and both
are in the history. The files of each are kept under their version, and never deleted: decisions
that were made with them are explained from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from decision.core.definition import PolicyDefinition
from decision.core.history import standing
from decision.core.ports import BlobStore
from decision.core.schema import Moment
from decision.engine.snapshot import policy_blob
from decision.store.damage import decoded

HISTORY: Final = "published"
"""The store's named history of publications."""

KEPT: Final = 1000
"""How many publications the history holds."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: which policy was put in force, when, by whom and why."""

    version: str
    at: Moment
    by: str
    message: str = ""
    kind: Literal["publish", "rollback"] = "publish"


_publication = msgspec.msgpack.Decoder(Publication).decode
_files = msgspec.msgpack.Decoder(dict[str, str]).decode


async def publish(
    store: BlobStore, definition: PolicyDefinition, by: str, message: str, at: Moment
) -> Publication:
    """Puts a checked policy in force on every server that follows what is published.

    Raises:
        StoreUnavailable: the store does not answer; nothing is published, or, where that is
            uncertain, trying again does no harm.
    """
    files = msgspec.msgpack.encode(dict(definition.files))
    await store.put_blob(policy_blob(definition.version), files)
    entry = Publication(version=definition.version, at=at, by=by, message=message)
    await _append(store, entry)
    return entry


async def roll_back(
    store: BlobStore, version: str, by: str, message: str, at: Moment
) -> Publication | None:
    """Puts a policy in force again; None where its files are not in the store.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if await files_of(store, version) is None:
        return None
    entry = Publication(version=version, at=at, by=by, message=message, kind="rollback")
    await _append(store, entry)
    return entry


async def published(store: BlobStore) -> Publication | None:
    """What is published now, or None where nothing ever was.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    return next(iter(await history(store, 1)), None)


async def history(store: BlobStore, last: int | None = None) -> list[Publication]:
    """The last publications, or all that are kept; oldest first.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    entries = await store.history(HISTORY, last)
    return [decoded(f"the history {HISTORY}", entry, _publication) for entry in entries]


async def files_of(store: BlobStore, version: str) -> dict[str, str] | None:
    """The files of a policy that was in force or published once.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    data = await store.get_blob(policy_blob(version))
    return None if data is None else decoded(f"the policy {version}", data, _files)


def versions_standing(entries: Sequence[Publication]) -> list[str]:
    """What a rollback returns to, oldest first; the version in force is last."""
    return standing((entry.version, entry.kind == "rollback") for entry in entries)


async def _append(store: BlobStore, entry: Publication) -> None:
    await store.append_history(HISTORY, msgspec.msgpack.encode(entry), KEPT)
