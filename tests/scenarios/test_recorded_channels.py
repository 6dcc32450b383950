"""A history of `message.*` events becomes past events that are about the same channels."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from decision.core import events
from decision.core.clock import DAY, HOUR, SECOND, to_micros
from decision.core.document import Document, EventHistory
from decision.core.events import Measure, channel_sum, on_channel
from decision.scenarios.histories import events_of
from tests.core.small import NOON

CLICK = "message.clicked"
CHANNELS = ["push", "email"]
KEPT = Measure(window=30 * DAY, sums=tuple(sorted(map(channel_sum, CHANNELS))), last=("channel",))


def kept(past: list[tuple[int, str | None]]) -> EventHistory:
    history = EventHistory(last={}, buckets=[], days=[])
    for at, channel in past:
        events.record(history, KEPT, at, on_channel({}, channel), NOON, UTC)
    return history


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.integers(0, 3).map(lambda n: n * SECOND),
                st.integers(0, 20 * 24).map(lambda n: n * HOUR),
            ),
            st.sampled_from(CHANNELS),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_events_made_of_a_history_count_on_the_same_channels(
    sent: list[tuple[int, str]],
) -> None:
    past = sorted((NOON - age, channel) for age, channel in sent)
    document = Document(customer_id="anna", events={CLICK: kept(list(past))})
    made = events_of(document, {CLICK: KEPT}, NOON, UTC, UTC)
    again = kept([(to_micros(at), one.channel) for one in made for at in one.moments()])
    assert again.total == len(sent)
    assert again.last == document.events[CLICK].last
    for channel in CHANNELS:
        for window in (HOUR, DAY, 30 * DAY):
            counts = {
                events.sum_within(history, channel_sum(channel), window, NOON)
                for history in (again, document.events[CLICK])
            }
            assert len(counts) == 1
