"""What became of messages, why nothing was said, and what budgets were spent, counted by hand."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from decision.analytics.reports import KINDS
from decision.console.language import Language
from decision.core.definition import PolicyDefinition
from decision.rulebook.reader import load_files
from tests.analytics.reports.made import NOON, decided, report, write_decisions, write_rows
from tests.analytics.reports.whole import policy, rows, write_whole

RULES = """
settings: {timezone: UTC, currency: CNY}
purposes: {tips: {consent: opt_out}}
channels:
  email: {cost: 2, reservation: {expires_after: 1d, then: release}}
  push: {cost: 0.5}
placements: {outbound: {channels: [email, push]}}
messages:
  news: {purpose: tips, channels: [email, push], value: 1, content: {title: N}, budget: {total: 3, per_day: 2}}
budgets: {month: {of: {}, spend: 10, per: calendar month}}
"""


def rules() -> PolicyDefinition:
    found = load_files({"rules.yaml": RULES})
    assert found.definition is not None
    return found.definition


def told(archive: Path, decision: str | None, kind: str, minutes: float, **said: Any) -> None:
    import json

    at = NOON + timedelta(minutes=minutes)
    row = {
        "event_id": f"{decision}-{kind}-{minutes}", "customer_id": "a", "type": kind, "at": at,
        "received_at": at, "properties": json.dumps(said), "decision_id": decision,
    }  # fmt: skip
    write_rows(archive, "events", f"{at:%Y-%m-%d}", [row])


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six messages: read by a person after a program, failed, dropped, waiting, never heard of, and
    sent again after a failure."""
    folder = tmp_path_factory.mktemp("deliveries")
    given = [
        decided("a", number * 60 - days * 86_400, message="news", channel=channel, decision_id=f"d-{number}")
        for number, channel, days in (
            (0, "email", 0), (1, "email", 0), (2, "push", 0), (3, "push", 0), (4, "email", 2),
            (5, "push", 0),
        )
    ]  # fmt: skip
    write_decisions(folder, [*given, decided("b", 0, decision_id="d-none")])
    told(folder, "d-0", "message.sent", 1, gateway="mail")
    told(folder, "d-0", "message.opened", 2, machine=True)
    told(folder, "d-0", "message.opened", 11)
    told(folder, "d-1", "message.failed", 2, reason="mailbox full")
    told(folder, "d-2", "message.not_shown", 3, reason="no_consent")
    told(folder, "d-5", "message.failed", 6, reason="busy")
    told(folder, "d-5", "message.sent", 9)
    return folder


def test_each_message_is_in_one_state_and_times_and_reasons_are_told(archive: Path) -> None:
    found = report("deliveries", archive, rules())
    one = found.all
    assert (one.chosen, one.sent, one.failed, one.dropped) == (6, 2, 1, 1)
    assert (one.queued, one.unknown, one.opened) == (1, 1, 1)
    assert [(group.name, group.chosen) for group in found.groups] == [("email", 3), ("push", 3)]
    assert {(why.state, why.reason) for why in found.reasons} == {
        ("failed", "mailbox full"), ("dropped", "no_consent"),
    }  # fmt: skip
    times = {time.until: time.median_seconds for time in found.times}
    assert times == {"sent": (60 + 240) / 2, "opened": 600}
    by = report("deliveries", archive, rules(), by="gateway", channel="email")
    assert {(group.name, group.sent) for group in by.groups} == {("mail", 1), (None, 0)}
    waits, unheard = found.incomplete
    assert "1 message is still waiting" in waits and "chosen 2026-11-20 12:03 (UTC)" in waits
    assert "of 1 message nothing was ever told" in unheard
    assert found.queued_since == NOON + timedelta(minutes=3)


def test_events_about_messages_that_name_no_decision_are_said_not_to_be_counted(
    tmp_path: Path,
) -> None:
    """As of newsletters that another tool sent; without a program's opens, and each once."""
    write_decisions(tmp_path, [decided("a", 0, message="news", channel="email", decision_id="d")])
    told(tmp_path, None, "message.opened", 1)
    told(tmp_path, None, "message.opened", 1)
    told(tmp_path, None, "message.opened", 2, machine=True)
    told(tmp_path, None, "message.clicked", 3)
    told(tmp_path, None, "message.clicked", -3 * 24 * 60)
    said = "2 events about messages are not counted: they name no decision"
    found = report("deliveries", tmp_path, rules(), from_="2026-11-20")
    assert found.all.opened == 0 and said in found.incomplete
    assert said not in report("deliveries", tmp_path, rules(), channel="email").incomplete


