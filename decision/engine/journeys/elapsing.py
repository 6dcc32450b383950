"""Time that goes by in a store of one's own: what is due is done at its time, in order."""

from __future__ import annotations

from collections.abc import Callable

from decision.engine.engine import Engine
from decision.store.timed_store import TimedStore


async def elapse(
    engine: Engine, store: TimedStore, until: int, set_clock: Callable[[int], None]
) -> None:
    """Does everything that is due by a time in microseconds, each at its own time.

    `set_clock` sets the engine's clock, which never goes back; in the end it shows `until`.
    """
    while (claimed := store.next_due(until)) is not None:
        set_clock(max(claimed.due, engine.runtime.clock()))
        await engine.stepping.look(claimed)
    set_clock(max(until, engine.runtime.clock()))
