"""What an event counts as for other customers: exactly once, whatever happens and in any order."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decision.core.clock import from_micros
from decision.core.errors import StoreUnavailable
from decision.core.ports import Commit
from decision.core.schema import CustomerUpdate, DecisionRequest, Event, TriggerEvent
from decision.engine import Engine, EngineSettings, build_snapshot, crediting
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.rulebook.reader import load_files
from decision.store.memory_store import MemoryStore
from tests.core.small import NOON
from tests.engine.conftest import RULES, Clock
from tests.engine.schedule import Gated, run_order

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

INVITING = RULES.replace(
    "  low: {}",
    "  host: {when: {events.invitation.count: {gte: 1}, events.gift.count: {gte: 0}}}\n  low: {}",
) + (
    """
events:
  invitation: {of: sign-up, for: event.inviter_id}
  gift: {of: purchase, each: gifts, for: event.to, when: {event.price: {gte: 10}}}
scores:
  fame: {adds: {invitation: 2}, half_life: 30d}
"""
)


def sign_up(who: str, inviter: Any, event_id: str | None = "e-1") -> Event:
    return Event(type="sign-up", customer_id=who, id=event_id, properties={"inviter_id": inviter})


def known(*names: str) -> Callable[[Engine], Any]:
    async def make(engine: Engine) -> None:
        for name in names:
            await engine.customers.update(name, CustomerUpdate(attributes={"a": 1}))

    return make


async def count(engine: Engine, who: str, kind: str = "invitation") -> int:
    document = (await engine.runtime.store.read(who)).document
    return document.events[kind].total if kind in document.events else 0


async def inviting(make_engine: Make, *names: str, store: Any = None, **more: Any) -> Engine:
    engine: Engine = await make_engine(INVITING, store, **more)
    await known(*names)(engine)
    return engine


async def test_an_invitation_counts_for_who_invited_and_not_for_who_came(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna")
    answer = await engine.events.record([sign_up("ben", "anna")])
    assert (answer.accepted, answer.rejected) == (1, [])
    assert (await count(engine, "anna"), await count(engine, "ben")) == (1, 0)
    view = await engine.customers.get("anna")
    assert (view.state, view.scores, view.events["invitation"].count) == ("host", {"fame": 2.0}, 1)


@pytest.mark.parametrize("event_id", ["e-1", None])
async def test_an_event_sent_again_counts_once_if_it_has_an_id(
    make_engine: Make, event_id: str | None
) -> None:
    engine = await inviting(make_engine, "anna")
    for _ in range(3):
        await engine.events.record([sign_up("ben", "anna", event_id)] * 2)
    assert await count(engine, "anna") == (1 if event_id else 6)


async def test_two_senders_whose_events_have_the_same_id_both_count(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna")
    for _ in range(2):
        for who in ("ben", "carl"):
            await engine.events.record([sign_up(who, "anna", "welcome")])
    assert await count(engine, "anna") == 2


async def test_an_event_sent_again_by_who_was_merged_in_between_counts_once(
    make_engine: Make,
) -> None:
    """Its first try counted for another customer, and was cut before the event was written."""
    for after in (False, True):
        store = Failing(MemoryStore())
        engine = await inviting(make_engine, "anna", "cookie", "ben", store=store)
        store.operations, store.fails_at, store.after = 0, 4, after
        with pytest.raises(StoreUnavailable):
            await engine.events.record([sign_up("cookie", "anna")])
        store.fails_at = None
        assert await count(engine, "anna") == 1
        await engine.customers.merge("ben", "cookie")
        for who in ("ben", "cookie"):
            answer = await engine.events.record([sign_up(who, "anna")])
        assert answer.duplicates == 1
        assert await count(engine, "anna") == 1


async def test_who_invites_themselves_counts_once_even_with_their_first_event(
    make_engine: Make,
) -> None:
    engine = await inviting(make_engine)
    for _ in range(2):
        await engine.events.record([sign_up("anna", "anna")])
    document = (await engine.runtime.store.read("anna")).document
    assert document.events["invitation"].total == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["anna", "old"])
async def test_what_names_its_own_sender_counts_with_the_event_or_not_at_all(
    make_engine: Make, name: str, after: bool
) -> None:
    """Also by a name of before a merge, whichever operation fails; sent again it counts once."""
    for fails_at in itertools.count(1):
        store = Failing(MemoryStore())
        engine = await inviting(make_engine, "anna", "old", store=store)
        await engine.customers.merge("anna", "old")
        store.operations, store.fails_at, store.after = 0, fails_at, after
        with contextlib.suppress(StoreUnavailable):
            await engine.events.record([sign_up("anna", name)])
        done, store.fails_at = store.operations < fails_at, None
        known = (await store.read("anna", event_ids=("e-1",))).known_events
        assert await count(engine, "anna") == len(known)
        await engine.events.record([sign_up("anna", name)])
        assert await count(engine, "anna") == 1
        if done:
            assert fails_at > 2
            break


@pytest.mark.parametrize("inviter", ["anna", "", " ", "null", None, 7.5, ["anna"], "a\nb"])
async def test_nobody_is_created_by_being_named(make_engine: Make, inviter: Any) -> None:
    engine = await inviting(make_engine)
    answer = await engine.events.record([sign_up("ben", inviter)])
    assert answer.accepted == 1
    assert list(engine.runtime.store._documents) == ["ben"]


async def test_an_erased_customer_stays_erased(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna")
    await engine.events.record([sign_up("ben", "anna", "e-1")])
    await engine.customers.erase("anna")
    await engine.events.record([sign_up("ben", "anna", "e-1"), sign_up("carl", "anna", "e-2")])
    assert not (await engine.runtime.store.read("anna")).document.exists


async def test_it_counts_for_whom_a_merged_customer_became(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna", "old")
    await engine.events.record([sign_up("ben", "old", "e-1")])
    await engine.customers.merge("anna", "old")
    await engine.events.record([sign_up("carl", "old", "e-2"), sign_up("ben", "old", "e-1")])
    assert await count(engine, "anna") == 2
    assert (await engine.customers.get("anna")).scores == {"fame": 4.0}


async def test_however_much_an_event_counts_as_little_of_it_is_held_at_a_time(
    make_engine: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it counts, each once, also where the next part fails and it is sent again."""
    monkeypatch.setattr(crediting, "AT_A_TIME", 3)
    store = Failing(MemoryStore())
    engine = await inviting(make_engine, "b", "c", store=store)
    gifts = [{"to": "bc"[number % 2], "price": 20} for number in range(20)]
    orders = [
        Event(type="purchase", customer_id="anna", id=f"o-{number}", properties={"gifts": gifts})
        for number in range(2)
    ]
    written: list[int] = []
    commit = store.store.commit

    async def counted(one: Commit, **options: Any) -> Any:
        written.append(len(one.event_ids))
        return await commit(one, **options)

    monkeypatch.setattr(store.store, "commit", counted)
    store.operations, store.fails_at, store.after = 0, 15, True
    with pytest.raises(StoreUnavailable):
        await engine.events.record(orders)
    store.fails_at = None
    await engine.events.record(orders)
    assert [await count(engine, who, "gift") for who in "bc"] == [20, 20]
    assert max(written) <= 3


