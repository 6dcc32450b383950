"""Journeys in words: what a step does, what starts and ends a run, in a line each."""

from __future__ import annotations

from typing import Final

from decision.core.calendar import WEEKDAY_NAMES
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
from decision.core.said import SELECTED, Joined, Said, Say, lasting, marked
from decision.core.values import in_words

_SIGNS: Final = {
    "eq": "=",
    "ne": "≠",
    "gt": ">",
    "gte": "≥",
    "lt": "<",
    "lte": "≤",
    "in": marked("in"),
    "not_in": marked("not in"),
    "contains": marked("contains"),
    "matches": marked("matches"),
    "vgt": marked("> version"),
    "vgte": marked("≥ version"),
    "vlt": marked("< version"),
    "vlte": marked("≤ version"),
    "veq": marked("= version"),
    "vne": marked("≠ version"),
}


def condition_words(condition: Condition) -> str:
    """A condition in a line; of one that always holds, nothing.

    >>> condition_words(All((Clause("customer.tier", "eq", "gold"), Clause("customer.n", "gt", 3))))
    'customer.tier = gold and customer.n > 3'
    """
    match condition:
        case Clause(field=field, op="exists", value=value):
            if value:
                return Said("%(field)s exists", field=field)
            return Said("no %(field)s", field=field)
        case Clause(field=field, op=op, value=value, operand=operand):
            shown = value if isinstance(value, str) else in_words(value)
            sign = Said(_SIGNS[op]) if op in _SIGNS else op
            other = operand or shown
            return Said("%(field)s %(sign)s %(other)s", field=field, sign=sign, other=other)
        case Not(part=part):
            return Said("not (%(condition)s)", condition=condition_words(part))
        case All(parts=parts):
            return Joined(" and ", [_within(part) for part in parts])
        case AnyOf(parts=parts):
            return Joined(" or ", [_within(part) for part in parts]) or Said("never")


def _within(part: Condition) -> str:
    """A part of a condition, in brackets where it has parts of its own."""
    text = condition_words(part)
    brackets = isinstance(part, All | AnyOf) and len(part.parts) > 1
    return Said("(%(condition)s)", condition=text) if brackets else text


def trigger_words(trigger: Trigger) -> str:
    """What starts or ends something.

    >>> trigger_words(Trigger(name="", event="buy", when=Clause("event.sku", "eq", "tea")))
    'buy, if event.sku = tea'
    """
    when = condition_words(trigger.when)
    if trigger.event is None:
        return when
    if not when:
        return trigger.event
    return Said("%(event)s, if %(when)s", event=trigger.event, when=when)


def start_words(start: Start) -> str:
    """What starts a run.

    >>> start_words(DateStart(name="", field="customer.birthday", minute=540))
    'customer.birthday, at 09:00'
    """
    match start:
        case Trigger():
            return trigger_words(start)
        case SegmentStart(segment=segment):
            return Said("enters segment %(name)s", name=segment)
        case DateStart(field=field, minute=minute, shift=shift):
            return _at(_shifted(field, shift), minute)
        case _:
            text = Said("schedule %(schedule)s", schedule=start.schedule)
            when = condition_words(start.when)
            return Said("%(event)s, if %(when)s", event=text, when=when) if when else text


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
            text = Said("asks at %(placement)s%(of)s", placement=placement, of=_of(of))
            if not hold:
                return text
            return Said("%(asks)s, held for up to %(lasts)s", asks=text, lasts=lasting(hold))
        case Wait(lasts=lasts):
            return Said("waits %(lasts)s", lasts=lasting(lasts))
        case WaitUntil(minute=minute, weekdays=weekdays, calendar=calendar):
            when: str = _time(minute)
            if weekdays:
                days = Joined(", ", [Said(WEEKDAY_NAMES[day][:3]) for day in weekdays])
                when = Said("%(when)s on %(days)s", when=when, days=days)
            if calendar:
                when = Said("%(when)s in %(calendar)s", when=when, calendar=calendar)
            return Said("waits until %(when)s", when=when)
        case WaitUntilDate(field=field, minute=minute, shift=shift):
            date = _shifted(field, shift)
            return Said("waits until %(when)s", when=_at(date, minute) if minute else date)
        case WaitFor(trigger=trigger, within=within):
            return Said(
                "waits for %(event)s, up to %(lasts)s",
                event=trigger_words(trigger),
                lasts=lasting(within),
            )
        case Branch():
            return Said("goes where the first condition leads")
        case Split(variants=variants):
            shares = [f"{name} {100 * share:.4g}%" for name, share in variants.items()]
            return Said("splits: %(shares)s", shares=Joined(", ", shares))
        case SetAttributes(values=values):
            sets = [
                f"customer.{name} = {value if isinstance(value, str) else in_words(value)}"
                for name, value in values.items()
            ]
            return Said("sets %(values)s", values=Joined(", ", sets))
        case End(reason=reason):
            return Said("ends: %(reason)s", reason=reason)


def conditions_words(journey: Journey, say: Say = str) -> dict[str, str]:
    """What is said of a journey beside its steps: keyword → text, without what is left out.

    `say` says a text in another language.
    """
    again = journey.again
    found = {
        "start": start_words(journey.start),
        "when": condition_words(journey.when),
        "key": journey.key or "",
        "again": Said(_AGAIN[again]) if again in _AGAIN else lasting(again or 0),
        "goal": trigger_words(journey.goal) if journey.goal else "",
        "stop": trigger_words(journey.stop) if journey.stop else "",
    }
    recurring = isinstance(journey.start, DateStart | ScheduleStart)
    if found["again"] == ("always" if recurring else "never"):
        del found["again"]
    return {name: say(text) for name, text in found.items() if text}


_AGAIN: Final = {None: marked("never"), 0: marked("always")}


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
    said = [
        Said("%(key)s %(values)s", key=Said(SELECTED[name]), values=Joined(", ", values))
        for name, values in parts.items()
        if values is not None
    ]
    return Said(" for %(of)s", of=Joined(" and ", said)) if said else ""


def _shifted(field: str, shift: int) -> str:
    if not shift:
        return field
    lasts = lasting(abs(shift))
    if shift < 0:
        return Said("%(lasts)s before %(field)s", lasts=lasts, field=field)
    return Said("%(lasts)s after %(field)s", lasts=lasts, field=field)


def _at(date: str, minute: int) -> Said:
    return Said("%(date)s, at %(time)s", date=date, time=_time(minute))


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
