"""A report that has nothing but the provider's id reaches its delivery, whenever it comes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decision.core.clock import MINUTE
from decision.core.delivery import Claimed
from decision.core.schema import CustomerUpdate, DecisionRequest
from decision.gateways.http import HttpConfig
from decision.gateways.metadata import names_needed
from decision.gateways.reports import ReportsConfig
from decision.gateways.smtp_connections import SmtpConfig
from tests.api.conftest import RULES, Api, running
from tests.api.test_hooks import BASIC, SECRET

pytestmark = pytest.mark.anyio
URL = "https://messages.example.com/v1/hooks/texts"
GATEWAYS = {
    "texts": {"type": "http", "reports": {"from": "twilio", "secret": SECRET, "url": URL}},
    "post": {"type": "http", "reports": {"from": "postmark", "secret": f"old:{SECRET}"}},
    "mail": {"type": "smtp", "reports": {"from": "postmark", "secret": f"old:{SECRET}"}},
}
DELIVERED = RULES.replace(
    "outbound: {channels: [push, email]}",
    "outbound: {channels: [push, email], delivery: gateway, fallback: note}",
).replace(
    "messages:\n",
    "messages:\n  note: {purpose: service, channels: [email], placements: [outbound], "
    "content: {title: Note}}\n",
)


@pytest.fixture
async def api(rules: Path, tmp_path: Path) -> AsyncIterator[Api]:
    path = tmp_path / "gateways.yaml"
    path.write_text(json.dumps({"gateways": GATEWAYS, "channels": {"email": "texts"}}))
    (rules / "policy.yaml").write_text(DELIVERED, "utf-8")
    async with running(rules, gateways=str(path)) as found:
        yield found


async def claimed(api: Api, *, agreed: bool = True) -> Claimed:
    """A delivery to c-1 whose attempt has begun; of the fallback, where nothing is agreed to."""
    await api.engine.customers.update("c-1", CustomerUpdate(attributes={"a": 1}))
    if agreed:
        await api.engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
    asked = DecisionRequest(placement="outbound", customer_id="c-1", channels=["email"])
    assert (await api.engine.decide(asked)).outcome == ("selected" if agreed else "fallback")
    store = api.engine.runtime.store
    [found] = await store.claim_deliveries(range(256), {"email": 1}, "worker", 60_000)
    assert await store.begin_delivery(found, 60_000)
    return found


async def texted(api: Api, name: str, status: str, code: str = "") -> Any:
    """The answer to a report of Twilio: its status, or what it counts."""
    fields = {"MessageSid": name, "MessageStatus": status, **({"ErrorCode": code} if code else {})}
    signed = URL + "".join(key + fields[key] for key in sorted(fields))
    digest = hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha1)
    headers = {"x-twilio-signature": base64.b64encode(digest).decode()}
    answer = await api.client.post("/v1/hooks/texts", data=fields, headers=headers)
    if answer.status_code != 200:
        return answer.status_code
    return {key: value for key, value in answer.json().items() if value}


async def posted(api: Api, gateway: str, name: str, at: float, **more: Any) -> Any:
    """The answer to a report of Postmark."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    data = {"RecordType": "Delivery", "MessageID": name, "DeliveredAt": moment, **more}
    answer = await api.client.post(f"/v1/hooks/{gateway}", json=data, headers=BASIC)
    if answer.status_code != 200:
        return answer.status_code, answer.headers.get("retry-after")
    return {key: value for key, value in answer.json().items() if value}


async def test_a_report_is_matched_by_the_id_that_the_gateway_was_given(api: Api) -> None:
    await api.engine.delivering.sent(await claimed(api), "SM1", "texts")
    now = api.engine.runtime.clock() + MINUTE
    api.engine.runtime.clock = lambda: now
    assert await texted(api, "SM1", "undelivered", "30005") == {"accepted": 1}
    assert await texted(api, "SM1", "undelivered", "30005") == {"duplicates": 1}
    view = await api.engine.customers.get("c-1")
    assert view.unreachable == ["email"] and [one.state for one in view.contacts] == ["released"]


