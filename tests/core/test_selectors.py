"""The index of selectors agrees with asking each candidate."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from decision.core.candidates import CandidateInfo
from decision.core.definition import Selector
from decision.core.masks import (
    among,
    indices,
    mask_bytes,
    mask_from_bytes,
    mask_of,
    mask_of_array,
    mask_where,
    positions,
)
from decision.core.selectors import SelectorIndex, matches

NAMES = st.sampled_from(["a", "ab", "b", "[a]", "优惠", ""])
GLOBS = st.sampled_from(["a", "a*", "?", "[ab]", "*", "[a]", "[[]a]", "优*", "none", ""])
CANDIDATES = st.lists(
    st.builds(
        CandidateInfo,
        message=NAMES,
        channel=NAMES,
        category=NAMES,
        purpose=NAMES,
        tags=st.lists(NAMES, max_size=3).map(tuple),
        value=st.just(1.0),
    ),
    max_size=20,
)


def some(names: st.SearchStrategy[str]) -> Any:
    return st.none() | st.lists(names, max_size=3).map(tuple)


SELECTORS = st.builds(
    Selector,
    messages=some(GLOBS),
    tags=some(NAMES),
    category=some(NAMES),
    purpose=some(NAMES),
    channel=some(NAMES),
)


@given(CANDIDATES, SELECTORS)
def test_the_index_finds_what_matches(candidates: list[CandidateInfo], selector: Selector) -> None:
    exact = msgspec.structs.replace(selector, messages=None)
    expected = mask_where(
        matches(exact, each)
        and (
            selector.messages is None
            or any(fnmatchcase(each.message, glob) for glob in selector.messages)
        )
        for each in candidates
    )
    assert SelectorIndex(candidates).mask(selector) == expected


@given(st.lists(st.booleans(), max_size=70))
def test_every_form_of_a_mask_says_the_same(flags: list[bool]) -> None:
    mask = mask_where(flags)
    expected = [index for index, flag in enumerate(flags) if flag]
    assert indices(mask) == positions(mask).tolist() == expected
    assert mask_of(expected) == mask_from_bytes(mask_bytes(mask)) == mask
    assert mask_of_array(positions(mask)) == mask


@given(st.integers(0, 1 << 70), st.integers(0, 1 << 70))
def test_the_places_among_some_indices_are_those_of_the_ones_in_the_mask(
    some: int, mask: int
) -> None:
    expected = [place for place, index in enumerate(indices(some)) if mask >> index & 1]
    assert among(positions(some), mask).tolist() == expected
