"""Coupon codes: each with one customer, given back, redeemed; and nothing of them is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from decision.core.clock import DAY, HOUR, MINUTE, SECOND, from_micros
from decision.core.coupons import LONGEST_CODE, CouponCounts, counter_of
from decision.core.identifiers import partition_of
from decision.core.ports import Commit, Conflict
from decision.core.schema import TriggerEvent
from decision.engine import Engine, build_snapshot
from decision.engine.budget_views import budget_views
from decision.engine.cautions import present_cautions
from decision.engine.erasing import erase
from decision.engine.events import PastEvent
from decision.engine.loading import CustomerRow, Loading
from decision.store import MemoryStore
from tests.engine.conftest import Clock, reload
from tests.engine.dying import Dying
from tests.engine.schedule import Gated, run_order
from tests.engine.test_engine import ask, decisions, tell

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]
RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes: {marketing: {consent: opt_out}, service: {consent: not_required}}
channels:
  push: {reservation: {expires_after: 2h, then: release}}
  sms: {reservation: {expires_after: 2h, then: count}, max_length: {body: 30}}
placements: {outbound: {channels: [push]}, texts: {channels: [sms]}}
coupons: {spring: {give_back_after: 14d}, autumn: {}}
messages:
  a: {purpose: marketing, channels: [push, sms], value: 9, coupon: spring,
      content: {body: "Code {{ coupon.code }}", url: "https://x.cn/?c={{ coupon.code }}"}}
  b: {purpose: marketing, channels: [push], value: 5, coupon: spring, content: {body: "{{ coupon.code }}"}}
  c: {purpose: service, channels: [push], value: 1, content: {body: Hello}}
  d: {purpose: marketing, channels: [sms], value: 1, coupon: autumn, content: {body: "{{ coupon.code }}"}}
"""

NO_COUPONS = """
messages:
  c: {purpose: service, channels: [push], value: 1, content: {body: Hello}}
"""


async def make(make_engine: Make, store: Any, codes: int = 2, rules: str = RULES) -> Any:
    engine = await make_engine(rules, store)
    await store.add_codes("spring", [f"C{number + 1}" for number in range(codes)])
    return engine


def bodies(decision: Any) -> list[str]:
    return [one.content["body"] for one in decision.selections]


async def counts(engine: Any, pool: str = "spring") -> CouponCounts:
    found: CouponCounts = await engine.runtime.store.count_codes(pool, engine.runtime.clock())
    return found


async def test_each_customer_gets_a_code_of_their_own_and_then_what_needs_none(
    make_engine: Make, store: Any
) -> None:
    engine = await make(make_engine, store)
    first, second, third = [await ask(engine, f"k{n}", explain=True) for n in range(3)]
    assert first.selections[0].content == {"body": "Code C1", "url": "https://x.cn/?c=C1"}
    assert [bodies(second), bodies(third)] == [["Code C2"], ["Hello"]]
    rows = {f"{row.message}/{row.channel}": row for row in third.explanation}
    assert rows["a/push"].reason == rows["b/push"].reason == "budget_spent"
    assert rows["a/push"].detail == "coupon pool spring has no free code"
    assert rows["a/push"].source == "rules/rules.yaml:8"
    assert await counts(engine) == CouponCounts(loaded=2, held=2)


async def test_two_messages_of_one_decision_take_two_codes_and_the_last_one_is_seen(
    make_engine: Make, store: Any
) -> None:
    engine = await make(make_engine, store, 3)
    assert bodies(await ask(engine, "k1", limit=3)) == ["Code C1", "C2", "Hello"]
    last = await ask(engine, "k2", limit=3, explain=True)
    assert bodies(last) == ["Code C3", "Hello"]
    assert [row.detail for row in last.explanation if row.message == "b"] == [
        "coupon pool spring has no free code left after 1 for this decision"
    ]


