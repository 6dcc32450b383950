"""Drift: none between equals, more if more has changed, computed from two profiles only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from decision.learning import drift
from decision.learning.examples import Examples, examples_of
from decision.learning.spec import parse_spec
from decision.learning.table import table_of_columns

SPEC = parse_spec(
    "a", "name: a\nfeatures: {customer.n: numeric, customer.x: numeric, customer.k: categorical}\n"
)


def examples(shift: float, seed: int = 1, rows: int = 6_000) -> Examples:
    rng = np.random.default_rng(seed)
    columns = {
        "customer.n": rng.poisson(3 + shift, rows),
        "customer.x": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(shift, 1, rows)),
        "customer.k": rng.choice(
            ["CN", "DE", "中"], rows, p=[0.6 - shift / 4, 0.2, 0.2 + shift / 4]
        ),
    }
    named = {"message": ["m"] * rows, "channel": ["c"] * rows}
    return examples_of(table_of_columns(columns, rng.random(rows) < 0.3, **named), SPEC)


def profile(shift: float, seed: int = 1) -> drift.Profile:
    made = examples(shift, seed)
    rng = np.random.default_rng(seed)
    return drift.profile_of(made, rng.beta(2 + shift, 9, len(made) - made.fit))


def test_nothing_has_drifted_from_itself() -> None:
    assert set(drift.drift_between(profile(0), profile(0)).values()) == {0.0}


def test_chance_is_little_and_a_shift_is_much() -> None:
    chance = drift.drift_between(profile(0), profile(0, seed=2))
    assert max(chance.values()) < 0.03
    moved = drift.drift_between(profile(0), profile(1, seed=2))
    assert min(moved.values()) > 0.1
    assert list(moved.values()) == sorted(moved.values(), reverse=True)
    assert moved.keys() == {"customer.n", "customer.x", "customer.k", drift.PREDICTION}


def test_the_index_is_that_of_the_rows_themselves() -> None:
    """From profiles alone; for a feature with few values, exactly."""
    old, new = examples(0), examples(1, 2)
    found = drift.drift_between(profile(0), profile(1, 2))["customer.n"]
    place = [feature.name for feature in old.features].index("customer.n")
    before, after = old.matrix[:, place], new.matrix[:, place]
    edges = np.unique(np.quantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, rows), minlength=len(edges) + 1), 1e-4)
        / len(rows)
        for rows in (before, after)
    ]
    expected = ((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()
    assert found == pytest.approx(expected, rel=1e-6)


def test_what_becomes_missing_or_changes_kind_is_drift() -> None:
    one = drift.NumericProfile(points=(1.0, 2.0), up_to=(0.5, 1.0), missing=0.0, exact=True)
    gone = drift.NumericProfile(points=(), up_to=(), missing=1.0, exact=True)
    assert drift.stability_index(one, gone) > 1
    assert drift.stability_index(one, drift.CategoricalProfile(shares={}, missing=1.0)) == np.inf


def test_a_profile_is_read_as_it_was_written_and_damage_is_none(tmp_path: Path) -> None:
    made = profile(0)
    (tmp_path / drift.PROFILE).write_bytes(drift.encode_profile(made))
    assert drift.read_profile(tmp_path) == made
    (tmp_path / drift.PROFILE).write_bytes(msgspec.json.encode({"rows": "x"}))
    assert drift.read_profile(tmp_path) is None
    assert drift.read_profile(tmp_path / "nowhere") is None
