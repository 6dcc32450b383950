"""What is decided at a placement with `delivery: gateway` is sent once, or its contact is released."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec import UNSET

from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros
from decision.core.delivery import Claimed, ListedDelivery
from decision.core.identifiers import partition_of
from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, InputError
from decision.engine.delivering import Dropped, Ready
from decision.engine.views import without_values
from decision.store import MemoryStore, RedisStore
from tests.core.small import NOON
from tests.engine.conftest import Clock, reload

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
_prefixes = itertools.count()
LONG = 60_000
ROOM = {"push": 9, "email": 9, "chat": 9}

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off", language: de}
purposes: {ads: {consent: opt_out}, care: {consent: not_required}}
calendars: {sale: {dates: [2026-11-27]}}
channels:
  push: {reservation: {expires_after: 1h, then: release}}
  email:
    reservation: {expires_after: 3d, then: count}
    quiet_hours: {from: "22:00", to: "08:00", except: [care], unless: {customer.tier: gold}}
  chat: {reply_window: {opened_by: chat.message, lasts: 48h}}
placements:
  outbound: {channels: [push, email, chat], fallback: hi, delivery: gateway}
  desk: {channels: [push, email], fallback: hi}
messages:
  a:
    purpose: ads
    category: x
    channels: [email]
    value: 5
    budget: {total: 50}
    content: {subject: "Hi {{ customer.name | default('you') }}", n: [1, {b: 2.5}]}
  b: {purpose: ads, category: y, channels: [push], value: 4, content: {t: b}}
  c: {purpose: ads, category: y, channels: [chat], value: 1, content: {t: c}}
  hi: {purpose: care, channels: [push], value: 0, content: {t: hi}}
caps:
  one-a: {of: {message: a}, at_most: 1, within: 1d}
  one-b: {of: {message: b}, at_most: 1, within: 1d}
  one-c: {of: {message: c}, at_most: 1, within: 1d}
suppressions: {bad: {event: message.dismissed, times: 2, within: 30d, per: category, pause: 60d}}
rules: {rich: {when: {customer.spent: {gte: 10}}, set: {customer.tier: gold}}}
"""


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest, clock: Clock, redis_url: str) -> AsyncIterator[Any]:
    made: Any
    if request.param == "memory":
        made = MemoryStore()
    else:
        made = RedisStore(redis_url, prefix=f"delivering{next(_prefixes)}:")
    yield made
    await made.close()


@pytest.fixture
async def engine(make_engine: Make, store: Any) -> Engine:
    return await make_engine(RULES, store=store)


async def ask(engine: Engine, customer: str = "anna", **more: Any) -> Any:
    request = DecisionRequest(placement="outbound", customer_id=customer, **more)
    return await engine.decide(request)


async def claim(engine: Engine, lease_ms: int = LONG) -> Claimed:
    """The one delivery that is due."""
    (found,) = await engine.runtime.store.claim_deliveries(range(256), ROOM, "w", lease_ms)
    return found


async def listed(engine: Engine) -> list[ListedDelivery]:
    return (await engine.runtime.store.deliveries()).rows


async def contacts(engine: Engine, customer: str = "anna") -> list[tuple[str, str]]:
    view = await engine.customers.get(customer)
    return [(one.message, one.state) for one in view.contacts]


async def test_a_decision_leaves_what_it_chose_with_its_content(engine: Engine) -> None:
    await engine.customers.update("anna", CustomerUpdate(attributes={"name": "安娜"}))
    decision = await ask(engine)
    (row,) = await listed(engine)
    one = row.delivery
    assert (one.decision_id, one.message, one.channel) == (decision.decision_id, "a", "email")
    assert (
        one.content
        == decision.selections[0].content
        == {
            "subject": "Hi 安娜",
            "n": [1, {"b": 2.5}],
        }
    )
    assert (one.customer_id, one.placement, one.purpose, one.category) == (
        "anna",
        "outbound",
        "ads",
        "x",
    )
    assert (one.at, one.expires) == (NOON, NOON + 3 * DAY)
    assert (one.counts, one.releases) == (True, False)
    assert one.id == f"{decision.decision_id}.a"


async def test_each_of_several_messages_is_a_delivery(engine: Engine) -> None:
    decision = await ask(engine, limit=3)
    found = {row.delivery.message: row.delivery for row in await listed(engine)}
    assert {*found} == {one.message for one in decision.selections} == {"a", "b"}
    assert found["b"].releases


