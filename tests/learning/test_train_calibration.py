"""Calibration: a curve that never falls, fitted where it helps and left out where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.learning.calibration import calibrate, fit_isotonic
from decision.learning.metrics import deciles, gain, measure
from decision.scoring.manifest import MOST_KNOTS
from decision.scoring.model import calibrator, to_probability


def drawn(truth: np.ndarray, seed: int = 3) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(truth)) < truth).astype(float)


ODDS = np.random.default_rng(5).normal(-2, 1, 10_000)


def test_what_is_calibrated_already_is_left_alone() -> None:
    chosen = calibrate("auto", ODDS, drawn(to_probability(ODDS)))
    assert chosen.fitted is None and chosen.name == "none"
    assert chosen.tried.keys() == {"none", "platt", "isotonic"}


def test_what_is_too_sure_gets_platts() -> None:
    chosen = calibrate("auto", 3 * ODDS + 1, drawn(to_probability(ODDS)))
    assert chosen.name == "platt"


def test_what_bends_gets_isotonic_and_comes_true() -> None:
    """A share that jumps: no line through log-odds tells it."""
    truth = np.where(ODDS > -2, 0.6, 0.02)
    label = drawn(truth)
    chosen = calibrate("auto", ODDS, label)
    assert chosen.name == "isotonic"
    before, after = (
        measure(drawn(truth, 9), calibrator(fitted)(ODDS))["calibration_error"]
        for fitted in (None, chosen.fitted)
    )
    assert before is not None and after is not None
    assert after < before / 3


def test_weights_count_as_rows_do() -> None:
    label = drawn(to_probability(ODDS))
    weight = np.where(label == 1, 3.0, 1.0)
    again = np.concatenate([np.arange(len(label)), *2 * [np.flatnonzero(label)]])
    for kind in ("platt",):
        weighed = calibrate(kind, 2 * ODDS, label, weight).fitted
        repeated = calibrate(kind, 2 * ODDS[again], label[again]).fitted
        assert weighed.slope == pytest.approx(repeated.slope, rel=1e-6)
        assert weighed.intercept == pytest.approx(repeated.intercept, rel=1e-6)
    figures = measure(label, to_probability(ODDS), weight)
    assert figures["auc"] == pytest.approx(
        measure(label[again], to_probability(ODDS)[again])["auc"]
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data(), rows=st.integers(1, 400), digits=st.integers(0, 3))
def test_an_isotonic_curve_never_falls_and_is_never_certain(
    data: st.DataObject, rows: int, digits: int
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    odds = np.round(rng.normal(0, 30, rows), digits)
    label = (rng.random(rows) < rng.random()).astype(float)
    fitted = fit_isotonic(odds, label, rng.exponential(1, rows) + 1e-3)
    assert 1 <= len(fitted.knots) == len(fitted.probabilities) <= MOST_KNOTS
    assert all(low < high for low, high in zip(fitted.knots, fitted.knots[1:], strict=False))
    found = calibrator(fitted)(np.sort(np.concatenate([odds, [-1e9, 1e9]])))
    assert (np.diff(found) >= 0).all() and (found > 0).all() and (found < 1).all()


def test_no_number_stays_no_number() -> None:
    fitted = fit_isotonic(ODDS, drawn(to_probability(ODDS)))
    found = calibrator(fitted)(np.array([np.nan, np.inf, -np.inf, 0.0]))
    assert np.isnan(found).tolist() == [True, True, True, False]


def test_groups_hold_every_row_once() -> None:
    label = drawn(to_probability(ODDS))
    for rows in (1, 7, 10, 999):
        groups = deciles(label[:rows], to_probability(ODDS[:rows]))
        assert groups.rows.sum() == rows and groups.responses.sum() == label[:rows].sum()
        assert (np.diff(groups.predicted) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 300), values=st.integers(1, 40))
def test_no_figure_depends_on_the_order_of_rows(seed: int, rows: int, values: int) -> None:
    """With ties and weights: the same figures to the last digit, and the same calibration."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1, 1, values)[rng.integers(0, values, rows)]
    label = (rng.random(rows) < 0.3).astype(float)
    weight = rng.exponential(1, rows) + 0.1
    order = rng.permutation(rows)
    one = (label, to_probability(odds), weight)
    other = tuple(each[order] for each in one)
    assert measure(*one) == measure(*other)
    for parts in (3, 10, 100):
        assert np.array_equal(gain(*one, parts), gain(*other, parts))
        groups, again = deciles(*one, parts), deciles(*other, parts)
        assert groups.observed.tolist() == again.observed.tolist()
        assert groups.weight.tolist() == again.weight.tolist()
    if 0 < label.sum() < rows:
        for kind in ("isotonic", "platt", "auto"):
            again = calibrate(kind, odds[order], label[order], weight[order])
            assert calibrate(kind, odds, label, weight) == again


@pytest.mark.parametrize("weight", [None, np.linspace(0.5, 2, 1000)])
def test_one_and_the_same_right_prediction_has_no_error_and_no_lift(
    weight: np.ndarray | None,
) -> None:
    for seed in range(3):
        label = np.random.default_rng(seed).permutation(np.repeat([0.0, 1.0], [900, 100]))
        share = float(np.average(label, weights=weight))
        figures = measure(label, np.full(1000, share), weight)
        assert figures["calibration_error"] == pytest.approx(0, abs=1e-12)
        assert figures["top_decile_lift"] == pytest.approx(1)
        assert figures["auc"] == pytest.approx(0.5)


def test_errors_of_equal_predictions_do_not_cancel_those_of_others() -> None:
    """550 rows at 0.1 and 450 at 0.3, where both respond in 20 %: the error is 0.1."""
    label = np.r_[np.repeat([1.0, 0.0], [110, 440]), np.repeat([1.0, 0.0], [90, 360])]
    figures = measure(label, np.repeat([0.1, 0.3], [550, 450]))
    assert figures["calibration_error"] == pytest.approx(0.1)
    assert figures["top_decile_lift"] == pytest.approx(1)


def test_the_top_tenth_takes_its_share_of_the_responses_of_equal_predictions() -> None:
    """50 rows at 0.9 all respond; of 300 at 0.5 a third does: the tenth has 50 of each."""
    label = np.repeat([0.0, 1.0, 0.0, 1.0], [650, 100, 200, 50])
    figures = measure(label, np.repeat([0.1, 0.5, 0.9], [650, 300, 50]))
    assert figures["top_decile_lift"] == pytest.approx((50 + 50 / 3) / 100 / 0.15)
