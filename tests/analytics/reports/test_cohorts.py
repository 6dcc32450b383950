"""Cohorts did what the published months of CDNOW and a plain count say."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.errors import InputError
from tests.analytics.reports.made import NOON, Done, report, write, write_sight
from tests.analytics.reports.whole import policy

MONTHS: dict[str, Any] = {"event": "purchase", "period": "month", "periods": 6}


def test_cdnow_has_its_published_months_and_all_of_its_money(cdnow: Path) -> None:
    found = report("cohorts", cdnow, **MONTHS, amount="amount")
    january = found.cohorts[0]
    assert january.begins == date(1997, 1, 1)
    assert [cell.customers for cell in january.cells] == [7846, 1157, 964, 810, 679, 736, 720]
    assert [one.customers for one in found.cohorts] == [7846, 8476, 7248]
    whole = report("cohorts", cdnow, **MONTHS | {"periods": 20}, amount="amount", cumulative=True)
    assert sum(one.cells[-1].value or 0 for one in whole.cohorts) == pytest.approx(2_500_315.63)
    assert [one.cells[-1].customers for one in whole.cohorts] == [7846, 8476, 7248]


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    happened=st.lists(
        st.tuples(
            st.sampled_from("abcdef"), st.sampled_from(["join", "buy"]), st.integers(0, 20 * 24)
        ),
        max_size=50,
    ),
    cumulative=st.booleans(),
)  # fmt: skip
def test_cells_are_those_of_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, happened: list[tuple[str, str, int]], cumulative: bool
) -> None:
    events = [("z", "join", 0), ("z", "buy", 0), *happened]
    archive = write(
        tmp_path_factory.mktemp("archive"),
        [Done(who, kind, at * 3600, {"amount": at}) for who, kind, at in events],
        NOON + timedelta(days=4000),
    )
    found = report(
        "cohorts", archive, event="join", does="buy", amount="amount", period="week", periods=2,
        cumulative=cumulative,
    )  # fmt: skip

    def week(hours: int) -> int:
        return ((NOON + timedelta(hours=hours)).date().toordinal() - 1) // 7

    starts: dict[str, int] = {}
    for who, kind, at in events:
        if kind == "join":
            starts[who] = min(starts.get(who, week(at)), week(at))
    wanted: defaultdict[int, list[Any]] = defaultdict(list)
    for start in sorted(set(starts.values())):
        for slot in range(3):
            own = [
                (who, at)
                for who, kind, at in events
                if kind == "buy" and starts.get(who) == start
                and (start if cumulative else start + slot) <= week(at) <= start + slot
            ]  # fmt: skip
            wanted[start].append((len({who for who, _ in own}), len(own), sum(at for _, at in own)))
    assert [
        [(cell.customers, cell.events, cell.value) for cell in one.cells] for one in found.cohorts
    ] == [*wanted.values()]
    sizes = [one.customers for one in found.cohorts]
    assert found.all[1].of == found.customers == sum(sizes)
    assert found.all[1].value == sum(row[1][2] for row in wanted.values())


def test_cohorts_by_what_began_or_by_who_it_is_have_only_periods_that_are_over(
    tmp_path: Path,
) -> None:
    day = 86_400
    events = [Done("a", "join", 0, {"source": "qr"}), Done("a", "buy", day)]
    events += [Done("b", "join", 3 * day, {"source": "qr"}), Done("c", "join", 0)]
    archive = write(tmp_path, events, NOON + timedelta(days=4))
    asked: dict[str, Any] = {"event": "join", "does": "buy", "period": "day", "periods": 2}
    qr, none = report("cohorts", archive, **asked, by="event.source").cohorts
    assert (qr.name, qr.customers, none.name, none.customers) == ("qr", 2, None, 1)
    assert [(cell.of, cell.customers, cell.complete) for cell in qr.cells] == [
        (2, 0, True), (1, 1, True), (1, 0, True),
    ]  # fmt: skip
    for name, city in (("a", "Lyon"), ("b", "Wien")):
        write_sight(archive, name, day * (2 if name == "b" else 3), city=city, tags=["x"])
    found = report("cohorts", archive, **asked, by="customer.city")
    assert [(one.name, one.customers) for one in found.cohorts] == [
        ("Lyon", 1), ("Wien", 1), (None, 1)
    ]  # fmt: skip
    assert any("city of 1 customers is not known" in text for text in found.incomplete)
    assert any(
        "city of 1 customers is that of a decision after" in text for text in found.incomplete
    )
    lists = report("cohorts", archive, **asked, by="customer.tags")
    assert [one.name for one in lists.cohorts] == [None]
    for wrong in ("customer.state", "city", "customer."):
        with pytest.raises(InputError, match=r"^by: "):
            report("cohorts", archive, **asked, by=wrong)


def test_a_metric_of_the_rules_is_its_event_and_its_value(tmp_path: Path) -> None:
    events = [Done("a", "page_view", 0), Done("a", "purchase", 5, {"amount": 12.5})]
    archive = write(tmp_path, [*events, Done("a", "purchase", 6, {"amount": "80"})])
    found = report("cohorts", archive, policy(), event="page_view", metric="revenue")
    assert (found.cohorts[0].cells[0].events, found.cohorts[0].cells[0].value) == (2, 12.5)
    with pytest.raises(InputError, match="is not a metric of the policy"):
        report("cohorts", archive, policy(), metric="revenues")
    with pytest.raises(InputError, match="metric: give it or does, not both"):
        report("cohorts", archive, policy(), metric="revenue", does="purchase")
