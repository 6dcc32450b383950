"""Training: the same input gives the same bytes; what cannot be learned from is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from decision.learning.calibration import fit_platt
from decision.learning.metrics import auc, measure
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import (
    TrainingError,
    TrainingTable,
    fit_to,
    table_of_columns,
    table_of_rows,
)
from decision.learning.train import train
from decision.scoring.features import varies
from decision.scoring.loading import load_model
from decision.scoring.manifest import MANIFEST, TREES, read_version
from decision.scoring.notes import text_of
from tests.scoring.build import MADE, SPEC, table


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec("small.yaml", SPEC)


@pytest.fixture(scope="module")
def folder(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(spec, table(), tmp_path_factory.mktemp("models"), created_at=MADE)


def test_the_same_spec_and_table_give_the_same_bytes(
    spec: Spec, folder: Path, tmp_path: Path
) -> None:
    again = train(spec, table(), tmp_path, created_at=MADE)
    assert again.name == folder.name
    for name in (MANIFEST, TREES):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_training_again_finds_the_version_and_repairs_a_damaged_one(
    spec: Spec, folder: Path, tmp_path: Path
) -> None:
    first = train(spec, table(), tmp_path, created_at=MADE)
    sound = (first / MANIFEST).read_bytes()
    assert train(spec, table(), tmp_path) == first  # made at another time
    assert (first / MANIFEST).read_bytes() == sound
    (first / TREES).write_text("damaged", encoding="utf-8")
    assert train(spec, table(), tmp_path, created_at=MADE) == first
    assert load_model(first).engine == "compiled"
    assert sorted(path.name for path in first.parent.iterdir()) == [first.name]


def test_another_seed_or_row_gives_another_version(
    spec: Spec, folder: Path, tmp_path: Path
) -> None:
    other = msgspec.structs.replace(spec, seed=8, rounds=2)
    assert train(other, table(), tmp_path).name != folder.name


def test_the_manifest_says_what_the_training_was(spec: Spec, folder: Path) -> None:
    manifest, _ = read_version(folder)
    facts = manifest.training
    assert manifest.name == "small" and folder.parent.name == "small"
    assert manifest.created_at == "2026-11-21T00:00:00+00:00"
    assert (facts.rows, facts.validation_rows, facts.test_rows) == (1_200, 300, 150)
    data = table()
    assert data.time is not None
    assert facts.positives + facts.validation_positives == data.label.sum()
    assert facts.positives == data.label[:1_200].sum()  # the latest rows are held out
    assert (facts.from_time, facts.to_time) == (data.time.min(), data.time.max())
    assert facts.seed == 7 and facts.libraries.keys() == {"lightgbm", "numpy"}
    assert facts.parameters["deterministic"] is True
    assert 1 <= facts.trees <= 15
    kinds = {one.kind for one in facts.notes if not isinstance(one, str)}
    assert kinds == {"never_missing", "few_judged"}
    assert sum(row.shows for row in manifest.evidence) == facts.rows
    assert sum(row.responses for row in manifest.evidence) == facts.positives
    assert manifest.categories["customer.country"][0] in ("中国", "DE", "US")
    assert set(manifest.categories["message.category"]) == {"retention", "内容", "loyalty"}
    assert facts.metrics["auc"] is not None and facts.metrics["auc"] > 0.6
    assert facts.metrics["predicted_over_observed"] == pytest.approx(1, abs=0.1)


def test_fields_come_first_in_the_matrix(folder: Path) -> None:
    """Then serving broadcasts them in one slice."""
    manifest, _ = read_version(folder)
    differs = [varies(feature) for feature in manifest.features]
    assert differs == sorted(differs)


def test_rows_may_come_in_any_order_of_time(spec: Spec, tmp_path: Path) -> None:
    """The latest rows are held out, in whatever order they come."""
    quick = msgspec.structs.replace(spec, rounds=2)
    data = table(400)
    order = np.random.default_rng(1).permutation(len(data))
    manifest, _ = read_version(train(quick, data.take(order), tmp_path))
    assert manifest.training.positives == data.label[:320].sum()


def test_a_model_of_one_message_and_no_validation_can_be_trained(tmp_path: Path) -> None:
    spec = parse_spec(
        "one.yaml",
        "name: one\nfeatures: {customer.n: numeric}\nvalidation: 0\nrounds: 3\n"
        "lightgbm: {min_data_in_leaf: 5}\n",
    )
    rows = [{"customer.n": number} for number in range(60)]
    label = [float(number > 30) for number in range(60)]
    data = table_of_rows(rows, label, message=["m"] * 60, channel=["c"] * 60)
    manifest, _ = read_version(train(spec, data, tmp_path))
    assert manifest.training.trees == 3 and manifest.training.metrics == {}
    assert manifest.training.from_time is None


def test_features_that_say_nothing_still_give_a_model(tmp_path: Path) -> None:
    """Every tree is then a single leaf: the model knows the base rate, and that is all."""
    spec = parse_spec("flat.yaml", "name: flat\nfeatures: {customer.gone: numeric}\nrounds: 5\n")
    data = msgspec.structs.replace(table(600), columns={"customer.other": [1] * 600})
    version = train(spec, data, tmp_path)
    model = load_model(version)
    assert str(text_of(model.manifest.training.notes[0])) == (
        "'customer.gone' has no value in any of 600 rows; did you mean 'customer.other'?"
    )
    found = model.probabilities(np.full((3, 1), np.nan))
    facts = model.manifest.training
    assert found == pytest.approx([facts.positives / facts.rows] * 3, abs=1e-6)


def test_weights_count(spec: Spec, tmp_path: Path) -> None:
    """Responses weighed tenfold raise what is predicted."""
    quick = msgspec.structs.replace(spec, rounds=5, calibration="none", validation=0.0)
    data = table(600)
    heavy = msgspec.structs.replace(data, weight=np.where(data.label == 1, 10.0, 1.0))
    matrix = np.full((1, len(spec.features)), np.nan)
    plain, weighed = (
        load_model(train(quick, each, tmp_path)).probabilities(matrix)[0] for each in (data, heavy)
    )
    assert weighed > 2 * plain


def test_a_table_without_responses_or_without_rows_is_refused(spec: Spec, tmp_path: Path) -> None:
    none = msgspec.structs.replace(table(100), label=np.zeros(100))
    with pytest.raises(TrainingError, match="0 of the 80 rows to fit are responses"):
        train(spec, none, tmp_path)
    late = np.zeros(100)
    late[:50] = 1
    late_only = msgspec.structs.replace(table(100), label=late)
    with pytest.raises(TrainingError, match="0 of the 10 rows held out to calibrate are responses"):
        train(spec, late_only, tmp_path)
    with pytest.raises(TrainingError, match="no rows"):
        train(spec, table_of_rows([], [], message=[], channel=[]), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_table_that_cannot_be_is_refused() -> None:
    columns = {"message.name": ["a", "b"], "message.channel": ["x", "y"]}
    with pytest.raises(TrainingError, match=r"label\[1\] is 2\.0; must be 0 or 1"):
        table_of_columns(columns, [0, 2])
    with pytest.raises(TrainingError, match=r"label\[0\] is nan"):
        table_of_columns(columns, [float("nan"), 1])
    with pytest.raises(TrainingError, match=r"message\.channel has 1 rows; the label has 2"):
        table_of_columns({**columns, "message.channel": ["x"]}, [0, 1])
    with pytest.raises(TrainingError, match="time has 3 rows"):
        table_of_columns(columns, [0, 1], time=[1, 2, 3])
    with pytest.raises(TrainingError, match=r"weight\[1\] is 0\.0"):
        table_of_columns(columns, [0, 1], weight=[1, 0])
    with pytest.raises(TrainingError, match="which message each row is about"):
        table_of_columns({"message.name": ["a", "b"]}, [0, 1])


def test_rows_that_lack_a_feature_have_it_missing() -> None:
    data = table_of_rows(
        [{"customer.a": 1}, {"customer.b": "x"}], [0, 1], message=["m", "m"], channel=["c", "c"]
    )
    assert [bool(value) for value in data.columns["customer.b"]] == [False, True]
    fitted, notes = fit_to(data, parse_spec("x", SPEC).features)
    assert {note.values["near"] for note in notes} <= {"customer.a", "customer.b"}
    assert isinstance(fitted, TrainingTable) and len(fitted) == 2


def test_auc_is_the_share_of_pairs_in_order() -> None:
    generator = np.random.default_rng(3)
    label = (generator.random(60) < 0.4).astype(float)
    score = generator.integers(0, 9, 60).astype(float)
    pairs = [
        (0.5 if a == b else float(a > b)) for a in score[label == 1] for b in score[label == 0]
    ]
    assert auc(label, score) == pytest.approx(np.mean(pairs))
    assert auc(np.ones(3), score[:3]) is None
    assert auc(np.array([0.0, 1.0]), np.array([0.1, 0.9])) == 1.0


def test_metrics_of_certain_and_wrong_predictions_are_finite() -> None:
    found = measure(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert found["brier"] == 1.0 and found["auc"] == 0.0
    assert found["log_loss"] is not None and np.isfinite(found["log_loss"])
    assert measure(np.zeros(2), np.array([0.1, 0.2]))["predicted_over_observed"] is None


def test_platt_corrects_probabilities_that_are_too_extreme() -> None:
    generator = np.random.default_rng(5)
    truth = generator.normal(-2, 1, 20_000)
    label = (generator.random(20_000) < 1 / (1 + np.exp(-truth))).astype(float)
    found = fit_platt(3 * truth + 1, label)
    assert found.slope == pytest.approx(1 / 3, abs=0.02)
    assert found.intercept == pytest.approx(-1 / 3, abs=0.05)


@pytest.mark.parametrize(
    ("odds", "label"),
    [
        ([1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]),  # says nothing
        ([3.0, 2.0, -2.0, -3.0], [0.0, 0.0, 1.0, 1.0]),  # says the opposite
        ([500.0, -500.0], [1.0, 0.0]),  # is as sure as can be
    ],
)
def test_platt_never_turns_the_order_round(odds: list[float], label: list[float]) -> None:
    found = fit_platt(np.array(odds), np.array(label))
    assert found.slope > 0 and np.isfinite([found.slope, found.intercept]).all()
