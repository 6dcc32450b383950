"""Off-policy estimators agree with the reference, and with what a policy truly earns."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.learning.ope import (
    Estimate,
    cross_fit,
    dm,
    dr,
    ips,
    sndr,
    snips,
    switch_dr,
    terms,
    weights,
)
from decision.learning.ope.terms import (
    BLOCKS,
    Resampler,
    lift,
    of_rewards,
    standard_error,
)
from decision.learning.ope.terms import snips as snips_terms
from tests.data import needed


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def bandit() -> dict[str, Any]:
    """10,000 logged displays of the Open Bandit Dataset, with the target policy's probabilities."""
    folder = needed("obd")
    shares = np.array(
        [
            [float(row[key]) for key in ("p1", "p2", "p3")]
            for row in read(folder / "bts_all_action_distribution.csv")
        ]
    )
    rows = read(folder / "random_all_all.csv")
    action = np.array([int(row["item_id"]) for row in rows])
    rank = np.array([int(row["position"]) for row in rows]) - 1
    reward = np.array([float(row["click"]) for row in rows])
    clicks = np.bincount(action, reward, minlength=80)
    expected = (clicks + 0.5) / (np.bincount(action, minlength=80) + 100)
    return {
        "reference": json.loads((folder / "reference_all.json").read_text(encoding="utf-8")),
        "logged": (
            reward,
            np.array([float(row["propensity_score"]) for row in rows]),
            shares[action, rank],
        ),
        "expected_reward": np.tile(expected, (len(rows), 1)),
        "target_distribution": shares[:, rank].T,
        "action": action,
    }


def test_estimates_agree_with_the_reference_of_the_open_bandit_dataset(
    bandit: dict[str, Any],
) -> None:
    reference, logged = bandit["reference"], bandit["logged"]
    model = {key: bandit[key] for key in ("expected_reward", "target_distribution")}
    action = bandit["action"]
    assert len(logged[0]) == reference["rows"] and logged[0].sum() == reference["clicks"]
    found = {
        "ips": ips(*logged),
        "snips": snips(*logged),
        "dm": dm(*logged, **model),
        "dr": dr(*logged, **model, action=action),
        "sndr": sndr(*logged, **model, action=action),
        "switch_dr_tau20": switch_dr(*logged, **model, action=action, tau=20),
    }
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(reference[name], abs=1e-9), name
    assert found["ips"].standard_error == pytest.approx(reference["ips_se"], abs=1e-9)
    assert found["ips"].effective_sample_size == pytest.approx(reference["ess"], rel=1e-9)


def test_the_value_that_the_target_earned_itself_lies_within_the_intervals(
    bandit: dict[str, Any],
) -> None:
    """On-policy check: the clicks of the policy in question, on a log of its own."""
    rows = read(needed("obd") / "bts_all_all.csv")
    clicks = np.array([float(row["click"]) for row in rows])
    model = {key: bandit[key] for key in ("expected_reward", "target_distribution", "action")}
    for estimate in (
        ips(*bandit["logged"], bootstrap=500),
        snips(*bandit["logged"], bootstrap=500),
        dr(*bandit["logged"], **model, bootstrap=500),
        sndr(*bandit["logged"], **model, bootstrap=500),
    ):
        for low, high in (estimate.confidence_interval, estimate.bootstrap_interval or (1, 0)):
            assert low <= clicks.mean() <= high


def simulate(seed: int, count: int = 4_000) -> tuple[dict[str, Any], float]:
    """A log of a known world: 3 actions, 2 kinds of customers; with the target's true value."""
    generator = np.random.default_rng(seed)
    truth = np.array([[0.1, 0.3, 0.5], [0.6, 0.2, 0.1]])
    logging = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]])
    target = np.array([[0.1, 0.2, 0.7], [0.7, 0.2, 0.1]])
    kind = generator.integers(0, 2, count)
    action = (generator.random(count)[:, None] > logging[kind].cumsum(axis=1)).sum(axis=1)
    reward = (generator.random(count) < truth[kind, action]).astype(float)
    log = {
        "logged": (reward, logging[kind, action], target[kind, action]),
        "expected_reward": truth[kind] * 0.8 + 0.05,
        "target_distribution": target[kind],
        "action": action,
    }
    return log, float((truth * target).sum(axis=1).mean())