async def test_a_fallback_is_delivered_and_makes_no_contact(engine: Engine) -> None:
    decision = await ask(engine, "nobody", channels=["push"], limit=1)
    await ask(engine, "nobody", channels=["push"])
    rows = {row.delivery.message: row for row in await listed(engine)}
    assert decision.selections[0].message == "b"
    assert not rows["hi"].delivery.counts
    store = engine.runtime.store
    for claimed in await store.claim_deliveries(range(256), ROOM, "w", LONG):
        assert isinstance(await engine.delivering.look(claimed), Ready)
        await engine.delivering.sent(claimed)
    assert await contacts(engine, "nobody") == [("b", "confirmed")]
    assert await listed(engine) == []


async def test_a_fallback_for_somebody_never_seen_is_delivered(engine: Engine) -> None:
    update = Event(type="message.unsubscribed", customer_id="new")
    await engine.events.record([update])
    decision = await ask(engine, "new")
    assert decision.outcome == "fallback"
    claimed = await claim(engine)
    assert isinstance(await engine.delivering.look(claimed), Ready)
    await engine.delivering.sent(claimed)
    assert await listed(engine) == []


async def test_nothing_is_left_where_nothing_is_reserved(engine: Engine, clock: Clock) -> None:
    await ask(engine, dry_run=True)
    await engine.decide(DecisionRequest(placement="desk", customer_id="anna"))
    with pytest.raises(InputError):
        await ask(engine, channels=["fax"])
    assert await listed(engine) == []
    first = await ask(engine, "bo", request_id="r-1")
    again = await ask(engine, "bo", request_id="r-1")
    assert again == first
    assert len(await listed(engine)) == 1


async def test_an_engine_that_never_sends_leaves_nothing(make_engine: Make) -> None:
    engine = await make_engine(RULES, delivers=False)
    assert (await ask(engine)).outcome == "selected"
    assert await listed(engine) == []


async def test_what_was_sent_is_confirmed_once_and_gone(engine: Engine) -> None:
    await ask(engine)
    claimed = await claim(engine)
    ready = await engine.delivering.look(claimed)
    assert isinstance(ready, Ready) and ready.language == "de"
    assert await engine.runtime.store.begin_delivery(claimed, LONG)
    for _ in range(2):
        await engine.delivering.sent(claimed, "p-1")
    assert await contacts(engine) == [("a", "confirmed")]
    assert await listed(engine) == []
    view = await engine.customers.get("anna")
    assert [one.count for name, one in view.events.items() if name == "message.sent"] in ([], [1])


async def test_what_failed_releases_its_contact_and_is_kept(engine: Engine) -> None:
    await ask(engine)
    claimed = await claim(engine)
    await engine.runtime.store.begin_delivery(claimed, LONG)
    assert await engine.delivering.failed(claimed, "no such address")
    assert not await engine.delivering.failed(claimed, "no such address")
    assert await contacts(engine) == [("a", "released")]
    (row,) = await listed(engine)
    assert (row.status.state, row.status.reason) == ("failed", "no such address")
    spent = (await engine.runtime.store.read("anna", budgets=["a:total"])).budgets
    assert spent == {"a:total": 0}
    assert (await ask(engine)).selections[0].message == "a"


Change = Callable[[Engine, Clock], Any]


async def denies(engine: Engine, clock: Clock) -> None:
    await engine.customers.set_consents("anna", {"ads": {"email": "denied"}})


async def moves(engine: Engine, clock: Clock) -> None:
    await engine.customers.update("anna", CustomerUpdate(reachable=["push"]))


async def bounces(engine: Engine, clock: Clock) -> None:
    properties = {"permanent": True, "channel": "email"}
    event = Event(type="message.bounced", customer_id="anna", properties=properties)
    await engine.events.record([event])


async def waits(engine: Engine, clock: Clock) -> None:
    clock.now = NOON + 3 * DAY


async def sleeps(engine: Engine, clock: Clock) -> None:
    clock.now = NOON + 10 * HOUR


async def dismisses(engine: Engine, clock: Clock) -> None:
    for _ in range(2):
        await engine.decide(
            DecisionRequest(placement="desk", customer_id="anna", channels=["push"])
        )
    other = Event(type="message.dismissed", customer_id="anna", message="a")
    await engine.events.record([other, other])


