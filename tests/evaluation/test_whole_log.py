"""A version that was cross-fitted is judged by the whole log, on customers it has not seen."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.evaluation.gate import judge_gate
from decision.evaluation.gate_by_log import LIFT, SAMPLE, SKILL
from decision.evaluation.gate_figures import GateEvidence, GateFigure
from decision.evaluation.log import open_log
from decision.evaluation.said import judge_what_was_said
from decision.evaluation.targets import BoundPolicy, Candidate, decide_bound
from decision.evaluation.whole_log import Rivals, judge_whole_log
from decision.learning.folds import fold_of
from decision.learning.gate_spec import PromotionGate
from decision.learning.metrics import measure
from decision.learning.spec import Spec, SpecError, parse_spec
from decision.learning.table import TrainingError, table_of_rows
from decision.learning.train import train, train_on_log
from decision.scoring.loading import load_model
from decision.scoring.manifest import ModelError, evidence_of
from decision.scoring.model import Model
from decision.scoring.witness import WITNESSES, witnesses_of
from tests.learning.logs import SPEC, Deciding, World, write_archive

CROSSED = SPEC.replace("validation: 50%", "cross_fit: 3\nrounds: 40").replace("rounds: 12\n", "")


@pytest.fixture(scope="module")
def world() -> World:
    return World(1200)


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


def spec(**gate: Any) -> Spec:
    return msgspec.structs.replace(parse_spec("tea.yaml", CROSSED), promotion=PromotionGate(**gate))


@pytest.fixture(scope="module")
def folder(world: World, archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    goals = {message.name: message.goal for message in world.definition.messages if message.goal}
    return train_on_log(spec(), archive, goals, tmp_path_factory.mktemp("models"), report=False)


def figures(folder: Path, archive: Path, champion: Path | None = None, **gate: Any) -> dict:
    given = GateEvidence(
        folder=folder,
        model=load_model(folder),
        spec=spec(**gate),
        archive=archive,
        champion=champion,
    )
    return {figure.name: figure for figure in judge_gate(given)}


def test_each_witness_has_learned_from_all_but_its_fold(folder: Path, world: World) -> None:
    """Every row is in all witnesses but one; the version itself has learned from all rows."""
    manifest = load_model(folder).manifest
    witnesses = witnesses_of(folder, manifest)
    shows = [sum(row.shows for row in one.manifest.evidence) for one in witnesses]
    assert len(witnesses) == 3 and sum(shows) == 2 * manifest.training.rows
    assert manifest.training.test_rows == manifest.training.rows
    sizes = [0, 0, 0]
    for moment in world.moments:
        sizes[fold_of(moment.document.customer_id, 3)] += 1
    assert all(300 < size < 500 for size in sizes)


def test_a_damaged_witness_refuses_the_version(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "witness-1.txt").write_bytes(b"no trees")
    with pytest.raises(ModelError, match=r"witness-1\.txt"):
        load_model(copy)
    assert WITNESSES in load_model(folder).manifest.files


def test_the_whole_log_says_what_the_version_truly_adds(
    folder: Path, archive: Path, world: World
) -> None:
    """Within four standard errors of the truth, which the shop knows; every decision counts."""
    witnesses = witnesses_of(folder, load_model(folder).manifest)
    judged = judge_whole_log(archive, Rivals(witnesses, ()), spec().responses, 1.0)
    moments = {moment.document.customer_id: moment for moment in world.moments}
    truly = []
    with open_log(archive, spec().responses) as log:
        for logged, replay in log.read():
            moment = moments[logged.customer_id]
            witness = witnesses[fold_of(logged.customer_id, 3)]
            bound = BoundPolicy(world.definition, Candidate(model=witness), None, ())
            worth = (
                world.truth(bound.policy, moment) * bound.policy.message_values - bound.policy.costs
            )
            scores = decide_bound(bound, replay).scores
            ours = float(scores.selection @ worth[scores.candidates])
            theirs = [logged.shares.get(name, 0.0) for name in bound.names]
            truly.append(ours - float(np.array(theirs) @ worth))
    assert len(judged) == len(truly) > 1000
    error = judged.gain.std() / len(judged) ** 0.5
    assert abs(judged.gain.mean() - np.mean(truly)) < 4 * error
    assert judged.gain.min() >= -judged.least
    assert judged.weight.mean() == pytest.approx(1, abs=0.2)


def test_what_is_in_force_is_judged_on_the_same_customers(folder: Path, archive: Path) -> None:
    """A version beside itself gains nothing, exactly: both are judged by their witnesses."""
    found = figures(folder, archive, folder, lift_at_least=0.0, skill_at_least=0.0)
    for name in (LIFT, SKILL):
        assert found[name].detail.startswith("estimated +0.0%")
        assert found[name].found is not None and found[name].found < 0
    tolerant = figures(folder, archive, folder, lift_at_least=-0.9, skill_at_least=-0.3)
    assert tolerant[SKILL].passed and tolerant[LIFT].passed


def test_skill_alone_is_read_from_what_was_logged(folder: Path, archive: Path) -> None:
    """The same predictions of the same messages as where every decision is made again."""
    witnesses = witnesses_of(folder, load_model(folder).manifest)
    rivals = Rivals(witnesses, witnesses[::-1])
    said = judge_what_was_said(archive, rivals, spec().responses)
    again = judge_whole_log(archive, rivals, spec().responses, 1.0)
    assert len(said.reached) > 1000 and said.before is not None and again.before is not None
    for one, other in (
        (said.after, again.after),
        (said.before, again.before),
        (said.reached, again.reached),
    ):
        assert sorted(one) == pytest.approx(sorted(other), abs=1e-12)


def test_while_nothing_is_in_force_the_gate_is_the_first_one(folder: Path, archive: Path) -> None:
    first = PromotionGate(skill_at_least=-0.5)
    given: dict[str, Any] = {"skill_at_least": 0.5, "first": first}
    assert figures(folder, archive, **given)[SKILL].passed
    assert not figures(folder, archive, folder, **given)[SKILL].passed
    both = figures(folder, archive, lift_at_least=-0.99, first=first)
    assert list(both) == [SKILL]


def test_each_refusal_says_what_would_lift_it(folder: Path, archive: Path) -> None:
    """How many decisions, and days at the present rate; or that no number of them would."""
    found = figures(folder, archive, effective_sample_at_least=5_000.0, lift_at_least=9.0)
    assert "more decisions would show it" in found[SAMPLE].detail
    assert "days at the present rate" in found[SAMPLE].detail
    assert "a better model would" in found[LIFT].detail


def test_a_version_without_witnesses_cannot_show_its_skill(
    world: World, archive: Path, tmp_path: Path
) -> None:
    rows = [{"message.name": "tea", "message.channel": "push"}] * 200
    plain = train(
        parse_spec("tea.yaml", SPEC), table_of_rows(rows, [0, 1] * 100), tmp_path, report=False
    )
    found = figures(plain, archive, skill_at_least=0.0)[SKILL]
    assert found.found is None and not found.passed and "cross_fit" in found.detail


def test_rows_without_customers_cannot_be_cross_fitted(tmp_path: Path) -> None:
    rows = [{"message.name": "tea", "message.channel": "push"}] * 200
    with pytest.raises(TrainingError, match="customer"):
        train(spec(), table_of_rows(rows, [0, 1] * 100), tmp_path)
    alone = ["only-one"] * 200
    with pytest.raises(TrainingError, match="fold"):
        train(spec(), table_of_rows(rows, [0, 1] * 100, customer=alone), tmp_path)


def test_the_same_customers_give_the_same_version(tmp_path: Path) -> None:
    """Whether from a table or again: folds depend on the ids of customers alone."""
    draw = np.random.default_rng(1)
    rows = [{"message.name": "tea", "message.channel": "push"}] * 300
    given = {"customer": [f"c{each}" for each in range(300)]}
    label = draw.integers(0, 2, 300)
    one = train(spec(), table_of_rows(rows, label, **given), tmp_path / "a", report=False)
    two = train(spec(), table_of_rows(rows, label, **given), tmp_path / "b", report=True)
    assert one.name == two.name
    assert evidence_of(load_model(one).manifest)[("tea", "push")][0] == 300


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("cross_fit: 1", "at least 2"),
        ("promotion: {skill_at_least: much}", "skill_at_least of promotion"),
        ("promotion: {first: {first: {}}}", "first"),
        ("promotion: {first: {lift: 1%}}", "lift"),
    ],
)
def test_what_the_spec_cannot_mean_is_an_error_at_its_place(text: str, wrong: str) -> None:
    with pytest.raises(SpecError, match=wrong):
        parse_spec("tea.yaml", f"name: tea\nfeatures: {{message.name: categorical}}\n{text}\n")


def test_the_gate_of_a_spec_is_read() -> None:
    text = "promotion: {first: {lift_at_least: -5%}, lift_at_least: 1%, skill_at_least: -0.5%}"
    gate = parse_spec(
        "a.yaml", f"name: a\nfeatures: {{message.name: categorical}}\n{text}"
    ).promotion
    assert (gate.lift_at_least, gate.skill_at_least) == (0.01, -0.005)
    assert gate.at_first() == PromotionGate(lift_at_least=-0.05)


def test_a_first_week_can_meet_the_bounds_of_drift(folder: Path, archive: Path) -> None:
    """What was chosen is no drift of the world; the rest is compared as ever."""
    found = figures(folder, archive, folder, drift_at_most=0.25)["drift (PSI)"]
    assert found.passed and found.found == 0 and "message" not in found.detail


def test_where_responses_are_rare_calibration_is_bounded_by_their_share(folder: Path) -> None:
    """Predictions off by half do not pass, though 0.05 % is less than the 2 % of the spec."""
    assert calibrated(folder, 0.0002, 1_000, of=1_000_000).passed
    refused = calibrated(folder, 0.0005, 1_000, of=1_000_000)
    assert not refused.passed and "of the share of responses" in refused.detail


def test_a_first_thousand_rows_can_meet_the_bound_of_calibration(folder: Path) -> None:
    """Calibrated predictions are off by what chance makes of ten groups, in 99 of 100 logs."""
    draw, rows, errors = np.random.default_rng(7), 1_000, []
    for _ in range(200):
        probability = draw.uniform(0.1, 0.7, rows)
        label = (draw.random(rows) < probability).astype(float)
        error = measure(label, probability)["calibration_error"]
        errors.append(calibrated(folder, error, int(label.sum()), of=rows).passed)
        assert not calibrated(folder, 0.1, int(label.sum()), of=rows).passed
    assert np.mean(errors) >= 0.99


@cache
def loaded(folder: Path) -> Model:
    return load_model(folder)


def calibrated(folder: Path, error: float | None, responses: int, *, of: int) -> GateFigure:
    """The figure of a gate that allows 2 %, for a calibration error on so many rows."""
    model = loaded(folder)
    training = msgspec.structs.replace(
        model.manifest.training,
        test_rows=of,
        test_positives=responses,
        metrics={"calibration_error": error},
    )
    manifest = msgspec.structs.replace(model.manifest, training=training)
    changed = Model(manifest, model.log_odds, "lightgbm")
    given = GateEvidence(folder=folder, model=changed, spec=spec(calibration_error_at_most=0.02))
    (figure,) = judge_gate(given)
    return figure
