"""An opt-out always binds: whatever the names, wherever it comes in, whatever comes afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from decision.core.clock import DAY, MINUTE, from_micros
from decision.core.consent import permits
from decision.core.schema import (
    Alias,
    ConsentStatement,
    CustomerUpdate,
    DecisionRequest,
    Event,
    TriggerEvent,
)
from decision.engine import Engine, InputError
from decision.engine.loading import CustomerRow, Loading
from tests.engine.conftest import Clock, reload

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

RULES = """
settings: {timezone: Asia/Shanghai, currency: CNY, exploration: "off"}
purposes:
  рассылка: {consent: opt_in}
  offers: {consent: opt_in}
  советы: {consent: opt_out}
  service: {consent: not_required}
channels: {email: {}, 短信: {}}
placements: {outbound: {channels: [email, 短信]}}
messages:
  news: {purpose: рассылка, channels: [email, 短信], value: 5, content: {title: news}}
  offer: {purpose: offers, channels: [email, 短信], value: 4, content: {title: offer}}
  tip: {purpose: советы, channels: [email, 短信], value: 3, content: {title: tip}}
  receipt: {purpose: service, channels: [email, 短信], value: 1, content: {title: receipt}}
"""
GRANTED: Any = {"рассылка": {"*": "granted"}, "offers": {"*": "granted"}}
EVERYTHING = {
    f"{purpose}/{channel}"
    for purpose in ("рассылка", "offers", "советы")
    for channel in ("email", "短信")
}


async def allowed(engine: Engine, who: str = "c-1") -> set[str]:
    """purpose/channel of what the customer may be told, of what they can refuse."""
    document = (await engine.runtime.store.read(who)).document
    policy = engine.snapshot.policy
    return {
        f"{one.name}/{channel}"
        for one in policy.purposes.values()
        for channel in policy.channels
        if one.consent != "not_required" and permits(one, document.consents, channel)
    }


async def ask(engine: Engine, who: str = "c-1", **more: Any) -> Any:
    return await engine.decide(DecisionRequest(placement="outbound", customer_id=who, **more))


async def tell(engine: Engine, kind: str, **more: Any) -> Any:
    [event] = [Event(type=kind, **{"customer_id": "c-1", **more})]
    return await engine.events.record([event])


@pytest.fixture
async def engine(make_engine: Make) -> Engine:
    made: Engine = await make_engine(RULES)
    await made.customers.set_consents("c-1", GRANTED)
    assert await allowed(made) == EVERYTHING
    return made


OPT_OUTS = ("message.unsubscribed", "message.complained")


@pytest.mark.parametrize("kind", OPT_OUTS)
async def test_an_opt_out_denies_the_purpose_of_its_contact_on_its_channel(
    engine: Engine, kind: str
) -> None:
    first = await ask(engine)
    assert first.selections[0].message == "news"
    channel = first.selections[0].channel
    answer = await tell(engine, kind, decision_id=first.decision_id)
    assert answer.accepted == 1
    assert await allowed(engine) == EVERYTHING - {f"рассылка/{channel}"}


@pytest.mark.parametrize("kind", OPT_OUTS)
async def test_with_no_contact_known_everything_that_can_be_refused_is_denied(
    engine: Engine, kind: str
) -> None:
    await tell(engine, kind)
    assert await allowed(engine) == set()
    assert (await ask(engine)).selections[0].message == "receipt"
    await engine.customers.set_consents("c-1", {"offers": {"email": "granted"}})
    assert await allowed(engine) == {"offers/email"}


@pytest.mark.parametrize("about", [{}, {"purpose": "*"}, {"channel": "email"}])
async def test_an_opt_out_of_everything_holds_for_purposes_that_come_later(
    make_engine: Make, store: Any, about: dict[str, str]
) -> None:
    engine = await make_engine(RULES, store)
    await tell(engine, "message.unsubscribed", properties=about)
    await reload(engine, RULES.replace("  service:", "  surveys: {consent: opt_out}\n  service:"))
    named = about.get("channel", "*")
    left = {"surveys/短信", "советы/短信"} if named == "email" else set()
    assert await allowed(engine) == left
    await engine.customers.set_consents("c-1", {"surveys": {"email": "granted"}})
    assert await allowed(engine) == {*left, "surveys/email"}


@pytest.mark.parametrize("kind", OPT_OUTS)
async def test_an_opt_out_from_what_needs_no_consent_denies_what_can_be_refused_on_its_channel(
    engine: Engine, kind: str
) -> None:
    await engine.customers.set_consents("c-2", {"*": {"*": "denied"}})
    found = await ask(engine, "c-2")
    assert found.selections[0].message == "receipt"
    channel = found.selections[0].channel
    await engine.customers.set_consents("c-2", {**GRANTED, "*": {"*": "granted"}})
    await tell(engine, kind, customer_id="c-2", decision_id=found.decision_id)
    assert await allowed(engine, "c-2") == {
        cell for cell in EVERYTHING if not cell.endswith(channel)
    }


async def test_a_wrong_channel_never_overrides_that_of_the_contact(engine: Engine) -> None:
    first = await ask(engine)
    own = first.selections[0].channel
    other = "短信" if own == "email" else "email"
    about = {"decision_id": first.decision_id, "properties": {"channel": other, "permanent": True}}
    await tell(engine, "message.unsubscribed", **about)
    assert f"рассылка/{own}" not in await allowed(engine)
    await tell(engine, "message.bounced", **about)
    assert (await engine.customers.get("c-1")).unreachable == [own]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("message.unsubscribed", {"channel": "Email"}, 'did you mean "email"'),
    ("message.unsubscribed", {"channel": "EMAIL"}, 'did you mean "email"'),
    ("message.complained", {"channel": "e-mail"}, 'did you mean "email"'),
    ("message.complained", {"channel": "短 信"}, 'did you mean "短信"'),
    ("message.unsubscribed", {"purpose": "Рассылка"}, 'did you mean "рассылка"'),
    ("message.unsubscribed", {"purpose": "marketing"}, "known are"),
    ("message.unsubscribed", {"purpose": ["offers"]}, r'not \["offers"\]'),
    ("message.unsubscribed", {"channel": 1}, "not 1"),
    ("message.unsubscribed", {"channel": ""}, "is not a channel"),
    ("message.bounced", {"channel": "email", "permanent": "true"}, 'not "true"'),
    ("message.bounced", {"channel": "email", "permanent": 1}, "not 1"),
    ("message.bounced", {"channel": "mail", "permanent": True}, 'did you mean "email"'),
    ("message.bounced", {"channel": "*", "permanent": True}, "is not a channel"),
    ("message.bounced", {"permanent": True}, "is missing"),
    ("message.dismissed", {"channel": "Email"}, 'did you mean "email"'),
]


@pytest.mark.parametrize(("kind", "properties", "words"), BAD)
async def test_an_event_that_could_not_bind_is_refused_wherever_it_comes_in(
    engine: Engine, clock: Clock, kind: str, properties: dict[str, Any], words: str
) -> None:
    answer = await tell(engine, kind, id="e-1", properties=properties)
    assert (answer.accepted, len(answer.rejected)) == (0, 1)
    with pytest.raises(InputError, match=words):
        raise InputError("", answer.rejected[0].detail)
    for event_id in ("e-2", None):
        with pytest.raises(InputError, match=words) as refused:
            await ask(engine, event=TriggerEvent(type=kind, id=event_id, properties=properties))
        assert refused.value.path.startswith("event.properties.")
    event = {"type": kind, "at": from_micros(clock.now).isoformat(), "properties": properties}
    row = msgspec.convert({"customer_id": "c-1", "events": [event]}, CustomerRow)
    with pytest.raises(InputError, match=words) as refused:
        await Loading(engine.runtime).put(row)
    assert refused.value.path.startswith("events[0].properties.")
    assert await allowed(engine) == EVERYTHING


async def test_a_channel_of_another_event_is_its_own_affair(engine: Engine) -> None:
    answer = await tell(engine, "purchase", properties={"channel": "shop", "permanent": "yes"})
    assert answer.accepted == 1


async def test_a_permanent_bounce_of_an_unknown_contact_says_what_is_missing(
    engine: Engine,
) -> None:
    made = engine.runtime.new_id("c-1")
    answer = await tell(engine, "message.bounced", decision_id=made, properties={"permanent": True})
    assert "needs the channel" in answer.rejected[0].detail


async def test_an_opt_out_inside_a_request_holds_for_its_decision(engine: Engine) -> None:
    def event(event_id: str | None) -> TriggerEvent:
        return TriggerEvent(type="message.unsubscribed", id=event_id)

    first = await ask(engine, event=event(None))
    assert first.selections[0].message == "receipt"
    assert await allowed(engine) == EVERYTHING  # it informs that decision alone
    assert (await engine.replay.find(first.decision_id)).selections == first.selections
    bounce = TriggerEvent(
        type="message.bounced", properties={"channel": "email", "permanent": True}
    )
    assert (await ask(engine, event=bounce)).selections[0].channel == "短信"
    assert (await ask(engine, event=event("e-1"))).selections[0].message == "receipt"
    assert await allowed(engine) == set()


async def test_loading_a_file_again_takes_back_no_denial_and_no_bounce(
    engine: Engine, clock: Clock
) -> None:
    row = CustomerRow(
        customer_id="c-9", consents=GRANTED, reachable=["email", "短信"], aliases={"email": "i@x"}
    )
    loading = Loading(engine.runtime)
    await loading.put(row)
    assert await allowed(engine, "c-9") == EVERYTHING
    clock.now += MINUTE
    await tell(engine, "message.unsubscribed", customer_id="c-9")
    await tell(
        engine,
        "message.bounced",
        customer_id="c-9",
        properties={"channel": "email", "permanent": True},
    )
    clock.now += MINUTE
    before = await engine.customers.get("c-9")
    assert (await loading.put(row)).left_out == []
    assert await engine.customers.get("c-9") == before
    # Another file that says the same of single channels is news, and is left out.
    singles: Any = {purpose: {"email": "granted"} for purpose in GRANTED}
    loaded = await loading.put(CustomerRow(customer_id="c-9", consents=singles))
    assert len(loaded.left_out) == 2
    assert "consents.рассылка.email: was denied on" in loaded.left_out[0]
    assert await engine.customers.get("c-9") == before
    # One that forgets the denials as well.
    forgets: Any = {purpose: {"*": None} for purpose in GRANTED}
    assert len((await loading.put(CustomerRow(customer_id="c-9", consents=forgets))).left_out) == 2
    await engine.customers.set_consents("c-9", {"offers": {"email": "granted"}})
    assert await allowed(engine, "c-9") == {"offers/email"}
    forced = Loading(engine.runtime, force=True)
    assert (await forced.put(row)).left_out == []
    assert {"рассылка/email", "offers/短信"} <= await allowed(engine, "c-9")
    assert (await engine.customers.get("c-9")).unreachable == []


async def test_an_older_file_takes_back_no_denial_of_a_newer_one(engine: Engine) -> None:
    loading = Loading(engine.runtime)

    async def load(state: Any) -> list[str]:
        row = CustomerRow(customer_id="c-1", consents={"offers": {"email": state}})
        return (await loading.put(row)).left_out

    assert not await load("granted")
    assert not await load("denied")
    assert await load("granted")
    assert "offers/email" not in await allowed(engine)
    await engine.customers.set_consents("c-1", {"offers": {"email": "granted"}})
    assert not await load("denied")  # said before: the customer's newer word stands
    assert "offers/email" in await allowed(engine)


async def test_an_older_statement_never_replaces_a_newer_one(engine: Engine, clock: Clock) -> None:
    async def state(how: str, word: Any, ago: int) -> None:
        said: Any = ConsentStatement(
            state=word, at=from_micros(clock.now - ago), source="form-7", evidence="page 3"
        )
        if how == "put":
            await engine.customers.set_consents("c-1", {"offers": {"email": said}})
        else:
            row = CustomerRow(customer_id="c-1", consents={"offers": {"email": said}})
            assert (await Loading(engine.runtime).put(row)).left_out == []

    for how in ("put", "load"):
        clock.now += DAY
        await tell(engine, "message.unsubscribed")
        clock.now += DAY
        await state(how, "granted", 2 * DAY)
        assert "offers/email" not in await allowed(engine)
        await state(how, "granted", DAY)
        assert "offers/email" not in await allowed(engine)  # of the same second the denial holds
        await state(how, "granted", DAY // 2)
        assert "offers/email" in await allowed(engine)
        await state(how, "denied", DAY)
        assert "offers/email" in await allowed(engine)
        stored = (await engine.customers.get("c-1")).consents["offers"]["email"]
        assert (stored.source, stored.at) == (
            "form-7",
            from_micros(clock.now) - timedelta(hours=12),
        )
    with pytest.raises(InputError, match=r"offers\.email\.at: .* lies in the future"):
        await state("put", "granted", -DAY)


async def test_reachable_does_not_take_back_a_bounce_and_unreachable_does(engine: Engine) -> None:
    await tell(engine, "message.bounced", properties={"channel": "email", "permanent": True})
    for reachable in (["email", "短信"], ["email"], None):
        update = CustomerUpdate(reachable=reachable)
        assert (await engine.customers.update("c-1", update)).unreachable == ["email"]
    await Loading(engine.runtime).put(CustomerRow(customer_id="c-1", unreachable=[]))
    assert (await engine.customers.get("c-1")).unreachable == ["email"]
    assert (await engine.customers.update("c-1", CustomerUpdate(unreachable=[]))).unreachable == []
    with pytest.raises(InputError, match=r'unreachable\[0\]: .*"email"'):
        await engine.customers.update("c-1", CustomerUpdate(unreachable=["Email"]))


async def test_a_denial_is_never_refused_for_size(make_engine: Make) -> None:
    engine = await make_engine(RULES, largest_document=400)
    await engine.customers.set_consents("c-1", GRANTED)
    large = CustomerRow(
        customer_id="c-1",
        attributes={"a": "x" * 500},
        consents={"offers": {"*": "denied"}, "советы": {"*": "granted"}},
    )
    with pytest.raises(InputError, match="at most 400 are kept"):
        await Loading(engine.runtime).put(large)
    assert await allowed(engine) == EVERYTHING - {"offers/email", "offers/短信"}
    for number in range(30):
        await tell(engine, "message.unsubscribed", properties={"purpose": "советы"})
        await engine.customers.set_consents("c-1", {"рассылка": {"email": "granted"}})
        assert "советы/email" not in await allowed(engine), number
    await engine.customers.set_consents("c-1", {"рассылка": {"email": "denied"}})
    row = CustomerRow(customer_id="c-1", consents={"рассылка": {"*": "denied"}})
    await Loading(engine.runtime).put(row)
    await engine.customers.update("c-1", CustomerUpdate(reachable=[]))
    assert await allowed(engine) == set()


@pytest.mark.parametrize(
    ("own", "others", "united"),
    [
        (["email"], ["短信"], ["email", "短信"]),
        (["email"], ["email"], ["email"]),
        ([], ["短信"], ["短信"]),
        (["email"], None, None),
        (None, ["email"], None),
        (None, None, None),
    ],
)
async def test_a_merge_unites_where_the_customer_can_be_reached_and_keeps_bounces(
    make_engine: Make, own: Any, others: Any, united: Any
) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("c-1", CustomerUpdate(reachable=own))
    await engine.customers.update("anon", CustomerUpdate(reachable=others))
    await tell(
        engine,
        "message.bounced",
        customer_id="anon",
        properties={"channel": "email", "permanent": True},
    )
    merged = await engine.customers.merge("c-1", "anon")
    assert (merged.reachable, merged.unreachable) == (united, ["email"])


async def test_a_customer_never_seen_takes_over_the_reach_of_the_one_merged_into_it(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("anon", CustomerUpdate(reachable=["email"]))
    assert (await engine.customers.merge("c-1", "anon")).reachable == ["email"]


async def test_an_alias_of_another_customer_is_refused_alone(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("mother", CustomerUpdate(aliases={"phone": "+86 1", "a": "m"}))
    both: Any = {"phone": "+86 1", "email": "son@x"}
    view = await engine.customers.update(
        "son", CustomerUpdate(attributes={"age": 19}, aliases=both, reachable=["email"])
    )
    [refused] = view.refused_aliases
    assert (refused.type, refused.value) == ("phone", "+86 1")
    assert "is an alias of another customer and stays there" in refused.detail
    assert (view.attributes, view.reachable) == ({"age": 19}, ["email"])
    assert view.aliases == {"email": ["son@x"]}
    store = engine.runtime.store
    assert await store.resolve_alias("phone", "+86 1") == "mother"
    assert await store.resolve_alias("email", "son@x") == "son"
    row = CustomerRow(customer_id="son", attributes={"city": "杭州"}, aliases={"phone": "+86 1"})
    loaded = await Loading(engine.runtime).put(row)
    assert loaded.left_out[0].startswith("aliases.phone: '+86 1' is an alias of another customer")
    assert (await engine.customers.get("son")).attributes == {"age": 19, "city": "杭州"}
    by_phone = await engine.decide(
        DecisionRequest(placement="outbound", alias=Alias("phone", "+86 1"))
    )
    assert by_phone.customer_id == "mother"
