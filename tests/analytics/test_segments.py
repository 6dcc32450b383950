"""Segments: CDNOW's published summary, quintiles, levels, merged and erased customers."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from decision.analytics.segments import (
    NothingFound,
    level_thresholds,
    quintiles,
    score,
    segments,
    states_in_yaml,
)
from decision.archive.errors import ArchiveError
from decision.archive.layout import schema_of
from decision.core.clock import DAY, SECOND, to_micros
from decision.core.events import EventHistory, Measure, record, sum_within
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


def test_active_days_are_counted_as_the_rules_count_them(tmp_path: Path) -> None:
    """An open every evening, until a noon: 28 local days, today included, are never 29."""
    opens = [event("a", "app_open", NOON - timedelta(days=day, hours=4)) for day in range(40)]
    opens += [event("a", "app_open", NOON - timedelta(days=28, hours=-6))]
    write(tmp_path, "events", [event("a", "purchase", NOON), *opens])
    for days in (1, 7, 28):
        assert segments(tmp_path, activity_days=days).active == {"a": days}


def test_who_is_no_longer_active_loses_the_level(tmp_path: Path) -> None:
    opens = [event("lapsed", "app_open", NOON - timedelta(days=day)) for day in range(60, 80)]
    opens += [event("here", "app_open", NOON)]
    write(tmp_path, "events", [event("b", "purchase", NOON), *opens])
    found = dict(segments(tmp_path).attributes())
    assert found["lapsed"] == {"activity": {"active_days": 0, "level": "low"}}


def test_an_amount_that_is_no_finite_number_counts_as_none(tmp_path: Path) -> None:
    amounts = [2.5, -1, "NaN", "Infinity", None, True, {"x": 1}, [3], "80", " 7 ", "1e3"]
    rows = [event("a", "purchase", NOON, n, **{'a"/b': one}) for n, one in enumerate(amounts)]
    write(tmp_path, "events", [*rows, event("b", "purchase", NOON)])
    one = segments(tmp_path, amount='a"/b').behaviour
    assert (one.total.tolist(), one.priced, one.texts) == ([1.5, 0.0], 2, 3)
    assert segments(tmp_path).behaviour.priced == 0


AMOUNTS = [80, 2.5, -1, 0, 10**18, "80", "2.5", "x", "", True, None, [1], {"amount": 5}]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(AMOUNTS), min_size=1, max_size=12))
def test_an_amount_means_to_segments_what_it_means_to_rules(amounts: list[Any]) -> None:
    """The total of an event's property is what `events.purchase.sum_amount_90d` says."""
    history, kept = EventHistory(), Measure(window=DAY, sums=("amount",))
    rows = []
    for number, amount in enumerate(amounts):
        rows.append(event("a", "purchase", NOON, number, amount=amount))
        at = to_micros(NOON) + number * SECOND
        record(history, kept, at, {"amount": amount}, at, UTC)
    with TemporaryDirectory() as folder:
        write(Path(folder), "events", rows)
        one = segments(Path(folder), activity=None).behaviour
    summed = sum_within(history, "amount", DAY, to_micros(NOON) + 60 * SECOND)
    assert one.total.tolist() == pytest.approx([summed])


def test_who_was_merged_there_and_back_is_whom_the_last_merge_left(tmp_path: Path) -> None:
    write(tmp_path, "events", [event(one, "purchase", NOON) for one in "ab"])
    changes = [
        {
            "change_id": f"m{hour}",
            "customer_id": new,
            "kind": "merge",
            "at": NOON + timedelta(hours=hour),
            "detail": json.dumps({"from": old}),
        }
        for new, old, hour in (("b", "a", 1), ("a", "b", 2))
    ]
    write(tmp_path, "changes", changes)
    assert segments(tmp_path, activity=None).behaviour.customer_id == ["a"]


def test_shares_that_add_up_are_exact() -> None:
    """70% and 10% of ten are eight, though 0.7 + 0.1 is less than 0.8 in floating point."""
    active = {f"c-{n}": 20 if n < 7 else 10 if n < 8 else 1 for n in range(10)}
    assert level_thresholds(active, set(), {"a": 0.7, "b": 0.1}) == {"a": 11, "b": 2}


def test_states_are_yaml_that_rules_may_hold(tmp_path: Path) -> None:
    opens = [event(c, "app open: x", NOON - timedelta(days=d)) for c in "abcd" for d in range(28)]
    write(tmp_path, "events", [event("a", "purchase", NOON), *opens])
    shares = {"big: spenders": 0.1, "rest": 0.9}
    found = segments(tmp_path, activity="app open: x", levels=shares)
    text = states_in_yaml(found, "app open: x", 28)
    parsed = YAML(typ="safe").load(text)["states"]
    assert list(parsed) == ["big: spenders", "rest", "low"]
    when = {"events.app open: x.active_days_28d": {"gte": 29}}
    assert parsed["big: spenders"] == {"when": when}
    assert "nobody" in text.splitlines()[1]
    assert "nobody" not in text.splitlines()[2]
    with pytest.raises(ValueError, match="90 days at most"):
        states_in_yaml(found, "app open: x", 91)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NothingFound, match="no events"):
        segments(tmp_path)
    write(tmp_path, "events", [event("a", "buy", NOON)])
    with pytest.raises(NothingFound, match=r"no event 'purchase'; it has buy"):
        segments(tmp_path)
    with pytest.raises(NothingFound, match='did you mean "buy"'):
        segments(tmp_path, event="buys")
    with pytest.raises(NothingFound, match="until"):
        segments(tmp_path, event="buy", until=to_micros(NOON) - DAY)
    (tmp_path / "events" / "date=2026-11-20" / "part-0.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(ArchiveError, match=r"part-0\.parquet cannot be read"):
        segments(tmp_path, event="buy")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_segments_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    """Nor on the file that holds them; equal amounts in another order are an equal total."""
    rng = np.random.default_rng(seed)
    amounts = [0.1, 0.2, 0.3, 1e16, 7.7]
    rows = [
        event(f"c-{customer}", "purchase", NOON + timedelta(days=day), day, amount=amount)
        for customer in range(12)
        for day, amount in enumerate(rng.permutation(amounts))
    ]
    rows.append({**rows[0], "properties": '{"amount": 3}'})  # the same event, told differently
    found = []
    for _ in range(2):
        with TemporaryDirectory() as folder:
            shuffled = [rows[place] for place in rng.permutation(len(rows))]
            write(Path(folder), "events", shuffled[:30])
            write(Path(folder), "events", shuffled[30:], "part-1")
            found.append(list(segments(Path(folder), activity=None).attributes()))
    assert found[0] == found[1]
    assert len({str(attributes) for _, attributes in found[0][1:]}) <= 2
