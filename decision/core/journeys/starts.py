"""Runs that start: by an event, a condition that becomes true, a date, a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from decision.core.document import Document
from decision.core.fields import local_date
from decision.core.journeys.compiled import CompiledJourney, Journeys
from decision.core.journeys.definition import (
    MOMENT,
    DateStart,
    ScheduleStart,
    SegmentStart,
    Start,
)
from decision.core.journeys.runs import (
    bounded,
    put,
    record_of,
    refusal,
    state_of,
    tidy,
)
from decision.core.journeys.state import TOO_LATE, Run, kept
from decision.core.journeys.times import next_cron, next_date
from decision.core.records import JourneyRecord
from decision.core.schema import TriggerEvent
from decision.core.values import MISSING, Value

if TYPE_CHECKING:
    from decision.core.policy import Policy

_LONGEST_KEY: Final = 128
_ALWAYS: Final[Mapping[str, int]] = {}


def start(
    journey: CompiledJourney,
    document: Document,
    values: list[Value],
    cause: str,
    now: int,
    *,
    at: int | None = None,
    event: TriggerEvent | None = None,
    hurried: int = 0,
    chain: int = 0,
) -> JourneyRecord | None:
    """Starts a run, if the journey's `when` holds and nothing is in the way. It is due at once, or
    has been since `at`.

    `cause` names what started it, so that the same never starts two; it took `hurried` steps where
    that is a run, and `chain` names the chain that it is of. Where the customer has too many, the
    record says that it was refused. None: it is not to start.
    """
    if not journey.when(values):
        return None
    at = now if at is None else at
    key = key_text(values[journey.key]) if journey.key is not None else ""
    state = state_of(document)
    if any(run.key == key for run in state.runs.get(journey.name, ())):
        return None
    again, last = journey.again, state.started.get(f"{journey.name}\0{key}")
    if last is not None and (again is None or abs(at - last) < again):
        return None
    said = msgspec.json.encode([document.customer_id, journey.name, key, cause])
    run = Run(
        id=blake2b(said, digest_size=9).hexdigest(),
        key=key,
        started=at,
        step=journey.first,
        entered=0,
        wake=at,
        event=event.type if event else "",
        about=kept(event.properties) if event else {},
        hurried=hurried,
        chain=chain,
    )
    record = record_of(document, journey.name, run, now)
    record.started_by, record.step = start_words(journey.definition.start, run.event), run.step
    record.event_id = cause if event else None
    record.refused = refusal(document, run)
    if record.refused is not None:
        return record
    if again != 0:
        state.started = bounded({**state.started, f"{journey.name}\0{key}": at})
    put(document, journey.name, run)
    return record


def start_words(start: Start, event: str = "") -> str:
    """What started a run, in words; `event` is the type of the event that did.

    >>> start_words(ScheduleStart(name="", schedule="0 9 * * mon"))
    'schedule 0 9 * * mon'
    """
    match start:
        case DateStart(field=field):
            return f"date {field}"
        case ScheduleStart(schedule=schedule):
            return f"schedule {schedule}"
        case SegmentStart(segment=segment):
            return f"segment {segment}"
    if event.startswith(MOMENT):
        return f"moment {event.removeprefix(MOMENT)}"
    return f"event {event}" if event else "condition"


def key_text(value: Value) -> str:
    """The key of a run, from the value of its field; "" where that is missing."""
    if value is MISSING:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) <= _LONGEST_KEY:
        return text
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def since(document: Document, now: int) -> int:
    """From when on (exclusive) starts by date and schedule are still to be made."""
    return max(_looked(document, now), now - TOO_LATE)


def _looked(document: Document, now: int) -> int:
    """Up to when that is done; 0: never. A time far ahead was a wrong clock's."""
    looked = document.journeys.looked if document.journeys else 0
    return now if looked - now > TOO_LATE else looked


@lru_cache(maxsize=4)
def starts_by_time(policy: Policy) -> Mapping[str, str]:
    """Journey → what names its start by date or schedule: another name is an edit of it."""
    zone, found = policy.settings.timezone, {}
    for journey in policy.definition.journeys:
        match journey.start:
            case DateStart(field=field, minute=minute, shift=shift):
                found[journey.name] = f"{journey.name} {field} {minute} {shift} {zone}"
            case ScheduleStart(schedule=schedule):
                found[journey.name] = f"{journey.name} {schedule} {zone}"
    return found


def next_start(journeys: Journeys, document: Document, now: int) -> int | None:
    """When the next date or schedule comes that may start a journey; it may be past."""
    after = since(document, now) if _looked(document, now) else now
    return min((at for _, at in _comings(journeys, document, after, now)), default=None)


def due_starts(
    journeys: Journeys, document: Document, now: int, begun: Mapping[str, int] = _ALWAYS
) -> list[JourneyRecord]:
    """Starts what dates and schedules have started since the customer was looked at for them.

    What is later than `TOO_LATE` is left out, and what was before a journey has `begun` to do so.
    """
    if not journeys.timed or document.moved_to is not None:
        return []
    records = []
    for journey, at in _comings(journeys, document, since(document, now), now, begun):
        if at > now:
            continue
        values = journeys.values(document, now)
        if journey.audience(values):
            records.append(start(journey, document, values, str(at), now, at=at))
    state = state_of(document)
    state.looked = max(_looked(document, now), now)
    tidy(document)
    return [record for record in records if record is not None]


def _comings(
    journeys: Journeys,
    document: Document,
    after: int,
    now: int,
    begun: Mapping[str, int] = _ALWAYS,
) -> Iterator[tuple[CompiledJourney, int]]:
    """Each journey that starts by time, and when it next does after an instant."""
    zone = journeys.zone_of(document)
    values: list[Any] | None = None
    for journey in journeys.timed:
        at: int | None = None
        own = max(after, begun.get(journey.name, 0))
        if journey.cron is not None:
            at = next_cron(zone, own, journey.cron)
        elif isinstance(start := journey.definition.start, DateStart):
            values = values or journeys.values(document, now)
            if (day := local_date(values[journey.dates[""]], zone)) is not None:
                at = next_date(zone, own, day, start.minute, start.shift)
        if at is not None:
            yield journey, at
