"""`journey.<name>.…`: where the customer is in a journey."""

from __future__ import annotations

from decision.core.clock import time_text
from decision.core.fields.situation import Field, Situation, UnknownField
from decision.core.journeys.state import Run
from decision.core.values import MISSING, Value

JOURNEY_MEASURES = ("step", "since")
"""The last part of a field's name: the step that a run is in, and the time at which it began."""


def journey_field(name: str, rest: str) -> Field:
    """The step of the customer's run in a journey, or since when it is in it; missing without one.

    Where a key makes several runs, it is the one that started first.

    Raises:
        UnknownField: it is another measure.
    """
    journey, _, measure = rest.rpartition(".")
    if not journey or measure not in JOURNEY_MEASURES:
        raise UnknownField(
            f"{name!r} is not a field; write journey.<name>.step or journey.<name>.since"
        )
    if measure == "step":
        return Field(name, lambda s: _step(_first(s, journey)), "text", journey=journey)
    return Field(name, lambda s: _since(_first(s, journey)), "time", journey=journey)


def _first(situation: Situation, journey: str) -> Run | None:
    state = situation.document.journeys
    runs = state.runs.get(journey) if state else None
    return runs[0] if runs else None


def _step(run: Run | None) -> Value:
    return MISSING if run is None else run.step


def _since(run: Run | None) -> Value:
    return MISSING if run is None else time_text(run.entered or run.wake)
