"""Journeys on an engine, and what is held of them: asks by run and visit, counts, timers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from decision.core import records
from decision.core.clock import DAY, HOUR, from_micros
from decision.core.conditions import Clause
from decision.core.definition import PolicyDefinition, Selector
from decision.core.identifiers import partition_of
from decision.core.journeys.definition import (
    Ask,
    Element,
    End,
    Journey,
    Moment,
    SegmentStart,
    SetAttributes,
    Trigger,
    Wait,
    WaitFor,
)
from decision.core.journeys.runs import runs_of, standing
from decision.core.journeys.waits import next_wake
from decision.core.records import DecisionRecord, JourneyRecord
from decision.core.schema import CustomerUpdate, Event
from decision.engine import Engine, EngineSettings, build_snapshot
from decision.engine.journeys.work import journeys_of
from decision.rulebook.reader import load_files

NAMES = ("mei", "bo", "li")
"""The customers of these tests."""

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {service: {consent: not_required}}
channels:
  push: {reservation: {expires_after: 3h, then: count}}
placements: {outbound: {channels: [push], delivery: gateway}, home: {channels: [push]}}
events: {line: {of: order, each: items}, credited: {of: order, for: event.friend}}
messages:
  hello:
    purpose: service
    tags: [hello]
    channels: [push]
    value: 2
    content: {title: "{{ event.sku | default('-') }} {{ context.step | default('') }}"}
  nudge:
    purpose: service
    tags: [nudge]
    channels: [push]
    value: 1
    content: {title: Nudge}
  other: {purpose: service, channels: [push], value: 9, content: {title: Other}}
caps: {daily: {of: {message: [nudge]}, at_most: 1, within: 1d}}
"""


def of(tag: str) -> Selector:
    return Selector(tags=(tag,))


WELCOME = Journey(
    name="welcome",
    start=Trigger(name="", event="follow"),
    key="event.cart",
    again=0,
    goal=Trigger(name="", event="purchase"),
    steps=(
        Ask(name="hello", placement="outbound", of=of("hello")),
        Wait(name="pause", lasts=2 * HOUR),
        Ask(name="nudge", placement="outbound", of=of("nudge"), hold=2 * DAY),
        SetAttributes(name="mark", values={"segment.welcomed": True}),
    ),
)
LATER = Journey(
    name="later",
    start=SegmentStart(name="", segment="welcomed"),
    again=None,
    steps=(
        WaitFor(
            name="bought",
            trigger=Trigger(name="", event="purchase"),
            within=3 * DAY,
            then="thanks",
            otherwise="gone",
        ),
        Ask(name="thanks", placement="outbound", of=of("hello"), go="over"),
        End(name="gone", reason="silent"),
        End(name="over", reason="finished"),
    ),
)
SAVED = Journey(
    name="saved",
    start=Trigger(name="", event="moment.abandoned"),
    again=0,
    steps=(Ask(name="back", placement="outbound", of=of("hello")),),
)
ABANDONED = Moment(
    name="abandoned",
    pattern=(Element(event="cart_add"), Element(event="purchase", absent=True)),
    within=HOUR,
)
JOURNEYS = (WELCOME, LATER, SAVED)


def definition(*journeys: Journey, rules: str = RULES, moments: Any = (ABANDONED,)) -> Any:
    """The small policy with these journeys, or the ones above."""
    found = load_files({"rules.yaml": rules})
    assert found.definition is not None, found.diagnostics
    own = journeys or JOURNEYS
    return msgspec.structs.replace(found.definition, journeys=own, moments=tuple(moments))


async def engine_on(store: Any, clock: Any, policy: PolicyDefinition, **settings: Any) -> Engine:
    """An engine with a policy in force."""
    await store.start()
    made = Engine(store, EngineSettings(**settings), clock)
    at = from_micros(clock())
    made.use(await build_snapshot(policy, None, store, at, try_first=False, durable=False))
    return made


async def tell(engine: Engine, kind: str, customer: str = "mei", **more: Any) -> None:
    """An event comes."""
    event_id = more.pop("id", None)
    event = Event(type=kind, customer_id=customer, id=event_id, properties=more)
    answer = await engine.events.record([event])
    assert not answer.rejected, answer


async def change(engine: Engine, customer: str = "mei", **attributes: Any) -> None:
    await engine.customers.update(customer, CustomerUpdate(attributes=attributes))


async def logged(store: Any, kind: str) -> list[Any]:
    """Everything that the log has of a kind, of the customers of these tests."""
    decode = {
        "decision": records.decode_decision,
        "journey": records.decode_journey,
        "event": records.decode_event,
    }[kind]
    return [
        decode(row.body)
        for partition in sorted({partition_of(name) for name in NAMES})
        for row in await store.log_records(partition)
        if row.kind == kind
    ]


async def decisions(store: Any) -> list[DecisionRecord]:
    found: list[DecisionRecord] = await logged(store, "decision")
    return found


async def steps(store: Any) -> list[JourneyRecord]:
    found: list[JourneyRecord] = await logged(store, "journey")
    return found


async def asked(store: Any) -> Counter[str]:
    """How often each stay in a step has asked, by the request id of its decision."""
    return Counter(one.request_id for one in await decisions(store) if is_asked(one))  # type: ignore[misc]


def is_asked(record: DecisionRecord) -> bool:
    """Whether a step of a journey asked for it."""
    return (record.request_id or "").startswith("j.")


async def check(engine: Engine, *, erased: bool = False) -> None:
    """What must hold at any time, of everybody: nothing is asked twice, records and decisions name
    each other, counts are exact, and who has something to come has a timer in time.

    Of somebody `erased` the log does not say any more how runs ended.
    """
    store, now = engine.runtime.store, engine.runtime.clock()
    once = await asked(store)
    assert not once or max(once.values()) == 1, once
    told = {one.decision_id for one in await steps(store) if one.asked is not None}
    made = {one.decision_id for one in await decisions(store) if is_asked(one)}
    assert told >= made, (told, made)
    counted: Counter[str] = Counter()
    journeys = journeys_of(engine.snapshot.policy)
    for customer in NAMES:
        document = (await store.read(customer)).document
        counted.update(standing(document))
        at = next_wake(journeys, document, now)
        if at is not None:
            timer = await timer_of(store, customer, document)
            assert timer is not None and timer <= max(at, now), (customer, timer, at)
    tallies = await store.tallies()
    assert {k: v for k, v in tallies.items() if "!" not in k and v} == dict(counted), tallies
    told_ends = Counter(
        f"{one.journey}\0!{why}"
        for one in await steps(store)
        for why in (one.ended, one.refused)
        if why
    )
    ends = Counter({name: count for name, count in tallies.items() if "!" in name})
    assert ends == told_ends or (erased and ends >= told_ends), (ends, told_ends)


async def timer_of(store: Any, customer: str, document: Any) -> int | None:
    """When a customer's timer comes at the latest, in memory."""
    from decision.core.timers import bucket_begins

    near = getattr(store, "_near", {}).get(customer)
    far = [
        bucket_begins(bucket)
        for own in getattr(store, "_far", {}).values()
        for bucket, entries in own.items()
        if customer in entries
    ]
    return min([*far, *([] if near is None else [near])], default=None)


__all__ = ["Clause", "runs_of"]
