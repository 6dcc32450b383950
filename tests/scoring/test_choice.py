"""Priorities and the draw by machine code: what arrays give, to the last bit."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks._standard import CHANNELS, made_up
from decision.core.arbitration import Arrays
from decision.core.definition import Settings
from decision.core.fields import FieldTable
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from decision.scoring.choice import MachineCode, arithmetic_of
from decision.scoring.loading import load_model
from decision.scoring.manifest import Platt
from decision.scoring.model import calibrator
from decision.scoring.scorers import ModelScorer, bind, fields_read
from tests.scoring.build import CANDIDATES

RULES = 21
EVERY = (1 << RULES) - 1
priorities = st.lists(
    st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 1e300, 5e-324])
    | st.floats(-1e3, 1e3)
    | st.floats(),
    min_size=1,
    max_size=60,
)
gammas = st.none() | st.floats(0, 1e6) | st.sampled_from([0.0, 100.0, 1e17, 1e18, 1e308])


@cache
def policy() -> Policy:
    return compile_policy(made_up(CHANNELS, rules=RULES))


@cache
def code() -> MachineCode:
    return MachineCode(policy())


@given(
    asked=st.sets(st.integers(0, 99)),
    fired=st.integers(0, EVERY),
    effects=st.lists(st.floats(), min_size=100, max_size=100),
)
def test_priorities_are_those_of_arrays(asked: set[int], fired: int, effects: list[float]) -> None:
    given = np.array(sorted(asked), dtype=np.intp), np.array(effects[: len(asked)]), fired
    with np.errstate(all="ignore"):
        expected = Arrays(policy()).priorities(*given)
    for found, other in zip(code().priorities(*given), expected, strict=True):
        np.testing.assert_array_equal(found, other)
        kept = ~np.isnan(other)  # of one that is no number, the bits may be any
        assert found[kept].tobytes() == other[kept].tobytes()


@given(priorities, gammas, st.floats(0, 1, exclude_max=True))
def test_the_draw_is_that_of_arrays(values: list[float], gamma: float | None, u: float) -> None:
    given = np.array(values), gamma, u
    try:
        weights, place = Arrays(policy()).choose(*given)
    except ValueError as error:
        with pytest.raises(ValueError) as raised:
            code().choose(*given)
        assert raised.value.args == error.args
        return
    found, drawn = code().choose(*given)
    assert (found.tobytes(), drawn) == (weights.tobytes(), place)
    for number in (float(weights[0]), math.fsum(weights[:2].tolist())):
        if number < 1:
            assert (
                code().choose(*given[:2], number)[1]
                == Arrays(policy()).choose(*given[:2], number)[1]
            )


def test_most_draws_are_by_the_code_itself() -> None:
    def no_arrays(*given: object) -> None:
        raise AssertionError(given)

    generator = np.random.default_rng(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Arrays, "choose", no_arrays)
        for count in range(2, 120):
            for gamma in (0.0, 20.0, 1e6):
                code().choose(generator.normal(size=count), gamma, generator.random())


@pytest.mark.parametrize("calibration", [None, Platt(slope=1.3, intercept=-0.4)])
def test_smoothed_probabilities_are_those_of_arrays(
    trained: Path, calibration: Platt | None
) -> None:
    """Also where the trees give no number, and for candidates in any order."""
    model = load_model(trained)
    model.calibrate = calibrator(calibration)
    scorer = bind(model, CANDIDATES, FieldTable(fields_read(model)), Settings())
    assert isinstance(scorer, ModelScorer) and scorer._by_code is not None
    generator = np.random.default_rng(3)
    for spread in (0.1, 3.0, 1e3, 1e300):
        asked = generator.integers(0, len(CANDIDATES), 500)
        odds = generator.normal(size=500) * spread
        odds[:4] = math.nan, math.inf, -math.inf, -0.0
        found = scorer._by_code(asked, odds)
        expected = scorer._smooth_arrays(asked, None, odds)
        assert found.tobytes() == expected.tobytes()


def test_code_is_used_where_a_model_has_some_and_it_gives_what_arrays_do(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(trained)
    assert isinstance(arithmetic_of(policy(), [model]), MachineCode)
    assert type(arithmetic_of(policy(), [])) is Arrays
    monkeypatch.setattr(MachineCode, "choose", lambda *given: (np.array([1.0, 0.0]), 0))
    assert type(arithmetic_of(policy(), [model])) is Arrays
