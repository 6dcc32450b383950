"""What customers did after an experiment began to matter to them is counted by variant."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.analytics.anytime import FEWEST
from decision.analytics.assignments import HELD, OTHERS
from decision.analytics.outcomes import ArmOutcome, OutcomeReport, report_outcomes
from decision.archive.log_columns import LogColumns
from decision.core.clock import DAY, to_micros
from decision.core.definition import Experiment
from tests.analytics.test_segments import NOON, event, write

pytest.importorskip("pyarrow")

WEEK = 7 * DAY
COLOUR = Experiment(name="colour", seed="s", variants={"red": 0.5, "blue": 0.5})
GROUP = Experiment(name="nobody", seed="n", share=0.5)


def decided(customer: str, at: datetime, variant: str | None, held: bool = False) -> dict[str, Any]:
    return {
        "decision_id": f"d-{customer}-{at.isoformat()}-{variant}",
        "decided_at": at,
        "customer_id": customer,
        "outcome": "none",
        "experiments": [] if variant is None else [("colour", variant)],
        "holdout": held,
        "degraded": [],
    }


def bought(customer: str, at: datetime, amount: object = 10, number: int = 0) -> dict[str, Any]:
    return event(customer, "purchase", at, number, amount=amount)


def report(
    archive: Path, decisions: Sequence[Any], events: Sequence[Any], **options: Any
) -> OutcomeReport:
    write(archive, "decisions", list(decisions))
    ends = event("nobody-at-all", "app_open", NOON + timedelta(days=30))  # how far the log goes
    write(archive, "events", [*events, ends])
    known: dict[str, Any] = {"event": "purchase", "within": WEEK}
    given = options.pop("experiments", [COLOUR])
    return report_outcomes(LogColumns(archive), given, **{**known, **options})


def arms(found: OutcomeReport, place: int = 0) -> dict[str, ArmOutcome]:
    return {one.name: one for one in found.experiments[place].arms}


def test_what_was_done_in_time_after_the_first_decision_that_mattered_counts(
    tmp_path: Path,
) -> None:
    day = timedelta(days=1)
    decisions = [
        decided("before", NOON, "red"),
        decided("early", NOON, None),  # the test had no effect on it
        decided("early", NOON + day, "red"),
        decided("early", NOON + 3 * day, "red"),
        decided("late", NOON, "blue"),
        decided("edge", NOON, "blue"),
        decided("twice", NOON, "blue"),
        decided("open", NOON + 29 * day, "blue"),
    ]
    events = [
        bought("before", NOON - day),
        bought("before", NOON),  # at that very moment: it was not the variant
        bought("early", NOON + day / 2),
        bought("early", NOON + 8 * day, 3),
        bought("late", NOON + 7 * day + timedelta(microseconds=1)),
        bought("edge", NOON + 7 * day, 5),
        bought("twice", NOON + day, 4, 1),
        bought("twice", NOON + 2 * day, "much", 2),
        bought("open", NOON + 29 * day + day / 2),
        bought("stranger", NOON + day),
    ]
    found = report(tmp_path, decisions, events)
    red, blue = arms(found)["red"], arms(found)["blue"]
    assert (red.customers, red.converted, red.value) == (2, 1, 1.5)
    assert (blue.customers, blue.converted, blue.value) == (3, 2, 3.0)
    assert (found.experiments[0].waiting, found.experiments[0].mixed) == (1, 0)
    assert found.experiments[0].control == "red" and red.conversion is None
    assert blue.conversion is not None and blue.conversion.estimate == pytest.approx(2 / 3 - 1 / 2)
    assert blue.verdict == "early"


def test_customers_of_two_variants_are_left_out_and_those_of_other_shares_too(
    tmp_path: Path,
) -> None:
    day = timedelta(days=1)
    decisions = [
        decided("both", NOON, "red"),
        decided("both", NOON + day, "blue"),
        decided("old", NOON - 9 * day, "blue"),
        decided("old", NOON, "red"),
        decided("unknown", NOON, "green"),  # a variant that is gone
    ]
    found = report(tmp_path, decisions, [], since={"colour": NOON - day})
    assert {name: one.customers for name, one in arms(found).items()} == {"red": 1, "blue": 0}
    assert found.experiments[0].mixed == 1
    again = report(tmp_path, decisions, [])
    assert again.experiments[0].mixed == 2
    later = report(tmp_path, decisions, [], begin=to_micros(NOON + day))
    assert sum(one.customers for one in arms(later).values()) == 0


def test_control_groups_are_compared_with_everybody_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    decisions, events = [], []
    for number in range(4_000):
        held = number % 2 == 0
        decisions.append(decided(f"c-{number}", NOON, None, held))
        if rng.random() < (0.10 if held else 0.16):
            events.append(bought(f"c-{number}", NOON + timedelta(days=1), 20))
    found = report(tmp_path, decisions, events, experiments=[GROUP, COLOUR])
    held, others = arms(found)[HELD], arms(found)[OTHERS]
    assert found.experiments[0].control == HELD
    assert held.customers == others.customers == 2_000
    assert (held.verdict, others.verdict) == ("control", "more")
    assert others.worth is not None and others.worth.always[0] > 0
    assert arms(found, 1)["red"].customers == 0 and arms(found, 1)["blue"].verdict == "early"


def test_the_variant_named_control_is_the_control_and_several_share_the_error(
    tmp_path: Path,
) -> None:
    names = ["a", "b", "control"]
    test = Experiment(name="colour", seed="s", variants=dict.fromkeys(names, 1 / 3))
    decisions, events = [], []
    for number in range(900):
        decisions.append(decided(f"c-{number}", NOON, names[number % 3]))
        if number % 30 < 6:
            events.append(bought(f"c-{number}", NOON + timedelta(hours=1)))
    three = report(tmp_path / "three", decisions, events, experiments=[test])
    assert three.experiments[0].control == "control"
    assert {one.verdict for one in three.experiments[0].arms} == {"open", "control"}
    two = Experiment(name="colour", seed="s", variants={"a": 0.5, "control": 0.5})
    wide, narrow = (
        arms(found)["a"].conversion
        for found in (three, report(tmp_path / "two", decisions, events, experiments=[two]))
    )
    assert wide is not None and narrow is not None
    assert wide.always[0] < narrow.always[0]


def test_few_who_did_it_are_too_early_whatever_the_difference(tmp_path: Path) -> None:
    decisions, events = [], []
    for number in range(200):
        variant = "red" if number < 100 else "blue"
        decisions.append(decided(f"c-{number}", NOON, variant))
        if (variant == "blue" and number % 2) or number < FEWEST - 1:
            events.append(bought(f"c-{number}", NOON + timedelta(hours=1)))
    assert arms(report(tmp_path, decisions, events))["blue"].verdict == "early"
