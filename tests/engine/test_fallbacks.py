"""A fallback is as lawful as a message: of what it may be, and where it may go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from decision.core import records
from decision.core.identifiers import partition_of
from decision.core.schema import Alias, CustomerUpdate, DecisionRequest, Event
from decision.engine import Engine, build_snapshot
from decision.rulebook.diagnostics import Diagnostic
from decision.rulebook.reader import load_files
from tests.core.small import at

pytestmark = pytest.mark.anyio
Make = Callable[..., Any]

RULES = """
settings: {timezone: UTC, currency: EUR}
purposes: {ads: {consent: opt_out}, news: {consent: opt_in}, care: {consent: not_required}}
channels:
  letter: {}
  app: {}
  bell: {quiet_hours: {from: "22:00", to: "08:00", except: [ads]}}
  chat: {reply_window: {opened_by: said, lasts: 1h}}
placements: {desk: {channels: [bell, chat, letter, app], fallback: hi}}
messages:
  hi: {purpose: care, channels: [app, letter, bell, chat], content: {t: hi}}
"""


async def ask(engine: Engine, **changes: Any) -> tuple[str, list[tuple[str, str]]]:
    request = {"placement": "desk", "customer_id": "c-1", **changes}
    found = await engine.decide(DecisionRequest(**request))
    return found.outcome, [(one.message, one.channel) for one in found.selections]


def of(text: str) -> list[Diagnostic]:
    found = load_files({"rules.yaml": text}).diagnostics
    return [one for one in found if one.code == "unfit-fallback"]


async def test_it_goes_by_the_first_channel_of_the_placement_where_nothing_can_hold_it(
    make_engine: Make,
) -> None:
    assert await ask(await make_engine(RULES)) == ("fallback", [("hi", "letter")])


@pytest.mark.parametrize(
    ("reachable", "given"),
    [
        (["app", "bell"], "app"),
        (["letter", "app"], "letter"),
        (["bell", "chat"], None),
        ([], None),
    ],
)
async def test_it_goes_only_where_the_customer_can_be_reached(
    make_engine: Make, reachable: list[str], given: str | None
) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("c-1", CustomerUpdate(reachable=reachable))
    expected = ("fallback", [("hi", given)]) if given else ("none", [])
    assert await ask(engine) == expected
    assert await ask(engine, dry_run=True) == expected
    assert await ask(engine, request_id="r-1") == expected
    assert await ask(engine, request_id="r-1") == expected


async def test_a_bounced_channel_gets_no_fallback_and_nothing_is_left_if_all_have(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES)
    for channel, after in (
        ("letter", ("fallback", [("hi", "app")])),
        ("app", ("none", [])),
    ):
        event = Event(
            type="message.bounced",
            customer_id="c-1",
            properties={"permanent": True, "channel": channel},
        )
        await engine.events.record([event])
        assert await ask(engine) == after


async def test_a_request_that_names_channels_gets_it_on_those_only(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    assert await ask(engine, channels=["app", "bell"]) == ("fallback", [("hi", "app")])
    assert await ask(engine, channels=["bell"]) == ("none", [])
    unknown = Alias(type="email", value="a@example.com")
    assert await ask(engine, customer_id=None, alias=unknown, channels=["chat"]) == ("none", [])


async def test_it_is_given_only_while_it_is_active(make_engine: Make, clock: Any) -> None:
    dated = RULES.replace(
        "hi: {purpose", "hi: {active: {from: 2026-11-21, until: 2026-11-22}, purpose"
    )
    engine = await make_engine(dated)
    assert (await ask(engine))[0] == "fallback"
    for moment in ("2026-11-20T23:59:59+00:00", "2026-11-22T00:00:00+00:00"):
        clock.now = at(moment)
        assert await ask(engine) == ("none", [])


async def test_without_the_store_it_is_given_where_nothing_can_hold_it(make_engine: Make) -> None:
    engine = await make_engine(RULES)

    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.sleep(60)

    engine.runtime.store.read = never
    assert await ask(engine, deadline_ms=1) == ("fallback", [("hi", "letter")])
    assert await ask(engine, deadline_ms=1, channels=["app"]) == ("fallback", [("hi", "app")])
    assert await ask(engine, deadline_ms=1, channels=["bell"]) == ("none", [])


UNFIT = {
    "its purpose may be refused": RULES.replace("purpose: care", "purpose: ads"),
    "its purpose asks for consent": RULES.replace("purpose: care", "purpose: news"),
    "all of its channels are quiet at night": RULES.replace("[app, letter, bell, chat]", "[bell]"),
    "its channel is quiet at some hour of some day": RULES.replace(
        "[app, letter, bell, chat]", "bell"
    ),
    "it could only answer": RULES.replace("[app, letter, bell, chat]", "[chat]"),
    "its free channels are not the placement's": RULES.replace(
        "[bell, chat, letter, app]", "[bell, chat]"
    ),
}


@pytest.mark.parametrize("text", UNFIT.values(), ids=UNFIT)
async def test_one_that_something_should_hold_back_is_refused_and_never_given(
    make_engine: Make, text: str
) -> None:
    (found,) = of(text)
    assert found.severity == "error"
    assert found.source_line[found.column - 1 :].startswith("hi}")
    assert found.hint
    again = load_files({"rules.yaml": text}, again=True).definition  # in force before that was said
    assert again is not None
    engine = await make_engine(RULES)
    store, when = engine.runtime.store, engine.runtime.snapshot.loaded_at
    engine.use(await build_snapshot(again, None, store, when, try_first=False))
    assert await ask(engine) == ("none", [])


def test_quiet_hours_that_leave_its_purpose_alone_are_no_hindrance() -> None:
    text = RULES.replace("except: [ads]", "except: [ads, care]")
    assert of(text.replace("[app, letter, bell, chat]", "[bell]")) == []


def test_it_is_said_beside_other_errors_and_only_once_for_each_fallback() -> None:
    text = UNFIT["it could only answer"] + "caps: {a: {of: {}, at_most: 0, within: 1d}}\n"
    codes = [one.code for one in load_files({"rules.yaml": text}).diagnostics]
    assert codes == ["unfit-fallback", "bad-value"]


async def test_looking_back_shows_the_fallback_that_was_given(make_engine: Make) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("c-1", CustomerUpdate(reachable=["app"]))
    given = await engine.decide(DecisionRequest(placement="desk", customer_id="c-1"))
    await engine.customers.update("c-1", CustomerUpdate(reachable=["bell"]))
    told = await engine.replay.find(given.decision_id)
    assert (told.outcome, told.selections) == ("fallback", given.selections)


async def test_one_given_by_an_earlier_version_that_asked_less_is_still_shown(
    make_engine: Make,
) -> None:
    engine = await make_engine(RULES)
    await engine.customers.update("c-1", CustomerUpdate(reachable=["bell"]))
    none = await engine.decide(DecisionRequest(placement="desk", customer_id="c-1"))
    assert none.outcome == "none"
    rows = await engine.runtime.store.log_records(partition_of("c-1"))
    logged = [records.decode_decision(row.body) for row in rows if row.kind == "decision"]
    record = msgspec.structs.replace(logged[0], outcome="fallback")
    document = engine.runtime.store.unpack("c-1", record.document)
    told = await engine.replay.explained(record, document)
    assert [(one.message, one.channel) for one in told.selections] == [("hi", "bell")]
