"""What becomes of a customer's timer: near, far in a bucket, or left to one that stands already."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import DAY, HOUR
from decision.core.document import Document
from decision.core.journeys.state import JourneyState
from decision.core.timers import NEAR, bucket_begins, bucket_of, set_wake

NOW = 1_795_000_000_123_456
AHEAD = st.integers(-DAY, 900 * DAY)


@given(st.lists(st.tuples(AHEAD, AHEAD | st.none()), min_size=1, max_size=30))
def test_there_is_always_an_entry_that_comes_in_time(changes: list[tuple[int, int | None]]) -> None:
    """Whatever was set before: in the bucket named, or one that stands there, and begins by then."""
    document, entries = Document(customer_id="c-1"), set()
    for passed, ahead in changes:
        now = NOW + passed
        at = None if ahead is None else now + ahead
        wake = set_wake(document, at, now)
        state = document.journeys or JourneyState()
        assert wake.at == at
        assert len(state.armed) <= 8
        assert all(bucket_begins(one) > now + NEAR for one in state.armed)
        if wake.bucket is None:
            assert not wake.stands
            # Far ones are near only where there would be too many entries.
            assert at is None or at < now + NEAR + 7 * DAY or len(state.armed) == 8
            continue
        assert at is not None
        assert now + NEAR < bucket_begins(wake.bucket) <= at
        assert not wake.stands or wake.bucket in entries
        entries.add(wake.bucket)
        assert wake.bucket in state.armed and {*state.armed} <= entries


@given(AHEAD)
def test_a_bucket_begins_by_its_times_and_no_longer_before_than_a_week(ahead: int) -> None:
    at = NOW + ahead
    begins = bucket_begins(bucket_of(at, NOW))
    assert begins <= at < begins + 7 * DAY
    if ahead <= 7 * DAY:
        assert at < begins + HOUR


def test_a_document_without_journeys_has_no_state_for_a_near_timer() -> None:
    document = Document(customer_id="c-1")
    set_wake(document, NOW + HOUR, NOW)
    assert document.journeys is None
    set_wake(document, NOW + DAY, NOW)
    assert document.journeys and len(document.journeys.armed) == 1
    set_wake(document, None, NOW + 2 * DAY)
    assert document.journeys is None
