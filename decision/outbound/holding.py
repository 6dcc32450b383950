"""Journeys that stand still, and who waits to go on: by hand, by limits, and by themselves.

`pause`, `resume` and `stop` change what is in the store; every process that runs journeys looks at
it each second. Runs of a paused journey still end by its goal and `stop:`, as events come; nothing
else is done to them. Whose runs are due meanwhile is parked, and goes on once the journey does:
what is later than `skip_after` then is left out.
"""

from __future__ import annotations

import logging
from typing import Final

from decision.core.clock import SECOND
from decision.core.journeys.definition import Limits
from decision.core.journeys.holds import JourneyHold
from decision.core.ports import Store
from decision.engine import Engine
from decision.engine.journey_cautions import RAN_BLOB
from decision.observability import named

_TURN: Final = SECOND // 2
"""How long one process lets go on who is parked, before another may."""

_NOTE: Final = 30 * SECOND
"""How often it is noted that somebody runs journeys."""

_AT_A_TIME: Final = 500
_MOST: Final = 5_000
"""How many customers go on each second after a pause, in a journey without limits."""

_log = logging.getLogger(__name__)


async def pause(store: Store, name: str, now: int, why: str = "by hand") -> None:
    """Has a journey stand still until it is resumed; `now` in microseconds.

    One that was stopped stays so.
    """
    hold = (await store.held_journeys()).get(name)
    if hold is None:
        await store.hold_journey(name, JourneyHold(why=why, at=now))
        _log.warning(
            "journey %s is paused: %s. Its runs wait until: nextbest journeys resume %s",
            name,
            why,
            name,
            extra=named("journey_paused", journey=name, why=why),
        )


async def resume(store: Store, name: str) -> bool:
    """Lets a journey go on that was paused or stopped; False where it was neither."""
    return await store.release_journey(name)


async def stop(store: Store, name: str, now: int, why: str = "by hand") -> None:
    """Ends all runs of a journey that have started by now, as `cancelled`, one after another.

    It takes a walk over all customers. What starts later waits, as in a paused one, until the
    journey is resumed; whoever resumes it before the walk is over lets those go on that were not
    reached.
    """
    await store.hold_journey(name, JourneyHold(why=why, at=now, ends=True))
    _log.warning("journey %s is stopped", name, extra=named("journey_stopped", journey=name))


class Holding:
    """Lets those go on who are parked, once nothing keeps them; see `Gating`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.runtime.store
        self._noted = 0

    async def look(self) -> None:
        """Learns what stands still, and lets others go on; of all processes, one at a time does."""
        gating, now = self._engine.stepping.gating, self._engine.runtime.clock()
        if not 0 <= now - self._noted < _NOTE:
            await self._store.put_blob(RAN_BLOB, str(now).encode())
            self._noted = now
        gating.holds = await self._store.held_journeys()
        if await self._store.take_turn("journeys-go-on", _TURN):
            await self.let_go_on()

    async def let_go_on(self) -> int:
        """Lets those go on who are parked, and whom neither a hold nor a limit keeps; how many."""
        holds, journeys = await self._store.held_journeys(), self._engine.snapshot.policy.journeys
        total = 0
        for name, number in (await self._store.parked()).items():
            hold, before = holds.get(name), None
            if hold is not None:
                if not hold.ends:
                    continue
                before = hold.at
            journey = None if journeys is None else journeys.by_name.get(name)
            limits = Limits() if journey is None else journey.definition.limits
            most = min(number, await self._room(name, limits))
            while most > 0:
                page = await self._store.first_parked(name, min(most, _AT_A_TIME), before)
                if not page:
                    break
                await self._store.arm(dict.fromkeys(page, 0))
                await self._store.unpark(name, page)
                most -= len(page)
                total += len(page)
        return total

    async def _room(self, name: str, limits: Limits) -> int:
        """How many may be let go on: more than may start are parked again, where they were."""
        most = _MOST
        if limits.starts is not None:
            most = min(most, max(1, limits.starts * SECOND // max(1, limits.per)), limits.starts)
        if limits.running is not None:
            await self._engine.stepping.gating.free_places(name)
            most = min(most, await self._store.free_places(name, limits.running))
        return most
