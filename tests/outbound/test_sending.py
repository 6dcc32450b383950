"""What is due is sent once, at the pace that is allowed; what comes of it is recorded."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from decision.core.clock import HOUR, MILLISECOND
from decision.core.delivery import ListedDelivery
from decision.core.identifiers import decision_id, partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest, Event
from decision.core.sending import GatewayPause
from decision.engine import Engine, build_snapshot, resending
from decision.engine.cautions import present_cautions
from decision.gateways.protocol import (
    Accepted,
    GatewayConfig,
    OnUnknown,
    Outgoing,
    Pause,
    Rejected,
    Result,
    Retry,
    Seconds,
    Unknown,
)
from decision.gateways.registry import GatewayType
from decision.gateways.settings import Configured, GatewaySettings, Limit
from decision.outbound import worker
from decision.outbound.attempts import LEASE
from decision.outbound.lanes import Lane
from decision.outbound.worker import Outbound
from decision.rulebook.reader import load_files

pytestmark = pytest.mark.anyio

RULES = """
settings: {timezone: UTC, currency: EUR, exploration: "off"}
purposes: {ads: {consent: opt_out}}
channels: {email: {}, sms: {}}
placements: {outbound: {channels: [email], delivery: gateway}}
messages:
  a: {purpose: ads, category: x, channels: [email], value: 5, content: {subject: Hi}}
"""


class Scripted:
    """A gateway that answers what it is told to, and remembers what it was asked."""

    on_unknown_default: OnUnknown = "hold"

    def __init__(self, *answers: Result | BaseException) -> None:
        self.answers = list(answers)
        self.sent: list[Outgoing] = []
        self.closed = False
        self.at_once = self.most_at_once = 0
        self.takes = 0.0

    async def send(self, outgoing: Outgoing) -> Result:
        self.sent.append(outgoing)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes)
        self.at_once -= 1
        answer = self.answers.pop(0) if self.answers else Accepted("p-1")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class Seen:
    """Notes what is told of deliveries."""

    def __init__(self) -> None:
        self.results: list[str] = []
        self.without: list[str] = []
        self.pauses: dict[str, bool] = {}
        self.failures: dict[tuple[str, str], bool] = {}

    def delivered(self, channel: str, result: str, seconds: float) -> None:
        self.results.append(result)

    def paused(self, gateways: Any) -> None:
        self.pauses = dict(gateways)

    def failing(self, channels: Any) -> None:
        self.failures = dict(channels)

    def without_gateway(self, channels: Any) -> None:
        self.without = list(channels)


def settings_for(gateway: Scripted, limit: Limit | None = None, **config: Any) -> GatewaySettings:
    kind = GatewayType(config=GatewayConfig, make=lambda config, context: gateway)
    mail = Configured(name="mail", type="scripted", kind=kind, config=GatewayConfig(**config))
    limits = {} if limit is None else {"email": limit}
    return GatewaySettings(gateways={"mail": mail}, channels={"email": "mail"}, limits=limits)


@pytest.fixture
async def engine(store: Any) -> Engine:
    definition = load_files({"rules.yaml": RULES}).definition
    assert definition is not None
    made = Engine(store)
    made.use(await build_snapshot(definition, None, store, datetime.now(UTC), durable=False))
    return made


async def ask(engine: Engine, customer: str = "anna") -> str:
    decision = await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))
    assert decision.outcome == "selected"
    return decision.decision_id


async def left(engine: Engine) -> list[ListedDelivery]:
    return (await engine.runtime.store.deliveries()).rows


async def make_due(engine: Engine, delay_ms: int = 0) -> None:
    """Brings the next attempt of everything that waits to now, or so much later."""
    for row in await left(engine):
        one = row.delivery
        claimed = await engine.runtime.store.claim_delivery(one.customer_id, one.id, "t", LEASE)
        assert claimed is not None
        assert await engine.runtime.store.postpone_delivery(claimed, delay_ms, row.status.reason)


async def contact_state(engine: Engine, customer: str = "anna") -> str:
    (contact,) = (await engine.customers.get(customer)).contacts
    return contact.state


async def test_what_was_decided_is_sent_once_and_confirmed(engine: Engine) -> None:
    gateway, seen = Scripted(), Seen()
    outbound = Outbound(engine, settings_for(gateway), seen)
    decision_id = await ask(engine)
    assert await outbound.send_due() == 1
    (sent,) = gateway.sent
    assert (sent.id, sent.attempt, sent.content) == (f"{decision_id}.a", 1, {"subject": "Hi"})
    assert (sent.customer_id, sent.channel, sent.refusable) == ("anna", "email", True)
    assert await left(engine) == []
    assert await contact_state(engine) == "confirmed"
    assert seen.results == ["sent"]
    assert (await engine.runtime.store.outcomes("email")).sent == 1
    assert await outbound.send_due() == 0


async def test_it_is_a_caution_that_deliveries_wait_and_nobody_sends(engine: Engine) -> None:
    await ask(engine)
    assert await present_cautions(engine.runtime) == ()
    await make_due(engine, -2 * 60 * 60 * 1000 - 5_000)
    (caution,) = await present_cautions(engine.runtime)
    assert caution == (
        "channel email: 1 delivery waits, the oldest for 2h; see that nextbest outbound runs, or "
        "serve --outbound, and what its attempts came to: nextbest outbox list --channel email "
        "(gateways: none is paused)"
    )
    pause = GatewayPause(why="too many bounces", at=engine.runtime.clock())
    assert await engine.runtime.store.pause_gateway("mail", pause)
    assert "(gateways: paused: mail)" in (await present_cautions(engine.runtime))[0]
    await engine.runtime.store.resume_gateway("mail", ["email"])
    await Outbound(engine, settings_for(Scripted())).send_due()
    assert await present_cautions(engine.runtime) == ()


async def test_it_is_a_caution_that_no_attempt_succeeds(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while nothing is due, since all of it is tried again later."""
    decided = (engine.runtime.clock() - 3 * HOUR) // MILLISECOND
    old = decision_id(decided, partition_of("anna"), 1)
    monkeypatch.setattr(engine.runtime, "new_id", lambda customer: old)
    assert await ask(engine) == old
    monkeypatch.undo()
    outbound = Outbound(engine, settings_for(Scripted(Retry(reason="no connection"))))
    assert await outbound.send_due() == 1
    assert (await engine.runtime.store.count_deliveries()).behind == {"email": 0}
    (caution,) = await present_cautions(engine.runtime)
    assert "1 delivery waits, the oldest for 3h" in caution
    assert "nextbest outbox list --channel email" in caution
    runtime = engine.runtime
    policy, kept = engine.snapshot.policy.definition, runtime.settings.contacts_kept
    anew = await build_snapshot(
        policy, None, runtime.store, datetime.now(UTC), contacts_kept=kept, durable=False
    )
    assert anew.cautions == ()  # whoever starts may be the one that sends


