"""`journey.<name>.step` and `.since` say where a customer is in a journey."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from decision.core.document import Document
from decision.core.fields import Situation, UnknownField, parse_field
from decision.core.journeys.state import JourneyState, Run
from decision.core.values import MISSING

MINUTE = 60_000_000


def read(name: str, *runs: Run) -> Any:
    document = Document(customer_id="mei", journeys=JourneyState(runs={"welcome": list(runs)}))
    return parse_field(name).read(Situation(document, "", 0, UTC))


def test_the_step_and_since_when_are_those_of_the_run_that_started_first() -> None:
    first = Run("r-1", "a", 0, "pause", MINUTE, 9 * MINUTE, 2)
    second = Run("r-2", "b", 1, "hello", 2 * MINUTE, 9 * MINUTE, 1)
    assert read("journey.welcome.step", first, second) == "pause"
    assert read("journey.welcome.since", first, second) == "1970-01-01T00:01:00.000000Z"


def test_a_run_that_has_not_entered_its_step_yet_is_there_since_it_is_due() -> None:
    assert read("journey.welcome.since", Run("r", "", 0, "hello", 0, MINUTE)).endswith(
        "00:01:00.000000Z"
    )


def test_outside_of_a_journey_both_are_missing() -> None:
    for name in ("journey.welcome.step", "journey.other.since"):
        assert read(name) is MISSING
        assert parse_field(name).read(Situation(Document(customer_id="mei"), "", 0, UTC)) is MISSING


@pytest.mark.parametrize("name", ["journey", "journey.welcome", "journey.step", "journey.w.key"])
def test_other_measures_are_no_fields(name: str) -> None:
    with pytest.raises(UnknownField, match="journey"):
        parse_field(name)
