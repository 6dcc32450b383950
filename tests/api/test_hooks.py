"""What providers report: signed, about a delivery of ours, once, and with its effect at once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from decision.core.identifiers import partition_of
from decision.core.schema import DecisionRequest
from decision.gateways.mail import address_of, message_id
from decision.gateways.report_shapes import SHAPES
from decision.gateways.settings import GatewaySettingsError, load_reports
from decision.observability import configure_logging
from decision.server.quarantine import quarantined
from tests.api.conftest import Api, running

pytestmark = pytest.mark.anyio
SECRET = "a-secret-of-enough-characters"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://messages.example.com/v1/hooks/texts"
FILE = f"""
gateways:
  gun: {{type: smtp, host: h, from: a@example.com, password: "${{NOT_SET}}", reports: {{from: mailgun, secret: {SECRET}}}}}
  post: {{type: smtp, reports: {{from: postmark, secret: "old:{SECRET}"}}}}
  spark: {{type: smtp, reports: {{from: sparkpost, secret: ["new:{SECRET}", "old:{SECRET}"]}}}}
  brevo: {{type: smtp, reports: {{from: brevo, secret: {SECRET}}}}}
  texts: {{type: http, reports: {{from: twilio, secret: {SECRET}, url: "{URL}"}}}}
  hook: {{type: webhook, reports: {{from: webhook, secret: {KEY}}}}}
  mute: {{type: file, path: x}}