async def ends(engine: Engine, clock: Clock) -> None:
    """The offer is over before its gateway works again."""
    active = "channels: [email]\n    active: {until: 2026-11-21T13:00:00Z}\n    value: 5"
    await reload(engine, RULES.replace("channels: [email]\n    value: 5", active))
    clock.now = NOON + HOUR


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (ends, "inactive"),
        (denies, "no_consent"),
        (moves, "unreachable"),
        (bounces, "unreachable"),
        (waits, "expired"),
        (sleeps, "quiet_hours"),
        (dismisses, "suppressed"),
    ],
)
async def test_what_may_no_longer_be_sent_is_dropped_and_released(
    engine: Engine, clock: Clock, change: Change, reason: str
) -> None:
    await ask(engine)
    claimed = await claim(engine)
    assert isinstance(await engine.delivering.look(claimed), Ready)
    await change(engine, clock)
    assert await engine.delivering.look(claimed) == Dropped(reason)
    assert ("a", "released") in await contacts(engine)
    assert await listed(engine) == []
    assert not await engine.runtime.store.begin_delivery(claimed, LONG)


async def test_what_lifts_quiet_hours_is_looked_at_as_well(engine: Engine, clock: Clock) -> None:
    await ask(engine)
    clock.now = NOON + 10 * HOUR
    claimed = await claim(engine)
    await engine.customers.update("anna", CustomerUpdate(attributes={"spent": 10}))
    assert isinstance(await engine.delivering.look(claimed), Ready)


async def test_a_reply_window_that_has_closed_holds_back(engine: Engine, clock: Clock) -> None:
    opened = Event(type="chat.message", customer_id="anna", at=from_micros(NOON))
    await engine.events.record([opened])
    await ask(engine, channels=["chat"])
    claimed = await claim(engine)
    clock.now = NOON + 2 * DAY - MINUTE
    assert isinstance(await engine.delivering.look(claimed), Ready)
    clock.now = NOON + 2 * DAY
    assert await engine.delivering.look(claimed) == Dropped("reply_window_closed")


async def test_a_contact_that_ends_during_the_attempt_is_not_sent(
    engine: Engine, clock: Clock
) -> None:
    await ask(engine, channels=["push"])
    claimed = await claim(engine)
    clock.now = NOON + HOUR - MINUTE
    assert isinstance(await engine.delivering.look(claimed, MINUTE - 1), Ready)
    assert await engine.delivering.look(claimed, MINUTE) == Dropped("expired")


@pytest.mark.parametrize("outcome", ["failed", "dropped"])
async def test_what_may_have_been_sent_is_never_released(engine: Engine, outcome: str) -> None:
    await ask(engine)
    first = await claim(engine)
    assert await engine.runtime.store.begin_delivery(first, 0)  # and no answer comes
    second = await claim(engine)
    assert second.was_sending
    assert await getattr(engine.delivering, outcome)(second, "why")
    assert await contacts(engine) == [("a", "reserved")]
    (row,) = await listed(engine)
    assert (row.status.state, row.status.reason) == ("unknown", "why")
    await engine.delivering.sent(first)  # the answer comes late
    assert await contacts(engine) == [("a", "confirmed")]
    assert await listed(engine) == []


async def test_events_of_others_tell_what_came_of_it(engine: Engine) -> None:
    decision = await ask(engine)
    first = await claim(engine)
    assert await engine.runtime.store.begin_delivery(first, 0)
    told = Event(type="message.delivered", customer_id="anna", decision_id=decision.decision_id)
    await engine.events.record([told])
    second = await claim(engine)
    assert await engine.delivering.look(second) == Dropped("sent")
    assert await listed(engine) == []
    assert await contacts(engine) == [("a", "confirmed")]


@pytest.mark.parametrize("outcome", ["sent", "failed", "dropped"])
async def test_what_came_of_it_is_told_to_the_customer_merged_into(
    engine: Engine, outcome: str
) -> None:
    await ask(engine, "anon")
    claimed = await claim(engine)
    await engine.events.record([Event(type="visit", customer_id="anna")])
    await engine.customers.merge("anna", "anon")
    assert isinstance(await engine.delivering.look(claimed), Ready)
    if outcome == "sent":
        await engine.delivering.sent(claimed)
    else:
        assert await getattr(engine.delivering, outcome)(claimed, "why")
    state = "confirmed" if outcome == "sent" else "released"
    assert await contacts(engine) == [("a", state)]
    assert len(await listed(engine)) == (outcome == "failed")


