"""Variants have the buckets that customers of these variants fall into."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.bucketing import BUCKETS
from decision.core.definition import Experiment
from decision.core.policy import variant_at
from decision.rulebook.review.fields import buckets_of


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_each_bucket_has_the_variant_of_its_customers(shares: list[float]) -> None:
    """Also where shares are smaller than a bucket, or do not make up the whole."""
    variants = {f"v{number}": share for number, share in enumerate(shares)}
    experiment = Experiment(name="one", variants=variants, seed="s")
    masks = buckets_of(experiment)
    assert sum(mask.bit_count() for mask in masks.values()) == BUCKETS
    for place in range(BUCKETS):
        assert masks[variant_at(experiment, place / BUCKETS)] >> place & 1
