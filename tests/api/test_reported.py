"""What a report may do to a customer: scanners, fallbacks, erased and merged ones, orders, bounds."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decision.core import records
from decision.core.errors import StoreUnavailable
from decision.core.identifiers import partition_of
from decision.core.schema import CustomerUpdate, DecisionRequest
from tests.api.conftest import RULES, Api, running
from tests.api.test_hooks import BASIC, SECRET, mailgun, post, sent

pytestmark = pytest.mark.anyio
FALLBACK = RULES.replace(
    "channels: [push, email]}\n", "channels: [push, email], fallback: note}\n", 1
)
FALLBACK = FALLBACK.replace(
    "messages:\n",
    "messages:\n  note: {purpose: service, channels: [email], placements: [outbound], "
    "content: {title: Note}}\n",
)


def file_of(**reports: Any) -> str:
    """A gateways file; `mail` serves one channel, `both` two."""
    basic = {"from": "sparkpost", "secret": f"old:{SECRET}", **reports}
    gun = {"from": "mailgun", "secret": SECRET, **reports}
    gateways = {"mail": {"reports": basic}, "both": {"reports": basic}, "gun": {"reports": gun}}
    channels = {"email": "mail", "push": "both", "in_app": "both"}
    return json.dumps({"gateways": gateways, "channels": channels})


@pytest.fixture(params=[{}])
async def api(rules: Path, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    path = tmp_path / "gateways.yaml"
    path.write_text(file_of(**request.param))
    (rules / "policy.yaml").write_text(FALLBACK, "utf-8")
    async with running(rules, gateways=str(path), max_body_bytes=4 << 20) as found:
        yield found


def spark(kind: str, delivery: str, number: int = 0, **more: Any) -> dict[str, Any]:
    """An event of SparkPost."""
    at = more.pop("at", time.time())
    about = {"nextbest": delivery, **more.pop("meta", {})}
    event = {"type": kind, "event_id": f"{kind}-{number}", "timestamp": str(at), "rcpt_meta": about}
    return {"msys": {"any": {**event, **more}}}


async def states(api: Api) -> list[str]:
    return [one.state for one in (await api.engine.customers.get("c-1")).contacts]


async def clicks(api: Api) -> list[bool]:
    """Of each click in the log, whether a machine made it."""
    logged = await api.engine.runtime.store.log_records(partition_of("c-1"))
    events = [records.decode_event(one.body) for one in logged if one.kind == "event"]
    return [
        one.properties.get("machine", False)
        for one in events
        if one.type in ("message.clicked", "message.opened")
    ]


# ------------------------------------------------------------------------- machines


@pytest.mark.parametrize(
    ("after", "machine"), [(0, True), (0.9, True), (1.5, None), (3, False), (-5, False)]
)
async def test_a_click_on_arrival_is_a_scanners(
    api: Api, after: float, machine: bool | None
) -> None:
    """Contacts know whole seconds: one second and a half may be judged either way."""
    delivery = await sent(api)
    now = (await api.engine.customers.get("c-1")).contacts[0].at.timestamp() + 10
    api.engine.runtime.clock = lambda: int((now + 100) * 1e6)
    await post(api, "mail", [spark("delivery", delivery, at=now)])
    found = await post(api, "mail", [spark("click", delivery, at=now + after)])
    if machine is not None:
        assert found == ({"machine": 1} if machine else {"accepted": 1})
        assert await clicks(api) == [machine]
    assert await states(api) == ["confirmed"]


async def test_a_click_that_comes_in_one_body_with_its_delivery_is_judged_by_it(api: Api) -> None:
    delivery = await sent(api)
    at = (await api.engine.customers.get("c-1")).contacts[0].at.timestamp() + 7
    api.engine.runtime.clock = lambda: int((at + 100) * 1e6)
    body = [
        spark("click", delivery, 1, at=at + 0.5, target_link_url="https://a.example/1"),
        spark("delivery", delivery, at=at),
        spark("click", delivery, 2, at=at + 30, target_link_url="https://a.example/1"),
    ]
    assert await post(api, "mail", body) == {"accepted": 2, "machine": 1}
    assert sorted(await clicks(api)) == [False, True]


@pytest.mark.parametrize(("links", "machine"), [(2, False), (3, True)])
async def test_many_links_within_a_second_are_a_scanners(
    api: Api, links: int, machine: bool
) -> None:
    delivery, at = await sent(api), time.time() - 1
    body = [
        spark("click", delivery, number, at=at + number / 10, target_link_url=f"https://a/{number}")
        for number in range(links)
    ]
    assert await post(api, "mail", body) == {"machine" if machine else "accepted": links}
    assert await states(api) == ["reserved" if machine else "confirmed"]


async def test_the_same_link_twice_is_a_persons(api: Api) -> None:
    delivery, at = await sent(api), time.time() - 1
    body = [
        spark("click", delivery, number, at=at, target_link_url="https://a/") for number in range(9)
    ]
    assert await post(api, "mail", body) == {"accepted": 9}


@pytest.mark.parametrize("api", [{"detect_scanners": False}], indirect=True)
async def test_the_search_for_scanners_can_be_switched_off(api: Api) -> None:
    delivery, at = await sent(api), time.time() - 1
    body = [
        spark("click", delivery, number, at=at, target_link_url=f"https://a/{number}")
        for number in range(9)
    ]
    assert await post(api, "mail", body) == {"accepted": 9}
    flagged = [spark("open", delivery, is_prefetched=True)]
    assert await post(api, "mail", flagged) == {"machine": 1}


# ------------------------------------------------------------------------- fallbacks


async def fallback(api: Api) -> str:
    """The id of a fallback by mail, of which there is no contact."""
    await api.engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    asked = DecisionRequest(placement="outbound", customer_id="c-1", channels=["email"])
    decision = await api.engine.decide(asked)
    assert decision.outcome == "fallback"
    return f"{decision.decision_id}.note"


@pytest.mark.parametrize("gateway", ["mail", "both", "gun"])
@pytest.mark.parametrize("meta", [{}, {"nextbest-customer": "c-1"}])
@pytest.mark.parametrize("logged", [True, False])
async def test_a_bounce_of_a_fallback_makes_the_channel_unreachable(
    api: Api, gateway: str, meta: dict[str, str], logged: bool
) -> None:
    delivery = await fallback(api)
    if not logged:
        await api.engine.runtime.store.forget(partition_of("c-1"), lambda record: True, "nothing")
    body: Any = [spark("bounce", delivery, bounce_class="10", meta=meta)]
    if gateway == "gun":
        about = {"user-variables": {"nextbest": delivery, **meta}}
        body = mailgun({"event": "failed", "severity": "permanent", "reason": "bounce", **about})
    found = await post(api, gateway, body)
    if not logged and not meta:
        assert found == {"unmatched": 1}
    elif not logged and gateway != "mail":
        assert found == {"rejected": 1}  # no contact and no log tell the channel
    else:
        assert found == {"accepted": 1}
        assert (await api.engine.customers.get("c-1")).unreachable == ["email"]


async def test_a_complaint_about_a_fallback_denies_what_one_about_a_contact_denies(
    api: Api,
) -> None:
    delivery = await fallback(api)
    assert await post(api, "mail", [spark("spam_complaint", delivery)]) == {"accepted": 1}
    found = (await api.engine.customers.get("c-1")).consents
    assert {name: list(one) for name, one in found.items()} == {
        "marketing": ["email"],
        "*": ["email"],  # purposes that come later
    }
    assert {one["email"].state for one in found.values()} == {"denied"}


# ------------------------------------------------------------------------- customers


@pytest.mark.parametrize("kind", ["spam_complaint", "bounce", "delivery", "click"])
async def test_a_report_does_not_bring_an_erased_customer_back(api: Api, kind: str) -> None:
    delivery = await sent(api)
    await api.engine.customers.erase("c-1")
    event = spark(kind, delivery, bounce_class="10", meta={"nextbest-customer": "c-1"})
    assert await post(api, "mail", [event]) == {"unmatched": 1}
    assert (await api.client.get("/v1/customers/c-1")).status_code == 404
    logged = await api.engine.runtime.store.log_records(partition_of("c-1"))
    assert [one.kind for one in logged] == ["erasure"]


@pytest.mark.parametrize("meta", [{}, {"nextbest-customer": "c-1"}])
async def test_a_report_about_a_merged_customer_reaches_the_one_they_are_now(
    api: Api, meta: dict[str, str]
) -> None:
    delivery = await sent(api)
    await api.engine.customers.update("c-2", CustomerUpdate(attributes={"a": 1}))
    await api.engine.customers.merge("c-2", "c-1")
    body = [spark("bounce", delivery, bounce_class="10", meta=meta), spark("open", delivery)]
    assert await post(api, "mail", body) == {"accepted": 2}
    view = await api.engine.customers.get("c-2")
    assert view.unreachable == ["email"] and [one.state for one in view.contacts] == ["confirmed"]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_reports_in_any_order_and_again_come_to_the_same(
    api: Api, order: tuple[int, ...]
) -> None:
    delivery = await sent(api)
    at = time.time() - 300
    body = [
        spark("delivery", delivery, at=at),
        spark("open", delivery, at=at + 60),
        spark("spam_complaint", delivery, at=at + 90),
    ]
    for place in (*order, *order):
        await post(api, "mail", [body[place]])
    assert await post(api, "mail", body) == {"duplicates": 3}
    assert await states(api) == ["confirmed"]
    assert (await api.engine.customers.get("c-1")).consents["marketing"]["email"].state == "denied"


# ------------------------------------------------------------------------- bodies


async def test_an_empty_batch_and_one_with_an_unknown_event_are_fine(api: Api) -> None:
    delivery = await sent(api)
    assert await post(api, "mail", []) == {}
    body = [spark("a_new_type", delivery, 1), spark("delivery", delivery, 2)]
    assert await post(api, "mail", body) == {"ignored": 1, "accepted": 1}


async def test_ten_thousand_events_in_a_body_let_decisions_in_between(api: Api) -> None:
    delivery = await sent(api)
    body = [spark("delivery", delivery, number % 2_000) for number in range(10_000)]
    reporting = asyncio.create_task(post(api, "mail", body))
    await asyncio.sleep(0)
    answer = await api.decide(customer_id="c-2")
    assert answer.status_code == 200 and not reporting.done()
    assert await reporting == {"accepted": 2_000, "duplicates": 8_000}


async def test_what_the_store_does_not_take_is_asked_for_again(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one customer of two; the same body again is recorded for both, once each."""
    one = await sent(api)
    await api.engine.customers.set_consents("c-2", {"marketing": {"*": "granted"}})
    asked = DecisionRequest(placement="outbound", customer_id="c-2", channels=["email"])
    answer = await api.engine.decide(asked)
    other = f"{answer.decision_id}.{answer.selections[0].message}"
    body = [spark("delivery", one, 1), spark("delivery", other, 2)]
    record = api.engine.events.record

    async def fails(events: Any, **more: Any) -> Any:
        if events[0].customer_id == "c-2":
            raise StoreUnavailable("down")
        return await record(events, **more)

    monkeypatch.setattr(api.engine.events, "record", fails)
    assert await post(api, "mail", body) == 503
    monkeypatch.undo()
    assert await post(api, "mail", body) == {"accepted": 1, "duplicates": 1}


async def test_a_body_that_is_too_large_is_refused(api: Api) -> None:
    headers = {**BASIC, "content-type": "application/json"}
    answer = await api.client.post("/v1/hooks/mail", content=b" " * (5 << 20), headers=headers)
    assert answer.status_code == 413


async def test_a_wrong_content_type_is_refused(api: Api) -> None:
    headers = {**BASIC, "content-type": "application/xml"}
    answer = await api.client.post("/v1/hooks/mail", content=b"[]", headers=headers)
    assert answer.status_code == 415