def test_intervals_hold_the_true_value_about_as_often_as_they_promise() -> None:
    """200 logs: a 90 % interval of each unbiased estimator holds the truth in 83 % to 97 %."""
    hits: dict[str, int] = {}
    for seed in range(200):
        log, truth = simulate(seed, 1_000)
        model = {key: log[key] for key in ("expected_reward", "target_distribution", "action")}
        for estimate, name in (
            (ips(*log["logged"], confidence=0.9), "ips"),
            (snips(*log["logged"], confidence=0.9), "snips"),
            (dr(*log["logged"], **model, confidence=0.9), "dr"),
            (sndr(*log["logged"], **model, confidence=0.9), "sndr"),
        ):
            low, high = estimate.confidence_interval
            hits[name] = hits.get(name, 0) + (low <= truth <= high)
    for name, count in hits.items():
        assert 166 <= count <= 194, (name, count)


def test_a_good_model_makes_doubly_robust_surer_than_ips() -> None:
    log, truth = simulate(3)
    model = {key: log[key] for key in ("expected_reward", "target_distribution", "action")}
    assert dr(*log["logged"], **model).standard_error < ips(*log["logged"]).standard_error
    assert dr(*log["logged"], **model).value == pytest.approx(truth, abs=0.04)


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 1)), min_size=2, max_size=30),
)
def test_the_logging_policy_itself_is_worth_the_mean_reward(
    rows: list[tuple[float, float]],
) -> None:
    rewards = [row[0] for row in rows]
    shares = [row[1] for row in rows]
    for estimate in (ips(rewards, shares, shares), snips(rewards, shares, shares)):
        assert estimate.value == pytest.approx(np.mean(rewards), abs=1e-9)
        assert estimate.effective_sample_size == pytest.approx(len(rows))


@given(
    st.lists(
        st.tuples(st.floats(-5, 5), st.floats(0.01, 1), st.floats(0.01, 1)),
        min_size=1,
        max_size=30,
    )
)
def test_self_normalised_estimates_stay_within_the_rewards(
    rows: list[tuple[float, float, float]],
) -> None:
    rewards, logged, target = (list(column) for column in zip(*rows, strict=True))
    estimate = snips(rewards, logged, target)
    assert min(rewards) - 1e-9 <= estimate.value <= max(rewards) + 1e-9
    assert 0 < estimate.effective_sample_size <= len(rows) + 1e-9


def test_switch_between_its_ends_is_the_direct_method_or_doubly_robust() -> None:
    log, _ = simulate(5)
    model = {key: log[key] for key in ("expected_reward", "target_distribution")}
    full = dr(*log["logged"], **model, action=log["action"])
    direct = dm(*log["logged"], **model)
    switched = switch_dr(*log["logged"], **model, action=log["action"], tau=1e9)
    never = switch_dr(*log["logged"], **model, action=log["action"], tau=1e-9)
    assert switched.value == pytest.approx(full.value)
    assert never.value == pytest.approx(direct.value)
    assert never.effective_sample_size == 0


def test_one_logged_decision_has_no_bounded_error() -> None:
    found = ips([1.0], [0.5], [0.5])
    assert isinstance(found, Estimate)
    assert found.value == 1.0 and found.standard_error == float("inf")


