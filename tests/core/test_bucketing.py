"""Buckets agree with GrowthBook's own test vectors, and never move."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision import bucketing
from decision.bucketing import (
    bucket,
    choose_variation,
    fnv1a32,
    get_bucket_ranges,
    get_equal_weights,
    hash_v1,
    hash_v2,
    in_namespace,
)
from tests.data import needed


def cases(kind: str) -> list[Any]:
    text = needed("growthbook/cases.json").read_text(encoding="utf-8")
    found: list[Any] = json.loads(text)[kind]
    return found


def test_hash_agrees_with_growthbook() -> None:
    rows = cases("hash")
    assert len(rows) == 15
    for seed, value, version, expected in rows:
        assert bucket(seed, value, version) == expected, (seed, value, version)


def test_bucket_ranges_agree_with_growthbook() -> None:
    rows = cases("getBucketRange")
    assert len(rows) == 13
    for name, (count, coverage, weights), expected in rows:
        found = get_bucket_ranges(count, coverage, weights)
        assert [list(pair) for pair in found] == [pytest.approx(pair) for pair in expected], name


def test_choose_variation_agrees_with_growthbook() -> None:
    rows = cases("chooseVariation")
    assert len(rows) == 13
    for name, number, ranges, expected in rows:
        assert choose_variation(number, ranges) == expected, name


def test_in_namespace_agrees_with_growthbook() -> None:
    rows = cases("inNamespace")
    assert len(rows) == 16
    for name, value, namespace, expected in rows:
        assert in_namespace(value, tuple(namespace)) is expected, name


def test_equal_weights_agree_with_growthbook() -> None:
    for count, expected in cases("getEqualWeights"):
        assert get_equal_weights(count) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", 0x811C9DC5), ("a", 0xE40C292C), ("foobar", 0xBF9CF968)],
)
def test_fnv1a32_gives_the_published_vectors(text: str, expected: int) -> None:
    assert fnv1a32(text) == expected


def test_pinned_values_so_that_buckets_never_move() -> None:
    """Changing any of these moves customers between the arms of running experiments."""
    assert hash_v1("", "a") == 0.22
    assert hash_v1("b", "a") == 0.946
    assert hash_v2("seed", "a") == 0.0505
    assert hash_v2("foo", "ab") == 0.2575
    assert hash_v2("hold-2026", "c-1024") == 0.5715
    assert hash_v2("实验", "顾客-7") == 0.4736
    assert hash_v2("copy-1", "😀") == 0.5024
    assert in_namespace("3", ("namespace2", 0, 0.4))
    assert not in_namespace("2", ("namespace2", 0, 0.4))


def test_a_text_hashes_by_utf16_units_as_javascript_sees_it() -> None:
    assert fnv1a32("😀") == fnv1a32("\ud83d\ude00")


def test_an_unknown_version_has_no_bucket() -> None:
    assert bucket("abc", "def", 99) is None


def test_nobody_is_chosen_without_variations() -> None:
    assert get_bucket_ranges(0) == []
    assert choose_variation(0.3, []) == -1


@given(st.text(), st.text())
def test_a_hash_is_in_range_and_repeats(seed: str, value: str) -> None:
    for version in (1, 2):
        found = bucket(seed, value, version)
        assert found is not None and 0 <= found < 1
        assert bucket(seed, value, version) == found


@given(st.floats(0, 0.9999), st.floats(0, 1), st.floats(0, 1))
def test_a_growing_share_never_moves_anyone_already_in(
    number: float, one: float, other: float
) -> None:
    small, large = sorted((one, other))
    before = choose_variation(number, get_bucket_ranges(3, small))
    after = choose_variation(number, get_bucket_ranges(3, large))
    assert before in (-1, after)


def test_shares_of_many_customers_come_near_the_weights() -> None:
    ranges = get_bucket_ranges(3, 1.0, [0.2, 0.3, 0.5])
    counts = [0, 0, 0]
    for index in range(20_000):
        counts[choose_variation(hash_v2("share", f"customer-{index}"), ranges)] += 1
    assert [count / 20_000 for count in counts] == pytest.approx([0.2, 0.3, 0.5], abs=0.015)


def test_the_public_module_gives_the_core_functions() -> None:
    for name in bucketing.__all__:
        assert hasattr(bucketing, name)
