"""Counts that are read from a document's columns of events are those of its histories."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from decision.archive.replays import document_json
from decision.core.clock import DAY, HOUR, SECOND
from decision.core.document import Document, EventHistory
from decision.core.event_columns import EventColumns, count
from decision.core.events import Measure, count_within, record
from decision.core.values import Value
from decision.engine.exporting import document_fields
from tests.store.test_codec import round_trip

WINDOWS = [SECOND, HOUR, 2 * DAY, 7 * DAY]
TYPES = ["buy", "cart", "view", "never"]
NOW = 1_800_000_000 * SECOND
ages = st.integers(-2 * SECOND, 3 * SECOND) | st.integers(0, 9 * DAY)


@st.composite
def histories(draw: st.DrawFn) -> EventHistory:
    """A history as events make it, some of them dated by a clock that is ahead, and as it may be."""
    made = EventHistory(last={}, buckets=[], days=[])
    measure = Measure(
        window=draw(st.sampled_from([0, 7 * DAY])), sums=draw(st.sampled_from([(), ("n",)]))
    )
    for age in sorted(draw(st.lists(ages, max_size=4)), reverse=True):
        record(made, measure, NOW - age, {"n": 2}, NOW - age, None)  # type: ignore[arg-type]
    if made.buckets and draw(st.booleans()):
        made.last_at += (
            DAY  # the latest event is in no bucket: it came while no window was in force
        )
    return made


def counts(document: Document, now: int) -> list[Value]:
    places = range(len(WINDOWS))
    slots = {
        kind: [(number * len(WINDOWS) + place, place) for place in places]
        for number, kind in enumerate(TYPES)
    }
    values: list[Value] = [0] * (len(TYPES) * len(WINDOWS))
    count(document.events, slots, WINDOWS, now, values)
    return values


def test_a_document_that_was_read_is_written_out_as_any_other() -> None:
    """Nobody who writes one out takes its histories for nothing, as they are no plain dictionary."""
    events = {"buy": EventHistory(5, 7 * SECOND, {}, [[6, 4], [7, 1]])}
    document = Document(customer_id="c-1", exists=True, events=events)
    again = round_trip(document)
    assert type(again.events) is EventColumns
    assert document_json(again) == document_json(document)
    assert document_fields(round_trip(document)) == document_fields(document)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(TYPES[:3]), histories()), ages)
def test_counts_are_the_same_from_columns_and_from_histories(
    events: dict[str, EventHistory], age: int
) -> None:
    document = Document(customer_id="c-1", events=events)
    now = NOW - age
    expected = [count_within(events.get(kind), window, now) for kind in TYPES for window in WINDOWS]
    assert counts(document, now) == expected
    again = round_trip(document)
    assert counts(again, now) == expected
    assert again.events == events
    assert counts(again, now) == expected
    again.events["never"] = EventHistory(1, now, {}, [[now // SECOND, 1]])
    assert counts(again, now) == [*expected[: -len(WINDOWS)], *([1] * len(WINDOWS))]
