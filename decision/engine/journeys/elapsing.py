"""Time that goes by in a store of one's own: what is due is done at its time, in order."""

from __future__ import annotations

from collections.abc import Callable

from decision.engine.engine import Engine
from decision.store.timed_store import TimedStore


async def elapse(
    engine: Engine,
    store: TimedStore,
    until: int,
    set_clock: Callable[[int], None],
    most: int | None = None,
) -> bool:
    """Does everything that is due by a time in microseconds, each at its own time.

    `set_clock` sets the engine's clock, which never goes back; in the end it shows `until`. False:
    more than `most` timers were due, and the rest still is.
    """
    looks = 0
    while (claimed := store.next_due(until)) is not None:
        looks += 1
        if most is not None and looks > most:
            return False
        set_clock(max(claimed.due, engine.runtime.clock()))
        await engine.stepping.look(claimed)
    set_clock(max(until, engine.runtime.clock()))
    return True
