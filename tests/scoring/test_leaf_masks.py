"""The trees of one decision by masks: the same sums as the code of lleaves, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import lleaves
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lleaves.compiler.ast.parser import parse_to_ast

from decision.core.definition import Settings
from decision.core.fields import FieldTable
from decision.scoring import leaf_masks
from decision.scoring.compiled import CompiledTrees
from decision.scoring.leaf_masks import LeafMasks, LeafTables, NoMasks, write_tables
from decision.scoring.loading import load_model
from decision.scoring.scorers import ModelScorer, bind, fields_read
from decision.scoring.trial import PARITY, furthest
from tests.scoring.build import CANDIDATES, DAY, NOW, contact, document

COLUMNS, CODED, CODES, ALIKE = 7, 5, 40, 6
"""Features; the one of them that is categorical, how many categories it has; the one with a single
value, or none: LightGBM splits it at infinity."""
ROWS = 400
KINDS: dict[str, dict[str, Any]] = {
    "no value goes where training saw it go": {"num_leaves": 14},
    "0 counts as no value": {"num_leaves": 9, "zero_as_missing": True},
    "no value counts as 0": {"num_leaves": 9, "use_missing": False},
    "more leaves than 32": {"num_leaves": 36},
}


def rows(generator: np.random.Generator, count: int) -> np.ndarray:
    """Few values, so that many lie on thresholds; 0 and no value among them."""
    found = generator.integers(-6, 7, (count, COLUMNS)) / 2.0
    found[generator.random(found.shape) < 0.2] = np.nan
    found[:, CODED] = generator.integers(0, CODES, count)
    found[generator.random(count) < 0.1, CODED] = np.nan
    found[:, ALIKE] *= 0.0
    return found


def text_of(**options: Any) -> str:
    generator = np.random.default_rng(1)
    matrix = rows(generator, 3_000)
    odds = np.sin(np.nan_to_num(matrix, nan=1.5) * [1, 2, 3, 4, 5, 6, 7]).sum(axis=1)
    label = generator.random(len(matrix)) < 1 / (1 + np.exp(-odds))
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(matrix, label, categorical_feature=[CODED])
    return lightgbm.train({**given, **options}, data, 10).model_to_string()


@pytest.fixture(scope="module")
def forests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CompiledTrees]:
    found = {}
    for number, (kind, options) in enumerate(KINDS.items()):
        path = tmp_path_factory.mktemp("trees") / f"{number}.txt"
        path.write_text(text_of(**options))
        trees = lleaves.Model(str(path))
        trees.compile(raw_score=True, fblocksize=4)
        kept = path.with_suffix(".npz")
        write_tables(kept, LeafTables.of(parse_to_ast(str(path))))
        tables = LeafTables.read(kept)
        assert tables is not None
        found[kind] = CompiledTrees(trees, LeafMasks(tables, 4))
    return found


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    seed=st.integers(0, 1 << 32),
    fixed=st.sets(st.integers(0, COLUMNS - 1)),
    own=st.sets(st.integers(0, COLUMNS - 1)),
    asked=st.lists(st.integers(0, 29), unique=True),
)
def test_masks_add_up_to_what_the_code_of_each_node_adds_up_to(
    forests: dict[str, CompiledTrees],
    kind: str,
    seed: int,
    fixed: set[int],
    own: set[int],
    asked: list[int],
) -> None:
    """Whichever features are known beforehand, differ by row, or are those of all rows."""
    generator = np.random.default_rng(seed)
    candidates, trees = rows(generator, 30), forests[kind]
    assert trees.masks is not None
    own -= fixed
    matrix = rows(generator, len(asked))
    shared = sorted({*range(COLUMNS)} - fixed - own)
    matrix[:, shared] = matrix[:1, shared]
    matrix[:, sorted(fixed)] = candidates[np.ix_(asked, sorted(fixed))] if asked else 0.0
    bound = trees.masks.bound(candidates, sorted(fixed), sorted(own))
    found = bound(matrix, np.array(asked, dtype=np.intp))
    assert found.tolist() == trees(matrix).tolist()
    if not own:  # one row says all
        assert bound(matrix[:1], np.array(asked, dtype=np.intp)).tolist() == found.tolist()


def test_trees_that_are_too_large_are_left_to_lleaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trees.txt"
    path.write_text(text_of(num_leaves=80))
    with pytest.raises(NoMasks, match="leaves; 64 at most"):
        LeafTables.of(parse_to_ast(str(path)))
    path.write_text(text_of(num_leaves=5))
    monkeypatch.setattr(leaf_masks, "MOST_BYTES", 500)
    with pytest.raises(NoMasks, match="rows of 10 trees are over 500 bytes"):
        LeafTables.of(parse_to_ast(str(path)))


def test_a_trial_compares_masks_too(forests: dict[str, CompiledTrees]) -> None:
    matrix, right, wrong = rows(np.random.default_rng(2), 200), *list(forests.values())[:2]
    assert furthest(right, matrix, right(matrix)) == 0.0
    assert furthest(CompiledTrees(right._owner, wrong.masks), matrix, right(matrix)) > PARITY


def test_a_decision_scores_its_rows_as_a_batch_of_any_customers_does(trained: Path) -> None:
    model = load_model(trained)
    assert isinstance(model.trees, CompiledTrees) and model.trees.masks is not None
    fields = FieldTable(fields_read(model))
    scorer = bind(model, CANDIDATES, fields, Settings())
    assert isinstance(scorer, ModelScorer)
    contacts = [contact(0, DAY), contact(3, 2 * DAY), contact(0, 3 * DAY)]
    for age in (None, 20, 55, 71):
        customer = document(contacts, country="中国", **({} if age is None else {"age": age}))
        values = [age if name == "customer.age" else 3 for name in fields_read(model)]
        asked = np.array([0, 2, 5])
        matrix = scorer._encoder.encode(asked, values, customer, NOW)
        found = scorer.score(asked, values, customer, NOW)
        assert found.tolist() == scorer.score_rows(asked, matrix).tolist()
