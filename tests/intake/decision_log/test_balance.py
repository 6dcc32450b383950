"""The check of the assignment: silent where rows were drawn as the probabilities say, else not."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from decision.archive import imported
from decision.intake.decision_log import arms
from decision.learning import balance
from decision.learning.balance import ALPHA, Balance, Covariates

ARMS = ("a", "b", "c")


def gathered(
    rows: int, seed: int, *, by_age: float = 0.0, arms: tuple[float, ...] = (0.5, 0.3, 0.2)
) -> Balance:
    """A check of rows whose chances of `a` follow the age, while the log says they do not."""
    random = np.random.default_rng(seed)
    found = Covariates()
    for _ in range(rows):
        age = float(random.integers(18, 80))
        logged = np.array(arms if age > 50 else arms[::-1])  # the log knows of this
        true = logged + np.array([by_age, -by_age, 0.0]) * (age - 49) / 31
        arm = int(random.choice(3, p=true))
        found.add(
            ARMS[arm],
            float(logged[arm]),
            ARMS,
            {
                "age": age,
                "city": ("x", "y")[int(random.integers(2))],
                "few": None if age > 30 else 1,
            },
        )
    return found.check()


def test_random_assignment_by_logged_probabilities_is_hardly_ever_doubted() -> None:
    """Also where probabilities differ between rows: of 200 checks at 1 %, at most 7 (P < 0.2 %)."""
    doubted = sum(bool(gathered(400, seed).differing) for seed in range(200))
    assert doubted <= 7, (doubted, ALPHA)


def test_an_arm_that_went_to_other_customers_is_named_with_figures() -> None:
    found = gathered(4_000, 1, by_age=0.15)
    named = {one.covariate: one for one in found.differing}
    assert named.keys() >= {"age", "few"} and "city" not in named
    assert named["age"].arm in ("a", "b")
    assert abs(named["age"].z) > 5 and abs(named["age"].difference) > 0.1


def test_an_arm_that_came_more_often_than_its_probability_says_is_named() -> None:
    """As where a uniform assignment is claimed of shares of 40, 30 and 30 %."""
    random, found = np.random.default_rng(5), Covariates()
    for _ in range(3_000):
        found.add(ARMS[int(random.choice(3, p=[0.4, 0.3, 0.3]))], 1 / 3, ARMS, {})
    (one, *_) = found.check().differing
    assert (one.covariate, one.arm) == ("share of the arm", "a")
    assert one.mean_in_arm == pytest.approx(0.4, abs=0.03)
    assert one.mean == pytest.approx(1 / 3, abs=1e-9)


def test_arms_that_only_some_rows_could_get_are_compared_among_these() -> None:
    """Where every row says what it could get, a message for the old alone is no fault."""
    random, found = np.random.default_rng(6), Covariates()
    for _ in range(3_000):
        age = float(random.integers(18, 80))
        own = ARMS if age > 50 else ARMS[:2]
        found.add(str(random.choice(own)), 1 / len(own), own, {"age": age})
    assert found.check().differing == []


def test_nothing_is_said_where_there_is_nothing_to_compare() -> None:
    assert Covariates().check().tests == 0
    found = Covariates()
    for n in range(30):
        found.add("a", 0.5, ("a", "b"), {"x": [1], "y": n, "z": "é" * n, "same": 1})
    assert found.check().tests == 0
    found.add("b", 0.5, ("a", "b"), {"w": float("nan")})
    assert found.check().differing == []


@pytest.mark.parametrize("module", [arms, balance, imported])
def test_examples_of_docstrings_do_what_they_say(module) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