async def test_an_event_that_counts_as_many_lets_others_go_on(make_engine: Make) -> None:
    engine = await inviting(make_engine, "b")
    gifts = [{"to": "b", "price": 20}] * 50
    orders = [
        Event(type="purchase", customer_id="anna", id=f"o-{number}", properties={"gifts": gifts})
        for number in range(20)
    ]
    recording = asyncio.create_task(engine.events.record(orders))
    turns = 0
    while not recording.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 2 * len(orders)


async def test_a_list_counts_for_each_that_it_names(make_engine: Make) -> None:
    engine = await inviting(make_engine, "b", "c")
    gifts = [{"to": "b", "price": 20}, {"to": "c", "price": 5}, {"to": "b", "price": 10}, "x"]
    order = Event(type="purchase", customer_id="anna", id="o-1", properties={"gifts": gifts})
    for _ in range(2):
        await engine.events.record([order])
    assert [await count(engine, who, "gift") for who in "bc"] == [2, 0]


async def test_the_event_of_a_decision_counts_as_well_and_a_dry_run_does_not(
    make_engine: Make,
) -> None:
    engine = await inviting(make_engine, "anna")
    event = TriggerEvent(type="sign-up", id="e-1", properties={"inviter_id": "anna"})
    for dry_run in (True, False, False):
        request = DecisionRequest(
            placement="inbox", customer_id="ben", event=event, dry_run=dry_run
        )
        await engine.decide(request)
        assert await count(engine, "anna") == (0 if dry_run else 1)
    await engine.decide(DecisionRequest(placement="inbox", customer_id="anna", event=event))
    assert await count(engine, "anna") == 2  # an event of her own, with the same id


async def test_loaded_histories_count_once_however_often_and_alike_they_are(
    make_engine: Make,
) -> None:
    engine = await inviting(make_engine, "anna")
    past = PastEvent(type="sign-up", at=from_micros(NOON), properties={"inviter_id": "anna"})
    rows = [CustomerRow(customer_id=who, events=[past]) for who in ("ben", "carl")]
    for _ in range(2):
        for row in rows:
            await Loading(engine.runtime).put(row)
    assert await count(engine, "anna") == 2


