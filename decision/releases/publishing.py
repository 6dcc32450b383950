"""Published policies: one history in the store; its last entry is in force on every follower.

An entry is appended in one step, so of two publications at once the later is in force, and both
are in the history. The files of each are kept under their version, and never deleted: decisions
that were made with them are explained from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from decision.core.definition import PolicyDefinition
from decision.core.history import standing
from decision.core.ports import BlobStore
from decision.core.schema import Moment
from decision.engine.snapshot import policy_blob
from decision.rulebook.reader import policy_version
from decision.store.damage import decoded

HISTORY: Final = "published"
"""The store's named history of publications."""

KEPT: Final = 1000
"""How many publications the history holds."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """One entry: which policy was put in force, when, by whom and why.

    `tests` names its scenario tests, where they were published with it (`put_tests`); `draft` is
    the id of the draft that was published.
    """

    version: str
    at: Moment
    by: str
    message: str = ""
    kind: Literal["publish", "rollback"] = "publish"
    tests: str = ""
    draft: str = ""


_publication = msgspec.msgpack.Decoder(Publication).decode
_files = msgspec.msgpack.Decoder(dict[str, str]).decode


async def publish(
    store: BlobStore,
    definition: PolicyDefinition,
    by: str,
    message: str,
    at: Moment,
    tests: Mapping[str, str] = {},
) -> Publication:
    """Puts a checked policy in force on every server that follows what is published.

    `tests` are the files of its scenario tests, by names such as `tests/cart.yaml`.

    Raises:
        StoreUnavailable: the store does not answer; nothing is published, or, where that is
            uncertain, trying again does no harm.
    """
    await put_files(store, definition.version, definition.files)
    entry = Publication(
        version=definition.version,
        at=at,
        by=by,
        message=message,
        tests=await put_tests(store, tests),
    )
    await store.append_history(HISTORY, encode_publication(entry), KEPT)
    return entry


async def roll_back(
    store: BlobStore, version: str, by: str, message: str, at: Moment, after: bytes | None = None
) -> Publication | None:
    """Puts a policy in force again; None where its files are not in the store, or where the last
    entry of the history is not `after` any more (None: whatever it is).

    Raises:
        StoreUnavailable: the store does not answer.
    """
    if await files_of(store, version) is None:
        return None
    before = [entry.tests for entry in await history(store) if entry.version == version]
    entry = Publication(
        version=version,
        at=at,
        by=by,
        message=message,
        kind="rollback",
        tests=before[-1] if before else "",
    )
    added = await store.append_history(HISTORY, encode_publication(entry), KEPT, after)
    return entry if added else None


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
    return [decode_publication(entry) for entry in entries]


async def files_of(store: BlobStore, version: str) -> dict[str, str] | None:
    """The files of a policy that was in force or published once.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    data = await store.get_blob(policy_blob(version))
    return None if data is None else decoded(f"the policy {version}", data, _files)


async def tests_of(store: BlobStore, tests: str) -> dict[str, str]:
    """The scenario tests that `Publication.tests` names; none where it names none.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    data = await store.get_blob(_tests_blob(tests)) if tests else None
    return {} if data is None else decoded(f"the tests {tests}", data, _files)


async def put_files(store: BlobStore, version: str, files: Mapping[str, str]) -> None:
    """Keeps the files of a policy, for good."""
    await store.put_blob(policy_blob(version), msgspec.msgpack.encode(dict(files)))


async def put_tests(store: BlobStore, files: Mapping[str, str]) -> str:
    """Keeps the files of scenario tests, for good; their name, "" where there are none."""
    if not files:
        return ""
    name = tests_name(files)
    await store.put_blob(_tests_blob(name), msgspec.msgpack.encode(dict(sorted(files.items()))))
    return name


def tests_name(files: Mapping[str, str]) -> str:
    """What `put_tests` names these files."""
    return policy_version({name: text.encode() for name, text in files.items()}) if files else ""


def encode_publication(entry: Publication) -> bytes:
    """An entry as the history keeps it."""
    return msgspec.msgpack.encode(entry)


def decode_publication(data: bytes) -> Publication:
    """An entry of the history.

    Raises:
        DamagedValue: nextbest did not write it.
    """
    return decoded(f"the history {HISTORY}", data, _publication)


def versions_standing(entries: Sequence[Publication]) -> list[str]:
    """What a rollback returns to, oldest first; the version in force is last."""
    return standing((entry.version, entry.kind == "rollback") for entry in entries)


def _tests_blob(name: str) -> str:
    return f"tests:{name}"
