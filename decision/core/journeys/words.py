"""Journeys in words: what a step does, what starts and ends a run, in a line each."""

from __future__ import annotations

from typing import Final

from decision.core.calendar import WEEKDAY_NAMES
from decision.core.clock import format_duration
from decision.core.conditions import All, AnyOf, Clause, Condition, Not
from decision.core.definition import Selector
from decision.core.journeys.definition import (
    AnyStep,
    Ask,
    Branch,
    DateStart,
    End,
    Journey,
    ScheduleStart,
    SegmentStart,
    SetAttributes,
    Split,
    Start,
    Trigger,
    Wait,
    WaitFor,
    WaitUntil,
    WaitUntilDate,
)
from decision.core.values import in_words

_SIGNS: Final = {
    "eq": "=",
    "ne": "≠",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
    "in": "in",
    "not_in": "not in",
    "vgt": "> version",
    "vgte": "≥ version",
    "vlt": "< version",
    "vlte": "≤ version",
    "veq": "= version",
    "vne": "≠ version",
}


def condition_words(condition: Condition) -> str:
    """A condition in a line; of one that always holds, nothing.

    >>> condition_words(All((Clause("customer.tier", "eq", "gold"), Clause("customer.n", "gt", 3))))
    'customer.tier = gold and customer.n > 3'
    """
    match condition:
        case Clause(field=field, op="exists", value=value):
            return f"{field} exists" if value else f"no {field}"
        case Clause(field=field, op=op, value=value, operand=operand):
            shown = value if isinstance(value, str) else in_words(value)
            return f"{field} {_SIGNS.get(op, op)} {operand or shown}"
        case Not(part=part):
            return f"not ({condition_words(part)})"
        case All(parts=parts):
            return " and ".join(_within(part) for part in parts)
        case AnyOf(parts=parts):
            return " or ".join(_within(part) for part in parts) or "never"


def _within(part: Condition) -> str:
    """A part of a condition, in brackets where it has parts of its own."""
    text = condition_words(part)
    return f"({text})" if isinstance(part, All | AnyOf) and len(part.parts) > 1 else text


def trigger_words(trigger: Trigger) -> str:
    """What starts or ends something.

    >>> trigger_words(Trigger(name="", event="buy", when=Clause("event.sku", "eq", "tea")))
    'buy, if event.sku = tea'
    """
    when = condition_words(trigger.when)
    if trigger.event is None:
        return when
    return f"{trigger.event}, if {when}" if when else trigger.event


def start_words(start: Start) -> str:
    """What starts a run.

    >>> start_words(DateStart(name="", field="customer.birthday", minute=540))
    'customer.birthday, at 09:00'
    """
    match start:
        case Trigger():
            return trigger_words(start)
        case SegmentStart(segment=segment):
            return f"enters segment {segment}"
        case DateStart(field=field, minute=minute, shift=shift):
            return f"{_shifted(field, shift)}, at {_time(minute)}"
        case _:
            when = condition_words(start.when)
            return f"schedule {start.schedule}" + (f", if {when}" if when else "")


def step_words(step: AnyStep) -> str:
    """What a step does; where it leads is not in it.

    >>> of = Selector(tags=("tip",))
    >>> step_words(Ask(name="hello", placement="outbound", of=of, hold=3 * 10**9))
    'asks at outbound for tags tip, held for up to 50m'
    >>> step_words(WaitUntil(name="nine", minute=540, weekdays=(0,)))
    'waits until 09:00 on mon'
    """
    match step:
        case Ask(placement=placement, of=of, hold=hold):
            held = f", held for up to {format_duration(hold)}" if hold else ""
            return f"asks at {placement}{_of(of)}{held}"
        case Wait(lasts=lasts):
            return f"waits {format_duration(lasts)}"
        case WaitUntil(minute=minute, weekdays=weekdays, calendar=calendar):
            days = ", ".join(WEEKDAY_NAMES[day][:3] for day in weekdays)
            on = (f" on {days}" if days else "") + (f" in {calendar}" if calendar else "")
            return f"waits until {_time(minute)}{on}"
        case WaitUntilDate(field=field, minute=minute, shift=shift):
            at = f", at {_time(minute)}" if minute else ""
            return f"waits until {_shifted(field, shift)}{at}"
        case WaitFor(trigger=trigger, within=within):
            return f"waits for {trigger_words(trigger)}, up to {format_duration(within)}"
        case Branch():
            return "goes where the first condition leads"
        case Split(variants=variants):
            shares = (f"{name} {100 * share:.4g}%" for name, share in variants.items())
            return f"splits: {', '.join(shares)}"
        case SetAttributes(values=values):
            return "sets " + ", ".join(
                f"customer.{name} = {value if isinstance(value, str) else in_words(value)}"
                for name, value in values.items()
            )
        case End(reason=reason):
            return f"ends: {reason}"


def conditions_words(journey: Journey) -> dict[str, str]:
    """What is said of a journey beside its steps: keyword → text, without what is left out."""
    again = journey.again
    found = {
        "start": start_words(journey.start),
        "when": condition_words(journey.when),
        "key": journey.key or "",
        "again": "never" if again is None else "always" if again == 0 else format_duration(again),
        "goal": trigger_words(journey.goal) if journey.goal else "",
        "stop": trigger_words(journey.stop) if journey.stop else "",
    }
    recurring = isinstance(journey.start, DateStart | ScheduleStart)
    if found["again"] == ("always" if recurring else "never"):
        del found["again"]
    return {name: text for name, text in found.items() if text}


def _of(of: Selector | None) -> str:
    if of is None:
        return ""
    parts = {
        "messages": of.messages,
        "tags": of.tags,
        "category": of.category,
        "purpose": of.purpose,
        "channel": of.channel,
    }
    said = [f"{name} {', '.join(values)}" for name, values in parts.items() if values is not None]
    return f" for {' and '.join(said)}" if said else ""


def _shifted(field: str, shift: int) -> str:
    if not shift:
        return field
    return f"{format_duration(abs(shift))} {'before' if shift < 0 else 'after'} {field}"


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