async def test_the_same_request_gets_the_same_code_and_a_dry_run_takes_none(
    make_engine: Make, store: Any
) -> None:
    engine = await make(make_engine, store)
    assert bodies(await ask(engine, "k1", dry_run=True)) == ["Code CODE"]
    assert await counts(engine) == CouponCounts(loaded=2, free=2)
    for _ in range(3):
        assert bodies(await ask(engine, "k1", request_id="r-1")) == ["Code C1"]
    assert bodies(await ask(engine, "k2", request_id="r-1")) == ["Code C2"]


async def test_a_code_redeemed_before_the_rules_name_its_pool_is_given_to_nobody(
    make_engine: Make, store: Any
) -> None:
    """Events and requests that decide, whatever blanks are around the code."""
    engine = await make_engine(RULES, store)
    await reload(engine, RULES.split("coupons:")[0] + NO_COUPONS)
    await store.add_codes("spring", ["C1", "C2", "C3"])
    for number, code in enumerate(["C1", "\ufeffC2\u200b"]):
        said = {"code": code}
        told = await tell(engine, "coupon.redeemed", "k1", id=f"e-{number}", properties=said)
        assert told.accepted == 1
    asked = TriggerEvent(type="coupon.redeemed", properties={"code": "C3"}, id="e-3")
    await ask(engine, "k1", event=asked)
    assert await counts(engine) == CouponCounts(loaded=3, redeemed=3)
    await reload(engine, RULES)
    assert bodies(await ask(engine, "k2")) == ["Hello"]


@pytest.mark.parametrize("kind", ["message.failed", "message.not_shown", "message.bounced"])
async def test_a_released_contact_gives_its_code_back_once(
    make_engine: Make, store: Any, kind: str
) -> None:
    engine = await make(make_engine, store, 1)
    first = await ask(engine, "k1")
    for number in range(3):
        await tell(engine, kind, "k1", decision_id=first.decision_id, id=f"e-{number % 2}")
        assert await counts(engine) == CouponCounts(loaded=1, free=1, given_back=1)
    assert bodies(await ask(engine, "k2")) == ["Code C1"]
    await tell(engine, kind, "k1", decision_id=first.decision_id)
    assert (await counts(engine)).held == 1


async def test_a_code_does_not_come_back_while_the_answer_that_names_it_may_be_given_again(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store, 1)
    first = await ask(engine, "k1", request_id="r-1")
    await tell(engine, "message.failed", "k1", decision_id=first.decision_id)
    assert bodies(await ask(engine, "k2")) == ["Hello"]
    clock.now += HOUR
    assert bodies(await ask(engine, "k2")) == ["Code C1"]


@pytest.mark.parametrize("codes", ["first", "last"])
async def test_a_process_with_a_policy_of_before_a_pool_and_a_budget_settles_them_all_the_same(
    make_engine: Make, store: Any, clock: Clock, codes: str
) -> None:
    """Whether the codes were loaded before its policy was put in force or afterwards."""
    before = RULES.split("coupons:")[0] + NO_COUPONS
    new = await make_engine(before, store)
    if codes == "first":
        await store.add_codes("spring", ["C1", "C2"])
        await reload(new, before)
    late = Engine(store, new.runtime.settings, clock)
    late.use(new.snapshot)
    if codes == "last":
        await store.add_codes("spring", ["C1", "C2"])
    await reload(
        new, RULES.replace("coupon: spring,\n", "coupon: spring, budget: {total: 2},\n", 1)
    )
    first, second = await ask(new, "k1"), await ask(new, "k2")
    assert [*bodies(first), *bodies(second)] == ["Code C1", "Code C2"]
    await tell(late, "message.shown", "k1", decision_id=first.decision_id)
    await tell(late, "message.failed", "k2", decision_id=second.decision_id)
    assert await counts(new) == CouponCounts(loaded=2, free=1, given=1, given_back=1)
    clock.now += 3 * HOUR
    assert bodies(await ask(new, "k3")) == ["Code C2"]
    assert await counts(new) == CouponCounts(loaded=2, held=1, given=1, given_back=1)
    (spent,) = (await store.read("", budgets=("a:total",))).budgets.values()
    assert spent == 2


