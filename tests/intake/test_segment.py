"""Segment's calls as events: their times, ids and traits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.errors import InputError
from decision.core.schema import Alias, Event
from decision.intake.segment import Merge, Profile, SegmentOptions, action_of

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
OPTIONS = SegmentOptions(
    traits={"plan": "plan", "address.city": "city", "a.b": "ab", "address": "address"}, merges=True
)


def done(**fields: Any) -> Any:
    call = {"type": "track", "event": "x", "userId": "c-1", **fields}
    return action_of(json.dumps(call).encode(), OPTIONS, NOW, sent_at=call.pop("batch_sent", None))


def event(**fields: Any) -> Event:
    found = done(**fields)
    assert isinstance(found, Event)
    return found


seconds = st.floats(0, 30 * 86_400).map(lambda one: timedelta(seconds=round(one, 3)))
skews = st.floats(-10 * 365 * 86_400, 10 * 365 * 86_400).map(
    lambda one: timedelta(seconds=round(one, 3))
)


@given(skew=skews, ago=seconds, travelled=seconds, zone=st.sampled_from(["Z", "+00:00", ""]))
def test_an_event_happened_as_long_ago_as_its_client_says_whatever_its_clock(
    skew: timedelta, ago: timedelta, travelled: timedelta, zone: str
) -> None:
    """So it is never in the future; what a request took to arrive counts as later, as by Segment."""
    theirs = NOW + skew - travelled

    def text(moment: datetime) -> str:
        return moment.isoformat().removesuffix("+00:00") + zone

    for name in ("timestamp", "originalTimestamp"):
        found = event(**{name: text(theirs - ago), "sentAt": text(theirs)}).at
        assert found == NOW - ago


@given(first=seconds, second=seconds, skew=skews)
def test_events_keep_the_order_of_their_clients_clock(
    first: timedelta, second: timedelta, skew: timedelta
) -> None:
    theirs = NOW + skew
    one, other = (
        event(timestamp=(theirs - ago).isoformat(), batch_sent=theirs.isoformat()).at
        for ago in (first, second)
    )
    assert one is not None and other is not None
    assert (one < other) == (first > second)


@pytest.mark.parametrize("sent", [None, "", "yesterday", 7, [], "0001-01-01T00:00:00+14:00"])
def test_without_a_readable_time_of_sending_the_time_is_as_it_was_sent(sent: Any) -> None:
    assert event(timestamp="2026-11-20T08:00:00Z", sentAt=sent).at == datetime(
        2026, 11, 20, 8, tzinfo=UTC
    )


@pytest.mark.parametrize("given", [None, ""])
def test_without_a_time_an_event_happened_when_it_arrived(given: Any) -> None:
    assert event(timestamp=given, sentAt="2020-01-01T00:00:00Z").at == NOW


@pytest.mark.parametrize("wrong", ["yesterday", 7, ["x"], "0001-01-01T00:00:00+14:00"])
def test_a_time_that_cannot_be_read_rejects_the_event(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"timestamp: .* is no time"):
        done(timestamp=wrong)


def test_what_the_application_says_goes_before_when_the_client_noted_it() -> None:
    """RudderStack's clients send both where a past is imported."""
    sent = {"sentAt": NOW.isoformat(), "originalTimestamp": NOW.isoformat()}
    past = "2026-11-02T00:00:00Z"
    assert event(timestamp=past, **sent).at == datetime(2026, 11, 2, tzinfo=UTC)


def test_a_call_that_was_passed_on_was_put_right_before() -> None:
    """Its `sentAt` is of the client, long before it arrived here."""
    times = {
        "originalTimestamp": "2026-11-21T08:59:00Z",
        "sentAt": "2026-11-21T08:59:30Z",
        "receivedAt": "2026-11-21T09:30:30Z",
        "timestamp": "2026-11-21T09:30:00Z",
    }
    assert event(**times).at == datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "text"), [(7, "7"), (2**53, str(2**53)), (7.0, "7"), ("007", "007"), (0, "0")]
)
def test_whole_numbers_are_ids_as_they_are_written(given: Any, text: str) -> None:
    assert event(userId=given).customer_id == text
    assert event(userId=None, anonymousId=given).alias == Alias("anonymous_id", text)
    assert event(messageId=given).id == text


@pytest.mark.parametrize("wrong", [7.5, 2.0**53, True, False, [], {}, ["c-1"]])
def test_what_is_no_id_rejects_the_event(wrong: Any) -> None:
    for name in ("userId", "anonymousId", "messageId"):
        with pytest.raises(InputError, match=name):
            done(**{name: wrong})


@pytest.mark.parametrize("nobody", ["", None])
def test_an_empty_user_id_is_none(nobody: Any) -> None:
    found = event(userId=nobody, anonymousId="a-1", integrations={"All": False}, context=None)
    assert (found.customer_id, found.alias) == (None, Alias("anonymous_id", "a-1"))
    with pytest.raises(InputError, match="give userId or anonymousId"):
        done(userId=nobody, anonymousId=nobody)


def test_traits_inside_of_others_have_names_with_dots() -> None:
    traits = {"plan": None, "address": {"city": "Köln", "zip": 7}, "a.b": 1, "a": {"b": 2}, "x": 3}
    for place in ({"traits": traits}, {"context": {"traits": traits}}):
        found = done(type="identify", **place)
        assert isinstance(found, Profile)
        attributes = found.update.attributes
        assert attributes["plan"] is None  # which deletes it
        assert (attributes["city"], attributes["ab"]) == ("Köln", 1)
        assert "x" not in attributes
    assert done(type="identify", traits={"address": None}).update.attributes == {"address": None}
    assert done(type="identify", traits=None) is None
    assert done(type="identify", traits={"address": {"zip": 1}}).update.attributes.keys() == {
        "address"
    }
    with pytest.raises(InputError, match="traits"):
        done(type="identify", traits=["pro"])


def test_somebody_is_not_merged_into_themselves() -> None:
    assert done(type="alias", previousId="c-1") is None
    assert done(type="alias", previousId="a-1") == Merge("c-1", "a-1")


@pytest.mark.parametrize(
    ("name", "value"), [("event", "x" * 300), ("messageId", "x" * 300), ("userId", "x" * 300)]
)
def test_what_is_wrong_is_named_as_the_client_named_it(name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"^{name}: "):
        done(**{name: value})
