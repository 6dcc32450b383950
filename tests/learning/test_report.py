"""The report of a training: what it draws, what it does not, and whose names it can show."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from decision.core.clock import DAY, HOUR
from decision.core.fields.times import WEEKDAYS
from decision.learning.drift import drift_of_versions, profile_of
from decision.learning.examples import examples_of
from decision.learning.spec import parse_spec
from decision.learning.table import table_of_columns
from decision.learning.train import train
from decision.scoring.model import to_probability

pytest.importorskip("matplotlib")

NAMES = ("customer.城市", "customer.最近一次购买距今的天数与会员等级换算后的分数值", "event.<b>&")
CURVES = {"calibration.svg", "lift.svg", "gain.svg"}
TEXT = "{http://www.w3.org/2000/svg}text"


def reported(folder: Path, rows: int, *, useful: bool = True, **more: Any) -> Path:
    """The report of a training on so many rows, of which a tenth judges."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(rows, len(NAMES)))
    odds = values.sum(axis=1) - 1 if useful else np.zeros(rows)
    label = (generator.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    columns = {name: values[:, place].tolist() for place, name in enumerate(NAMES)}
    kinds = ", ".join(f'"{name}": numeric' for name in NAMES)
    trees = "" if useful else "lightgbm: {min_gain_to_split: 1000}\n"
    spec = parse_spec("a", f"name: a\nfeatures: {{{kinds}}}\nrounds: 8\nmissing: 0%\n{trees}")
    named = {"message": ["生日", "tea"] * (rows // 2), "channel": ["push"] * rows}
    return (
        train(spec, table_of_columns(columns, label, **named), folder, report=True, **more)
        / "report"
    )


def test_names_stay_text_so_that_whoever_looks_has_the_fonts_for_them(tmp_path: Path) -> None:
    """And one that is too long is cut at its end, by the width of its characters."""
    folder = reported(tmp_path, 3_200)
    for picture in ("importance.svg", "shap.svg"):
        texts = [each.text for each in ElementTree.parse(folder / picture).iter(TEXT)]
        assert {"customer.城市", "event.<b>&"} <= set(texts)
        assert "customer.最近一次购买距今的天数与会员…" in texts
    assert {path.name for path in folder.iterdir()} >= CURVES
    page = (folder / "index.html").read_text("utf-8")
    assert page.count('src="data:image/svg+xml;base64,') == 5 and "<b>&" not in page


@pytest.mark.parametrize(
    ("rows", "useful", "why"),
    [
        (1_000, True, "100 rows with"),
        (4_000, False, "All predictions are the same"),
    ],
)
def test_no_curve_is_drawn_of_few_rows_or_of_equal_predictions(
    tmp_path: Path, rows: int, useful: bool, why: str
) -> None:
    folder = reported(tmp_path, rows, useful=useful)
    assert not CURVES & {path.name for path in folder.iterdir()}
    assert why in (folder / "index.html").read_text("utf-8")


def test_values_are_those_of_the_rules_where_they_are_no_feature(tmp_path: Path) -> None:
    page = (reported(tmp_path, 1_000, values={"生日": 4321.0}) / "index.html").read_text("utf-8")
    row = next(line for line in page.splitlines() if "<td>生日</td>" in line)
    assert "<td>4,321</td>" in row
    assert "4,321" not in next(line for line in page.splitlines() if "<td>tea</td>" in line)


@pytest.mark.parametrize("days", [3, 28])
def test_weekdays_of_a_log_shorter_than_a_week_are_not_compared(days: int) -> None:
    """They differ from those of any other log, although nobody has changed."""
    spec = parse_spec("a", "name: a\nfeatures: {time.weekday: categorical, customer.n: numeric}\n")

    def profile(hours: range) -> Any:
        columns = {
            "time.weekday": [WEEKDAYS[hour // 24 % 7] for hour in hours],
            "customer.n": [hour % 24 for hour in hours],
        }
        named = {"message": ["m"] * len(hours), "channel": ["c"] * len(hours)}
        examples = examples_of(table_of_columns(columns, [0, 1] * (len(hours) // 2), **named), spec)
        return profile_of(examples, to_probability(np.zeros(10)))

    short, long = range(24 * days), range(24 * 28)
    spans = ((len(short) - 1) * HOUR, 28 * DAY)
    indexes, left_out = drift_of_versions(profile(short), profile(long), spans)
    assert ("time.weekday" in left_out) is (days < 7)
    assert all(index < 0.1 for index in indexes.values()) and "customer.n" in indexes
