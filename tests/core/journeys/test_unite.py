"""Two customers who turn out to be one have their journeys united, and no run is lost unsaid."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.document import Document
from decision.core.journeys.runs import runs_of, standing, tally, unite
from decision.core.journeys.state import MOST_PARTIALS, MOST_RUNS, JourneyState, Partial, Run


def run(name: str, key: str = "", started: int = 1) -> Run:
    return Run(name, key, started, "pause", started, started + 100, 1)


def customer(name: str, **parts: object) -> Document:
    return Document(customer_id=name, journeys=JourneyState(**parts))  # type: ignore[arg-type]


def test_of_two_runs_with_one_key_the_earlier_stays_and_the_other_ends_as_merged() -> None:
    mei = customer("mei", runs={"w": [run("a", started=5)], "cart": [run("b", "7", 5)]})
    other = customer("m-2", runs={"w": [run("c", started=3)], "cart": [run("d", "8", 9)]})
    records = unite(mei, other, now=20)
    assert [(one.run, one.ended, one.customer_id) for one in records] == [("a", "merged", "mei")]
    assert sorted(each.id for _, each in runs_of(mei)) == ["b", "c", "d"]


def test_what_is_known_of_starts_is_the_later_of_both_and_timers_stay_the_own() -> None:
    mei = customer("mei", started={"w\0": 5}, looked=7, armed=["d1"])
    other = customer("m-2", started={"w\0": 9, "b\0": 1}, looked=4, armed=["h9"])
    assert unite(mei, other, now=20) == []
    assert mei.journeys == JourneyState(started={"w\0": 9, "b\0": 1}, looked=7, armed=["d1"])


def test_a_customer_without_journeys_brings_none() -> None:
    mei = Document(customer_id="mei")
    assert unite(mei, Document(customer_id="m-2"), now=20) == []
    assert mei.journeys is None


def test_open_patterns_come_along_and_the_oldest_are_forgotten_beyond_the_bound() -> None:
    def opened(first: int) -> list[Partial]:
        return [
            Partial(0, 1, first + 2 * n, first + 2 * n, f"e-{first + 2 * n}") for n in range(40)
        ]

    mei, other = (
        customer("mei", partials={"m": opened(0)}),
        customer("m-2", partials={"m": opened(1)}),
    )
    unite(mei, other, now=200)
    assert mei.journeys is not None
    times = [one.first_at for one in mei.journeys.partials["m"]]
    assert times == list(range(80 - MOST_PARTIALS, 80))


@st.composite
def states(draw: st.DrawFn, prefix: str) -> JourneyState:
    runs: dict[str, list[Run]] = {}
    for journey in draw(st.sets(st.sampled_from("vwx"))):
        keys = draw(st.sets(st.integers(0, 60), max_size=50))
        runs[journey] = sorted(
            (run(f"{prefix}-{journey}-{key}", str(key), draw(st.integers(0, 9))) for key in keys),
            key=lambda one: (one.started, one.id),
        )
        if not runs[journey]:
            del runs[journey]
    return JourneyState(runs=runs)


@settings(max_examples=50, deadline=None)
@given(states("a"), states("b"))
def test_every_run_stays_or_ends_as_merged_and_counts_stay_exact(
    own: JourneyState, theirs: JourneyState
) -> None:
    mei, other = (
        Document(customer_id="mei", journeys=own),
        Document(customer_id="m-2", journeys=theirs),
    )
    before = standing(mei) + standing(other)
    every = {each.id: (journey, each.key) for one in (mei, other) for journey, each in runs_of(one)}
    records = unite(mei, other, now=99)
    kept = [each.id for _, each in runs_of(mei)]
    assert sorted([*kept, *(one.run for one in records)]) == sorted(every)
    assert {one.ended for one in records} <= {"merged"}
    assert len(kept) <= MOST_RUNS
    assert max(Counter(every[name] for name in kept).values(), default=1) == 1
    if len(set(every.values())) <= MOST_RUNS:
        assert len(kept) == len(set(every.values()))
    left = Counter(before)
    left.update({name: n for name, n in tally(before, mei, records).items() if "!" not in name})
    assert +left == standing(mei)