async def test_derived_types_are_refused_wherever_events_come_in(make_engine: Make) -> None:
    engine = await inviting(make_engine, "anna")
    answer = await engine.events.record([Event(type="invitation", customer_id="anna")])
    assert 'send "sign-up"' in answer.rejected[0].detail
    request = DecisionRequest(
        placement="inbox", customer_id="anna", event=TriggerEvent(type="invitation")
    )
    with pytest.raises(ValueError, match=r"event\.type: "):
        await engine.decide(request)
    row = CustomerRow(customer_id="anna", events=[PastEvent(type="gift", at=from_micros(NOON))])
    with pytest.raises(ValueError, match=r"events\[0\].type: "):
        await Loading(engine.runtime).put(row)


class Failing:
    """A store whose n-th operation fails, before it is done or after."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.fails_at: int | None = None
        self.after = False
        self.operations = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.store, name)
        if name not in ("read", "commit"):
            return found

        async def operate(*args: Any, **options: Any) -> Any:
            self.operations += 1
            fails = self.operations == self.fails_at
            if fails and not self.after:
                raise StoreUnavailable("cut before")
            result = await found(*args, **options)
            if fails:
                raise StoreUnavailable("cut after")
            return result

        return operate


def one_event(engine: Engine) -> Any:
    gifts = [{"to": "b", "price": 20}, {"to": "anna", "price": 30}, {"to": "c", "price": 40}]
    order = Event(type="purchase", customer_id="anna", id="o-1", properties={"gifts": gifts})
    return engine.events.record([order, sign_up("anna", "b")])


def one_decision(engine: Engine) -> Any:
    gifts = [{"to": "b", "price": 20}, {"to": "anna", "price": 30}, {"to": "c", "price": 40}]
    event = TriggerEvent(type="purchase", id="o-1", properties={"gifts": gifts})
    return engine.decide(DecisionRequest(placement="inbox", customer_id="anna", event=event))


def one_row(engine: Engine) -> Any:
    gifts = [{"to": "b", "price": 20}, {"to": "anna", "price": 30}, {"to": "c", "price": 40}]
    past = PastEvent(type="purchase", at=from_micros(NOON), properties={"gifts": gifts})
    return Loading(engine.runtime).put(CustomerRow(customer_id="anna", events=[past]))


@pytest.mark.parametrize("work", [one_event, one_decision, one_row])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("merged", [False, True])
async def test_sent_again_after_any_operation_failed_all_of_it_counts_once(
    make_engine: Make, work: Callable[[Engine], Any], after: bool, merged: bool
) -> None:
    """Also where who is named is merged between the two attempts."""
    for fails_at in itertools.count(1):
        store = Failing(MemoryStore())
        engine = await inviting(make_engine, "anna", "b", "c", store=store)
        await known("kept")(engine)
        store.operations, store.fails_at, store.after = 0, fails_at, after
        with contextlib.suppress(StoreUnavailable):
            await work(engine)
        done, store.fails_at = store.operations < fails_at, None
        if merged:
            await engine.customers.merge("kept", "b")
        await work(engine)
        who = "kept" if merged else "b"
        found = [await count(engine, one, "gift") for one in (who, "anna", "c")]
        assert found == [1, 1, 1], fails_at
        assert await count(engine, who) == (1 if work is one_event else 0)
        if done:
            assert fails_at > 4
            break


async def many_orders(
    make_engine: Make,
    clock: Clock,
    works: Callable[[Engine], list[Any]],
    check: Callable[[Engine], Any],
) -> None:
    """Runs the works in many orders of their steps, each on a fresh store."""
    random = Random(7)
    for _ in range(60):
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await inviting(make_engine, "anna", "kept", store=gated)
        await run_order(gated, works(engine), random.choices((0, 1), k=60))
        await check(engine)


def recording(engine: Engine, event: Event) -> Callable[[], Any]:
    return lambda: engine.events.record([event])


async def test_two_senders_at_once_both_count_in_any_order(make_engine: Make, clock: Clock) -> None:
    async def check(engine: Engine) -> None:
        assert await count(engine, "anna") == 2

    await many_orders(
        make_engine,
        clock,
        lambda engine: [
            recording(engine, sign_up(who, "anna", f"e-{who}")) for who in ("ben", "carl")
        ],
        check,
    )


async def test_one_event_sent_twice_at_once_counts_once_in_any_order(
    make_engine: Make, clock: Clock
) -> None:
    async def check(engine: Engine) -> None:
        assert await count(engine, "anna") == 1

    await many_orders(
        make_engine,
        clock,
        lambda engine: [recording(engine, sign_up("ben", "anna"))] * 2,
        check,
    )


async def test_who_is_merged_meanwhile_has_it_once_in_any_order(
    make_engine: Make, clock: Clock
) -> None:
    async def check(engine: Engine) -> None:
        await engine.events.record([sign_up("ben", "anna")])
        assert await count(engine, "kept") == 1
        assert (await engine.customers.get("kept")).scores == {"fame": 2.0}

    await many_orders(
        make_engine,
        clock,
        lambda engine: [
            recording(engine, sign_up("ben", "anna")),
            lambda: engine.customers.merge("kept", "anna"),
        ],
        check,
    )


async def test_who_is_erased_meanwhile_stays_erased_in_any_order(
    make_engine: Make, clock: Clock
) -> None:
    async def check(engine: Engine) -> None:
        assert not (await engine.runtime.store.read("anna")).document.exists

    await many_orders(
        make_engine,
        clock,
        lambda engine: [
            recording(engine, sign_up("ben", "anna")),
            lambda: engine.customers.erase("anna"),
        ],
        check,
    )


async def test_a_hundred_senders_at_once_all_count(make_engine: Make) -> None:
    gated = MemoryStore()
    engine = await inviting(make_engine, "anna", store=gated)
    original = gated.read

    async def slow(*args: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return await original(*args, **options)

    gated.read = slow  # type: ignore[method-assign]
    events = [sign_up(f"c-{number}", "anna", f"e-{number}") for number in range(100)]
    await asyncio.gather(*(engine.events.record([event]) for event in events))
    assert await count(engine, "anna") == 100


NAMES = ("anna", "ben", "carl", "dora")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 4)
        ),
        st.tuples(st.just("merge"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("erase"), st.sampled_from(NAMES), st.just(""), st.just(0)),
        st.tuples(st.just("create"), st.sampled_from(NAMES), st.just(""), st.just(0)),
    ),
    max_size=14,
)


class Model:
    """The promise itself: how often each person was named, and who is who."""

    def __init__(self) -> None:
        self.leads = {name: name for name in NAMES}
        self.alive: set[str] = set()
        self.sent: dict[str, set[str]] = {name: set() for name in NAMES}
        self.counted = dict.fromkeys(NAMES, 0)
        self.known: dict[str, set[tuple[str, str]]] = {name: set() for name in NAMES}

    def person(self, name: str) -> str:
        while self.leads[name] != name:
            name = self.leads[name]
        return name

    def names(self, name: str) -> list[str]:
        return [one for one in NAMES if self.person(one) == self.person(name)]

    def send(self, who: str, inviter: str, event_id: str) -> None:
        sender, target = self.person(who), self.person(inviter)
        if event_id in self.sent[sender]:
            return
        self.alive.add(sender)
        self.sent[sender].add(event_id)
        ids = {(name, f"{event_id} {inviter}") for name in self.names(sender)}
        if target in self.alive and self.known[target].isdisjoint(ids):
            self.counted[target] += 1
            self.known[target] |= ids

    def merge(self, into: str, other: str) -> bool:
        target, source = self.person(into), self.person(other)
        if source != other or target == source or other not in self.alive:
            return False
        self.leads[other] = target
        self.alive.add(target)
        self.alive.discard(other)
        self.sent[target] |= self.sent[other]
        self.known[target] |= self.known[other]
        self.counted[target] += self.counted[other]
        self.forget(other)
        return True

    def erase(self, who: str) -> None:
        names = self.names(who)
        self.alive.discard(self.person(who))
        for name in names:
            self.forget(name)
            self.leads[name] = name

    def forget(self, name: str) -> None:
        self.sent[name], self.known[name], self.counted[name] = set(), set(), 0


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_after_any_story_everybody_has_what_the_promise_says(steps: list[Any]) -> None:
    asyncio.run(_story(steps))


async def _story(steps: list[Any]) -> None:
    definition = load_files({"rules.yaml": INVITING}).definition
    assert definition is not None
    store = MemoryStore()
    engine = Engine(store, EngineSettings(), lambda: NOON)
    engine.use(await build_snapshot(definition, None, store, from_micros(NOON), durable=False))
    model = Model()
    for step, one, other, number in steps:
        if step == "send":
            event_id = f"e-{other}-{number}"  # ids of events are unique for each customer only
            model.send(one, other, event_id)
            await engine.events.record([sign_up(one, other, event_id)])
        elif step == "merge":
            if model.merge(one, other):
                await engine.customers.merge(one, other)
        elif step == "erase":
            model.erase(one)
            await engine.customers.erase(one)
        else:
            model.alive.add(model.person(one))
            await known(one)(engine)
    assert {name: await count(engine, name) for name in NAMES} == model.counted
