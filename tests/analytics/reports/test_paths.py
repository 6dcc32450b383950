"""Paths are counted as a plain walk through each customer's events counts them."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.errors import InputError
from tests.analytics.reports.made import Done, cases, knowing, report, write

Event = tuple[int, str]


def ways(
    events: list[Event], gap: int, steps: int, after: str, before: str, exclude: str
) -> list[list[str]]:
    """The paths of one customer."""
    own = sorted(one for one in events if one[1] != exclude)
    visits: list[list[Event]] = []
    for one in own:
        if visits and one[0] - visits[-1][-1][0] <= gap:
            visits[-1].append(one)
        else:
            visits.append([one])
    found = []
    for visit in visits:
        names = [name for name, _ in groupby(name for _, name in visit)]
        if after:
            if after not in names:
                continue
            names = names[names.index(after) :]
        if before:
            if before not in names:
                continue
            names = names[: names.index(before) + 1]
        found.append(names[-steps:] if before and not after else names[:steps])
    return found


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    people=st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcd")), max_size=9),
        min_size=1, max_size=12,
    ),
    gap=st.integers(1, 9),
    steps=st.integers(2, 5),
    after=st.sampled_from(["", "a"]),
    before=st.sampled_from(["", "b"]),
    exclude=st.sampled_from(["", "d"]),
)  # fmt: skip
def test_paths_are_those_of_a_plain_walk(
    tmp_path_factory: pytest.TempPathFactory,
    people: list[list[Event]],
    gap: int,
    steps: int,
    after: str,
    before: str,
    exclude: str,
) -> None:
    events = [Done("other", "message.sent", 0)]
    events += [Done(f"c-{n}", kind, at) for n, own in enumerate(people) for at, kind in own]
    found = report(
        "paths", write(tmp_path_factory.mktemp("archive"), events), knowing(*"abcd"),
        gap=f"{gap}s", steps=steps, after=after, before=before, exclude=exclude, top=1000,
    )  # fmt: skip
    wanted = [way for own in people for way in ways(own, gap, steps, after, before, exclude)]
    counted = Counter(map(tuple, wanted))
    assert {tuple(one.names): one.paths for one in found.top} == counted
    assert (found.paths, found.ways) == (len(wanted), len(counted))
    edges = Counter((n, *pair) for way in wanted for n, pair in enumerate(pairwise(way), 1))
    assert {(one.step, one.source, one.target): one.paths for one in found.edges} == edges


@pytest.mark.parametrize("case", cases("paths"), ids=lambda case: case["name"])
def test_posthogs_cases_have_their_numbers(tmp_path: Path, case: dict[str, Any]) -> None:
    """Names are a property, as PostHog's addresses of pages are."""
    people = dict(case.get("events", {}))
    for number, (many, own) in enumerate(case.get("many", ())):
        people |= {f"c-{number}-{n}": own for n in range(many)}
    events = [
        Done(who, (kind or [name])[0], at, {"name": name})
        for who, own in people.items()
        for at, name, *kind in own
    ]
    archive = write(tmp_path, events)
    for one in case["asked"]:
        given = {"by": "event.name", "top": 1000, **one}
        wanted, ends = given.pop("edges"), given.pop("ends", None)
        wanted = given.pop("ours", wanted)
        found = report("paths", archive, **given)
        length = len(wanted[0]) if wanted else 0
        edges = [
            (edge.step, edge.source, edge.target, edge.paths, edge.seconds)[:length]
            for edge in found.edges
        ]
        assert sorted(edges) == sorted(map(tuple, wanted)), one
        if ends:
            assert {way.names[-1]: way.paths for way in found.top} == ends


def test_things_are_called_by_their_type_where_they_have_no_such_property(tmp_path: Path) -> None:
    archive = write(tmp_path, [Done("a", "look", 0, {"page": "/1"}), Done("a", "buy", 1)])
    assert report("paths", archive, by="event.page").top[0].names == ["/1", "buy"]


def test_the_most_frequent_come_first_and_nothing_is_an_honest_answer(tmp_path: Path) -> None:
    events = [Done(f"c-{n}", "a", 0) for n in range(3)] + [Done("c-0", "b", 5)]
    archive = write(tmp_path, events)
    found = report("paths", archive, top=1)
    assert [(one.names, one.paths) for one in found.top] == [(["a"], 2)]
    assert (found.paths, found.ways) == (3, 2)
    with pytest.raises(InputError, match=r"by: customer\.city is not in the archive"):
        report("paths", archive, by="customer.city")
    nothing = report("paths", archive, knowing("z"), after="z")
    assert (nothing.paths, nothing.top, nothing.edges) == (0, [], [])
    assert any("no path is like that" in text for text in nothing.incomplete)