async def test_an_id_of_another_gateway_is_another_id(api: Api) -> None:
    await api.engine.delivering.sent(await claimed(api), "<0100@mail>", "post")
    assert await texted(api, "0100@mail", "delivered") == 503
    assert await posted(api, "post", "0100@mail", time.time()) == {"accepted": 1}


async def test_a_report_before_our_own_commit_is_to_be_sent_again(api: Api) -> None:
    found = await claimed(api)
    assert await texted(api, "SM1", "delivered") == 503
    assert await posted(api, "post", "P1", time.time()) == (503, "10")
    assert await posted(api, "post", "P1", time.time() - 3600) == {"unmatched": 1}
    await api.engine.delivering.sent(found, "SM1", "texts")
    assert await texted(api, "SM1", "delivered") == {"accepted": 1}


async def test_a_report_that_names_another_delivery_is_not_waited_for(api: Api) -> None:
    """Nor is one where our mails carry our ids: it is of another system."""
    meta = {"Metadata": {"nextbest": "nothing"}}
    assert await posted(api, "post", "P1", time.time(), **meta) == {"unmatched": 1}
    assert await posted(api, "mail", "P1", time.time()) == {"unmatched": 1}


async def test_a_sender_that_dies_before_its_commit_is_told_by_the_report(api: Api) -> None:
    """The id is noted first: what the provider reports settles the contact and the delivery."""
    found = await claimed(api)
    store = api.engine.runtime.store
    recorded = api.engine.delivering._events.record_of

    async def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    api.engine.delivering._events.record_of = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        await api.engine.delivering.sent(found, "SM1", "texts")
    api.engine.delivering._events.record_of = recorded  # type: ignore[method-assign]
    assert len(await store.deliveries_of("c-1")) == 1
    assert await texted(api, "SM1", "delivered") == {"accepted": 1}
    view = await api.engine.customers.get("c-1")
    assert [one.state for one in view.contacts] == ["confirmed"]
    await api.engine.delivering.look(found)
    assert not await store.deliveries_of("c-1")


async def test_a_fallback_is_matched_with_its_channel(api: Api) -> None:
    await api.engine.delivering.sent(await claimed(api, agreed=False), "SM1", "texts")
    assert await texted(api, "SM1", "undelivered", "30005") == {"accepted": 1}
    assert (await api.engine.customers.get("c-1")).unreachable == ["email"]


async def test_a_merged_customer_is_found_and_an_erased_one_is_not(api: Api) -> None:
    await api.engine.delivering.sent(await claimed(api), "SM1", "texts")
    await api.engine.customers.update("c-2", CustomerUpdate(attributes={"a": 1}))
    await api.engine.customers.merge("c-2", "c-1")
    assert await texted(api, "SM1", "undelivered", "30005") == {"accepted": 1}
    assert (await api.engine.customers.get("c-2")).unreachable == ["email"]
    await api.engine.customers.erase("c-2")
    assert await texted(api, "SM1", "read") == 503  # as any id that nobody knows
    for customer in ("c-1", "c-2"):
        assert (await api.client.get(f"/v1/customers/{customer}")).status_code == 404


async def test_an_id_that_is_too_long_or_blank_is_not_kept(api: Api) -> None:
    await api.engine.delivering.sent(await claimed(api), " ", "texts")
    assert await texted(api, "x" * 300, "delivered") == {"unmatched": 1}


def test_ids_are_kept_where_nothing_else_comes_back() -> None:
    twilio = ReportsConfig(provider="twilio", secret="x", url="y")
    own = ReportsConfig(provider="webhook", secret="x")
    mailgun = ReportsConfig(provider="mailgun", secret="x")
    smtp = SmtpConfig(host="h", sender="a@b.example", reports=mailgun)
    asked = [HttpConfig(url="u", reports=one) for one in (twilio, mailgun, own, None)]
    assert [names_needed(one) for one in (*asked, smtp)] == [True, True, False, False, False]
