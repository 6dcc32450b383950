"""SendGrid and Amazon SES prove by public keys that a report is theirs; no other host is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from decision.api import hooks
from decision.gateways.amazon import Unreachable
from decision.gateways.settings import GatewaySettingsError, load_reports
from tests.api import signing
from tests.api.conftest import Api, running
from tests.api.test_hooks import sent

pytestmark = pytest.mark.anyio
P384 = signing.sendgrid_key(ec.generate_private_key(ec.SECP384R1()))
DAY = 86_400


class Amazon:
    """What SNS keeps; `down` while it cannot be reached."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False
        self.certificate = signing.certificate()

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise Unreachable("sns cannot be asked")
        return self.certificate


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Amazon:
    found = Amazon()
    monkeypatch.setattr(hooks, "fetch", found.fetch)
    return found


@pytest.fixture
async def api(rules: Path, tmp_path: Path, amazon: Amazon) -> AsyncIterator[Api]:
    other = signing.sendgrid_key(ec.generate_private_key(ec.SECP256R1()))
    gateways = {
        "grid": {"from": "sendgrid", "public_key": [other, signing.sendgrid_key()]},
        "ses": {"from": "ses", "topic": signing.TOPIC},
    }
    path = tmp_path / "gateways.yaml"
    path.write_text(
        json.dumps({"gateways": {name: {"reports": one} for name, one in gateways.items()}})
    )
    async with running(rules, gateways=str(path)) as found:
        yield found


def said(answer: httpx.Response) -> Any:
    """What an answer counts; its status where it is no success."""
    if answer.status_code != 200:
        return answer.status_code
    return {key: value for key, value in answer.json().items() if value}


async def grid(api: Api, data: Any, **signed: Any) -> Any:
    body, headers = signing.sendgrid_request(data, **signed)
    return said(await api.client.post("/v1/hooks/grid", content=body, headers=headers))


async def ses(api: Api, message: Any, kind: str = "text/plain; charset=UTF-8") -> Any:
    body, headers = json.dumps(message), {"content-type": kind}
    return said(await api.client.post("/v1/hooks/ses", content=body, headers=headers))


async def test_a_batch_of_sendgrid_is_read_event_by_event(api: Api) -> None:
    delivery = await sent(api)
    about = {"nextbest": delivery, "nextbest-customer": "c-1", "timestamp": 1_700_000_000}
    batch = [
        {"event": "bounce", "type": "bounce", "sg_event_id": "e1", **about},
        {"event": "something_new", "sg_event_id": "e2", **about},
        {"event": "bounce", "type": "bounce", "sg_event_id": "e1", **about},
        {"event": "delivered", "sg_event_id": "e3", "nextbest": "unknown"},
    ]
    assert await grid(api, batch) == {
        "accepted": 1,
        "duplicates": 1,
        "ignored": 1,
        "unmatched": 1,
    }
    assert await grid(api, []) == {}
    assert (await api.engine.customers.get("c-1")).unreachable == ["email"]


async def test_a_bounce_of_sendgrid_that_may_pass_leaves_the_channel(api: Api) -> None:
    event = {"event": "bounce", "type": "blocked", "sg_event_id": "e1"}
    assert await grid(api, [{**event, "nextbest": await sent(api)}]) == {"accepted": 1}
    assert (await api.engine.customers.get("c-1")).unreachable == []


