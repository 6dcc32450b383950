"""Follows what `nextbest publish` has put into the store, for servers that run that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from decision.core.errors import NotReady
from decision.engine.snapshot import PolicyRefused
from decision.observability import get_logger
from decision.releases.publishing import (
    Publication,
    files_of,
    history,
    published,
    versions_standing,
)
from decision.rulebook.checking import check_files

if TYPE_CHECKING:
    from decision.server.supply import PolicySupply

NOTHING_PUBLISHED: Final = "nothing is published yet: run nextbest publish RULES"

_TRIED_AT_START: Final = 5

_log = get_logger()


class PublishedPolicies:
    """The publications that one worker's supply follows."""

    def __init__(self, supply: PolicySupply) -> None:
        self._supply = supply
        self._store = supply.engine.runtime.store
        self._followed: Publication | None = None

    async def check(self, version: str | None) -> str:
        """Checks and tries a published policy, the last one for None; its version."""
        if version is None:
            entry = await published(self._store)
            if entry is None:
                raise NotReady(NOTHING_PUBLISHED)
            version = entry.version
        files = await files_of(self._store, version)
        if files is None:
            raise PolicyRefused(f"the files of policy {version} are not in the store")
        return await check_files(files, self._supply.shared.folder, f"published policy {version}")

    async def start(self) -> None:
        """Puts in force what is published, or, where that is refused, what was before it.

        One worker does so; the others say what it waits for.
        """
        supply = self._supply
        entries, leads = await history(self._store), supply.shared.lead()
        if not entries:
            if supply.waits_for is None and leads:
                _log.warning("waits", problem=NOTHING_PUBLISHED)
            supply.waits_for = NOTHING_PUBLISHED
            return
        if not leads:
            refusal = supply.shared.refusal()
            supply.waits_for = None if refusal is None else _unusable(refusal.detail)
            return
        if entries[-1] == self._followed:
            return
        refused = None
        for version in versions_standing(entries)[: -_TRIED_AT_START - 1 : -1]:
            try:
                await supply.reload("start", version)
            except PolicyRefused as error:
                refused = supply.shared.refusal()
                supply.waits_for = _unusable(str(error))
                continue
            if version != entries[-1].version and refused is not None:
                supply.shared.refuse("start", refused.detail, refused.errors, refused.count)
            break
        self._followed = entries[-1]

    async def follow(self) -> None:
        """Puts in force what was published since."""
        entry = await published(self._store)
        if entry is None or entry == self._followed:
            return
        in_force = self._supply.shared.in_force()
        if in_force is None or in_force.version != entry.version or self._followed is not None:
            await self._supply.try_reload(entry.kind)
        self._followed = entry


def _unusable(why: str) -> str:
    return f"what is published cannot be used: {why}"
