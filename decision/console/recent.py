"""The newest decisions of the store's log, which pages of a worker share for some seconds."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

from decision.core.errors import NotReady

if TYPE_CHECKING:
    from decision.analytics.candidates.recent import RecentCandidates, RecentLog
    from decision.core.definition import PolicyDefinition
    from decision.engine import Engine

_FRESH: Final = 15.0
"""Seconds for which they are not read again."""


class Recent:
    """The newest decisions, so many at most as a page asks for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = asyncio.Lock()
        self._kept: dict[int, tuple[float, RecentCandidates]] = {}

    async def get(self, most: int) -> RecentCandidates:
        """The newest decisions; of several that ask at once, one reads them.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        from decision.analytics.candidates.recent import read_recent

        async with self._lock:
            kept, now = self._kept.get(most), time.monotonic()
            if kept is None or now - kept[0] > _FRESH:
                log = cast("RecentLog", self._engine.runtime.store)  # every store is one
                kept = self._kept[most] = now, await read_recent(log, most, self._in_force())
            return kept[1]

    def _in_force(self) -> dict[str, PolicyDefinition]:
        try:
            definition = self._engine.snapshot.policy.definition
        except NotReady:
            return {}
        return {definition.version: definition}