async def test_what_fails_for_now_is_tried_again_by_the_table(engine: Engine) -> None:
    gateway, seen = Scripted(*[Retry(reason="busy")] * 9), Seen()
    outbound = Outbound(engine, settings_for(gateway), seen)
    await ask(engine)
    for attempt in range(1, 11):
        assert await outbound.send_due() == 1
        assert gateway.sent[-1].attempt == attempt
        if attempt < 10:
            await make_due(engine)
    assert seen.results == ["retried"] * 9 + ["sent"]
    assert await left(engine) == []


async def test_what_failed_too_often_is_a_dead_letter_and_its_contact_is_released(
    engine: Engine,
) -> None:
    gateway, seen = Scripted(*[Retry(reason="busy")] * 10), Seen()
    outbound = Outbound(engine, settings_for(gateway), seen)
    await ask(engine)
    for attempt in range(10):
        if attempt:
            await make_due(engine)
        assert await outbound.send_due() == 1
    (row,) = await left(engine)
    assert row.status.state == "failed"
    assert "10 attempts failed, the last one: busy" in row.status.reason
    assert await contact_state(engine) == "released"
    assert await outbound.send_due() == 0


async def test_a_provider_that_says_when_is_obeyed(engine: Engine) -> None:
    gateway = Scripted(Retry(after=600, reason="429"))
    outbound = Outbound(engine, settings_for(gateway))
    await ask(engine)
    before = (await left(engine))[0].due
    assert await outbound.send_due() == 1
    after = (await left(engine))[0].due
    assert before is not None and after is not None
    assert 600_000 <= after - before < 680_000


