"""Policies judged by a log, against the truth of a simulated shop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from decision.archive.replays import read_replays
from decision.evaluation.log import open_log
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import ARMS, Candidate, TargetPolicies
from decision.learning.ope import dr, ips, sndr, snips
from tests.evaluation.archives import QUICK, encoded, rows_of, truth
from tests.learning.logs import (
    RULES,
    Deciding,
    World,
    definition_of,
)


@pytest.mark.slow
def test_intervals_cover_what_a_policy_truly_earns_as_often_as_they_say(world: World) -> None:
    """60 logs of 500 decisions: 95 % intervals of four estimators hold the truth in 88 % or more.

    The policy judged explores far less than the one that logged, and boosts nothing.
    """
    _cover(world, runs=60, count=500, least=0.88)


@pytest.mark.soak
def test_intervals_cover_the_truth_in_many_runs(world: World) -> None:
    _cover(world, runs=2_000, count=2_000, least=0.935)


def _cover(world: World, runs: int, count: int, least: float) -> None:
    logging = Deciding(world.definition, 4.0)
    target = Deciding(definition_of(RULES.replace("by: 2", "by: 1.01")), 60.0)
    policy = logging.policy
    ours, theirs, true = (
        np.array([each(moment) for moment in world.moments])
        for each in (logging.chances, target.chances, lambda moment: world.truth(policy, moment))
    )
    # Silence is the last column: a decision in which nothing is left earns nothing.
    ours, theirs = (np.column_stack([each, 1 - each.sum(axis=1)]) for each in (ours, theirs))
    true = np.column_stack([true, np.zeros(len(true))])
    value = float((theirs * true).sum(axis=1).mean())
    assert abs(value - float((ours * true).sum(axis=1).mean())) > 0.003
    generator = np.random.default_rng(5)
    hits = dict.fromkeys(("ips", "snips", "dr", "sndr"), 0)
    for _ in range(runs):
        rows = generator.integers(0, len(ours), count)
        drawn = (generator.random(count)[:, None] > ours[rows].cumsum(axis=1)).sum(axis=1)
        action = np.minimum(drawn, ours.shape[1] - 1)
        reward = (generator.random(count) < true[rows, action]).astype(float)
        logged: Any = (reward, ours[rows, action], np.clip(theirs[rows, action], 0, 1))
        model: Any = {
            "expected_reward": 0.6 * true[rows] + 0.03,
            "target_distribution": np.clip(theirs[rows], 0, 1),
            "action": action,
        }
        for name, found in (
            ("ips", ips(*logged)),
            ("snips", snips(*logged)),
            ("dr", dr(*logged, **model)),
            ("sndr", sndr(*logged, **model)),
        ):
            low, high = found.confidence_interval
            hits[name] += low <= value <= high
    assert all(number / runs >= least for number in hits.values()), hits


def test_a_policy_is_worth_what_it_would_truly_earn(world: World, archive: Path) -> None:
    """From the archive alone: its rules, documents and events, decided again under another γ."""
    report = evaluate(archive, Candidate(exploration=60.0), EvaluationRequest(options=QUICK))
    policy = report.policies[-1]
    value = truth(world, Deciding(world.definition, 60.0))
    for name in ("ips", "snips", "dr", "sndr", "switch_dr"):
        estimate = policy.metrics["responses"][name].estimate
        assert abs(estimate.value - value) < 3 * estimate.standard_error, name
    logged = report.logged["responses"]
    assert abs(logged.value - truth(world, Deciding(world.definition, 4.0))) < (
        3 * logged.standard_error
    )
    assert policy.unsupported == 0 and abs(policy.weights.mean_z or 0) < 3
    assert not policy.cautions
    assert report.log.judged == len(world.moments) == report.customers
    assert report.holdout and report.silent >= report.holdout


def test_the_policy_that_logged_earns_what_was_logged(archive: Path) -> None:
    """Decided again without a change, every weight is 1: to the last digit it is the log."""
    report = evaluate(
        archive, Candidate(exploration=4.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    policy = report.policies[-1]
    assert policy.weights.mean == pytest.approx(1) and policy.weights.max == pytest.approx(1)
    for metric in ("responses", "value"):
        for name in ("ips", "snips"):
            found = policy.metrics[metric][name]
            assert found.estimate.value == pytest.approx(report.logged[metric].value)
            assert found.lift.relative_interval == pytest.approx((0, 0), abs=1e-9)
    assert sum(row.logged_share for row in report.messages) == pytest.approx(1)
    assert sum(row.target_share for row in report.messages) == pytest.approx(1)
    for row in report.messages:
        assert row.target_responses.value == pytest.approx(row.logged_responses)
    again = evaluate(
        archive, Candidate(exploration=4.0), EvaluationRequest(reward_model=False, options=QUICK)
    )
    assert encoded(again) == encoded(report)


def test_arms_are_what_they_are_called(archive: Path) -> None:
    with open_log(archive, None) as log:
        targets = TargetPolicies(Candidate(exploration=None), log.policies, arms=True)
    spoken = 0
    for replay, _ in zip(read_replays(archive), range(100), strict=False):
        found = targets.decide_again(replay)
        count = len(found.candidates)
        assert set(found.targets) == set(ARMS)
        for name, chance in found.targets.items():
            assert chance.silence + chance.probability.sum() == pytest.approx(1), name
            if name == "random eligible" and count:
                assert chance.probability.tolist() == [1 / count] * count
            elif count:
                assert chance.probability.max() == 1
        if not count:
            continue
        spoken += 1
        policy = found.bound.policy
        gains = policy.message_values[found.candidates] - 20 * policy.costs[found.candidates]
        # Without a model everybody has the prior, 5 %: without levers the dearest message wins.
        assert found.targets["no levers"].probability[int(gains.argmax())] == 1
        levered = found.targets["the whole"].probability
        assert found.targets["rules only"].probability.tolist() == levered.tolist()
    assert spoken > 50


def test_segments_are_parts_of_the_whole(archive: Path) -> None:
    report = evaluate(
        archive,
        Candidate(exploration=60.0),
        EvaluationRequest(
            by=("state", "placement", "customer.country", "context.nowhere"), options=QUICK
        ),
    )
    for field in ("customer.state", "placement", "customer.country", "context.nowhere"):
        rows = [row for row in report.segments if row.field == field]
        assert sum(row.decisions for row in rows) == report.log.judged
        mean = sum(row.decisions * row.logged["responses"].value for row in rows)
        assert mean / report.log.judged == pytest.approx(report.logged["responses"].value)
    names = {row.segment for row in report.segments if row.field == "customer.state"}
    assert names == {"active", "quiet"}
    assert [row.segment for row in report.segments if row.field == "context.nowhere"] == ["(none)"]
    whole = report.policies[-1].metrics["responses"]["sndr"]
    only = next(row for row in report.segments if row.field == "placement")
    assert only.target["responses"].estimate.value == pytest.approx(whole.estimate.value)
    assert only.target["responses"].lift.relative == pytest.approx(whole.lift.relative)


def test_no_figure_depends_on_the_order_of_rows_in_the_files(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "log"
    shutil.copytree(archive, again)
    generator = np.random.default_rng(6)
    for path in sorted(again.rglob("*.parquet")):
        table = pq.ParquetFile(path).read()
        pq.write_table(table.take(generator.permutation(len(table))), path)
    asked = EvaluationRequest(by=("customer.country", "placement"), options=QUICK)
    one, other = (evaluate(log, Candidate(exploration=60.0), asked) for log in (archive, again))
    _alike(msgspec.json.decode(encoded(one)), msgspec.json.decode(encoded(other)))


def test_read_seven_at_a_time_the_log_gives_the_same_bytes(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the rows read at once nor the groups of rows in the files change a digit."""
    from decision.evaluation import gather, log, supports

    asked = EvaluationRequest(arms=True, by=("customer.country", "state"), options=QUICK)
    whole = evaluate(archive, Candidate(exploration=60.0), asked)
    parts = tmp_path / "log"
    shutil.copytree(archive, parts)
    for path in sorted(parts.rglob("*.parquet")):
        pq.write_table(pq.ParquetFile(path).read(), path, row_group_size=13)
    monkeypatch.setattr(log, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(gather, "BATCH", 7)
    monkeypatch.setattr(supports, "ENTRIES_AT_ONCE", 7)
    streamed = evaluate(parts, Candidate(exploration=60.0), asked)
    assert encoded(streamed) == encoded(whole)


def test_candidates_are_read_as_they_were_written(archive: Path) -> None:
    """Against a plain reading of the rows: what could have been chosen, and how probably."""
    with open_log(archive, None) as log:
        found = {name: one for day in log.days() for name, one in log.judged_on(day).items()}
    assert len(found) == 1_500
    for row in rows_of(archive, "decisions"):
        expected = {
            f"{one['message']}/{one['channel']}": one["selection_probability"]
            for one in row["candidates"]
            if one["selection_probability"] > 0
        }
        if (rest := 1 - sum(expected.values())) > 1e-9:
            expected[""] = pytest.approx(rest)
        one = found[row["decision_id"]]
        assert one.shares == expected and one.support == expected.keys()


def _alike(one: Any, other: Any) -> None:
    """Equal but for the last digits of sums."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _alike(*pair)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9)
    else:
        assert one == other
