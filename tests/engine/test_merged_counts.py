"""What is counted of events by channel survives a merge as if one customer had done it all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core import events
from decision.core.clock import DAY, HOUR, MINUTE, from_micros
from decision.core.document import EventHistory
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine
from tests.core.small import NOON
from tests.engine.conftest import Clock

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
RULES = """
settings: {timezone: UTC, exploration: "off"}
purposes: {service: {consent: not_required}}
channels: {push: {}, sms: {}, email: {}}
placements: {pushes: {channels: [push]}, texts: {channels: [sms]}, mails: {channels: [email]}}
messages:
  hello:
    purpose: service
    channels: [push, sms, email]
    value: 1
    content:
      body: "{{ events.message.clicked.count_7d.push }} {{ events.message.clicked.count_7d.sms }}
        {{ events.message.clicked.count_7d.email }} {{ events.message.clicked.count_7d }}
        {{ events.message.clicked.last_channel }}"
"""
PLACES = {"push": "pushes", "sms": "texts", "email": "mails"}


async def click(engine: Engine, customer_id: str, channel: str) -> None:
    """A decision, and a click on it that does not say the channel."""
    request = DecisionRequest(placement=PLACES[channel], customer_id=customer_id)
    decision = await engine.decide(request)
    event = Event(type="message.clicked", customer_id=customer_id, decision_id=decision.decision_id)
    assert (await engine.events.record([event])).accepted == 1


async def told(engine: Engine, customer_id: str) -> list[str]:
    request = DecisionRequest(placement="mails", customer_id=customer_id, dry_run=True)
    found: str = (await engine.decide(request)).selections[0].content["body"]
    return found.split()


@pytest.mark.parametrize("into", ["mei", "anon"])
async def test_counts_by_channel_are_added_up_and_the_later_channel_is_the_last(
    make_engine: Make, store: Any, clock: Clock, into: str
) -> None:
    engine = await make_engine(RULES, store)
    for number, (who, channel) in enumerate(
        [("mei", "push"), ("anon", "sms"), ("mei", "push"), ("anon", "email"), ("anon", "sms")]
    ):
        clock.now = NOON + number * MINUTE
        await click(engine, who, channel)
    assert await told(engine, "mei") == ["2", "0", "0", "2", "push"]
    assert await told(engine, "anon") == ["0", "2", "1", "3", "sms"]
    gone = {"mei": "anon", "anon": "mei"}[into]
    await engine.customers.merge(into, gone)
    for who in (into, gone):
        assert await told(engine, who) == ["2", "2", "1", "5", "sms"]
    clock.now += HOUR
    await click(engine, gone, "push")
    assert await told(engine, into) == ["3", "2", "1", "6", "push"]
    await engine.customers.merge(into, gone)
    assert await told(engine, into) == ["3", "2", "1", "6", "push"]
    await engine.customers.update("new", CustomerUpdate(attributes={"a": 1}))
    await engine.customers.merge("new", into)
    assert await told(engine, "new") == ["3", "2", "1", "6", "push"]


CHANNELS = st.sampled_from(["push", "sms", "email", None])
HAPPENED = st.lists(st.tuples(st.integers(0, 20 * 24 * 60), CHANNELS), max_size=12)
WINDOWS = (HOUR, 2 * DAY, 7 * DAY, 30 * DAY)


@settings(max_examples=200, deadline=None)
@given(HAPPENED, HAPPENED, st.sets(st.sampled_from(["push", "sms", "email"])), st.booleans())
def test_united_histories_count_as_one_that_was_told_everything(
    own: list[Any], others: list[Any], added_later: set[str], before: bool
) -> None:
    """Also where the other one was kept while fewer channels were counted."""
    now = NOON + 21 * DAY
    full = measure({"push", "sms", "email"})
    fewer = measure({"push", "sms", "email"} - added_later)
    one, other = history(own, full), history(others, fewer)
    into, gone = (one, other) if before else (other, one)
    events.merge_histories(into, gone)
    assert into.total == len(own) + len(others)
    known = [(at, name) for at, name in others if name not in added_later]
    for window in WINDOWS:
        assert events.count_within(into, window, now) == counted(own + others, window, now)
        for channel in ("push", "sms", "email"):
            expected = [one for one in own + known if one[1] == channel]
            found = events.sum_within(into, events.channel_sum(channel), window, now)
            assert found == counted(expected, window, now)
    events.record(into, full, now, events.on_channel({}, "push"), now, from_micros(0).tzinfo)
    assert events.sum_within(into, "channel.push", HOUR, now) >= 1
    assert tuple(into.sums) == full.sums


def measure(channels: set[str]) -> events.Measure:
    sums = tuple(sorted(events.channel_sum(one) for one in channels))
    return events.Measure(window=30 * DAY, sums=sums, last=("channel",))


def history(happened: list[Any], kept: events.Measure) -> EventHistory:
    found, zone = EventHistory(last={}, buckets=[], days=[]), from_micros(0).tzinfo
    for minutes, channel in sorted(happened, key=lambda one: one[0]):
        at = NOON + minutes * MINUTE
        events.record(found, kept, at, events.on_channel({}, channel), at, zone)
    return found


def counted(happened: list[Any], window: int, now: int) -> int:
    """The events in a window, which reaches to the start of an hour beyond two days."""
    since = now - window
    if window > 2 * DAY:
        since = since // HOUR * HOUR - 1
    return sum(1 for minutes, _ in happened if NOON + minutes * MINUTE > since)
