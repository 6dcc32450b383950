"""Who keeps runs that are due: holds and limits, as this process knows them, and places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from decision.core.clock import MILLISECOND, MINUTE, SECOND
from decision.core.journeys.gate import Gate
from decision.core.journeys.holds import JourneyHold, customer_of, place_of
from decision.core.journeys.runs import runs_of
from decision.core.journeys.starts import starts_by_time
from decision.engine.identity import resolve
from decision.engine.journeys.work import JourneyWork
from decision.engine.runtime import Runtime

_LOOKED_AT: Final = MINUTE
"""Places that were taken, or looked at, more recently are believed to be somebody's: longer than
from the taking of one to the commit that starts the run."""

_AT_A_TIME: Final = 100


class Gating:
    """Makes the gate of each look, and asks whether runs may start.

    `holds` and `begun` are kept up to date by whoever runs journeys, see `Gate`: `begun` is since
    when the starts by time are in force, by the names of `starts_by_time`. None: nobody knows, and
    nothing was edited.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.holds: Mapping[str, JourneyHold] = {}
        self.begun: Mapping[str, int] | None = None
        self.failures: Counter[str] = Counter()
        """Journey → how many asks in a row failed, for another reason than the store."""
        self._runtime = runtime
        self._store = runtime.store
        self._looked: dict[str, int] = {}

    def gate(self) -> Gate:
        """A gate for one look. What has come in force since `begun` was told starts from then."""
        since = {}
        if self.begun is not None:
            starts = starts_by_time(self._runtime.snapshot.policy)
            begun, now = self.begun, self._runtime.used_at
            since = {name: begun.get(start, now) for name, start in starts.items()}
        return Gate(holds=self.holds, since=since, limits=True)

    async def admit(self, gate: Gate, work: JourneyWork) -> bool:
        """Asks whether runs that are due may start; whether one that might not, may now."""
        admitted, journeys, document, now = False, work.journeys, work.document, work.now
        for name, run in gate.waiting(journeys, document, now):
            limits = journeys.by_name[name].definition.limits
            place = place_of(document.customer_id, run.id)
            if limits.running is not None and not await self._take_place(
                name, place, limits.running, now
            ):
                gate.refused.add(name)
                continue
            if limits.starts is not None and await self._store.take_slot(
                f"journey/{name}", limits.starts, max(1, limits.per // MILLISECOND)
            ):
                gate.refused.add(name)
                continue
            gate.admitted.add(run.id)
            admitted = True
        return admitted

    async def settle(self, work: JourneyWork | None) -> None:
        """After the commit of a look: parks the customer whose runs are kept, and frees places."""
        if work is None:
            return
        for record in work.records:
            journey = work.journeys.by_name.get(record.journey)
            limits = None if journey is None else journey.definition.limits
            if record.ended is not None and limits is not None and limits.running is not None:
                gone = [place_of(record.customer_id, record.run)]
                await self._store.look_at_places(record.journey, (), gone)
        kept, customer_id = work.kept(), work.document.customer_id
        for name, since in kept.items():
            await self._store.park(name, customer_id, since)
        for name in work.held - kept.keys():
            await self._store.unpark(name, [customer_id])

    async def _take_place(self, name: str, place: str, most: int, now: int) -> bool:
        if await self._store.take_place(name, place, most):
            return True
        if now - self._looked.get(name, 0) < SECOND // 4:
            return False
        self._looked[name] = now
        freed = await self.free_places(name)
        return bool(freed) and await self._store.take_place(name, place, most)

    async def free_places(self, name: str) -> int:
        """Frees places of runs that are over; how many. Nobody else does: so it never happens that
        a run that is under way has none, whoever dies."""
        before = self._runtime.clock() - _LOOKED_AT
        there: list[str] = []
        gone: list[str] = []
        for place in await self._store.places(name, _AT_A_TIME, before):
            customer_id, run_id = customer_of(place)
            document = (await resolve(self._runtime, customer_id)).document
            runs = (run.id for journey, run in runs_of(document) if journey == name)
            (there if run_id in runs else gone).append(place)
        await self._store.look_at_places(name, there, gone)
        return len(gone)
