"""Turns: writes of one process for one customer, one after another once they meet.

Nothing is locked by a turn: a commit still names the versions that it was made from, and other
processes write as they like. But a write that waits for its turn is not overtaken by the others
of its own process, however many these are.

Who has a turn waits for no other one, so that no two writes wait for each other: what an event
counts as for others is counted before its turn (see `crediting`). Only merges that are met on the
way are waited for. They have turns of their own, and wait for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from decision.core.errors import StoreUnavailable

LONGEST_WAIT: Final = 5.0
"""Seconds that a write waits for its turn, where it has no deadline of its own."""


class _Queue(asyncio.Lock):
    """Who has a turn, and who waits for it; `members` is how many these are."""

    members = 0


class Turns:
    """Turns of one kind of writes. `queues` has the customers for whom somebody has a turn.

    >>> turns = Turns()
    >>> async def write(name: str) -> None:
    ...     async with turns.of("ann") as waited:
    ...         await asyncio.sleep(0)
    ...         print(name, waited)
    >>> async def both() -> None:
    ...     await asyncio.gather(write("first"), write("second"))
    >>> asyncio.run(both())
    first False
    second True
    >>> turns.queues
    {}
    """

    def __init__(self) -> None:
        self.queues: dict[str, _Queue] = {}
        self._owners = set[asyncio.Task[object] | None]()

    @property
    def held(self) -> bool:
        """Whether the task that asks has a turn, of whichever customer."""
        return bool(self._owners) and asyncio.current_task() in self._owners

    @asynccontextmanager
    async def of(self, customer_id: str) -> AsyncIterator[bool]:
        """A turn, in the order of asking; gives whether it had to be waited for.

        Raises:
            StoreUnavailable: it did not come within `LONGEST_WAIT`.
        """
        queue, owner = self.queues.setdefault(customer_id, _Queue()), asyncio.current_task()
        waits = queue.members > 0
        queue.members += 1
        try:
            try:
                async with asyncio.timeout(LONGEST_WAIT):
                    await queue.acquire()
            except TimeoutError as error:
                raise too_many(customer_id) from error
            self._owners.add(owner)
            try:
                yield waits
            finally:
                self._owners.discard(owner)
                queue.release()
        finally:
            queue.members -= 1
            if not queue.members:
                del self.queues[customer_id]


def too_many(customer_id: str) -> StoreUnavailable:
    """The error where a write came to nothing because of the others for its customer."""
    return StoreUnavailable(
        f"too many writes at once for customer {customer_id!r}; try again", code="contention"
    )
