"""Effects of variants agree with gbstats, with numpy on every customer, and with chance."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from decision.analytics.anytime import ALPHA, Sample
from decision.analytics.effects import (
    Effect,
    Sums,
    adjusted,
    benjamini_hochberg,
    customers_needed,
    detectable,
    effect,
    holm,
    stratified,
)

VECTORS = json.loads(Path(__file__).with_name("gbstats.json").read_text("utf-8"))
"""Printed by gbstats 0.8.0 (MIT) for random customers: kind of metric, kind of difference, sums of
both sides; estimate, interval, p-value, sequential interval and p-value, chance to win."""

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def samples(kind: str, control: Sums, treatment: Sums) -> tuple[Sample, Sample]:
    if kind == "before":
        return adjusted(control, treatment)
    if kind == "ratio":
        return control.ratio(), treatment.ratio()
    if kind == "share":
        return Sample.of_share(int(control.y), control.n), Sample.of_share(
            int(treatment.y), treatment.n
        )
    return control.mean(), treatment.mean()


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: f"{case[0]}-{case[1]}-{case[2][0]}")
def test_effects_are_those_of_gbstats(case: list[object]) -> None:
    kind, difference, control, treatment, wanted = case
    two = samples(str(kind), Sums(*control), Sums(*treatment))  # type: ignore[misc]
    found = effect(*two, relative=difference == "relative")
    assert found is not None
    got = [found.estimate, *found.fixed, found.p_value, *found.always, found.always_p_value]
    assert [*got, found.chance] == pytest.approx(wanted, abs=2e-7)


def test_a_published_revenue_test_and_a_published_sequential_one() -> None:
    revenue = effect(
        Sums(3_407, 1_396.87, 52_377.9767).mean(),
        Sums(3_461, 2_422.7, 134_698.29).mean(),
        relative=True,
    )
    assert revenue is not None
    assert revenue.estimate == pytest.approx(0.70732, abs=1e-5)
    assert revenue.fixed == pytest.approx((-0.03526, 1.44989), abs=1e-5)
    assert revenue.p_value == pytest.approx(0.06191, abs=1e-5)
    visits = effect(Sample.of_share(1_396, 3_000), Sample.of_share(2_422, 3_461), relative=True)
    assert visits is not None
    assert visits.always == pytest.approx((0.40098, 0.60675), abs=1e-5)


def test_what_is_taken_out_is_the_slope_that_numpy_finds_over_all_customers() -> None:
    draw = np.random.default_rng(5)
    before = draw.gamma(2.0, 3.0, 900)
    after = 0.8 * before + draw.normal(0, 1, 900) + np.repeat([0.0, 0.5], [400, 500])
    control, treatment = (
        Sums.of(after[side], before[side]) for side in (slice(400), slice(400, None))
    )
    slope = np.cov(after, before)[0, 1] / before.var(ddof=1)
    left = after - slope * before
    one, two = adjusted(control, treatment)
    assert one.mean == pytest.approx(left[:400].mean())
    assert one.variance == pytest.approx(left[:400].var(ddof=1))
    assert two.mean - two.unadjusted == pytest.approx(-slope * before[400:].mean())
    narrow, wide = effect(one, two), effect(control.mean(), treatment.mean())
    assert narrow is not None and wide is not None
    assert narrow.error < wide.error / 2
    assert narrow.fixed[0] < 0.5 < narrow.fixed[1]


def test_before_the_experiment_nothing_was_done_so_nothing_is_taken_out() -> None:
    control, treatment = Sums.of([1.0, 2.0], [0.0, 0.0]), Sums.of([2.0, 5.0], [0.0, 0.0])
    assert adjusted(control, treatment) == (control.mean(), treatment.mean())


def test_groups_are_weighed_by_their_share_of_all_customers() -> None:
    draw = np.random.default_rng(6)
    group = draw.integers(3, size=3_000)
    side = draw.random(3_000) < np.array([0.2, 0.5, 0.8])[group]  # unequal by bad luck
    value = 10.0 * group + side + draw.normal(0, 1, 3_000)
    two = [
        {str(one): Sums.of(value[(group == one) & (side == arm)]) for one in range(3)}
        for arm in (False, True)
    ]
    found = effect(*stratified(*two))
    by_hand = sum(
        (group == one).mean()
        * (value[(group == one) & side].mean() - value[(group == one) & ~side].mean())
        for one in range(3)
    )
    assert found is not None
    assert found.estimate == pytest.approx(by_hand)
    assert found.fixed[0] < 1 < found.fixed[1]
    plain = effect(Sums.of(value[~side]).mean(), Sums.of(value[side]).mean())
    assert plain is not None and plain.estimate > 3  # what the groups are like, not the treatment


def test_one_group_is_no_group() -> None:
    one, two = Sums.of([1.0, 2.0, 4.0], [1.0, 1.0, 2.0]), Sums.of([2.0, 2.0, 5.0], [0.0, 1.0, 3.0])
    for before in (False, True):
        wanted = adjusted(one, two) if before else (one.mean(), two.mean())
        for found, plain in zip(
            stratified({"a": one}, {"a": two}, before=before), wanted, strict=True
        ):
            assert found[:3] == pytest.approx(plain[:3])
            assert found.unadjusted == pytest.approx(plain.unadjusted)


def test_groups_with_nobody_on_a_side_lose_no_customer() -> None:
    one = {"a": Sums.of([1.0, 2.0, 3.0]), "b": Sums.of([9.0])}
    two = {"a": Sums.of([1.0, 3.0]), "c": Sums.of([4.0, 5.0])}
    control, treatment = stratified(one, two)
    assert (control.n, treatment.n) == (4, 4)
    assert math.isfinite(control.mean) and math.isfinite(treatment.mean)
    alone = stratified({"b": Sums.of([9.0])}, {"c": Sums.of([4.0, 5.0])})
    assert effect(*alone) is None
    assert effect(*stratified({}, {})) is None


@pytest.mark.parametrize(
    "sides",
    [
        (Sums(0, 0.0, 0.0), Sums.of([1.0, 2.0])),
        (Sums.of([1.0]), Sums.of([1.0, 2.0])),
        (Sums.of([1.0, 1.0]), Sums.of([1.0, 1.0])),
    ],
)
def test_where_nothing_can_be_said_nothing_is(sides: tuple[Sums, Sums]) -> None:
    assert effect(sides[0].mean(), sides[1].mean()) is None


def test_no_share_is_taken_of_a_control_that_has_nothing() -> None:
    control, treatment = Sums.of([0.0, 0.0]).mean(), Sums.of([0.0, 3.0]).mean()
    assert effect(control, treatment, relative=True) is None
    assert effect(control, treatment) is not None
    assert Sums.of([1.0, 2.0], [0.0, 0.0]).ratio().n == 0


@given(P_VALUES)
def test_p_values_of_several_comparisons_are_those_of_the_procedures(given_: list[float]) -> None:
    assert benjamini_hochberg(given_) == pytest.approx(false_discovery_control(given_, method="bh"))
    found = holm(given_)
    order = sorted(range(len(given_)), key=given_.__getitem__)
    for place, one in enumerate(order):  # rejected at alpha: all smaller ones are, and it is
        wanted = max(
            min(1.0, (len(order) - earlier) * given_[other])
            for earlier, other in enumerate(order[: place + 1])
        )
        assert found[one] == pytest.approx(wanted)


@given(st.floats(0.001, 50), st.integers(2, 10**7), st.floats(0.01, 0.99), st.floats(0.5, 0.99))
def test_as_many_customers_as_are_needed_show_the_difference(
    variance: float, n: int, share: float, power: float
) -> None:
    least = detectable(variance, n, share=share, power=power)
    needed = customers_needed(variance, least, share=share, power=power)
    assert abs(needed - n) <= 1 + 1e-9 * n


@pytest.mark.parametrize(
    "call",
    [
        lambda: detectable(1.0, 0),
        lambda: detectable(-1.0, 10),
        lambda: detectable(1.0, 10, share=1.0),
        lambda: customers_needed(1.0, 0.0),
        lambda: customers_needed(1.0, 0.1, power=0.01),
        lambda: Sums.of([1.0], [1.0, 2.0]),
    ],
)
def test_numbers_out_of_their_bounds_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        call()  # type: ignore[operator]


@given(st.floats(-3, 3), st.floats(0.01, 10), st.integers(2, 10**6))
def test_the_always_valid_p_value_and_interval_say_the_same(
    mean: float, variance: float, n: int
) -> None:
    found = effect(Sample(n, 0.0, variance), Sample(n, mean, variance))
    assert found is not None
    outside = not found.always[0] <= 0 <= found.always[1]
    if abs(found.always_p_value - ALPHA) > 1e-9:
        assert outside == (found.always_p_value < ALPHA)


def test_the_interval_of_a_ratio_and_of_what_cuped_leaves_hold_the_truth() -> None:
    """In 400 experiments of 600 customers whose orders and revenue hang together."""
    draw = np.random.default_rng(9)
    held = {"ratio": 0, "before": 0, "groups": 0}
    for _ in range(400):
        liking = draw.gamma(2.0, 1.0, 600)
        before = draw.poisson(3 * liking).astype(float)
        orders = 1.0 + draw.poisson(liking)
        revenue = orders * draw.gamma(3.0, 2.0, 600)
        side = draw.random(600) < 0.4
        one, two = (Sums.of(revenue[arm], orders[arm]) for arm in (~side, side))
        earlier = [Sums.of(revenue[arm], before[arm]) for arm in (~side, side)]
        group = [
            {str(kind): Sums.of(revenue[arm & ((before > 5) == kind)]) for kind in (False, True)}
            for arm in (~side, side)
        ]
        for name, pair in (
            ("ratio", (one.ratio(), two.ratio())),
            ("before", adjusted(*earlier)),
            ("groups", stratified(*group)),
        ):
            found: Effect | None = effect(*pair)
            assert found is not None
            held[name] += found.fixed[0] <= 0 <= found.fixed[1]
    for name, times in held.items():
        assert 364 <= times <= 394, (name, times)  # 380 ± 3.2 standard errors
