"""Retention counts who came back as a plain count does, and as published figures say."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.analytics.reports.retention import Retention
from decision.core.definition import PolicyDefinition, Settings
from decision.core.errors import InputError
from tests.analytics.reports.made import NOON, Done, cases, report, write, write_sight

DAY = 86_400


def cells(found: Retention) -> list[list[int | None]]:
    """For each cohort its size, and who came back."""
    return [[one.customers, *(cell.customers for cell in one.cells)] for one in found.cohorts]


def period_of(day: date, period: str) -> int:
    if period == "month":
        return day.year * 12 + day.month
    return day.toordinal() if period == "day" else (day.toordinal() - 1) // 7


happenings = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["buy", "look"]), st.integers(0, 70 * 24)),
    min_size=1, max_size=60,
)  # fmt: skip


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    happened=happenings,
    period=st.sampled_from(["day", "week", "month"]),
    zone=st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York"]),
    cohort=st.sampled_from(["first", "recurring"]),
    count=st.sampled_from(["on", "on_or_after"]),
)
def test_who_comes_back_is_counted_as_a_plain_count_does(
    tmp_path_factory: pytest.TempPathFactory,
    happened: list[tuple[str, str, int]],
    period: str,
    zone: str,
    cohort: str,
    count: str,
) -> None:
    events = [("z", "buy", 0), ("z", "look", 0), *happened]
    archive = write(
        tmp_path_factory.mktemp("archive"),
        [Done(who, kind, hours * 3600) for who, kind, hours in events],
        NOON + timedelta(days=4000),
    )
    found = report(
        "retention", archive, event="buy", returns="look", period=period, periods=4,
        timezone=zone, cohort=cohort, count=count,
    )  # fmt: skip
    began: defaultdict[int, set[str]] = defaultdict(set)
    came: defaultdict[str, set[int]] = defaultdict(set)
    for who, kind, hours in sorted(events, key=lambda one: one[2]):
        day = (NOON + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).date()
        number = period_of(day, period)
        if kind == "look":
            came[who].add(number)
        elif cohort == "recurring" or not any(who in own for own in began.values()):
            began[number].add(who)
    wanted = [
        [
            len(own),
            *(
                sum(
                    any(n == start + k or (count != "on" and n > start + k) for n in came[who])
                    for who in own
                )
                for k in range(1, 5)
            ),
        ]
        for start, own in sorted(began.items())
    ]
    assert cells(found) == wanted


@pytest.mark.parametrize("case", cases("retention"), ids=lambda case: case["name"])
def test_posthogs_cases_have_their_numbers(tmp_path: Path, case: dict[str, Any]) -> None:
    """Rows begin with the size of the cohort there; ours have it beside the cells."""
    events = [
        Done(who, kind, (moment(at) - NOON).total_seconds())
        for who, own in case["events"].items()
        for kind, times in own.items()
        for at in times
    ]
    archive = write(tmp_path, events, NOON)
    for one in case["asked"]:
        given = {"period": "day", "cohort": "recurring", **one}
        rows, begins = given.pop("rows"), given.pop("first")
        rules = PolicyDefinition(
            version="v", settings=Settings(week_starts=given.pop("week_starts", "monday"))
        )
        found = report("retention", archive, rules, **given, periods=max(1, len(rows[0]) - 1))
        ours = {cohort.begins: row for cohort, row in zip(found.cohorts, cells(found), strict=True)}
        for row in rows:
            own = ours.pop(begins, [0] * len(row))
            assert own[: len(row)] == row, (begins, one)
            begins += timedelta(days={"day": 1, "week": 7, "month": 32}[given["period"]])
            begins = begins.replace(day=1) if given["period"] == "month" else begins
        assert not ours


def moment(at: date | datetime) -> datetime:
    """A time of PostHog's cases; a bare day is five o'clock."""
    own = at if isinstance(at, datetime) else datetime.combine(at, time(5))
    return own.replace(tzinfo=UTC)


def test_brackets_are_several_periods_together(tmp_path: Path) -> None:
    events = [Done("a", "view", day * DAY) for day in (0, 3, 4, 9)]
    archive = write(tmp_path, [*events, Done("b", "view", 0), Done("b", "view", 1 * DAY)])
    found = report("retention", archive, period="day", count="brackets", brackets="1,3,4")
    assert found.columns == ["1", "2-4", "5-8"]
    assert cells(found) == [[2, 1, 1, 0]]
    for wrong in ("", "0,1", "x", "300,100"):
        with pytest.raises(InputError, match="brackets: write how many periods"):
            report("retention", archive, count="brackets", brackets=wrong)
    with pytest.raises(InputError, match="they need count: brackets"):
        report("retention", archive, brackets="1")


def test_a_break_down_is_of_what_began_or_of_who_it_was_and_adds_up_to_all(tmp_path: Path) -> None:
    """a began by a code, came back, and began again by the web; b is in no city."""
    events = [Done("a", "join", 0, {"by": "code"}), Done("a", "join", DAY, {"by": "web"})]
    events += [
        Done("b", "join", 0, {"by": "web"}),
        Done("c", "join", DAY),
        Done("c", "join", 2 * DAY),
    ]
    archive = write(tmp_path, events, NOON + timedelta(days=9))
    for name, city in (("a", "Lyon"), ("c", "Wien")):
        write_sight(archive, name, -1, city=city)
    asked: dict[str, Any] = {"period": "day", "periods": 2}

    def groups(found: Retention) -> dict[str | None, list[int | None]]:
        assert [sum(one.customers for one in found.groups)] == [
            sum(one.customers for one in found.cohorts)
        ]
        for place, cell in enumerate(found.all):
            assert cell.customers == sum(one.cells[place].customers or 0 for one in found.groups)
        return {
            one.name: [one.customers, *(cell.customers for cell in one.cells)]
            for one in found.groups
        }

    assert report("retention", archive, **asked).groups == []
    first = report("retention", archive, **asked, by="event.by")
    assert groups(first) == {"code": [1, 1, 0], "web": [1, 0, 0], None: [1, 1, 0]}
    again = report("retention", archive, **asked, by="event.by", cohort="recurring")
    assert groups(again) == {"web": [2, 0, 0], None: [2, 1, 0], "code": [1, 1, 0]}
    later = report("retention", archive, **asked, by="customer.city", count="on_or_after")
    assert groups(later) == {"Lyon": [1, 1, 0], "Wien": [1, 1, 0], None: [1, 0, 0]}
    assert any("customer.city of 1 customers is not known" in text for text in later.incomplete)
    few = report("retention", archive, **asked, by="event.by", groups=1)
    assert [one.name for one in few.groups] == ["code"]
    assert "2 smaller groups are left out" in few.incomplete


def test_a_period_that_is_not_over_is_marked_and_not_in_the_line_of_all(tmp_path: Path) -> None:
    events = [Done("a", "view", 0), Done("a", "view", DAY), Done("b", "view", DAY)]
    found = report("retention", write(tmp_path, events), period="day", periods=2)
    first, second = found.cohorts
    assert [cell.complete for cell in first.cells] == [False, False]
    assert [cell.customers for cell in second.cells] == [None, None]
    assert (found.all[0].customers, found.all[0].share) == (None, None)
    assert any("not over" in text for text in found.incomplete)
    later = write(tmp_path / "later", events, NOON + timedelta(days=9))
    whole = report("retention", later, period="day", periods=2)
    assert (whole.all[0].share, whole.all[0].complete) == (0.5, True)
    assert whole.incomplete == ["cohorts of fewer than 30 customers: a share of so few says little"]


def test_weeks_begin_as_the_rules_say_and_only_who_began_in_the_range_counts(
    tmp_path: Path,
) -> None:
    """2026-11-22 is a Sunday."""
    archive = write(tmp_path, [Done("a", "view", 2 * DAY), Done("b", "view", -40 * DAY),
                               Done("b", "view", 2 * DAY)])  # fmt: skip
    asked: dict[str, Any] = {"from_": "2026-11-01", "periods": 1}
    monday = report("retention", archive, **asked)
    assert [f"{one.begins}" for one in monday.cohorts] == ["2026-11-16"]
    assert monday.customers == 1
    rules = PolicyDefinition(version="v", settings=Settings(week_starts="sunday"))
    sunday = report("retention", archive, rules, **asked)
    assert [f"{one.begins}" for one in sunday.cohorts] == ["2026-11-22"]
    assert report("retention", archive, **asked, cohort="recurring").customers == 2


def test_cdnow_has_its_published_months(cdnow: Path) -> None:
    asked: dict[str, Any] = {"event": "purchase", "period": "month", "periods": 6}
    january = report("retention", cdnow, **asked).cohorts[0]
    assert january.begins == date(1997, 1, 1)
    assert [january.customers, *(cell.customers for cell in january.cells)] == [
        7846, 1157, 964, 810, 679, 736, 720,
    ]  # fmt: skip
    again = report("retention", cdnow, event="purchase", period="day", count="on_or_after")
    assert sum(one.cells[0].customers or 0 for one in again.cohorts) == 11_516
    assert again.customers == 23_570
