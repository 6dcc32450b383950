"""Changes and returns."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from decision.core.history import standing


def test_two_returns_go_two_steps_back() -> None:
    steps = [("a", False), ("b", False), ("c", False)]
    assert standing(steps) == ["a", "b", "c"]
    steps.append((standing(steps)[-2], True))
    assert standing(steps) == ["a", "b"]
    steps.append((standing(steps)[-2], True))
    assert standing(steps) == ["a"]
    assert standing([*steps, ("d", False)]) == ["a", "d"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans())))
def test_the_last_step_is_what_is_in_force(steps: list[tuple[str, bool]]) -> None:
    found = standing(steps)
    assert found[-1:] == [version for version, _ in steps[-1:]]
    assert all(one != other for one, other in itertools.pairwise(found))
