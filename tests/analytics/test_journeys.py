"""The report of a journey counts what the runs of its range did, as a plain count does."""

from __future__ import annotations

import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.analytics.journeys import report_journey
from decision.analytics.segments import NothingFound
from tests.analytics.test_segments import write

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTHING: dict[str, Any] = {
    "key": "", "steps": [], "asked": None, "decision_id": None, "outcome": None, "holds": False,
    "skipped": None, "ended": None, "refused": None, "journey": "welcome",
}  # fmt: skip


def row(run: str, started: datetime, minutes: float = 0, **what: Any) -> dict[str, Any]:
    at = started + timedelta(minutes=minutes)
    name = f"{run}-{minutes}-{len(what)}"
    return {
        "record_id": f"{name}.0", "customer_id": f"c-{run}", "at": at, "run": run,
        "started": started, **NOTHING, **what,
    }  # fmt: skip


def by_hand(started: datetime) -> list[dict[str, Any]]:
    """Four runs: goal in the pause, asked twice and finished, too late to ask, under way; and one
    that was refused."""
    return [
        row("a", started),
        row("a", started, 1, steps=["hello:ask", "pause:wait"], asked="hello", outcome="selected"),
        row("a", started, 30, ended="goal"),
        row("b", started),
        row("b", started, 1, steps=["hello:ask"], asked="hello", outcome="none", holds=True),
        row("b", started, 9, asked="hello", outcome="fallback", steps=["pause:wait"]),
        row("b", started, 200, steps=["last:end"], ended="finished"),
        row("c", started, 3000, steps=["hello:ask", "pause:wait"], skipped="hello"),
        row("c", started, 3200, steps=["last:end"], ended="finished"),
        row("d", started, 1, steps=["hello:ask", "pause:wait"], asked="hello", outcome="selected"),
        row("e", started, 0, refused="runs"),
        row("other", started, 0, steps=["hello:ask"], journey="other"),
    ]


def test_steps_asks_ends_and_the_time_to_the_goal_are_those_counted_by_hand(tmp_path: Path) -> None:
    write(tmp_path, "journeys", by_hand(NOON))
    found = report_journey(tmp_path, "welcome")
    assert (found.entered, found.under_way, found.refused) == (4, 1, 1)
    assert found.ends == {"finished": 2, "goal": 1}
    assert found.seconds_to_goal is not None and found.seconds_to_goal["p50"] == 1800
    hello, pause, last = found.steps
    assert (hello.step, hello.kind, hello.entered, hello.visits) == ("hello", "ask", 4, 4)
    assert (hello.asked, hello.selected, hello.held, hello.nothing, hello.skipped) == (
        4,
        2,
        1,
        1,
        1,
    )
    assert (hello.reached, hello.conversion, hello.here) == (1, 0.25, 0)
    assert (pause.entered, pause.here, pause.ended) == (4, 1, {"goal": 1})
    assert (last.entered, last.goal, last.reached, last.ended) == (2, 0, 0.5, {"finished": 2})
    assert found.incomplete == ["some runs have not ended: conversions may still rise"]
    assert found.archived_from == NOON


def test_steps_are_in_the_order_of_the_rules_also_where_nobody_entered_them(tmp_path: Path) -> None:
    write(tmp_path, "journeys", by_hand(NOON))
    found = report_journey(tmp_path, "welcome", order=["hello", "never", "pause"])
    assert [(one.step, one.entered) for one in found.steps] == [
        ("hello", 4),
        ("never", 0),
        ("pause", 4),
        ("last", 2),
    ]


def test_a_run_counts_on_the_local_day_on_which_it_started_whenever_it_ended(
    tmp_path: Path,
) -> None:
    """In Shanghai 16:30 UTC is the next day; the same day in London."""
    write(tmp_path, "journeys", by_hand(datetime(2026, 11, 20, 16, 30, tzinfo=UTC)))
    day = date(2026, 11, 21)
    shanghai = {"timezone": "Asia/Shanghai"}
    assert report_journey(tmp_path, "welcome", first=day, last=day, **shanghai).entered == 4
    before = report_journey(tmp_path, "welcome", last=day - timedelta(days=1), **shanghai)
    assert (before.entered, before.steps, before.seconds_to_goal) == (0, [], None)
    london = report_journey(tmp_path, "welcome", first=day, timezone="Europe/London")
    assert london.entered == 0
    ahead = report_journey(tmp_path, "welcome", first=date(2026, 1, 1), last=date(2027, 1, 1))
    assert len(ahead.incomplete) == 3


def test_a_journey_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    write(tmp_path, "journeys", by_hand(NOON))
    with pytest.raises(
        NothingFound, match=r'has no journey welcom; it has .*did you mean "welcome'
    ):
        report_journey(tmp_path, "welcom")
    with pytest.raises(NothingFound, match="it has none yet"):
        report_journey(tmp_path / "none", "welcome")


STEPS = ("hello", "pause", "最后")
visit = st.tuples(
    st.sampled_from(STEPS), st.sampled_from([None, "selected", "none", "held", "skipped"])
)
runs = st.lists(
    st.tuples(st.lists(visit, max_size=6), st.sampled_from([None, "goal", "finished", "stopped"])),
    min_size=1,
    max_size=6,
)


@given(runs)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_it_counts_as_a_plain_count_of_runs_does(
    tmp_path_factory: pytest.TempPathFactory, runs: Any
) -> None:
    """Also where steps are entered again and again, and several in one write."""
    folder = tmp_path_factory.mktemp("archive")
    rows, entered, goals, here, asked = (
        [],
        Counter[str](),
        Counter[str](),
        Counter[str](),
        Counter[Any](),
    )
    for number, (visits, ended) in enumerate(runs):
        name = f"r{number}"
        rows.append(row(name, NOON))
        for place, (step, outcome) in enumerate(visits):
            what: dict[str, Any] = {"steps": [f"{step}:ask"]}
            if outcome == "skipped":
                what["skipped"] = step
            elif outcome is not None:
                said = "none" if outcome == "held" else outcome
                what |= {"asked": step, "outcome": said, "holds": outcome == "held"}
            rows.append(row(name, NOON, place, **what))
            asked[step, outcome] += 1
        if ended:
            rows.append(row(name, NOON, len(visits), ended=ended))
        own = {step for step, _ in visits}
        entered.update(own)
        goals.update(own if ended == "goal" else ())
        here.update([visits[-1][0]] if visits and not ended else [])
    write(folder, "journeys", rows)
    found = report_journey(folder, "welcome", order=STEPS)
    assert found.entered == len(runs)
    assert found.ends == dict(Counter(ended for _, ended in runs if ended))
    for step in found.steps:
        assert (step.entered, step.goal, step.here) == (
            entered[step.step],
            goals[step.step],
            here[step.step],
        )
        figures = (step.selected, step.held, step.nothing, step.skipped)
        outcomes = ("selected", "held", "none", "skipped")
        assert figures == tuple(asked[step.step, outcome] for outcome in outcomes)
    took = [60 * len(visits) for visits, ended in runs if ended == "goal"]
    if took:
        assert found.seconds_to_goal is not None
        assert found.seconds_to_goal["p50"] == pytest.approx(statistics.median(took))
