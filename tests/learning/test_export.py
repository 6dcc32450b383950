"""What `--export` writes is enough to say again what the version says, without nextbest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from decision.learning.examples import examples_of
from decision.learning.export import training_table
from decision.learning.spec import parse_spec
from decision.learning.table import TrainingError
from decision.learning.train import train
from decision.scoring.loading import load_model
from tests.scoring.build import MADE, SPEC, table

lightgbm = pytest.importorskip("lightgbm")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.mark.parametrize("more", ["", "validation: 0\ncalibration: none\ncross_fit: 3\n"])
def test_table_trees_and_description_give_the_probabilities_of_the_version(
    more: str, tmp_path: Path
) -> None:
    text = SPEC.replace("calibration: platt\n", "") + more if more else SPEC
    data = table(900)
    data.customer = [f"c-{number % 300}" for number in range(len(data))]
    out = tmp_path / "export"
    version = train(parse_spec("a", text), data, tmp_path / "models", created_at=MADE, export=out)
    rows = pq.read_table(out / "table.parquet").to_pydict()
    about = json.loads((out / "model.json").read_bytes())
    assert about["version"] == version.name
    matrix = np.empty((len(rows["label"]), len(about["features"])))
    for place, feature in enumerate(about["features"]):
        values = rows[feature["name"]]
        known = about["categories"].get(feature["name"])
        if known is not None:
            words = all(isinstance(one, str) for one in known if one is not None)
            codes = {
                one if words or one is None else json.dumps(one): code
                for code, one in enumerate(known)
            }
            values = [codes.get(value) for value in values]
        matrix[:, place] = [np.nan if value is None else value for value in values]
    odds = lightgbm.Booster(model_file=str(out / "model.txt")).predict(matrix, raw_score=True)
    if (platt := about["calibration"]) is not None:
        odds = platt["slope"] * odds + platt["intercept"]
    columns = {one["name"]: rows[one["name"]] for one in about["features"]}
    model = load_model(version)
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(model.probabilities(matrix), abs=1e-9)
    texts = [one for one in columns if one in about["categories"]]
    if all(all(isinstance(each, str | None) for each in about["categories"][one]) for one in texts):
        assert model.score(columns) == pytest.approx(model.probabilities(matrix), abs=1e-9)
    if more:
        assert set(rows["fold"]) == {0, 1, 2} and "part" not in rows
    else:
        training = model.manifest.training
        assert rows["part"].count("judge") == training.test_rows
        fitted = [
            label for label, part in zip(rows["label"], rows["part"], strict=True) if part == "fit"
        ]
        assert sum(fitted) == training.positives
    assert sorted(rows["label"]) == sorted(data.label.tolist())


def test_batches_are_the_whole_table(tmp_path: Path) -> None:
    examples = examples_of(table(500), parse_spec("a", SPEC))
    whole = training_table(examples)
    parts = [training_table(examples, slice(start, start + 130)) for start in range(0, 500, 130)]
    assert [row for part in parts for row in part.to_pylist()] == whole.to_pylist()


def test_a_folder_with_something_else_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep me")
    for name in ("mine", "mine/notes.txt"):
        with pytest.raises(TrainingError, match="is not an empty folder"):
            train(parse_spec("a", SPEC), table(300), tmp_path / "models", export=tmp_path / name)
    assert not (tmp_path / "models").exists()


def test_a_table_is_scored_as_decisions_are_and_one_without_features_is_refused(
    tmp_path: Path,
) -> None:
    data = table(600)
    model = load_model(train(parse_spec("a", SPEC), data, tmp_path, created_at=MADE))
    examples = examples_of(data, parse_spec("a", SPEC))
    in_order = data.take(np.argsort(data.time, kind="stable"))
    assert model.score(in_order.columns) == pytest.approx(model.probabilities(examples.matrix))
    only = {"customer.age": [30, None, 41]}
    assert len(model.score(only)) == 3
    with pytest.raises(ValueError, match="no column is a feature"):
        model.score({"age": [1]})
    with pytest.raises(ValueError, match="differ in length"):
        model.score({"customer.age": [1, 2], "time.hour": [3]})