async def test_what_is_refused_is_a_dead_letter_at_once(engine: Engine) -> None:
    gateway, seen = Scripted(Rejected("no such number")), Seen()
    await ask(engine)
    assert await Outbound(engine, settings_for(gateway), seen).send_due() == 1
    (row,) = await left(engine)
    assert (row.status.state, row.status.reason) == ("failed", "no such number")
    assert await contact_state(engine) == "released"
    assert seen.results == ["failed"]


async def test_a_gateway_that_is_not_wanted_any_more_is_paused(engine: Engine) -> None:
    gateway, seen = Scripted(Rejected("410 gone", disable=True)), Seen()
    outbound = Outbound(engine, settings_for(gateway, concurrency=1), seen)
    await ask(engine)
    await ask(engine, "ben")
    assert await outbound.send_due() == 1  # the pause holds from the next delivery on
    pauses = await engine.runtime.store.paused_gateways()
    assert pauses["mail"].why == "410 gone"
    await ask(engine, "carl")
    assert await outbound.send_due() == 0
    assert len(gateway.sent) == 1
    assert await engine.runtime.store.resume_gateway("mail", ["email"])
    assert await outbound.send_due() == 2
    now = engine.runtime.clock() // MILLISECOND
    assert await resending.make_due(engine.runtime.store, "email", now) == 1
    assert await outbound.send_due() == 1
    assert seen.results == ["retried", "sent", "sent", "sent"]  # it cost no delivery
    assert gateway.sent[-1].key == gateway.sent[0].key
    assert await left(engine) == []


@pytest.mark.parametrize(
    ("answer", "event", "level"),
    [
        (Retry(reason="no connection to 10.0.0.5:25"), "delivery_retried", "INFO"),
        (
            Rejected("550 <li@mail.cn>: no Li Xiaoming here, +8613812345678"),
            "delivery_failed",
            "WARNING",
        ),
        (Unknown("the connection ended"), "delivery_unknown", "WARNING"),
    ],
)
async def test_a_single_attempt_that_fails_is_a_line_of_the_log_that_names_no_customer(
    engine: Engine, caplog: pytest.LogCaptureFixture, answer: Result, event: str, level: str
) -> None:
    attributes = {"name": "Li Xiaoming", "email": "li@mail.cn"}
    await engine.customers.update("customer-li", CustomerUpdate(attributes=attributes))
    asked = await ask(engine, "customer-li")
    caplog.set_level("INFO")
    await Outbound(engine, settings_for(Scripted(answer))).send_due()
    (line,) = [one for one in caplog.records if getattr(one, "named", {}).get("event") == event]
    assert line.levelname == level
    assert line.named["delivery"] == f"{asked}.a"  # type: ignore[attr-defined]
    assert (line.named["gateway"], line.named["attempt"]) == ("mail", 1)  # type: ignore[attr-defined]
    said = line.getMessage()
    for own in ("customer-li", "Xiaoming", "mail.cn", "13812345678"):
        assert own not in said
    assert any(part in said for part in ("10.0.0.5:25", "550", "the connection ended"))


@pytest.mark.parametrize("lost", [Unknown("closed in mid-reply"), RuntimeError("a defect")])
async def test_a_lost_answer_is_held_and_its_contact_stays(engine: Engine, lost: Any) -> None:
    gateway, seen = Scripted(lost), Seen()
    await ask(engine)
    outbound = Outbound(engine, settings_for(gateway), seen)
    await outbound.send_due()
    (row,) = await left(engine)
    assert row.status.state == "unknown"
    assert await contact_state(engine) == "reserved"
    assert seen.results == ["unknown"]
    assert await outbound.send_due() == 0


async def test_a_lost_answer_is_sent_again_where_the_receiver_recognises_it(engine: Engine) -> None:
    gateway = Scripted(Unknown("closed in mid-reply"))
    outbound = Outbound(engine, settings_for(gateway, on_unknown="again"))
    await ask(engine)
    await outbound.send_due()
    await make_due(engine)
    await outbound.send_due()
    first, second = gateway.sent
    assert first.key == second.key
    assert await left(engine) == []


async def test_nothing_is_released_that_may_have_been_sent(engine: Engine) -> None:
    """Refused after an attempt whose answer was lost: the first one may have reached somebody."""
    gateway, seen = Scripted(Unknown("lost"), Rejected("bad")), Seen()
    outbound = Outbound(engine, settings_for(gateway, on_unknown="again"), seen)
    await ask(engine)
    await outbound.send_due()
    await make_due(engine)
    await outbound.send_due()
    (row,) = await left(engine)
    assert row.status.state == "unknown"
    assert await contact_state(engine) == "reserved"
    assert seen.results == ["retried", "unknown"]


