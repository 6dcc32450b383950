"""How often customers buy again, and for how much: published figures, and simulated customers."""

from __future__ import annotations

import csv
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.analytics.lifetime_value import (
    BuyingModel,
    Customers,
    SpendingModel,
    fit_buying,
    fit_spending,
    lifetime_value,
)
from tests.data import needed

MODEL = BuyingModel(r=0.243, alpha=4.414, a=0.793, b=2.426)

SEEN = st.tuples(st.integers(0, 60), st.floats(0.01, 1.0), st.floats(0.1, 500.0))


def simulated(model: BuyingModel, people: int, age: float) -> Customers:
    """Customers of the model's own story: each has a rate, and leaves after a purchase by chance."""
    draw = np.random.default_rng(3)
    rate = draw.gamma(model.r, 1 / model.alpha, people)
    leaving = draw.beta(model.a, model.b, people)
    often, last = np.zeros(people), np.zeros(people)
    now, here = np.zeros(people), draw.random(people) >= 0  # nobody has left yet
    while here.any():
        now = now + draw.exponential(1 / np.maximum(rate, 1e-12))
        here = here & (now < age)
        often, last = often + here, np.where(here, now, last)
        here = here & (draw.random(people) >= leaving)
    return Customers.of(often, last, np.full(people, age))


def test_the_published_model_of_cdnow_is_found() -> None:
    """Fader, Hardie and Lee's own figures, of 2,357 customers in weeks."""
    with needed("cdnow/cdnow_customers_summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ([float(row[name]) for row in rows] for name in ("frequency", "recency", "T"))
    assert fit_buying(Customers.of(*columns)) == pytest.approx(MODEL, abs=1e-2)


def test_the_published_model_of_what_they_spend_is_found() -> None:
    """As the package Lifetimes prints it: p 6.25, q 3.74, v 15.45, of 946 customers."""
    days: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in needed("cdnow/CDNOW_sample.txt").read_text().splitlines():
        _, customer, day, _, amount = line.split()
        if day <= "19970930":
            days[customer][day] += float(amount)
    again = [list(each.values())[1:] for each in days.values() if len(each) > 1]
    found = fit_spending([len(one) for one in again], [np.mean(one) for one in again])
    assert found == pytest.approx((6.25, 3.74, 15.45), rel=1e-2)


def test_what_is_expected_of_one_customer_is_what_the_authors_print() -> None:
    """Their example: two purchases, the last after 30.43 of 38.86 weeks; 39 weeks from then."""
    one = Customers.of([2], [30.43], [38.86])
    assert MODEL.purchases(one, 39.0)[0] == pytest.approx(1.226, abs=1e-3)
    new = Customers.of([0], [0.0], [0.0])
    assert MODEL.purchases(new, 1.0)[0] < MODEL.purchases(new, 52.0)[0]


def test_what_was_simulated_is_found_again() -> None:
    true = BuyingModel(r=0.6, alpha=5.0, a=0.8, b=2.5)
    people = simulated(true, 8_000, 60.0)
    found = fit_buying(people)
    assert found == pytest.approx(true, rel=0.2)
    expected = found.purchases(Customers.of([0] * 3, [0.0] * 3, [0.0] * 3), 60.0)
    assert expected[0] == pytest.approx(people.frequency.mean(), rel=0.03)


def test_amounts_that_were_simulated_are_found_again() -> None:
    draw = np.random.default_rng(4)
    often = 1 + draw.poisson(3, 20_000)
    scale = draw.gamma(4.0, 1 / 15.0, 20_000)
    average = draw.gamma(6.0 * often, 1 / (scale * often))
    assert fit_spending(often, average) == pytest.approx((6.0, 4.0, 15.0), rel=0.1)


@given(st.lists(SEEN, min_size=1, max_size=30))
def test_expectations_are_finite_and_grow_with_time(rows: list[tuple[int, float, float]]) -> None:
    people = Customers.of(
        [often for often, _, _ in rows],
        [share * age if often else 0.0 for often, share, age in rows],
        [age for *_, age in rows],
    )
    alive = MODEL.alive(people)
    assert ((alive >= 0) & (alive <= 1)).all()
    soon, late = MODEL.purchases(people, 1.0), MODEL.purchases(people, 52.0)
    assert np.isfinite(late).all() and (soon >= 0).all() and (late >= soon - 1e-9).all()


def test_who_bought_often_and_then_no_more_has_left() -> None:
    people = Customers.of([20, 20], [10.0, 38.0], [38.86, 38.86])
    gone, here = MODEL.alive(people)
    assert gone < 0.001 and here > 0.8


def test_a_share_of_one_is_no_singularity() -> None:
    people = Customers.of([3], [10.0], [20.0])
    at = BuyingModel(0.243, 4.414, 1.0, 2.426).purchases(people, 10.0)
    near = BuyingModel(0.243, 4.414, 1.001, 2.426).purchases(people, 10.0)
    assert at == pytest.approx(near, rel=1e-3)


def test_later_money_is_worth_less() -> None:
    people = Customers.of([2, 0], [30.43, 0.0], [38.86, 38.86])
    spend = SpendingModel(6.25, 3.74, 15.45).spend([2, 0], [40.0, 0.0])
    full = lifetime_value(MODEL, spend, people, period=4.0, periods=12)
    assert full == pytest.approx(MODEL.purchases(people, 48.0) * spend)
    less = lifetime_value(MODEL, spend, people, period=4.0, periods=12, discount=0.01)
    assert (less < full).all() and (less > 0.88 * full).all()


def test_too_few_customers_and_impossible_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="3 customers bought again"):
        fit_buying(Customers.of([1, 1, 2, 0], [1.0, 2.0, 3.0, 0.0], [9.0] * 4))
    with pytest.raises(ValueError, match="0 customers"):
        fit_spending([0, 0], [0.0, 0.0])
    for wrong in (([1], [5.0], [4.0]), ([1], [0.0], [4.0]), ([-1], [1.0], [4.0])):
        with pytest.raises(ValueError, match="customer 1 of 1"):
            Customers.of(*wrong)