async def test_what_a_customer_saw_is_theirs_until_it_is_given_back_unredeemed(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store)
    first, second = await ask(engine, "k1"), await ask(engine, "k2")
    for name, one in (("k1", first), ("k2", second)):
        await tell(engine, "message.opened", name, decision_id=one.decision_id)
    assert await tell(engine, "coupon.redeemed", "k2", properties={"code": " C2 "})
    assert await counts(engine) == CouponCounts(loaded=2, given=1, redeemed=1)
    clock.now += 14 * DAY - 1
    assert bodies(await ask(engine, "k3")) == ["Hello"]
    clock.now += 1
    assert bodies(await ask(engine, "k4")) == ["Code C1"]
    await tell(engine, "message.opened", "k1", decision_id=first.decision_id)
    clock.now += 15 * DAY
    assert (await counts(engine)).redeemed == 1


async def test_an_expired_reservation_gives_its_code_back_unless_it_then_counts(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store)
    await ask(engine, "k1")
    text = await ask(engine, "k2", placement="texts")
    assert bodies(text) == ["Code C2"]
    clock.now += 2 * HOUR
    assert bodies(await ask(engine, "k3")) == ["Code C1"]
    assert bodies(await ask(engine, "k4")) == ["Hello"]
    clock.now += 14 * DAY
    assert (await counts(engine)).free == 2


async def test_a_redeemed_code_is_kept_whoever_tells_and_however_late(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store, 3)
    await ask(engine, "k1")
    clock.now += 3 * HOUR
    assert (await counts(engine)).free == 3
    answer = await tell(engine, "coupon.redeemed", "k1", properties={"code": "C1"}, id="e")
    again = await tell(engine, "coupon.redeemed", "k1", properties={"code": "C1"}, id="e")
    assert (answer.accepted, again.duplicates) == (1, 1)
    asked = TriggerEvent(type="coupon.redeemed", properties={"code": "C2"}, id="e2")
    assert bodies(await ask(engine, "k9", event=asked)) == ["Code C3"]
    other = await tell(engine, "coupon.redeemed", "k2", properties={"code": "UNKNOWN"})
    assert other.accepted == 1  # a code of another system is an event like others
    assert await counts(engine) == CouponCounts(loaded=3, free=0, held=1, redeemed=2, given_back=1)


@pytest.mark.parametrize(
    ("properties", "problem"),
    [
        ({}, "properties.code: is missing; it is the code that was redeemed"),
        ({"code": None}, "properties.code: is missing; it is the code that was redeemed"),
        ({"code": 7}, "properties.code: is 7, must be text; it is the code that was redeemed"),
        ({"code": "  "}, "properties.code: is empty"),
    ],
)
async def test_an_event_that_redeems_no_code_is_rejected_with_the_reason(
    make_engine: Make, store: Any, properties: dict[str, Any], problem: str
) -> None:
    engine = await make(make_engine, store)
    answer = await tell(engine, "coupon.redeemed", "k1", properties=properties)
    assert [row.detail for row in answer.rejected] == [problem]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("x" * 65, f"has 65 characters; a code has {LONGEST_CODE} at most"),
        ("券" * 300, f"has 300 characters; a code has {LONGEST_CODE} at most"),
        (
            "a\tb",
            "must not have control characters or others that nobody sees; character 2 is U+0009",
        ),
    ],
)
async def test_a_code_that_no_pool_can_have_is_an_event_like_others_wherever_it_comes_in(
    make_engine: Make, store: Any, clock: Clock, code: str, why: str
) -> None:
    engine = await make(make_engine, store)
    said = {"code": code}
    answer = await tell(engine, "coupon.redeemed", "k1", properties=said)
    assert (answer.accepted, answer.rejected) == (1, [])
    assert [one.detail for one in answer.notices] == [
        f"properties.code: {why}: it is a code of no pool"
    ]
    event = {"type": "coupon.redeemed", "properties": said}
    await ask(engine, "k1", event=TriggerEvent(id="e-1", **event))
    past = PastEvent(at=from_micros(clock.now), **event)
    await Loading(engine.runtime).put(CustomerRow(customer_id="k1", events=[past]))
    kinds = [row.kind for row in await engine.runtime.store.log_records(partition_of("k1"))]
    assert kinds.count("event") == 3


