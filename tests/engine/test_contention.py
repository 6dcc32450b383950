"""What an answer says came in its way: only what was overtaken is contention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from decision.core.ports import Commit, Conflict
from decision.core.schema import CustomerUpdate, DecisionRequest, TriggerEvent
from decision.engine import Engine
from decision.store.memory_store import MemoryStore

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

LONG = "x" * 10_000
RULES = """
purposes: {service: {consent: not_required}}
channels: {app: {}, chat: {}, mail: {}}
placements:
  outbound: {channels: [mail]}
  inbox: {channels: [app, chat], fallback: hello}
messages:
  hello:
    purpose: service
    channels: [app, chat]
    content: {app: {body: "Hello {{ customer.name }}"}, chat: {body: "Hello {{ customer.nick }}"}}
  offer: {purpose: service, channels: [app, chat], value: 2, content: {body: Offer}}
"""
MANY = "".join(
    f"  long-{number}:\n"
    "    {purpose: service, channels: [mail], value: 1, content: {body: '{{ customer.name }}.'}}\n"
    for number in range(20)
)


class Overtaken(MemoryStore):
    """Others write before each decision that reserves something, and before `more` that do not."""

    def __init__(self, more: int = 0) -> None:
        super().__init__()
        self.more = more

    async def commit(self, commit: Commit, *, timeout: float | None = None) -> Any:
        if any(record.kind == "decision" for record in commit.records):
            self.more -= not commit.write
            if commit.write or self.more >= 0:
                latest = await self.read(commit.customer_id, request_id=commit.request_id)
                return Conflict(latest=latest)
        return await super().commit(commit, timeout=timeout)


def missing(decision: Any) -> list[str]:
    """What a decision was made without, besides a model, which these policies never have."""
    return [one for one in decision.degraded if one != "model"]


async def asked(engine: Engine, placement: str, name: str, nick: str, **changes: Any) -> Any:
    update = CustomerUpdate(attributes={"name": name, "nick": nick})
    await engine.customers.update("c-1", update)
    request = DecisionRequest(placement=placement, customer_id="c-1", explain=True, **changes)
    decision = await engine.decide(request)
    await engine.drain(1)
    found = await engine.replay.find(decision.decision_id)
    assert (found.outcome, found.reason, found.degraded, found.explanation) == (
        decision.outcome,
        decision.reason,
        decision.degraded,
        decision.explanation,
    )
    given = [(one.message, one.channel, one.content) for one in decision.selections]
    assert [(one.message, one.channel, one.content) for one in found.selections] == given
    return decision


@pytest.mark.parametrize(
    ("name", "nick", "expected"),
    [
        ("Ann", "Annie", {"app": {"body": "Hello Ann"}}),
        (LONG, "Annie", {"chat": {"body": "Hello Annie"}}),
        (LONG, LONG, {}),
    ],
)
async def test_a_decision_that_was_overtaken_too_often_gives_the_fallback_that_fits(
    make_engine: Make, name: str, nick: str, expected: dict[str, Any]
) -> None:
    engine = await make_engine(RULES, Overtaken(), attempts=3)
    decision = await asked(engine, "inbox", name, nick)
    assert missing(decision) == ["contention"]
    assert decision.outcome == ("fallback" if expected else "none")
    assert {one.channel: one.content for one in decision.selections} == expected
    assert decision.reason == "capped"


async def test_texts_that_turn_out_to_be_too_long_are_no_contention_however_many(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES + MANY, attempts=3)
    decision = await asked(engine, "outbound", LONG, "")
    assert (decision.outcome, decision.reason, missing(decision)) == ("none", "too_long", [])


async def test_an_event_that_is_not_recorded_is_told_with_why(make_engine: Make) -> None:
    engine = await make_engine(RULES, Overtaken(), attempts=3)
    event = TriggerEvent("visit", id="e-1")
    decision = await asked(engine, "inbox", "Ann", "", event=event)
    assert missing(decision) == ["store", "contention"]
    assert decision.outcome == "fallback"


async def test_a_last_attempt_that_is_overtaken_as_well_is_contention(make_engine: Make) -> None:
    engine = await make_engine(RULES, Overtaken(more=1), attempts=3)
    decision = await asked(engine, "inbox", "Ann", "")
    assert missing(decision) == ["store", "contention"]


async def test_codes_with_which_texts_do_not_fit_are_no_contention(make_engine: Make) -> None:
    pools = "".join(f"  pool-{number}: {{}}\n" for number in range(20))
    texts = "".join(
        f"  code-{number}:\n"
        f"    {{purpose: service, channels: [sms], value: 1, coupon: pool-{number},\n"
        "     content: {body: '{{ coupon.code }} for {{ customer.nick }}'}}\n"
        for number in range(20)
    )
    rules = RULES.replace("mail: {}", "mail: {}, sms: {max_length: {body: 30}}")
    rules = rules.replace("[mail]", "[mail, sms]") + texts + f"coupons:\n{pools}"
    engine = await make_engine(rules, attempts=3)
    for number in range(20):
        await engine.runtime.store.add_codes(f"pool-{number}", ["LONG" * 10])
    decision = await asked(engine, "outbound", "Ann", "Annie")
    assert (decision.outcome, decision.reason, missing(decision)) == ("none", "too_long", [])
