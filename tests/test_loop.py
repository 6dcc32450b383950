"""The whole learning loop, shortly: act, log, archive, train, evaluate, promote."""

from __future__ import annotations

import pytest

from benchmarks import loop


@pytest.mark.slow
def test_two_rounds_of_the_loop_learn_from_what_was_logged() -> None:
    """Every command does its part on what the one before has written, and is judged by the truth."""
    days = loop.run(loop.Setup(rounds=2, decisions=500, customers=300), seed=3)
    assert [day.round for day in days] == [1, 2]
    assert len({day.version for day in days}) == 2
    for day in days:
        assert day.tally.responses > 5
        assert 0 <= day.regret < day.random_regret
        assert set(day.estimates) == set(loop.ESTIMATORS)
        assert day.truth is not None
        for value, low, high in day.estimates.values():
            assert low < value < high
            # Far outside its interval the truth is only where something is computed wrongly.
            assert abs(value - day.truth) < 3 * (high - low)
    assert loop.coverage([days])["dr"][1] == 2
