"""What a spec asks for shows in the model: constraints, weights, calibration, exploration, kin."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest

from decision.learning.boosting import boost, log_odds
from decision.learning.drift import PREDICTION, PROFILE, profile_of
from decision.learning.examples import Examples, examples_of
from decision.learning.report.facts import facts_of, share_interval
from decision.learning.report.page import write_report
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import TrainingTable, table_of_columns
from decision.learning.train import train
from decision.scoring.loading import load_model
from decision.scoring.manifest import read_version
from decision.scoring.model import to_probability
from tests.scoring.build import MADE, SPEC, table

KIN = """\
name: kin
features:
  message.name: categorical
  message.category: categorical
  message.tag.coupon: numeric
  customer.n: numeric
lightgbm: {num_leaves: 15, learning_rate: 0.1, min_data_in_leaf: 20, num_threads: 1}
rounds: 80
"""


def kin(rows: int = 12_000) -> TrainingTable:
    """Twelve messages of three categories; what a message earns is its category's, nearly."""
    rng = np.random.default_rng(4)
    message = rng.integers(0, 12, rows)
    category = message % 3
    chance = np.array([0.05, 0.15, 0.5])[category] * rng.uniform(0.85, 1.15, 12)[message]
    columns = {
        "message.name": [f"m-{number}" for number in message],
        "message.category": [("tips", "news", "sale")[number] for number in category],
        "message.tag.coupon": (category == 2).astype(int),
        "customer.n": rng.integers(0, 9, rows),
    }
    label = (rng.random(rows) < chance).astype(float)
    return table_of_columns(columns, label, channel=["push"] * rows)


def test_a_model_is_the_same_with_any_number_of_threads() -> None:
    """Without the parameter LightGBM takes what the machine has, so a spec trains alike anywhere."""
    trees = set()
    for threads in ("", ", num_threads: 1", ", num_threads: 3"):
        spec = parse_spec("kin", KIN.replace(", num_threads: 1", threads).replace("80", "9"))
        examples = examples_of(kin(3_000), spec)
        trees.add(boost(spec, examples).text.partition("\nparameters:")[0])
    assert len(trees) == 1


def test_a_matrix_by_columns_gives_the_same_model_as_by_rows_to_the_last_bit() -> None:
    spec = parse_spec("kin", KIN.replace("80", "9"))
    by_rows = examples_of(kin(3_000), spec)
    by_rows.matrix[::7] = np.nan
    by_columns = msgspec.structs.replace(by_rows, matrix=np.asfortranarray(by_rows.matrix))
    one, other = boost(spec, by_rows), boost(spec, by_columns)
    assert one.text == other.text
    assert (log_odds(one, by_rows.matrix) == log_odds(other, by_columns.matrix)).all()


def test_of_a_matrix_by_columns_a_part_is_copied_at_a_time_to_be_scored() -> None:
    spec = parse_spec("kin", KIN.replace("80", "9"))
    examples = examples_of(kin(300), spec)
    model = boost(spec, examples)
    rows = np.arange(500_000) % len(examples.matrix)
    matrix = np.asfortranarray(examples.matrix[[0, *rows]])[1:]  # as those that are held out
    tracemalloc.start()
    try:
        found = log_odds(model, matrix)
        assert tracemalloc.get_traced_memory()[1] < 0.6 * matrix.nbytes
    finally:
        tracemalloc.stop()
    assert (found == log_odds(model, examples.matrix)[rows]).all()


def test_a_new_message_inherits_from_its_kin() -> None:
    """One never seen is predicted near those of its category and tags, not at the base rate."""
    spec = parse_spec("kin", KIN)
    examples = examples_of(kin(), spec)
    boosted = boost(spec, examples)
    names = [feature.name for feature in examples.features]
    categories = examples.categories["message.category"]

    def predicted(category: str) -> float:
        row = np.full((1, len(names)), np.nan)  # a name that training has not seen is NaN
        row[0, names.index("message.category")] = categories.index(category)
        row[0, names.index("message.tag.coupon")] = float(category == "sale")
        row[0, names.index("customer.n")] = 4.0
        return float(to_probability(log_odds(boosted, row))[0])

    assert predicted("tips") == pytest.approx(0.05, abs=0.04)
    assert predicted("news") == pytest.approx(0.15, abs=0.06)
    assert predicted("sale") == pytest.approx(0.5, abs=0.12)