def test_wrong_input_is_refused_with_place_value_and_fix() -> None:
    good = ([1.0, 0.0], [0.5, 0.5], [0.2, 0.8])
    model: dict[str, Any] = {
        "expected_reward": [[0.1, 0.2]] * 2,
        "target_distribution": [[0.5, 0.5]] * 2,
    }
    with pytest.raises(ValueError, match=r"logged_probability\[1\] is 0\.0; must be in \(0, 1\]"):
        ips([1, 0], [0.5, 0], [0.2, 0.8])
    with pytest.raises(ValueError, match=r"target_probability\[0\] is 1\.2"):
        ips([1, 0], [0.5, 0.5], [1.2, 0.8])
    with pytest.raises(ValueError, match="has 1 entries; reward has 2"):
        ips([1, 0], [0.5], [0.2, 0.8])
    with pytest.raises(ValueError, match="is empty"):
        ips([], [], [])
    with pytest.raises(ValueError, match=r"reward\[0\] is nan"):
        snips([float("nan")], [0.5], [0.5])
    with pytest.raises(ValueError, match="says nothing about this policy"):
        snips([1, 0], [0.5, 0.5], [0, 0])
    with pytest.raises(ValueError, match="confidence"):
        ips(*good, confidence=95)
    with pytest.raises(ValueError, match="sums to"):
        dm(*good, expected_reward=[[0.1, 0.2]] * 2, target_distribution=[[0.5, 0.6]] * 2)
    with pytest.raises(ValueError, match="one column per action"):
        dm(*good, expected_reward=[[0.1]] * 2, target_distribution=[[0.5, 0.5]] * 2)
    with pytest.raises(ValueError, match="must name a column, 0 to 1"):
        dr(*good, **model, action=[0, 2])
    with pytest.raises(ValueError, match="whole numbers"):
        dr(*good, **model, action=np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="tau"):
        switch_dr(*good, **model, action=[0, 1], tau=0)


def test_a_bootstrap_agrees_with_the_normal_interval_and_with_itself() -> None:
    """The same seed gives the same interval; many rows are resampled in blocks, as well."""
    for count in (2_000, 3 * BLOCKS):
        log, _ = simulate(9, count)
        once = snips(*log["logged"], bootstrap=2_000, seed=1)
        again = snips(*log["logged"], bootstrap=2_000, seed=1)
        other = snips(*log["logged"], bootstrap=2_000, seed=2)
        assert once == again and once.bootstrap_interval != other.bootstrap_interval
        assert once.bootstrap_interval is not None
        width = np.subtract(*once.confidence_interval[::-1])
        for drawn, normal in zip(once.bootstrap_interval, once.confidence_interval, strict=True):
            assert drawn == pytest.approx(normal, abs=0.08 * width)


def test_copies_of_a_customers_decisions_make_no_estimate_surer() -> None:
    """Every decision three times over, in clusters of three: the error stays what it was."""
    log, _ = simulate(4, 1_500)
    plain = sndr(*log["logged"], **_model_of(log), bootstrap=1_000)
    thrice = [np.repeat(column, 3) for column in log["logged"]]
    model = {key: np.repeat(value, 3, axis=0) for key, value in _model_of(log).items()}
    owner = np.repeat(np.arange(1_500) * 7 - 50, 3)
    clustered = sndr(*thrice, **model, cluster=owner, bootstrap=1_000)
    assert clustered.value == pytest.approx(plain.value)
    assert clustered.standard_error == pytest.approx(plain.standard_error)
    assert clustered.bootstrap_interval == pytest.approx(plain.bootstrap_interval)
    fooled = sndr(*thrice, **model)
    assert fooled.standard_error < 0.6 * plain.standard_error


def _model_of(log: dict[str, Any]) -> dict[str, Any]:
    return {key: log[key] for key in ("expected_reward", "target_distribution", "action")}


def test_a_policy_is_no_better_than_itself_whatever_the_resample() -> None:
    log, _ = simulate(2, 800)
    reward = log["logged"][0]
    same = snips_terms(reward, np.ones(800))
    resampler = Resampler(800, 300, 5)
    found = lift(
        same,
        of_rewards(reward),
        target_draws=resampler.draw(same),
        control_draws=resampler.draw(of_rewards(reward)),
    )
    for interval in (found.relative_interval, found.relative_bootstrap, found.difference_interval):
        assert interval == pytest.approx((0, 0), abs=1e-12)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=40), st.randoms())
def test_clusters_of_one_are_no_clusters(numbers: list[float], random: Any) -> None:
    influence = np.array(numbers) - np.mean(numbers)
    order = list(range(len(numbers)))
    random.shuffle(order)
    assert standard_error(influence, np.array(order)) == pytest.approx(standard_error(influence))


