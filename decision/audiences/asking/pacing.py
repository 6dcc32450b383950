"""Parts of a run that go side by side, so that the order by value holds over all of them.

Customers fall into parts at random, so that as far into a part, about as much is expected of them
as in any other. So no part may be further than the slowest, by more than a little: else it would
take what is scarce for customers of whom less is expected than of others' that wait.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import Final

from decision.audiences.reading import Sleep
from decision.core.clock import DAY, MILLISECOND
from decision.core.counts import CountStore
from decision.core.errors import StoreUnavailable
from decision.progress import Progress

LEAD: Final = 10_000
"""Millionths of its customers by which a part may be further than the slowest one."""

PATIENCE: Final = 600.0
"""Seconds without anything of the slowest part, after which the others go on without it."""

_WHOLE: Final = 1_000_000
_PAUSE: Final = 0.5
_LASTS: Final = DAY // MILLISECOND


class Pace:
    """How far the parts of a run are, told to each other through the store."""

    def __init__(
        self, store: CountStore, run: str, number: int, parts: int, shown: Progress, sleep: Sleep
    ) -> None:
        self._store, self._shown, self._sleep = store, shown, sleep
        self._name = f"run-{run}"
        self._own = f"p{number}"
        self._others = [f"p{one}" for one in range(1, parts + 1) if one != number]
        self._slowest, self._since = -1, monotonic()
        self._parts = parts

    async def keep(self, done: int, total: int) -> None:
        """Tells how many customers of a part are done with; waits while others are far behind."""
        own = done * _WHOLE // total if total else _WHOLE
        while self._others:
            with suppress(StoreUnavailable):
                slowest = await self._tell(own)
                if slowest != self._slowest:
                    self._slowest, self._since = slowest, monotonic()
                if own - slowest <= LEAD or own == _WHOLE:
                    return
            if monotonic() - self._since > PATIENCE:
                self._shown.say("another part has not gone on for ten minutes: this one does")
                self._others = []
            await self._sleep(_PAUSE)

    async def _tell(self, own: int) -> int:
        """Notes how far this part is; how far the slowest of the others is."""
        [found] = await self._store.counts([self._name])
        if change := own - found.get(self._own, 0):
            await self._store.add_counts(self._name, {self._own: change}, self._parts, _LASTS)
        return min(found.get(one, 0) for one in self._others)
