"""What is published, with its scenario tests: what drafts begin with, and what they change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import msgspec

from decision.core.errors import NotFound
from decision.core.ports import BlobStore
from decision.drafts.line_diff import FileDiff, diff_files
from decision.drafts.texts import beside
from decision.releases.publishing import (
    HISTORY,
    Publication,
    decode_publication,
    files_of,
    tests_of,
)


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The last publication, None before the first, and its files: rules and `tests/…`.

    `entry` is the publication as the history has it: whether there has been another one since.
    """

    publication: Publication | None
    files: Mapping[str, str]
    entry: bytes | None

    @property
    def base(self) -> tuple[str, str]:
        """Version and tests, as drafts name what they are built upon."""
        entry = self.publication
        return ("", "") if entry is None else (entry.version, entry.tests)


async def in_force(store: BlobStore) -> InForce:
    """What is published now.

    Raises:
        StoreUnavailable: the store does not answer.
        NotFound: it has lost the files.
    """
    entries = await store.history(HISTORY, 1)
    if not entries:
        return InForce(publication=None, files={}, entry=None)
    publication = decode_publication(entries[-1])
    files = await all_files(store, publication.version, publication.tests)
    return InForce(publication=publication, files=files, entry=entries[-1])


async def all_files(store: BlobStore, version: str, tests: str) -> dict[str, str]:
    """Rule files and scenario tests of a publication; none for "".

    Raises:
        StoreUnavailable: the store does not answer.
        NotFound: it has lost the files.
    """
    if not version:
        return {}
    files = await files_of(store, version)
    if files is None:
        raise NotFound(f"the files of policy {version} are not in the store; publish it again")
    return {**files, **await tests_of(store, tests)}


async def diff_publications(
    store: BlobStore, old: Publication | None, new: Publication
) -> list[FileDiff]:
    """What differs between two publications, rules and scenario tests; None: nothing was before.

    Raises:
        StoreUnavailable: the store does not answer.
        NotFound: it has lost the files of one of them.
    """
    before = {} if old is None else await all_files(store, old.version, old.tests)
    after = await all_files(store, new.version, new.tests)
    size = sum(len(text) for files in (before, after) for text in files.values())
    return await beside(partial(diff_files, before, after), size)
