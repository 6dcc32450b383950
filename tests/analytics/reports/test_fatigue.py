"""What one more contact does is found where keen customers get more of them; counts say otherwise."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from decision.analytics.reports import KINDS
from tests.analytics.reports.made import Done, decided, report, write, write_decisions
from tests.analytics.reports.test_experiment import DAY, end, policy

RULES = (
    "{settings: {timezone: UTC}, metrics: {buyers: {event: purchase, measure: share, within: 2h}}}"
)
HOUR = 3_600
TRUE = -0.04
"""What each contact of the last seven days does to the probability of a response."""
GONE = 0.01


def simulated(archive: Path, customers: int = 900, days: int = 11, *, sure: bool = False) -> None:
    """Keen customers are told more often and respond more; each earlier contact takes some away."""
    random = Random(4)
    rows, events = [], []
    for number in range(customers):
        name, keen = f"c-{number}", number % 2
        chance = 0.62 if keen else 0.38
        told: list[int] = []
        for day in range(days):
            at = day * DAY
            before = sum(day - 7 <= one < day for one in told)
            if says := random.random() < chance:
                told.append(day)
                if random.random() < 0.35 + 0.3 * keen + TRUE * before:
                    events.append(Done(name, "purchase", at + HOUR, {}, f"{name}-{day}"))
                if random.random() < 0.02 + GONE * before:
                    events.append(
                        Done(name, "message.unsubscribed", at + HOUR, {}, f"{name}-{day}-u")
                    )
            own = 1.0 if sure and says else None if sure else chance
            rows.append(
                decided(
                    name,
                    at,
                    message="tea" if says else "",
                    chance=own,
                    candidates=[("tea", own, None if says else "below_threshold")],
                )
            )
    write_decisions(archive, rows)
    write(archive, events)
    end(archive, days + 1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    archive = tmp_path_factory.mktemp("fatigue")
    simulated(archive)
    return report("fatigue", archive, policy(archive, RULES, "v1"), windows="7d")


def test_the_true_effect_is_in_the_interval_and_the_raw_counts_have_it_the_wrong_way_round(
    found: Any,
) -> None:
    [window] = found.windows
    effect = window.response
    assert effect.fixed[0] < TRUE < effect.fixed[1] < 0, effect
    assert window.unsubscribed.fixed[0] < GONE < window.unsubscribed.fixed[1]
    raw = {one.earlier: one.raw_response for one in window.lines}
    assert raw[5] - raw[2] > 2 * TRUE  # counts alone: far less harm than there is
    assert window.effective > 50 and found.drawn == 900 * 11


def test_raw_is_called_raw_and_effects_are_said(found: Any) -> None:
    shown = KINDS["fatigue"].show(found)
    assert shown.said[0].startswith("7d: one more contact before changes buyers of a contact by -")
    assert [name for column in shown.tables[0].columns if "raw" in (name := column.name)]


def test_where_nothing_was_drawn_nothing_is_said_to_be_known(tmp_path: Path) -> None:
    simulated(tmp_path, 60, sure=True)
    found = report("fatigue", tmp_path, policy(tmp_path, RULES, "v1"), windows="7d")
    [window] = found.windows
    assert found.drawn == 0 and window.response is None and window.contacts > 0
    assert any("silence was drawn in no decision" in one for one in found.incomplete)
    assert "not known" in KINDS["fatigue"].show(found).said[0]
