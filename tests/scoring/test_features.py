"""Features: what serves is what trains, to the bit; what is missing or unknown is NaN."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.candidates import CandidateInfo
from decision.core.clock import DAY, HOUR
from decision.core.document import Contact, ContactState, Document
from decision.core.fields import FieldTable
from decision.core.values import MISSING
from decision.scoring.features import (
    Feature,
    FeatureEncoder,
    UnknownFeature,
    can_be_missing,
    check_feature,
    encode_columns,
    fields_of,
    learn_categories,
    number_of,
    varies,
)
from tests.scoring.build import CANDIDATES, KINDS, NOW, contact, document

FEATURES = [
    Feature("message.tag.coupon", "numeric"),
    Feature("customer.country", "categorical"),
    Feature("customer.score", "numeric"),
    Feature("message.name", "categorical"),
    Feature("message.channel", "categorical"),
    Feature("message.category", "categorical"),
    Feature("message.purpose", "categorical"),
    Feature("message.value", "numeric"),
    Feature("message.count_7d", "numeric"),
    Feature("message.days_since", "numeric"),
    Feature("contacts.count_48h", "numeric"),
]
CATEGORIES: dict[str, list[Any]] = {
    "customer.country": ["中国", "5", 5, True, 1.5],
    "message.name": ["news", "生日"],
    "message.channel": ["email", "push"],
    "message.category": ["内容", "loyalty", "retention"],
    "message.purpose": ["marketing"],
}

values = (
    st.just(MISSING)
    | st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["中国", "5", "", "true", "\ud800"])
    | st.lists(st.integers(), max_size=2)
)
contacts = st.lists(
    st.builds(
        Contact,
        kind=st.integers(0, len(KINDS) - 1),
        at=st.integers(NOW - 10 * DAY, NOW + HOUR),
        state=st.sampled_from(list(ContactState)),
        mark=st.integers(0, 10 * DAY // 1_000_000),
        tag=st.just(0),
    ),
    max_size=12,
)


def encoder(
    features: list[Feature] = FEATURES, candidates: list[CandidateInfo] = CANDIDATES
) -> tuple[FeatureEncoder, FieldTable]:
    fields = FieldTable(fields_of(features))
    return FeatureEncoder(features, CATEGORIES, candidates, fields.slot), fields


@given(values, values, contacts, st.lists(st.integers(0, 5), max_size=8))
def test_serving_and_training_give_the_same_matrix(
    country: Any, score: Any, made: list[Contact], asked: list[int]
) -> None:
    """Logged features, encoded as for training, are bit for bit what was scored."""
    found, fields = encoder()
    slots = [MISSING] * len(fields.names())
    slots[fields.slot("customer.country")] = country
    slots[fields.slot("customer.score")] = score
    customer = document(made)
    served = found.encode(asked, slots, customer, NOW)
    rows = [found.features(index, slots, customer, NOW) for index in asked]
    columns = {f.name: [row.get(f.name, MISSING) for row in rows] for f in FEATURES}
    assert served.shape == (len(asked), len(FEATURES))
    assert served.dtype == np.float64 and served.flags.c_contiguous
    assert served.tobytes() == encode_columns(FEATURES, CATEGORIES, columns).tobytes()


def test_a_measure_of_a_date_is_a_feature_like_any_field() -> None:
    feature = Feature("customer.renewal.days_until", "numeric")
    check_feature(feature)
    assert fields_of([feature]) == [feature.name]
    assert can_be_missing(feature)


def test_the_order_of_features_changes_nothing_but_the_order() -> None:
    """With the fields first the encoder takes a shorter way; the numbers are the same."""
    ordered = sorted(FEATURES, key=varies)
    assert [f.name for f in ordered[:3]] == [
        "customer.country",
        "customer.score",
        "contacts.count_48h",
    ]
    one, fields = encoder()
    other, other_fields = encoder(ordered)
    assert fields.names() == other_fields.names()
    customer = document([contact(0, HOUR), contact(4, DAY)])
    slots = ["中国", 7]
    matrix = one.encode(range(6), slots, customer, NOW)
    places = [one.names.index(name) for name in other.names]
    assert np.array_equal(
        matrix[:, places], other.encode(range(6), slots, customer, NOW), equal_nan=True
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        (False, 0.0),
        ("3", math.nan),
        (MISSING, math.nan),
        (None, math.nan),
        ([3], math.nan),
        (math.inf, math.nan),
        (10**400, math.nan),
    ],
)
def test_a_numeric_feature_takes_numbers_and_truth(value: Any, expected: float) -> None:
    assert number_of(value) == pytest.approx(expected, nan_ok=True)


def test_categories_of_different_types_are_distinct() -> None:
    column = ["中国", "5", 5, 5.0, True, 1, 1.5, "unseen", MISSING, [5]]
    found = encode_columns([FEATURES[1]], CATEGORIES, {"customer.country": column})[:, 0]
    nan = math.nan
    assert found.tolist() == pytest.approx([0, 1, 2, 2, 3, nan, 4, nan, nan, nan], nan_ok=True)


def test_learned_categories_are_the_most_frequent_first_and_repeat() -> None:
    column = ["乙", "甲", "甲", True, 1, 1, 1, MISSING, None, math.nan, "\ud800", [1]]
    feature = Feature("customer.x", "categorical")
    found = learn_categories([feature, FEATURES[2]], {"customer.x": column})
    assert found == {"customer.x": (1, "甲", "乙", True)}
    assert [type(value) for value in found["customer.x"]] == [int, str, str, bool]
    shuffled = learn_categories([feature], {"customer.x": column[::-1]})
    assert shuffled == found


def test_numpy_columns_are_encoded_as_lists_are() -> None:
    amounts = np.array([1.0, math.nan, 3.0])
    texts = np.array(["a", "b", "a"], dtype=object)
    features = [Feature("customer.n", "numeric"), Feature("customer.t", "categorical")]
    columns = {"customer.n": amounts, "customer.t": texts}
    categories = learn_categories(features, columns)
    lists = {"customer.n": [1, MISSING, 3], "customer.t": ["a", "b", "a"]}
    assert categories == {"customer.t": ("a", "b")}
    assert np.array_equal(
        encode_columns(features, categories, columns),
        encode_columns(features, categories, lists),
        equal_nan=True,
    )


def test_contacts_count_as_they_do_for_caps() -> None:
    """Released and expired reservations do not count; a window excludes what is exactly as old."""
    found, fields = encoder()
    made = [
        contact(0, 7 * DAY),  # exactly 7 days old: out of the window, but the last contact
        contact(1, 3 * DAY),  # the same message on another channel
        contact(0, DAY, ContactState.RELEASED),
        contact(2, HOUR, ContactState.RESERVED_THEN_RELEASE, mark=3_600),  # expires now
        contact(2, HOUR, ContactState.RESERVED_THEN_RELEASE, mark=3_601),
        contact(6, HOUR, ContactState.RESERVED_THEN_COUNT),  # of no candidate
    ]
    slots = [MISSING] * len(fields.names())
    customer = document(made)
    of = {
        (info.message, info.channel): found.features(index, slots, customer, NOW)
        for index, info in enumerate(CANDIDATES)
    }
    assert of["winback", "push"]["message.count_7d"] == 1
    assert of["winback", "email"]["message.days_since"] == 3
    assert of["news", "email"]["message.count_7d"] == 1
    assert of["news", "push"]["message.days_since"] == 0
    assert of["生日", "push"]["message.count_7d"] == 0
    assert "message.days_since" not in of["生日", "push"]
    assert {row["contacts.count_48h"] for row in of.values()} == {2}


def test_tags_purpose_and_value_come_from_the_candidate() -> None:
    found, fields = encoder()
    slots = [MISSING] * len(fields.names())
    row = found.features(4, slots, document(), NOW)
    assert row == {
        "message.tag.coupon": 1,
        "message.name": "生日",
        "message.channel": "push",
        "message.category": "loyalty",
        "message.purpose": "marketing",
        "message.value": 8.0,
        "message.count_7d": 0,
        "contacts.count_48h": 0,
    }
    assert found.features(2, slots, document(), NOW)["message.tag.coupon"] == 0


def test_two_thousand_candidates_have_a_row_each() -> None:
    many = [
        CandidateInfo(f"消息-{number}", channel, "c", "marketing", (), float(number))
        for number in range(1_000)
        for channel in ("push", "email")
    ]
    features = [Feature("message.value", "numeric"), Feature("message.count_7d", "numeric")]
    found, _ = encoder(features, many)
    customer = Document(
        customer_id="c",
        contacts=[contact(0, HOUR)],
        kinds=[KINDS[0]._replace(message="消息-999")],
    )
    matrix = found.encode(range(2_000), [], customer, NOW)
    assert matrix[:, 0].tolist() == [float(number // 2) for number in range(2_000)]
    assert matrix[:, 1].nonzero()[0].tolist() == [1_998, 1_999]


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("message.nam", "categorical", "did you mean message.name"),
        ("custmer.age", "numeric", "did you mean customer"),
        ("message.tag.", "numeric", "not a feature of a message"),
        ("message.count_7", "numeric", "write it as 30s, 15m, 48h or 7d"),
        ("message.count_91d", "numeric", "90d at most"),
        ("events.x.count_91d", "numeric", "90d at most"),
        ("message.name", "numeric", "must be categorical"),
        ("message.value", "categorical", "must be numeric"),
        ("time.weekday", "numeric", "must be categorical"),
        ("time.minute", "numeric", "time.hour"),
    ],
)
def test_a_feature_that_cannot_be_is_refused_with_the_nearest(
    name: str, kind: Any, says: str
) -> None:
    with pytest.raises(UnknownFeature, match=says):
        check_feature(Feature(name, kind))