@pytest.mark.parametrize("on_unknown", ["hold", "again"])
async def test_of_a_sender_that_died_in_an_attempt_the_answer_is_unknown(
    engine: Engine, on_unknown: OnUnknown
) -> None:
    store = engine.runtime.store
    await ask(engine)
    (claimed,) = await store.claim_deliveries(range(256), {"email": 1}, "dead", 1)
    assert await store.begin_delivery(claimed, 1)
    gateway = Scripted()
    outbound = Outbound(engine, settings_for(gateway, on_unknown=on_unknown))
    async with asyncio.timeout(10):
        while not await outbound.send_due():
            await asyncio.sleep(0.01)
    assert len(gateway.sent) == (on_unknown == "again")
    assert [row.status.state for row in await left(engine)] == ["unknown"] * (on_unknown == "hold")


async def test_who_opted_out_meanwhile_gets_nothing(engine: Engine) -> None:
    gateway, seen = Scripted(), Seen()
    outbound = Outbound(engine, settings_for(gateway), seen)
    decision_id = await ask(engine)
    told = Event(
        type="message.unsubscribed", customer_id="anna", decision_id=decision_id, message="a"
    )
    await engine.events.record([told])
    await outbound.send_due()
    assert gateway.sent == []
    assert seen.results == ["dropped"]
    assert await left(engine) == []
    assert await contact_state(engine) == "released"


async def test_a_gateway_that_hangs_is_stopped(engine: Engine) -> None:
    gateway, seen = Scripted(), Seen()
    gateway.takes = 60
    settings = settings_for(gateway, timeout=Seconds(0.01))
    outbound = Outbound(engine, settings, seen)
    outbound._attempts.grace = 0.01
    await ask(engine)
    async with asyncio.timeout(10):
        await outbound.send_due()
    assert seen.results == ["unknown"]


async def test_no_more_are_on_their_way_than_the_gateway_takes(engine: Engine) -> None:
    gateway = Scripted()
    gateway.takes = 0.02
    outbound = Outbound(engine, settings_for(gateway, concurrency=3))
    for number in range(12):
        await ask(engine, f"c{number}")
    assert await outbound.send_due() == 12
    assert len({each.id for each in gateway.sent}) == 12
    assert gateway.most_at_once <= 3


async def test_what_is_over_the_limit_waits_and_nothing_is_dropped(engine: Engine) -> None:
    gateway, seen = Scripted(), Seen()
    outbound = Outbound(engine, settings_for(gateway, Limit(4, 3600)), seen)
    for number in range(10):
        await ask(engine, f"c{number}")
    await outbound.send_due()
    assert len(gateway.sent) == 4
    assert len(await left(engine)) == 6
    assert {row.status.state for row in await left(engine)} == {"queued"}
    assert all(row.status.attempts == 0 for row in await left(engine))
    assert seen.results == ["sent"] * 4


async def test_two_senders_send_everything_once(engine: Engine) -> None:
    gateway = Scripted()
    gateway.takes = 0.001
    stop = asyncio.Event()
    both = [Outbound(engine, settings_for(gateway, concurrency=5)) for _ in range(2)]
    running = [asyncio.create_task(each.run(stop)) for each in both]
    for number in range(60):
        await ask(engine, f"c{number}")
    async with asyncio.timeout(30):
        while await left(engine):
            await asyncio.sleep(0.02)
    stop.set()
    await asyncio.gather(*running)
    ids = [each.id for each in gateway.sent]
    assert len(ids) == len(set(ids)) == 60
    assert gateway.closed


