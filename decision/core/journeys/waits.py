"""Until when a step waits, and when a customer has to be looked at next."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from decision.core.clock import to_micros
from decision.core.document import Document
from decision.core.fields import parsed_date
from decision.core.journeys.compiled import CompiledJourney, Journeys
from decision.core.journeys.definition import AnyStep, Wait, WaitFor, WaitUntil, WaitUntilDate
from decision.core.journeys.gate import OPEN, Gate
from decision.core.journeys.runs import runs_of
from decision.core.journeys.starts import next_start
from decision.core.journeys.state import Run
from decision.core.journeys.times import next_local, on_date

UNREADABLE: Final = -1
NEVER: Final = -2


def due(
    journeys: Journeys,
    journey: CompiledJourney,
    document: Document,
    run: Run,
    step: AnyStep,
    now: int,
) -> int | None:
    """Until when a step that is entered now waits; None: it does not.

    UNREADABLE where it waits for a date that cannot be read, NEVER where the time never comes. The
    local time that the run has waited for before does not count again: it waits for the next one.
    """
    match step:
        case Wait(lasts=lasts):
            return now + lasts
        case WaitFor(within=within):
            return now + within
        case WaitUntil(minute=minute, weekdays=weekdays):
            zone, days = journeys.zone_of(document), journey.days.get(step.name)
            at = next_local(zone, now, minute, weekdays, days, run.passed or None)
            return NEVER if at is None else at
        case WaitUntilDate(minute=minute, shift=shift):
            value = journeys.values_in(document, run, now)[journey.dates[step.name]]
            found = parsed_date(value)
            if found is None:
                return UNREADABLE
            if isinstance(found, datetime):
                return to_micros(found) + shift
            at = on_date(journeys.zone_of(document), found, minute, shift)
            return UNREADABLE if at is None else at
    return None


def next_wake(journeys: Journeys, document: Document, now: int, gate: Gate = OPEN) -> int | None:
    """When a customer has to be looked at next, in microseconds: it may be past. None: never.

    That is when a run goes on, a moment happens by time, or a date or schedule starts a journey.
    """
    if document.moved_to is not None:
        return None
    wakes = [gate.wake_of(journeys, name, run, now) for name, run in runs_of(document)]
    if document.journeys is not None and document.journeys.partials:
        end = journeys.moments.next_end(document.journeys.partials)
        wakes += [] if end is None else [end]
    if journeys.timed:
        start = next_start(journeys, document, now)
        wakes += [] if start is None else [start]
    return min(wakes, default=None)
