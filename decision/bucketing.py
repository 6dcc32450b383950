"""GrowthBook's hash versions 1 and 2, and buckets made of them: see `decision.core.bucketing`."""

from decision.core.bucketing import (
    Range,
    bucket,
    choose_variation,
    fnv1a32,
    get_bucket_ranges,
    get_equal_weights,
    hash_v1,
    hash_v2,
    in_namespace,
)

__all__ = [
    "Range",
    "bucket",
    "choose_variation",
    "fnv1a32",
    "get_bucket_ranges",
    "get_equal_weights",
    "hash_v1",
    "hash_v2",
    "in_namespace",
]
