"""Silence has a value of its own where customers respond without a message; else a gate says so."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from decision.evaluation.gate import evidence_for, judge_gate
from decision.evaluation.gate_by_log import ALONE, LIFT
from decision.evaluation.gate_figures import GateFigure
from decision.evaluation.log import open_log
from decision.evaluation.paired import PairedRows, increments, with_silence
from decision.evaluation.report import EvaluationOptions
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.goals import goals_of
from decision.learning.spec import parse_spec
from decision.learning.train import train_on_log
from decision.scoring.manifest import Responses
from tests.evaluation.mailing import LOGGED, earns, rules, write_mailing

FEATURES = """\
features: {customer.interest: numeric, customer.age: numeric, message.name: categorical}
rounds: 60
lightgbm: {num_threads: 1, num_leaves: 4, min_data_in_leaf: 100, learning_rate: 0.1}
promotion: {lift_at_least: 0%}
"""
RESPONSE = f"name: vote\n{FEATURES}"
TARGET = f"name: vote\ntarget: {{event: vote, within: 7d}}\n{FEATURES}"
QUICK = EvaluationOptions(bootstrap=0)


@pytest.fixture(scope="module")
def mailing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mailing(tmp_path_factory.mktemp("log"), 12_000)


def gate(spec: str, log: Path, models: Path) -> dict[str, GateFigure]:
    models.mkdir()
    (models / "vote.yaml").write_text(spec)
    goals = goals_of(rules(), None)
    folder = train_on_log(parse_spec("vote", spec), log, goals, models, report=False)
    return {one.name: one for one in judge_gate(evidence_for(models, folder, archive=log))}


@pytest.mark.parametrize("more", ["", "cross_fit: 3\n"])
def test_a_gate_on_value_over_people_who_convert_anyway_is_refused_with_the_fix(
    mailing: Path, tmp_path: Path, more: str
) -> None:
    """Telling everybody the dearest mailing "lifts" value by some hundred per cent, and earns nothing."""
    figures = gate(RESPONSE + more, mailing, tmp_path / "models")
    assert figures[LIFT].passed and (figures[LIFT].found or 0) > 0.05
    refused = figures[ALONE]
    assert not refused.passed and 0.25 < (refused.found or 0) < 0.29
    assert "target: {event: vote, within: 7d}" in refused.detail and "uplift" in refused.detail


def test_where_silence_counts_the_lift_of_telling_everybody_is_the_true_one(
    mailing: Path, tmp_path: Path
) -> None:
    """16 % over the mailing, which told many what moves nobody; and nothing over telling nobody."""
    figures = gate(TARGET + "cross_fit: 3\n", mailing, tmp_path / "models")
    assert ALONE not in figures
    said = re.search(r"estimated ([+-][0-9.]+)%", figures[LIFT].detail)
    true = earns((1, 1)) / LOGGED - 1
    assert said is not None and abs(float(said[1]) / 100 - true) < 0.06


def test_silence_is_worth_what_customers_do_by_themselves(mailing: Path) -> None:
    """By the log alone: a policy that says nothing to anybody earns 0.29, whatever the estimator."""
    nobody = rules()
    nobody = msgspec.structs.replace(
        nobody,
        placements=tuple(msgspec.structs.replace(one, threshold=10.0) for one in nobody.placements),
    )
    request = EvaluationRequest(spec=parse_spec("s", TARGET), options=QUICK)
    report = evaluate(mailing, Candidate(rules=nobody), request)
    for metric in ("responses", "value"):
        for name in ("ips", "snips", "dr", "sndr"):
            found = report.policies[-1].metrics[metric][name].estimate
            assert abs(found.value - 0.29) < 4 * found.standard_error < 0.05, (metric, name)
    assert report.control is None


def test_who_converts_anyway_is_counted_and_told(mailing: Path, tmp_path: Path) -> None:
    report = evaluate(mailing, Candidate(), EvaluationRequest(reward_model=False, options=QUICK))
    control = report.control
    assert control is not None and control.clear
    assert abs(control.reached / control.customers - 0.29) < 0.03
    assert any("told nothing did vote within 7d" in each for each in report.policies[-1].cautions)
    quiet = write_mailing(tmp_path / "quiet", 2_000, alone=False)
    with open_log(quiet, Responses()) as log:
        found = log.control()
    assert found is not None and not found.clear and found.reached == 0
    few = write_mailing(tmp_path / "few", 10)
    with open_log(few, None) as log:
        found = log.control()
    assert found is None or not found.clear


def test_silence_as_a_candidate_is_worth_what_it_is_worth_in_any_order() -> None:
    """An oracle: the increment where silence is one of the columns from the beginning."""
    generator = np.random.default_rng(4)
    for chosen in range(4):
        new, old, logged = (generator.dirichlet(np.ones(4))[None, :] for _ in range(3))
        predicted, value = generator.random((1, 4)), generator.random((1, 4)) * 5
        cost = np.append(generator.random(3), 0.0)[None, :]
        whole = PairedRows(
            new, old, logged, predicted, value, cost, np.array([chosen]), np.array([1.0])
        )
        part = PairedRows(
            *(each[:, :3] for each in whole[:6]),
            np.array([chosen if chosen < 3 else -1]),
            np.array([1.0]),
        )
        with_it = with_silence(part, logged[0, 3], predicted[0, 3], value[0, 3], chosen=chosen == 3)
        for factor in (0.0, 0.9, 1.0):
            assert increments(with_it, factor) == pytest.approx(increments(whole, factor))
