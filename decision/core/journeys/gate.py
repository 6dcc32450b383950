"""What keeps runs that are due from going on: the journey stands still, or has a limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from decision.core.clock import MINUTE, SECOND
from decision.core.document import Document
from decision.core.journeys.again import AGAIN
from decision.core.journeys.compiled import Journeys
from decision.core.journeys.holds import JourneyHold
from decision.core.journeys.runs import due_runs, runs_of
from decision.core.journeys.state import Run

LOOK_AGAIN: Final = 30 * MINUTE
"""When a customer is looked at again whose runs are kept, though nobody was told to."""


NEWER_RULES: Final = MINUTE
"""For how long a run is kept whose journey or step the rules do not have: another process may have
newer ones already, and will go on with it, or this one gets them."""

_ASK_NEWER: Final = 2 * SECOND


class Gate(msgspec.Struct):
    """What keeps the runs of one customer, for one look.

    `holds` are journeys that stand still; `since` is journey → from when on its dates and schedules
    start runs. With `limits`, those of journeys count: `admitted` are ids of runs that may start,
    `refused` journeys that may start none now; and what is not in the rules is kept, for a while.
    """

    holds: Mapping[str, JourneyHold] = {}
    since: Mapping[str, int] = {}
    limits: bool = False
    admitted: set[str] = msgspec.field(default_factory=set)
    refused: set[str] = msgspec.field(default_factory=set)

    def keeps(self, journeys: Journeys, name: str, run: Run, now: int) -> bool:
        """Whether a run is not to go on."""
        unknown = self._is_unknown(journeys, name, run, now)
        return name in self.holds or unknown or self.asks(journeys, name, run)

    def _is_unknown(self, journeys: Journeys, name: str, run: Run, now: int) -> bool:
        """Whether a run is of what the rules do not have, and others' perhaps do."""
        if not self.limits or name == AGAIN or now >= run.wake + NEWER_RULES:
            return False
        journey = journeys.by_name.get(name)
        return journey is None or journey.standing(run.step) is None

    def asks(self, journeys: Journeys, name: str, run: Run) -> bool:
        """Whether it must be asked first if a run may start."""
        if not self.limits or run.visit or run.id in self.admitted or name in self.holds:
            return False
        journey = journeys.by_name.get(name)
        return journey is not None and journey.limited

    def due(self, journeys: Journeys, document: Document, now: int) -> list[tuple[str, Run]]:
        """(journey, run) of those that go on now, the longest due first."""
        due = due_runs(document, now, journeys.order)
        return [each for each in due if not self.keeps(journeys, *each, now)]

    def waiting(self, journeys: Journeys, document: Document, now: int) -> list[tuple[str, Run]]:
        """(journey, run) of those that are due, and of which is to be asked if they may start."""
        return [
            (name, run)
            for name, run in due_runs(document, now)
            if name not in self.refused and self.asks(journeys, name, run)
        ]

    def kept(self, journeys: Journeys, document: Document, now: int) -> dict[str, int]:
        """Journey → since when runs of it are due that are kept. Out of a look, which alone knows
        that, they are those that were kept by the last one, and still are due."""
        before = document.journeys.held if document.journeys is not None else []
        found: dict[str, int] = {}
        for name, run in due_runs(document, now):
            refused = name in self.refused and self.asks(journeys, name, run)
            if name in self.holds or refused or (not self.limits and name in before):
                found.setdefault(name, run.wake)
        return found

    def cancelled(self, document: Document) -> Iterator[tuple[str, Run]]:
        """(journey, run) of those that end, as their journey was stopped."""
        for name, run in list(runs_of(document)):
            hold = self.holds.get(name)
            if hold is not None and hold.ends and run.started <= hold.at:
                yield name, run

    def wake_of(self, journeys: Journeys, name: str, run: Run, now: int) -> int:
        """When a run has to be looked at next."""
        if run.wake > now or not self.keeps(journeys, name, run, now):
            return run.wake
        unknown = name not in self.holds and self._is_unknown(journeys, name, run, now)
        return now + (_ASK_NEWER if unknown else LOOK_AGAIN)


OPEN: Final = Gate()
"""It keeps nothing."""
