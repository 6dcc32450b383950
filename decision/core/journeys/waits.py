"""Until when a step waits, and when a customer has to be looked at next."""

from __future__ import annotations

from datetime import date, datetime, tzinfo
from typing import Final

from decision.core.clock import DAY, from_micros, to_micros
from decision.core.document import Document
from decision.core.fields import parsed_date
from decision.core.journeys.compiled import CompiledJourney, Journeys
from decision.core.journeys.definition import (
    AnyStep,
    DateStart,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.core.journeys.gate import OPEN, Gate
from decision.core.journeys.runs import runs_of
from decision.core.journeys.starts import next_start
from decision.core.journeys.state import Run
from decision.core.journeys.times import next_date, next_local, on_date

UNREADABLE: Final = -1
NEVER: Final = -2
_HALF_A_YEAR: Final = 183 * DAY


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
            zone = journeys.zone_of(document)
            if isinstance(found, datetime):
                own = _of_the_run(journey, run, step, found.astimezone(zone).date(), zone)
                if own is None:
                    return to_micros(found) + shift
                local = found.astimezone(zone)
                at = on_date(zone, own, 60 * local.hour + local.minute, shift)
            else:
                own = _of_the_run(journey, run, step, found, zone)
                at = on_date(zone, own or found, minute, shift)
            return UNREADABLE if at is None else at
    return None


def _of_the_run(
    journey: CompiledJourney, run: Run, step: WaitUntilDate, day: date, zone: tzinfo
) -> date | None:
    """The anniversary of a day that started the run; None where it has started it by none, or by
    the day itself.
    """
    start = journey.definition.start
    if not isinstance(start, DateStart) or start.field != step.field:
        return None
    at = next_date(zone, run.started - start.shift - _HALF_A_YEAR, day, 0)
    found = None if at is None else from_micros(at).astimezone(zone).date()
    return None if found == day else found


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