async def test_an_alias_alone_is_delivered_to_and_merged(engine: Engine) -> None:
    mei = Alias("email", "mei@mail.cn")
    await engine.decide(DecisionRequest(placement="outbound", alias=mei))
    claimed = await claim(engine)
    await engine.customers.update("mei", CustomerUpdate(aliases={"email": "mei@mail.cn"}))
    await engine.customers.set_consents("mei", {"ads": {"*": "denied"}})
    assert await engine.delivering.look(claimed) == Dropped("no_consent")
    assert await contacts(engine, "mei") == [("a", "released")]
    assert await listed(engine) == []


async def test_erasing_leaves_nothing_to_be_sent_or_told(engine: Engine) -> None:
    await ask(engine)
    claimed = await claim(engine)
    await engine.customers.erase("anna")
    assert not await engine.runtime.store.begin_delivery(claimed, LONG)
    assert not await engine.delivering.failed(claimed, "late")
    await engine.delivering.sent(claimed)
    assert not (await engine.runtime.store.read("anna")).document.exists
    assert await listed(engine) == []


async def failed(engine: Engine, reason: str = "wrong password") -> ListedDelivery:
    """A delivery that has become a dead letter."""
    claimed = await claim(engine)
    await engine.runtime.store.begin_delivery(claimed, LONG)
    assert await engine.delivering.failed(claimed, reason)
    return (await engine.runtime.store.deliveries("failed")).rows[0]


async def units(engine: Engine) -> int:
    return (await engine.runtime.store.read("", budgets=["a:total"])).budgets["a:total"]


async def test_a_dead_letter_that_is_sent_again_counts_again(engine: Engine, clock: Clock) -> None:
    await ask(engine)
    for times in (1, 2):
        row = await failed(engine)
        assert row.delivery.again == times - 1
        assert await contacts(engine) == [("a", "released")]
        clock.now += HOUR
        assert await engine.delivering.send_again(row) is None
        assert await engine.delivering.send_again(row) == "changed"
        assert await contacts(engine) == [("a", "reserved")]
        (again,) = await listed(engine)
        assert again.delivery.expires == clock.now + 3 * DAY
        assert again.delivery.id == row.delivery.id
        assert await units(engine) == 1
    claimed = await claim(engine)
    assert isinstance(await engine.delivering.look(claimed), Ready)
    await engine.delivering.sent(claimed)
    assert await contacts(engine) == [("a", "confirmed")]
    assert await listed(engine) == []
    assert await units(engine) == 1


