"""What a message is: an event, several, or a CloudEvent; each with an id that stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decision.core.clock import SECOND, from_micros
from decision.core.schema import Alias, CustomerUpdate, Event
from decision.intake.kafka import Incoming, Refused, actions_of
from decision.intake.rejected import about
from decision.intake.segment import Merge, Profile, SegmentOptions

NOW = 1_795_000_000 * SECOND
SEGMENT = SegmentOptions({"plan": "plan"}, {"Order Completed": "purchase"}, True)
TRACK = {
    "type": "track", "event": "Order Completed", "userId": "c-1", "messageId": "m-1",
    "originalTimestamp": "2026-11-01T10:00:00Z", "sentAt": "2026-11-01T10:00:05Z",
    "timestamp": "2026-11-01T09:00:00Z", "properties": {"revenue": 80},
}  # fmt: skip
OWN = {"customer_id": "c-1", "type": "purchase", "properties": {"amount": 80}}
CLOUD = {
    "specversion": "1.0", "type": "purchase", "source": "/shop", "id": "7", "subject": "c-1",
    "data": {"amount": 80},
}  # fmt: skip


class Message(NamedTuple):
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    topic: str = "shop"
    partition: int = 3
    offset: int = 14
    timestamp: int = NOW // 1000 - 5000


def found(value: Any, *headers: tuple[str, bytes | None], **given: Any) -> list[Incoming | Refused]:
    body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return actions_of(Message(body, headers, **given), NOW, 1000, SEGMENT)


def event(value: Any, *headers: tuple[str, bytes | None], **given: Any) -> Event:
    [one] = found(value, *headers, **given)
    assert isinstance(one, Incoming) and isinstance(one.action, Event), one
    return one.action


def refused(value: Any, *headers: tuple[str, bytes | None]) -> str:
    [one] = found(value, *headers)
    assert isinstance(one, Refused), one
    assert one.place == "shop/3/14"
    return one.detail


def test_an_event_keeps_its_id_and_time_and_gets_those_of_the_message_where_it_has_none() -> None:
    assert event({**OWN, "id": "e-1"}).id == "e-1"
    assert event({**OWN, "at": "2026-11-21T10:00:00Z"}).at == from_micros(1_795_255_200 * SECOND)
    assert event(OWN) == Event(
        type="purchase", customer_id="c-1", properties={"amount": 80},
        id=f"shop/3/14/{NOW // 1000 - 5000}", at=from_micros(NOW - 5 * SECOND),
    )  # fmt: skip
    assert event(OWN, timestamp=-1).at is None
    assert event(OWN, timestamp=0).at is None
    assert event(OWN, timestamp=NOW).at == from_micros(NOW)


def test_several_events_of_a_message_have_ids_of_their_own_and_a_bad_one_harms_no_other() -> None:
    rows = found({"events": [OWN, 7, {**OWN, "id": "e-2"}, {}]})
    ids = [
        getattr(row.action, "id", None) if isinstance(row, Incoming) else row.detail for row in rows
    ]
    assert ids[0] == f"shop/3/14/{NOW // 1000 - 5000}/0" and ids[2] == "e-2"
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert found({"events": []}) == []
    assert "object" in str(ids[1]) and "type" in str(ids[3])


def test_an_id_that_would_be_too_long_is_shortened_and_stays_one() -> None:
    first, other = (event(OWN, topic="t" * 249, partition=p).id or "" for p in (10**6, 10**6 + 1))
    assert len(first) == len(other) == 32 and first != other


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", b"application/cloudevents+json; charset=UTF-8")],
        [("Content-Type", b"application/cloudevents+json")],
        [],
    ],
)
def test_a_structured_cloud_event_is_recognised(headers: list[Any]) -> None:
    one = event(CLOUD, *headers)
    assert (one.id, one.customer_id, one.properties) == ("/shop 7", "c-1", {"amount": 80})


def test_a_binary_cloud_event_has_its_attributes_in_headers_as_they_are() -> None:
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", str(value).encode()) for name, value in CLOUD.items() if name != "data"
    ]
    headers += [
        ("ce_subject", "客户%20一".encode()),
        ("trace", None),
        ("content-type", b"application/json"),
    ]
    one = event({"amount": 80}, *headers)
    assert (one.id, one.customer_id) == ("/shop 7", "客户%20一")
    assert one.properties == {"amount": 80}
    assert event(b"", *headers).properties == {}
    assert "not JSON" in refused(b"<xml/>", *headers)


def test_a_call_of_segment_is_what_it_is_over_http_with_the_time_that_was_corrected() -> None:
    one = event(TRACK)
    assert (one.type, one.id, one.customer_id) == ("purchase", "m-1", "c-1")
    assert one.at is not None and one.at.isoformat() == "2026-11-01T09:00:00+00:00"
    without = {name: TRACK[name] for name in ("type", "event", "userId")}
    assert event(without).at == from_micros(NOW - 5 * SECOND)
    assert event(without).id == f"shop/3/14/{NOW // 1000 - 5000}"
    anonymous = {**without, "userId": None, "anonymousId": "a-1"}
    assert event(anonymous).alias == Alias("anonymous_id", "a-1")
    traits = {"type": "identify", "userId": "c-1", "traits": {"plan": "gold", "email": "x"}}
    [row] = found(traits)
    assert isinstance(row, Incoming)
    assert row.action == Profile("c-1", None, CustomerUpdate(attributes={"plan": "gold"}))
    [row] = found({"type": "alias", "userId": "c-1", "previousId": "a-1"})
    assert isinstance(row, Incoming) and row.action == Merge("c-1", "a-1")
    assert found({"type": "identify", "userId": "c-1"}) == []
    assert "none of track" in refused({"type": "pageview", "userId": "c-1"})


def test_a_message_without_a_value_deletes_a_key_and_is_no_event() -> None:
    assert found(None) == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "empty"), (b"{", "not JSON"), (b"[]", "object"), (b"5", "object"), (b"\xff", ""),
        (b'"\\ud800"', ""), (b"[" * 100, ""), (b"NaN", "not JSON"),
        ({"type": "purchase"}, ""), ({**OWN, "amount": 5}, "amount"), ({**OWN, "at": "now"}, "at"),
        ({"events": {}}, "events"), ({"events": [], "more": 1}, "more"),
        ({**CLOUD, "specversion": "2.0"}, "specversion"),
        (b'{"customer_id": "' + b"x" * 1000 + b'"}', "bytes, may have 1000"),
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused_with_the_reason(value: Any, words: str) -> None:
    if value == {"type": "purchase"}:  # who it is about is looked at where it is recorded
        assert event(value).customer_id is None
    else:
        assert words in refused(value)


def test_what_is_kept_of_a_refused_event_does_not_name_the_customer() -> None:
    told, names = about(b'{"type": "x", "id": "e", "customer_id": "c-1", "properties": {"a": 1}}')
    assert (told, names) == ({"event": "x", "id": "e"}, ["c-1"])
    assert about(b'{"alias": {"type": "email", "value": "ann@x.org"}, "type": 5}')[1] == [
        "ann@x.org"
    ]
    assert about(json.dumps({**TRACK, "anonymousId": "a-9"}).encode())[0]["id"] == "m-1"
    assert set(about(json.dumps({**TRACK, "anonymousId": "a-9"}).encode())[1]) == {"c-1", "a-9"}
    assert about(b"{") == about(b"[1]") == ({}, [])


@given(
    st.binary(max_size=200) | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.integers(),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["events", "type", "customer_id", "id", "at", "specversion", "data"]),
            inner, max_size=6,
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
    st.lists(st.tuples(st.sampled_from(["content-type", "ce_specversion", "ce_id"]),
                       st.none() | st.binary(max_size=30) | st.just(b"application/cloudevents+json")),
             max_size=3),
)  # fmt: skip
def test_no_message_raises(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    for row in actions_of(Message(value, headers), NOW, 1000, SEGMENT):
        assert isinstance(row, Refused) or not isinstance(row.action, Event) or row.action.id