"""
BASIC = {"authorization": "Basic " + base64.b64encode(f"old:{SECRET}".encode()).decode()}


@pytest.fixture
async def api(rules: Path, tmp_path: Path) -> AsyncIterator[Api]:
    path, keys = tmp_path / "gateways.yaml", tmp_path / "keys.yaml"
    path.write_text(FILE)
    keys.write_text("[]")
    async with running(
        rules, peer="203.0.113.5", gateways=str(path), api_keys_file=str(keys)
    ) as found:
        yield found


async def sent(api: Api) -> str:
    """The id of a delivery that the customer c-1 was really decided to get."""
    await api.engine.customers.set_consents("c-1", {"marketing": {"*": "granted"}})
    asked = DecisionRequest(placement="outbound", customer_id="c-1", channels=["email"])
    decision = await api.engine.decide(asked)
    (selection,) = decision.selections
    return f"{decision.decision_id}.{selection.message}"


async def post(api: Api, name: str, data: Any, headers: dict[str, str] = BASIC) -> Any:
    """The answer to a report in JSON, which counts nothing that is 0."""
    answer = await api.client.post(f"/v1/hooks/{name}", json=data, headers=headers)
    if answer.status_code != 200:
        return answer.status_code
    return {key: value for key, value in answer.json().items() if value}


def mailgun(event: dict[str, Any], *, age: int = 0, token: str = "t-1") -> dict[str, Any]:
    signed = {"timestamp": str(int(time.time()) - age), "token": token}
    text = (signed["timestamp"] + token).encode()
    signed["signature"] = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    return {"signature": signed, "event-data": {"timestamp": time.time() - age, **event}}


async def test_a_hard_bounce_makes_the_channel_unreachable_once(api: Api) -> None:
    delivery = await sent(api)
    bounce = {
        "event": "failed",
        "severity": "permanent",
        "reason": "bounce",
        "user-variables": {"nextbest": delivery},
    }
    assert await post(api, "gun", mailgun(bounce)) == {"accepted": 1}
    assert await post(api, "gun", mailgun(bounce)) == {"duplicates": 1}
    view = await api.engine.customers.get("c-1")
    assert view.unreachable == ["email"]
    assert [one.state for one in view.contacts] == ["released"]


async def test_with_the_customer_sent_along_the_log_is_not_needed(api: Api) -> None:
    delivery = await sent(api)
    await api.engine.runtime.store.forget(partition_of("c-1"), lambda record: True, "nothing")
    event = {"event": "complained", "user-variables": {"nextbest": delivery}}
    assert await post(api, "gun", mailgun(event)) == {"unmatched": 1}
    event["user-variables"]["nextbest-customer"] = "c-1"  # type: ignore[index]
    assert await post(api, "gun", mailgun(event)) == {"accepted": 1}
    found = (await api.engine.customers.get("c-1")).consents
    assert found["marketing"]["email"].state == "denied"
    event["user-variables"]["nextbest-customer"] = "someone-else"  # type: ignore[index]
    assert await post(api, "gun", mailgun(event, token="t-2")) == {"rejected": 1}


async def test_a_mail_is_found_by_its_message_id(api: Api) -> None:
    name = message_id(await sent(api), address_of("a@example.com"))
    event = {"event": "complained", "message": {"headers": {"message-id": name}}}
    assert await post(api, "gun", mailgun(event)) == {"accepted": 1}
    found = (await api.engine.customers.get("c-1")).consents
    assert found["marketing"]["email"].state == "denied"


@pytest.mark.parametrize("change", ["old", "token", "secret", "missing"])
async def test_a_bad_signature_is_refused_and_changes_nothing(api: Api, change: str) -> None:
    event = {"event": "unsubscribed", "user-variables": {"nextbest": await sent(api)}}
    data = mailgun(event, age=86_400 if change == "old" else 0)
    if change == "missing":
        del data["signature"]
    elif change != "old":
        data["signature"]["token" if change == "token" else "signature"] = "f" * 64
    assert await post(api, "gun", data) == 401
    assert (await api.engine.customers.get("c-1")).consents["marketing"]["*"].state == "granted"


async def test_reports_of_standard_webhooks_are_verified_with_their_own_library(api: Api) -> None:
    decision_id, _, message = (await sent(api)).partition(".")
    data = {
        "type": "message.delivered",
        "timestamp": "2026-11-18T11:06:40Z",
        "data": {"decision_id": decision_id, "message": message},
    }
    body = json.dumps(data)

    async def given(age: int) -> tuple[int, Any]:
        from datetime import UTC, datetime

        at = int(time.time()) - age
        signature = Webhook(KEY).sign("msg_1", datetime.fromtimestamp(at, UTC), body)
        headers = {"content-type": "application/json", "webhook-id": "msg_1"}
        headers |= {"webhook-timestamp": str(at), "webhook-signature": f"v1,AAAA {signature}"}
        answer = await api.client.post("/v1/hooks/hook", content=body, headers=headers)
        return answer.status_code, answer.json().get("accepted")

    assert await given(86_400) == (401, None)
    assert await given(0) == (200, 1)
    assert [one.state for one in (await api.engine.customers.get("c-1")).contacts] == ["confirmed"]


async def test_reports_of_twilio_are_signed_with_their_url(api: Api) -> None:
    query = f"delivery={await sent(api)}"
    fields = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005"}
    signed = f"{URL}?{query}" + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha1)
    for signature, expected in ((base64.b64encode(digest).decode(), 200), ("AAAA", 401)):
        answer = await api.client.post(
            f"/v1/hooks/texts?{query}", data=fields, headers={"x-twilio-signature": signature}
        )
        assert answer.status_code == expected
    assert (await api.engine.customers.get("c-1")).unreachable == ["email"]


async def test_machines_neither_confirm_nor_are_recorded(api: Api) -> None:
    delivery = await sent(api)
    meta = {"Metadata": {"nextbest": delivery}}
    opened = {"RecordType": "Open", "UserAgent": "Mozilla/5.0", **meta}
    assert await post(api, "post", opened) == {"machine": 1}
    proxy = {"event": "proxy_open", "X-Mailin-custom": json.dumps({"nextbest": delivery})}
    bearer = {"authorization": f"Bearer {SECRET}"}
    assert await post(api, "brevo", proxy, bearer) == {"machine": 1}
    spark = {"type": "open", "event_id": "1", "is_prefetched": True}
    row = {"msys": {"track_event": {**spark, "rcpt_meta": {"nextbest": delivery}}}}
    assert await post(api, "spark", [row, {"msys": {}}]) == {"machine": 1}
    assert [one.state for one in (await api.engine.customers.get("c-1")).contacts] == ["reserved"]


@pytest.mark.parametrize(
    "data",
    [
        *([], {}, 7, "text", [[]], {"RecordType": []}, {"RecordType": "Open", "Metadata": 7}),
        {"RecordType": "Open", "Metadata": {"nextbest": "01JD8Z4X9Q0000000000000000.x"}},
        {"RecordType": "Bounce", "Type": ["x"], "MessageID": {"a": 1}},
        {"RecordType": "Delivery", "DeliveredAt": "yesterday", "Metadata": {"nextbest": "nothing"}},
        {"RecordType": "Delivery", "DeliveredAt": 1e300, "MessageID": "x"},
    ],
)
async def test_what_is_signed_and_cannot_be_used_is_counted_and_never_an_error(
    api: Api, data: Any
) -> None:
    found = await post(api, "post", data)
    assert found in ({"unmatched": 1}, {"unreadable": 1}, {"ignored": 1})


async def test_what_came_of_reports_is_a_metric(rules: Path, tmp_path: Path) -> None:
    path = tmp_path / "gateways.yaml"
    path.write_text(FILE)
    async with running(rules, gateways=str(path)) as api:
        await post(api, "post", {"RecordType": "Delivery", "MessageID": "x"})
        await post(api, "post", {"RecordType": "Delivery"}, {})
        for result in ("unmatched", "unsigned"):
            assert await api.metric(f'nextbest_reports_total{{result="{result}"}}') == 1


async def test_only_gateways_with_reports_have_a_hook(api: Api) -> None:
    assert await post(api, "mute", {}) == 404
    assert await post(api, "unknown", {}) == 404


@pytest.mark.parametrize(
    ("provider", "data", "expected"),
    [
        ("postmark", {"RecordType": "Bounce", "ID": 1, "Type": "HardBounce"}, ("bounced", "bounced", True)),
        ("postmark", {"RecordType": "Bounce", "ID": 1, "Type": "Transient"}, ("deferred", None, False)),
        ("postmark", {"RecordType": "SpamComplaint", "ID": 1, "Type": "SpamComplaint"}, ("complained", "spam", False)),
        ("postmark", {"RecordType": "SubscriptionChange", "SuppressSending": False}, ("subscribed", None, False)),
        ("brevo", {"event": "hard_bounce"}, ("bounced", "bounced", True)),
        ("brevo", {"event": "soft_bounce"}, ("bounced", "bounced", False)),
        ("brevo", {"event": "blocked"}, ("rejected", "blocked", False)),
        ("sparkpost", [{"msys": {"m": {"type": "bounce", "bounce_class": "30"}}}], ("bounced", "bounced", True)),
        ("sparkpost", [{"msys": {"m": {"type": "bounce", "bounce_class": "60"}}}], ("autoresponded", "other", False)),
        ("sparkpost", [{"msys": {"m": {"type": "link_unsubscribe"}}}], ("unsubscribed", None, False)),
        ("mailgun", mailgun({"event": "failed", "severity": "temporary", "reason": "generic"}), ("deferred", "other", False)),
        ("mailgun", mailgun({"event": "rejected"}), ("rejected", "other", False)),
    ],
)  # fmt: skip
def test_types_and_reasons_are_those_of_anymail(provider: str, data: Any, expected: Any) -> None:
    [report] = SHAPES[provider](data)
    assert (report.kind, report.reject_reason, report.permanent) == expected


@pytest.mark.parametrize(
    ("reports", "problem"),
    [
        ("{from: mailgum, secret: x}", "mailgun"),
        ("{from: mailgun, secret: short}", "16 characters"),
        ("{from: mailgun}", "secret"),
        (f"{{from: twilio, secret: {SECRET}}}", "add url"),
        (f"{{from: webhook, secret: {SECRET}}}", "whsec_"),
        ('{from: mailgun, secret: "${NOT_SET}"}', "NOT_SET"),
    ],
)
def test_wrong_settings_of_reports_are_errors_that_show_no_secret(
    tmp_path: Path, reports: str, problem: str
) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(f"gateways:\n  a:\n    type: smtp\n    reports: {reports}\n")
    with pytest.raises(GatewaySettingsError) as refused:
        load_reports(str(path), {})
    assert problem in str(refused.value) and SECRET not in str(refused.value)


async def test_reports_that_do_not_count_are_in_the_log_and_the_quarantine(api: Api) -> None:
    stream = StringIO()
    configure_logging("info", stream=stream)
    delivery = await sent(api)
    await api.engine.runtime.store.forget(partition_of("c-1"), lambda record: True, "nothing")
    along = {"nextbest": delivery, "nextbest-customer": "someone-else"}
    event = {"event": "complained", "user-variables": along}
    wrong = {**mailgun(event), "signature": {"timestamp": "1", "token": "t", "signature": "x"}}
    for _ in range(3):
        assert await post(api, "gun", wrong) == 401
    assert await post(api, "gun", mailgun(event, token="t-9")) == {"rejected": 1}
    broken = {**mailgun({}, token="t-8"), "event-data": 7}
    assert await post(api, "gun", broken) == {"unreadable": 1}
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    told = [(one["gateway"], one["result"]) for one in lines if one["event"] == "reports_lost"]
    assert told.count(("gun", "unsigned")) == 1 and len(told) == 3
    kept = (await quarantined(api.engine.runtime.store)).rejected
    assert {(one.source, one.place) for one in kept} == {("reports", "gun")}
    assert len(kept) == 2 and not any("someone-else" in str(one) for one in kept)
