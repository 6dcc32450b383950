"""`start:` of a journey: an event, a moment, a segment, a date, or a schedule."""

from __future__ import annotations

from typing import Final

from decision.core.journeys.definition import DateStart, ScheduleStart, SegmentStart, Start, Trigger
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.journeys.times import read_date_field, read_schedule, read_shift
from decision.rulebook.journeys.triggers import trigger_of
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.yaml_source import Node

_KINDS: Final = ("event", "moment", "segment", "date", "schedule")
_SEGMENT: Final = "customer.segment."
NOTHING: Final[Start] = Trigger(name="", event="")
"""Instead of a start that has an error."""


def read_start(checker: Checker, node: Node, what: str) -> Start | None:
    """What starts a journey."""
    if isinstance(node.value, list):
        checker.wrong_type(node, what, "one start", "write a journey for each")
        return None
    with checker.entry(node, what) as entry:
        given = node.value if isinstance(node.value, dict) else {}
        kinds = [kind for kind in _KINDS if kind in given]
        if len(kinds) > 1 and kinds != ["event", "moment"]:
            message = f"{what} has both {kinds[0]} and {kinds[1]}"
            hint = "keep one of them; write a journey for each"
            checker.error("conflict", given[kinds[1]].key, message, hint)
        match kinds[0] if kinds else "":
            case "segment":
                return _segment(entry)
            case "date":
                return _date(entry)
            case "schedule":
                return _schedule(entry)
        for kind in _KINDS:
            entry.get(kind)
        return trigger_of(entry)


def _segment(entry: MappingReader) -> SegmentStart | None:
    name = entry.read("segment", Checker.text, None)
    if name is None:
        return None
    if name.startswith(_SEGMENT):
        message = f'{entry.label("segment")} is "{name}"; it needs the name alone'
        place = entry.node.value["segment"].at
        hint = f"write segment: {name.removeprefix(_SEGMENT)}"
        entry.checker.error("bad-value", place, message, hint)
    return SegmentStart(name="", source=entry.node.key.label, segment=name)


def _date(entry: MappingReader) -> DateStart | None:
    field = entry.read("date", read_date_field, None, "customer")
    minute = entry.require("at", Checker.clock, 0)
    shift = read_shift(entry)
    if field is None:
        return None
    return DateStart(name="", source=entry.node.key.label, field=field, minute=minute, shift=shift)


def _schedule(entry: MappingReader) -> ScheduleStart | None:
    schedule = entry.read("schedule", read_schedule, None)
    audience = entry.need("audience")
    if audience is None:
        return None
    with entry.checker.entry(audience, entry.label("audience")) as inner:
        inner.need("when")
        when = read_when(inner)
    if schedule is None:
        return None
    return ScheduleStart(
        name="",
        source=entry.node.key.label,
        schedule=schedule,
        when=when,
        clause_sources=entry.checker.places.clause_sources(when),
    )
