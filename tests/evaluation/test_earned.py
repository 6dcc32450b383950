"""What a policy would have earned comes with one verdict, and says so where the log cannot tell."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from decision.evaluation.earned import Earned, earned, earned_of
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from tests.learning.logs import RULES, Deciding, World, definition_of, write_archive

pytest.importorskip("pyarrow")
MOST = 100_000


def judged(archive: Path, rules: str = RULES, newest: int = MOST) -> Earned:
    found = earned(archive, Candidate(rules=definition_of(rules)), newest)
    assert found is not None
    return found


def test_what_was_in_force_earns_what_was_earned(archive: Path) -> None:
    found = judged(archive)
    assert found.verdict == "open"
    assert found.value == pytest.approx(found.logged, rel=0.05)  # a model of responses has its part
    assert found.difference_interval[0] < 0 < found.difference_interval[1]
    low, high = found.interval
    assert low < found.value < high
    assert found.effective_sample == pytest.approx(found.decisions)


def test_a_policy_that_gives_the_worst_message_first_earns_less(archive: Path) -> None:
    worst = "  worst-first: {boost: {messages: [points]}, by: 50}\n"
    found = judged(archive, RULES.replace("experiments:", worst + "experiments:"))
    assert found.verdict == "less"
    assert found.difference_interval[1] < 0 and found.value < found.logged


def test_a_log_without_exploration_cannot_tell(world: World, tmp_path: Path) -> None:
    certain = write_archive(tmp_path, world, Deciding(world.definition, None), 1)
    found = judged(certain, RULES.replace("by: 2", "by: 0.1"))
    assert found.verdict == "unseen" and found.unseen > 0.1


def test_few_decisions_like_its_own_cannot_tell(archive: Path) -> None:
    assert judged(archive, newest=90).verdict == "unlike"


def test_the_newest_decisions_are_judged(archive: Path) -> None:
    assert judged(archive, newest=700).decisions <= 700 < judged(archive).decisions


@pytest.mark.parametrize(
    ("interval", "sample", "unseen", "verdict"),
    [
        ((0.01, 0.02), 500, 0.05, "more"),
        ((-0.02, -0.01), 500, 0.05, "less"),
        ((0.0, 0.02), 500, 0.05, "open"),
        ((0.01, 0.02), 99, 0.05, "unlike"),
        ((0.01, 0.02), 99, 0.11, "unseen"),
    ],
)
def test_the_verdict_follows_from_the_figures(
    archive: Path, interval: tuple[float, float], sample: float, unseen: float, verdict: str
) -> None:
    options = EvaluationRequest(options=EvaluationOptions(bootstrap=0))
    report = evaluate(archive, Candidate(rules=definition_of(RULES)), options)
    policy, replace = report.policies[-1], msgspec.structs.replace
    judged = policy.metrics["value"][report.best]
    lift = replace(judged.lift, difference_interval=interval)
    changed = replace(
        policy,
        metrics={**policy.metrics, "value": {report.best: replace(judged, lift=lift)}},
        weights=replace(policy.weights, effective_sample_size=sample),
        unsupported=unseen,
    )
    found = earned_of(replace(report, policies=[changed]))
    assert found is not None and found.verdict == verdict
    blind = replace(changed, metrics={**policy.metrics, "value": {}})
    assert earned_of(replace(report, policies=[blind])) is None
