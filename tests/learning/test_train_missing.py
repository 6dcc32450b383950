"""What is missing when served, and never was in training, is not read as 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.learning.spec import parse_spec
from decision.learning.table import table_of_columns
from decision.learning.train import train
from decision.scoring.features import encode_columns
from decision.scoring.loading import load_model
from decision.scoring.model import Model
from decision.scoring.notes import text_of

SPEC = """
name: a
target: {event: purchase, within: 1d}
features:
  customer.age: numeric
  customer.city: categorical
  customer.vip: numeric
  time.hour: numeric
  message.name: categorical
rounds: 20
validation: 0
"""
CITIES = ["Wien", "Graz", "上海"]


def columns(rows: int = 6_000) -> dict[str, list[Any]]:
    """The young of one city respond; nobody lacks anything."""
    drawn = np.random.default_rng(2)
    return {
        "customer.age": drawn.integers(20, 70, rows).tolist(),
        "customer.city": [CITIES[place] for place in drawn.integers(0, 3, rows)],
        "customer.vip": (drawn.random(rows) < 0.5).tolist(),
        "time.hour": drawn.integers(0, 24, rows).tolist(),
        "message.name": ["tea", "cups"] * (rows // 2),
    }


def learned(folder: Path, given: dict[str, list[Any]], shares: np.ndarray, more: str = "") -> Model:
    label = (np.random.default_rng(3).random(len(shares)) < shares).astype(float)
    table = table_of_columns(given, label, channel=["push"] * len(label))
    return load_model(train(parse_spec("a.yaml", SPEC + more), table, folder))


def told(model: Model) -> list[str]:
    return [text_of(note) for note in model.manifest.training.notes]


def asked(model: Model, **changed: Any) -> float:
    """The mean prediction for all rows with some features changed."""
    given = columns(600) | {name.replace("_", "."): [it] * 600 for name, it in changed.items()}
    manifest = model.manifest
    return float(
        model.probabilities(encode_columns(manifest.features, manifest.categories, given)).mean()
    )


@pytest.mark.parametrize(
    ("feature", "of", "without"),
    [
        ("customer_age", 25, (None, float("nan"), "25")),
        ("customer_city", "Graz", (None, "Linz", "graz")),
        ("customer_vip", True, (None, "true")),
    ],
)
def test_a_missing_value_counts_about_as_the_mean_where_nobody_lacked_it(
    tmp_path: Path, feature: str, of: Any, without: tuple[Any, ...]
) -> None:
    """A number, a category or a truth: neither as 0 nor as one of the others."""
    given = columns()
    column = given[feature.replace("_", ".")]
    hit = [(it < 30) if feature == "customer_age" else (it == of) for it in column]
    shares = np.where(hit, 0.9, 0.05)
    model = learned(tmp_path, given, shares)
    assert asked(model, **{feature: of}) > 0.75
    for nothing in without:
        found = asked(model, **{feature: nothing})
        assert found == pytest.approx(shares.mean(), abs=0.12), nothing
    notes = [note for note in told(model) if note.startswith("no row")]
    lacked = [note.split("'")[1] for note in notes]
    assert lacked == ["customer.age", "customer.city", "customer.vip"]


def test_a_spec_can_hide_nothing_and_the_note_says_what_a_missing_one_is_read_as(
    tmp_path: Path,
) -> None:
    given = columns()
    shares = np.where(np.array(given["customer.age"]) < 30, 0.9, 0.05)
    model = learned(tmp_path, given, shares, "missing: 0%\n")
    assert asked(model, customer_age=None) == asked(model, customer_age=0)
    assert None not in model.manifest.categories["customer.city"]
    notes = told(model)
    assert any("'customer.age'" in it and "is read as 0" in it for it in notes)


def test_what_enough_customers_lack_is_learned_from_them_alone(tmp_path: Path) -> None:
    given = columns()
    given["customer.age"] = [age if age < 60 else None for age in given["customer.age"]]
    shares = np.array([0.9 if age is None else 0.05 for age in given["customer.age"]])
    model = learned(tmp_path, given, shares)
    assert asked(model, customer_age=None) > 0.8
    assert not any("'customer.age'" in note for note in told(model))


def test_features_that_say_nothing_are_noted(tmp_path: Path) -> None:
    """The same everywhere; texts where numbers are wanted; nothing at all."""
    given = columns()
    given |= {"time.hour": [9] * 6_000, "customer.age": ["73"] * 6_000}
    given["customer.vip"] = [None] * 6_000
    model = learned(tmp_path, given, np.full(6_000, 0.3))
    notes = "\n".join(told(model))
    assert "'time.hour' is the same in all 6,000 rows that are fitted" in notes
    assert "'customer.age' has no value that is a number in any row that is fitted" in notes
    assert "'customer.age' is numeric, but 100.0% of its values were logged as text" in notes
    assert "'customer.vip' has no value" in notes


def test_rows_that_are_hidden_are_the_same_again_and_come_back(tmp_path: Path) -> None:
    from decision.learning.examples import examples_of

    given = columns(2_000)
    label = (np.arange(2_000) % 3 == 0).astype(float)
    spec = parse_spec("a.yaml", SPEC)
    examples = examples_of(table_of_columns(given, label, channel=["push"] * 2_000), spec)
    before = examples.matrix.copy()
    one = train(spec, examples, tmp_path)
    assert np.array_equal(before, examples.matrix)
    assert train(spec, examples, tmp_path / "again").name == one.name
