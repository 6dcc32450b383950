"""What events put into a customer's document is bounded."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, SECOND
from decision.core.document import EventHistory
from decision.core.events import LARGEST_KEPT, MOST_EXACT, Measure, count_within, record, sum_within

NOW = 1_795_000_000_000_000


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (7, True),
        (False, True),
        ("x" * (LARGEST_KEPT - 2), True),
        ("x" * (LARGEST_KEPT - 1), False),
        (["茶" * LARGEST_KEPT], False),
        ({"a": "x" * 900_000}, False),
    ],
)
def test_a_property_that_is_too_large_is_not_remembered(value: Any, kept: bool) -> None:
    history = EventHistory()
    record(history, Measure(last=("text",)), NOW, {"text": value}, NOW, UTC)
    assert history.last == ({"text": value} if kept else {})


def test_however_many_events_there_are_the_document_is_bounded_and_counts_them_all() -> None:
    history, kept = EventHistory(), Measure(window=7 * DAY, sums=("amount",))
    for number in range(3_000):
        at = NOW - (3_000 - number) * 50 * SECOND
        record(history, kept, at, {"amount": 2}, at, UTC)
        assert len(history.buckets) <= MOST_EXACT + 600
    assert count_within(history, 7 * DAY, NOW) == 3_000
    assert sum_within(history, "amount", 7 * DAY, NOW) == 6_000
    assert count_within(history, HOUR, NOW) == HOUR // (50 * SECOND) - 1
    assert abs(count_within(history, DAY, NOW) - DAY // (50 * SECOND)) <= 6