def test_the_interval_of_the_relative_lift_has_its_coverage() -> None:
    """300 logs: the 90 % interval of (target − control) / control holds the truth in 83 to 97 %."""
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        control = generator.random(600) < 0.2
        weight = np.where(generator.random(600) < 0.5, 0.5, 1.5)
        found = lift(
            snips_terms(control.astype(float), weight),
            of_rewards(control.astype(float)),
            confidence=0.9,
        )
        assert found.relative_interval is not None
        low, high = found.relative_interval
        hits += low <= 0 <= high
    assert 249 <= hits <= 291


def test_nothing_is_predicted_by_what_has_seen_it() -> None:
    fold = np.array([0, 1, 2, 0, 1, 2, 2])
    seen = []

    def fit(train: Any, held: Any) -> Any:
        assert not set(train) & set(held) and len(train) + len(held) == 7
        assert set(fold[train]).isdisjoint(fold[held])
        seen.extend(held.tolist())
        return np.column_stack([held, -held])

    found = cross_fit(fold, fit)
    assert sorted(seen) == list(range(7))
    assert found[:, 0].tolist() == list(range(7))
    with pytest.raises(ValueError, match="at least 2"):
        cross_fit([1, 1], fit)
    with pytest.raises(ValueError, match="gave 1 rows for the 2"):
        cross_fit([0, 0, 1, 1], lambda train, held: np.zeros(1))


def test_weights_say_when_logged_probabilities_are_not_those_of_the_choices() -> None:
    log, _ = simulate(6, 3_000)
    _, logged, target = log["logged"]
    honest = weights(logged, target)
    assert honest.mean_z is not None and abs(honest.mean_z) < 3
    assert honest.quantiles[0] <= honest.quantiles[3] <= honest.max
    assert 0.01 <= honest.top_share <= 0.1 and honest.zero_share == 0
    wrong = weights(logged / 2, target)
    assert wrong.mean_z is not None and wrong.mean_z > 10
    assert weights(logged, logged).mean_z == 0
    gone = weights([0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1])
    assert gone.zero_share == 0.75 and gone.top_share == 1


def test_wrong_options_are_refused() -> None:
    good: Any = ([1.0, 0.0], [0.5, 0.5], [0.2, 0.8])
    with pytest.raises(ValueError, match="cluster has shape"):
        ips(*good, cluster=[1])
    with pytest.raises(ValueError, match="bootstrap is -1"):
        ips(*good, bootstrap=-1)
    with pytest.raises(ValueError, match=r"expected_reward\[1, 0\] is nan"):
        dm(
            *good,
            expected_reward=[[0, 0], [float("nan"), 0]],
            target_distribution=[[0.5, 0.5]] * 2,
        )


def test_the_threshold_of_switch_has_the_least_error_by_its_own_definition() -> None:
    """Squared error of the mean plus squared bias at most, tried by hand over the same weights."""
    generator = np.random.default_rng(5)
    reward = (generator.random(2_000) < 0.3).astype(float)
    expected = np.full(2_000, 0.3)
    for spread in (0.1, 1.0, 2.5):
        weight = np.exp(generator.normal(0, spread, 2_000))
        tau = terms.switch_threshold(reward, weight, expected, expected)

        def error(bound: float, weight: np.ndarray = weight) -> float:
            below = weight <= bound
            rows = expected + np.where(below, weight * (reward - expected), 0)
            bias = np.where(below, 0, weight).mean() * reward.max()
            return float(rows.var(ddof=1) / len(rows) + bias**2)

        assert error(tau) <= min(error(bound) for bound in np.quantile(weight, [0.5, 0.9, 0.99, 1]))
        if spread < 1:
            assert tau == weight.max()  # nothing is gained by leaving the log


def test_without_a_threshold_switch_takes_the_one_of_the_data() -> None:
    generator = np.random.default_rng(6)
    logged = generator.uniform(0.01, 1, 1_000)
    target, reward = np.full(1_000, 0.5), (generator.random(1_000) < 0.2).astype(float)
    model = {"expected_reward": np.full((1_000, 2), 0.2), "action": np.zeros(1_000, dtype=int)}
    model["target_distribution"] = np.full((1_000, 2), 0.5)
    flat = np.full(1_000, 0.2)
    tau = terms.switch_threshold(reward, target / logged, flat, flat)
    found = [switch_dr(reward, logged, target, **model, **more) for more in ({}, {"tau": tau})]
    assert found[0] == found[1]