async def test_a_code_with_which_a_text_does_not_fit_is_given_back_and_the_message_too_long(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    await store.add_codes("spring", ["LONG" * 10, "C1"])
    none = await ask(engine, "k1", placement="texts", explain=True)
    assert (none.outcome, none.reason) == ("none", "too_long")
    reasons = {f"{row.message}/{row.channel}": (row.reason, row.detail) for row in none.explanation}
    assert reasons["a/sms"] == ("too_long", "a text is too long")
    assert await counts(engine) == CouponCounts(loaded=2, free=2, given_back=1)
    assert bodies(await ask(engine, "k1", placement="texts")) == ["Code C1"]
    again = await engine.replay.find(none.decision_id)
    assert again.explanation == none.explanation


async def test_a_decision_is_explained_weeks_later_with_its_code(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store)
    one = await ask(engine, "k1", explain=True, limit=3)
    two = await ask(engine, "k2", explain=True)
    clock.now += 40 * DAY
    await reload(engine, RULES.replace("Code", "Your code"))
    for decision in (one, two):
        again = await engine.replay.find(decision.decision_id)
        assert again.explanation == decision.explanation
        assert [each.content for each in again.selections] == [
            each.content for each in decision.selections
        ]
    row = (await decisions(engine, "k1"))[0]
    assert [each.coupon for each in row.selections] == ["C1", "C2", None]
    assert row.budgets == {counter_of("spring"): -2}


async def test_a_message_of_another_pool_or_of_no_policy_still_settles_its_code(
    make_engine: Make, store: Any
) -> None:
    engine = await make(make_engine, store)
    first, second = await ask(engine, "k1"), await ask(engine, "k2")
    await reload(engine, RULES.replace("coupon: spring", "coupon: autumn"))
    await tell(engine, "message.opened", "k1", decision_id=first.decision_id)
    without = "\n".join(row for row in RULES.splitlines() if "coupon" not in row)
    await reload(engine, without)
    await tell(engine, "message.failed", "k2", decision_id=second.decision_id)
    assert await counts(engine) == CouponCounts(loaded=2, free=1, given=1, given_back=1)


async def test_merging_keeps_codes_and_erasing_removes_what_leads_to_them(
    make_engine: Make, store: Any, clock: Clock
) -> None:
    engine = await make(make_engine, store, 3)
    first = await ask(engine, "k1")
    await ask(engine, "k2")
    await engine.customers.merge("k1", "k2")
    await tell(engine, "message.opened", "k2", decision_id=first.decision_id)
    assert (await counts(engine)).given == 1
    await ask(engine, "k3")
    done = await erase(engine.runtime, "k2")
    certificate = await engine.customers.certificate(done.erasure_id)
    assert certificate.store.coupon_codes == 2
    assert await counts(engine) == CouponCounts(loaded=3, held=1, given=2)
    clock.now += 3 * HOUR  # what was held may have been seen: it stays given
    assert await counts(engine) == CouponCounts(loaded=3, free=1, given=2, given_back=1)


async def test_sixty_four_customers_at_once_get_different_codes_and_no_more_than_there_are(
    make_engine: Make, store: Any
) -> None:
    engine = await make(make_engine, store, 40)
    found = await asyncio.gather(*(ask(engine, f"k{n}", limit=2) for n in range(64)))
    given = [code for one in found for code in bodies(one) if code != "Hello"]
    codes = [text.removeprefix("Code ") for text in given]
    assert sorted(codes) == sorted(f"C{n + 1}" for n in range(40))
    assert (await counts(engine)).held == 40


@pytest.mark.parametrize("lost", ["commit", "after the commit", "take"])
async def test_what_a_lost_reply_leaves_is_given_back_and_never_with_two(
    make_engine: Make, clock: Clock, lost: str
) -> None:
    store = Dying(clock, lost)
    engine = await make(make_engine, store)
    assert bodies(await ask(engine, "k1")) == ["Code C1"]
    store.dies = True
    answer = await ask(engine, "k2", request_id="r")
    assert "store" in answer.degraded
    store.dies = False
    await engine.following.drain(5)
    if lost == "after the commit":
        clock.now += HOUR + MINUTE  # its answer was withdrawn, and might have been read before
    assert await counts(engine) == CouponCounts(loaded=2, free=1, held=1, given_back=1)
    assert bodies(await ask(engine, "k3")) == ["Code C2"]
    assert bodies(await ask(engine, "k4")) == ["Hello"]


async def test_a_code_taken_by_a_decision_that_was_overtaken_is_taken_by_the_next_attempt(
    make_engine: Make, clock: Clock
) -> None:
    class Overtaken(MemoryStore):
        conflicts = 0

        async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
            if self.conflicts:
                self.conflicts -= 1
                return Conflict(latest=await self.read(commit.customer_id))
            return await super().commit(commit, timeout=timeout)

    store = Overtaken(lambda: clock.now / 1_000_000)
    engine = await make(make_engine, store)
    assert bodies(await ask(engine, "k1")) == ["Code C1"]
    store.conflicts = 1
    assert bodies(await ask(engine, "k2")) == ["Code C2"]
    assert await counts(engine) == CouponCounts(loaded=2, held=2, given_back=1)


async def test_a_code_is_where_its_contact_says_in_any_order_of_steps(
    make_engine: Make, clock: Clock
) -> None:
    """Whatever events settle it, while others take and redeem: no code is with two customers."""
    kinds = ["message.sent", "message.failed", "message.shown", "message.bounced"]
    chooser = random.Random(12)
    for number in range(150):
        start = clock.now
        gated = Gated(MemoryStore(lambda: clock.now / 1_000_000))
        engine = await make(make_engine, gated, 3)
        first = await ask(engine, "k1", limit=2)
        clock.now += chooser.choice([MINUTE, 3 * HOUR])
        about = partial(tell, engine, customer="k1", decision_id=first.decision_id)
        events = [(chooser.choice(kinds), chooser.choice("ab"), age) for age in range(3)]
        works: list[Any] = [
            partial(about, kind, message=message, at=from_micros(clock.now - age * SECOND))
            for kind, message, age in events
        ]
        works += [partial(ask, engine, name, limit=2) for name in ("k2", "k3")]
        redeemed = chooser.choice([None, "C1", "C3"])
        if redeemed:
            said = {"code": redeemed}
            works.append(partial(tell, engine, "coupon.redeemed", "k4", properties=said))
        results, _ = await run_order(gated, works, [chooser.randrange(5) for _ in range(60)])
        found = await counts(engine)
        assert found.loaded == found.free + found.held + found.given + found.redeemed == 3
        assert found.redeemed == (redeemed is not None)
        later = [code.removeprefix("Code ") for one in results[3:5] for code in bodies(one)]
        later = [code for code in later if code != "Hello"]
        assert len(later) == len(set(later)), number
        late = clock.now - start > 2 * HOUR  # then both had come back before they were seen
        for message, code in zip("ab", ("C1", "C2"), strict=True):
            told = {kind for kind, about_it, _ in events if about_it == message}
            if told and told <= {"message.sent", "message.shown"} and not late:
                assert code not in later, number
        clock.now = start


async def test_a_pool_without_codes_is_told_when_the_policy_is_put_in_force(
    make_engine: Make, store: Any
) -> None:
    engine = await make_engine(RULES, store)
    await store.add_codes("spring", ["C1"])
    definition, at = engine.snapshot.policy.definition, from_micros(engine.runtime.clock())
    snapshot = await build_snapshot(
        definition, None, store, at, try_first=False, contacts_kept=30 * DAY
    )
    assert snapshot.cautions == (
        "rules/rules.yaml:8: coupon pool autumn has no codes, so messages with it are not given; "
        "load some: nextbest coupons load autumn codes.csv",
    )
    assert snapshot.pools == ("spring", "autumn")
    engine.use(snapshot)
    assert await present_cautions(engine.runtime) == snapshot.cautions
    await store.add_codes("autumn", ["D1"])
    assert await present_cautions(engine.runtime) == ()
    assert await budget_views(engine.runtime) == [], "a pool is no budget"
