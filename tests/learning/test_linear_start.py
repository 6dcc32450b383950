"""The linear start of a model: what it says, and that it is served as it was fitted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from decision.core.definition import Settings
from decision.core.fields import FieldTable
from decision.core.values import MISSING
from decision.learning.boosting import log_odds
from decision.learning.cross_fitting import cross_fit
from decision.learning.examples import Examples, examples_of
from decision.learning.fitting import fit_examples
from decision.learning.linear_start import OF_ALL, OF_KIN, OF_ONE, OF_RATE, fit_starts
from decision.learning.report.facts import linear_contributions
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import TrainingTable, table_of_columns
from decision.scoring.linear import START, LinearScorer
from decision.scoring.loading import load_model, reference_model
from decision.scoring.manifest import ModelError, read_version, write_version
from decision.scoring.model import Model, to_probability
from decision.scoring.scorers import bind, fields_read
from decision.scoring.witness import witness_files
from tests.learning.test_train_options import KIN, kin
from tests.scoring.build import (
    CANDIDATES,
    NOW,
    SPEC,
    contact,
    document,
    random_matrix,
    small_model,
    table,
)

LINEAR = SPEC + "start: linear\n"
TWO = """\
name: two
features: {customer.x: numeric, customer.kind: categorical, message.name: categorical, message.tag.t: numeric}
rounds: 20
start: linear
lightgbm: {num_threads: 1}
"""


def fitted(spec: Spec, rows: TrainingTable) -> tuple[LinearScorer, Examples]:
    examples = examples_of(rows, spec)
    start, _ = fit_starts(spec, examples)
    assert start is not None
    return start, examples


def test_the_ridge_is_chosen_on_few_of_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decision.learning.linear_start.MOST_TO_CHOOSE", 400)
    monkeypatch.setattr("decision.learning.linear_start.MOST_ROWS", 900)
    start, examples = fitted(parse_spec("kin", KIN + "start: linear\n"), kin(2_000))
    odds = start.log_odds(examples.matrix)
    base = np.log(examples.label.mean() / (1 - examples.label.mean()))

    def loss(odds: Any) -> float:
        return float((np.logaddexp(0.0, odds) - examples.label * odds).mean())

    assert loss(odds) < loss(np.full(len(odds), base)) - 0.05


def two(rows: int, **columns: Any) -> TrainingTable:
    rng = np.random.default_rng(3)
    given: dict[str, Any] = {
        "customer.x": rng.normal(size=rows) * 3 + 1,
        "customer.kind": rng.choice(["a", "b", "c"], rows).tolist(),
        "message.name": rng.choice(["one", "two", "three"], rows).tolist(),
        "message.tag.t": rng.integers(0, 2, rows),
        **columns,
    }
    label = columns.pop("label", None)
    given.pop("label", None)
    if label is None:
        label = (rng.random(rows) < 0.3).astype(float)
    return table_of_columns(given, label, channel=["push"] * rows)


def test_it_is_the_ridge_regression_that_newton_finds() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=900)
    name = rng.choice(["one", "two", "three"], 900)
    odds = -1 + 0.8 * x * (name == "one") - 0.5 * x * (name == "two")
    label = (rng.random(900) < 1 / (1 + np.exp(-odds))).astype(float)
    spec = parse_spec("two", TWO + "validation: 0%\nmissing: 0%\n")
    start, examples = fitted(
        spec, two(900, **{"customer.x": x, "message.name": name.tolist(), "label": label})
    )
    message, customer = start.messages(examples.matrix), start.customers(examples.matrix)
    design = (message[:, :, None] * customer[:, None, :]).reshape(900, -1)
    ridges = np.outer([OF_ALL, OF_KIN, OF_ONE, OF_ONE, OF_ONE], np.ones(customer.shape[1]))
    ridges[:, 0] *= OF_RATE
    ridges[0, 0] = 0.0
    ridge = start.start.ridge * ridges.ravel()
    theta = np.zeros(design.shape[1])
    for _ in range(30):
        share = to_probability(design @ theta)
        curvature = (design * (share * (1 - share))[:, None]).T @ design + np.diag(ridge)
        theta -= np.linalg.solve(curvature, design.T @ (share - examples.label) + ridge * theta)
    found = start.log_odds(examples.matrix)
    assert found == pytest.approx(design @ theta, abs=2e-3)


def test_a_new_message_starts_from_its_kin() -> None:
    """Nearer to the rate of its category than to that of all, and served so without evidence."""
    spec = parse_spec("kin", KIN + "start: linear\n")
    start, examples = fitted(spec, kin(2_000))
    names = [feature.name for feature in examples.features]
    overall = examples.label.mean()
    for category, rate in (("tips", 0.05), ("news", 0.15), ("sale", 0.5)):
        row = np.full((1, len(names)), np.nan)
        row[0, names.index("message.category")] = examples.categories["message.category"].index(
            category
        )
        row[0, names.index("message.tag.coupon")] = float(category == "sale")
        predicted = to_probability(start.log_odds(row))[0]
        assert abs(predicted - rate) < abs(predicted - overall)


@pytest.mark.parametrize(
    "columns",
    [
        {"label": np.zeros(50)},
        {"label": np.ones(50)},
        {"message.name": ["one"] * 50, "message.tag.t": [1] * 50},
        {"customer.x": [4.0] * 50, "customer.kind": ["a"] * 50},
        {"customer.x": [None] * 50, "customer.kind": [None] * 50, "message.tag.t": [None] * 50},
        {"customer.x": [MISSING, 1e300, -1e300, 1e-300, 0.0] * 10},
        {"customer.x": [0.0] * 49 + [1.0]},
        {"customer.kind": [f"k{n}" for n in range(3_000)], "rows": 3_000},
        {"message.name": [f"m{n}" for n in range(3_000)], "rows": 3_000},
    ],
)
def test_whatever_the_rows_are_its_log_odds_are_numbers(columns: dict[str, Any]) -> None:
    rows = columns.pop("rows", 50)
    spec = parse_spec("two", TWO)
    start, examples = fitted(spec, two(rows, **columns))
    extremes = np.array([np.nan, -1e308, 1e308, 0.0, 2_999.0])
    strange = np.repeat(extremes[:, None], len(examples.features), axis=1)
    for matrix in (examples.matrix, strange, np.clip(random_matrix(4, 200, 1), -1, 2)):
        assert np.isfinite(start.log_odds(np.maximum(matrix, -1.0))).all()
        assert np.isfinite(start.log_odds(matrix)).all()


def test_a_monotone_feature_and_the_history_of_a_message_are_left_to_the_trees() -> None:
    spec = parse_spec("small", LINEAR + "monotone: {customer.age: increasing}\n")
    start, examples = fitted(spec, _small())
    left = {"customer.age", "message.count_7d", "message.days_since", "message.value"}
    names = [feature.name for feature in examples.features]
    used = {names[place] for side in start.features for place in side.tolist() if place >= 0}
    assert used == {*names} - left


def _small() -> TrainingTable:
    return table(600)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models"), LINEAR)


def test_a_version_serves_the_start_and_the_trees(version: Path) -> None:
    model, reference = load_model(version), reference_model(version)
    assert model.engine == "compiled" and model.start is not None
    assert model.manifest.start == START and START in model.manifest.files
    matrix = random_matrix(len(model.manifest.features), 500, 2)
    expected = model.start.log_odds(matrix) + model.trees(matrix)
    assert model.log_odds(matrix).tobytes() == expected.tobytes()
    assert model.log_odds(matrix) == pytest.approx(reference.log_odds(matrix), abs=1e-9)
    assert small_model(version.parent.parent, LINEAR) == version


def test_the_trees_learn_what_the_start_leaves_and_both_are_no_worse_than_one() -> None:
    examples = examples_of(table(3_000), parse_spec("small", LINEAR))
    held = slice(examples.judge, len(examples))
    label = examples.label[held]

    def loss(odds: Any) -> float:
        return float((np.logaddexp(0.0, odds) - label * odds).mean())

    both = fit_examples(parse_spec("small", LINEAR), examples).boosted
    trees = fit_examples(parse_spec("small", SPEC), examples).boosted
    assert both.start is not None
    matrix = examples.matrix[held]
    assert loss(log_odds(both, matrix)) < loss(both.start.log_odds(matrix)) + 0.002
    assert loss(log_odds(both, matrix)) < loss(log_odds(trees, matrix)) + 0.002


def test_a_candidate_scores_the_same_alone_and_among_others(version: Path) -> None:
    """Bit by bit, so that a replay finds what was decided; and as rows of a table do."""
    model = load_model(version)
    fields = FieldTable(fields_read(model))
    scorer: Any = bind(model, CANDIDATES, fields, Settings())
    values = [MISSING] * len(fields.names())
    for name, value in (("customer.country", "中国"), ("customer.age", 33), ("time.hour", 9)):
        values[fields.slot(name)] = value
    customer = document([contact(1, 5_000_000), contact(4, 9_000_000)])
    everyone = np.arange(len(CANDIDATES))
    found = scorer.score(everyone, values, customer, NOW)
    for some in ([0], [5], [1, 2], [0, 3, 4, 5]):
        assert scorer.score(np.array(some), values, customer, NOW).tolist() == found[some].tolist()
    nobody = np.empty(0, np.intp)
    assert len(scorer.score(nobody, values, customer, NOW)) == 0
    matrix = scorer._encoder.encode(everyone, values, customer, NOW)
    assert scorer.score_rows(everyone, matrix) == pytest.approx(found, abs=1e-12)


def test_a_message_without_evidence_is_scored_by_its_kin_alone(version: Path) -> None:
    model = load_model(version)
    new = [each._replace(message="new") for each in CANDIDATES[:2]]
    scorer: Any = bind(model, new, FieldTable(fields_read(model)), Settings())
    values = [MISSING] * len(fields_read(model))
    found = scorer.score(np.arange(2), values, document(), NOW)
    matrix = scorer._encoder.encode(np.arange(2), values, document(), NOW)
    assert model.start is not None
    assert found == pytest.approx(model.calibrate(model.start.log_odds(matrix)), abs=1e-12)
    broken = Model(model.manifest, lambda rows: np.full(len(rows), np.nan), "lightgbm")
    broken.start = model.start
    other: Any = bind(broken, CANDIDATES, FieldTable(fields_read(model)), Settings())
    assert np.isfinite(other.score(np.arange(6), values, document(), NOW)).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda start: msgspec.structs.replace(start, coefficients=start.coefficients[:-1]),
        lambda start: msgspec.structs.replace(start, categories={"customer.shoe": 2}),
        lambda start: msgspec.structs.replace(start, tags=("message.tag.nothing",)),
    ],
)
def test_a_start_that_does_not_fit_is_refused(version: Path, tmp_path: Path, change: Any) -> None:
    manifest, text = read_version(version)
    start = msgspec.json.decode((version / START).read_bytes(), type=type(_start_of(version)))
    write_version(tmp_path, manifest, text.encode(), {START: msgspec.json.encode(change(start))})
    with pytest.raises(ModelError, match=r"start\.json: .*train the model again"):
        load_model(tmp_path)


def _start_of(version: Path) -> Any:
    start = reference_model(version).start
    assert start is not None
    return start.start


def test_a_damaged_or_missing_start_is_refused(version: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(version, tmp_path / "copy")
    data = (copy / START).read_bytes()
    (copy / START).write_bytes(data.replace(b"1", b"2", 1))
    with pytest.raises(ModelError, match=r"start\.json"):
        load_model(copy)
    (copy / START).unlink()
    with pytest.raises(ModelError, match=r"start\.json"):
        load_model(copy)


def test_witnesses_have_starts_that_have_not_seen_their_fold(tmp_path: Path) -> None:
    spec = parse_spec("small", LINEAR.replace("calibration: platt", "cross_fit: 3"))
    whose = msgspec.structs.replace(_small(), customer=[f"c{n % 200}" for n in range(600)])
    examples = examples_of(whose, spec)
    crossed = cross_fit(spec, examples)
    assert crossed.whole.boosted.start is not None and examples.fold is not None
    changed = examples.label.copy()
    changed[examples.fold == 0] = 1 - changed[examples.fold == 0]
    ridge = crossed.whole.boosted.start.start.ridge
    other = fit_starts(spec, msgspec.structs.replace(examples, label=changed), 3)[1]
    assert other[0] is not None and crossed.witnesses[0].boosted.start is not None
    if other[0].start.ridge == ridge:
        ours = crossed.witnesses[0].boosted.start.coefficients
        assert ours == pytest.approx(other[0].coefficients, abs=0.05)
    files = witness_files(
        [(one.manifest, one.boosted.text, one.boosted.start) for one in crossed.witnesses]
    )
    assert {"witness-0-start.json", "witness-2-start.json"} <= files.keys()


def test_contributions_add_up_to_what_the_start_says(version: Path) -> None:
    model = reference_model(version)
    assert model.start is not None
    matrix = random_matrix(len(model.manifest.features), 300, 5)
    added = linear_contributions(model.start, matrix)
    odds = model.start.log_odds(matrix)
    rest = odds - added.sum(axis=1)
    assert rest == pytest.approx(np.full(300, rest[0]), abs=1e-9)
    unused = [n for n, feature in enumerate(model.manifest.features) if "count_7d" in feature.name]
    assert not added[:, [n for n in unused if n not in model.start.features[1]]].any()
