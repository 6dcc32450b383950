"""Retention curves by holdout arm, against a plain count, and what is not known yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.evaluation.plots import plot_retention
from decision.evaluation.retention import Share, newcombe, retention
from decision.learning.metrics import wilson
from tests.learning.logs import write_rows

START = datetime(2026, 9, 1, tzinfo=UTC)


def write(folder: Path, seed: int = 1) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """200 customers, one to three decisions each, and events to the microsecond of week's ends."""
    generator = np.random.default_rng(seed)
    decisions, events = [], []
    for number in range(200):
        customer = f"c-{number}"
        first = START + timedelta(hours=int(generator.integers(0, 24 * 30)))
        decisions += [
            {
                "decision_id": f"d-{number}-{again}",
                "decided_at": first + timedelta(days=again),
                "customer_id": customer,
                "holdout": number % 4 == 0,
            }
            for again in range(int(generator.integers(1, 4)))
        ]
        for extra in range(int(generator.integers(0, 6))):
            week = timedelta(days=7) * int(generator.integers(0, 6))
            off = timedelta(microseconds=int(generator.integers(-1, 2)))
            at = first + week + off
            events.append(
                {
                    "event_id": f"e-{number}-{extra}",
                    "customer_id": customer,
                    "type": str(generator.choice(["app_open", "purchase", "message.opened"])),
                    "at": at,
                    "received_at": at,
                }
            )
    write_rows(folder, "decisions", decisions, "decided_at")
    write_rows(folder, "events", events, "at")
    return decisions, events


def test_the_arm_of_two_first_decisions_at_one_time_does_not_depend_on_their_order(
    tmp_path: Path,
) -> None:
    rows = [
        {"decision_id": f"d-{arm}", "decided_at": START, "customer_id": "c", "holdout": arm}
        for arm in (True, False)
    ]
    for name, order in (("one", rows), ("other", rows[::-1])):
        write_rows(tmp_path / name, "decisions", order, "decided_at")
        found = retention(tmp_path / name)
        assert (found.treated, found.holdout) == (1, 0), name


@pytest.mark.parametrize("event", ["any", "app_open"])
def test_curves_are_what_a_plain_count_gives(tmp_path: Path, event: str) -> None:
    """Customers active in week k, of those with week k over; events of messages do not count."""
    decisions, events = write(tmp_path)
    found = retention(tmp_path, event=event, weeks=6)
    until = max([row["decided_at"] for row in decisions] + [row["received_at"] for row in events])
    first: dict[str, datetime] = {}
    for row in decisions:
        first[row["customer_id"]] = min(
            row["decided_at"], first.get(row["customer_id"], row["decided_at"])
        )
    arm = {row["customer_id"]: row["holdout"] for row in decisions}
    assert found.treated == 150 and found.holdout == 50
    seen = 0
    for week in found.weeks:
        low, high = timedelta(days=7) * (week.week - 1), timedelta(days=7) * week.week
        for held, share in ((False, week.treated), (True, week.holdout)):
            due = {one for one in first if arm[one] is held and first[one] + high <= until}
            came = {
                row["customer_id"]
                for row in events
                if row["customer_id"] in due
                and low < row["at"] - first[row["customer_id"]] <= high
                and (
                    row["type"] == event
                    or (event == "any" and not row["type"].startswith("message."))
                )
            }
            if share is None:
                assert not due
                continue
            seen += share.active
            assert (share.customers, share.active) == (len(due), len(came))
            assert share.interval[0] <= share.share <= share.interval[1]
    assert seen > 50


def test_wilsons_interval_is_that_of_the_books() -> None:
    """Newcombe 1998, table I: 81 of 263 gives .2553 to .3662; 0 of 20 gives 0 to .1611."""
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20, 0.95) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(20, 20, 0.95)[1] == 1


def test_newcombes_difference_is_that_of_the_books() -> None:
    """Newcombe 1998 (method 10): 56 of 70 against 48 of 80 gives .0524 to .3339."""

    def share(active: int, customers: int) -> Share:
        interval = wilson(active, customers, 0.95)
        return Share(
            customers=customers, active=active, share=active / customers, interval=interval
        )

    assert newcombe(share(56, 70), share(48, 80)) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_an_empty_arm_and_an_unfinished_week_have_no_share(tmp_path: Path) -> None:
    row = {"decision_id": "d", "decided_at": START, "customer_id": "c", "holdout": False}
    write_rows(tmp_path, "decisions", [row], "decided_at")
    late = START + timedelta(days=8)
    event = {"event_id": "e", "customer_id": "c", "type": "app_open", "at": late}
    write_rows(tmp_path, "events", [{**event, "received_at": late}], "at")
    found = retention(tmp_path, weeks=2)
    assert found.weeks[0].treated is not None and found.weeks[0].treated.active == 0
    assert found.weeks[1].treated is None and found.weeks[0].holdout is None
    assert found.weeks[0].difference is None
    plot_retention(found, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_text("utf-8").startswith("<?xml")
    with pytest.raises(FileNotFoundError):
        retention(tmp_path / "nowhere")


def test_customers_that_were_merged_are_one(tmp_path: Path) -> None:
    """Events under the new id of a merged customer count as theirs."""
    decisions, events = write(tmp_path / "plain")
    write_rows(tmp_path / "merged", "decisions", decisions, "decided_at")
    moved = [{**row, "customer_id": f"新-{row['customer_id']}"} for row in events]
    write_rows(tmp_path / "merged", "events", moved, "at")
    assert retention(tmp_path / "merged").weeks != retention(tmp_path / "plain").weeks
    merges = [
        {
            "customer_id": f"新-{each}",
            "kind": "merge",
            "at": START,
            "detail": f'{{"from":"{each}"}}',
        }
        for each in sorted({row["customer_id"] for row in decisions})
    ]
    write_rows(tmp_path / "merged", "changes", merges, "at")
    assert retention(tmp_path / "merged").weeks == retention(tmp_path / "plain").weeks