def test_monotone_features_are_monotone_and_such_a_model_is_served(tmp_path: Path) -> None:
    monotone = "monotone: {contacts.count_7d: decreasing, customer.age: increasing}\n"
    spec = parse_spec("small", SPEC + monotone)
    folder = train(spec, table(), tmp_path, created_at=MADE)
    model = load_model(folder)
    assert model.engine == "compiled"
    names = [feature.name for feature in model.manifest.features]
    rng = np.random.default_rng(1)
    for name, sign in (("contacts.count_7d", -1), ("customer.age", 1)):
        rows = rng.integers(0, 5, (40, len(names))).astype(float).repeat(30, axis=0)
        rows[:, names.index(name)] = np.tile(np.linspace(-2, 90, 30), 40)
        steps = np.diff(model.log_odds(rows).reshape(40, 30), axis=1)
        assert (sign * steps >= -1e-12).all()


def test_isotonic_calibration_is_served_as_it_was_fitted(tmp_path: Path) -> None:
    spec = parse_spec("small", SPEC.replace("calibration: platt", "calibration: isotonic"))
    folder = train(spec, table(2_400), tmp_path, created_at=MADE)
    model = load_model(folder)
    isotonic = model.manifest.isotonic
    assert isotonic is not None and model.manifest.calibration is None
    rows = np.random.default_rng(2).integers(0, 9, (500, len(spec.features))).astype(float)
    expected = np.interp(model.log_odds(rows), isotonic.knots, isotonic.probabilities)
    assert model.probabilities(rows).tobytes() == expected.tobytes()


def test_exploration_grows_with_the_rows_learned_from(tmp_path: Path) -> None:
    spec = parse_spec("small", SPEC + "exploration: {from: 30, to: 130, over: 6000}\n")
    quick = msgspec.structs.replace(spec, rounds=2)
    manifest, _ = read_version(train(quick, table(1_500), tmp_path, created_at=MADE))
    assert manifest.exploration == pytest.approx(80)  # half of the way: √(1500 / 6000)
    assert spec.exploration_at(0) == 30 and spec.exploration_at(10**9) == 130


def test_parity_is_noted_and_changes_no_name(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(parse_spec("small", SPEC), rounds=2)
    manifest, _ = read_version(train(spec, table(600), tmp_path, created_at=MADE))
    assert manifest.parity is not None
    assert manifest.parity.rows == 2_000 + 600 and manifest.parity.difference <= 1e-9
    assert PROFILE in manifest.files


@pytest.fixture(scope="module")
def spec() -> Spec:
    return parse_spec("small", SPEC)


@pytest.fixture(scope="module")
def examples(spec: Spec) -> Examples:
    data = table()
    named = {"winback": "<b>&", "生日": "生日$x$", "news": "news"}
    return examples_of(
        msgspec.structs.replace(data, message=[named[name] for name in data.message]), spec
    )


@pytest.mark.slow
def test_a_report_needs_nothing_else_and_is_the_same_again(
    spec: Spec, examples: Examples, tmp_path: Path
) -> None:
    """Names of messages may hold anything, also what HTML or TeX would take for theirs."""
    boosted = boost(spec, examples)
    probability = to_probability(log_odds(boosted, examples.matrix[examples.fit :]))
    profile = profile_of(examples, probability)
    folder = train(spec, examples, tmp_path / "models", created_at=MADE)
    facts = facts_of(spec, examples, boosted, probability, profile, folder)
    manifest, _ = read_version(folder)
    pages = []
    for name in ("one", "other"):
        write_report(tmp_path / name, manifest, facts)
        pages.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert pages[0] == pages[1]
    pictures = {"importance.svg", "shap.svg"}  # of curves, 150 rows are too few
    assert pages[0].keys() == {"index.html", "drift.svg", *pictures}
    for name in pages[0].keys() - {"index.html"}:
        ElementTree.fromstring(pages[0][name])
    page = pages[0]["index.html"].decode()
    assert "&lt;b&gt;&amp;" in page and "<b>&" not in page and "生日$x$" in page
    assert "http://" not in page and "https://" not in page and 'src="data:' in page
    assert facts.drift is not None and facts.drift.pop(PREDICTION) > 0
    assert set(facts.drift.values()) == {0.0}
    assert sum(row.shows for row in facts.messages) == facts.rows == 150


def test_a_wilson_interval_is_in_bounds_and_holds_the_share() -> None:
    for responses, rows in ((0, 5), (5, 5), (3, 1000), (0, 0)):
        found = share_interval(responses, rows)
        low, high = found.low or 0.0, found.high or 1.0
        assert 0 <= low <= found.value <= high <= 1
