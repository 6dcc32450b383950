"""Segments: CDNOW's published summary, quintiles, levels, merged and erased customers."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, to_micros
from decision.learning.archive.layout import schema_of
from decision.learning.segments import (
    NothingFound,
    level_thresholds,
    quintiles,
    score,
    segments,
    states_in_yaml,
)
from tests.data import needed

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def write(archive: Path, dataset: str, rows: list[dict[str, Any]], name: str = "part-0") -> None:
    folder = archive / dataset / "date=2026-11-20"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema_of(dataset)), folder / f"{name}.parquet")


def event(
    customer: str, kind: str, at: datetime, number: int = 0, **properties: Any
) -> dict[str, Any]:
    return {
        "event_id": f"{kind}-{customer}-{at.isoformat()}-{number}",
        "customer_id": customer,
        "type": kind,
        "at": at,
        "received_at": at,
        "properties": json.dumps(properties),
    }


def test_the_published_summary_of_cdnow_is_reproduced_exactly(tmp_path: Path) -> None:
    rows = []
    for number, line in enumerate(needed("cdnow/CDNOW_sample.txt").read_text().splitlines()):
        fields = line.split()
        day = datetime.strptime(fields[2], "%Y%m%d").replace(tzinfo=UTC)
        at = day + timedelta(hours=number % 24)
        rows.append(event(str(int(fields[1])), "purchase", at, number, amount=float(fields[4])))
    write(tmp_path, "events", rows)
    end = to_micros(datetime(1997, 9, 30, 23, 59, 59, tzinfo=UTC))
    found = segments(tmp_path, until=end, activity=None)
    with needed("cdnow/cdnow_customers_summary.csv").open() as file:
        published = {row["ID"]: row for row in csv.DictReader(file)}
    one = found.behaviour
    assert set(one.customer_id) == set(published)
    for customer, days, recency, age in zip(
        one.customer_id, one.days, one.recency_days, one.age_days, strict=True
    ):
        row = published[customer]
        assert days - 1 == int(row["frequency"])
        assert round(recency / 7, 2) == float(row["recency"])
        assert round(age / 7, 2) == float(row["T"])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_equal_values_score_alike_and_more_never_scores_less(values: list[int]) -> None:
    column = np.array(values)
    scores = score(column, quintiles(column))
    by_value = dict(zip(values, scores.tolist(), strict=True))
    assert scores.tolist() == [by_value[value] for value in values]
    ordered = [by_value[value] for value in sorted(by_value)]
    assert ordered == sorted(ordered)
    assert {*ordered} <= {1, 2, 3, 4, 5}


def test_ten_different_values_are_two_to_a_score() -> None:
    column = np.arange(10)
    assert score(column, quintiles(column)).tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 28), min_size=1), st.integers(0, 30))
def test_no_level_holds_more_than_its_share(active: dict[str, int], idle: int) -> None:
    everybody = {f"idle-{number}" for number in range(idle)} | set(active)
    shares = {"power": 0.05, "core": 0.15, "casual": 0.3}
    found = level_thresholds(active, everybody, shares)
    assert list(found) == list(shares)
    above = 0.0
    for name, share in shares.items():
        above += share
        reached = sum(days >= found[name] for days in active.values())
        assert reached <= above * len(everybody) + 1e-9
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_attributes_say_what_they_are_made_of(tmp_path: Path) -> None:
    rows = [
        event("a", "purchase", NOON - timedelta(days=10), amount=5),
        event("a", "purchase", NOON - timedelta(days=3), 1, amount=2.5),
        event("a", "purchase", NOON - timedelta(days=3), 2, amount="free"),
        event("b", "purchase", NOON, amount=1),
        *(event("c", "app_open", NOON - timedelta(days=day)) for day in range(30)),
    ]
    write(tmp_path, "events", [*rows, rows[0]])
    found = segments(tmp_path, until=to_micros(NOON), levels={"power": 0.5})
    attributes = dict(found.attributes())
    rfm = attributes["a"]["rfm"]
    assert {name: rfm[name] for name in ("days", "days_since", "total", "repeat")} == {
        "days": 2,
        "days_since": 3,
        "total": 7.5,
        "repeat": 1,
    }
    assert (rfm["recency_days"], rfm["age_days"]) == (7, 10)
    assert rfm["score"] == f"{rfm['recency']}{rfm['frequency']}{rfm['monetary']}"
    assert attributes["b"]["rfm"]["recency"] > rfm["recency"]
    assert attributes["c"] == {"activity": {"active_days": 28, "level": "power"}}
    assert attributes["b"]["activity"] == {"active_days": 0, "level": "low"}
    assert "power: {when: {events.app_open.active_days_28d: {gte: 1}}}" in states_in_yaml(
        found, "app_open", 28
    )


def test_a_customer_counts_as_the_one_they_were_merged_into(tmp_path: Path) -> None:
    rows = [
        event("anon-1", "purchase", NOON - timedelta(days=9), amount=1),
        event("anon-2", "purchase", NOON - timedelta(days=6), amount=2),
        event("a", "purchase", NOON, amount=4),
    ]
    write(tmp_path, "events", rows)
    merges = [("anon-2", "anon-1", 1), ("a", "anon-2", 2)]
    changes = [
        {
            "change_id": f"m{hour}",
            "customer_id": new,
            "kind": "merge",
            "at": NOON + timedelta(hours=hour),
            "detail": json.dumps({"from": old}),
        }
        for new, old, hour in merges
    ]
    write(tmp_path, "changes", changes)
    one = segments(tmp_path, activity=None).behaviour
    assert (one.customer_id, one.days.tolist(), one.total.tolist()) == (["a"], [3], [7.0])


def test_days_are_those_of_the_time_zone(tmp_path: Path) -> None:
    late = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
    write(
        tmp_path, "events", [event("a", "purchase", at) for at in (late, late + timedelta(hours=1))]
    )
    assert segments(tmp_path, activity=None).behaviour.days.tolist() == [1]
    china = segments(tmp_path, activity=None, timezone="Asia/Shanghai")
    assert china.behaviour.days.tolist() == [2]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingFound, match="no events"):
        segments(tmp_path)
    write(tmp_path, "events", [event("a", "buy", NOON)])
    with pytest.raises(NothingFound, match=r"no event 'purchase'; it has buy"):
        segments(tmp_path)
    with pytest.raises(NothingFound, match="until"):
        segments(tmp_path, event="buy", until=to_micros(NOON) - DAY)
    (tmp_path / "events" / "date=2026-11-20" / "part-0.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(ValueError, match=r"part-0\.parquet"):
        segments(tmp_path, event="buy")
