"""Journeys that are paused by themselves, as their runs go wrong one after another.

Two things do it: of a hundred runs or more that ended within an hour, nearly all did because
something could not be done; or a hundred decisions in a row failed that a process was to ask for.
So a mistake in a rule file costs a hundred customers their run, not all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from decision.core.clock import HOUR, SECOND
from decision.core.journeys.definition import EndReason
from decision.core.timers import HELD_BACK
from decision.engine import Engine
from decision.outbound.holding import pause

ERRORS: Final[tuple[EndReason, ...]] = ("unreadable_date", "no_time", "loop")
"""Ends of runs that nobody has wanted."""

LEAST: Final = 100
"""How many runs must have ended within an hour, or decisions failed in a row."""

SHARE: Final = 0.9
"""The share of errors in these ends that pauses a journey."""

_EVERY: Final = 10 * SECOND


class Failing:
    """Pauses journeys by the ends of their runs, which are counted for all processes together."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.runtime.store
        self._looked = self._hour = 0
        self._before: dict[str, tuple[int, int]] = {}
        """Journey → ends and errors as they were counted, from when on it is judged."""
        self._held: frozenset[str] = frozenset()

    async def look(self) -> None:
        """Judges the journeys of the policy, each ten seconds."""
        now = self._engine.runtime.clock()
        if 0 <= now - self._looked < _EVERY:
            return
        self._looked = now
        failures = self._engine.stepping.gating.failures
        for name, number in list(failures.items()):
            if number >= LEAST:
                del failures[name]
                why = f"{number:,} decisions in a row could not be asked for; see the log"
                await pause(self._store, name, now, why)
        counts = _ends(await self._store.tallies())
        held = frozenset(self._engine.stepping.gating.holds)
        if not 0 <= now - self._hour < HOUR:
            self._hour, self._before = now, dict(counts)
        for name in held | self._held:  # what went wrong before somebody resumed it is known
            self._before[name] = counts.get(name, (0, 0))
        self._held = held
        for name, (ends, errors) in counts.items():
            had = self._before.get(name, (0, 0))
            ended, wrong = ends - had[0], errors - had[1]
            if name not in held and ended >= LEAST and wrong >= SHARE * ended:
                why = f"{wrong:,} of {ended:,} runs ended as {', '.join(ERRORS)}"
                await pause(self._store, name, now, why)


def _ends(tallies: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Journey → how many runs have ended, and how many of these by an error."""
    ends: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for counted, number in tallies.items():
        name, _, what = counted.partition("\0")
        if what.startswith("!") and what not in ("!runs", HELD_BACK):
            ends[name] += number
            errors[name] += number if what[1:] in ERRORS else 0
    return {name: (number, errors[name]) for name, number in ends.items()}