async def test_a_dead_letter_that_fails_again_gives_its_unit_back(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is sent again before its unit has come back, as its sender was killed."""

    async def killed(*_: Any) -> None: ...

    await ask(engine)
    with monkeypatch.context() as first:
        first.setattr(engine.runtime.store, "settle_budgets", killed)
        row = await failed(engine)
    for _ in range(2):
        clock.now += HOUR
        assert await engine.delivering.send_again(row) is None
        assert await units(engine) == 1
        row = await failed(engine)
        assert await units(engine) == 0


async def test_a_dead_letter_whose_place_is_taken_is_not_sent_again(
    engine: Engine, clock: Clock
) -> None:
    await ask(engine)
    row = await failed(engine)
    await ask(engine)  # under a cap of one
    assert await engine.delivering.send_again(row) == "capped"
    await engine.customers.set_consents("anna", {"ads": {"*": "denied"}})
    assert await engine.delivering.send_again(row) == "no_consent"
    assert await units(engine) == 1
    assert len((await engine.runtime.store.deliveries("failed")).rows) == 1


async def test_a_dead_letter_of_a_merged_customer_is_sent_again_once(engine: Engine) -> None:
    await ask(engine, "anon")
    row = await failed(engine)
    await engine.events.record([Event(type="visit", customer_id="anna")])
    await engine.customers.merge("anna", "anon")
    assert await engine.delivering.send_again(row) is None
    (again,) = await listed(engine)
    assert (again.delivery.customer_id, again.delivery.id) == ("anna", row.delivery.id)
    claimed = await claim(engine)
    await engine.delivering.sent(claimed)
    assert await contacts(engine) == [("a", "confirmed")]
    assert await engine.delivering.send_again(row) == "changed"


async def test_what_is_unknown_is_sent_again_or_given_up(engine: Engine) -> None:
    for given_up in (False, True):
        await ask(engine, f"c-{given_up}")
        claimed = await claim(engine)
        await engine.runtime.store.begin_delivery(claimed, LONG)
        await engine.runtime.store.hold_delivery(claimed, "unknown", "lost")
        (row,) = await listed(engine)
        if given_up:
            assert await engine.delivering.give_up(row)
            assert not await engine.delivering.give_up(row)
        else:
            assert await engine.delivering.send_again(row) is None
            again = await claim(engine)
            assert again.doubtful and not again.was_sending
            await engine.delivering.sent(again)
        assert await listed(engine) == []
    assert await contacts(engine, "c-True") == [("a", "reserved")]


async def test_what_waits_is_given_up_and_released_unless_it_is_being_sent(engine: Engine) -> None:
    await ask(engine)
    await ask(engine, "bo")
    claimed = await claim_of(engine, "bo")
    rows = {row.delivery.customer_id: row for row in await listed(engine)}
    assert await engine.delivering.give_up(rows["anna"])
    assert not await engine.delivering.give_up(rows["bo"])
    assert await contacts(engine) == [("a", "released")]
    assert [row.delivery for row in await listed(engine)] == [claimed.delivery]


async def claim_of(engine: Engine, customer: str) -> Claimed:
    number = partition_of(customer)
    (found,) = await engine.runtime.store.claim_deliveries([number], ROOM, "w", LONG)
    return found


async def test_a_message_with_a_coupon_code_is_not_sent_again(make_engine: Make) -> None:
    rules = RULES.replace("value: 5", "value: 5\n    coupon: spring") + "coupons: {spring: {}}\n"
    rules = rules.replace("n: [1", "code: '{{ coupon.code }}', n: [1")
    engine = await make_engine(rules)
    await engine.runtime.store.add_codes("spring", ["S-1"])
    await ask(engine)
    row = await failed(engine)
    assert row.delivery.content["code"] == "S-1"
    assert await engine.delivering.send_again(row) == "coupon_returned"
    assert (await engine.runtime.store.count_codes("spring", NOON)).free == 1


async def test_a_customer_shows_what_is_still_to_be_sent_also_after_a_merge(
    engine: Engine,
) -> None:
    first = await ask(engine, "anon")
    await engine.events.record([Event(type="visit", customer_id="anna")])
    await engine.customers.merge("anna", "anon")
    second = await ask(engine, channels=["push"])
    view = await engine.customers.get("anna")
    assert isinstance(view.deliveries, list)
    assert [(one.id, one.state, one.attempts) for one in view.deliveries] == [
        (f"{first.decision_id}.a", "queued", 0),
        (f"{second.decision_id}.b", "queued", 0),
    ]
    assert view.deliveries[1].content == {"t": "b"}
    hidden = without_values(view)
    assert isinstance(hidden.deliveries, list)
    assert [one.content for one in hidden.deliveries] == [{}, {}]
    assert "deliveries.content" in hidden.hidden
    assert (await engine.customers.update("anna", CustomerUpdate())).deliveries is UNSET


async def test_a_look_back_finds_the_decision_and_changes_nothing(engine: Engine) -> None:
    decision = await ask(engine)
    found = await engine.replay.find(decision.decision_id)
    assert found is not None and found.outcome == "selected"
    assert len(await listed(engine)) == 1
    assert timedelta(0) == found.decided_at - decision.decided_at


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize(
    ("kind", "state"),
    [
        ("message.bounced", "released"),
        ("message.complained", "confirmed"),
        ("message.delivered", "confirmed"),
        ("message.opened", "confirmed"),
    ],
)
async def test_a_report_that_comes_before_we_have_recorded_what_was_sent_means_the_same(
    engine: Engine, clock: Clock, kind: str, state: str, gap: int
) -> None:
    """A provider may answer us after it has told what came of the message."""
    views = []
    for number, early in enumerate((True, False)):
        customer = f"early-{number}"
        await engine.customers.set_consents(customer, {"*": {"*": "granted"}})
        await ask(engine, customer)
        claimed = await claim(engine)
        began, one = clock.now, claimed.delivery
        properties = {"channel": one.channel, "permanent": True}
        clock.now += 2 * SECOND
        report = Event(
            type=kind,
            customer_id=customer,
            id="r-1",
            decision_id=one.decision_id,
            message=one.message,
            at=from_micros(clock.now),
            properties=properties if kind == "message.bounced" else {},
        )
        if early:
            assert (await engine.events.record([report])).accepted == 1
            clock.now += gap * SECOND
        await engine.delivering.sent(claimed, "p-1", "hook", began)
        if not early:
            clock.now += gap * SECOND
            assert (await engine.events.record([report])).accepted == 1
        view = await engine.customers.get(customer)
        views.append(([one.state for one in view.contacts], view.unreachable, [*view.consents]))
        assert await listed(engine) == []
    assert views[0] == views[1]
    assert views[0][0] == [state]
