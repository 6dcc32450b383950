"""What a training loses, or learns too much from, is said: each kind of it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decision.core.clock import DAY
from decision.core.definition import Goal
from decision.learning.examples import Examples, examples_of
from decision.learning.fitting import fit_examples
from decision.learning.missing import know_missing
from decision.learning.spec import Spec, parse_spec
from decision.learning.table import table_of_columns
from decision.learning.training_table import examples_of_log
from decision.scoring.notes import KINDS, Note
from tests.learning.written import decision, write_log

pytest.importorskip("pyarrow")

ROWS = 4_000
GOALS = {"tea": Goal(event="purchase", within=DAY)}


def spec_of(features: Mapping[str, str], more: str = "") -> Spec:
    named = ", ".join(f"{name}: {kind}" for name, kind in features.items())
    return parse_spec("a.yaml", f"name: a\nfeatures: {{{named}}}\nrounds: 5\n{more}")


def labels(rows: int = ROWS) -> np.ndarray:
    return (np.random.default_rng(4).random(rows) < 0.3).astype(float)


def by_table(spec: Spec, columns: Mapping[str, list[Any]]) -> Examples:
    named = {"message": ["tea"] * len(labels()), "channel": ["push"] * len(labels())}
    return examples_of(table_of_columns(columns, labels(), **named), spec)


def by_log(folder: Path, spec: Spec, columns: Mapping[str, list[Any]]) -> Examples:
    """The same rows, as the archive has them: customers of label 1 buy an hour later."""
    rows = [
        decision(
            f"d-{number:05}",
            number * 1_000_000,
            "tea",
            customer_id=f"c-{number}",
            features={
                name: column[number]
                for name, column in columns.items()
                if column[number] is not None
            },
        )
        for number in range(ROWS)
    ]
    bought = [
        {"event_id": f"e-{number}", "customer_id": f"c-{number}", "type": "purchase"}
        | {"at": number * 1_000_000 + 3_600_000_000}
        for number in np.flatnonzero(labels()).tolist()
    ]
    log = write_log(folder, rows, events=bought, files=2)
    with examples_of_log(log, spec, GOALS, until=30 * DAY) as examples:
        examples.matrix = np.array(examples.matrix)
        return examples


def noted(spec: Spec, examples: Examples) -> dict[str, Note]:
    """The notes by kind, but for what nobody lacked."""
    found = know_missing(spec, examples)[0].notes
    return {one.kind: one for one in found if not one.kind.startswith("never_missing")}


def drawn(values: list[Any], seed: int = 1, rows: int = ROWS) -> list[Any]:
    places = np.random.default_rng(seed).integers(0, len(values), rows)
    return [values[place] for place in places]


SILENT: dict[str, tuple[str, list[Any], set[str]]] = {
    "numbers as text": ("numeric", drawn(["73", "41"]), {"text_for_number", "no_number"}),
    "some numbers as text": ("numeric", drawn([1, 2, 3, "4"]), {"text_for_number"}),
    "truths as text": ("numeric", drawn(["true", "False"]), {"truth_for_number", "no_number"}),
    "dates as text": (
        "numeric",
        drawn(["1990-05-01", "1984-11-30"]),
        {"date_for_number", "no_number"},
    ),
    "nothing": ("numeric", [None] * ROWS, {"no_value"}),
    "one number": ("numeric", [7] * ROWS, {"constant"}),
    "one category": ("categorical", ["wien"] * ROWS, {"constant"}),
    "two types": ("categorical", drawn(["5", 5]), {"mixed_types"}),
    "many categories": (
        "categorical",
        drawn([f"sku-{number}" for number in range(1_500)]),
        {"folded"},
    ),
    "an id": ("categorical", [f"id-{number}" for number in range(ROWS)], {"id_like"}),
    "new at the end": (
        "categorical",
        [*drawn(["a", "b"], rows=3_500), *["c"] * 500],
        {"new_categories"},
    ),
    "known afterwards": (
        "numeric",
        [float(label) + 0.01 * number / ROWS for number, label in enumerate(labels())],
        {"tells_the_response"},
    ),
    "named afterwards": (
        "categorical",
        [["left", "bought"][int(label)] for label in labels()],
        {"tells_the_response"},
    ),
    "missing without a response": (
        "numeric",
        [9.5 + number % 3 if label else None for number, label in enumerate(labels())],
        {"tells_the_response"},
    ),
}


@pytest.mark.parametrize("what", SILENT)
def test_each_silent_loss_is_noted_whether_it_comes_from_a_table_or_a_log(
    what: str, tmp_path: Path
) -> None:
    kind, column, wanted = SILENT[what]
    spec = spec_of({"customer.it": kind, "time.hour": "numeric"})
    columns = {"customer.it": column, "time.hour": drawn(list(range(24)), 2)}
    tabled = noted(spec, by_table(spec, columns))
    logged = noted(spec, by_log(tmp_path, spec, columns))
    assert tabled.keys() == logged.keys() == wanted
    assert tabled == logged
    for note in tabled.values():
        assert note.values["feature"] == "customer.it" and "'customer.it'" in note.text()


@pytest.mark.parametrize("seed", range(6))
def test_what_is_good_and_useful_is_not_cautioned(seed: int) -> None:
    """Strong features, skewed categories, truths, many missing values: no caution."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(-1, 2, ROWS)
    label = (generator.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(float)
    columns: dict[str, Any] = {
        "customer.score": odds + generator.normal(0, 0.5, ROWS),
        "customer.city": [f"city-{min(place, 80)}" for place in generator.zipf(1.6, ROWS).tolist()],
        "customer.vip": (generator.random(ROWS) < 0.2).tolist(),
        "customer.age": [
            int(age) if there else None
            for age, there in zip(
                generator.integers(18, 90, ROWS), generator.random(ROWS) < 0.3, strict=True
            )
        ],
    }
    kinds = dict.fromkeys(columns, "numeric") | {"customer.city": "categorical"}
    spec = spec_of(kinds)
    named = {"message": ["tea"] * ROWS, "channel": ["push"] * ROWS}
    fitted = fit_examples(spec, examples_of(table_of_columns(columns, label, **named), spec))
    notes = fitted.manifest.training.notes
    assert [one for one in notes if isinstance(one, str) or one.caution] == []


def test_a_model_that_is_too_good_and_figures_of_few_rows_are_noted() -> None:
    columns = {"customer.a": drawn(list(range(10))), "customer.b": drawn(list(range(10)), 2)}
    label = np.array(
        [float(a > b) for a, b in zip(columns["customer.a"], columns["customer.b"], strict=True)]
    )
    spec = parse_spec(
        "a.yaml",
        "name: a\nfeatures: {customer.a: numeric, customer.b: numeric}\nrounds: 60\n"
        "lightgbm: {learning_rate: 0.3, min_data_in_leaf: 5}\n",
    )
    named = {"message": ["tea"] * ROWS, "channel": ["push"] * ROWS}

    def kinds(rows: int) -> set[str]:
        table = table_of_columns(columns, label, **named).take(np.arange(rows))
        notes = fit_examples(spec, examples_of(table, spec)).manifest.training.notes
        return {one.kind for one in notes if not isinstance(one, str)} - {"never_missing"}

    assert kinds(ROWS) == {"too_good"}  # only together do they tell
    assert "few_judged" in kinds(1_000)


def test_goals_that_say_nothing_about_customers_are_noted(tmp_path: Path) -> None:
    """What is given is also sent; who decides on a page view has the next one as a response."""
    rows = [
        decision(
            f"d-{number}", number * 1_000_000, "tea", customer_id=f"c-{number}",
            event_type="page_view" if number % 2 else None,
        )
        for number in range(60)
    ]  # fmt: skip
    log = write_log(tmp_path, rows)
    for event, wanted in (
        ("message.delivered", [("follows_the_decision", {"event": "message.delivered"})]),
        ("page_view", [("begins_the_decision", {"event": "page_view", "share": 0.5})]),
        ("purchase", []),
    ):
        spec = spec_of({"time.hour": "numeric"}, f"target: {{event: {event}, within: 1d}}\n")
        with examples_of_log(log, spec, {}, until=30 * DAY) as examples:
            assert [(one.kind, one.values) for one in examples.notes] == wanted


def test_rows_that_count_less_than_their_weight_are_noted(tmp_path: Path) -> None:
    rows = [
        decision(f"d-{n}", n, "tea", customer_id=f"c-{n}", selection_probability=[0.5, 0.01][n % 2])
        for n in range(10)
    ]
    spec = spec_of({"time.hour": "numeric"}, "weights: {by: inverse_propensity, clip: 20}\n")
    with examples_of_log(write_log(tmp_path, rows), spec, GOALS, until=30 * DAY) as examples:
        assert examples.notes[0].text().startswith("5 rows (50.0%) count less")


def test_every_kind_can_be_said_with_the_values_that_it_names() -> None:
    """And a kind of a later release does not stop this one."""
    for kind, (text, _) in KINDS.items():
        values = {name.split(")")[0]: "x" for name in text.split("%(")[1:]}
        assert "x" in Note(kind=kind, values=values).text() or not values
    assert Note(kind="of_tomorrow", values={"rows": 3}).text() == "of_tomorrow: rows 3"
