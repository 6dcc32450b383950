"""The funnel, win and loss, and the sensitivity count decisions as plain counts of them do."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decision.analytics.candidates.archived import ArchivedCandidates
from decision.analytics.candidates.deciding import report_sensitivity
from decision.analytics.candidates.ends import ENDS, STAGES, end_of
from decision.analytics.candidates.funnel import BY, FunnelRow, report_candidates
from decision.analytics.candidates.recent import RecentCandidates
from decision.analytics.candidates.scope import Range
from decision.analytics.candidates.win_loss import report_win_loss
from decision.core.clock import from_micros
from decision.core.records import line_of
from tests.analytics.candidates.made import FILES, PAIRS, POLICY, Made, archive, made

pytest.importorskip("pyarrow")
ZONE = "Asia/Kolkata"
decisions = st.lists(made(), min_size=1, max_size=12, unique_by=lambda one: one.record.decision_id)
GROUPS = {
    "message": lambda n: PAIRS[n][0],
    "channel": lambda n: PAIRS[n][1],
    "category": lambda n: POLICY.candidates[n].category,
    "candidate": lambda n: "/".join(PAIRS[n]),
}
slow = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def logged(some: list[Made]) -> RecentCandidates:
    return RecentCandidates([line_of(one.record) for one in some], {POLICY.version: FILES})


def furthest(one: Made, places: list[int]) -> int:
    return max(end_of(one.ways[n].reason, one.ways[n].scored) for n in places)


def day(one: Made) -> date:
    return from_micros(one.record.decided_at).astimezone(ZoneInfo(ZONE)).date()


def assert_adds_up(row: FunnelRow) -> None:
    assert [one.stage for one in row.stages] == list(STAGES)
    assert row.stages[0].entered == row.decisions
    for before, after in zip(row.stages, row.stages[1:], strict=False):
        assert after.entered == before.passed
    for one in row.stages:
        assert one.entered == one.passed + sum(one.fell.values())
    assert (row.stages[-1].entered, row.stages[-1].passed) == (row.survived, row.chosen)


def ends_of(row: FunnelRow) -> Counter[Any]:
    found = Counter(row.fell())
    found[ENDS[-1]] += row.chosen
    return +found


@given(decisions, st.sampled_from(["home", None]), st.booleans())
@slow
def test_passing_and_fallen_are_all_that_entered_and_each_fell_where_the_log_says(
    some: list[Made], placement: str | None, tested: bool
) -> None:
    asked = Range(timezone=ZONE, placement=placement, experiment="t1" if tested else None)
    own = [
        one
        for one in some
        if placement in (None, one.record.placement) and (not tested or "t1" in one.tests)
    ]
    if not own:
        return
    source = logged(some)
    for by in BY:
        if by == "segment" or (by == "variant" and not tested):
            continue
        found = report_candidates(source, asked, by=by)
        expected: dict[str, Counter[Any]] = {}
        for one in own:
            if by in GROUPS:
                names = {GROUPS[by](n) for n in range(len(PAIRS))}
                keys = {
                    name: [n for n in range(len(PAIRS)) if GROUPS[by](n) == name] for name in names
                }
            else:
                value = {"placement": one.record.placement, "day": str(day(one))}
                key = value.get(by) or one.tests["t1"]
                keys = {key: list(range(len(PAIRS)))}
            for name, places in keys.items():
                expected.setdefault(name, Counter())[ENDS[furthest(one, places)]] += 1
        assert {row.name: ends_of(row) for row in found.rows} == expected
        for row in (found.total, *found.rows):
            assert_adds_up(row)
        assert found.total.decisions == found.about.decisions == len(own)
        assert sum(row.candidates for row in found.rows) == len(own) * len(PAIRS)
        silent = [one for one in own if one.record.outcome == "none"]
        assert found.about.silence == Counter(one.record.reason for one in silent)
        assert found.about.held_out == sum(one.record.holdout for one in own)


@given(decisions)
@slow
def test_who_won_and_lost_by_what_rank_and_margin_is_as_counted_one_by_one(
    some: list[Made],
) -> None:
    source = logged(some)
    for by in ("message", "channel", "category"):
        won, survived, ranks = Counter[str](), Counter[str](), Counter[Any]()
        pairs: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for one in some:
            left = [n for n, w in enumerate(one.ways) if w.scored and w.reason != "below_threshold"]
            best: dict[str, float] = {}
            for n in sorted(left, key=lambda n: (-one.ways[n].priority, n)):
                best.setdefault(GROUPS[by](n), one.ways[n].priority)
            winners = {GROUPS[by](n) for n in left if one.ways[n].reason is None}
            for rank, name in enumerate(best, 1):
                survived[name] += 1
                won[name] += name in winners
                ranks[name, rank] += 1
                for winner in winners if name not in winners else ():
                    pairs.setdefault((winner, name), []).append((rank, best[winner] - best[name]))
        found = report_win_loss(source, by=by)
        assert {row.name: (row.survived, row.won, row.lost) for row in found.rows} == {
            name: (survived[name], won[name], survived[name] - won[name]) for name in survived
        }
        told = {(row.name, one.rank): one.decisions for row in found.rows for one in row.ranks}
        assert told == ranks
        for name in survived:
            one_name = report_win_loss(source, by=by, name=name)
            sides = ((one_name.won_against, 0), (one_name.lost_to, 1))
            for rivals, side in sides:
                expected = {pair[1 - side]: v for pair, v in pairs.items() if pair[side] == name}
                assert {one.name: one.decisions for one in rivals} == {
                    other: len(values) for other, values in expected.items()
                }
                for one in rivals:
                    values = expected[one.name]
                    assert one.mean_rank == pytest.approx(sum(r for r, _ in values) / len(values))
                    assert one.mean_margin == pytest.approx(sum(m for _, m in values) / len(values))


def choices_by_hand(one: Made) -> dict[str, tuple[int, int]]:
    """Part → the choice, and the choice with that part neutral, by the words of the docstring."""
    left = [n for n, w in enumerate(one.ways) if w.scored and w.reason != "below_threshold"]
    care = [n for n in left if PAIRS[n][0] == "hi"]
    among = care or left
    value, cost = POLICY.message_values, POLICY.costs
    mean = {
        "p": sum(one.ways[n].effect for n in among) / len(among),
        "v": sum(value[n] for n in among) / len(among),
    }

    def lever(n: int) -> float:
        return one.ways[n].lever if value[n] else 1.0  # what the figures leave

    priority = {
        "": lambda n: one.ways[n].priority,
        "response_probability": lambda n: mean["p"] * value[n] * lever(n) - cost[n],
        "value": lambda n: one.ways[n].effect * mean["v"] * lever(n) - cost[n],
        "lever": lambda n: one.ways[n].effect * value[n] - cost[n],
        "cost": lambda n: one.ways[n].priority + cost[n],
    }

    def best(of: Any, places: list[int], unless: int | None = None) -> int:
        found = max(places, key=lambda n: (round(of(n), 9), -n))
        if unless is not None and round(of(found), 9) == round(of(unless), 9):
            return unless
        return found

    now = best(priority[""], among)
    assert one.first is not None
    return {
        **{part: (now, best(of, among, now)) for part, of in priority.items() if part},
        "exploration": (one.first, now),
        "tiers": (now, best(priority[""], left, now)),
    }


@given(decisions)
@slow
def test_a_part_decides_where_the_choice_differs_without_it(some: list[Made]) -> None:
    own = [one for one in some if one.first is not None]
    found = report_sensitivity(logged(some), most=99)
    assert found.compared == len(own)
    for part in found.parts:
        expected = Counter[tuple[str, str]]()
        for one in own:
            now, neutral = choices_by_hand(one)[part.part]
            if now != neutral:
                expected["/".join(PAIRS[now]), "/".join(PAIRS[neutral])] += 1
        assert {(one.now, one.neutral): one.decisions for one in part.changes} == expected
        assert part.changed == sum(expected.values())
        assert part.share == pytest.approx(part.changed / (len(own) or 1))


@given(decisions, decisions)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_archive_and_log_have_the_same_figures_of_the_same_decisions(
    tmp_path_factory: pytest.TempPathFactory, some: list[Made], more: list[Made]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    archive(folder, some)
    archive(folder, more, "part-1")
    log, archived = logged([*some, *more]), ArchivedCandidates(folder)
    asked = Range(timezone=ZONE, last=day(some[0]))
    for _ in range(2):  # as they are made, and as they are kept
        for report in (report_candidates, report_win_loss, report_sensitivity):
            one, other = (
                msgspec.json.decode(msgspec.json.encode(report(source, asked)))
                for source in (log, archived)
            )
            assert one.pop("about")["decisions"] == other.pop("about")["decisions"]
            assert one == other
        archived = ArchivedCandidates(folder)
