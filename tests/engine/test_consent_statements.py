"""Consents with time, source and evidence, however they come in."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from decision.core import records
from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros
from decision.core.consent import permits
from decision.core.identifiers import partition_of
from decision.core.schema import ConsentStatement, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, InputError
from decision.engine.loading import CustomerRow, Loading
from tests.core.small import NOON
from tests.engine.conftest import Clock, make_engine
from tests.engine.test_opt_out import RULES

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
CELLS = [("offers", "email"), ("offers", "*"), ("советы", "email"), ("*", "email"), ("*", "*")]

entries = st.tuples(
    st.sampled_from(["put", "load", "event", "event in a file"]),
    st.sampled_from(CELLS),
    st.booleans(),
    st.integers(1, 5),
)


async def tell(engine: Engine, entry: Any, name: str) -> None:
    """A statement by one of the ways in."""
    how, (purpose, channel), granted, second = entry
    at = from_micros(NOON - DAY + second * SECOND)
    state: Any = "granted" if granted else "denied"
    said: Any = {purpose: {channel: ConsentStatement(state=state, at=at, source=how)}}
    if how == "put":
        await engine.customers.set_consents("c-1", said)
    elif how == "load":
        await Loading(engine.runtime).put(CustomerRow(customer_id="c-1", consents=said))
    elif not granted:
        about: Any = {"purpose": purpose, "channel": channel, "source": how}
        if how == "event":
            unsubscribed = "message.unsubscribed"
            event = Event(customer_id="c-1", id=name, type=unsubscribed, at=at, properties=about)
            assert (await engine.events.record([event])).accepted == 1
        else:
            row = {"type": "message.complained", "at": at, "id": name, "properties": about}
            events: Any = {"customer_id": "c-1", "events": [row]}
            await Loading(engine.runtime).put(msgspec.convert(events, CustomerRow))


async def allowed(engine: Engine) -> dict[tuple[str, str], bool]:
    document = (await engine.runtime.store.read("c-1")).document
    policy = engine.snapshot.policy
    return {
        (one.name, channel): permits(one, document.consents, channel)
        for one in policy.purposes.values()
        for channel in policy.channels
    }


BOTH_DENY = [
    ("put", ("offers", "email"), False, 1),
    ("load", ("offers", "email"), True, 2),
    ("load", ("offers", "*"), False, 2),
    ("event", ("offers", "*"), False, 2),
]
"""Two sources deny in general, and one of them grants by name, all in one second."""


@settings(max_examples=40, deadline=None)
@example(BOTH_DENY, random.Random(3))
@given(st.lists(entries, max_size=6), st.randoms(use_true_random=False))
def test_any_order_of_what_comes_in_by_any_way_gives_the_same(
    said: list[Any], chance: random.Random
) -> None:
    make = make_engine.__wrapped__(Clock())  # type: ignore[attr-defined]

    async def after(order: list[tuple[int, Any]]) -> Any:
        engine = await make(RULES)
        for number, entry in order:
            await tell(engine, entry, f"e-{number}")
        return await allowed(engine)

    numbered = list(enumerate(said))
    shuffled = chance.sample(numbered, len(numbered))
    assert asyncio.run(after(numbered)) == asyncio.run(after(shuffled))


async def stated(engine: Engine, **cells: Any) -> Any:
    return await engine.customers.set_consents("c-1", cells, "support-desk")


async def test_what_was_stated_is_shown_with_time_source_and_evidence_in_both_stores(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    at = from_micros(clock.now - DAY)
    said = ConsentStatement(
        state="granted", at=at, source="form-7", evidence="box 3, ✓ 203.0.113.7"
    )
    await stated(engine, offers={"email": said, "短信": "denied"})
    shown = (await engine.customers.get("c-1")).consents["offers"]
    email, sms = shown["email"], shown["短信"]
    assert (email.state, email.at, email.source) == ("granted", at, "form-7")
    assert email.evidence == "box 3, ✓ 203.0.113.7"
    now = from_micros(clock.now)
    assert (sms.state, sms.at, sms.source) == ("denied", now, "support-desk")
    assert sms.evidence is msgspec.UNSET
    await engine.customers.set_consents("anon", {"советы": {"*": said}})
    merged = await engine.customers.merge("c-2", "c-1")
    merged = await engine.customers.merge("c-2", "anon")
    assert merged.consents["offers"]["email"].evidence == "box 3, ✓ 203.0.113.7"
    assert merged.consents["советы"]["*"].evidence == "box 3, ✓ 203.0.113.7"


async def test_a_decision_s_record_has_the_consents_and_not_their_evidence(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    said = ConsentStatement(state="granted", source="form-7", evidence="the proof")
    await stated(engine, offers={"*": said})
    decision = await engine.decide(DecisionRequest(placement="outbound", customer_id="c-1"))
    assert [row.message for row in decision.selections] == ["offer"]
    logged = await store.log_records(partition_of("c-1"))
    [record] = [records.decode_decision(one.body) for one in logged if one.kind == "decision"]
    assert b"the proof" not in record.document
    kept = store.unpack("c-1", record.document).consents["offers"]["*"]
    assert (kept.granted, kept.source) == (True, "form-7")
    again = await engine.replay.find(decision.decision_id)
    assert again is not None and again.selections == decision.selections
    shown = (await engine.customers.get("c-1")).consents["offers"]["*"]
    assert shown.evidence == "the proof"


async def test_a_time_a_little_ahead_is_now_and_one_far_ahead_is_an_error(
    make_engine: Make, clock: Clock
) -> None:
    engine = await make_engine(RULES)
    for ahead, accepted in ((MINUTE, True), (5 * MINUTE, True), (6 * MINUTE, False)):
        clock.now += HOUR
        said = ConsentStatement(state="granted", at=from_micros(clock.now + ahead))
        if not accepted:
            with pytest.raises(InputError, match=r"offers\.email\.at: .* lies in the future"):
                await stated(engine, offers={"email": said})
            continue
        await stated(engine, offers={"email": said})
        assert (await engine.customers.get("c-1")).consents["offers"]["email"].at == from_micros(
            clock.now
        )
        event = Event(
            customer_id="c-1", type="message.unsubscribed", at=from_micros(clock.now + ahead)
        )
        await engine.events.record([event])
        assert not (await allowed(engine))["offers", "email"]
        await stated(engine, offers={"email": "granted"})
        assert (await allowed(engine))["offers", "email"]


async def test_a_late_opt_out_denies_unless_something_newer_was_said(
    make_engine: Make, clock: Clock
) -> None:
    engine = await make_engine(RULES)

    async def unsubscribed(ago: int) -> bool:
        event = Event(
            customer_id="c-1", type="message.unsubscribed", at=from_micros(clock.now - ago)
        )
        assert (await engine.events.record([event])).accepted == 1
        return (await allowed(engine))["offers", "email"]

    at = from_micros(clock.now - HOUR)
    await stated(engine, offers={"email": ConsentStatement(state="granted", at=at)})
    assert await unsubscribed(2 * HOUR)
    assert not await unsubscribed(MINUTE)


@pytest.mark.parametrize("way", ["event", "decision", "file"])
async def test_consents_that_an_event_changes_are_a_record_beside_it(
    make_engine: Make, store: Any, clock: Clock, way: str
) -> None:
    engine = await make_engine(RULES, store)
    about = {"purpose": "offers", "channel": "email", "gateway": "mail"}
    at = from_micros(clock.now - MINUTE)
    unsubscribed = {"type": "message.unsubscribed", "id": "e-1", "at": at, "properties": about}
    for _ in range(2):  # the second time it is known
        if way == "event":
            await engine.events.record([Event(customer_id="c-1", **unsubscribed)])
        elif way == "decision":
            event = TriggerEvent(**unsubscribed)
            await engine.decide(
                DecisionRequest(placement="outbound", customer_id="c-1", event=event)
            )
        else:
            row: Any = {"customer_id": "c-1", "events": [unsubscribed]}
            await Loading(engine.runtime).put(msgspec.convert(row, CustomerRow))
    logged = [one for one in await store.log_records(partition_of("c-1")) if one.kind == "consent"]
    [change] = [records.decode_change(one.body) for one in logged]
    said = {"state": "denied", "at": at.isoformat().replace("+00:00", "Z"), "source": "mail"}
    assert change.customer_id == "c-1"
    assert change.change == {
        "consents": {"offers": {"email": said}},
        "source": "mail",
        "event_id": "e-1",
    }
    [line] = (await engine.customers.get("c-1")).consent_trail
    assert (line.at, line.source, line.state) == (at, "mail", "denied")


async def test_what_was_too_late_is_logged_as_that(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make_engine(RULES, store)
    old = ConsentStatement(state="granted", at=from_micros(clock.now - DAY), evidence="page 3")
    await stated(engine, offers={"email": "denied"})
    await stated(engine, offers={"email": old, "短信": old})
    *_, last = await store.log_records(partition_of("c-1"))
    change = records.decode_change(last.body).change
    assert change["outdated"] == {"offers": ["email"]}
    assert change["consents"]["offers"]["短信"]["evidence"] == "page 3"
    assert (await engine.customers.get("c-1")).consents["offers"]["email"].state == "denied"


async def test_a_consent_of_a_merged_id_is_logged_under_the_id_in_use(
    make_engine: Make, store: Any
) -> None:
    """So that an erasure finds it in that id's log."""
    engine = await make_engine(RULES, store)
    await engine.customers.set_consents("anon", {"offers": {"*": "granted"}})
    await engine.customers.merge("c-1", "anon")
    await engine.customers.set_consents("anon", {"offers": {"*": "denied"}})
    *_, last = await store.log_records(partition_of("c-1"))
    assert records.decode_change(last.body).customer_id == "c-1"
    await engine.customers.erase("c-1")
    for name, partition in itertools.product(("c-1", "anon"), map(partition_of, ("c-1", "anon"))):
        left = await store.log_records(partition)
        assert not any(records.about(name)(one) for one in left)


async def test_a_file_is_the_source_of_what_it_says_and_tomorrow_s_is_no_other(
    make_engine: Make, clock: Clock
) -> None:
    engine = await make_engine(RULES)
    row = CustomerRow(customer_id="c-1", consents={"offers": {"*": "granted"}})
    await Loading(engine.runtime, file="monday.csv").put(row)
    [line] = (await engine.customers.get("c-1")).consent_trail
    assert line.source == "file:monday.csv"
    clock.now += DAY
    await engine.events.record([Event(customer_id="c-1", type="message.unsubscribed")])
    clock.now += DAY
    loaded = await Loading(engine.runtime, file="tuesday.csv").put(row)
    assert loaded.left_out == []  # it is what files said last, and so no news
    assert not (await allowed(engine))["offers", "email"]
    name = "x" * 300
    long = Loading(engine.runtime, file=name)
    assert long.source == f"file:{name}"[:128]


@pytest.mark.parametrize(
    "bad", [{"evidence": "x" * 4097}, {"source": "x" * 129}, {"source": ""}, {"at": "2026-11-21"}]
)
async def test_parts_of_a_statement_have_a_length(bad: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"state": "granted", **bad}, ConsentStatement)
