"""A field of a customer may be stored by its name or inside of an object: the later one holds."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from decision.core import attributes
from decision.core.document import Document
from decision.core.fields.situation import MISSING, at_path

LEAVES = st.none() | st.booleans() | st.integers(0, 3)
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["segment.vip", "segment.tea", "segment.a.b"]), LEAVES, st.booleans()
    ),
    max_size=8,
)


def written(name: str, value: Any, inside: bool) -> dict[str, Any]:
    """A change of one field: by its name, or as an object that says nothing else."""
    if not inside:
        return {name: value}
    first, *path = name.split(".")
    for part in reversed(path):
        value = {part: value}
    return {first: value}


def customer(changes: list[tuple[int, dict[str, Any]]]) -> Document:
    document = Document(customer_id="c-1")
    for second, change in changes:
        attributes.change(document, change, second)
    return document


@given(WRITES)
def test_a_field_has_what_was_written_last_in_either_way(writes: Any) -> None:
    document = customer([(7, written(*one)) for one in writes])
    assert sum(count for _, count in document.attribute_runs) == len(document.attributes)
    for name, value, _ in writes[-1:]:
        assert at_path(document.attributes, name) == (MISSING if value is None else value)


@given(st.booleans(), st.booleans(), st.booleans())
def test_of_two_merged_customers_the_later_one_holds(
    inside: bool, other_inside: bool, own_later: bool
) -> None:
    own = customer([(2 if own_later else 1, written("segment.vip", "own", inside))])
    other = customer([(1 if own_later else 2, written("segment.vip", "other", other_inside))])
    attributes.merge(own, other)
    assert at_path(own.attributes, "segment.vip") == ("own" if own_later else "other")
    assert sum(count for _, count in own.attribute_runs) == len(own.attributes)


def test_of_one_second_what_the_customer_merged_into_has_stays() -> None:
    own = customer([(1, {"segment": {"vip": "own"}})])
    attributes.merge(own, customer([(1, {"segment.vip": "other"})]))
    assert at_path(own.attributes, "segment.vip") == "own"


def test_an_object_takes_out_no_names_of_which_it_says_nothing() -> None:
    document = customer(
        [(1, {"segment.welcomed": True}), (2, {"segment": {"vip": True}}), (3, {"segment": None})]
    )
    assert document.attributes == {"segment.welcomed": True}
