"""Qini and AUUC: equal to scikit-uplift's, and what they must be whatever the data are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.learning.uplift_curves import uplift_scores

SCIKIT_UPLIFT = [
    (0, 40, 0.5, 2, 0.3130177937085761, 0.19815885712434905),
    (1, 200, 0.3, 1, -0.1988405199130147, -0.12957951754036923),
    (2, 1000, 0.5, 3, 0.08254485838485233, 0.06403385354825841),
    (3, 1000, 0.7, 0, 0.012781506614667548, 0.005013325822926487),
    (4, 5000, 0.5, 4, 0.0380614328487729, 0.03352751846842187),
    (5, 300, 0.5, 1, 0.030969527786786497, 0.03061884380156778),
]
"""(seed, rows, share told, digits of the prediction, qini_auc_score, uplift_auc_score).

By scikit-uplift 0.5.1 (sklift.metrics) on the arrays of `drawn`, printed by `repr`.
"""


def drawn(seed: int, rows: int, share: float, digits: int) -> tuple[np.ndarray, ...]:
    """Responses, predictions and who was told."""
    generator = np.random.default_rng(seed)
    told = (generator.random(rows) < share).astype(float)
    interest = generator.random(rows)
    away = 0.1 * (1 - told) * (seed == 3)
    response = generator.random(rows) < 0.2 + 0.2 * told * interest - away
    uplift = np.round(interest + generator.normal(0, 0.5, rows), digits)
    return response.astype(float), uplift, told


@pytest.mark.parametrize(("seed", "rows", "share", "digits", "qini", "auuc"), SCIKIT_UPLIFT)
def test_both_are_those_of_scikit_uplift(
    seed: int, rows: int, share: float, digits: int, qini: float, auuc: float
) -> None:
    """Also where many predictions are alike."""
    found = uplift_scores(*drawn(seed, rows, share, digits), resamples=0)
    assert found is not None and found.qini_interval is None
    assert (found.qini, found.auuc) == pytest.approx((qini, auuc), abs=1e-12)


@given(st.integers(0, 10_000))
def test_neither_depends_on_the_order_of_rows_or_on_the_scale_of_the_prediction(seed: int) -> None:
    response, uplift, told = drawn(seed, 60, 0.5, 1)
    found = uplift_scores(response, uplift, told, resamples=0)
    order = np.random.default_rng(seed).permutation(60)
    again = uplift_scores(response[order], 3 * uplift[order] - 7, told[order], resamples=0)
    if found is None or again is None:
        assert found is again
        return
    assert (found.qini, found.auuc) == pytest.approx((again.qini, again.auuc), nan_ok=True)


@given(st.integers(0, 10_000))
def test_a_weight_of_two_is_a_row_that_is_there_twice(seed: int) -> None:
    response, uplift, told = drawn(seed, 50, 0.5, 1)
    weight = np.random.default_rng(seed).integers(1, 4, 50)
    found = uplift_scores(response, uplift, told, weight=weight.astype(float), resamples=0)
    rows = np.repeat(np.arange(50), weight)
    again = uplift_scores(response[rows], uplift[rows], told[rows], resamples=0)
    if found is None or again is None:
        assert found is again
        return
    assert found.qini == pytest.approx(again.qini, nan_ok=True)


def test_the_best_order_has_one_and_the_same_prediction_for_all_has_nothing() -> None:
    response, _, told = drawn(2, 1000, 0.5, 3)
    best = uplift_scores(response, response * told - response * (1 - told), told, resamples=0)
    flat = uplift_scores(response, np.zeros(1000), told, resamples=0)
    assert best is not None and best.qini == pytest.approx(1)
    assert flat is not None and (flat.qini, flat.auuc) == pytest.approx((0, 0), abs=1e-12)


def test_intervals_hold_the_score_of_many_more_customers_as_often_as_they_say() -> None:
    """80 samples of 800, whose 90 % intervals should hold what 400,000 rows give."""
    generator = np.random.default_rng(3)

    def sample(rows: int) -> tuple[np.ndarray, ...]:
        interest = generator.random(rows)
        told = (generator.random(rows) < 0.5).astype(float)
        response = (generator.random(rows) < 0.2 + 0.4 * told * interest).astype(float)
        return response, interest, told

    large = uplift_scores(*sample(400_000), resamples=0)
    assert large is not None
    hits = 0
    for _ in range(80):
        found = uplift_scores(*sample(800), resamples=80, confidence=0.9)
        assert found is not None and found.qini_interval is not None
        hits += found.qini_interval[0] <= large.qini <= found.qini_interval[1]
    assert hits >= 62


def test_whole_customers_are_resampled() -> None:
    """Ten rows of each customer are no ten pieces of evidence: the interval is as of one each."""
    response, uplift, told = drawn(2, 400, 0.5, 3)
    rows = np.repeat(np.arange(400), 10)
    one = uplift_scores(response, uplift, told)
    ten = uplift_scores(response[rows], uplift[rows], told[rows], customer=rows)
    loose = uplift_scores(response[rows], uplift[rows], told[rows])
    assert one is not None and ten is not None and loose is not None
    widths = [
        each.qini_interval[1] - each.qini_interval[0]
        for each in (one, ten, loose)
        if each.qini_interval is not None
    ]
    assert widths[0] == pytest.approx(widths[1]) and widths[2] < widths[0] / 2


@pytest.mark.parametrize("arm", [0.0, 1.0])
def test_one_arm_or_one_response_says_nothing(arm: float) -> None:
    response, uplift, told = drawn(0, 40, 0.5, 2)
    assert uplift_scores(response, uplift, np.full(40, arm)) is None
    assert uplift_scores(np.full(40, arm), uplift, told) is None
