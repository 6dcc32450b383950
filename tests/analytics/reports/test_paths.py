"""Paths are counted as a plain walk through each customer's events counts them."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.core.errors import InputError
from tests.analytics.reports.made import Done, report, write

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
        "paths", write(tmp_path_factory.mktemp("archive"), events), gap=f"{gap}s", steps=steps,
        after=after, before=before, exclude=exclude, top=1000,
    )  # fmt: skip
    wanted = [way for own in people for way in ways(own, gap, steps, after, before, exclude)]
    counted = Counter(map(tuple, wanted))
    assert {tuple(one.names): one.paths for one in found.top} == counted
    assert (found.paths, found.ways) == (len(wanted), len(counted))
    edges = Counter((n, *pair) for way in wanted for n, pair in enumerate(pairwise(way), 1))
    assert {(one.step, one.source, one.target): one.paths for one in found.edges} == edges


def test_things_are_called_by_a_property_where_they_have_it(tmp_path: Path) -> None:
    """PostHog's test_step_limit: the way and the mean time of each step."""
    events = [
        Done("p1", "$pageview", n * 60, {"$current_url": f"/{n + 1}"}) for n in range(4)
    ]  # fmt: skip
    archive = write(tmp_path, events)
    for steps, wanted in (
        (2, ["/1", "/2"]),
        (3, ["/1", "/2", "/3"]),
        (4, ["/1", "/2", "/3", "/4"]),
    ):
        found = report("paths", archive, by="event.$current_url", steps=steps)
        assert [one.names for one in found.top] == [wanted]
        assert [one.seconds for one in found.edges] == [60.0] * (steps - 1)


def test_the_most_frequent_come_first_and_nothing_is_an_honest_answer(tmp_path: Path) -> None:
    events = [Done(f"c-{n}", "a", 0) for n in range(3)] + [Done("c-0", "b", 5)]
    archive = write(tmp_path, events)
    found = report("paths", archive, top=1)
    assert [(one.names, one.paths) for one in found.top] == [(["a"], 2)]
    assert (found.paths, found.ways) == (3, 2)
    with pytest.raises(InputError, match=r"by: customer\.city is not in the archive"):
        report("paths", archive, by="customer.city")
    nothing = report("paths", archive, after="z")
    assert (nothing.paths, nothing.top, nothing.edges) == (0, [], [])
    assert any("no path is like that" in text for text in nothing.incomplete)
