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

from decision.learning.ope import Estimate, dm, dr, ips, sndr, snips, switch_dr
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


def test_wrong_input_is_refused_with_place_value_and_mend() -> None:
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
    with pytest.raises(ValueError, match="says nothing of this policy"):
        snips([1, 0], [0.5, 0.5], [0, 0])
    with pytest.raises(ValueError, match="confidence"):
        ips(*good, confidence=95)
    with pytest.raises(ValueError, match="sums to"):
        dm(*good, expected_reward=[[0.1, 0.2]] * 2, target_distribution=[[0.5, 0.6]] * 2)
    with pytest.raises(ValueError, match="a column for each action"):
        dm(*good, expected_reward=[[0.1]] * 2, target_distribution=[[0.5, 0.5]] * 2)
    with pytest.raises(ValueError, match="must name a column, 0 to 1"):
        dr(*good, **model, action=[0, 2])
    with pytest.raises(ValueError, match="whole numbers"):
        dr(*good, **model, action=np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="tau"):
        switch_dr(*good, **model, action=[0, 1], tau=0)
