"""What starts, ends or continues something: an event, a moment, or what a customer becomes."""

from __future__ import annotations

from decision.core.journeys.definition import MOMENT, Trigger
from decision.rulebook.checker import Checker
from decision.rulebook.conditions import read_when
from decision.rulebook.mapping_reader import MappingReader
from decision.rulebook.yaml_source import Node


def read_trigger(checker: Checker, node: Node, what: str) -> Trigger | None:
    """`{event: purchase, when: {…}}`, `{moment: abandoned}`, or `{when: {…}}`."""
    if isinstance(node.value, list):
        hint = "name one event"
        if what.startswith("goal"):
            hint += "; another one can be stop, which ends a run as well: stop: {event: …}"
        checker.wrong_type(node, what, "one event or condition", hint)
        return None
    with checker.entry(node, what) as entry:
        return trigger_of(entry)


def trigger_of(entry: MappingReader) -> Trigger | None:
    """The trigger that the keys `event`, `moment` and `when` of a mapping mean."""
    event = event_of(entry)
    when = read_when(entry)
    if event is None and entry.get("when") is None:
        if isinstance(entry.node.value, dict):
            hint = "add event: purchase, moment: and one of moments, or when: and a condition"
            entry.lacks(f"{entry.what} names no event", hint, "event", "moment", "when")
        return None
    return Trigger(
        name="",
        source=entry.node.key.label,
        event=event,
        when=when,
        clause_sources=entry.checker.places.clause_sources(when),
    )


def event_of(entry: MappingReader) -> str | None:
    """The type of the event, or of the moment, that a mapping names."""
    event = entry.read("event", Checker.event, None)
    moment = entry.read("moment", Checker.name, None, "moments")
    written = entry.get("moment")
    if written is not None and entry.get("event") is not None:
        message = f"{entry.what} has both event and moment"
        entry.checker.error("conflict", written.key, message, "delete one of them")
    return event if moment is None else f"{MOMENT}{moment}"
