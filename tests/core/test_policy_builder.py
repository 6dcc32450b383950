"""A compiled policy never changes; what else is read is another policy with the same slots."""

from __future__ import annotations

import pytest

from decision.core.fields import FieldTable, UnknownField
from decision.core.policy import Policy
from decision.core.policy_builder import compile_policy
from tests.core.small import definition


@pytest.mark.parametrize("name", Policy.__struct_fields__)
def test_nothing_of_a_policy_can_be_assigned(name: str) -> None:
    policy = compile_policy(definition())
    with pytest.raises(AttributeError):
        setattr(policy, name, getattr(policy, name))


def test_the_numbers_of_candidates_cannot_be_written() -> None:
    policy = compile_policy(definition())
    for numbers in (policy.message_values, policy.costs):
        with pytest.raises(ValueError, match="read-only"):
            numbers[0] = 1.0


def test_reading_more_fields_leaves_the_policy_and_its_slots_as_they_are() -> None:
    policy = compile_policy(definition(), reads=["customer.age"])
    more = policy.reading(["events.buy.count_7d", "customer.age"])
    assert policy.fields.names() == ["customer.state", "customer.age"]
    assert more.fields.names() == ["customer.state", "customer.age", "events.buy.count_7d"]
    assert set(more.measures()) == {"buy"} and not policy.measures()
    with pytest.raises(UnknownField):
        policy.reading(["custmer.age"])
    with pytest.raises(KeyError):
        FieldTable(["customer.age"]).slot("customer.name")