@pytest.mark.parametrize("found_by", ["its mark", "its turn"])
async def test_what_is_new_is_found_by_its_mark_and_also_without_one(
    engine: Engine, found_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no group of partitions ever has its turn, and where every mark is lost."""
    if found_by == "its mark":
        monkeypatch.setattr(worker, "_GROUPS", [range(0)])
    else:

        async def lost() -> dict[int, bytes]:
            return {}

        monkeypatch.setattr(engine.runtime.store, "fresh_deliveries", lost)
    gateway, stop = Scripted(), asyncio.Event()
    sender = Outbound(engine, settings_for(gateway, concurrency=2))
    running = asyncio.create_task(sender.run(stop))
    for number in range(9):
        await ask(engine, f"c{number}")
    async with asyncio.timeout(30):
        while await left(engine):
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert len(gateway.sent) == 9


async def test_who_stops_finishes_what_is_on_its_way(engine: Engine) -> None:
    gateway, stop = Scripted(), asyncio.Event()
    gateway.takes = 0.2
    running = asyncio.create_task(Outbound(engine, settings_for(gateway)).run(stop))
    await ask(engine)
    async with asyncio.timeout(10):
        while not gateway.sent:
            await asyncio.sleep(0.005)
    stop.set()
    await running
    assert await left(engine) == []
    assert gateway.closed


@pytest.mark.parametrize(("complaints", "paused"), [(1, False), (2, True)])
async def test_too_many_complaints_pause_a_gateway(
    engine: Engine, complaints: int, paused: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """At 1 % it is paused; at half of that there is a warning."""
    store, gateway = engine.runtime.store, Scripted()
    for _ in range(200):
        await store.count_outcome("email", "sent")
    outbound = Outbound(engine, settings_for(gateway, pause=Pause(least=100)))
    decision_id = await ask(engine)
    for number in range(complaints):
        event = Event(
            id=f"e{number}",
            type="message.complained",
            customer_id="anna",
            decision_id=decision_id,
            properties={"purpose": "ads", "channel": "sms"} if number else {},
        )
        await engine.events.record([event])
    await ask_if_possible(engine, "ben")
    await outbound.send_due()
    assert ("mail" in await store.paused_gateways()) == paused
    said = [record.getMessage() for record in caplog.records]
    assert any(("is paused: 1.0% complaints" if paused else "0.5% complaints") in s for s in said)


async def ask_if_possible(engine: Engine, customer: str) -> None:
    await engine.decide(DecisionRequest(placement="outbound", customer_id=customer))


async def test_few_complaints_of_few_deliveries_pause_nothing(engine: Engine) -> None:
    store = engine.runtime.store
    for _ in range(5):
        await store.count_outcome("email", "sent")
        await store.count_outcome("email", "complained")
    await Outbound(engine, settings_for(Scripted())).send_due()
    assert await store.paused_gateways() == {}


async def test_a_gateway_that_fails_again_and_again_is_left_alone(engine: Engine) -> None:
    gateway, seen = Scripted(*[Retry(reason="down")] * 1000), Seen()
    outbound = Outbound(engine, settings_for(gateway, concurrency=4), seen)
    for number in range(40):
        await ask(engine, f"c{number}")
    await outbound.send_due()
    assert 10 <= len(gateway.sent) < 20
    assert all(row.status.state == "queued" for row in await left(engine))
    await outbound.send_due()
    assert seen.failures == {("mail", "email"): True}
    works = Outbound(engine, settings_for(Scripted()), seen)
    await make_due(engine)
    await works.send_due()
    await works.send_due()
    assert seen.failures == {("mail", "email"): False}


async def test_attempts_that_fail_together_leave_a_gateway_alone_once() -> None:
    """Else sixteen that were on their way would make a minute of the first second."""
    now = 0.0
    lane = Lane("email", "mail", Scripted(), GatewayConfig(), clock=lambda: now)
    assert [lane.failed() for _ in range(16)].count(True) == 1
    assert lane.room == 0
    now = 1.01
    assert lane.room == 1
    assert lane.failed()
    now = 2.9
    assert lane.room == 0
    now = 3.1
    assert lane.room == 1


async def test_a_channel_without_a_gateway_waits_and_it_is_said(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()
    settings = structs.replace(settings_for(Scripted()), channels={})
    await ask(engine)
    assert await Outbound(engine, settings, seen).send_due() == 0
    assert seen.without == ["email", "sms"]
    assert "channel email has no gateway" in caplog.text
    assert "channel sms" not in caplog.text
    assert len(await left(engine)) == 1


async def test_a_pause_by_hand_holds_for_everybody(engine: Engine) -> None:
    gateway = Scripted()
    await engine.runtime.store.pause_gateway("mail", GatewayPause("holiday", 0))
    await ask(engine)
    seen = Seen()
    assert await Outbound(engine, settings_for(gateway), seen).send_due() == 0
    assert seen.pauses == {"mail": True}
    assert len(await left(engine)) == 1