@pytest.mark.parametrize(
    ("age", "status"), [(DAY, 401), (300, 200), (-290, 200), (-600, 401), (3600, 200)]
)
async def test_the_age_of_a_signature_of_sendgrid_is_checked(
    api: Api, age: float, status: int
) -> None:
    body, headers = signing.sendgrid_request([], age=age)
    answer = await api.client.post("/v1/hooks/grid", content=body, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("change", ["body", "time", "signature", "key", "missing", "no base64"])
async def test_what_sendgrid_has_not_signed_is_refused(api: Api, change: str) -> None:
    event = [{"event": "spamreport", "sg_event_id": "e", "nextbest": await sent(api)}]
    key = ec.generate_private_key(ec.SECP256R1()) if change == "key" else signing.SENDGRID
    body, headers = signing.sendgrid_request(event, key=key)
    signature, at = list(headers)[1:]
    if change == "body":
        body = body.replace(b"spamreport", b"spamrepors")
    elif change == "time":
        headers[at] = str(int(headers[at]) - 1)
    elif change == "missing":
        del headers[signature]
    elif change != "key":
        headers[signature] = "?" if change == "no base64" else headers[signature][:-8] + "AAAAAA=="
    answer = await api.client.post("/v1/hooks/grid", content=body, headers=headers)
    assert answer.status_code == 401
    assert (await api.engine.customers.get("c-1")).consents["marketing"]["*"].state == "granted"


def bounce(delivery: str, key: str = "eventType", **tags: str) -> dict[str, Any]:
    named = {"nextbest": [signing.tag(delivery)], **{name: [one] for name, one in tags.items()}}
    return {
        key: "Bounce",
        "bounce": {"bounceType": "Permanent", "timestamp": "2026-11-18T11:06:40.101Z"},
        "mail": {"messageId": "0100-aa", "tags": named},
    }


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_bounce_of_ses_is_recorded_once(api: Api, amazon: Amazon, version: str) -> None:
    message = signing.sns(bounce(await sent(api)), version=version, Subject="SES says")
    assert await ses(api, message) == {"accepted": 1}
    assert await ses(api, message, "application/json") == {"duplicates": 1}
    assert (await api.engine.customers.get("c-1")).unreachable == ["email"]
    assert amazon.asked == [signing.CERTIFICATE]


async def test_an_older_notification_of_ses_finds_its_mail_by_our_message_id(api: Api) -> None:
    from decision.gateways.mail import address_of, message_id

    own = message_id(await sent(api), address_of("a@example.com"))
    headers = [{"name": "X-A", "value": "1"}, {"name": "Message-ID", "value": f"<{own}>"}]
    for number, mail in enumerate(({"headers": headers}, {"commonHeaders": {"messageId": own}})):
        event = {"notificationType": "Complaint", "complaint": {}, "mail": mail}
        message = signing.sns(event, MessageId=f"m-{number}")
        assert await ses(api, message) == {"accepted": 1}
    found = (await api.engine.customers.get("c-1")).consents
    assert found["marketing"]["email"].state == "denied"


async def test_a_subscription_is_confirmed_and_its_notices_say_nothing(
    api: Api, amazon: Amazon
) -> None:
    assert await ses(api, signing.sns("please", "SubscriptionConfirmation")) == {}
    assert amazon.asked == [signing.CERTIFICATE, signing.SUBSCRIBE]
    for message in (
        signing.sns("Successfully validated SNS topic for Amazon SES event publishing."),
        signing.sns("gone", "UnsubscribeConfirmation"),
    ):
        assert await ses(api, message) == {}
    assert amazon.asked == [signing.CERTIFICATE, signing.SUBSCRIBE]


WRONG: dict[str, dict[str, Any]] = {
    "another topic": {"TopicArn": signing.TOPIC + "2"},
    "a signature of yesterday": {"age": DAY},
    "a clock far ahead": {"age": -600},
    "a changed message": {"after_Message": "{}"},
    "a changed topic": {"TopicArn": "x", "after_TopicArn": signing.TOPIC},
    "another version": {"after_SignatureVersion": "3"},
    "the other version": {"after_SignatureVersion": "1"},
    "no signature": {"after_Signature": None},
    "another type": {"kind": "Other"},
    "plain HTTP": {"after_SigningCertURL": signing.CERTIFICATE.replace("https", "http")},
    **{
        f"a certificate of {host}": {
            "after_SigningCertURL": signing.CERTIFICATE.replace("sns.eu-west-1.amazonaws.com", host)
        }
        for host in (
            "sns.eu-west-1.amazonaws.com.evil.example",
            "evil.example",
            "sns.eu-west-1.amazonaws.com@evil.example",
            "evil.example\\@sns.eu-west-1.amazonaws.com",
            "sns.eu-west-1.amazonaws.com:8443",
            "mine.s3.amazonaws.com",
            "sns.s3.eu-west-1.amazonaws.com",
            "169.254.169.254",
            "snsxeu-west-1.amazonaws.com",
        )
    },
    "another path": {"after_SigningCertURL": signing.CERTIFICATE.replace("/Simple", "/x/Simple")},
    "a query": {"after_SigningCertURL": signing.CERTIFICATE + "?x=1"},
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_sns_has_not_signed_is_refused(api: Api, amazon: Amazon, name: str) -> None:
    fields = dict(WRONG[name])
    message = signing.sns(bounce(await sent(api)), fields.pop("kind", "Notification"), **fields)
    assert await ses(api, message) == 401
    assert not set(amazon.asked) - {signing.CERTIFICATE}


@pytest.mark.parametrize("kind", ["ended", "garbage", "other"])
async def test_a_certificate_must_be_valid_and_fit(api: Api, amazon: Amazon, kind: str) -> None:
    good = signing.sns(bounce(await sent(api)))
    if kind == "other":
        good["Signature"] = good["Signature"][:-8] + "AAAAAA=="
    else:
        amazon.certificate = signing.certificate(ended=True) if kind == "ended" else b"garbage"
    assert await ses(api, good) == 401


async def test_while_amazon_cannot_be_asked_a_report_is_to_be_sent_again(
    api: Api, amazon: Amazon
) -> None:
    amazon.down = True
    message = signing.sns(bounce(await sent(api)))
    assert await ses(api, message) == 503
    amazon.down = False
    assert await ses(api, message) == {"accepted": 1}
    amazon.down = True
    assert await ses(api, signing.sns("please", "SubscriptionConfirmation")) == 503


async def test_a_subscription_is_only_visited_at_sns(api: Api, amazon: Amazon) -> None:
    for url in ("http://169.254.169.254/", "https://evil.example/?sns.eu-west-1.amazonaws.com"):
        message = signing.sns("please", "SubscriptionConfirmation", SubscribeURL=url)
        assert await ses(api, message) == {"unreadable": 1}
    assert amazon.asked == [signing.CERTIFICATE]


@pytest.mark.parametrize("data", ["", "{", "[]", "7", '{"Type": []}', '{"TopicArn": {}}'])
async def test_what_is_no_message_of_sns_is_refused(api: Api, data: str) -> None:
    headers = {"content-type": "text/plain"}
    answer = await api.client.post("/v1/hooks/ses", content=data, headers=headers)
    assert answer.status_code == 401


async def test_another_content_type_is_refused(api: Api) -> None:
    assert await ses(api, signing.sns("x"), "text/html") == 415
    assert await ses(api, signing.sns("x"), "multipart/form-data; boundary=a") == 415


@pytest.mark.parametrize(
    ("reports", "problem"),
    [
        ({"from": "sendgrid"}, 'needs the key "public_key"'),
        ({"from": "sendgrid", "secret": "x" * 20}, "have no secret"),
        ({"from": "sendgrid", "public_key": "MFkw"}, "no public key"),
        ({"from": "sendgrid", "public_key": P384}, "P-256"),
        ({"from": "ses"}, 'needs the key "topic"'),
        ({"from": "ses", "topic": "mails"}, "ARN"),
        ({"from": "ses", "topic": signing.TOPIC, "url": "https://a.example"}, "take url out"),
        ({"from": "mailgun", "secret": "x" * 20, "topic": signing.TOPIC}, "have no topic"),
    ],
)
def test_wrong_settings_say_what_is_wrong(tmp_path: Path, reports: Any, problem: str) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(json.dumps({"gateways": {"a": {"type": "smtp", "reports": reports}}}))
    with pytest.raises(GatewaySettingsError) as refused:
        load_reports(str(path), {})
    assert problem in str(refused.value)


def test_a_key_may_have_the_lines_of_pem(tmp_path: Path) -> None:
    pem = f"-----BEGIN PUBLIC KEY-----\n{signing.sendgrid_key()}\n-----END PUBLIC KEY-----\n"
    path = tmp_path / "g.yaml"
    reports = {"from": "sendgrid", "public_key": pem}
    path.write_text(json.dumps({"gateways": {"a": {"type": "smtp", "reports": reports}}}))
    assert load_reports(str(path), {})["a"].config.provider == "sendgrid"


@pytest.mark.parametrize("odd", [None, "x", {}, {"event": ["open"]}])
async def test_an_event_that_nobody_can_read_does_not_lose_the_others(
    api: Any, odd: object
) -> None:
    about = {"nextbest": await sent(api), "nextbest-customer": "c-1", "timestamp": 1_700_000_000}
    complaint = {"event": "spamreport", "sg_event_id": "e1", **about}
    found = await grid(api, [odd, complaint, odd])
    assert (found["accepted"], found["unreadable"]) == (1, 2)


async def test_a_message_of_sns_whose_fields_are_cut_elsewhere_is_refused(
    api: Any, amazon: Any
) -> None:
    message = signing.sns(bounce(await sent(api)), Subject="Amazon SES Email Event Notification")
    assert await ses(api, message) == {"accepted": 1}
    cut = {**message, "MessageId": f"{message['MessageId']}\nSubject\n{message['Subject']}"}
    del cut["Subject"]
    assert await ses(api, cut) == 401
