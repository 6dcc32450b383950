"""How lists of far timers have the ids of customers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.store.timers import split_id


@given(st.text() | st.from_regex(r"[A-Za-z_:-]{0,14}[0-9]{1,20}", fullmatch=True))
def test_prefix_and_rest_are_the_id_and_a_prefix_leaves_a_64_bit_integer(customer_id: str) -> None:
    prefix, rest = split_id(customer_id)
    assert prefix + rest == customer_id
    if prefix:
        assert str(int(rest)) == rest and int(rest) < 1 << 63


@pytest.mark.parametrize(
    ("customer_id", "rest"),
    [("c-1", "1"), ("customer:77", "77"), ("u0042", "42"), ("7", "7"), ("c-0", "c-0")],
)
def test_ids_that_end_in_a_number_are_listed_by_it(customer_id: str, rest: str) -> None:
    assert split_id(customer_id)[1] == rest
