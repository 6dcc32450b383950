"""A policy is compared with another version and with constants, in pairs, on the same decisions."""

from __future__ import annotations

from copy import copy
from pathlib import Path

import msgspec
import pytest

from decision.evaluation.log import EvaluationError
from decision.evaluation.report import ComparisonResult, EvaluationOptions, EvaluationReport
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.scoring.loading import load_model
from decision.scoring.manifest import Scope
from decision.scoring.model import Model
from tests.learning.logs import Deciding, World, train_model, write_archive

pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def world() -> World:
    return World(800)


@pytest.fixture(scope="module")
def archive(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


@pytest.fixture(scope="module")
def made(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Model]:
    """Two versions, of two samples of the world."""
    home = tmp_path_factory.mktemp("models")
    return load_model(train_model(world, home, 3)), load_model(train_model(world, home, 4))


def judged(
    archive: Path, model: Model, other: Model | None = None, bootstrap: int = 50, **how: float
) -> EvaluationReport:
    against = None if other is None else Candidate(model=other, **how)
    options = EvaluationOptions(bootstrap=bootstrap)
    request = EvaluationRequest(against=against, options=options)
    return evaluate(archive, Candidate(model=model, **how), request)


def version_of(report: EvaluationReport) -> ComparisonResult:
    assert report.comparisons[0].kind == "version"
    return report.comparisons[0]


def test_the_other_version_has_the_figures_of_a_report_of_its_own(
    archive: Path, made: tuple[Model, Model]
) -> None:
    """And the lift over it is the difference of both, with an interval shorter than of two logs;
    the other way round it is the negative."""
    first, second = made
    pair, own = judged(archive, first, second), judged(archive, second)
    other, whole = version_of(pair), pair.policies[-1]
    assert other.name == f"tea/{second.version}" and pair.policies[-1:] == pair.policies
    back = version_of(judged(archive, second, first))
    for metric, lift in other.lift.items():
        assert other.metrics[metric] == own.policies[-1].metrics[metric][pair.best].estimate
        estimate = whole.metrics[metric][pair.best].estimate
        assert lift.difference == pytest.approx(estimate.value - other.metrics[metric].value)
        low, high = lift.difference_interval
        apart = estimate.standard_error + other.metrics[metric].standard_error
        assert 0 < high - low < 2 * 1.96 * apart and lift.difference_bootstrap is not None
        assert back.lift[metric].difference == pytest.approx(-lift.difference)
        assert back.lift[metric].difference_interval == pytest.approx((-high, -low))


def test_nothing_is_between_a_version_and_itself(archive: Path, made: tuple[Model, Model]) -> None:
    for exploration in (4.0, 60.0):
        report = judged(archive, made[0], made[0], exploration=exploration)
        for lift in version_of(report).lift.values():
            assert lift.difference == 0 and lift.difference_interval == (0, 0)
            assert lift.difference_bootstrap == (0, 0)


def test_what_either_version_has_learned_from_is_said(
    archive: Path, made: tuple[Model, Model]
) -> None:
    notes = judged(archive, made[0], made[1]).notes
    told = [note for note in notes if "has learned from" in note]
    assert [note.partition(" has")[0] for note in told] == ["the model", f"tea/{made[1].version}"]


def test_versions_of_two_placements_cannot_be_compared(
    archive: Path, made: tuple[Model, Model]
) -> None:
    """One of a placement and one of all are, at that placement."""

    def at(model: Model, placement: str) -> Model:
        moved = copy(model)
        moved.manifest = msgspec.structs.replace(model.manifest, scope=Scope(placement=placement))
        return moved

    home = at(made[0], "outbound")
    with pytest.raises(
        EvaluationError, match="one version is of placement=elsewhere, the other one of"
    ):
        judged(archive, home, at(made[1], "elsewhere"))
    assert any(
        "decides placement=outbound" in note for note in judged(archive, made[1], home).notes
    )


def test_the_best_constants_are_those_of_sums_by_hand(archive: Path) -> None:
    """One per channel, the best first; the policy's lift over each is the difference of both
    estimates, with a paired interval."""
    request = EvaluationRequest(options=EvaluationOptions(bootstrap=0))
    report = evaluate(archive, Candidate(), request)
    for row in report.messages:
        if row.message and row.logged_rate is not None:
            assert row.logged_rate == pytest.approx(row.logged_responses / row.logged_share)
    whole, constants = report.policies[-1], report.comparisons
    channels = {row.channel for row in report.messages if row.logged_share > 0 and row.channel}
    assert {each.name.rpartition("/")[2] for each in constants} <= channels and constants
    values = [each.metrics["value"].value for each in constants]
    assert values == sorted(values, reverse=True)
    for each in constants:
        assert each.kind == "constant" and each.possible is not None and 0 < each.possible <= 1
        for metric, lift in each.lift.items():
            policy = whole.metrics[metric][report.best].estimate
            gap = policy.value - each.metrics[metric].value
            assert lift.difference == pytest.approx(gap)
            low, high = lift.difference_interval
            apart = policy.standard_error + each.metrics[metric].standard_error
            assert low < lift.difference < high and high - low < 2 * 1.97 * apart
    taus = whole.switch_at
    assert taus.keys() == {"responses", "value"} and all(tau > 0 for tau in taus.values())
