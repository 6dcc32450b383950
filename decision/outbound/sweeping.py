"""A walk over all customers, after the policy or a hold has changed.

Dates and schedules start journeys also for customers whom nobody writes, and nobody looks at: so
once a policy with such starts comes in force, also again, everybody gets a timer for the next one.
Where a moment was edited, what has begun of it may happen earlier than its timer says.
Where a journey was stopped, those who have runs of it are looked at. A walk goes on where the
process before left it; a restart of Redis begins it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from hashlib import blake2b
from time import monotonic
from typing import Final

import msgspec

from decision.core.clock import SECOND
from decision.core.document import Document
from decision.core.journeys.definition import Moment
from decision.core.journeys.holds import JourneyHold
from decision.core.journeys.runs import runs_of
from decision.core.journeys.starts import next_start, starts_by_time
from decision.core.policy import Policy
from decision.engine import Engine
from decision.observability import named
from decision.store.codec import UnreadableDocument

SWEEP_BLOB: Final = "journeys-sweep"

_TURN: Final = 2 * SECOND
_PORTION: Final = 1.0
"""Seconds that one process walks before another may; its turn lasts longer."""

_AT_ONCE: Final = 50

_log = logging.getLogger(__name__)


class Sweep(msgspec.Struct):
    """How far the walk is: `place` is where it goes on, "" the beginning, None the end.

    It is for starts by time and moments, `timed`, and journeys that were stopped, `stops`. `since`
    is start → when it came in force: also again, for what was before is none of its times.
    """

    timed: list[str] = []
    stops: list[str] = []
    place: str | None = None
    since: dict[str, int] = {}


_decode = msgspec.msgpack.Decoder(Sweep).decode


class Sweeping:
    """Walks, a portion at a time, whichever process it is that does."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.runtime.store
        self._policy: Policy | None = None
        self._begun: dict[str, int] = {}
        """Start → since when this process has known it."""
        self._new = False

    async def look(self, seconds: float = _PORTION) -> None:
        """Walks for a while, where there is something to do, and it is this process's turn."""
        policy, gating = self._engine.snapshot.policy, self._engine.stepping.gating
        known = await self._known()
        if policy is not self._policy:
            self._policy, self._new = policy, True
            now, starts = self._engine.runtime.used_at, starts_by_time(policy)
            self._begun = {start: self._begun.get(start, now) for start in starts.values()}
        gating.begun = {start: known.since.get(start, at) for start, at in self._begun.items()}
        timed, stops = _timed(policy), _stops(gating.holds)
        anew = self._anew(known, timed, stops)
        if anew is None:
            self._new = False
            if known.place is None or known.timed != timed:
                return
        if await self._store.take_turn("journeys-sweep", _TURN):
            known = await self._known()
            anew = self._anew(known, timed, stops)
            if anew is not None:
                known = anew
                await self._keep(known)
            self._new = False
            if known.timed == timed and known.place is not None:
                await self._walk(known, gating.holds, seconds)

    def _anew(self, known: Sweep, timed: list[str], stops: list[str]) -> Sweep | None:
        """The walk that begins: with a policy that is new here, or where a journey was stopped."""
        if self._new and known.timed != timed:
            since = {start: known.since.get(start, at) for start, at in self._begun.items()}
            place = "" if timed or stops else None
            return Sweep(timed=timed, stops=stops, place=place, since=since)
        if set(stops) - set(known.stops):
            return msgspec.structs.replace(known, stops=stops, place="")
        return None

    async def _walk(self, sweep: Sweep, holds: Mapping[str, JourneyHold], seconds: float) -> None:
        began = monotonic()
        place: str | None = sweep.place
        if place == "":
            _log.info("all customers are looked at for journeys", extra=named("sweep_begins"))
        while place is not None and monotonic() - began < seconds:
            ids, place = await self._store.walk(place)
            for first in range(0, len(ids), _AT_ONCE):
                await self._arm(ids[first : first + _AT_ONCE], holds)
        if await self._known() == sweep:
            await self._keep(msgspec.structs.replace(sweep, place=place))
        if place is None:
            _log.info("all customers were looked at for journeys", extra=named("sweep_ends"))

    async def _arm(self, ids: list[str], holds: Mapping[str, JourneyHold]) -> None:
        found = await asyncio.gather(*(self._wake_of(one, holds) for one in ids))
        wakes = {one: at for one, at in zip(ids, found, strict=True) if at is not None}
        if wakes:
            await self._store.arm(wakes)

    async def _wake_of(self, customer_id: str, holds: Mapping[str, JourneyHold]) -> int | None:
        try:
            document = (await self._store.read(customer_id)).document
        except UnreadableDocument:
            return None
        if not document.exists or document.moved_to is not None:
            return None
        if any(holds[name].ends for name, _ in runs_of(document) if name in holds):
            return 0
        return _next_by_time(self._engine, document)

    async def _known(self) -> Sweep:
        raw = await self._store.get_blob(SWEEP_BLOB)
        return Sweep() if raw is None else _decode(raw)

    async def _keep(self, sweep: Sweep) -> None:
        await self._store.put_blob(SWEEP_BLOB, msgspec.msgpack.encode(sweep))


def _next_by_time(engine: Engine, document: Document) -> int | None:
    """When a start, or a moment, comes by time alone."""
    journeys, state = engine.snapshot.policy.journeys, document.journeys
    if journeys is None:
        return None
    end = journeys.moments.next_end(state.partials) if state is not None else None
    start = next_start(journeys, document, engine.runtime.clock()) if journeys.timed else None
    return min((at for at in (end, start) if at is not None), default=None)


def _timed(policy: Policy) -> list[str]:
    """What comes by time, by names that an edit changes."""
    starts = starts_by_time(policy).values()
    moments = (f"moment.{one.name} {_digest(one)}" for one in policy.definition.moments)
    return [*sorted(starts), *moments]


def _digest(moment: Moment) -> str:
    """What tells a moment from what it is after an edit."""
    pattern = [msgspec.structs.replace(o, source="", clause_sources=()) for o in moment.pattern]
    return blake2b(msgspec.json.encode([moment.within, pattern]), digest_size=9).hexdigest()


def _stops(holds: Mapping[str, JourneyHold]) -> list[str]:
    """The journeys that were stopped, and when."""
    return sorted(f"{name} {hold.at}" for name, hold in holds.items() if hold.ends)
