"""A store that is lost at one step of a decision or an event, before it is done or after."""

from __future__ import annotations

from typing import Any

from decision.core.errors import StoreUnavailable
from decision.core.ports import Commit
from decision.store import MemoryStore
from tests.engine.conftest import Clock


class Dying(MemoryStore):
    """While `dies` is set, it is lost at the step `lost`: after codes are taken (`take`),
    before the `commit` or `after the commit`, before budgets are settled (`settle`).
    """

    def __init__(self, clock: Clock, lost: str) -> None:
        super().__init__(lambda: clock.now / 1_000_000)
        self.lost = lost
        self.dies = False

    def _reach(self, step: str, *, done: bool) -> None:
        if self.dies and self.lost == step:
            raise StoreUnavailable("down", uncertain=done)

    async def take_codes(self, *args: Any, **more: Any) -> Any:
        found = await super().take_codes(*args, **more)
        self._reach("take", done=True)
        return found

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        self._reach("commit", done=False)
        found = await super().commit(commit, timeout=timeout)
        self._reach("after the commit", done=True)
        return found

    async def settle_budgets(self, token: str, message: str, rank: int) -> None:
        self._reach("settle", done=False)
        await super().settle_budgets(token, message, rank)