def test_messages_are_counted_by_when_they_were_chosen_and_why_not_by_group(
    archive: Path,
) -> None:
    found = report("deliveries", archive, rules())
    days = {f"{one.begins}": (one.sent, one.unknown) for one in found.periods}
    assert days == {"2026-11-18": (0, 1), "2026-11-19": (0, 0), "2026-11-20": (2, 0)}
    assert [(why.name, why.reason) for why in found.reasons] == [
        ("email", "mailbox full"), ("push", "no_consent"),
    ]  # fmt: skip
    assert (
        sum(one.sent for one in report("deliveries", archive, rules(), message="news").periods) == 2
    )
    said = Language("zh").say(KINDS["deliveries"].show(found).tables[2].rows[1][2])
    assert said == "未获同意"


def test_budgets_count_what_was_not_given_back_and_when_they_are_spent(archive: Path) -> None:
    """Of six messages two were refused for good, and one on e-mail expired and was released."""
    found = report("budgets", archive, rules())
    total, per_day, month = found.budgets
    assert (total.name, total.per, total.spent, total.limit) == ("news", None, 3, 3)
    assert total.spent_at is not None and total.spent_at <= found.archived_until
    assert (per_day.per, per_day.spent) == ("day", 3)
    assert (month.shared, month.unit, month.spent, month.limit) == (True, "CNY", 3.0, 10.0)
    assert sum(month.days) == 3.0 and len(month.days) == len(found.days)
    late = report("budgets", archive, rules(), from_="2026-11-19")
    assert any("within the periods of news, month: only" in text for text in late.incomplete)
    none = report("budgets", archive)
    assert none.budgets == [] and any("no budgets" in text for text in none.incomplete)


def test_a_budget_that_outlasts_its_period_has_no_end(tmp_path: Path) -> None:
    """Half a yuan each day for five days, of ten: the month is over before."""
    given = [
        decided("a", day * 86_400, message="news", channel="push", decision_id=f"d-{day}")
        for day in range(5)
    ]
    found = report("budgets", write_decisions(tmp_path, given), rules())
    month = found.budgets[2]
    assert (month.per_day, month.spent, month.spent_at) == (0.5, 2.5, None)


def test_reasons_are_those_of_the_decisions_of_each_period(tmp_path: Path) -> None:
    archive = write_whole(tmp_path)
    found = report("reasons", archive, policy())
    made = [row for dataset, _, row in rows() if dataset == "decisions"]
    silent = Counter(row["reason"] for row in made if row["outcome"] == "none")
    assert found.reasons == silent and found.decisions == len(made)
    assert list(found.reasons.values()) == sorted(silent.values(), reverse=True)
    days = Counter(f"{row['decided_at']:%Y-%m-%d}" for row in made)
    assert {f"{one.begins}": one.decisions for one in found.periods if one.decisions} == days
    for one in found.periods:
        assert one.decisions == one.selected + one.fallback + one.none
        assert sum(one.reasons.values()) == one.fallback + one.none
    [where] = found.placements
    assert (where.placement, where.decisions) == ("outbound", found.decisions)
    assert where.reason == next(iter(found.reasons))
    nowhere = report("reasons", archive, from_="2027-01-01")
    assert (nowhere.decisions, nowhere.periods) == (0, [])


def test_a_journey_is_asked_by_its_name(tmp_path: Path) -> None:
    archive = write_whole(tmp_path)
    found = report("journey", archive, policy(), name="welcome")
    assert (found.entered, found.customers, found.under_way) == (12, 12, 4)
    assert found.ends == {"finished": 4, "goal": 4}
    assert [step.step for step in found.steps] == ["hello", "done"]
    later = report("journey", archive, policy(), name="welcome", from_="2026-11-21")
    assert later.entered < found.entered
