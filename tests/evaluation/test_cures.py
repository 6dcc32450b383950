"""Each refusal of the gate says what would lift it, in each language of the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from decision.console.language import language
from decision.core.said import Said
from decision.evaluation import cures
from decision.evaluation.gate import judge_gate
from decision.evaluation.gate_figures import GateEvidence, GateFigure
from decision.evaluation.run import EvaluationRequest, evaluate
from decision.evaluation.targets import Candidate
from decision.learning.drift import PROFILE
from decision.learning.gate_spec import PromotionGate
from decision.learning.spec import Spec, parse_spec
from decision.scoring.loading import load_model
from tests.evaluation.test_promotion import STRICT
from tests.learning.logs import SPEC, Deciding, World, train_model, write_archive

pytest.importorskip("pyarrow")

CURES = (
    r"more decisions would show it, [\d]+ days? at the present rate|a better model would",
    r"more decisions would show it, [\d]+ days? at the present rate",
    r"train on more rows",
    r"fewer rounds|compiled ones are several times as fast",
    r"train it again",
    r"is still sent as before|chance alone makes",
)
"""What lifts each figure of a strict gate, in its order."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = World(700)
    return write_archive(tmp_path_factory.mktemp("log"), world, Deciding(world.definition, 4.0), 1)


@pytest.fixture(scope="module")
def given(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> GateEvidence:
    home, world = tmp_path_factory.mktemp("models"), World(700)
    champion, folder = (train_model(world, home, seed) for seed in (3, 4))
    model = load_model(folder)
    training = msgspec.structs.replace(model.manifest.training, metrics={"calibration_error": 0.9})
    model.manifest = msgspec.structs.replace(model.manifest, training=training)
    return GateEvidence(
        folder=folder, model=model, spec=spec(**STRICT), champion=champion, archive=archive
    )


def spec(**gate: Any) -> Spec:
    return msgspec.structs.replace(parse_spec("tea.yaml", SPEC), promotion=PromotionGate(**gate))


def refused(given: GateEvidence, **changed: Any) -> list[GateFigure]:
    figures = judge_gate(msgspec.structs.replace(given, **changed))
    return [figure for figure in figures if not figure.passed]


def in_chinese(text: str) -> str:
    """What is left of English words once names and values are gone."""
    told = language("zh").say(text)
    for value in values_of(text):
        told = told.replace(value, "")
    return " ".join(re.findall(r"\b[a-z]{4,}\b", told))


def values_of(text: str) -> Iterator[str]:
    for value in getattr(text, "values", {}).values():
        if isinstance(value, Said):
            yield from values_of(value)
        else:
            yield str(value)
    for part in getattr(text, "parts", ()):
        yield from values_of(part)


def test_every_refusal_says_what_would_lift_it(given: GateEvidence) -> None:
    failed = refused(given)
    assert len(failed) == len(CURES)
    for figure, cure in zip(failed, CURES, strict=True):
        assert re.search(cure, figure.detail), figure
        left = in_chinese(figure.detail).split()
        known = {
            "rounds",
            "leaves",
            "lleaves",
            "calibration",
            "auto",
            "force",
            "reason",
            "compiled",
        }
        assert set(left) <= known, figure


def test_so_does_what_is_not_known(given: GateEvidence, tmp_path: Path) -> None:
    unknown = refused(given, archive=None, spec=spec(**STRICT, skill_at_least=0.0))
    assert [figure.name for figure in unknown if "--log" in figure.detail] == [
        "lift of value, lower bound",
        "effective sample",
        "skill, lower bound",
    ]
    assert any("--rules" in figure.detail for figure in unknown)
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in given.folder.iterdir():
        if path.is_file() and path.name != PROFILE:
            (bare / path.name).write_bytes(path.read_bytes())
    drift = refused(given, folder=bare, spec=spec(drift_at_most=9.0))[0]
    assert "has no profile; train this model again" in drift.detail


def test_chance_is_told_from_drift() -> None:
    """Few rows differ by chance: more of them show it. Where old rows are few, none would."""
    few = cures.of_drift("customer.tier", 0.3, 0.25, (5_000, 100), 10.0)
    assert "about " in few and "more decisions would show it" in few
    for rows, index in (((5_000, 5_000), 0.3), ((60, 5_000), 0.3), ((5_000, 200), 2.0)):
        told = cures.of_drift("customer.tier", index, 0.25, rows, 10.0)
        assert told.startswith("see whether customer.tier is still sent as before")


def test_notes_and_cautions_of_a_report_are_said_in_chinese(
    given: GateEvidence, archive: Path
) -> None:
    candidate = Candidate(model=given.model, exploration=None)
    against = Candidate(model=load_model(given.folder))
    report = evaluate(archive, candidate, EvaluationRequest(against=against))
    told = [*report.notes, *report.policies[-1].cautions, *report.comparisons[0].cautions]
    assert len(told) > 6
    for text in told:
        assert isinstance(text, Said), text
        assert set(in_chinese(text).split()) <= {"since", "held", "last"}, text
