"""A funnel counts as ClickHouse's windowFunnel does, and as a plain search for chains."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from decision.analytics.reports import answer_to, kind_named
from decision.analytics.segments import NothingFound
from decision.core.definition import PolicyDefinition, Settings
from decision.core.errors import InputError, NextbestError
from decision.rulebook.reader import load_files
from tests.analytics.reports.made import NOON, Done, knowing, merge, report, write, write_sight
from tests.analytics.reports.oracles import level

slow = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def counts(found: Any) -> list[int]:
    return [one.customers for one in found.steps]


@slow
@given(
    people=st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.sampled_from("abcx")), max_size=7),
        min_size=1, max_size=40,
    ),
    steps=st.lists(st.sampled_from("abc"), min_size=2, max_size=4),
    within=st.integers(1, 8),
    order=st.sampled_from(["ordered", "strict", "any"]),
    excludes=st.booleans(),
    span=st.one_of(st.none(), st.tuples(st.integers(0, 6), st.integers(7, 13))),
    shuffle=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_funnel_counts_what_a_search_for_chains_finds(
    tmp_path_factory: pytest.TempPathFactory,
    people: list[list[tuple[int, str]]],
    steps: list[str],
    within: int,
    order: str,
    excludes: bool,
    span: tuple[int, int] | None,
    shuffle: random.Random,
) -> None:
    exclude = ["x"] if excludes else []
    events = [
        Done(f"c-{number}", kind, at) for number, own in enumerate(people) for at, kind in own
    ]
    events += [Done("earlier", kind, -100_000) for kind in "abcx"]
    shuffle.shuffle(events)
    archive = write(tmp_path_factory.mktemp("archive"), events)
    begin, end = span or (0, 800_000)
    found = report(
        "funnel", archive, steps=steps, within=f"{within}s", order=order, exclude=exclude,
        from_=f"2026-11-20T12:00:{begin:02}+00:00",
        until=f"2026-11-20T12:00:{end:02}+00:00" if span else "",
    )  # fmt: skip
    levels = [level(own, steps, within, order, exclude, begin, end) for own in people]
    assert counts(found) == [
        sum(one >= number for one in levels) for number in range(1, len(steps) + 1)
    ]


CASES = YAML(typ="safe").load(Path(__file__).with_name("funnel_cases.yaml").read_text("utf-8"))


def events_of(case: dict[str, Any]) -> list[Done]:
    people = dict(case["events"])
    for many, own in case.get("many", {}).items():
        people |= {f"of-{many}-{number}": own for number in range(many)}
    return [Done(name, kind, at) for name, own in people.items() for at, kind in own]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_others_cases_have_their_numbers_but_where_the_page_says_so(
    tmp_path: Path, case: dict[str, Any]
) -> None:
    for number, asked in enumerate(case["asked"]):
        given = {
            "steps": asked["steps"],
            "within": f"{asked['within']}s",
            "order": asked.get("order", ""),
            "exclude": asked.get("exclude", []),
        }
        known = knowing(*asked["steps"], *given["exclude"])
        if "counts" in asked:
            archive = tmp_path / "archive"
            found = report(
                "funnel", archive if number else write(archive, events_of(case)), known, **given
            )
            assert counts(found) == asked.get("our_counts", asked["counts"])
            continue
        for name, far in asked.get("ours", asked["levels"]).items():
            folder = tmp_path / name
            if not folder.exists():
                own = [one for one in events_of(case) if one.customer == name]
                write(folder, [*own, *(Done("d", kind, -1e7) for kind in asked["steps"])])
            found = report("funnel", folder, known, **given, from_="2026-11-20")
            assert sum(one.customers for one in found.steps) == far, (asked, name)


def test_a_customer_counts_in_the_group_of_the_event_that_began_the_furthest_chain(
    tmp_path: Path,
) -> None:
    archive = write(
        tmp_path,
        [
            Done("a", "view", 0, {"device": "ios"}),
            Done("a", "view", 50, {"device": "web"}),
            Done("a", "buy", 60),
            Done("b", "view", 0, {"device": "ios"}),
            Done("c", "view", 0, {"device": None}),
            Done("d", "view", 0, {"device": "ios"}),
            Done("d", "buy", 1),
        ],
    )
    found = report("funnel", archive, steps="view,buy", within="20s", by="event.device")
    assert {one.name: counts(one) for one in found.groups} == {
        "ios": [2, 1],
        "web": [1, 1],
        None: [1, 0],
    }
    fewer = report("funnel", archive, steps="view,buy", by="event.device", groups="1")
    assert [one.name for one in fewer.groups] == ["ios"]
    assert "2 smaller groups are left out" in fewer.incomplete


def test_a_funnel_of_the_rules_has_its_steps_time_and_order(tmp_path: Path) -> None:
    archive = write(tmp_path, [Done("a", "view", 0), Done("a", "other", 5), Done("a", "buy", 9)])
    found = load_files({"a.yaml": "funnels: {f: {steps: [view, buy], within: 1h, order: strict}}"})
    assert found.definition is not None
    named = report("funnel", archive, found.definition, funnel="f")
    assert [one.name for one in named.steps] == ["view", "buy"]
    assert counts(named) == [1, 0]
    assert counts(report("funnel", archive, found.definition, funnel="f", order="any")) == [1, 1]
    with pytest.raises(InputError, match="is not a funnel of the policy"):
        report("funnel", archive, found.definition, funnel="g")


def test_who_was_merged_is_one_and_an_event_that_came_twice_counts_once(tmp_path: Path) -> None:
    events = [Done("anon", "view", 0), Done("c-1", "buy", 5, id="twice")]
    archive = write(tmp_path, [*events, events[1]])
    merge(archive, "anon", "c-1")
    assert counts(report("funnel", archive, steps="view,buy")) == [1, 1]
    assert counts(report("funnel", archive, steps="buy,buy")) == [1, 0]
    assert counts(report("funnel", archive, steps="view,buy,buy", order="strict")) == [1, 1, 0]


def test_chains_of_the_range_end_after_it_and_open_ones_are_told(tmp_path: Path) -> None:
    day = 86_400
    events = [Done("a", "view", 0), Done("a", "buy", 3 * day), Done("b", "view", 0)]
    archive = write(tmp_path, events)
    found = report("funnel", archive, steps="view,buy", until="2026-11-21", within="7d")
    assert (counts(found), found.open, found.customers) == ([2, 1], 1, 2)
    assert any("can still come further" in text for text in found.incomplete)
    closed = report("funnel", archive, steps="view,buy", until="2026-11-21", within="2d")
    assert (counts(closed), closed.open, closed.incomplete) == ([2, 0], 0, [])
    empty = report("funnel", archive, steps="view,buy", until="2026-01-01")
    assert (counts(empty), empty.events, empty.steps[1].share) == ([0, 0], 0, None)


def test_days_are_those_of_the_time_zone_and_events_a_year_late_count_when_they_happened(
    tmp_path: Path,
) -> None:
    """20:00 UTC is the next day in Shanghai."""
    late = NOON + timedelta(days=400)
    archive = write(tmp_path, [Done("a", "view", 8 * 3600), Done("a", "buy", 8 * 3600)], late)
    asked: dict[str, Any] = {"steps": "view,buy", "from_": "2026-11-21"}
    assert counts(report("funnel", archive, **asked)) == [0, 0]
    shanghai = report("funnel", archive, **asked, timezone="Asia/Shanghai")
    assert (counts(shanghai), shanghai.open) == ([1, 1], 0)
    assert shanghai.from_ == datetime(2026, 11, 20, 16, tzinfo=UTC)
    assert shanghai.archived_until == late
    policy = PolicyDefinition(version="v", settings=Settings(timezone="Asia/Shanghai"))
    assert counts(report("funnel", archive, policy, **asked)) == [1, 1]


def test_with_the_customers_own_time_zones_each_has_their_own_days(tmp_path: Path) -> None:
    archive = write(tmp_path, [Done(one, "view", 8 * 3600) for one in ("a", "b", "c")])
    write(archive, [Done("a", "buy", 9 * 3600)])
    for name, hour, zone in (("a", 0, "Europe/London"), ("a", 1, "Asia/Shanghai"), ("b", 0, None)):
        write_sight(archive, name, hour * 3600, zone)
    found = report("funnel", archive, steps="view,buy", from_="2026-11-21", timezone="customer")
    assert counts(found) == [1, 1]
    assert any("time zones of 1 customers are known" in text for text in found.incomplete)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "steps: a funnel has two steps or more; write steps"),
        ({"steps": "view"}, "two steps or more; add another"),
        ({"steps": "view,,buy"}, "a step is empty"),
        ({"steps": "view,buy", "within": "0d"}, "within: '0d' is not a duration"),
        ({"steps": "view,buy", "order": "strikt"}, "order: it cannot be 'strikt'; did you mean"),
        ({"steps": "view,buy", "exclude": "buy"}, "exclude: buy is a step as well"),
        ({"steps": "view,buy", "by": "country"}, "is not in the archive"),
        (
            {"steps": "view,buy", "withn": "7d"},
            'withn: there is no such option; did you mean "with',
        ),
        ({"steps": "view,buy", "from": "yesterday"}, "from: 'yesterday' is not a day"),
        ({"steps": "view,buy", "from": "2026-11-02", "until": "2026-11-01"}, "until: the range"),
        ({"steps": "view,buy", "timezone": "Mars"}, "timezone: Mars is not a time zone"),
        ({"steps": "view,buy", "funnel": "buy"}, "funnel: give its name or steps, not both"),
        ({"funnel": "buy"}, 'funnel: "buy" is not a funnel of the policy'),
        ({"steps": ",".join(["view"] * 21)}, "steps: there are 21"),
        ({"steps": "view,buyy"}, 'have the event "buyy"; did you mean "buy"'),
        ({"steps": "view,buy", "groups": "0"}, "groups: write a whole number from 1 to 1000"),
    ],
)
def test_what_cannot_be_asked_is_said_with_its_place(
    tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    archive = write(tmp_path, [Done("a", "view", 0), Done("a", "buy", 1)])
    with pytest.raises(NextbestError, match=re.escape(said)):
        answer_to(kind_named("funnel"), asked, archive)


def test_an_event_that_never_came_is_told_and_an_archive_without_events_is_refused(
    tmp_path: Path,
) -> None:
    archive = write(tmp_path / "one", [Done("a", "view", 0)])
    found = report("funnel", archive, knowing("purchase"), steps="view,purchase")
    assert counts(found) == [1, 0]
    assert "no event purchase ever came" in found.incomplete
    (tmp_path / "none").mkdir()
    with pytest.raises(NothingFound, match="has no events; write the log there"):
        report("funnel", tmp_path / "none", steps="view,purchase")


def test_a_break_down_by_customers_takes_what_decisions_saw_when_they_began(tmp_path: Path) -> None:
    """Of the two decisions about a, the one before counts; b has none, and is in no city."""
    archive = write(tmp_path, [Done(one, "view", 0) for one in "ab"] + [Done("a", "buy", 9)])
    for hour, city in ((-2, "Lyon"), (1, "Wien")):
        write_sight(archive, "a", hour * 3600, city=city)
    found = report("funnel", archive, steps="view,buy", by="customer.city")
    groups = {one.name: [step.customers for step in one.steps] for one in found.groups}
    assert groups == {"Lyon": [1, 1], None: [1, 0]}
    assert any("customer.city of 1 customers is not known" in text for text in found.incomplete)
