"""From the log to the table: who responded, in time, to what they were really given."""

from __future__ import annotations

from typing import Any

from decision.core.clock import DAY, HOUR
from decision.core.definition import Goal
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import TrainingTable
from decision.learning.training_table import build_table

START = 1_795_226_400_000_000
GOALS = {"优惠": Goal(event="purchase", within=7 * DAY), "news": Goal(event="visit", within=DAY)}
SPEC = "name: a\nfeatures: {time.hour: numeric}\n"


def decision(name: str, at: int, *messages: str, customer: str = "c-1") -> dict[str, Any]:
    return {
        "decision_id": name,
        "decided_at": START + at,
        "customer_id": customer,
        "selections": [
            {
                "message": message,
                "channel": "push",
                "features": {"time.hour": 10, "message.name": message},
                "selection_probability": 0.5,
            }
            for message in messages
        ],
    }


def outcome(kind: str, at: int, customer: str = "c-1", **about: Any) -> dict[str, Any]:
    return {"customer_id": customer, "type": kind, "at": START + at, **about}


def build(
    decisions: list[dict[str, Any]],
    outcomes: list[dict[str, Any]],
    spec: str = SPEC,
    until: int = 30 * DAY,
) -> TrainingTable:
    read: Spec = parse_spec("a.yaml", spec)
    return build_table(decisions, outcomes, read, GOALS, until=START + until)


def labels(table: TrainingTable) -> list[tuple[str, float]]:
    return list(zip(table.message, table.label.tolist(), strict=True))


def test_a_goal_counts_after_the_decision_and_up_to_its_window_inclusive() -> None:
    for at, expected in ((0, 0), (1, 1), (7 * DAY, 1), (7 * DAY + 1, 0), (-HOUR, 0)):
        table = build([decision("d", 0, "优惠")], [outcome("purchase", at)])
        assert labels(table) == [("优惠", expected)], at


def test_only_this_customer_and_this_event_count() -> None:
    others = [outcome("purchase", HOUR, customer="c-2"), outcome("visit", HOUR)]
    assert labels(build([decision("d", 0, "优惠")], others)) == [("优惠", 0.0)]


def test_an_outcome_about_another_decision_or_message_is_not_ours() -> None:
    decisions = [decision("d-1", 0, "优惠", "news"), decision("d-2", HOUR, "优惠")]
    about = outcome("purchase", 2 * HOUR, decision_id="d-2")
    assert labels(build(decisions, [about])) == [("优惠", 0), ("news", 0), ("优惠", 1)]
    visit = outcome("visit", 2 * HOUR, decision_id="d-1", message="优惠")
    assert labels(build(decisions, [visit])) == [("优惠", 0), ("news", 0), ("优惠", 0)]


def test_what_is_too_young_to_be_judged_is_left_out_even_if_it_succeeded() -> None:
    """Else the latest rows would be all responses."""
    decisions = [decision("d-1", 0, "优惠", "news")]
    bought = [outcome("purchase", HOUR)]
    assert labels(build(decisions, bought, until=7 * DAY)) == [("优惠", 1), ("news", 0)]
    assert labels(build(decisions, bought, until=7 * DAY - 1)) == [("news", 0)]


def test_what_nobody_got_is_left_out() -> None:
    failed = outcome("message.failed", HOUR, decision_id="d")
    seen = outcome("message.opened", 2 * HOUR, decision_id="d")
    assert labels(build([decision("d", 0, "news")], [failed])) == []
    assert labels(build([decision("d", 0, "news")], [failed, seen])) == [("news", 0)]
    one = outcome("message.not_shown", HOUR, decision_id="d", message="news")
    assert labels(build([decision("d", 0, "news", "优惠")], [one])) == [("优惠", 0)]
    other = outcome("message.failed", HOUR, decision_id="e")
    assert labels(build([decision("d", 0, "news")], [other])) == [("news", 0)]


def test_messages_without_a_goal_are_left_out_unless_the_spec_has_one_for_them() -> None:
    decisions = [decision("d", 0, "hello", "news")]
    clicked = [outcome("message.clicked", HOUR, decision_id="d", message="hello")]
    assert labels(build(decisions, clicked)) == [("news", 0)]
    spec = SPEC + "without_goal: {event: message.clicked, within: 2h}\n"
    assert labels(build(decisions, clicked, spec)) == [("hello", 1), ("news", 0)]


def test_a_target_of_the_spec_goes_before_the_goals_of_messages() -> None:
    spec = SPEC + "target: {event: visit, within: 3d}\n"
    table = build([decision("d", 0, "优惠", "news")], [outcome("visit", 2 * DAY)], spec)
    assert labels(table) == [("优惠", 1), ("news", 1)]


def test_a_record_that_the_log_holds_twice_counts_once() -> None:
    twice = [decision("d", 0, "news"), decision("d", 0, "news")]
    assert len(build(twice, [])) == 1


def test_rows_keep_their_features_channel_and_time() -> None:
    table = build([decision("d", HOUR, "news"), decision("e", 0)], [])
    assert table.time is not None and table.time.tolist() == [START + HOUR]
    assert table.channel == ["push"]
    assert list(table.columns["time.hour"]) == [10]


def test_an_empty_log_gives_an_empty_table() -> None:
    assert len(build([], [])) == 0
