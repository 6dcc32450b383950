"""What journeys and moments name besides conditions: fields with dates, segments, event types."""

from __future__ import annotations

from collections.abc import Iterator

from decision.core.definition import PolicyDefinition
from decision.core.journeys.definition import (
    DateStart,
    Journey,
    SegmentStart,
    SetAttributes,
    WaitUntilDate,
)

Named = tuple[str, str, tuple[str | int, ...], str]
"""(section, name, path of the value, what it names)."""


def fields_named(definition: PolicyDefinition) -> Iterator[Named]:
    """Fields of the customer that starts and waits name."""
    for journey in definition.journeys:
        section, name, start = "journeys", journey.name, journey.start
        if isinstance(start, SegmentStart):
            yield section, name, ("start", "segment"), f"customer.segment.{start.segment}"
        if isinstance(start, DateStart):
            yield section, name, ("start", "date"), start.field
        for step in journey.steps:
            if isinstance(step, WaitUntilDate) and step.field.startswith("customer."):
                yield section, name, ("steps", step.name, "wait", "until"), step.field


def dates_named(
    definition: PolicyDefinition,
) -> Iterator[tuple[str, str, tuple[str | int, ...], str, str]]:
    """(section, name, path, field, what becomes of no date) of starts and waits by a date."""
    for journey in definition.journeys:
        name, start = journey.name, journey.start
        if isinstance(start, DateStart):
            yield "journeys", name, ("start", "date"), start.field, "it never starts"
        for step in journey.steps:
            if isinstance(step, WaitUntilDate) and step.field.startswith("customer."):
                path = ("steps", step.name, "wait", "until")
                yield "journeys", name, path, step.field, "the run ends (unreadable_date)"


def fields_set(journeys: tuple[Journey, ...]) -> set[str]:
    """The attributes that steps set, as `customer.…`."""
    return {
        f"customer.{name}"
        for journey in journeys
        for step in journey.steps
        if isinstance(step, SetAttributes)
        for name in step.values
    }
